// The part of MemoryPool that divides pages between memory and disk.
#include <algorithm>
#include <string>

#include "state/memory.h"
#include "state/pages.h"
#include "state/sequence.h"
#include "support/error.h"

namespace hearth::state {

using compute::MemoryCategory;

namespace {

/// Pages that are taken back into memory for one sequence and pass.
constexpr std::int64_t kBroughtBack = 8;
/// The ring takes an eighth of the budget, as long as that makes reading faster.
constexpr std::uint64_t kRingShare = 8;
constexpr std::uint64_t kMostRing = std::uint64_t{128} << 20;
/// Coded pages that are made at once, and pinned meanwhile (SequenceState::code_pages).
constexpr std::int64_t kCodedAtOnce = 16;

std::string megabytes(std::uint64_t bytes) {
  const std::uint64_t tenths = (bytes + 99'999) / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MB";
}

}  // namespace

std::optional<std::size_t> MemoryPool::framed(spec::MemoryIndex memory) const noexcept {
  const std::int32_t index = framed_index_[static_cast<std::size_t>(memory)];
  if (index < 0) return std::nullopt;
  return static_cast<std::size_t>(index);
}

/// Pages of the unit at the end of the context, which is the longest.
std::int64_t MemoryPool::longest_unit() const noexcept {
  const std::int64_t last = (std::max<std::int64_t>(limits_.context, 1) - 1) / kPageCells;
  return PageStream::unit_end(last) - PageStream::unit_begin(last);
}

/// Pages that passes pin: those they write or make, with the rest of the parts that the sequences
/// end in, and, of raw ones, one that is copied per sequence.
std::int64_t MemoryPool::least_frames(std::size_t group) const noexcept {
  const Group& pool = pools_[group];
  const std::int64_t least = pool.coded_group
                                 ? kCodedAtOnce + longest_unit() * limits_.sequences
                                 : pass_pages() + (longest_unit() + 1) * limits_.sequences;
  return std::min(least, pool.growing().count());
}

/// Groups go to the disk that grow with the context, and that attend() alone reads.
void MemoryPool::choose_groups(const spec::ModelSpec& spec) {
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const spec::CellGroup& kind = groups_[group];
    Group& pool = pools_[group];
    pool.on_disk =
        kind.window == 0 && !kind.encoder && kind.rows_per_cell == 1 && pool.growing().count() > 0;
  }
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    if (spec.kv_memories[i].selected) pools_[group_of_[i]].on_disk = false;
  }
}

/// Decides how many pages have room in memory.
void MemoryPool::divide(const spec::ModelSpec& spec) {
  if (limits_.kv_budget == 0) return;
  const auto total = [&] {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < spec.kv_memories.size(); ++i)
      bytes += layout_of(spec.kv_memories[i], i).bytes;
    return bytes;
  };
  const std::uint64_t everything = total();
  if (everything <= limits_.kv_budget) return;
  choose_groups(spec);
  std::uint64_t stripes = 0;
  std::uint64_t widest = 0;
  std::int64_t least = 0;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    const std::size_t group = group_of_[i];
    if (!pools_[group].on_disk) continue;
    const std::uint64_t stripe = layout_of(spec.kv_memories[i], i).stripe;
    stripes += stripe;
    widest = std::max(widest, stripe);
    least = std::max(least, least_frames(group));
    most = std::max(most, pools_[group].growing().count());
  }
  if (stripes == 0) {
    throw Error("keys and values take " + megabytes(everything) + ", more than the budget of " +
                    megabytes(limits_.kv_budget) + ", and this model's cannot be read from a disk",
                "use a smaller --ctx, --kv tq4, or a larger --kv-budget", ExitCode::kDoesNotFit);
  }
  const std::uint64_t fixed = total();  // no page has a frame yet
  const std::uint64_t slot =
      std::min(limits_.kv_budget / kRingShare, kMostRing) / PageStream::kSlots / widest;
  const std::int64_t unit = longest_unit();
  slot_pages_ = std::max<std::int64_t>(static_cast<std::int64_t>(slot) / unit * unit, unit);
  slot_pages_ = std::min(slot_pages_, (most + unit - 1) / unit * unit);
  const std::uint64_t ring = static_cast<std::uint64_t>(PageStream::kSlots * slot_pages_) * widest;
  const std::uint64_t needed = fixed + ring + static_cast<std::uint64_t>(least) * stripes;
  if (needed > limits_.kv_budget) {
    throw Error("keys and values need " + megabytes(needed) +
                    " of memory, more than the budget of " + megabytes(limits_.kv_budget) +
                    ", even with all others on disk",
                "use a larger --kv-budget, or --kv tq4", ExitCode::kDoesNotFit);
  }
  const auto frames = static_cast<std::int64_t>((limits_.kv_budget - fixed - ring) / stripes);
  for (Group& pool : pools_) {
    if (!pool.on_disk) continue;
    const std::int64_t pages = pool.growing().count();
    pool.frames = PageFrames(pages, std::min(pages, frames));
  }
}

void MemoryPool::open_disk() {
  if (framed_.empty()) return;
  if (limits_.spill_bytes > 0 && disk_bytes() > limits_.spill_bytes) {
    throw Error("keys and values would take " + megabytes(disk_bytes()) +
                    " on disk, more than the " + megabytes(limits_.spill_bytes) +
                    " that --kv-disk allows",
                "allow more with --kv-disk DIR:SIZE, or use a smaller --ctx or --kv tq4",
                ExitCode::kDoesNotFit);
  }
  std::size_t widest = 0;
  for (const FramedMemory& memory : framed_) widest = std::max(widest, memory.stripe);
  buffers_.push_back(backend_->allocate(
      static_cast<std::size_t>(PageStream::kSlots * slot_pages_) * widest, MemoryCategory::kKv));
  ring_ = buffers_.back().get();
  // Without memory that the host can read nothing moves: the pool is only counted.
  if (ring_->host() != nullptr) {
    if (limits_.spill_folder.empty()) {
      throw Error("keys and values take more than the budget of " + megabytes(limits_.kv_budget),
                  "name a folder for the rest with --kv-disk DIR:SIZE, or use a larger "
                  "--kv-budget, a smaller --ctx or --kv tq4",
                  ExitCode::kDoesNotFit);
    }
    disk_ = std::make_unique<PageDisk>(limits_.spill_folder, framed_);
  }
  stream_ = std::make_unique<PageStream>(framed_, disk_.get(), *ring_, slot_pages_);
}

/// Makes sure that a frame is free, and that it may be written: what a pass that failed announced
/// may still be read, from frames that were given back since.
void MemoryPool::free_a_frame(std::size_t group) {
  PageFrames& frames = pools_[group].frames;
  stream_->stop();
  if (frames.free_frames() > 0) return;
  const std::int32_t page = frames.oldest();
  if (page < 0) {
    throw Error("all pages of the KV cache that have room in memory are in use",
                "use a larger --kv-budget, or fewer requests at once");
  }
  if (!frames.saved(page) && disk_ != nullptr) disk_->store(group, page, frames.frame(page));
  frames.set_saved(page, true);
  frames.remove(page);
}

void MemoryPool::pin(std::size_t group, std::int32_t page) {
  Group& pool = pools_[group];
  if (!pool.framed(page)) return;
  const std::int32_t number = page & ~compute::kCodedPage;
  if (pool.frames.frame(number) < 0) load_page(group, number);
  pool.frames.pin(number);
}

void MemoryPool::load_page(std::size_t group, std::int32_t number) {
  free_a_frame(group);
  PageFrames& frames = pools_[group].frames;
  const std::int32_t frame = frames.place(number);
  try {
    if (disk_ != nullptr) disk_->load(group, number, frame);
  } catch (...) {
    frames.remove(number);
    throw;
  }
}

void MemoryPool::bring_back(std::size_t group, std::span<const std::int32_t> pages) {
  const Group& pool = pools_[group];
  // As many frames as a pass takes stay free, or the next one would move them out again.
  const std::int64_t kept = least_frames(group);
  std::int64_t left = std::min(kBroughtBack, pool.frames.free_frames() - kept);
  for (std::size_t i = 0; left > 0 && i < pages.size(); ++i) {
    if (!pool.framed(pages[i]) || row_of(group, pages[i]) >= 0) continue;
    load_page(group, pages[i] & ~compute::kCodedPage);
    --left;
  }
}

void MemoryPool::unpin(std::size_t group, std::int32_t page) noexcept {
  if (pools_[group].framed(page)) pools_[group].frames.unpin(page & ~compute::kCodedPage);
}

void MemoryPool::set_changed(std::size_t group, std::int32_t page) noexcept {
  if (pools_[group].framed(page))
    pools_[group].frames.set_saved(page & ~compute::kCodedPage, false);
}

void MemoryPool::write_from_disk(
    std::size_t group, std::int32_t page,
    const std::function<void(std::span<const std::byte>)>& sink) const {
  for (std::size_t i = 0; i < framed_.size(); ++i) {
    const FramedMemory& memory = framed_[i];
    if (memory.group != group || disk_ == nullptr) continue;
    stream_->stop();  // its ring serves as memory
    const std::span<std::byte> bytes(ring_->host(), memory.stripe);
    disk_->read(i, page & ~compute::kCodedPage, bytes);
    for (const tensor::Tensor* part : {&memory.keys, &memory.values}) {
      if (!*part) continue;
      const std::size_t count = bytes_of(part->rows(0, 1));
      sink(bytes.subspan(part->offset - memory.frames_at, count));
    }
  }
}

void MemoryPool::plan_segment(const SequenceState& sequence,
                              std::span<const std::span<std::int32_t>> tables) const {
  for (std::size_t group = 0; group < tables.size(); ++group) {
    const std::span<const std::int32_t> pages = sequence.pages(group);
    if (pools_[group].on_disk) {
      plan_pages(group, pages, tables[group]);
    } else {
      std::copy(pages.begin(), pages.end(), tables[group].begin());
    }
  }
}

void MemoryPool::plan_pages(std::size_t group, std::span<const std::int32_t> pages,
                            std::span<std::int32_t> table) const {
  const auto count = static_cast<std::int64_t>(pages.size());
  const auto at = [&](std::int64_t page) { return pages[static_cast<std::size_t>(page)]; };
  const auto unit_end = [&](std::int64_t first) {
    return std::min(count, PageStream::unit_end(first));
  };
  // A unit is read as a whole when any of its pages is on disk only.
  const auto is_staged = [&](std::int64_t first) {
    for (std::int64_t page = first; page < unit_end(first); ++page) {
      if (row_of(group, at(page)) < 0) return true;
    }
    return false;
  };
  PagePart part;
  while (part.end < count) {
    part.first = part.end;
    part.staged = is_staged(part.first);
    do {
      part.end = unit_end(part.end);
    } while (part.end < count && is_staged(part.end) == part.staged &&
             (!part.staged || unit_end(part.end) - part.first <= slot_pages_));
    stream_->add_part(group, part);
    for (std::int64_t i = part.first; i < part.end; ++i) {
      const std::int32_t page = at(i);
      const std::int32_t row = row_of(group, page);
      const bool moves = part.staged && pools_[group].framed(page);
      table[static_cast<std::size_t>(i)] =
          (moves ? static_cast<std::int32_t>(i - part.first) : row) | (page & compute::kCodedPage);
      if (part.staged)
        stream_->add_source(moves ? PageSource{page & ~compute::kCodedPage, row} : PageSource{});
    }
  }
}

}  // namespace hearth::state
