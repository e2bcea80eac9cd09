#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {

void convolve(const ConvolveArguments& /*a*/) noexcept {}                // TODO(helper)
void delta_scan(const DeltaScanArguments& /*a*/) noexcept {}             // TODO(helper)
void selective_scan(const SelectiveScanArguments& /*a*/) noexcept {}     // TODO(helper)
void state_space_scan(const StateSpaceScanArguments& /*a*/) noexcept {}  // TODO(helper)
void rwkv_scan(const RwkvScanArguments& /*a*/) noexcept {}               // TODO(helper)

}  // namespace hearth::compute::reference
