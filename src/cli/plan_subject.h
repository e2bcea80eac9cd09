// Models that `hearth plan` counts instead of looking them up.
#pragma once

#include <optional>
#include <string>

#include "plan/catalog.h"
#include "plan/workload.h"

namespace hearth::cli {

struct CountedModel {
  std::string name;
  plan::Workload workload;
};

/// A model of which a header is at hand: shape:NAME[:TYPE], hf:ORG/REPO[:QUANT] (its header is read
/// from there), a GGUF file (its header is enough), or a model of the store that the catalog does
/// not name. Nothing when `word` must be a name of the catalog. Throws Error.
[[nodiscard]] std::optional<CountedModel> counted_model(const std::string& word,
                                                        const plan::Catalog& catalog);

}  // namespace hearth::cli
