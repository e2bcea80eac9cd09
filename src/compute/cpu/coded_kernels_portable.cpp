// The instruction set's primitives first.
// clang-format off
#include "compute/cpu/simd_portable.h"
#include "compute/cpu/coded_kernels_code.h"
// clang-format on

namespace hearth::compute::cpu {

const CodedKernels& coded_kernels_portable() noexcept {
  static constexpr CodedKernels kTable = make_coded_kernels("portable");
  return kTable;
}

}  // namespace hearth::compute::cpu
