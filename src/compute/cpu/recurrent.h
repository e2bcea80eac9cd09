// Recurrent mixers on the CPU. The unit of work is one head (or some channels) of one segment of
// rows, so results depend neither on the number of threads nor on other sequences of the batch.
//
// A state is read from the slot it is in and written to the slot it is wanted in, once each;
// between rows whose states nobody wants it stays in the workspace of the thread, which is in its
// cache. Long runs of rows go through the chunked forms of the recurrences, which are small matrix
// products.
#pragma once

#include <memory>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class RecurrentEngine {
 public:
  RecurrentEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger);

  /// The workspace depends on limits only (spec::kMaxStateSize): it is made by the constructor.
  void reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) noexcept {}

  void convolve(const ConvolveArguments& a) noexcept;
  void delta_scan(const DeltaScanArguments& a) noexcept;
  void selective_scan(const SelectiveScanArguments& a) noexcept;
  void state_space_scan(const StateSpaceScanArguments& a) noexcept;
  void rwkv_scan(const RwkvScanArguments& a) noexcept;

 private:
  /// body(segment, part, workspace) for all parts (heads, strips of channels) of all segments;
  /// `cost` is roughly what one row of a part costs, in multiply-adds.
  template <class Body>
  void for_parts(const RecurrentRows& rows, std::int64_t parts, std::int64_t cost,
                 Body body) noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  AccountedPages workspaces_;
};

}  // namespace hearth::compute::cpu
