#include "state/disk_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "state/segment_folder.h"
#include "state/segment_queue.h"

namespace hearth::state {
namespace {

/// Hashes of beginnings of this many more tokens each can be looked up.
constexpr std::int64_t kHashStep = 64;
/// A text that can be cut anywhere is not written again for fewer new tokens than these.
constexpr std::int64_t kLeastNewTokens = 16;

using Chain = std::vector<Hash128>;  // [i]: of the first i tokens

Chain chain_of(Hash128 hash, std::span<const std::int32_t> tokens) {
  Chain chain;
  chain.reserve(tokens.size() + 1);
  chain.push_back(hash);
  for (const std::int32_t token : tokens) {
    hash = next_in_chain(hash, token);
    chain.push_back(hash);
  }
  return chain;
}

/// Sequences of the pool can be cut to any length.
bool cuts_anywhere(const MemoryPool& pool) {
  return !pool.recurrent() &&
         std::all_of(pool.groups().begin(), pool.groups().end(), [](const spec::CellGroup& group) {
           return group.window == 0 && !group.encoder;
         });
}

bool has_coded_pages(const MemoryPool& pool) {
  for (std::size_t group = 0; group < pool.groups().size(); ++group) {
    if (pool.coded(group)) return true;
  }
  return false;
}

/// Has groups whose cells can be shared between segments.
bool has_common_cells(const MemoryPool& pool) {
  return std::any_of(pool.groups().begin(), pool.groups().end(), [](const spec::CellGroup& group) {
    return group.window == 0 && !group.encoder;
  });
}

/// A store of less is not worth its files.
constexpr std::uint64_t kLeastBytes = 1'000'000;

}  // namespace

struct DiskStore::Impl {
  Impl(const DiskStoreOptions& given, StoreIdentity whose)
      : options(given),
        identity(std::move(whose)),
        folder(options.folder, /*create=*/true, options.key) {
    const FileLock lock = folder.lock();
    folder.refresh();
    folder.clean();
    index_segments();
    if (options.warn && folder.locked() > 0) options.warn(folder.locked_remark());
    queue = std::make_unique<SegmentQueue>(
        SegmentQueue::Options{options.folder, options.most_bytes, options.reserve_bytes,
                              options.key.get(), [this](SegmentWriter& writer) { publish(writer); },
                              [this](const SegmentQueue::Result& result) { done(result); }});
  }

  [[nodiscard]] std::int64_t now() const {
    if (options.now) return options.now();
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  [[nodiscard]] SegmentHeader header_for(const PrefixKey& key, const MemoryPool& pool) const {
    SegmentHeader header;
    header.identity = identity.fingerprint;
    header.model = identity.model;
    header.key = key;
    header.format = pool.fingerprint();
    return header;
  }

  /// With `mutex` held. Follows what other processes did.
  void refresh() {
    if (folder.refresh()) index_segments();
  }

  void index_segments() {
    const bool some_gone = std::any_of(indexed.begin(), indexed.end(), [this](const Hash128& id) {
      return !folder.segments().contains(id) && !pending.contains(id);
    });
    if (some_gone) {
      indexed.clear();
      steps.clear();
      for (const auto& [id, header] : pending) index(header);
    }
    for (const auto& [id, segment] : folder.segments()) {
      if (segment.header.identity == identity.fingerprint) index(segment.header);
    }
  }

  void index(const SegmentHeader& header) {
    if (!indexed.insert(header.id).second) return;
    Hash128 hash = header.before;
    std::int64_t position = header.begin;
    for (const std::int32_t token : header.tokens) {
      hash = next_in_chain(hash, token);
      if (++position % kHashStep == 0) steps.emplace(hash, header.id);
    }
  }

  [[nodiscard]] const SegmentHeader* stored(const Hash128& id) const {
    const auto found = folder.segments().find(id);
    return found == folder.segments().end() ? nullptr : &found->second.header;
  }
  [[nodiscard]] const SegmentHeader* stored_or_pending(const Hash128& id) const {
    if (const SegmentHeader* header = stored(id)) return header;
    const auto found = pending.find(id);
    return found == pending.end() ? nullptr : &found->second;
  }

  /// The segment that has the last of the first `length` tokens of a text; null: none.
  [[nodiscard]] const SegmentHeader* segment_with(const Chain& chain, std::int64_t length,
                                                  bool inside, bool also_pending) const {
    const auto known = [&](const Hash128& id) {
      return also_pending ? stored_or_pending(id) : stored(id);
    };
    const Hash128& hash = chain[static_cast<std::size_t>(length)];
    if (const SegmentHeader* header = known(hash)) return header;
    if (!inside || length % kHashStep != 0) return nullptr;
    const auto found = steps.find(hash);
    return found == steps.end() ? nullptr : known(found->second);
  }

  std::optional<StoredPrefix> verified(const SegmentHeader& header,
                                       std::span<const std::int32_t> tokens, std::int64_t length,
                                       bool inside) const {
    StoredPrefix result;
    result.chain = folder.chain(header.id);
    if (result.chain.empty()) return std::nullopt;
    const std::vector<std::int32_t> all = folder.tokens(result.chain);
    const auto differ = std::mismatch(tokens.begin(), tokens.end(), all.begin(), all.end());
    const std::int64_t common = differ.first - tokens.begin();
    if (common < length) return std::nullopt;
    result.length = inside ? common : length;
    return result;
  }

  void publish(SegmentWriter& writer) {
    const FileLock across = folder.lock();
    std::unique_lock lock(mutex);
    const Hash128 id = writer.header().id;
    if (!folder.publish(writer)) throw Error("what it goes on from was removed meanwhile");
    pending.erase(id);
    folder.evict(options.most_bytes, id, now(), &lock);
  }

  void done(const SegmentQueue::Result& result) {
    bool tell = false;
    {
      const std::lock_guard lock(mutex);
      pending.erase(result.id);
      tell = !result.problem.empty() && warned.insert(result.problem).second;
    }
    if (tell) warn(result.problem);
  }

  void warn(const std::string& problem) const {
    if (options.warn) options.warn("the conversation is not kept on disk: " + problem);
  }

  /// Segments from the first one of a text to this one.
  [[nodiscard]] std::size_t links(Hash128 id) const {
    std::size_t count = 0;
    for (; !id.zero() && count < SegmentFolder::kMostChain; ++count) {
      const SegmentHeader* header = stored_or_pending(id);
      if (header == nullptr) break;
      id = header->parent;
    }
    return count;
  }

  /// Where a new segment of these tokens begins, and whose child it is.
  void choose_parent(const Chain& chain, const MemoryPool& pool, SegmentHeader& header) const {
    header.begin = 0;
    header.parent = {};
    if (!has_common_cells(pool)) return;
    const std::int64_t rows = pool.rows_between_pages();
    for (std::int64_t length = header.end; length >= rows; --length) {
      const SegmentHeader* base = segment_with(chain, length, /*inside=*/true, true);
      if (base == nullptr) continue;
      const std::int64_t begin = length - length % rows;
      const Hash128 parent = begin > base->begin ? base->id : base->parent;
      if (links(parent) >= SegmentFolder::kMostChain) return;  // it is written whole
      header.begin = begin;
      header.parent = parent;
      return;
    }
  }

  void save(const PrefixKey& key, std::span<const std::int32_t> tokens,
            const SequenceState& sequence, std::span<const float> logits) {
    const auto length = static_cast<std::int64_t>(tokens.size());
    if (length < options.least_tokens || sequence.encoder_length() > 0) return;
    const MemoryPool& pool = sequence.pool();
    SegmentHeader header = header_for(key, pool);
    const Chain chain = chain_of(header.seed(), tokens);
    header.id = chain.back();
    header.end = length;
    header.created = now();
    {
      const std::lock_guard lock(mutex);
      refresh();
      if (stored_or_pending(header.id) != nullptr) return;
      choose_parent(chain, pool, header);
      if (cuts_anywhere(pool) && covered(chain, length)) return;
      header.before = chain[static_cast<std::size_t>(header.begin)];
      const auto own = tokens.subspan(static_cast<std::size_t>(header.begin));
      header.tokens.assign(own.begin(), own.end());
      pending.emplace(header.id, header);
      index(header);
    }
    write(header, sequence, logits);
  }

  /// All but a few of the tokens are in some segment.
  [[nodiscard]] bool covered(const Chain& chain, std::int64_t length) const {
    for (std::int64_t most = length; most > length - kLeastNewTokens && most > 0; --most) {
      if (segment_with(chain, most, true, true) != nullptr) return true;
    }
    return false;
  }

  void write(const SegmentHeader& header, const SequenceState& sequence,
             std::span<const float> logits) {
    std::uint64_t bytes = 0;
    const ByteSink sink = [&](std::span<const std::byte> more) {
      bytes += more.size();
      queue->write(more);
    };
    queue->begin(header);
    try {
      sequence.save_cells(header.begin, sink);
      const std::uint64_t cells = bytes;
      sequence.save_state(sink);
      const std::uint64_t state = bytes - cells;
      queue->write(std::as_bytes(logits));
      queue->end(cells, state, logits.size());
    } catch (...) {
      queue->abandon();
      throw;
    }
  }

  /// Reads a chain's files one after the other: a long chain has more of them than may be open at
  /// once. The headers of all, for touch(); nothing when one is gone, cannot be opened or does not
  /// fit: the sequence is then empty.
  std::optional<std::vector<SegmentHeader>> read(const std::vector<std::filesystem::path>& paths,
                                                 const StoredPrefix& prefix,
                                                 SequenceState& sequence,
                                                 std::vector<float>* logits) {
    std::vector<SegmentHeader> headers;
    std::unique_ptr<SegmentReader> next;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const std::unique_ptr<SegmentReader> reader = i == 0 ? open(paths[0]) : std::move(next);
      if (i == 0 && (reader == nullptr || !fits(reader->header(), nullptr, prefix, 0)))
        return std::nullopt;
      headers.push_back(reader->header());
      std::int64_t until = prefix.length;
      if (i + 1 < paths.size()) {
        next = open(paths[i + 1]);
        if (next == nullptr || !fits(next->header(), &headers.back(), prefix, i + 1)) {
          sequence.abandon_load();
          return std::nullopt;
        }
        until = next->header().begin;
      }
      sequence.load_cells(*reader, until);
      if (i + 1 == paths.size()) finish(*reader, prefix, sequence, logits);
    }
    return headers;
  }

  /// What comes after all cells.
  static void finish(SegmentReader& last, const StoredPrefix& prefix, SequenceState& sequence,
                     std::vector<float>* logits) {
    const SegmentHeader& header = last.header();
    if (prefix.length < header.end) {
      sequence.finish_load(prefix.length);
    } else {
      last.seek(header.cells_bytes);
      sequence.load_state(last);
    }
    if (logits == nullptr || prefix.length < header.end || header.logits == 0) return;
    last.seek(header.cells_bytes + header.state_bytes);
    const auto bytes = last.take(static_cast<std::size_t>(header.logits) * sizeof(float));
    logits->resize(static_cast<std::size_t>(header.logits));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(*logits)).begin());
  }

  /// Null when the file is gone: another process removed it. Or when the system refuses it: then
  /// somebody is told why, as the text has to be evaluated again.
  std::unique_ptr<SegmentReader> open(const std::filesystem::path& path) {
    try {
      return std::make_unique<SegmentReader>(path, folder.key());
    } catch (const DamagedSegment&) {
      throw;
    } catch (const Error& error) {
      std::error_code ignored;
      if (options.warn && std::filesystem::exists(path, ignored) &&
          !warned_of_reading.exchange(true))
        options.warn(std::string("a conversation on disk is not used: ") + error.what());
      return nullptr;
    }
  }

  /// Files may have been written anew since they were found: whether segment `i` of the chain goes
  /// on from the one before.
  [[nodiscard]] static bool fits(const SegmentHeader& header, const SegmentHeader* before,
                                 const StoredPrefix& prefix, std::size_t i) {
    if (header.id != prefix.chain[i]) return false;
    if (before == nullptr ? header.begin != 0 : header.parent != before->id) return false;
    if (before != nullptr && (header.begin > before->end || header.begin <= before->begin))
      return false;
    return i + 1 < prefix.chain.size() ||
           (header.begin < prefix.length && header.end >= prefix.length);
  }

  DiskStoreOptions options;
  StoreIdentity identity;
  mutable std::mutex mutex;  // of all but the queue
  SegmentFolder folder;
  std::map<Hash128, SegmentHeader> pending;  // given to the queue
  std::set<Hash128> indexed;
  std::unordered_map<Hash128, Hash128, HashOfHash> steps;  // chain of a beginning: its segment
  std::set<std::string> warned;
  std::atomic<bool> warned_of_reading{false};
  std::unique_ptr<SegmentQueue> queue;  // last: its thread uses the others
};

std::uint64_t bytes_for_texts(const DiskStoreOptions& options, std::uint64_t spilled) {
  const auto tell = [&options](const char* what) {
    if (options.warn) options.warn(what);
  };
  if (spilled > 0 && options.key) {
    tell(
        "the part of the context that has no room in memory (--kv-budget) is not encrypted on "
        "disk: --kv-disk-key is for conversations");
  }
  const std::uint64_t left = options.most_bytes - std::min(options.most_bytes, spilled);
  if (spilled == 0 || left >= kLeastBytes) return left;
  tell(
      "conversations are not kept on disk: the context's own part there (--kv-budget) takes all "
      "that --kv-disk allows");
  return 0;
}

DiskStore::DiskStore(const DiskStoreOptions& options, StoreIdentity identity)
    : impl_(std::make_unique<Impl>(options, std::move(identity))) {}

DiskStore::~DiskStore() = default;

std::optional<StoredPrefix> DiskStore::find(const PrefixKey& key, const MemoryPool& pool,
                                            std::span<const std::int32_t> tokens, std::int64_t most,
                                            std::int64_t least) {
  most = std::min({most, static_cast<std::int64_t>(tokens.size()), pool.limits().context});
  tokens = tokens.first(static_cast<std::size_t>(std::max<std::int64_t>(0, most)));
  const bool inside = cuts_anywhere(pool);
  std::unique_lock lock(impl_->mutex);
  impl_->refresh();
  const Chain chain = chain_of(impl_->header_for(key, pool).seed(), tokens);
  for (std::int64_t length = most; length > least; --length) {
    const SegmentHeader* header = impl_->segment_with(chain, length, inside, true);
    if (header == nullptr) continue;
    if (impl_->pending.contains(header->id)) {  // on its way
      const Hash128 id = header->id;
      lock.unlock();
      impl_->queue->flush();
      lock.lock();
      header = impl_->stored(id);
      if (header == nullptr) continue;
    }
    auto result = impl_->verified(*header, tokens, length, inside);
    if (!result) continue;
    // Of a coded page only the whole is of use.
    if (result->length < header->end && has_coded_pages(pool))
      result->length -= result->length % kPageCells;
    if (result->length <= std::max(least, header->begin)) continue;
    result->logits = header->logits > 0 && result->length == header->end;
    return result;
  }
  return std::nullopt;
}

bool DiskStore::load(const StoredPrefix& stored, SequenceState& sequence,
                     std::vector<float>* logits) {
  if (logits != nullptr) logits->clear();
  std::optional<std::vector<SegmentHeader>> headers;
  try {
    std::vector<std::filesystem::path> paths;
    {
      const std::lock_guard lock(impl_->mutex);
      for (const Hash128& id : stored.chain) {
        const SegmentHeader* header = impl_->stored(id);
        if (header == nullptr) return false;
        paths.push_back(impl_->folder.file_of(*header));
      }
    }
    headers = impl_->read(paths, stored, sequence, logits);
  } catch (const DamagedSegment& error) {
    sequence.abandon_load();
    if (logits != nullptr) logits->clear();
    impl_->warn(error.what());
    remove_damaged(stored);
    return false;
  }
  const std::lock_guard lock(impl_->mutex);
  if (!headers) {
    impl_->folder.forget(stored.chain);
    impl_->index_segments();
    return false;
  }
  for (const SegmentHeader& header : *headers) impl_->folder.touch(header, impl_->now());
  return true;
}

/// Removes those segments of a chain that do not pass their checks.
void DiskStore::remove_damaged(const StoredPrefix& stored) noexcept {
  try {
    const FileLock across = impl_->folder.lock();
    const std::lock_guard lock(impl_->mutex);
    for (const Hash128& id : stored.chain) {
      const SegmentHeader* header = impl_->stored(id);
      if (header == nullptr) break;
      try {
        SegmentReader(impl_->folder.file_of(*header), impl_->folder.key()).check_all();
      } catch (const DamagedSegment&) {
        impl_->folder.remove({&id, 1});
        break;
      }
    }
    impl_->index_segments();
  } catch (const std::exception&) {
    // They stay, and are found damaged again.
  }
}

void DiskStore::save(const PrefixKey& key, std::span<const std::int32_t> tokens,
                     const SequenceState& sequence, std::span<const float> logits) noexcept {
  try {
    impl_->save(key, tokens, sequence, logits);
  } catch (const std::exception& error) {
    impl_->warn(error.what());
  }
}

void DiskStore::flush() noexcept { impl_->queue->flush(); }

}  // namespace hearth::state
