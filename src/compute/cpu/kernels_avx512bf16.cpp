#if defined(__x86_64__)
// clang-format off: the instruction set's primitives first.
#include "compute/cpu/simd_avx512.h"
#include "compute/cpu/kernel_table.h"
#include "compute/cpu/attention_kernels.h"
// clang-format on

namespace hearth::compute::cpu {

const KernelTable& avx512bf16_kernels() noexcept {
  static constexpr KernelTable kTable = make_table("avx512bf16", &kPairAttention);
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
