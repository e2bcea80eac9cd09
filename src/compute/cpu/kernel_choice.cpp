#include "compute/cpu/kernel_choice.h"

#include <cstdlib>

#include "machine/cpu.h"
#include "support/error.h"

namespace hearth::compute::cpu {

std::vector<const KernelTable*> available_kernels() {
  std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
  const machine::CpuFeatures features = machine::cpu_features();
  if (features.avx512_vnni && features.avx512_vbmi && features.avx512_bf16) {
    tables.push_back(&avx512bf16_kernels());
  }
  if (features.avx512_vnni) tables.push_back(&avx512vnni_kernels());
#if defined(HEARTH_AVXVNNI_EVEX)
  if (features.avx512_vnni) tables.push_back(&avxvnni_kernels());
#else
  if (features.avx_vnni) tables.push_back(&avxvnni_kernels());
#endif
  if (features.avx2) tables.push_back(&avx2_kernels());
#elif defined(__aarch64__)
  if (machine::cpu_features().neon_dotprod) tables.push_back(&neon_dotprod_kernels());
  tables.push_back(&neon_kernels());
#endif
  tables.push_back(&portable_kernels());
  return tables;
}

const KernelTable& choose_kernels(const std::string& wanted) {
  const std::vector<const KernelTable*> tables = available_kernels();
  const char* const variable = std::getenv("HEARTH_CPU");
  const bool from_variable = variable != nullptr && *variable != '\0';
  const std::string name = from_variable ? variable : wanted;
  if (name.empty()) return *tables.front();
  std::string known;
  for (const KernelTable* table : tables) {
    if (name == table->name) return *table;
    known += (known.empty() ? "" : ", ") + std::string(table->name);
  }
  throw Error("instruction set '" + printable(name) + "'" +
                  (from_variable ? " (from HEARTH_CPU)" : "") +
                  " is unknown or not available on this processor",
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
