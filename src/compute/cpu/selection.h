// Attention over chosen cells, the choice of cells, and the pooling of blocks of cells. Each row's
// result depends on its own cells only: the same bits alone, in any batch and on any number of
// threads, so that near-ties are decided alike however a prompt is cut.
#pragma once

#include "compute/backend.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/kernels.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class SelectionEngine {
 public:
  /// Works in the workspace of `attention`.
  SelectionEngine(ThreadTeam& team, const KernelTable& kernels, const AttentionEngine& attention)
      : team_(team), kernels_(kernels), attention_(attention) {}

  void attend_selected(const SelectedAttendArguments& a) noexcept;
  void select_cells(const SelectCellsArguments& a) noexcept;
  void select_blocks(const SelectBlocksArguments& a) noexcept;
  void compress(const CompressArguments& a) noexcept;

 private:
  struct HeadGroups;
  void attend_group(const SelectedAttendArguments& a, const HeadGroups& groups, std::int64_t unit,
                    int thread) noexcept;
  /// Scores of the cells [begin, end) of row `t`.
  void score_cells(const SelectCellsArguments& a, std::int64_t t, std::int64_t begin,
                   std::int64_t end, float* panel, float* to) noexcept;
  void choose_blocks(const SelectBlocksArguments& a, std::int64_t t, std::int64_t group,
                     int thread) noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  const AttentionEngine& attention_;
};

}  // namespace hearth::compute::cpu
