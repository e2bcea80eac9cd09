// What a scheduler asks of the memory of earlier prompts. The seam exists so that scheduling can be
// tested without a cache, and with one that forgets on command.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "state/prefix_cache.h"
#include "state/sequence.h"

namespace hearth::generate {

/// See state::PrefixCache. Used by one thread at a time.
class Prefixes {
 public:
  virtual ~Prefixes() = default;
  /// At most all but the last of `tokens`; all of them when the logits after them are remembered,
  /// which are then put into `logits`. Takes no time worth mentioning.
  [[nodiscard]] virtual std::unique_ptr<state::SequenceState> find(
      const state::PrefixKey& key, std::span<const std::int32_t> tokens,
      std::vector<float>* logits) = 0;
  virtual void keep(const state::PrefixKey& key, std::span<const std::int32_t> tokens,
                    const state::SequenceState& sequence, std::span<const float> logits,
                    bool boundary) = 0;
  [[nodiscard]] virtual std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                                               std::span<const std::int64_t> boundaries) const = 0;
  [[nodiscard]] virtual bool snapshot_due(std::int64_t length) const = 0;
  virtual bool make_room(std::span<const std::int64_t> pages, std::int64_t slots) = 0;

  // What is not in memory is fetched while others go on.

  /// `ready` is called on another thread when fetched() has something to do, until stop() returns.
  virtual void start(std::function<void()> /*ready*/) {}
  virtual void stop() {}
  /// Begins to look for more of `tokens` than find() would give now. False when there is nowhere to
  /// look; else find() is worth calling when fetched() names the request.
  [[nodiscard]] virtual bool fetch(std::uint64_t /*request*/, const state::PrefixKey& /*key*/,
                                   std::span<const std::int32_t> /*tokens*/) {
    return false;
  }
  /// The requests whose fetch has ended since, whether something was found or not; those that do
  /// not wait any more, too: until then there may be pages that are read into.
  [[nodiscard]] virtual std::vector<std::uint64_t> fetched() { return {}; }
  /// The request does not wait for its fetch any more.
  virtual void forget(std::uint64_t /*request*/) {}

  /// Nothing is to be done: time to write to disk what is not there yet.
  virtual void rest() {}
  [[nodiscard]] virtual state::PrefixCacheStatistics statistics() const { return {}; }
};

}  // namespace hearth::generate
