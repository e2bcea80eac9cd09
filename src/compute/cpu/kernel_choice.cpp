#include "compute/cpu/kernel_choice.h"

#include <cstdlib>

#include "machine/cpu.h"
#include "support/error.h"

namespace hearth::compute::cpu {

namespace {

struct Level {
  const KernelTable* table;
  bool available;
};

/// All levels that were compiled in, best first.
std::vector<Level> levels() {
  [[maybe_unused]] const machine::CpuFeatures features = machine::cpu_features();
  return {
#if defined(__x86_64__)
    {&avx512bf16_kernels(), features.avx512_vnni && features.avx512_vbmi && features.avx512_bf16},
        {&avx512vnni_kernels(), features.avx512_vnni},
#if defined(HEARTH_AVXVNNI_EVEX)
        {&avxvnni_kernels(), features.avx512_vnni},
#else
        {&avxvnni_kernels(), features.avx_vnni},
#endif
        {&avx2_kernels(), features.avx2},
#elif defined(__aarch64__)
    {&neon_dotprod_kernels(), features.neon_dotprod}, {&neon_kernels(), true},
#endif
        {&portable_kernels(), true},
  };
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
  const char* trouble = " is unknown";
  for (const Level& level : levels()) {
    const bool named = name == level.table->name;
    if (level.available && (named || name.empty())) return *level.table;
    if (named) trouble = " is not available on this processor";
    if (level.available) known += (known.empty() ? "" : ", ") + std::string(level.table->name);
  }
  throw Error("instruction set '" + printable(name) + "'" +
                  (from_variable ? " (from HEARTH_CPU)" : "") + trouble,
              "choose one of: " + known);
}

const KernelTable& without_pairs(const KernelTable& kernels) {
  if (kernels.pair_attention == nullptr) return kernels;
  for (const KernelTable* table : available_kernels()) {
    if (table->pair_attention == nullptr) return *table;
  }
  return portable_kernels();
}

}  // namespace hearth::compute::cpu
