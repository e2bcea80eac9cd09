// A scheduler's memory of earlier prompts: the prefix cache, with the disk on a thread of its own.
#pragma once

#include <memory>
#include <unordered_map>

#include "generate/prefixes.h"
#include "state/disk_reader.h"

namespace hearth::generate {

/// Those of a cache, which must outlive it; what its disk has is fetched.
class CachedPrefixes final : public Prefixes {
 public:
  explicit CachedPrefixes(state::PrefixCache& cache) : cache_(cache) {}

  std::unique_ptr<state::SequenceState> find(const state::PrefixKey& key,
                                             std::span<const std::int32_t> tokens,
                                             std::vector<float>* logits) override {
    return cache_.find_in_memory(key, tokens, logits);
  }
  void keep(const state::PrefixKey& key, std::span<const std::int32_t> tokens,
            const state::SequenceState& sequence, std::span<const float> logits,
            bool boundary) override {
    cache_.keep(key, tokens, sequence, logits, boundary);
  }
  std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                         std::span<const std::int64_t> boundaries) const override {
    return cache_.next_stop(begin, total, boundaries);
  }
  bool snapshot_due(std::int64_t length) const override { return cache_.snapshot_due(length); }
  bool make_room(std::span<const std::int64_t> pages, std::int64_t slots) override {
    return cache_.make_room(pages, slots);
  }
  void start(std::function<void()> ready) override;
  void stop() override;
  bool fetch(std::uint64_t request, const state::PrefixKey& key,
             std::span<const std::int32_t> tokens) override;
  std::vector<std::uint64_t> fetched() override;
  void forget(std::uint64_t request) override { fetches_.erase(request); }
  void rest() override { cache_.save_in_background(); }
  [[nodiscard]] state::PrefixCacheStatistics statistics() const override {
    return cache_.statistics();
  }

 private:
  struct Fetch {
    state::PrefixKey key;
    std::vector<std::int32_t> tokens;
  };
  [[nodiscard]] bool go_on(const Fetch& fetch, state::DiskReader::Answer& answer);

  state::PrefixCache& cache_;
  std::unordered_map<std::uint64_t, Fetch> fetches_;
  std::unique_ptr<state::DiskReader> reader_;  // null: nothing is on disk
};

}  // namespace hearth::generate
