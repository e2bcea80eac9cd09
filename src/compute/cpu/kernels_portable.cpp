// clang-format off: the instruction set's primitives first.
#include "compute/cpu/simd_portable.h"
#include "compute/cpu/kernel_table.h"
// clang-format on

namespace hearth::compute::cpu {

const KernelTable& portable_kernels() noexcept {
  static constexpr KernelTable kTable = make_table("portable");
  return kTable;
}

}  // namespace hearth::compute::cpu
