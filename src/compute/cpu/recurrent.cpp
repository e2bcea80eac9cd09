#include "compute/cpu/recurrent.h"

#include "compute/cpu/access.h"

namespace hearth::compute::cpu {

void RecurrentEngine::reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) {
  (void)team_;
  (void)kernels_;
}
void RecurrentEngine::convolve(const ConvolveArguments& /*a*/) noexcept {}     // TODO(helper)
void RecurrentEngine::delta_scan(const DeltaScanArguments& /*a*/) noexcept {}  // TODO(helper)
void RecurrentEngine::selective_scan(const SelectiveScanArguments& /*a*/) noexcept {
}  // TODO(helper)
void RecurrentEngine::state_space_scan(const StateSpaceScanArguments& /*a*/) noexcept {
}  // TODO(helper)
void RecurrentEngine::rwkv_scan(const RwkvScanArguments& /*a*/) noexcept {}  // TODO(helper)

}  // namespace hearth::compute::cpu
