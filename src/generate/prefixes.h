// What a scheduler asks of the memory of earlier prompts. The seam exists so that scheduling can be
// tested without a cache, and with one that forgets on command.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "state/prefix_cache.h"
#include "state/sequence.h"

namespace hearth::generate {

/// See state::PrefixCache. Used by one thread at a time.
class Prefixes {
 public:
  virtual ~Prefixes() = default;
  [[nodiscard]] virtual std::unique_ptr<state::SequenceState> find(
      const state::PrefixKey& key, std::span<const std::int32_t> tokens) = 0;
  virtual void keep(const state::PrefixKey& key, std::span<const std::int32_t> tokens,
                    const state::SequenceState& sequence, bool boundary) = 0;
  [[nodiscard]] virtual std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                                               std::span<const std::int64_t> boundaries) const = 0;
  [[nodiscard]] virtual bool snapshot_due(std::int64_t length) const = 0;
  virtual bool make_room(std::span<const std::int64_t> pages, std::int64_t slots) = 0;
  /// Nothing is to be done: time to write to disk what is not there yet.
  virtual void rest() {}
  [[nodiscard]] virtual state::PrefixCacheStatistics statistics() const { return {}; }
};

}  // namespace hearth::generate
