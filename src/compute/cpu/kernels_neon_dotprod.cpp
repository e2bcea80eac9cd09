#if defined(__aarch64__)
// clang-format off: the instruction set's primitives first.
#include "compute/cpu/simd_neon.h"
#include "compute/cpu/kernel_table.h"
// clang-format on

namespace hearth::compute::cpu {

const KernelTable& neon_dotprod_kernels() noexcept {
  static constexpr KernelTable kTable = make_table("neon_dotprod");
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
