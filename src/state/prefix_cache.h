// Beginnings of texts that were evaluated before: whoever starts with the same tokens goes on from
// there (radix tree over tokens: Zheng et al. 2023, SGLang, arXiv:2312.07104).
//
// An entry is a SequenceState of its own that shares its pages with whatever it was forked from.
// Without recurrent state and windows any part of an entry can be used; with them only the lengths
// at which a snapshot was taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "state/sequence.h"

namespace hearth::state {

/// Prefixes are only found by requests with an equal key.
struct PrefixKey {
  std::string owner;           ///< an API key's name: one's prefixes are not timed by another
  std::uint64_t adapters = 0;  ///< fingerprint of the adapters, their scales and control vectors
  std::uint64_t inputs = 0;    ///< hash of images and other rows that are no tokens
  bool operator==(const PrefixKey&) const = default;
};

struct PrefixCacheLimits {
  /// Cells and recurrent slots that entries may hold which no running sequence shares. 0: none are
  /// kept.
  std::int64_t cells = 0;
  std::int64_t snapshots = 0;
};

struct PrefixCacheStatistics {
  std::int64_t entries = 0, cells = 0, snapshots = 0;
  std::int64_t hits = 0, misses = 0, tokens_reused = 0, evicted = 0, from_disk = 0;
};

class DiskStore;

/// Not for several threads at once. All it refers to must outlive it.
class PrefixCache {
 public:
  /// `disk` may be null: then what is evicted is gone.
  PrefixCache(MemoryPool& pool, const PrefixCacheLimits& limits, DiskStore* disk = nullptr);
  ~PrefixCache();

  /// A sequence that holds the longest remembered beginning of `tokens`, at most all but the last
  /// of them; null when none is known or the pool has no room to go on from it. Looks on disk when
  /// that has more.
  [[nodiscard]] std::unique_ptr<SequenceState> find(const PrefixKey& key,
                                                    std::span<const std::int32_t> tokens);
  /// Remembers what `sequence` holds: `tokens` are its rows. Shares its pages. When it extends an
  /// entry without snapshot duties, that one is replaced. Drops the least recently used entries as
  /// the limits demand.
  void keep(const PrefixKey& key, std::span<const std::int32_t> tokens,
            const SequenceState& sequence);
  /// Gives up least recently used entries (to disk, if there is one) until `pages` pages of every
  /// group and `slots` recurrent slots are free; false when that is not possible.
  bool make_room(std::int64_t pages, std::int64_t slots);
  /// Writes all entries that are not on disk yet (the end of the program); returns when done.
  void save_all() noexcept;
  void clear() noexcept;

  [[nodiscard]] PrefixCacheStatistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::state
