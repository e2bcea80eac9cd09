#include "state/prefix_cache.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "state/disk_store.h"
#include "state/prefix_tree.h"
#include "state/snapshots.h"
#include "support/error.h"

namespace hearth::state {
namespace {

using Node = PrefixTree::Node;
using Entry = PrefixTree::Entry;

/// No pass is made shorter for a snapshot this near before a boundary, where one is taken anyway.
constexpr std::int64_t kNearBoundary = 64;

/// How likely it is that the next text parts from this one at one of its boundaries.
constexpr double kBoundaryChance = 0.25;

}  // namespace

struct PrefixCache::Impl {
  struct Place {
    PrefixTree* tree;
    Node* node;
  };
  /// Those that were last used together are of one text: they stand next to each other, the
  /// shorter first.
  struct ByUse {
    bool operator()(const Place& a, const Place& b) const noexcept {
      return std::tuple(a.node->entry->used, a.node->end, a.node) <
             std::tuple(b.node->entry->used, b.node->end, b.node);
    }
  };
  using Entries = std::set<Place, ByUse>;
  struct Candidate {
    PrefixTree* tree = nullptr;
    Node* node = nullptr;
    std::int64_t length = 0;
  };

  MemoryPool& pool;
  PrefixCacheLimits limits;
  DiskStore* disk;
  std::map<PrefixKey, PrefixTree> trees;  // none without entries
  Entries entries;  // whoever is to go is looked for from the front: there may be thousands
  /// Those that others go on from and that have logits; a few.
  std::vector<Place> inner_logits;
  std::uint64_t clock = 0;
  PrefixCacheStatistics counted;

  [[nodiscard]] bool enabled() const noexcept {
    return pool.needs_snapshots() ? limits.snapshots > 0 : limits.cells > 0;
  }

  PrefixTree* tree_of(const PrefixKey& key) {
    const auto found = trees.find(key);
    return found == trees.end() ? nullptr : &found->second;
  }

  [[nodiscard]] std::int64_t cells() const {
    std::int64_t sum = 0;
    for (const auto& [key, tree] : trees) sum += tree.cells();
    return sum;
  }

  /// What `node` stands on is as young as itself.
  void touch(PrefixTree& tree, Node& node) noexcept {
    ++clock;
    for (Node* at = &node; at != nullptr; at = at->parent) {
      if (!at->entry) continue;
      auto moved = entries.extract({&tree, at});
      at->entry->used = clock;
      at->entry->distance = node.end - at->end;
      entries.insert(std::move(moved));
    }
  }

  /// The longest usable beginning in memory. `whole`: all of the tokens will do, if their logits
  /// are known.
  Candidate look_up(const PrefixKey& key, std::span<const std::int32_t> tokens, bool whole) {
    PrefixTree* tree = tree_of(key);
    if (tree == nullptr) return {};
    const PrefixTree::Match match = tree->match(tokens);
    const auto size = static_cast<std::int64_t>(tokens.size());
    if (whole && match.length == size && match.at_node() && match.node->entry &&
        !match.node->entry->logits.empty()) {
      return {tree, match.node, size};
    }
    if (!pool.needs_snapshots()) {
      const std::int64_t length = std::min(match.length, size - 1);
      if (length <= 0) return {};
      return {tree, &PrefixTree::any_entry(*match.node), length};
    }
    Node* node = match.node;
    while (node != nullptr && (!node->entry || node->end > match.length || node->end >= size))
      node = node->parent;
    return node == nullptr ? Candidate{} : Candidate{tree, node, node->end};
  }

  std::unique_ptr<SequenceState> go_on_from(const Candidate& found, std::vector<float>* logits,
                                            std::size_t size) {
    auto sequence = found.node->entry->state->fork();
    if (sequence->truncate(found.length) == 0) return nullptr;
    if (logits != nullptr && sequence->length() == static_cast<std::int64_t>(size))
      *logits = found.node->entry->logits;
    touch(*found.tree, *found.node);
    return sequence;
  }

  std::unique_ptr<SequenceState> from_memory(const PrefixKey& key,
                                             std::span<const std::int32_t> tokens,
                                             std::vector<float>* logits) {
    const Candidate found = look_up(key, tokens, logits != nullptr);
    return found.node == nullptr ? nullptr : go_on_from(found, logits, tokens.size());
  }

  void count(const SequenceState* found) {
    ++(found != nullptr ? counted.hits : counted.misses);
    if (found != nullptr) counted.tokens_reused += found->length();
  }

  /// What the disk has beyond `least` tokens; it is remembered in memory, too.
  std::unique_ptr<SequenceState> read_from_disk(const PrefixKey& key,
                                                std::span<const std::int32_t> tokens,
                                                std::int64_t most, std::int64_t least,
                                                std::vector<float>* logits) {
    const auto stored = disk->find(key, pool, tokens, most, least);
    if (!stored) return nullptr;
    auto sequence = std::make_unique<SequenceState>(pool);
    std::vector<float> last;
    try {
      (void)make_room_for(*sequence, stored->length);
      if (!disk->load(*stored, *sequence, &last)) return nullptr;
    } catch (const Error&) {
      return nullptr;  // no room: the text is evaluated as if it had not been there
    }
    ++counted.from_disk;
    keep(key, tokens.first(static_cast<std::size_t>(stored->length)), *sequence, last, true, true);
    if (logits != nullptr && stored->length == static_cast<std::int64_t>(tokens.size()))
      *logits = std::move(last);
    return sequence;
  }

  void keep(const PrefixKey& key, std::span<const std::int32_t> tokens,
            const SequenceState& sequence, std::span<const float> logits, bool boundary,
            bool saved) {
    if (!enabled() || tokens.empty() || sequence.encoder_length() > 0) return;
    if (sequence.length() != static_cast<std::int64_t>(tokens.size()))
      throw Error("a sequence was to be remembered under tokens that it does not hold");
    PrefixTree* tree = tree_of(key);
    const PrefixTree::Match match = tree == nullptr ? PrefixTree::Match{} : tree->match(tokens);
    const bool known = match.length == sequence.length();
    if (known && !match.at_node() && !pool.needs_snapshots() && logits.empty()) {
      return touch(*tree, PrefixTree::any_entry(*match.node));  // part of a longer one
    }
    auto entry = std::make_unique<Entry>();
    entry->state = sequence.snapshot();
    if (tree == nullptr) tree = &trees.try_emplace(key, key).first->second;
    Node& node = tree->insert(tokens);
    if (!node.entry) {
      if (known && !pool.needs_snapshots() && logits.empty())
        return touch(*tree, PrefixTree::any_entry(node));
      node.entry = std::move(entry);
      try {
        entries.insert({tree, &node});
      } catch (...) {
        tree->remove(node);  // else nobody could give it up
        throw;
      }
    }
    if (!logits.empty()) node.entry->logits.assign(logits.begin(), logits.end());
    node.entry->boundary = node.entry->boundary || boundary;
    node.entry->saved = node.entry->saved || saved;
    drop_superseded(*tree, node);
    touch(*tree, node);
    limit_logits(*tree, node);
    enforce_limits(node);
  }

  /// Entries that others go on from may be there for their logits alone: those of the oldest ones
  /// are given up. Only on the way to `node`, which was just kept, can there be new ones.
  void limit_logits(PrefixTree& tree, Node& node) {
    const auto is_inner = [](const Place& place) {
      return !place.node->entry->logits.empty() && !place.node->children.empty();
    };
    std::erase_if(inner_logits, [&](const Place& place) { return !is_inner(place); });
    for (Node* at = &node; at != nullptr; at = at->parent) {
      const auto is_here = [at](const Place& place) { return place.node == at; };
      if (at->entry && is_inner({&tree, at}) &&
          std::none_of(inner_logits.begin(), inner_logits.end(), is_here))
        inner_logits.push_back({&tree, at});
    }
    const bool snapshots = pool.needs_snapshots();
    const auto most =
        static_cast<std::size_t>(snapshots ? kRememberedLogits / 4 : kRememberedLogits);
    while (inner_logits.size() > most) {
      const auto oldest = std::min_element(inner_logits.begin(), inner_logits.end(), ByUse{});
      const Place place = *oldest;
      if (snapshots) {
        place.node->entry->logits = {};  // it is thinned out like the others
        inner_logits.erase(oldest);
      } else {
        drop(*place.tree, *place.node);
      }
    }
  }

  /// Without snapshots: what `node` stands on is part of it, but for logits. With them: those
  /// further back are thinned out, so that the gap behind a lost one is at most a quarter of its
  /// distance.
  void drop_superseded(PrefixTree& tree, Node& node) {
    if (!pool.needs_snapshots()) {
      for (Node* above = PrefixTree::entry_above(node); above != nullptr;) {
        Node* const next = PrefixTree::entry_above(*above);
        if (above->entry->logits.empty()) drop(tree, *above);
        above = next;
      }
      return;
    }
    Node* next = &node;
    for (Node* at = PrefixTree::entry_above(node); at != nullptr;) {
      Node* before = PrefixTree::entry_above(*at);
      const std::int64_t gap = next->end - (before == nullptr ? 0 : before->end);
      const std::int64_t distance = node.end - at->end;
      if (!at->entry->boundary && at->entry->logits.empty() &&
          gap <= std::max(kSnapshotRows, distance / 4)) {
        drop(tree, *at);
      } else {
        next = at;
      }
      at = before;
    }
  }

  /// The tree goes, too, when that was its last one.
  void drop(PrefixTree& tree, Node& node) {
    entries.erase({&tree, &node});
    std::erase_if(inner_logits, [&](const Place& place) { return place.node == &node; });
    tree.remove(node);
    // Keys come and go with images and adapters' scales.
    if (tree.empty()) trees.erase(trees.find(tree.key()));
  }

  void enforce_limits(const Node& just_kept) {
    const auto too_much = [this] {
      return (pool.needs_snapshots() &&
              static_cast<std::int64_t>(entries.size()) > limits.snapshots) ||
             (limits.cells > 0 && cells() > limits.cells);
    };
    while (too_much() && entries.size() > 1)
      evict(worst([&](const Place& place) { return place.node != &just_kept; }));
  }

  /// Rows that are evaluated again for want of an entry, times how likely it is that a text parts
  /// from the one that was used last between it and the next entry: the less likely the further
  /// from the end (its density falls with the square of the distance), but for boundaries.
  [[nodiscard]] double loss_of(Entries::const_iterator place) const {
    const Node& node = *place->node;
    const auto next = std::next(place);  // on the same text, if it was used together with it
    const bool last = next == entries.end() || next->node->entry->used != node.entry->used;
    const std::int64_t nearer = last ? 0 : next->node->entry->distance;
    const auto likely = [](std::int64_t distance) {
      return static_cast<double>(kSnapshotRows) / static_cast<double>(distance + kSnapshotRows);
    };
    double chance = last ? 1 : likely(nearer) - likely(node.entry->distance);
    if (node.entry->boundary) chance = std::max(chance, kBoundaryChance);
    const Node* const before = PrefixTree::entry_above(node);
    return chance * static_cast<double>(node.end - (before == nullptr ? 0 : before->end));
  }

  /// What was used least recently; of entries that were last used together, the one whose loss
  /// costs least.
  template <class Wanted>
  [[nodiscard]] Entries::const_iterator worst(const Wanted& wanted) const {
    const auto first = std::find_if(entries.begin(), entries.end(), wanted);
    if (first == entries.end()) return first;
    auto result = first;
    double least_loss = loss_of(first);
    for (auto each = std::next(first); each != entries.end(); ++each) {
      if (each->node->entry->used != first->node->entry->used) break;
      if (!wanted(*each)) continue;
      const double loss = loss_of(each);
      if (loss >= least_loss) continue;
      result = each;
      least_loss = loss;
    }
    return result;
  }

  /// Ends of texts and boundaries go to disk; what lies between is cheap to make again.
  void evict(Entries::const_iterator which) {
    const Place place = *which;
    if (place.node->children.empty() || place.node->entry->boundary) save(place);
    drop(*place.tree, *place.node);
    ++counted.evicted;
  }

  void save(const Place& place) noexcept {
    Entry& entry = *place.node->entry;
    if (disk == nullptr || std::exchange(entry.saved, true)) return;
    disk->save(place.tree->key(), PrefixTree::tokens(*place.node), *entry.state, entry.logits);
  }

  /// Shorter ones first, so that longer ones go on from them. Ends and boundaries, or `all`.
  void save_entries(bool all) {
    std::vector<Place> ordered(entries.begin(), entries.end());
    std::sort(ordered.begin(), ordered.end(),
              [](const Place& a, const Place& b) { return a.node->end < b.node->end; });
    for (const Place& place : ordered) {
      if (all || place.node->children.empty() || place.node->entry->boundary) save(place);
    }
  }

  /// Whether giving up `entry` frees a page of the group.
  [[nodiscard]] bool frees(const Entry& entry, std::size_t group) const {
    const std::span<const std::int32_t> pages = entry.state->pages(group);
    return std::any_of(pages.begin(), pages.end(),
                       [&](std::int32_t page) { return pool.page_references(group, page) == 1; });
  }

  /// Several may share pages: then none frees any before the last. So those that are worth little
  /// go before one that frees pages and is worth much more.
  [[nodiscard]] Entries::const_iterator victim_for(bool pages, std::size_t group) const {
    constexpr double kMuchMore = 4;
    const auto any = worst([](const Place&) { return true; });
    if (!pages) return any;
    const auto freeing =
        worst([&](const Place& place) { return frees(*place.node->entry, group); });
    if (freeing == entries.end()) return any;
    return kMuchMore * loss_of(any) < loss_of(freeing) ? any : freeing;
  }

  /// `missing(group)`: pages of a group are missing.
  template <class Missing>
  bool make_room(const Missing& missing, std::int64_t slots) {
    for (;;) {
      std::size_t group = 0;
      while (group < pool.groups().size() && !missing(group)) ++group;
      const bool pages = group < pool.groups().size();
      if (!pages && (!pool.recurrent() || pool.free_slots() >= slots)) return true;
      if (entries.empty()) return false;
      evict(victim_for(pages, group));
    }
  }

  bool make_room_for(const SequenceState& sequence, std::int64_t rows) {
    return make_room(
        [&](std::size_t group) {
          return pool.free_pages(group) < sequence.pages_needed(group, needed_rows(group, rows));
        },
        1);
  }

  /// Rows that a group keeps at once of so many that are added in one go.
  [[nodiscard]] std::int64_t needed_rows(std::size_t group, std::int64_t rows) const {
    const std::int64_t window = pool.groups()[group].window;
    if (window == 0) return rows;
    return std::min(rows, std::max(window + kPageCells, pool.limits().batch_rows));
  }
};

PrefixCache::PrefixCache(MemoryPool& pool, const PrefixCacheLimits& limits, DiskStore* disk)
    : impl_(new Impl{.pool = pool,
                     .limits = limits,
                     .disk = disk,
                     .trees = {},
                     .entries = {},
                     .inner_logits = {},
                     .clock = 0,
                     .counted = {}}) {}

PrefixCache::~PrefixCache() = default;

PrefixCacheLimits PrefixCache::limits_of(const MemoryPool& pool) noexcept {
  const MemoryLimits& limits = pool.limits();
  const std::int64_t snapshots =
      pool.recurrent() ? limits.snapshots : std::max(limits.snapshots, kWindowSnapshots);
  return {limits.context * limits.sequences + limits.prefix_cells, snapshots};
}

std::unique_ptr<SequenceState> PrefixCache::find(const PrefixKey& key,
                                                 std::span<const std::int32_t> tokens,
                                                 std::vector<float>* logits) {
  if (logits != nullptr) logits->clear();
  if (!impl_->enabled() || tokens.empty()) return nullptr;
  const auto size = static_cast<std::int64_t>(tokens.size());
  const Impl::Candidate found = impl_->look_up(key, tokens, logits != nullptr);
  std::unique_ptr<SequenceState> sequence;
  if (impl_->disk != nullptr && found.length < size) {
    const std::int64_t least = found.length + kWorthReading;
    if (logits != nullptr) {
      sequence = impl_->read_from_disk(key, tokens, size, least, logits);
      // All of it, but nothing to go on with: one token less is of use where it can be cut.
      if (sequence && sequence->length() == size && logits->empty() &&
          sequence->truncate(size - 1) == 0)
        sequence.reset();
    }
    if (!sequence) sequence = impl_->read_from_disk(key, tokens, size - 1, least, nullptr);
  }
  // Reading may have given up what was found in memory: it is looked up again.
  if (!sequence) sequence = impl_->from_memory(key, tokens, logits);
  impl_->count(sequence.get());
  return sequence;
}

std::unique_ptr<SequenceState> PrefixCache::find_in_memory(const PrefixKey& key,
                                                           std::span<const std::int32_t> tokens,
                                                           std::vector<float>* logits) {
  if (logits != nullptr) logits->clear();
  if (!impl_->enabled() || tokens.empty()) return nullptr;
  auto sequence = impl_->from_memory(key, tokens, logits);
  impl_->count(sequence.get());
  return sequence;
}

std::int64_t PrefixCache::known(const PrefixKey& key, std::span<const std::int32_t> tokens) {
  if (!impl_->enabled() || tokens.empty()) return 0;
  return impl_->look_up(key, tokens, /*whole=*/true).length;
}

std::unique_ptr<SequenceState> PrefixCache::room_for(std::int64_t length) {
  auto sequence = std::make_unique<SequenceState>(impl_->pool);
  try {
    (void)impl_->make_room_for(*sequence, length);
    sequence->reserve(length);
  } catch (const Error&) {
    return nullptr;  // the text is evaluated as if it had not been there
  }
  return sequence;
}

void PrefixCache::take_in(const PrefixKey& key, std::span<const std::int32_t> tokens,
                          std::unique_ptr<SequenceState> sequence, std::span<const float> logits) {
  sequence->settle();
  ++impl_->counted.from_disk;
  impl_->keep(key, tokens.first(static_cast<std::size_t>(sequence->length())), *sequence, logits,
              true, true);
}

MemoryPool& PrefixCache::pool() const noexcept { return impl_->pool; }
DiskStore* PrefixCache::disk() const noexcept { return impl_->disk; }

void PrefixCache::keep(const PrefixKey& key, std::span<const std::int32_t> tokens,
                       const SequenceState& sequence, std::span<const float> logits,
                       bool boundary) {
  impl_->keep(key, tokens, sequence, logits, boundary, false);
}

std::int64_t PrefixCache::next_stop(std::int64_t begin, std::int64_t total,
                                    std::span<const std::int64_t> boundaries) const {
  if (!impl_->pool.needs_snapshots() || impl_->limits.snapshots == 0 || begin >= total)
    return total;
  const std::int64_t left = total - begin;
  const std::int64_t step = kSnapshotRows * (left > 32 * kSnapshotRows  ? 8
                                             : left > 8 * kSnapshotRows ? 2
                                                                        : 1);
  std::int64_t stop = std::min(total, (begin / step + 1) * step);
  const auto boundary = std::upper_bound(boundaries.begin(), boundaries.end(), begin);
  if (boundary != boundaries.end() && *boundary < stop + kNearBoundary)
    stop = std::min(total, *boundary);
  return stop;
}

bool PrefixCache::snapshot_due(std::int64_t length) const noexcept {
  return impl_->pool.needs_snapshots() && impl_->limits.snapshots > 0 &&
         length % kSnapshotRows == 0;
}

bool PrefixCache::make_room(std::int64_t pages, std::int64_t slots) {
  return impl_->make_room(
      [&](std::size_t group) {
        return !impl_->pool.groups()[group].encoder && impl_->pool.free_pages(group) < pages;
      },
      slots);
}

bool PrefixCache::make_room(std::span<const std::int64_t> pages, std::int64_t slots) {
  return impl_->make_room(
      [&](std::size_t group) { return impl_->pool.free_pages(group) < pages[group]; }, slots);
}

bool PrefixCache::make_room_for(const SequenceState& sequence, std::int64_t rows) {
  return impl_->make_room_for(sequence, rows);
}

void PrefixCache::save_all() noexcept {
  if (impl_->disk == nullptr) return;
  impl_->save_entries(/*all=*/true);
  impl_->disk->flush();
}

void PrefixCache::save_in_background() noexcept {
  if (impl_->disk != nullptr) impl_->save_entries(/*all=*/false);
}

void PrefixCache::clear() noexcept {
  impl_->entries.clear();
  impl_->inner_logits.clear();
  impl_->trees.clear();
}

PrefixCacheStatistics PrefixCache::statistics() const {
  PrefixCacheStatistics result = impl_->counted;
  result.entries = static_cast<std::int64_t>(impl_->entries.size());
  result.snapshots = impl_->pool.needs_snapshots() ? result.entries : 0;
  result.cells = impl_->cells();
  return result;
}

}  // namespace hearth::state
