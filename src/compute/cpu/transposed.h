// Products with the transposes of a stack of matrices, for the parts of latent attention. The
// matrices are stored for the forward product; they are decoded from the file's bytes by the way,
// a thread taking one matrix after the other.
#pragma once

#include "compute/backend.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/kernels.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class TransposedEngine {
 public:
  /// Works in the workspace of `attention`.
  TransposedEngine(ThreadTeam& team, const KernelTable& kernels, const AttentionEngine& attention)
      : team_(team), kernels_(kernels), attention_(attention) {}

  /// Columns at most 16384.
  void run(const TransposedArguments& a) noexcept;

 private:
  void multiply_matrix(const TransposedArguments& a, std::int64_t product, int thread) noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  const AttentionEngine& attention_;
};

}  // namespace hearth::compute::cpu
