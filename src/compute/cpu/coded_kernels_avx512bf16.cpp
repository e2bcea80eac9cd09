#if defined(__x86_64__)
// The instruction set's primitives first.
// clang-format off
#include "compute/cpu/simd_avx512.h"
#include "compute/cpu/coded_kernels_code.h"
// clang-format on

namespace hearth::compute::cpu {

const CodedKernels& coded_kernels_avx512bf16() noexcept {
  static constexpr CodedKernels kTable = make_coded_kernels("avx512bf16");
  return kTable;
}

}  // namespace hearth::compute::cpu
#endif
