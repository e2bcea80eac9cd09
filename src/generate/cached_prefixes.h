// A scheduler's memory of earlier prompts: the prefix cache.
#pragma once

#include "generate/prefixes.h"

namespace hearth::generate {

/// Those of a cache, which must outlive it.
class CachedPrefixes final : public Prefixes {
 public:
  explicit CachedPrefixes(state::PrefixCache& cache) : cache_(cache) {}
  std::unique_ptr<state::SequenceState> find(const state::PrefixKey& key,
                                             std::span<const std::int32_t> tokens) override {
    return cache_.find(key, tokens);
  }
  void keep(const state::PrefixKey& key, std::span<const std::int32_t> tokens,
            const state::SequenceState& sequence, bool boundary) override {
    cache_.keep(key, tokens, sequence, {}, boundary);
  }
  std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                         std::span<const std::int64_t> boundaries) const override {
    return cache_.next_stop(begin, total, boundaries);
  }
  bool snapshot_due(std::int64_t length) const override { return cache_.snapshot_due(length); }
  bool make_room(std::span<const std::int64_t> pages, std::int64_t slots) override {
    return cache_.make_room(pages, slots);
  }
  void rest() override { cache_.save_in_background(); }
  [[nodiscard]] state::PrefixCacheStatistics statistics() const override {
    return cache_.statistics();
  }

 private:
  state::PrefixCache& cache_;
};

}  // namespace hearth::generate
