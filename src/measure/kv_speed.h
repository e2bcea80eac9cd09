// How long attention takes by the format of keys and values.
#pragma once

#include <cstdint>

#include "compute/backend.h"
#include "spec/kv_format.h"

namespace hearth::measure {

struct KvSpeedSize {
  std::int64_t heads = 32, kv_heads = 8, size = 128, cells = 16384;
};

/// Seconds that one new token takes in one layer, its attention over `cells` others: the median of
/// five or more, for at least `least_seconds` together (at most about one).
[[nodiscard]] double kv_attention_seconds(compute::Backend& backend, const spec::KvFormat& format,
                                          const KvSpeedSize& size, double least_seconds);

}  // namespace hearth::measure
