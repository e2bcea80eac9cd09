// The less common elementwise operations: products, mixtures of a row's parts, normalisations to a
// given length, sparsification, and the weights of hyper-connections.
#pragma once

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// See compute/backend.h for the operations. Needs no workspace.
class ElementwiseEngine {
 public:
  ElementwiseEngine(ThreadTeam& team, const KernelTable& kernels)
      : team_(team), kernels_(kernels) {}

  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept;
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept;
  void match_norm(const Tensor& x, const Tensor& like) noexcept;
  void keep_largest(const Tensor& x, float multiplier) noexcept;
  void hyper_weights(const HyperWeightsArguments& a) noexcept;

 private:
  ThreadTeam& team_;
  const KernelTable& kernels_;
};

}  // namespace hearth::compute::cpu
