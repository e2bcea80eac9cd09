#include "compute/cpu/kernel_choice.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "machine/cpu.h"
#include "support/error.h"

namespace hearth::compute::cpu {

namespace {

// Builds for testing levels that the processor lacks (docs/processors.md), and without them
// (HEARTH_NO_…, the sanitizers').
#if defined(HEARTH_AVXVNNI_EVEX)
[[maybe_unused]] constexpr bool kAvxVnniEvex = true;
#else
[[maybe_unused]] constexpr bool kAvxVnniEvex = false;
#endif
#if defined(HEARTH_AMX_EMULATED)
[[maybe_unused]] constexpr bool kAmxEmulated = true;
#else
[[maybe_unused]] constexpr bool kAmxEmulated = false;
#endif

/// Of every kind of processor: to tell what another one has from what none has.
constexpr std::array<std::string_view, 8> kAllNames = {
    "avx512bf16", "amx", "avx512vnni", "avxvnni", "avx2", "neon_dotprod", "neon", "portable"};

struct Level {
  const KernelTable* table;
  bool available;
};

/// All levels that were compiled in; the first that is available is the default.
std::vector<Level> levels() {
  std::vector<Level> all;
  [[maybe_unused]] const machine::CpuFeatures features = machine::cpu_features();
#if defined(__x86_64__)
  [[maybe_unused]] const bool bf16 =
      features.avx512_vnni && features.avx512_vbmi && features.avx512_bf16;
#if !defined(HEARTH_NO_AVX512BF16)
  all.push_back({&avx512bf16_kernels(), bf16});
#endif
#if !defined(HEARTH_NO_AMX)
  const bool tiles = kAmxEmulated || (features.amx_int8 && machine::may_use_tiles());
  // Only when asked for (HEARTH_CPU=amx): its instructions were never run.
  all.push_back({&amx_kernels(), bf16 && tiles});
#endif
#if !defined(HEARTH_NO_AVX512VNNI)
  all.push_back({&avx512vnni_kernels(), features.avx512_vnni});
#endif
#if !defined(HEARTH_NO_AVXVNNI)
  all.push_back({&avxvnni_kernels(), kAvxVnniEvex ? features.avx512_vnni : features.avx_vnni});
#endif
  all.push_back({&avx2_kernels(), features.avx2});
#elif defined(__aarch64__)
  all.push_back({&neon_dotprod_kernels(), features.neon_dotprod});
  all.push_back({&neon_kernels(), true});
#endif
  all.push_back({&portable_kernels(), true});
  return all;
}

}  // namespace

std::vector<const KernelTable*> available_kernels() {
  std::vector<const KernelTable*> tables;
  for (const Level& level : levels()) {
    if (level.available) tables.push_back(level.table);
  }
  return tables;
}

const KernelTable& choose_kernels(const std::string& wanted) {
  const char* const variable = std::getenv("HEARTH_CPU");
  const bool from_variable = variable != nullptr && *variable != '\0';
  const std::string name = from_variable ? variable : wanted;
  std::string known;
  const bool elsewhere = std::find(kAllNames.begin(), kAllNames.end(), name) != kAllNames.end();
  const char* const absent = " is not available on this processor";
  const char* trouble = elsewhere ? absent : " is unknown";
  for (const Level& level : levels()) {
    const bool named = name == level.table->name;
    if (level.available && (named || name.empty())) return *level.table;
    if (named) trouble = absent;
    if (level.available) known += (known.empty() ? "" : ", ") + std::string(level.table->name);
  }
  throw Error("instruction set '" + printable(name) + "'" +
                  (from_variable ? " (from HEARTH_CPU)" : "") + trouble,
              "choose one of: " + known, ExitCode::kUsage);
}

const KernelTable& without_pairs(const KernelTable& kernels) {
  if (kernels.pair_attention == nullptr) return kernels;
  for (const KernelTable* table : available_kernels()) {
    if (table->pair_attention == nullptr) return *table;
  }
  return portable_kernels();
}

}  // namespace hearth::compute::cpu
