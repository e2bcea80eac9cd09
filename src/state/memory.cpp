#include "state/memory.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "machine/cpu.h"
#include "state/pages.h"
#include "state/snapshots.h"
#include "support/error.h"
#include "support/huge_pages.h"
#include "support/thread_team.h"

namespace hearth::state {

using compute::KvPart;
using compute::MemoryCategory;
using spec::CellGroup;
using tensor::DType;
using tensor::Tensor;

namespace {

std::size_t block_bytes(const Tensor& t) noexcept { return tensor::info(t.dtype).block_bytes; }

template <class Number>
Number round_up(Number value, Number to) noexcept {
  return (value + to - 1) / to * to;
}

/// Pages that are coded with one call: more are coded in several.
constexpr std::int64_t kPairs = 64;

std::int64_t cells_of(const CellGroup& group, const MemoryLimits& limits, std::int64_t rows) {
  return group.encoder ? std::min(rows, limits.context) : rows / group.rows_per_cell;
}

/// Pages of the cells that the window of the next row reaches.
std::int64_t pages_per_snapshot(const CellGroup& group, const MemoryLimits& limits) {
  return std::min(pages_for(cells_of(group, limits, limits.context)),
                  (group.window + 2 * kPageCells - 3) / kPageCells);
}

/// Pages that one sequence can hold at once: all of its cells, or those that a window can reach
/// while a pass adds rows.
std::int64_t pages_per_sequence(const CellGroup& group, const MemoryLimits& limits) {
  const std::int64_t all = pages_for(cells_of(group, limits, limits.context));
  if (group.window == 0) return all;
  const std::int64_t reach =
      group.window + kWindowSlack + limits.batch_rows / group.rows_per_cell + 2 * kPageCells - 2;
  return std::min(all, reach / kPageCells);
}

/// Pages of what is remembered beside the sequences.
std::int64_t extra_pages(const CellGroup& group, const MemoryLimits& limits) {
  if (group.encoder) return 0;
  const std::int64_t pages = pages_for(cells_of(group, limits, limits.prefix_cells));
  if (group.window == 0) return pages;
  // Of each chat the end of its system prompt, and the last of its rows.
  const std::int64_t one = pages_per_snapshot(group, limits);
  const std::int64_t chats = (limits.snapshots + kChatSnapshots - 1) / kChatSnapshots;
  const std::int64_t near_the_end = pages_for(kRecentWindowRows / group.rows_per_cell);
  const std::int64_t wanted = std::min(limits.snapshots * one, chats * (one + near_the_end));
  const std::int64_t all = pages_for(cells_of(group, limits, limits.context));
  const std::int64_t rest = limits.sequences * (all - pages_per_sequence(group, limits)) + pages;
  return std::min({rest, limits.snapshots * one, std::max(wanted, pages)});
}

}  // namespace

MemoryPool::MemoryPool(compute::Backend& backend, const spec::ModelSpec& spec,
                       const MemoryLimits& limits)
    : backend_(&backend), limits_(limits), recurrent_(!spec.recurrent_memories.empty()) {
  for (const spec::KvMemory& memory : spec.kv_memories) {
    const MemoryFormat& format = formats_.emplace_back(memory_format(memory, limits.kv_type));
    std::size_t group = 0;
    while (group < groups_.size() &&
           (groups_[group] != memory.group || pools_[group].coded_group != format.coded)) {
      ++group;
    }
    group_of_.push_back(group);
    if (group < groups_.size()) continue;
    groups_.push_back(memory.group);
    pools_.emplace_back().coded_group = format.coded;
  }
  bool any_coded = false;
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    make_group(group);
    any_coded = any_coded || coded(group);
  }
  if (any_coded) {
    pairs_ = Tensor::contiguous(nullptr, 0, DType::kI32, {kPairs, 2});
    buffers_.push_back(backend.allocate(bytes_of(pairs_), MemoryCategory::kBuffers));
    pairs_.buffer = buffers_.back().get();
  }
  divide(spec);
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    make_memory(spec.kv_memories[i], i);
  }
  open_disk();
  const std::int64_t slots =
      spec.recurrent_memories.empty() ? 0 : kSlotsPerSequence * limits.sequences + limits.snapshots;
  for (const spec::RecurrentMemory& memory : spec.recurrent_memories) {
    Tensor conv = Tensor::contiguous(nullptr, 0, DType::kF32,
                                     {slots, memory.conv_channels, memory.conv_taps});
    Tensor scan = Tensor::contiguous(nullptr, bytes_of(conv), DType::kF32,
                                     {slots, memory.heads, memory.rows, memory.columns});
    buffers_.push_back(backend.allocate(bytes_of(conv) + bytes_of(scan), MemoryCategory::kState));
    conv.buffer = scan.buffer = buffers_.back().get();
    conv_.push_back(conv);
    scan_.push_back(scan);
  }
  slot_references_.assign(static_cast<std::size_t>(slots), 0);
  free_slots_.reserve(static_cast<std::size_t>(slots));
  for (std::int64_t slot = slots; slot-- > 0;)
    free_slots_.push_back(static_cast<std::int32_t>(slot));
}

void MemoryPool::make_group(std::size_t group) {
  Group& pool = pools_[group];
  const std::int64_t each = pages_per_sequence(groups_[group], limits_);
  const std::int64_t extra = extra_pages(groups_[group], limits_);
  pool.capacity = each * limits_.sequences + extra;
  if (!pool.coded_group) {
    pool.raw.resize(pool.capacity);
    return;
  }
  // Raw between passes: the first pages, the youngest ones with the one that is being filled, and
  // one for every older state that a sequence can go back to.
  const std::int64_t young = recent_cells() / kPageCells + 1;
  const std::int64_t between = std::min(each, sink_pages() + young) + kept_pages();
  // What is remembered beside the sequences has first and last pages of its own.
  const std::int64_t remembered = 2 * limits_.snapshots + 4 * limits_.sequences + 8;
  const std::int64_t raw = between * limits_.sequences + pass_pages() + std::min(extra, remembered);
  pool.raw.resize(std::min(raw, pool.capacity + kept_pages() * limits_.sequences));
  // Where coded pages run out, the rest of what sequences can hold has room in the raw ones.
  const std::int64_t others = pool.raw.count() - kept_pages() * limits_.sequences;
  pool.coded.resize(std::max<std::int64_t>(0, pool.capacity - others));
}

/// One buffer: raw keys, raw values, coded keys, coded values. Of those on disk a page is one
/// piece, keys and then values.
MemoryPool::Layout MemoryPool::layout_of(const spec::KvMemory& memory, std::size_t index) const {
  constexpr std::size_t kAlignment = 64;
  const MemoryFormat& format = formats_[index];
  const Group& pool = pools_[group_of_[index]];
  Layout layout;
  const auto place = [&](Tensor tensor) {
    if (bytes_of(tensor) > 0) layout.bytes = round_up(layout.bytes, kAlignment);
    tensor.offset = layout.bytes;
    layout.bytes += bytes_of(tensor);
    return tensor;
  };
  const auto raw = [&](const PartPages& part, std::int64_t pages) {
    return Tensor::contiguous(nullptr, 0, part.raw,
                              {pages, memory.kv_heads, kPageCells, part.size});
  };
  const auto coded = [&](const PartPages& part, std::int64_t pages) {
    return Tensor::contiguous(
        nullptr, 0, DType::kI8,
        {pages, memory.kv_heads, static_cast<std::int64_t>(part.coded_bytes())});
  };
  const auto place_frames = [&](Tensor keys, Tensor values) {
    const std::size_t values_at = round_up(bytes_of(keys), kAlignment);
    // Whole blocks of either type: strides are counted in elements.
    const std::size_t unit =
        std::lcm(std::lcm(SpillFile::kAlignment, block_bytes(keys)), block_bytes(values));
    layout.stripe = round_up(values_at + bytes_of(values), unit);
    layout.frames_at = round_up(layout.bytes, SpillFile::kAlignment);
    for (Tensor* tensor : {&keys, &values}) {
      const tensor::DTypeInfo& type = tensor::info(tensor->dtype);
      tensor->shape[0] = pool.frames.frames();
      tensor->strides[0] =
          static_cast<std::int64_t>(layout.stripe / type.block_bytes * type.block_elements);
      tensor->offset = layout.frames_at + (tensor == &values ? values_at : 0);
    }
    layout.bytes =
        layout.frames_at + layout.stripe * static_cast<std::size_t>(pool.frames.frames());
    return std::pair(keys, values);
  };
  if (pool.on_disk && !format.coded) {
    std::tie(layout.keys, layout.values) = place_frames(raw(format.keys, 1), raw(format.values, 1));
    return layout;
  }
  layout.keys = place(raw(format.keys, pool.raw.count()));
  layout.values = place(raw(format.values, pool.raw.count()));
  if (!format.coded) return layout;
  if (pool.on_disk) {
    std::tie(layout.coded_keys, layout.coded_values) =
        place_frames(coded(format.keys, 1), coded(format.values, 1));
  } else {
    layout.coded_keys = place(coded(format.keys, pool.coded.count()));
    layout.coded_values = place(coded(format.values, pool.coded.count()));
  }
  return layout;
}

void MemoryPool::make_memory(const spec::KvMemory& memory, std::size_t index) {
  const MemoryFormat& format = formats_[index];
  const std::size_t group = group_of_[index];
  Layout layout = layout_of(memory, index);
  tensor::Buffer* const buffer =
      buffers_.emplace_back(backend_->allocate(layout.bytes, MemoryCategory::kKv)).get();
  const bool has_values = memory.value_size > 0;
  const auto present = [&](Tensor tensor, bool is_there) {
    tensor.buffer = buffer;
    return is_there ? tensor : Tensor{};
  };
  keys_.push_back(present(layout.keys, true));
  values_.push_back(present(layout.values, has_values));
  CodedPages& coded = coded_.emplace_back();
  if (format.coded && pools_[group].coded.count() > 0) {
    coded = {present(layout.coded_keys, true), present(layout.coded_values, has_values),
             format.keys.code, format.values.code};
  }
  framed_index_.push_back(-1);
  if (!pools_[group].on_disk) return;
  framed_index_.back() = static_cast<std::int32_t>(framed_.size());
  framed_.push_back({group, format.coded ? coded.keys : keys_.back(),
                     format.coded ? coded.values : values_.back(), layout.stripe, layout.frames_at,
                     pools_[group].growing().count()});
}

void MemoryPool::populate() {
  // The system clears pages at some GB/s per core.
  constexpr std::size_t kSlice = std::size_t{64} << 20;
  std::vector<std::span<std::byte>> slices;
  for (const std::unique_ptr<tensor::Buffer>& buffer : buffers_) {
    std::byte* const bytes = buffer->host();
    if (bytes == nullptr) continue;
    for (std::size_t at = 0; at < buffer->size(); at += kSlice)
      slices.emplace_back(bytes + at, std::min(kSlice, buffer->size() - at));
  }
  std::mutex mutex;
  std::optional<Error> problem;
  ThreadTeam team(std::min<int>(machine::usable_cores(), static_cast<int>(slices.size())));
  team.for_chunks(static_cast<std::int64_t>(slices.size()), 1,
                  [&](std::int64_t begin, std::int64_t end, int) {
                    try {
                      for (std::int64_t i = begin; i < end; ++i)
                        hearth::populate(slices[static_cast<std::size_t>(i)]);
                    } catch (const Error& error) {
                      const std::lock_guard lock(mutex);
                      problem = error;
                    }
                  });
  if (problem) throw *problem;
}

std::int64_t MemoryPool::pass_pages() const noexcept {
  // Every sequence may begin in the middle of a page.
  return (limits_.batch_rows + (kPageCells - 2) * limits_.sequences) / kPageCells;
}

void MemoryPool::PageList::resize(std::int64_t count) {
  references.assign(static_cast<std::size_t>(count), 0);
  free.reserve(static_cast<std::size_t>(count));
  for (std::int64_t page = count; page-- > 0;) free.push_back(static_cast<std::int32_t>(page));
}

std::int32_t MemoryPool::PageList::take() noexcept {
  if (free.empty()) return -1;
  const std::int32_t page = free.back();
  free.pop_back();
  references[static_cast<std::size_t>(page)] = 1;
  return page;
}

void MemoryPool::PageList::give_back(std::int32_t page) noexcept {
  if (--references[static_cast<std::size_t>(page)] == 0) free.push_back(page);
}

std::int64_t MemoryPool::pages(std::size_t group) const noexcept { return pools_[group].capacity; }

std::int64_t MemoryPool::free_pages(std::size_t group) const noexcept {
  const Group& pool = pools_[group];
  if (!pool.coded_group) return pool.raw.left();
  // Rows come into raw pages first, as many as a pass has.
  if (pool.raw.left() < std::min(pass_pages(), pool.capacity)) return pool.raw.left();
  // States that a sequence can go back to keep a raw page beside the coded one.
  const std::int64_t beside = kept_pages() * limits_.sequences;
  const std::int64_t unused = pool.capacity + beside - pool.raw.used() - pool.coded.used();
  return std::clamp<std::int64_t>(std::min(pool.raw.left() + pool.coded.left(), unused), 0,
                                  pool.capacity);
}

std::int64_t MemoryPool::cells(std::size_t group, std::int64_t rows) const noexcept {
  return cells_of(groups_[group], limits_, rows);
}

bool MemoryPool::needs_snapshots() const noexcept {
  return recurrent() || std::any_of(groups_.begin(), groups_.end(), [this](const CellGroup& group) {
           return group.window > 0 && group.window < limits_.context / group.rows_per_cell;
         });
}

std::size_t MemoryPool::page_bytes(std::size_t group, bool coded_page) const noexcept {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (group_of_[i] != group) continue;
    const MemoryFormat& format = formats_[i];
    const std::size_t head = coded_page ? format.keys.coded_bytes() + format.values.coded_bytes()
                                        : format.keys.raw_bytes() + format.values.raw_bytes();
    bytes += head * static_cast<std::size_t>(keys_[i].shape[1]);
  }
  return bytes;
}

std::int64_t MemoryPool::rows_between_pages() const noexcept {
  std::int64_t rows = kPageCells;
  for (const CellGroup& group : groups_) {
    if (group.window == 0 && !group.encoder)
      rows = std::lcm(rows, kPageCells * group.rows_per_cell);
  }
  return rows;
}

/// FNV-1a.
std::uint64_t MemoryPool::fingerprint() const {
  std::uint64_t hash = 14695981039346656037U;
  const auto mix = [&](std::int64_t value) {
    for (int byte = 0; byte < 8; ++byte) {
      hash = (hash ^ (static_cast<std::uint64_t>(value) >> (8 * byte) & 0xFF)) * 1099511628211U;
    }
  };
  for (const char c : backend_->name()) mix(c);
  const auto mix_tensor = [&](const Tensor& t) {
    mix(static_cast<std::int64_t>(t.dtype));
    for (std::size_t i = 1; i < t.shape.size(); ++i) mix(t ? t.shape[i] : 0);
  };
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    mix(static_cast<std::int64_t>(group_of_[i]));
    mix_tensor(keys_[i]);
    mix_tensor(values_[i]);
    for (const quant::KvCode& code : {formats_[i].keys.code, formats_[i].values.code}) {
      mix(static_cast<std::int64_t>(code.kind));
      mix(code.half_bits);
      mix(code.centred ? 1 : 0);
      mix(code.value_part);
      mix(static_cast<std::int64_t>(code.seed));
    }
  }
  for (const CellGroup& group : groups_) {
    mix(group.rows_per_cell);
    mix(group.window);
    mix(group.encoder ? 1 : 0);
  }
  for (std::size_t i = 0; i < conv_.size(); ++i) {
    mix_tensor(conv_[i]);
    mix_tensor(scan_[i]);
  }
  return hash;
}

std::int32_t MemoryPool::take_page(std::size_t group) {
  Group& pool = pools_[group];
  const std::int32_t page = pool.raw.take();
  if (page < 0) {
    // Pages stay raw, and the raw ones run out, when coded ones cannot go to the disk.
    if (!disk_problem_.empty()) throw Error(disk_problem_);
    throw Error("all " + std::to_string(pages(group)) + " pages of the KV cache are in use",
                "use a larger context, or end other sequences");
  }
  if (!pool.framed(page)) return page;
  try {
    free_a_frame(group);
  } catch (...) {
    pool.raw.give_back(page);
    throw;
  }
  pool.frames.place(page);
  pool.frames.pin(page);
  return page;
}

std::int32_t MemoryPool::take_coded_page(std::size_t group) noexcept {
  Group& pool = pools_[group];
  const std::int32_t page = pool.coded.take();
  if (page < 0 || !pool.on_disk) return page < 0 ? page : page | compute::kCodedPage;
  try {
    free_a_frame(group);
  } catch (const Error& error) {
    disk_problem_ = error.what();
    pool.coded.give_back(page);
    return -1;
  }
  disk_problem_.clear();
  pool.frames.place(page);
  pool.frames.pin(page);
  return page | compute::kCodedPage;
}

void MemoryPool::share_page(std::size_t group, std::int32_t page) noexcept {
  ++list_of(group, page).references[static_cast<std::size_t>(page & ~compute::kCodedPage)];
}

void MemoryPool::give_back_page(std::size_t group, std::int32_t page) noexcept {
  const std::int32_t number = page & ~compute::kCodedPage;
  list_of(group, page).give_back(number);
  if (page_references(group, page) == 0 && pools_[group].framed(page))
    pools_[group].frames.forget(number);
}

void MemoryPool::encode(std::size_t group, std::span<const CodedPair> pairs) noexcept {
  while (!pairs.empty()) {
    const auto count = std::min(pairs.size(), static_cast<std::size_t>(kPairs));
    const Tensor staged = pairs_.rows(0, static_cast<std::int64_t>(count));
    std::array<CodedPair, kPairs> rows{};
    for (std::size_t i = 0; i < count; ++i) {
      rows[i] = {pairs[i].raw, row_of(group, pairs[i].coded | compute::kCodedPage)};
    }
    backend_->write(staged, rows.data());
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (group_of_[i] != group) continue;
      const CodedPages& coded = coded_[i];
      backend_->encode_pages({KvPart::kKeys, keys_[i], coded.keys, coded.key_code, staged});
      if (!coded.values) continue;
      backend_->encode_pages({KvPart::kValues, values_[i], coded.values, coded.value_code, staged});
    }
    pairs = pairs.subspan(count);
  }
}

void MemoryPool::copy_page(std::size_t group, std::int32_t from, std::int32_t to) noexcept {
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (group_of_[i] != group) continue;
    for (const Tensor* pages : {&keys_[i], &values_[i]}) {
      if (*pages) {
        backend_->copy(pages->rows(row_of(group, from), 1), pages->rows(row_of(group, to), 1));
      }
    }
  }
}

std::int32_t MemoryPool::take_slot() {
  if (free_slots_.empty()) {
    throw Error(
        "all " + std::to_string(slot_references_.size()) + " slots of recurrent state are in use",
        "end other sequences");
  }
  const std::int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slot_references_[static_cast<std::size_t>(slot)] = 1;
  return slot;
}

void MemoryPool::give_back_slot(std::int32_t slot) noexcept {
  if (--slot_references_[static_cast<std::size_t>(slot)] == 0) free_slots_.push_back(slot);
}

}  // namespace hearth::state
