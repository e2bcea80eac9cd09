#include "state/sequence.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "support/error.h"

namespace hearth::state {

using spec::CellGroup;

namespace {

std::int64_t pages_for(std::int64_t cells) noexcept {
  return (cells + kPageCells - 1) / kPageCells;
}

}  // namespace

SequenceState::SequenceState(MemoryPool& pool, std::int64_t first_position)
    : pool_(&pool), first_position_(first_position) {
  pages_.resize(pool.groups().size());
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    pages_[g].list.reserve(static_cast<std::size_t>(pages_for(pool.cells(g, max_cells()))));
  }
  checkpoints_.reserve(kSlotsPerSequence + 1);
}

SequenceState::~SequenceState() { clear(); }

void SequenceState::clear() noexcept {
  if (pending_slot_ >= 0) pool_->give_back_slot(pending_slot_);
  pending_slot_ = -1;
  forget_checkpoints();
  for (std::size_t g = 0; g < pages_.size(); ++g) shrink_pages(g, 0);
  skips_.clear();
  length_ = growing_ = encoder_length_ = 0;
}

void SequenceState::forget_checkpoints() noexcept {
  for (const Checkpoint& checkpoint : checkpoints_) pool_->give_back_slot(checkpoint.slot);
  checkpoints_.clear();
}

std::unique_ptr<SequenceState> SequenceState::fork() const {
  if (growing_ > 0) throw Error("a sequence cannot be forked while rows are evaluated");
  auto copy = std::make_unique<SequenceState>(*pool_, first_position_);
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    copy->pages_[g].first = pages_[g].first;
    copy->pages_[g].list.assign(pages_[g].list.begin(), pages_[g].list.end());
    for (std::size_t page = static_cast<std::size_t>(pages_[g].first); page < pages_[g].list.size();
         ++page) {
      pool_->share_page(g, pages_[g].list[page]);
    }
  }
  for (const Checkpoint& checkpoint : checkpoints_) {
    pool_->share_slot(checkpoint.slot);
    copy->checkpoints_.push_back(checkpoint);
  }
  copy->length_ = length_;
  copy->encoder_length_ = encoder_length_;
  copy->skips_ = skips_;
  return copy;
}

void SequenceState::set_position(std::int64_t cell, std::int64_t position) {
  const std::int64_t total = position - first_position_ - cell;
  if (skips_.empty() ? total != 0 : total != skips_.back().total) skips_.push_back({cell, total});
}

void SequenceState::grow(std::int64_t count) {
  if (count > max_cells() - length_) {
    throw Error("the context of " + std::to_string(max_cells()) + " tokens is full",
                "start again, shorten the conversation, or use a larger --ctx");
  }
  std::size_t group = 0;
  try {
    for (; group < pages_.size(); ++group) {
      if (!pool_->groups()[group].encoder) grow_pages(group, length_ + count);
    }
    if (pool_->recurrent() && pending_slot_ < 0) {
      make_room_for_slot();
      pending_slot_ = pool_->take_slot();
    }
  } catch (...) {
    for (std::size_t g = 0; g < group; ++g) {
      if (!pool_->groups()[g].encoder) shrink_pages(g, length_);
    }
    throw;
  }
  length_ += count;
  growing_ += count;
}

void SequenceState::grow_pages(std::size_t group, std::int64_t length) {
  own_last_page(group);
  Pages& pages = pages_[group];
  const std::int64_t needed = pages_for(pool_->cells(group, length));
  const std::size_t before = pages.list.size();
  try {
    while (static_cast<std::int64_t>(pages.list.size()) < needed)
      pages.list.push_back(pool_->take_page(group));
  } catch (...) {
    while (pages.list.size() > before) {
      pool_->give_back_page(group, pages.list.back());
      pages.list.pop_back();
    }
    throw;
  }
}

void SequenceState::shrink_pages(std::size_t group, std::int64_t length) noexcept {
  Pages& pages = pages_[group];
  const std::int64_t needed = pages_for(pool_->cells(group, length));
  while (static_cast<std::int64_t>(pages.list.size()) > needed) {
    if (static_cast<std::int64_t>(pages.list.size()) > pages.first) {
      pool_->give_back_page(group, pages.list.back());
    }
    pages.list.pop_back();
  }
  pages.first = std::min(pages.first, static_cast<std::int64_t>(pages.list.size()));
}

/// Copy on write: a partial last page that a fork still reads is replaced by a copy.
void SequenceState::own_last_page(std::size_t group) {
  Pages& pages = pages_[group];
  if (pages.list.empty() || pool_->cells(group, length_) % kPageCells == 0) return;
  const std::int32_t shared = pages.list.back();
  if (pool_->pools_[group].references[static_cast<std::size_t>(shared)] == 1) return;
  const std::int32_t own = pool_->take_page(group);
  pool_->copy_page(group, shared, own);
  pool_->give_back_page(group, shared);
  pages.list.back() = own;
}

/// At most kSlotsPerSequence - 1 checkpoints stay: the current one always, snapshots rather than
/// others, younger ones rather than older.
void SequenceState::make_room_for_slot() noexcept {
  while (checkpoints_.size() >= static_cast<std::size_t>(kSlotsPerSequence)) {
    const auto last = checkpoints_.end() - 1;
    auto victim = std::find_if(checkpoints_.begin(), last,
                               [](const Checkpoint& checkpoint) { return !checkpoint.keep; });
    if (victim == last) victim = checkpoints_.begin();
    pool_->give_back_slot(victim->slot);
    checkpoints_.erase(victim);
  }
}

void SequenceState::commit() noexcept {
  if (pending_slot_ >= 0) {
    checkpoints_.push_back({length_, pending_slot_, growing_ > 1});
    pending_slot_ = -1;
  }
  growing_ = 0;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window == 0) continue;
    const std::int64_t reach =
        std::max<std::int64_t>(0, pool_->cells(g, length_) - group.window + 1 - kWindowSlack);
    for (Pages& pages = pages_[g]; pages.first < reach / kPageCells; ++pages.first) {
      std::int32_t& page = pages.list[static_cast<std::size_t>(pages.first)];
      pool_->give_back_page(g, page);
      page = 0;
    }
  }
}

void SequenceState::set_encoder_length(std::int64_t count) {
  if (encoder_length_ > 0 || length_ > 0) {
    throw Error("the sequence already has an encoded text", "begin a new sequence");
  }
  if (count > max_cells()) {
    throw Error("the text has " + std::to_string(count) + " tokens and the context is " +
                    std::to_string(max_cells()),
                "shorten the text or use a larger --ctx");
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pool_->groups()[g].encoder) grow_pages(g, count);
  }
  encoder_length_ = count;
}

void SequenceState::forget_encoder() noexcept {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pool_->groups()[g].encoder) shrink_pages(g, 0);
  }
  encoder_length_ = 0;
}

/// Whether the windows of a row after `length` cells still have all their cells.
bool SequenceState::windows_reach(std::int64_t length) const noexcept {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window == 0) continue;
    const std::int64_t first =
        std::max<std::int64_t>(0, pool_->cells(g, length) - group.window + 1);
    if (first / kPageCells < pages_[g].first) return false;
  }
  return true;
}

std::int64_t SequenceState::truncate(std::int64_t length) noexcept {
  const bool under_way = growing_ > 0;
  if (length >= length_ && !under_way) return length_;
  length = std::min(length, length_);
  if (pending_slot_ >= 0) {
    pool_->give_back_slot(pending_slot_);
    pending_slot_ = -1;
  }
  while (!checkpoints_.empty() && checkpoints_.back().length > length) {
    pool_->give_back_slot(checkpoints_.back().slot);
    checkpoints_.pop_back();
  }
  if (pool_->recurrent()) length = checkpoints_.empty() ? 0 : checkpoints_.back().length;
  if (length > 0 && !windows_reach(length)) {
    forget_checkpoints();
    length = 0;
  }
  length_ = length;
  growing_ = 0;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (!pool_->groups()[g].encoder) shrink_pages(g, length);
  }
  while (!skips_.empty() && skips_.back().length > length) skips_.pop_back();
  return length;
}

// ---- Saving -------------------------------------------------------------------------------------
//
// Numbers are native 64-bit integers:
//   magic, fingerprint, first position, length, encoder length,
//   number of skips, {length, total} each,
//   per group: first page, number of pages; the pages of every memory from the first page on,
//   1 when there is recurrent state, then the slot of every recurrent memory.

namespace {

constexpr std::int64_t kMagic = 0x3154'5348'5452'4148;  // "HARTHST1"

void append(std::vector<std::byte>& bytes, std::int64_t value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof value);
}

std::size_t size_of(const tensor::Tensor& t) {
  return t ? tensor::row_bytes(t.dtype, static_cast<std::size_t>(t.elements())) : 0;
}

/// Reads what save() wrote; throws Error when it ends early.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> take(std::size_t count) {
    if (count > bytes_.size()) throw_damaged();
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  std::int64_t number(std::int64_t low, std::int64_t high) {
    std::int64_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    if (value < low || value > high) throw_damaged();
    return value;
  }
  void expect_end() const {
    if (!bytes_.empty()) throw_damaged();
  }
  [[noreturn]] static void throw_damaged() {
    throw Error("a saved conversation state is damaged", "evaluate the text again");
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

/// FNV-1a over everything that decides how the bytes are laid out.
std::uint64_t SequenceState::fingerprint() const {
  std::uint64_t hash = 14695981039346656037U;
  const auto mix = [&](std::int64_t value) {
    for (int byte = 0; byte < 8; ++byte) {
      hash = (hash ^ (static_cast<std::uint64_t>(value) >> (8 * byte) & 0xFF)) * 1099511628211U;
    }
  };
  for (const char c : pool_->backend_->name()) mix(c);
  const auto mix_tensor = [&](const tensor::Tensor& t) {
    mix(static_cast<std::int64_t>(t.dtype));
    for (std::size_t i = 1; i < t.shape.size(); ++i) mix(t ? t.shape[i] : 0);
  };
  for (std::size_t i = 0; i < pool_->keys_.size(); ++i) {
    mix(static_cast<std::int64_t>(pool_->group_of_[i]));
    mix_tensor(pool_->keys_[i]);
    mix_tensor(pool_->values_[i]);
  }
  for (const CellGroup& group : pool_->groups_) {
    mix(group.rows_per_cell);
    mix(group.window);
    mix(group.encoder ? 1 : 0);
  }
  for (std::size_t i = 0; i < pool_->conv_.size(); ++i) {
    mix_tensor(pool_->conv_[i]);
    mix_tensor(pool_->scan_[i]);
  }
  return hash;
}

std::vector<std::byte> SequenceState::save() const {
  if (growing_ > 0) throw Error("a sequence cannot be saved while rows are evaluated");
  std::vector<std::byte> bytes;
  const auto append_tensor = [&](const tensor::Tensor& t, std::int64_t row) {
    if (!t) return;
    const tensor::Tensor view = t.rows(row, 1);
    const std::size_t at = bytes.size();
    bytes.resize(at + size_of(view));
    pool_->backend_->read(view, bytes.data() + at);
  };
  for (const std::int64_t value :
       {kMagic, static_cast<std::int64_t>(fingerprint()), first_position_, length_, encoder_length_,
        static_cast<std::int64_t>(skips_.size())}) {
    append(bytes, value);
  }
  for (const Skip& skip : skips_) {
    append(bytes, skip.length);
    append(bytes, skip.total);
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    append(bytes, pages_[g].first);
    append(bytes, static_cast<std::int64_t>(pages_[g].list.size()));
    for (std::size_t i = 0; i < pool_->keys_.size(); ++i) {
      if (pool_->group_of_[i] != g) continue;
      for (auto page = static_cast<std::size_t>(pages_[g].first); page < pages_[g].list.size();
           ++page) {
        append_tensor(pool_->keys_[i], pages_[g].list[page]);
        append_tensor(pool_->values_[i], pages_[g].list[page]);
      }
    }
  }
  append(bytes, checkpoints_.empty() ? 0 : 1);
  if (!checkpoints_.empty()) {
    for (std::size_t i = 0; i < pool_->conv_.size(); ++i) {
      append_tensor(pool_->conv_[i], checkpoints_.back().slot);
      append_tensor(pool_->scan_[i], checkpoints_.back().slot);
    }
  }
  return bytes;
}

void SequenceState::load(std::span<const std::byte> bytes) {
  if (length_ > 0 || encoder_length_ > 0 || growing_ > 0) {
    throw Error("a saved state can only be loaded into an empty sequence");
  }
  const std::int64_t first_position = first_position_;
  try {
    read_saved(bytes);
  } catch (...) {
    clear();
    first_position_ = first_position;
    throw;
  }
}

void SequenceState::read_saved(std::span<const std::byte> bytes) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  Cursor cursor(bytes);
  if (cursor.number(INT64_MIN, INT64_MAX) != kMagic) Cursor::throw_damaged();
  if (cursor.number(INT64_MIN, INT64_MAX) != static_cast<std::int64_t>(fingerprint())) {
    throw Error("a saved conversation state belongs to another model or another setup",
                "evaluate the text again");
  }
  const auto read_tensor = [&](const tensor::Tensor& t, std::int64_t row) {
    if (!t) return;
    const tensor::Tensor view = t.rows(row, 1);
    pool_->backend_->write(view, cursor.take(size_of(view)).data());
  };
  first_position_ = cursor.number(0, kMost);
  const std::int64_t length = cursor.number(0, max_cells());
  const std::int64_t encoder_length = cursor.number(0, max_cells());
  std::int64_t skips = cursor.number(0, length);
  for (std::int64_t least = 0; skips > 0; --skips) {
    least = cursor.number(least, length);
    // Positions are never negative.
    skips_.push_back({least, cursor.number(-(first_position_ + least), kMost)});
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    const std::int64_t cells = pool_->cells(g, group.encoder ? encoder_length : length);
    const std::int64_t count = pages_for(cells);
    // The next row reads all that its window reaches.
    const std::int64_t reach = std::max<std::int64_t>(0, cells - group.window + 1);
    const std::int64_t first =
        cursor.number(0, group.window > 0 ? std::min(count, reach / kPageCells) : 0);
    if (cursor.number(count, count) != count) Cursor::throw_damaged();
    pages_[g].list.assign(static_cast<std::size_t>(first), 0);
    pages_[g].first = first;
    for (std::int64_t page = first; page < count; ++page) {
      pages_[g].list.push_back(pool_->take_page(g));
    }
    for (std::size_t i = 0; i < pool_->keys_.size(); ++i) {
      if (pool_->group_of_[i] != g) continue;
      for (std::int64_t page = first; page < count; ++page) {
        read_tensor(pool_->keys_[i], pages_[g].list[static_cast<std::size_t>(page)]);
        read_tensor(pool_->values_[i], pages_[g].list[static_cast<std::size_t>(page)]);
      }
    }
  }
  const std::int64_t has_state = pool_->recurrent() && length > 0 ? 1 : 0;
  if (cursor.number(has_state, has_state) == 1) {
    checkpoints_.push_back({length, pool_->take_slot(), true});
    for (std::size_t i = 0; i < pool_->conv_.size(); ++i) {
      read_tensor(pool_->conv_[i], checkpoints_.back().slot);
      read_tensor(pool_->scan_[i], checkpoints_.back().slot);
    }
  }
  cursor.expect_end();
  length_ = length;
  encoder_length_ = encoder_length;
}

}  // namespace hearth::state
