// Models in words: what each layer is made of, for `hearth inspect`.
#pragma once

#include <string>
#include <vector>

#include "spec/model_spec.h"

namespace hearth::cli {

/// Layers that read the same, with their indices: "0-2, 4-6".
struct LayerGroup {
  std::string words;
  std::vector<std::size_t> layers;
  [[nodiscard]] std::string indices() const;
};

[[nodiscard]] std::vector<LayerGroup> group_layers(const spec::Stack& stack);

/// "mean of all tokens", ..; empty when the model does not pool.
[[nodiscard]] std::string pooling_words(const spec::Pooling& pooling);

}  // namespace hearth::cli
