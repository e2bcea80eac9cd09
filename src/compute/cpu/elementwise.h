// TODO(helper): say what this file is.
#pragma once

#include <memory>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class ElementwiseEngine {
 public:
  ElementwiseEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {}

  /// Workspace for batches of `rows` rows of at most `columns` features. Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns);

  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept;
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept;
  void match_norm(const Tensor& x, const Tensor& like) noexcept;
  void keep_largest(const Tensor& x, float multiplier) noexcept;
  void hyper_weights(const HyperWeightsArguments& a) noexcept;

 private:
  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace hearth::compute::cpu
