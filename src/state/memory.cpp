#include "state/memory.h"

#include <algorithm>
#include <numeric>

#include "support/error.h"

namespace hearth::state {

using compute::MemoryCategory;
using spec::CellGroup;
using spec::MemoryIndex;
using tensor::DType;
using tensor::Tensor;

namespace {

std::size_t bytes_of(const Tensor& shape) noexcept {
  return tensor::row_bytes(shape.dtype, static_cast<std::size_t>(shape.elements()));
}

/// Keys and values are made of whole blocks of their format.
void check_sizes(const spec::KvMemory& memory, DType dtype) {
  const auto block = static_cast<std::int64_t>(tensor::info(dtype).block_elements);
  for (const std::int64_t size : {memory.key_size, memory.value_size}) {
    if (size % block == 0) continue;
    throw Error("keys and values of " + std::to_string(size) + " elements cannot be kept as " +
                    std::string(tensor::name(dtype)) + ", which has blocks of " +
                    std::to_string(block),
                "use --kv f16 or --kv bf16");
  }
}

std::int64_t pages_for(std::int64_t cells) noexcept {
  return (cells + kPageCells - 1) / kPageCells;
}

std::int64_t cells_of(const CellGroup& group, const MemoryLimits& limits, std::int64_t rows) {
  return group.encoder ? std::min(rows, limits.context) : rows / group.rows_per_cell;
}

/// Pages of the cells that the window of the next row reaches.
std::int64_t pages_per_snapshot(const CellGroup& group, const MemoryLimits& limits) {
  return std::min(pages_for(cells_of(group, limits, limits.context)),
                  (group.window + 2 * kPageCells - 3) / kPageCells);
}

/// Pages of what is remembered beside the sequences.
std::int64_t extra_pages(const CellGroup& group, const MemoryLimits& limits) {
  if (group.encoder) return 0;
  if (group.window > 0) return limits.snapshots * pages_per_snapshot(group, limits);
  return pages_for(cells_of(group, limits, limits.prefix_cells));
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

}  // namespace

MemoryPool::MemoryPool(compute::Backend& backend, const spec::ModelSpec& spec,
                       const MemoryLimits& limits)
    : backend_(&backend), limits_(limits) {
  for (const spec::KvMemory& memory : spec.kv_memories) {
    const auto found = std::find(groups_.begin(), groups_.end(), memory.group);
    group_of_.push_back(static_cast<std::size_t>(found - groups_.begin()));
    if (found == groups_.end()) groups_.push_back(memory.group);
  }
  for (const CellGroup& group : groups_) {
    const std::int64_t pages =
        pages_per_sequence(group, limits) * limits.sequences + extra_pages(group, limits);
    Group pool;
    pool.references.assign(static_cast<std::size_t>(pages), 0);
    pool.free.reserve(static_cast<std::size_t>(pages));
    for (std::int64_t page = pages; page-- > 0;)
      pool.free.push_back(static_cast<std::int32_t>(page));
    pools_.push_back(std::move(pool));
  }
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    const spec::KvMemory& memory = spec.kv_memories[i];
    const DType dtype = memory.float32 ? DType::kF32 : limits.kv_type;
    check_sizes(memory, dtype);
    const std::int64_t page_count = pages(group_of_[i]);
    Tensor keys = Tensor::contiguous(nullptr, 0, dtype,
                                     {page_count, memory.kv_heads, kPageCells, memory.key_size});
    Tensor values =
        Tensor::contiguous(nullptr, bytes_of(keys), dtype,
                           {page_count, memory.kv_heads, kPageCells, memory.value_size});
    buffers_.push_back(backend.allocate(bytes_of(keys) + bytes_of(values), MemoryCategory::kKv));
    keys.buffer = values.buffer = buffers_.back().get();
    if (memory.value_size == 0) values = {};
    keys_.push_back(keys);
    values_.push_back(values);
  }
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

std::int64_t MemoryPool::pages(std::size_t group) const noexcept {
  return static_cast<std::int64_t>(pools_[group].references.size());
}

std::int64_t MemoryPool::free_pages(std::size_t group) const noexcept {
  return static_cast<std::int64_t>(pools_[group].free.size());
}

std::int64_t MemoryPool::cells(std::size_t group, std::int64_t rows) const noexcept {
  return cells_of(groups_[group], limits_, rows);
}

bool MemoryPool::needs_snapshots() const noexcept {
  return recurrent() || std::any_of(groups_.begin(), groups_.end(), [this](const CellGroup& group) {
           return group.window > 0 && group.window < limits_.context / group.rows_per_cell;
         });
}

std::size_t MemoryPool::page_bytes(std::size_t group) const noexcept {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (group_of_[i] != group || pages(group) == 0) continue;
    bytes += bytes_of(keys_[i].rows(0, 1));
    if (values_[i]) bytes += bytes_of(values_[i].rows(0, 1));
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
  if (pool.free.empty()) {
    throw Error("all " + std::to_string(pages(group)) + " pages of the KV cache are in use",
                "use a larger context, or end other sequences");
  }
  const std::int32_t page = pool.free.back();
  pool.free.pop_back();
  pool.references[static_cast<std::size_t>(page)] = 1;
  return page;
}

void MemoryPool::share_page(std::size_t group, std::int32_t page) noexcept {
  ++pools_[group].references[static_cast<std::size_t>(page)];
}

void MemoryPool::give_back_page(std::size_t group, std::int32_t page) noexcept {
  Group& pool = pools_[group];
  if (--pool.references[static_cast<std::size_t>(page)] == 0) pool.free.push_back(page);
}

void MemoryPool::copy_page(std::size_t group, std::int32_t from, std::int32_t to) noexcept {
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (group_of_[i] != group) continue;
    backend_->copy(keys_[i].rows(from, 1), keys_[i].rows(to, 1));
    if (values_[i]) backend_->copy(values_[i].rows(from, 1), values_[i].rows(to, 1));
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
