// Which kernel table this processor gets.
#pragma once

#include <string>
#include <vector>

#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

/// The tables that were compiled in and that this CPU can run, best first.
[[nodiscard]] std::vector<const KernelTable*> available_kernels();

/// The table named by HEARTH_CPU, else by `wanted`, else the best. Throws Error when there is none
/// of that name.
[[nodiscard]] const KernelTable& choose_kernels(const std::string& wanted);

/// `kernels`, or, where they round keys and values to bfloat16, the best ones of the same processor
/// that compute attention in float32: for exact evaluation.
[[nodiscard]] const KernelTable& without_pairs(const KernelTable& kernels);

}  // namespace hearth::compute::cpu
