// Any bytes as an importance matrix of either format: an Error, or a matrix that is written and
// read back the same, and that gives finite weights.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/importance.h"
#include "support/error.h"

namespace {

void use(const hearth::model::ImportanceMatrix& matrix) {
  for (const auto& [name, importance] : matrix.tensors) {
    const auto matrices = static_cast<std::int64_t>(importance.counts.size());
    const auto columns = static_cast<std::int64_t>(importance.sums.size()) / matrices;
    if (matrix.find(name) != &importance || !importance.fits(columns, matrices)) std::abort();
    std::vector<float> weights(static_cast<std::size_t>(columns));
    importance.weights(matrices - 1, weights);
    for (const float weight : weights) {
      if (std::isnan(weight) || weight < 0) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  try {
    const auto matrix = model::parse_importance(std::as_bytes(std::span(data, size)), "fuzz");
    use(matrix);
    const std::string written = model::importance_bytes(matrix);
    const auto again = model::parse_importance(std::as_bytes(std::span(written)), "again");
    if (again.tensors.size() != matrix.tensors.size()) std::abort();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
