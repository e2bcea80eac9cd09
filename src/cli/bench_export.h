// A benchmark as a file that can be given to others: docs/cli.md, "hearth bench".
#pragma once

#include <cstdint>
#include <string>

#include "measure/measurement_store.h"
#include "measure/model_bench.h"
#include "spec/setup.h"

namespace hearth::cli {

/// JSON without personal data: the model by what it is, the machine by what it is made of; no path,
/// no name of a person or computer, and of the time only the day. `now`: seconds since 1970.
[[nodiscard]] std::string bench_export(const measure::ModelIdentity& model,
                                       const spec::Setup& setup, const measure::BenchResult& result,
                                       const measure::BenchPlan& plan, std::int64_t now);

}  // namespace hearth::cli
