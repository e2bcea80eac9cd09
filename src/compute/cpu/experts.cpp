#include "compute/cpu/experts.h"

#include "compute/cpu/access.h"

namespace hearth::compute::cpu {

void ExpertEngine::reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) {
  (void)team_;
  (void)kernels_;
}
void ExpertEngine::route(const RouteArguments& /*a*/) noexcept {}  // TODO(helper)
void ExpertEngine::grouped_matmul(const Tensor& /*x*/, const Tensor& /*ids*/,
                                  std::span<const GroupedProjection> /*projections*/) noexcept {
}  // TODO(helper)

}  // namespace hearth::compute::cpu
