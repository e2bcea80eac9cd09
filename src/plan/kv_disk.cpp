#include "plan/kv_disk.h"

#include "compute/backend.h"
#include "spec/setup.h"
#include "state/page_stream.h"

namespace hearth::plan {
namespace {

// state/memory_disk.cpp: the ring that is read through takes an eighth of the budget, at most so
// much, and at least its slots of one unit of pages each.
constexpr double kRingShare = 8;
constexpr double kMostRing = 1 << 27;

}  // namespace

double disk_rate(const machine::Machine& machine) noexcept {
  double best = 0;
  for (const machine::Disk& disk : machine.disks)
    best = std::max(best, disk.sequential_bytes_per_second);
  return best;
}

KvDivision divide_kv(const KvNeed& need, double budget) noexcept {
  KvDivision result;
  result.memory = need.growing + need.fixed;
  result.in_memory = need.growing;
  if (budget <= 0 || result.memory <= budget || need.growing <= 0) {
    result.enough = budget <= 0 || result.memory <= budget;
    return result;
  }
  const std::int64_t last = std::max<std::int64_t>(need.context, 1) - 1;
  const auto unit = static_cast<double>(compute::attend_end(last) - compute::attend_begin(last));
  const double layer = need.per_token / std::max(1, need.layers);
  const double ring = std::max(std::min(budget / kRingShare, kMostRing),
                               static_cast<double>(state::PageStream::kSlots) * unit * layer);
  const double least = (spec::kPassRows + unit + state::kPageCells) * need.per_token;
  result.in_memory = budget - need.fixed - ring;
  result.enough = result.in_memory >= std::min(least, need.growing);
  result.in_memory = std::clamp(result.in_memory, 0.0, need.growing);
  result.memory = budget;
  result.disk = need.growing;
  return result;
}

}  // namespace hearth::plan
