// A folder of segments, shared by processes.
//
// Files appear whole under their final names and are never changed but for their use counters, so
// that reading needs no lock. What removes files or adds them holds the folder's lock. A segment
// is of use only with its parent: parents are added before and removed after their children.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "state/segment.h"
#include "support/file_lock.h"

namespace hearth::state {

struct StoredSegment {
  SegmentHeader header;
  SegmentUses uses;
  std::uint64_t file_bytes = 0;
};

/// What is worth keeping: (hits 2^(-age / 6 h) + 1) tokens / bytes; fewer than 0.01 hits count as
/// none (kv-cache.md section 6).
[[nodiscard]] double keeping_score(const StoredSegment& segment, std::int64_t now) noexcept;

class SegmentFolder {
 public:
  using Segments = std::map<Hash128, StoredSegment>;

  /// With `create`, makes the folder if needed. Throws Error when it cannot be used, is no folder
  /// of Hearth's (it has other files and no marker), or was made by a newer Hearth.
  /// With a key only files that are sealed with it are used, without one only plain ones.
  SegmentFolder(std::filesystem::path path, bool create,
                std::shared_ptr<const StoreKey> key = nullptr);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const Segments& segments() const noexcept { return segments_; }
  /// Segments whose ancestors are all there, as after the last refresh().
  [[nodiscard]] bool usable(const Hash128& id) const;
  /// Segments that a chain can have; longer ones are not usable.
  static constexpr std::size_t kMostChain = 4096;
  [[nodiscard]] std::filesystem::path file_of(const SegmentHeader& header) const {
    return path_ / header.file_name();
  }
  /// Files with damaged headers, and of other schema versions, as found by the last refresh().
  [[nodiscard]] const std::vector<std::filesystem::path>& damaged() const noexcept {
    return damaged_;
  }
  [[nodiscard]] const std::vector<std::filesystem::path>& foreign() const noexcept {
    return foreign_;
  }
  /// How many files want another key, or none. locked_remark(): a sentence about them for people;
  /// empty when there are none.
  [[nodiscard]] std::size_t locked() const noexcept { return locked_.size(); }
  [[nodiscard]] std::string locked_remark() const;
  /// Null: files are plain.
  [[nodiscard]] const StoreKey* key() const noexcept { return key_.get(); }

  /// Follows what happened to the folder; cheap when nothing did. True when something had.
  bool refresh();

  /// The lock for publish(), remove() and evict(). Throws Error when another process holds it for
  /// half a minute.
  [[nodiscard]] FileLock lock() const;
  /// Gives a finished file its name, unless its parent is gone: false. A file that is there
  /// already stays.
  bool publish(SegmentWriter& writer);
  /// Removes segments and everything that builds on them. Returns the bytes that are free now.
  std::uint64_t remove(std::span<const Hash128> ids);
  /// Removes what has the lowest score until all files have at most `most_bytes`. `keep` and its
  /// ancestors stay. How often each was used is read from its file then, which takes time: the
  /// lock that keeps `others` from the folder, if there is one, is given up meanwhile.
  void evict(std::uint64_t most_bytes, const Hash128& keep, std::int64_t now,
             std::unique_lock<std::mutex>* others = nullptr);
  /// Removes files that can never be read again: damaged ones, orphans, what killed processes left.
  /// Orphans stay as long as some file cannot be read: it may be what they go on from.
  void clean();
  /// The same, and files of all other schemas and keys, and those that cannot be read.
  void clean_all();
  /// Counts a use of a file whose header was just read: another process may have written it anew
  /// since refresh() did.
  void touch(const SegmentHeader& header, std::int64_t now);
  /// What is known of these is out of date: the next refresh() reads them.
  void forget(std::span<const Hash128> ids);

  /// The segments that `id` builds on, first to last, itself included; empty when one is missing.
  [[nodiscard]] std::vector<Hash128> chain(const Hash128& id) const;
  /// All tokens of a chain.
  [[nodiscard]] std::vector<std::int32_t> tokens(std::span<const Hash128> chain) const;
  /// Segments that no other one builds on: the ends of conversations.
  [[nodiscard]] std::vector<Hash128> leaves() const;
  /// What goes when `id`'s conversation is forgotten: it, what builds on it, and what only they
  /// build on.
  [[nodiscard]] std::vector<Hash128> only_of(const Hash128& id) const;

 private:
  void check_marker(bool create) const;
  void read_new(const std::filesystem::path& path);
  void read_uses(std::unique_lock<std::mutex>* others);
  [[nodiscard]] std::vector<Hash128> orphans() const;
  [[nodiscard]] std::uint64_t total_bytes() const;

  std::filesystem::path path_;
  Segments segments_;
  std::shared_ptr<const StoreKey> key_;
  std::vector<std::filesystem::path> damaged_, foreign_, locked_;
  std::vector<std::filesystem::path> unread_;  // there, but the system refuses them at the moment
  std::string why_locked_, how_to_unlock_;
  std::uint64_t stamp_ = 0;
};

}  // namespace hearth::state
