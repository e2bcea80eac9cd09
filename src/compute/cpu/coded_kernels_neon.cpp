#if defined(__aarch64__)
// The instruction set's primitives first.
// clang-format off
#include "compute/cpu/simd_neon.h"
#include "compute/cpu/coded_kernels_code.h"
// clang-format on

namespace hearth::compute::cpu {

const CodedKernels& coded_kernels_neon() noexcept {
  static constexpr CodedKernels kTable = make_coded_kernels("neon");
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
