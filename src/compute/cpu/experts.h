// Mixtures of experts: the choice of experts, and products in which every row of the batch has its
// own matrices out of a stack.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/matmul.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

class ExpertEngine {
 public:
  /// Converts and packs in the workspace of `matmul`, which must outlive the engine.
  ExpertEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger,
               const MatmulEngine& matmul)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)), matmul_(matmul) {}

  /// Grows the workspace for stacks of `matrices` matrices. Throws Error.
  void reserve_stack(std::int64_t matrices);

  void route(const RouteArguments& a) noexcept;
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept;

 private:
  /// Products with one matrix: order_[begin] .. order_[begin + count - 1].
  struct Group {
    std::int32_t matrix, begin, count;
  };
  struct Slab;
  void run_slab(const Slab& slab, std::span<const Group> groups,
                std::span<const GroupedProjection> projections) noexcept;
  std::span<const Group> group(const Slab& slab, const Tensor& ids, std::int64_t matrices) noexcept;
  void convert(const Slab& slab, std::int64_t begin, std::int64_t end) const noexcept;
  std::int64_t multiply_panels(const Slab& slab, const GroupedProjection& projection,
                               const Group& group, std::int64_t panel, int thread) const noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
  const MatmulEngine& matmul_;
  std::int64_t matrices_ = 0;
  AccountedPages index_;
  // Parts of index_.
  std::int32_t* order_ = nullptr;  // products of a slab, by matrix
  Group* groups_ = nullptr;
  std::int32_t* begins_ = nullptr;  // [matrices + 1]
};

}  // namespace hearth::compute::cpu
