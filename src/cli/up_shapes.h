// What `hearth up` does when there is no model and no way to get one: it measures what a model
// would do here.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"
#include "measure/measurement_store.h"

namespace hearth::cli {

/// A well-known model with random weights, as it ran here.
struct MeasuredShape {
  std::string name, type;
  double file_bytes = 0;
  double decode_tps = 0, prefill_tps = 0, memory_bytes = 0;
  std::vector<measure::Measurement> rows;  // for the store
};

/// Times the recommended shapes in Q4_K that fit into the memory that is free, smallest first, in
/// short rounds: less than half a minute. Empty when none fits. Throws Error
/// (ExitCode::kInterrupted) when `cancel` is set.
[[nodiscard]] std::vector<MeasuredShape> measure_shapes(
    const machine::Machine& machine, const std::atomic<bool>* cancel,
    const std::function<void(std::string_view)>& progress);

}  // namespace hearth::cli
