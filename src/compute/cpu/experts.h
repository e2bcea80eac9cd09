// TODO(helper): say what this file is.
#pragma once

#include <memory>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class ExpertEngine {
 public:
  ExpertEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {}

  /// Workspace for batches of `rows` rows of at most `columns` features. Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns);

  void route(const RouteArguments& a) noexcept;
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept;

 private:
  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace hearth::compute::cpu
