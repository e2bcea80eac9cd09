#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {

void route(const RouteArguments& /*a*/) noexcept {}  // TODO(helper)
void grouped_matmul(const Tensor& /*x*/, const Tensor& /*ids*/,
                    std::span<const GroupedProjection> /*projections*/) noexcept {}  // TODO(helper)

}  // namespace hearth::compute::reference
