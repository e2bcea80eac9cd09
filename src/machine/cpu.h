// Facts about this computer's processors, as far as this process may use them.
#pragma once

#include <cstddef>
#include <string>

#include "machine/system_files.h"

namespace hearth::machine {

/// Instruction sets beyond the architecture's base that Hearth has kernels for. All false on other
/// architectures than x86-64 and 64-bit Arm.
struct CpuFeatures {
  bool avx2 = false;      // with FMA, F16C and BMI2
  bool avx_vnni = false;  // VEX-encoded (and avx2)
  bool avx512 = false;    // F, BW, VL and DQ (and avx2)
  bool avx512_vnni = false;
  bool avx512_vbmi = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;  // the processor; the system: may_use_tiles()
  bool neon_dotprod = false;
};
[[nodiscard]] CpuFeatures cpu_features() noexcept;

/// Asks the system to let this process use AMX's tiles, which it grants for good or not at all:
/// their 8 KiB of state are more than programs expect in signal frames. False elsewhere.
[[nodiscard]] bool may_use_tiles() noexcept;

/// The processor's name as the system prints it, or "unknown processor".
[[nodiscard]] std::string cpu_name();
[[nodiscard]] std::string cpu_name(const SystemFiles& files);

/// Logical processors that this process may run on (affinity mask).
[[nodiscard]] int usable_processors() noexcept;

/// Physical cores that this process may use: distinct cores of the affinity mask, no more than the
/// cgroup's CPU quota (rounded up). At least 1. Hyper-threads of a core share its vector units, so
/// this is the thread count for kernels.
[[nodiscard]] int usable_cores();

/// Data cache sizes in bytes; 0 where unknown. `l1` and `l2` are per core, `l3` is the largest
/// last-level cache.
struct CacheSizes {
  std::size_t l1 = 0, l2 = 0, l3 = 0;
};
[[nodiscard]] CacheSizes cache_sizes();
[[nodiscard]] CacheSizes cache_sizes(const SystemFiles& files);

}  // namespace hearth::machine
