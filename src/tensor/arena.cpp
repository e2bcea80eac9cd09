#include "tensor/arena.h"

#include <algorithm>

#include "support/error.h"

namespace hearth::tensor {

Tensor Arena::allocate(DType dtype, std::initializer_list<std::int64_t> shape) {
  constexpr std::size_t kAlignment = 64;
  const Tensor tensor = Tensor::contiguous(buffer_, used_, dtype, shape);
  const std::size_t bytes = row_bytes(dtype, static_cast<std::size_t>(tensor.elements()));
  const std::size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (padded > buffer_->size() - used_) {
    throw Error("the work buffer of " + std::to_string(buffer_->size()) +
                    " bytes is too small for this pass",
                "this is a bug in Hearth's plan: please report it");
  }
  used_ += padded;
  high_water_ = std::max(high_water_, used_);
  return tensor;
}

}  // namespace hearth::tensor
