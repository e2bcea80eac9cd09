#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {

void multiply(const Tensor& /*a*/, const Tensor& /*b*/, const Tensor& /*out*/) noexcept {
}  // TODO(helper)
void mix(const Tensor& /*coefficients*/, const Tensor& /*x*/, bool /*accumulate*/,
         const Tensor& /*out*/) noexcept {}                               // TODO(helper)
void match_norm(const Tensor& /*x*/, const Tensor& /*like*/) noexcept {}  // TODO(helper)
void keep_largest(const Tensor& /*x*/, float /*multiplier*/) noexcept {}  // TODO(helper)
void hyper_weights(const HyperWeightsArguments& /*a*/) noexcept {}        // TODO(helper)

}  // namespace hearth::compute::reference
