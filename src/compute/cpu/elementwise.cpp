#include "compute/cpu/elementwise.h"

#include "compute/cpu/access.h"

namespace hearth::compute::cpu {

void ElementwiseEngine::reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) {
  (void)team_;
  (void)kernels_;
}
void ElementwiseEngine::multiply(const Tensor& /*a*/, const Tensor& /*b*/,
                                 const Tensor& /*out*/) noexcept {}  // TODO(helper)
void ElementwiseEngine::mix(const Tensor& /*coefficients*/, const Tensor& /*x*/,
                            bool /*accumulate*/, const Tensor& /*out*/) noexcept {}  // TODO(helper)
void ElementwiseEngine::match_norm(const Tensor& /*x*/, const Tensor& /*like*/) noexcept {
}  // TODO(helper)
void ElementwiseEngine::keep_largest(const Tensor& /*x*/, float /*multiplier*/) noexcept {
}  // TODO(helper)
void ElementwiseEngine::hyper_weights(const HyperWeightsArguments& /*a*/) noexcept {
}  // TODO(helper)

}  // namespace hearth::compute::cpu
