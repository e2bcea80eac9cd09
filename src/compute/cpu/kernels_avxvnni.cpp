#if defined(__x86_64__)
// clang-format off: the instruction set's primitives first.
#include "compute/cpu/simd_avx2.h"
#include "compute/cpu/kernel_table.h"
// clang-format on

namespace hearth::compute::cpu {

const KernelTable& avxvnni_kernels() noexcept {
  static constexpr KernelTable kTable = make_table("avxvnni");
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
