// Remembered prefixes on disk: found again after a restart by the hashes of the beginnings of a
// text (the file format is in segment.h; what the folder guarantees in segment_folder.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "state/prefix_cache.h"
#include "state/segment.h"
#include "state/sequence.h"

namespace hearth::state {

/// Whose memories these are. Nothing is found under another fingerprint.
struct StoreIdentity {
  std::string model;  ///< for people: `hearth sessions`
  /// Of everything that decides what a token's keys and values are: the model's file, rope
  /// settings, exactness (model/store_identity.h makes it). Adapters are in the PrefixKey, formats
  /// of keys and values in MemoryPool::fingerprint().
  Hash128 fingerprint;
};

struct DiskStoreOptions {
  std::filesystem::path folder;
  /// Of all files together; what has been used least goes first.
  std::uint64_t most_bytes = std::uint64_t{8} << 30;
  /// Shorter texts are evaluated again sooner than they are read.
  std::int64_t least_tokens = 64;
  /// Left free on the disk.
  std::uint64_t reserve_bytes = std::uint64_t{256} << 20;
  /// Files are sealed with it, and only those that are are found. Null: they are plain.
  std::shared_ptr<const StoreKey> key = nullptr;
  /// Told, once per kind of trouble, that something could not be kept or read back. Called on any
  /// thread; may be empty.
  std::function<void(const std::string&)> warn = {};
  /// Unix seconds; empty: the computer's clock.
  std::function<std::int64_t()> now = {};
};

/// What is left of `options.most_bytes` for texts, beside `spilled` bytes of a context that has no
/// room in memory (MemoryLimits::kv_budget); 0 when that is not worth a store. `options.warn` is
/// told what follows from that: nothing is kept, or not everything is encrypted.
[[nodiscard]] std::uint64_t bytes_for_texts(const DiskStoreOptions& options, std::uint64_t spilled);

/// A beginning of a text that is on disk.
struct StoredPrefix {
  std::int64_t length = 0;
  bool logits = false;         // those after its last token are there, too
  std::vector<Hash128> chain;  // the segments to read, first to last
};

/// One model's view of a folder, which other processes and models may use at the same time. Save
/// from one thread; find and load from one, perhaps another; files are written by a third one.
class DiskStore {
 public:
  /// Makes the folder if needed and reads the headers of its files. Throws Error when it cannot be
  /// used, and for files of a newer Hearth.
  DiskStore(const DiskStoreOptions& options, StoreIdentity identity);
  /// Finishes what is being written.
  ~DiskStore();
  DiskStore(const DiskStore&) = delete;
  DiskStore& operator=(const DiskStore&) = delete;

  /// The longest stored beginning of `tokens` that a sequence of `pool` can go on from, of at most
  /// `most` tokens and more than `least`.
  [[nodiscard]] std::optional<StoredPrefix> find(const PrefixKey& key, const MemoryPool& pool,
                                                 std::span<const std::int32_t> tokens,
                                                 std::int64_t most, std::int64_t least = 0);
  /// Reads it into an empty sequence. With `logits`, those after its last token, empty when they
  /// are not stored. False when a file is gone, cannot be opened or is damaged (then it is
  /// removed): the sequence is empty. Throws Error when the pool is full.
  [[nodiscard]] bool load(const StoredPrefix& stored, SequenceState& sequence,
                          std::vector<float>* logits = nullptr);
  /// Writes `sequence`, whose rows are `tokens`, unless it is there already: only what no stored
  /// text has in common with it. Copies the bytes and returns; when more than a few hundred
  /// megabytes wait for the disk, it waits for it. Never throws: trouble is told by `warn`.
  void save(const PrefixKey& key, std::span<const std::int32_t> tokens,
            const SequenceState& sequence, std::span<const float> logits = {}) noexcept;
  /// Waits until everything is written.
  void flush() noexcept;

 private:
  void remove_damaged(const StoredPrefix& stored) noexcept;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::state
