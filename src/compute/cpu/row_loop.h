// Loops over independent rows of a batch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "support/thread_team.h"

namespace hearth::compute::cpu {

// An operation on fewer values than this is done by the caller: waking the team takes about as
// long.
inline constexpr std::int64_t kInlineValues = 1 << 14;

/// body(row) for all rows, by the team when `count` rows of `cost` values are worth it.
template <class Body>
void for_rows(ThreadTeam& team, std::int64_t count, std::int64_t cost, Body body) noexcept {
  if (count * cost <= kInlineValues) {
    for (std::int64_t row = 0; row < count; ++row) body(row);
    return;
  }
  const std::int64_t grain =
      std::clamp<std::int64_t>(kInlineValues / 2 / std::max<std::int64_t>(cost, 1), 1, count);
  team.for_chunks(count, grain, [&](std::int64_t begin, std::int64_t end, int) noexcept {
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace hearth::compute::cpu
