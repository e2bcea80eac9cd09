// Beginnings of texts that were evaluated before: whoever starts with the same tokens goes on from
// there (radix tree over tokens: Zheng et al. 2023, SGLang, arXiv:2312.07104).
//
// An entry is a SequenceState of its own that shares its pages with whatever it was forked from.
// Without recurrent state and windows any part of an entry can be used; with them only the lengths
// at which a snapshot was taken.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "state/sequence.h"

namespace hearth::state {

/// Prefixes are only found by requests with an equal key.
struct PrefixKey {
  std::string owner;           ///< an API key's name: one's prefixes are not timed by another
  std::uint64_t adapters = 0;  ///< fingerprint of the adapters, their scales and control vectors
  std::uint64_t inputs = 0;    ///< hash of images and other rows that are no tokens
  auto operator<=>(const PrefixKey&) const = default;
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

/// Rows between two snapshots near the end of a text; further back they are sparser.
inline constexpr std::int64_t kSnapshotRows = 256;
/// Fewer more tokens are evaluated sooner than they are read from disk.
inline constexpr std::int64_t kWorthReading = 32;
/// Lengths inside of texts that can be cut anywhere at which logits are remembered: the ends of
/// prompts, which may come again.
inline constexpr std::int64_t kRememberedLogits = 8;

/// Not for several threads at once. All it refers to must outlive it.
class PrefixCache {
 public:
  /// `disk` may be null: then what is evicted is gone.
  PrefixCache(MemoryPool& pool, const PrefixCacheLimits& limits, DiskStore* disk = nullptr);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  /// As many cells and snapshots as the pool was made for, and whatever of it nobody needs: callers
  /// make_room() before passes.
  [[nodiscard]] static PrefixCacheLimits limits_of(const MemoryPool& pool) noexcept;

  /// A sequence that holds the longest remembered beginning of `tokens`, at most all but the last
  /// of them; null when none is known or the pool has no room to go on from it. Looks on disk when
  /// that has more. With `logits`, all of them may be found when the logits after the last one are
  /// remembered; then they are put there, else it is empty.
  [[nodiscard]] std::unique_ptr<SequenceState> find(const PrefixKey& key,
                                                    std::span<const std::int32_t> tokens,
                                                    std::vector<float>* logits = nullptr);
  // Looking on disk takes time. Who cannot wait looks in memory, and fetches what the disk has: a
  // DiskReader reads it into room_for() it, and take_in() remembers it.

  /// As find(), without the disk.
  [[nodiscard]] std::unique_ptr<SequenceState> find_in_memory(const PrefixKey& key,
                                                              std::span<const std::int32_t> tokens,
                                                              std::vector<float>* logits = nullptr);
  /// How many tokens that would find.
  [[nodiscard]] std::int64_t known(const PrefixKey& key, std::span<const std::int32_t> tokens);
  /// An empty sequence that has reserve()d `length` rows; null when there is no room for them.
  [[nodiscard]] std::unique_ptr<SequenceState> room_for(std::int64_t length);
  /// Remembers what was read into it: a beginning of `tokens`.
  void take_in(const PrefixKey& key, std::span<const std::int32_t> tokens,
               std::unique_ptr<SequenceState> sequence, std::span<const float> logits);
  [[nodiscard]] MemoryPool& pool() const noexcept;
  /// Null: there is none.
  [[nodiscard]] DiskStore* disk() const noexcept;

  /// Remembers what `sequence` holds: `tokens` are its rows. Shares its pages. When it extends an
  /// entry without snapshot duties, that one is replaced. Drops the least recently used entries as
  /// the limits demand. `logits`: those after the last row, if they are at hand. `boundary`: later
  /// texts are likely to part from this one here (the end of the system prompt, of a turn); kept
  /// longer than other snapshots.
  void keep(const PrefixKey& key, std::span<const std::int32_t> tokens,
            const SequenceState& sequence, std::span<const float> logits = {},
            bool boundary = false);
  /// Where a pass that begins at row `begin` of a prompt of `total` rows must end at the latest, so
  /// that a snapshot can be taken there with keep(): at the next of `boundaries` (ascending), at
  /// multiples of kSnapshotRows near the end, sparser further back. `total` when no snapshots are
  /// needed or there is no room for any.
  [[nodiscard]] std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                                       std::span<const std::int64_t> boundaries = {}) const;
  /// Whether a sequence that has just grown to `length` rows is worth keep() while it generates:
  /// only with snapshots, every kSnapshotRows rows.
  [[nodiscard]] bool snapshot_due(std::int64_t length) const noexcept;
  /// Gives up least recently used entries (to disk, if there is one) until `pages` pages of every
  /// group and `slots` recurrent slots are free; false when that is not possible.
  bool make_room(std::int64_t pages, std::int64_t slots);
  /// The same with a number of pages for every group of the pool.
  bool make_room(std::span<const std::int64_t> pages, std::int64_t slots);
  /// The same for what growing `sequence` by `rows` rows takes.
  bool make_room_for(const SequenceState& sequence, std::int64_t rows);
  /// Writes all entries that are not on disk yet (the end of the program); returns when done.
  void save_all() noexcept;
  /// Hands the most recently used entries of each text to the disk's writer and goes on.
  void save_in_background() noexcept;
  void clear() noexcept;

  [[nodiscard]] PrefixCacheStatistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::state
