// Coded pages of keys and values in the CPU backend: their coders, and encoding raw pages.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "quant/kv_coder.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// The coders that were ever asked for: a handful. Not for several threads at once.
class CoderCache {
 public:
  /// Made at the first time, which allocates; it stays where it is.
  [[nodiscard]] const quant::KvCoder& of(const KvCode& code, std::int64_t size);

 private:
  std::vector<std::unique_ptr<quant::KvCoder>> coders_;
};

class PageEncoder {
 public:
  PageEncoder(ThreadTeam& team, const KernelTable& kernels, CoderCache& coders) noexcept
      : team_(team), kernels_(kernels), coders_(coders) {}
  void run(const EncodePagesArguments& a) noexcept;

 private:
  ThreadTeam& team_;
  const KernelTable& kernels_;
  CoderCache& coders_;
};

/// A cell of a raw page (F32, F16 or BF16) as floats.
void load_cell_floats(const KernelTable& kernels, KvPart part, const Tensor& pool,
                      const std::byte* page, std::int64_t slot, float* to) noexcept;

}  // namespace hearth::compute::cpu
