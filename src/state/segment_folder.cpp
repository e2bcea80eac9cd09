#include "state/segment_folder.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>
#include <set>
#include <system_error>

#include "support/error.h"
#include "support/file.h"

namespace hearth::state {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMarker = "hearth-kv";  // the file that says whose folder this is
constexpr std::string_view kMarkerText = "hearth kv store, schema ";
constexpr std::string_view kSuffix = ".kv";

std::string shown(const fs::path& path) { return "'" + printable(path.string(), 300) + "'"; }

bool is_segment_name(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.size() == 32 + kSuffix.size() && name.ends_with(kSuffix) &&
         name.find_first_not_of("0123456789abcdef") == 32;
}

std::uint64_t size_of(const fs::path& path) noexcept {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

void remove_file(const fs::path& path) noexcept {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

double keeping_score(const StoredSegment& segment, std::int64_t now) noexcept {
  constexpr double kHalfLife = 6 * 3600;
  const double age = std::max<double>(0, static_cast<double>(now - segment.uses.last));
  double hits = static_cast<double>(segment.uses.count) * std::exp2(-age / kHalfLife);
  if (hits < 0.01) hits = 0;
  return (hits + 1) * static_cast<double>(segment.header.tokens.size()) /
         static_cast<double>(std::max<std::uint64_t>(1, segment.file_bytes));
}

SegmentFolder::SegmentFolder(fs::path path, bool create, std::shared_ptr<const StoreKey> key)
    : path_(std::move(path)), key_(std::move(key)) {
  if (create) make_private_folder(path_);
  check_marker(create);
  // Only now: a folder of something else was refused and is as it was.
  if (create) close_to_others(path_);
}

void SegmentFolder::check_marker(bool create) const {
  const fs::path marker = path_ / kMarker;
  std::error_code error;
  if (!fs::exists(marker, error)) {
    if (!create) throw Error(shown(path_) + " holds no stored conversations", "check the folder");
    for (const fs::directory_entry& each : fs::directory_iterator(path_)) {
      const std::string name = each.path().filename().string();
      if (is_segment_name(name) || name.starts_with('.') || name == "lock") continue;
      if (name.starts_with(kMarker)) continue;  // another process writes it just now
      throw Error("the folder " + shown(path_) + " has other files in it",
                  "name an empty or a new folder");
    }
    write_file_atomically(marker, std::string(kMarkerText) + std::to_string(kStoreVersion) + "\n");
    return;
  }
  const std::string text = read_file(marker, 4096);
  std::uint32_t version = 0;
  if (text.starts_with(kMarkerText)) {
    (void)std::from_chars(text.data() + kMarkerText.size(), text.data() + text.size(), version);
  }
  if (version > kStoreVersion) {
    throw Error("the stored conversations in " + shown(path_) + " have schema version " +
                    std::to_string(version) + ", and this hearth knows " +
                    std::to_string(kStoreVersion),
                "they were written by a newer hearth: use that one, or another folder");
  }
  // An older or unreadable marker: its files are left out one by one (read_header knows theirs),
  // and from now on the folder is ours.
  if (version < kStoreVersion && create) {
    write_file_atomically(marker, std::string(kMarkerText) + std::to_string(kStoreVersion) + "\n");
  }
}

FileLock SegmentFolder::lock() const {
  return FileLock::take_within(path_ / "lock", std::chrono::seconds(30));
}

bool SegmentFolder::refresh() {
  const std::uint64_t stamp = folder_stamp(path_);
  if (stamp != 0 && stamp == stamp_) return false;
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator each(path_, error), end; !error && each != end;
       each.increment(error)) {
    if (is_segment_name(each->path())) names.insert(each->path().filename().string());
  }
  if (error) throw Error("cannot read the folder " + shown(path_) + ": " + error.message());
  std::erase_if(segments_, [&](const auto& entry) {
    return names.erase(entry.second.header.file_name()) == 0;
  });
  damaged_.clear();
  foreign_.clear();
  locked_.clear();
  unread_.clear();
  for (const std::string& name : names) read_new(path_ / name);
  // Clocks of file systems tick every few milliseconds: what happens in the same tick is not seen.
  constexpr std::int64_t kSettled = 100'000'000;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::int64_t age = std::chrono::nanoseconds(now).count() - file_stamp(path_).modified;
  stamp_ = age > kSettled && unread_.empty() ? stamp : 0;
  return true;
}

void SegmentFolder::read_new(const fs::path& path) {
  try {
    const ReadFile file(path);
    StoredSegment segment;
    segment.header = read_header(file, &segment.uses, key_.get());
    segment.file_bytes = file.size();
    if (segment.header.file_name() != path.filename()) {
      damaged_.push_back(path);
      return;
    }
    segments_.insert_or_assign(segment.header.id, std::move(segment));
  } catch (const SegmentVersion&) {
    foreign_.push_back(path);
  } catch (const LockedSegment& error) {
    locked_.push_back(path);
    why_locked_ = error.what();
    how_to_unlock_ = error.hint();
  } catch (const DamagedSegment&) {
    damaged_.push_back(path);
  } catch (const Error&) {
    // Gone since the folder was listed; or the disk fails, or there are too many open files.
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(path, ignored))) unread_.push_back(path);
  }
}

std::string SegmentFolder::locked_remark() const {
  if (locked_.empty()) return {};
  const std::size_t count = locked_.size();
  return std::to_string(count) + (count == 1 ? " file" : " files") +
         " of stored conversations in " + shown(path_) + (count == 1 ? " is" : " are") +
         " left out: " + why_locked_ + "; " + how_to_unlock_;
}

bool SegmentFolder::usable(const Hash128& id) const { return !chain(id).empty(); }

std::vector<Hash128> SegmentFolder::chain(const Hash128& id) const {
  std::vector<Hash128> ids;
  std::int64_t below = INT64_MAX;
  for (Hash128 at = id; !at.zero();) {
    const auto found = segments_.find(at);
    if (found == segments_.end() || ids.size() == kMostChain) return {};
    const SegmentHeader& header = found->second.header;
    // Every segment reaches at least to where the next one begins, and begins before.
    if (below != INT64_MAX && (header.end < below || header.begin >= below)) return {};
    below = header.begin;
    ids.push_back(at);
    at = header.parent;
  }
  std::reverse(ids.begin(), ids.end());
  return ids;
}

std::vector<std::int32_t> SegmentFolder::tokens(std::span<const Hash128> chain) const {
  std::vector<std::int32_t> all;
  for (const Hash128& id : chain) {
    const SegmentHeader& header = segments_.at(id).header;
    all.resize(static_cast<std::size_t>(header.begin));
    all.insert(all.end(), header.tokens.begin(), header.tokens.end());
  }
  return all;
}

std::vector<Hash128> SegmentFolder::leaves() const {
  std::set<Hash128> parents;
  for (const auto& [id, segment] : segments_) parents.insert(segment.header.parent);
  std::vector<Hash128> result;
  for (const auto& [id, segment] : segments_) {
    if (!parents.contains(id) && usable(id)) result.push_back(id);
  }
  return result;
}

std::vector<Hash128> SegmentFolder::only_of(const Hash128& id) const {
  // Down to everything that builds on it ...
  std::set<Hash128> gone = {id};
  for (bool more = true; more;) {
    more = false;
    for (const auto& [other, segment] : segments_) {
      if (gone.contains(segment.header.parent) && gone.insert(other).second) more = true;
    }
  }
  // ... and up to what nothing else builds on.
  const auto found = segments_.find(id);
  for (Hash128 at = found == segments_.end() ? Hash128{} : found->second.header.parent;
       !at.zero();) {
    const bool shared = std::any_of(segments_.begin(), segments_.end(), [&](const auto& entry) {
      return entry.second.header.parent == at && !gone.contains(entry.first);
    });
    const auto parent = segments_.find(at);
    if (shared || parent == segments_.end()) break;
    gone.insert(at);
    at = parent->second.header.parent;
  }
  return {gone.begin(), gone.end()};
}

bool SegmentFolder::publish(SegmentWriter& writer) {
  const SegmentHeader& header = writer.header();
  refresh();
  // Another process was faster; what builds on its file may not fit onto ours.
  if (usable(header.id)) return true;
  if (!header.parent.zero() && !usable(header.parent)) return false;
  writer.publish();
  stamp_ = 0;
  segments_.insert_or_assign(header.id,
                             StoredSegment{header, {header.created, 0}, header.file_bytes()});
  return true;
}

std::uint64_t SegmentFolder::remove(std::span<const Hash128> ids) {
  std::set<Hash128> gone(ids.begin(), ids.end());
  for (bool more = true; more;) {
    more = false;
    for (const auto& [id, segment] : segments_) {
      if (gone.contains(segment.header.parent) && gone.insert(id).second) more = true;
    }
  }
  std::uint64_t bytes = 0;
  for (const Hash128& id : gone) {
    const auto found = segments_.find(id);
    if (found == segments_.end()) continue;
    bytes += found->second.file_bytes;
    remove_file(file_of(found->second.header));
    segments_.erase(found);
  }
  if (!gone.empty()) sync_folder(path_);
  return bytes;
}

std::uint64_t SegmentFolder::total_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [id, segment] : segments_) total += segment.file_bytes;
  for (const fs::path& path : damaged_) total += size_of(path);
  for (const fs::path& path : foreign_) total += size_of(path);
  for (const fs::path& path : locked_) total += size_of(path);
  for (const fs::path& path : unread_) total += size_of(path);
  return total;
}

/// Other processes count, too, and write files anew.
void SegmentFolder::read_uses(std::unique_lock<std::mutex>* others) {
  struct File {
    Hash128 id;
    fs::path path;
    SegmentUses known;
    std::optional<StoredSegment> read = {};
  };
  std::vector<File> files;
  for (const auto& [id, segment] : segments_)
    files.push_back({id, file_of(segment.header), segment.uses});
  if (others != nullptr) others->unlock();
  for (File& each : files) {
    try {
      const ReadFile file(each.path);
      StoredSegment segment;
      segment.header = read_header(file, &segment.uses, key_.get());
      segment.file_bytes = file.size();
      each.read = std::move(segment);
    } catch (const Error&) {
      // It keeps the numbers it had.
    }
  }
  if (others != nullptr) others->lock();
  for (File& each : files) {
    const auto found = segments_.find(each.id);
    // Not those that were used or removed meanwhile.
    if (each.read && found != segments_.end() && found->second.uses == each.known)
      found->second = std::move(*each.read);
  }
}

void SegmentFolder::evict(std::uint64_t most_bytes, const Hash128& keep, std::int64_t now,
                          std::unique_lock<std::mutex>* others) {
  refresh();
  std::uint64_t total = total_bytes();
  if (total <= most_bytes) return;
  clean();
  total = total_bytes();
  for (std::vector<fs::path>* const useless : {&foreign_, &locked_}) {
    while (!useless->empty() && total > most_bytes) {
      total -= size_of(useless->back());
      remove_file(useless->back());
      useless->pop_back();
    }
  }
  if (total <= most_bytes) return;
  read_uses(others);
  total = total_bytes();
  std::map<Hash128, int> children;
  for (const auto& [id, segment] : segments_) ++children[segment.header.parent];
  for (const Hash128& id : chain(keep)) children[id] += 1;  // never without children: it stays
  while (total > most_bytes) {
    auto worst = segments_.end();
    double least = 0;
    for (auto each = segments_.begin(); each != segments_.end(); ++each) {
      if (children[each->first] > 0) continue;
      const double score = keeping_score(each->second, now);
      if (worst != segments_.end() && score >= least) continue;
      worst = each;
      least = score;
    }
    if (worst == segments_.end()) break;
    --children[worst->second.header.parent];
    total -= worst->second.file_bytes;
    remove_file(file_of(worst->second.header));
    segments_.erase(worst);
  }
  sync_folder(path_);
}

void SegmentFolder::clean() {
  UnpublishedFile::remove_abandoned(path_);
  for (const fs::path& path : damaged_) remove_file(path);
  damaged_.clear();
  if (!unread_.empty()) return;
  const std::vector<Hash128> alone = orphans();
  if (!alone.empty()) remove(alone);
}

/// What goes on from nothing that is there, or that it fits onto, and what goes on from that.
std::vector<Hash128> SegmentFolder::orphans() const {
  // A segment begins before those that go on from it.
  std::vector<const SegmentHeader*> headers;
  for (const auto& [id, segment] : segments_) headers.push_back(&segment.header);
  std::sort(headers.begin(), headers.end(),
            [](const auto* a, const auto* b) { return a->begin < b->begin; });
  std::set<Hash128> whole;
  std::vector<Hash128> result;
  for (const SegmentHeader* header : headers) {
    const auto parent = segments_.find(header->parent);
    const bool fits = parent != segments_.end() && whole.contains(header->parent) &&
                      parent->second.header.end >= header->begin &&
                      parent->second.header.begin < header->begin;
    if (header->parent.zero() || fits) {
      whole.insert(header->id);
    } else {
      result.push_back(header->id);
    }
  }
  return result;
}

void SegmentFolder::clean_all() {
  clean();
  for (const fs::path& path : foreign_) remove_file(path);
  for (const fs::path& path : locked_) remove_file(path);
  for (const fs::path& path : unread_) remove_file(path);
  foreign_.clear();
  locked_.clear();
  unread_.clear();
  sync_folder(path_);
}

void SegmentFolder::forget(std::span<const Hash128> ids) {
  for (const Hash128& id : ids) segments_.erase(id);
  stamp_ = 0;
}

void SegmentFolder::touch(const SegmentHeader& header, std::int64_t now) {
  const auto found = segments_.find(header.id);
  if (found == segments_.end()) return;
  found->second.header = header;
  found->second.file_bytes = header.file_bytes();
  ++found->second.uses.count;
  found->second.uses.last = now;
  write_uses(file_of(found->second.header), found->second.header, found->second.uses, key_.get());
}

}  // namespace hearth::state
