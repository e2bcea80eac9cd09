// TODO(helper): say what this file is.
#pragma once

#include <memory>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class RecurrentEngine {
 public:
  RecurrentEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {}

  /// Workspace for batches of `rows` rows of at most `columns` features. Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns);

  void convolve(const ConvolveArguments& a) noexcept;
  void delta_scan(const DeltaScanArguments& a) noexcept;
  void selective_scan(const SelectiveScanArguments& a) noexcept;
  void state_space_scan(const StateSpaceScanArguments& a) noexcept;
  void rwkv_scan(const RwkvScanArguments& a) noexcept;

 private:
  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace hearth::compute::cpu
