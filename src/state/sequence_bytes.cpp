// Sequences as bytes. Numbers are native 64-bit integers.
//
// Cells:  magic, fingerprint of the pool, first position, length, first row, number of skips,
//         {length, total} each; per group without window: first page, number of pages, where
//         pages may be coded 1 or 0 for each, then page by page the keys and values of every
//         memory.
// State:  magic, length, encoder length; per group with a window and per group of the encoder:
//         first page, number of pages, the pages; 1 when there is recurrent state, then the slot
//         of every recurrent memory.
#include <algorithm>
#include <cstring>

#include "state/pages.h"
#include "state/sequence.h"
#include "support/error.h"

namespace hearth::state {

using spec::CellGroup;

namespace {

constexpr std::int64_t kCellsMagic = 0x3243'5348'5452'4148;  // "HARTHSC2"
constexpr std::int64_t kStateMagic = 0x3253'5348'5452'4148;  // "HARTHSS2"
constexpr std::int64_t kMost = std::int64_t{1} << 40;

[[noreturn]] void throw_damaged_state() {
  throw Error("a saved conversation state is damaged", "evaluate the text again");
}

void put(const ByteSink& sink, std::int64_t value) { sink(std::as_bytes(std::span(&value, 1))); }

std::int64_t take_number(ByteSource& source, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  std::memcpy(&value, source.take(sizeof value).data(), sizeof value);
  if (value < low || value > high) throw_damaged_state();
  return value;
}

/// Bytes in memory.
class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> take(std::size_t count) override {
    if (count > bytes_.size()) throw_damaged_state();
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  void skip(std::size_t count) override { (void)take(count); }
  void expect_end() const {
    if (!bytes_.empty()) throw_damaged_state();
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Calls `use` with rows of tensors that are present.
void write_row(compute::Backend& backend, const tensor::Tensor& t, std::int64_t row,
               std::vector<std::byte>& scratch, const ByteSink& sink) {
  if (!t) return;
  const tensor::Tensor view = t.rows(row, 1);
  scratch.resize(bytes_of(view));
  backend.read(view, scratch.data());
  sink(scratch);
}

void read_row(compute::Backend& backend, const tensor::Tensor& t, std::int64_t row,
              ByteSource& source) {
  if (!t) return;
  const tensor::Tensor view = t.rows(row, 1);
  backend.write(view, source.take(bytes_of(view)).data());
}

}  // namespace

void SequenceState::write_page(std::size_t group, std::int32_t page, const ByteSink& sink) const {
  const bool coded = MemoryPool::is_coded(page);
  const std::int32_t row = pool_->row_of(group, page);
  if (row < 0) return pool_->write_from_disk(group, page, sink);
  std::vector<std::byte> scratch;
  for (std::size_t i = 0; i < pool_->keys_.size(); ++i) {
    if (pool_->group_of_[i] != group) continue;
    const CodedPages& pages = pool_->coded_[i];
    write_row(*pool_->backend_, coded ? pages.keys : pool_->keys_[i], row, scratch, sink);
    write_row(*pool_->backend_, coded ? pages.values : pool_->values_[i], row, scratch, sink);
  }
}

void SequenceState::read_page(std::size_t group, std::int32_t page, ByteSource& source) {
  const bool coded = MemoryPool::is_coded(page);
  const std::int32_t row = pool_->row_of(group, page);
  for (std::size_t i = 0; i < pool_->keys_.size(); ++i) {
    if (pool_->group_of_[i] != group) continue;
    const CodedPages& pages = pool_->coded_[i];
    read_row(*pool_->backend_, coded ? pages.keys : pool_->keys_[i], row, source);
    read_row(*pool_->backend_, coded ? pages.values : pool_->values_[i], row, source);
  }
}

void SequenceState::save_cells(std::int64_t begin, const ByteSink& sink) const {
  if (growing_ > 0) throw Error("a sequence cannot be saved while rows are evaluated");
  if (begin < 0 || begin > length_ || begin % pool_->rows_between_pages() != 0)
    throw Error("a sequence cannot be saved from row " + std::to_string(begin) + " on");
  for (const std::int64_t value :
       {kCellsMagic, static_cast<std::int64_t>(pool_->fingerprint()), first_position_, length_,
        begin, static_cast<std::int64_t>(skips_.size())}) {
    put(sink, value);
  }
  for (const Skip& skip : skips_) {
    put(sink, skip.length);
    put(sink, skip.total);
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window > 0 || group.encoder) continue;
    const std::int64_t first = pool_->cells(g, begin) / kPageCells;
    const auto end = static_cast<std::int64_t>(pages_[g].list.size());
    put(sink, first);
    put(sink, end - first);
    for (std::int64_t page = first; pool_->coded(g) && page < end; ++page)
      put(sink, MemoryPool::is_coded(pages_[g].list[static_cast<std::size_t>(page)]) ? 1 : 0);
    for (std::int64_t page = first; page < end; ++page)
      write_page(g, pages_[g].list[static_cast<std::size_t>(page)], sink);
  }
}

void SequenceState::save_state(const ByteSink& sink) const {
  if (growing_ > 0) throw Error("a sequence cannot be saved while rows are evaluated");
  for (const std::int64_t value : {kStateMagic, length_, encoder_length_}) put(sink, value);
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window == 0 && !group.encoder) continue;
    const auto end = static_cast<std::int64_t>(pages_[g].list.size());
    put(sink, pages_[g].first);
    put(sink, end - pages_[g].first);
    for (std::int64_t page = pages_[g].first; page < end; ++page)
      write_page(g, pages_[g].list[static_cast<std::size_t>(page)], sink);
  }
  put(sink, checkpoints_.empty() ? 0 : 1);
  if (checkpoints_.empty()) return;
  std::vector<std::byte> scratch;
  for (std::size_t i = 0; i < pool_->conv_.size(); ++i) {
    write_row(*pool_->backend_, pool_->conv_[i], checkpoints_.back().slot, scratch, sink);
    write_row(*pool_->backend_, pool_->scan_[i], checkpoints_.back().slot, scratch, sink);
  }
}

std::vector<std::byte> SequenceState::save() const {
  std::vector<std::byte> bytes;
  const ByteSink append = [&bytes](std::span<const std::byte> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  save_cells(0, append);
  save_state(append);
  return bytes;
}

void SequenceState::load(std::span<const std::byte> bytes) {
  const std::int64_t first_position = first_position_;
  try {
    SpanSource source(bytes);
    load_cells(source, max_cells());
    load_state(source);
    source.expect_end();
  } catch (...) {
    clear();
    first_position_ = first_position;
    throw;
  }
}

void SequenceState::load_cells(ByteSource& source, std::int64_t until) {
  if (length_ > 0 || encoder_length_ > 0 || growing_ > 0)
    throw Error("a saved state can only be loaded into an empty sequence");
  const std::int64_t first_position = first_position_;
  try {
    read_cells(source, until);
  } catch (...) {
    if (reserve_) throw;
    clear();
    first_position_ = first_position;
    throw;
  }
}

void SequenceState::read_cells(ByteSource& source, std::int64_t until) {
  if (take_number(source, INT64_MIN, INT64_MAX) != kCellsMagic) throw_damaged_state();
  if (take_number(source, INT64_MIN, INT64_MAX) !=
      static_cast<std::int64_t>(pool_->fingerprint())) {
    throw Error("a saved conversation state belongs to another model or another setup",
                "evaluate the text again");
  }
  first_position_ = take_number(source, 0, kMost);
  const std::int64_t length = take_number(source, 0, kMost);
  until = std::min(until, length);
  if (until > max_cells()) throw_damaged_state();
  const std::int64_t begin = take_number(source, 0, until);
  if (begin % pool_->rows_between_pages() != 0) throw_damaged_state();
  skips_.clear();
  std::int64_t skips = take_number(source, 0, length);
  for (std::int64_t least = 0; skips > 0; --skips) {
    least = take_number(source, least, length);
    // Positions are never negative.
    const std::int64_t total = take_number(source, -(first_position_ + least), kMost);
    if (least <= until) skips_.push_back({least, total});
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window > 0 || group.encoder) continue;
    const std::int64_t first = pool_->cells(g, begin) / kPageCells;
    const std::int64_t saved = pages_for(length / group.rows_per_cell);
    const std::int64_t end = pages_for(pool_->cells(g, until));
    (void)take_number(source, first, first);
    (void)take_number(source, saved - first, saved - first);
    if (static_cast<std::int64_t>(pages_[g].list.size()) != first) throw_damaged_state();
    read_pages(g, end - first, saved - end, source);
  }
  // What was young when it was saved need not be any more.
  if (!reserve_) code_pages(until, pool_->recent_cells());
}

void SequenceState::reserve(std::int64_t length) {
  if (length_ > 0 || encoder_length_ > 0 || growing_ > 0 || reserve_)
    throw Error("room can only be reserved for an empty sequence");
  if (length > max_cells()) throw Error("a saved conversation is longer than the context");
  reserve_ = std::make_unique<Reserve>();
  reserve_->raw.resize(pages_.size());
  reserve_->coded.resize(pages_.size());
  try {
    for (std::size_t g = 0; g < pages_.size(); ++g) {
      const CellGroup& group = pool_->groups()[g];
      if (group.encoder) continue;
      const std::int64_t cells = pool_->cells(g, length);
      std::int64_t raw = pages_for(cells), coded = 0;
      if (group.window > 0) {
        // One more than what the next row reaches: that may have been kept besides.
        const std::int64_t reach = std::max<std::int64_t>(0, cells - group.window + 1);
        raw = std::min(raw, raw - reach / kPageCells + 1);
      } else if (pool_->coded(g)) {
        coded = raw;
        raw = std::min(raw, pool_->sink_pages() + pool_->recent_cells() / kPageCells + 2);
      }
      // Of coded pages there may be fewer: some of these rows lie in raw ones.
      for (std::int32_t page = 0; coded > 0 && page >= 0; --coded) {
        page = pool_->take_coded_page(g);
        if (page >= 0) reserve_->coded[g].push_back(page);
      }
      for (; raw > 0; --raw) reserve_->raw[g].push_back(pool_->take_page(g));
    }
    if (pool_->recurrent()) reserve_->slots.push_back(pool_->take_slot());
  } catch (...) {
    give_back_reserve();
    throw;
  }
}

void SequenceState::give_back_reserve() noexcept {
  if (!reserve_) return;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    for (const std::int32_t page : reserve_->raw[g]) pool_->give_back_page(g, page);
    for (const std::int32_t page : reserve_->coded[g]) pool_->give_back_page(g, page);
  }
  for (const std::int32_t slot : reserve_->slots) pool_->give_back_slot(slot);
  reserve_.reset();
}

void SequenceState::settle() noexcept {
  if (!reserve_) return;
  give_back_reserve();
  code_pages(length_, pool_->recent_cells());
}

/// A page from the reserve, or else from the pool; -1: there is none.
std::int32_t SequenceState::page_to_load(std::size_t group, bool coded) {
  if (!reserve_) return coded ? pool_->take_coded_page(group) : pool_->take_page(group);
  std::vector<std::int32_t>& pages = (coded ? reserve_->coded : reserve_->raw)[group];
  if (pages.empty()) throw Error("there is not enough room for a saved conversation");
  const std::int32_t page = pages.back();
  pages.pop_back();
  return page;
}

std::int32_t SequenceState::slot_to_load() {
  if (!reserve_) return pool_->take_slot();
  if (reserve_->slots.empty()) throw Error("there is not enough room for a saved conversation");
  const std::int32_t slot = reserve_->slots.back();
  reserve_->slots.pop_back();
  return slot;
}

/// Adds `count` pages of a group and passes over `others`.
void SequenceState::read_pages(std::size_t group, std::int64_t count, std::int64_t others,
                               ByteSource& source) {
  std::vector<std::int32_t>& list = pages_[group].list;
  std::vector<bool> coded(static_cast<std::size_t>(count));
  std::int64_t coded_others = 0;
  for (std::int64_t page = 0; pool_->coded(group) && page < count + others; ++page) {
    const std::int64_t is_coded = take_number(source, 0, 1);
    if (page < count) coded[static_cast<std::size_t>(page)] = is_coded == 1;
    if (page >= count) coded_others += is_coded;
  }
  for (const bool is_coded : coded) {
    const std::int32_t page = page_to_load(group, is_coded);
    if (page < 0) throw Error("the KV cache is full", "end other sequences");
    list.push_back(page);
    try {
      read_page(group, page, source);
    } catch (...) {
      pool_->unpin(group, page);
      throw;
    }
    pool_->unpin(group, page);
  }
  source.skip(static_cast<std::size_t>(coded_others) * pool_->page_bytes(group, true) +
              static_cast<std::size_t>(others - coded_others) * pool_->page_bytes(group, false));
}

/// The ranges that were loaded end at `length`.
void SequenceState::check_loaded(std::int64_t length) const {
  if (length < 0 || length > max_cells() || ends_in_coded_page(length)) throw_damaged_state();
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window > 0 || group.encoder) continue;
    if (static_cast<std::int64_t>(pages_[g].list.size()) != pages_for(pool_->cells(g, length)))
      throw_damaged_state();
  }
}

void SequenceState::finish_load(std::int64_t length) {
  try {
    if (pool_->recurrent()) throw_damaged_state();
    for (const CellGroup& group : pool_->groups()) {
      if (group.window > 0 || group.encoder) throw_damaged_state();
    }
    check_loaded(length);
  } catch (...) {
    abandon_load();
    throw;
  }
  length_ = length;
}

void SequenceState::abandon_load() noexcept {
  if (!reserve_) clear();
}

void SequenceState::load_state(ByteSource& source) {
  try {
    read_state(source);
  } catch (...) {
    abandon_load();
    throw;
  }
}

void SequenceState::read_state(ByteSource& source) {
  if (take_number(source, INT64_MIN, INT64_MAX) != kStateMagic) throw_damaged_state();
  const std::int64_t length = take_number(source, 0, max_cells());
  const std::int64_t encoder_length = take_number(source, 0, max_cells());
  check_loaded(length);
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window == 0 && !group.encoder) continue;
    const std::int64_t cells = pool_->cells(g, group.encoder ? encoder_length : length);
    const std::int64_t count = pages_for(cells);
    // The next row reads all that its window reaches.
    const std::int64_t reach = std::max<std::int64_t>(0, cells - group.window + 1);
    const std::int64_t first =
        take_number(source, 0, group.window > 0 ? std::min(count, reach / kPageCells) : 0);
    (void)take_number(source, count - first, count - first);
    std::vector<std::int32_t>& list = pages_[g].list;
    list.assign(static_cast<std::size_t>(first), 0);
    pages_[g].first = first;
    for (std::int64_t page = first; page < count; ++page) {
      list.push_back(page_to_load(g, false));
      read_page(g, list.back(), source);
    }
  }
  const std::int64_t has_state = pool_->recurrent() && length > 0 ? 1 : 0;
  if (take_number(source, has_state, has_state) == 1) {
    checkpoints_.push_back({length, slot_to_load(), true});
    for (std::size_t i = 0; i < pool_->conv_.size(); ++i) {
      read_row(*pool_->backend_, pool_->conv_[i], checkpoints_.back().slot, source);
      read_row(*pool_->backend_, pool_->scan_[i], checkpoints_.back().slot, source);
    }
  }
  length_ = length;
  encoder_length_ = encoder_length;
}

}  // namespace hearth::state
