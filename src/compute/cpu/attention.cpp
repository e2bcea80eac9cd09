#include "compute/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kTile = 64;     // cells per tile
constexpr std::int64_t kChunk = 512;   // cells per chunk
constexpr std::int64_t kQueries = 32;  // (row, head) pairs that share a tile
constexpr std::int64_t kSplitChunks = 128;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Below this many multiply-adds the caller does all itself.
constexpr std::int64_t kInlineWork = 1 << 15;

constexpr std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

constexpr std::int64_t kPaddedHead = kMaxHeadSize;
static_assert(kPaddedHead % kPanelRows == 0);
constexpr std::int64_t kScratchFloats =
    kQueries * kPaddedHead * 3  // queries, sums of the chunk and of all
    + kTile * kPaddedHead * 2   // keys and values
    + kQueries * kTile          // scores
    + 8 * kQueries;             // maxima, sums

}  // namespace

/// Running results of some queries: maximum, sum of exponentials and weighted sum of values.
struct AttentionEngine::Partial {
  float* maxima = nullptr;
  float* sums = nullptr;
  float* values = nullptr;  // [query][value stride]

  void clear(std::int64_t queries, std::int64_t stride) const noexcept {
    std::fill_n(maxima, queries, kMinusInfinity);
    std::fill_n(sums, queries, 0.0F);
    std::fill_n(values, queries * stride, 0.0F);
  }
};

struct AttentionEngine::Scratch {
  float* queries = nullptr;
  float* keys = nullptr;
  float* values = nullptr;
  float* scores = nullptr;
  float* factors = nullptr;
  Partial chunk;
  Partial total;
};

struct AttentionEngine::Pass {
  const AttendArguments* a = nullptr;
  std::int64_t group = 0;           // query heads per KV head
  std::int64_t heads_per_unit = 0;  // of them, taken together
  std::int64_t head_parts = 0;
  std::int64_t rows_per_tile = 0;
  std::int64_t tiles = 0;
  std::int64_t groups = 0;  // tiles x KV heads x head parts
  std::int64_t chunks = 1;  // > 1: every chunk of a group is a unit of its own
  std::int64_t key_size = 0, value_size = 0, value_stride = 0;
  std::int64_t page_cells = 0;
};

namespace {

/// Which queries a unit has: rows of a tile times some heads of one KV head.
struct Queries {
  std::int64_t first_row = 0, first_head = 0, heads = 0, count = 0;
  [[nodiscard]] std::int64_t row(std::int64_t query) const noexcept {
    return first_row + query / heads;
  }
  [[nodiscard]] std::int64_t head(std::int64_t query) const noexcept {
    return first_head + query % heads;
  }
};

/// to = to * a + from * b, sixteen values at a time.
void blend(float* to, float a, const float* from, float b, std::int64_t size) noexcept {
  for (std::int64_t i = 0; i < size; ++i) to[i] = to[i] * a + from[i] * b;
}

}  // namespace

AttentionEngine::AttentionEngine(ThreadTeam& team, const KernelTable& kernels,
                                 std::shared_ptr<Ledger> ledger)
    : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {
  scratch_ =
      AccountedPages(ledger_, MemoryCategory::kBuffers,
                     sizeof(float) * kScratchFloats * static_cast<std::size_t>(team_.size()));
  split_groups_ = 4 * team_.size();
  chunks_left_ =
      std::make_unique<std::atomic<std::int32_t>[]>(static_cast<std::size_t>(split_groups_));
  tiles_.resize(16);
}

void AttentionEngine::reserve(std::int64_t rows, std::int64_t columns) {
  if (rows > static_cast<std::int64_t>(tiles_.size()))
    tiles_.resize(static_cast<std::size_t>(rows));
  if (team_.size() == 1) return;
  const auto floats = static_cast<std::size_t>(kSplitChunks * 2 * columns);
  if (floats <= partial_floats_) return;
  partials_ = AccountedPages();
  partials_ = AccountedPages(ledger_, MemoryCategory::kBuffers, sizeof(float) * floats);
  partial_floats_ = floats;
}

float* AttentionEngine::workspace(int thread) const noexcept {
  static_assert(kWorkspaceFloats <= kScratchFloats);
  return reinterpret_cast<float*>(scratch_.data()) + thread * kScratchFloats;
}

AttentionEngine::Scratch AttentionEngine::scratch(int thread) const noexcept {
  float* next = workspace(thread);
  const auto take = [&next](std::int64_t floats) {
    float* const taken = next;
    next += floats;
    return taken;
  };
  Scratch s;
  s.queries = take(kQueries * kPaddedHead);
  s.keys = take(kTile * kPaddedHead);
  s.values = take(kTile * kPaddedHead);
  s.scores = take(kQueries * kTile);
  s.factors = take(kQueries);
  s.chunk = {take(kQueries), take(kQueries), take(kQueries * kPaddedHead)};
  s.total = {take(kQueries), take(kQueries), take(kQueries * kPaddedHead)};
  return s;
}

void AttentionEngine::make_tiles(const AttendArguments& a, Pass& pass) noexcept {
  pass.tiles = 0;
  for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
    const std::int32_t begin = int_at(a.row_begin, t);
    const std::int32_t end = int_at(a.row_end, t);
    if (pass.tiles > 0) {
      RowTile& tile = tiles_[static_cast<std::size_t>(pass.tiles - 1)];
      const bool same = int_at(a.rows.row_sequence, t) == int_at(a.rows.row_sequence, tile.row);
      // Cells between ranges that do not touch may have no page.
      if (same && tile.count < pass.rows_per_tile && begin <= tile.end && end >= tile.begin) {
        ++tile.count;
        tile.begin = std::min(tile.begin, begin);
        tile.end = std::max(tile.end, end);
        continue;
      }
    }
    tiles_[static_cast<std::size_t>(pass.tiles++)] = {t, 1, begin, end};
  }
}

namespace {

/// The keys or the values of one KV head.
struct HeadCells {
  HeadCells(const Tensor& pool, std::int64_t kv_head) noexcept : half(pool.dtype == DType::kF16) {
    const std::int64_t bytes = half ? 2 : 4;
    base = bytes_of(pool) + kv_head * pool.strides[1] * bytes;
    page_stride = pool.strides[0] * bytes;
    slot_stride = pool.strides[2] * bytes;
  }
  [[nodiscard]] const std::byte* at(std::int64_t page, std::int64_t slot) const noexcept {
    return base + page * page_stride + slot * slot_stride;
  }

  const std::byte* base = nullptr;
  std::int64_t page_stride = 0, slot_stride = 0;
  bool half = false;
};

/// Walks the cells of a sequence upwards without dividing.
class CellWalk {
 public:
  CellWalk(const std::int32_t* table, std::int64_t page_cells, std::int64_t cell) noexcept
      : page_(table + cell / page_cells), slot_(cell % page_cells), page_cells_(page_cells) {}
  [[nodiscard]] std::int64_t page() const noexcept { return *page_; }
  [[nodiscard]] std::int64_t slot() const noexcept { return slot_; }
  void next() noexcept {
    if (++slot_ < page_cells_) return;
    slot_ = 0;
    ++page_;
  }

 private:
  const std::int32_t* page_;
  std::int64_t slot_, page_cells_;
};

/// Where a tile's panels are: in the pool, or gathered.
struct TilePanels {
  PanelFormat key_format = PanelFormat::kF32, value_format = PanelFormat::kF32;
  const std::byte* keys[kTile / kPanelRows] = {};  // per block of sixteen cells
  const std::byte* values = nullptr;               // of the first sixteen values
  std::int64_t value_panel_bytes = 0;              // to the next sixteen
};

/// Gathers those of the cells [first, first + kTile) in [begin, end) that are kept as rows into
/// panels. The other cells' values become zeros; keys only within a block of sixteen that has any
/// cell.
template <class PassType>
void gather_tile(const PassType& pass, const KernelTable& kernels, const std::int32_t* table,
                 std::int64_t kv_head, std::int64_t first, std::int64_t low, std::int64_t high,
                 float* keys, float* values) noexcept {
  const AttendArguments& a = *pass.a;
  const bool keys_too = !keys_in_panels(a.keys);
  const bool values_too = a.values ? !values_in_panels(a.values) : keys_too;
  const HeadCells key_cells(a.keys, kv_head);
  const HeadCells value_cells(a.values ? a.values : a.keys, kv_head);
  CellWalk walk(table, pass.page_cells, low);
  for (std::int64_t block = first; block < first + kTile; block += kPanelRows) {
    const std::byte* lanes[kPanelRows];
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      const std::int64_t cell = block + lane;
      const std::byte* value = nullptr;
      lanes[lane] = nullptr;
      if (cell >= low && cell < high) {
        lanes[lane] = key_cells.at(walk.page(), walk.slot());
        value = value_cells.at(walk.page(), walk.slot());
        walk.next();
      }
      if (values_too) {
        kernels.value_to_panels(value, value_cells.half, pass.value_size, cell - first, kTile,
                                values);
      }
    }
    if (!keys_too || block + kPanelRows <= low || block >= high) continue;
    kernels.keys_to_panel(lanes, key_cells.half, pass.key_size,
                          keys + (block - first) * pass.key_size);
  }
}

/// Values that are the first part of keys kept in panels: the panels of keys, turned. Cells outside
/// [low, high) become zeros.
template <class PassType>
void turn_tile(const PassType& pass, const KernelTable& kernels, const TilePanels& panels,
               std::int64_t first, std::int64_t low, std::int64_t high, float* values) noexcept {
  for (std::int64_t block = 0; block < kTile; block += kPanelRows) {
    const std::byte* const keys = panels.keys[block / kPanelRows];
    if (keys == nullptr) continue;
    kernels.panel_to_values(keys, panels.key_format == PanelFormat::kF16, pass.value_size, block,
                            kTile, values);
    for (std::int64_t lane = block; lane < block + kPanelRows; ++lane) {
      if (first + lane >= low && first + lane < high) continue;
      for (std::int64_t i = 0; i < pass.value_stride; i += kPanelRows) {
        std::fill_n(values + (i / kPanelRows * kTile + lane) * kPanelRows, kPanelRows, 0.0F);
      }
    }
  }
}

/// The panels of the cells [first, first + kTile), of which only those in [begin, end) count.
template <class PassType>
TilePanels tile_panels(const PassType& pass, const KernelTable& kernels, std::int32_t sequence,
                       std::int64_t kv_head, std::int64_t first, std::int64_t begin,
                       std::int64_t end, float* keys, float* values) noexcept {
  const AttendArguments& a = *pass.a;
  const std::int32_t* const table =
      ints_of(a.rows.page_table) + sequence * a.rows.page_table.strides[0];
  const std::int64_t low = std::max(first, begin);
  const std::int64_t high = std::min(first + kTile, end);
  const bool key_panels = keys_in_panels(a.keys);
  const bool value_panels = a.values && values_in_panels(a.values);
  if (!key_panels || (a.values && !value_panels)) {
    gather_tile(pass, kernels, table, kv_head, first, low, high, keys, values);
  }
  TilePanels panels;
  const auto format = [](const Tensor& pool) {
    return pool.dtype == DType::kF16 ? PanelFormat::kF16 : PanelFormat::kF32;
  };
  const auto head = [&](const Tensor& pool, std::int64_t cell) {
    return table[cell / pass.page_cells] * pool.strides[0] + kv_head * pool.strides[1];
  };
  if (key_panels) panels.key_format = format(a.keys);
  const std::int64_t key_bytes = tensor::info(a.keys.dtype).block_bytes;
  for (std::int64_t block = first; block < first + kTile; block += kPanelRows) {
    const std::byte*& panel = panels.keys[(block - first) / kPanelRows];
    if (block + kPanelRows <= low || block >= high) continue;
    if (!key_panels) {
      panel = reinterpret_cast<const std::byte*>(keys + (block - first) * pass.key_size);
      continue;
    }
    panel = bytes_of(a.keys) +
            (head(a.keys, block) + block % pass.page_cells * pass.key_size) * key_bytes;
  }
  if (!a.values && key_panels) turn_tile(pass, kernels, panels, first, low, high, values);
  panels.values = reinterpret_cast<const std::byte*>(values);
  panels.value_panel_bytes = kTile * kPanelRows * static_cast<std::int64_t>(sizeof(float));
  if (value_panels) {
    const std::int64_t value_bytes = tensor::info(a.values.dtype).block_bytes;
    panels.value_format = format(a.values);
    panels.values = bytes_of(a.values) +
                    (head(a.values, first) + first % pass.page_cells * kPanelRows) * value_bytes;
    panels.value_panel_bytes = pass.page_cells * kPanelRows * value_bytes;
  }
  return panels;
}

/// rows [count] of floats times the panel, in calls of at most kDotColumns; use(first row, rows,
/// results).
template <class Use>
void multiply(const KernelTable& kernels, PanelFormat format, const std::byte* panel,
              std::int64_t size, const float* rows, std::int64_t row_stride, std::int64_t count,
              Use use) noexcept {
  alignas(64) float results[kDotColumns * kPanelRows];
  DotArguments dot;
  dot.panel = panel;
  dot.columns = size;
  dot.row_stride = row_stride * 4;
  dot.out = results;
  for (std::int64_t first = 0; first < count; first += kDotColumns) {
    dot.rows = reinterpret_cast<const std::byte*>(rows + first * row_stride);
    dot.count = static_cast<int>(std::min<std::int64_t>(kDotColumns, count - first));
    kernels.dot[static_cast<int>(format)](dot);
    use(first, dot.count, results);
  }
}

/// Turns one query's raw scores of a tile into softmax weights relative to the running maximum;
/// returns the factor by which what was summed before shrinks, or a negative number when the query
/// sees none of these cells.
float weigh_scores(const AttendArguments& a, const KernelTable& kernels, std::int64_t row,
                   std::int64_t head, std::int64_t first_cell, float* scores, float& maximum,
                   float& total) noexcept {
  const std::int64_t low = std::max<std::int64_t>(0, int_at(a.row_begin, row) - first_cell);
  const std::int64_t high = std::min<std::int64_t>(kTile, int_at(a.row_end, row) - first_cell);
  if (low >= high) {
    std::fill_n(scores, kTile, 0.0F);
    return -1;
  }
  if (a.softcap > 0) kernels.softcap(scores, a.softcap, kTile);
  if (a.slopes) {
    const float slope = floats_of(a.slopes)[head];
    const std::int64_t own = int_at(a.rows.row_cell, row);
    for (std::int64_t i = low; i < high; ++i) {
      scores[i] -= slope * static_cast<float>(std::abs(own - (first_cell + i)));
    }
  }
  if (a.distance_bias) {
    const std::int64_t reach = a.distance_bias.shape[1] / 2;
    const float* const bias =
        floats_of(a.distance_bias) + head * a.distance_bias.strides[0] + reach;
    const std::int64_t distance = first_cell - int_at(a.rows.row_cell, row);
    for (std::int64_t i = low; i < high; ++i) {
      scores[i] += bias[std::clamp(distance + i, -reach, reach)];
    }
  }
  std::fill(scores, scores + low, kMinusInfinity);
  std::fill(scores + high, scores + kTile, kMinusInfinity);
  const float before = maximum;
  maximum = std::max(before, kernels.largest(scores, kTile));
  // A maximum of minus infinity (all scores are) would give NaN for what must be zero.
  const float reference = maximum == kMinusInfinity ? 0.0F : maximum;
  const float factor = std::exp(before - reference);
  total = total * factor + kernels.exp_row(scores, reference, kTile);
  return factor;
}

}  // namespace

void AttentionEngine::run_unit(const Pass& pass, std::int64_t unit, int thread) noexcept {
  const AttendArguments& a = *pass.a;
  const std::int64_t group = unit / pass.chunks;
  const std::int64_t kv_heads = a.keys.shape[1];
  const std::int64_t head_part = group % pass.head_parts;
  const std::int64_t kv_head = group / pass.head_parts % kv_heads;
  const RowTile& tile = tiles_[static_cast<std::size_t>(group / (pass.head_parts * kv_heads))];
  const std::int32_t sequence = int_at(a.rows.row_sequence, tile.row);
  const Scratch s = scratch(thread);
  Queries queries;
  queries.first_row = tile.row;
  queries.first_head = kv_head * pass.group + head_part * pass.heads_per_unit;
  queries.heads = std::min(pass.heads_per_unit, pass.group - head_part * pass.heads_per_unit);
  queries.count = tile.count * queries.heads;

  for (std::int64_t q = 0; q < queries.count; ++q) {
    const float* const from =
        floats_of(a.q) + queries.row(q) * a.q.strides[0] + queries.head(q) * a.q.strides[1];
    kernels_.scale(from, a.scale, s.queries + q * pass.key_size, pass.key_size);
  }

  const auto attend_chunk = [&](std::int64_t chunk, const Partial& result) {
    result.clear(queries.count, pass.value_stride);
    const std::int64_t begin = std::max<std::int64_t>(tile.begin, chunk * kChunk);
    const std::int64_t end = std::min<std::int64_t>(tile.end, (chunk + 1) * kChunk);
    for (std::int64_t first = begin / kTile * kTile; first < end; first += kTile) {
      const TilePanels panels =
          tile_panels(pass, kernels_, sequence, kv_head, first, begin, end, s.keys, s.values);
      for (std::int64_t block = 0; block < kTile; block += kPanelRows) {
        // No query sees these cells: their scores are masked.
        if (first + block + kPanelRows <= begin || first + block >= end) continue;
        multiply(kernels_, panels.key_format, panels.keys[block / kPanelRows], pass.key_size,
                 s.queries, pass.key_size, queries.count,
                 [&](std::int64_t q, int count, const float* scores) {
                   for (int c = 0; c < count; ++c) {
                     std::copy_n(scores + c * kPanelRows, kPanelRows,
                                 s.scores + (q + c) * kTile + block);
                   }
                 });
      }
      for (std::int64_t q = 0; q < queries.count; ++q) {
        s.factors[q] = weigh_scores(a, kernels_, queries.row(q), queries.head(q), first,
                                    s.scores + q * kTile, result.maxima[q], result.sums[q]);
      }
      // Only cells of the tile's range: others may never have been written. An even start keeps the
      // kernels' two partial sums as they would be for the whole tile.
      const std::int64_t low = std::max<std::int64_t>(0, begin - first) / 2 * 2;
      const std::int64_t cells = std::min(kTile, end - first) - low;
      const std::int64_t low_bytes =
          low * kPanelRows * (panels.value_format == PanelFormat::kF16 ? 2 : 4);
      for (std::int64_t i = 0; i < pass.value_stride; i += kPanelRows) {
        multiply(kernels_, panels.value_format,
                 panels.values + i / kPanelRows * panels.value_panel_bytes + low_bytes, cells,
                 s.scores + low, kTile, queries.count,
                 [&](std::int64_t q, int count, const float* sums) {
                   for (int c = 0; c < count; ++c) {
                     if (s.factors[q + c] < 0) continue;
                     blend(result.values + (q + c) * pass.value_stride + i, s.factors[q + c],
                           sums + c * kPanelRows, 1, kPanelRows);
                   }
                 });
      }
    }
  };
  // Adds a chunk's result to the total.
  const auto merge = [&](const Partial& part) {
    for (std::int64_t q = 0; q < queries.count; ++q) {
      if (part.maxima[q] == kMinusInfinity) continue;
      const float maximum = std::max(s.total.maxima[q], part.maxima[q]);
      const float old_factor = std::exp(s.total.maxima[q] - maximum);
      const float new_factor = std::exp(part.maxima[q] - maximum);
      s.total.maxima[q] = maximum;
      s.total.sums[q] = s.total.sums[q] * old_factor + part.sums[q] * new_factor;
      blend(s.total.values + q * pass.value_stride, old_factor, part.values + q * pass.value_stride,
            new_factor, pass.value_stride);
    }
  };
  const auto finish = [&] {
    for (std::int64_t q = 0; q < queries.count; ++q) {
      float sum = s.total.sums[q];
      float factor = 1;
      if (a.sinks) {
        const float sink = floats_of(a.sinks)[queries.head(q)];
        const float maximum = std::max(s.total.maxima[q], sink);
        factor = std::exp(s.total.maxima[q] - maximum);
        sum = sum * factor + std::exp(sink - maximum);
      }
      float* const to =
          floats_of(a.out) + queries.row(q) * a.out.strides[0] + queries.head(q) * a.out.strides[1];
      const float* const from = s.total.values + q * pass.value_stride;
      for (std::int64_t i = 0; i < pass.value_size; ++i) to[i] = from[i] * factor / sum;
    }
  };

  const std::int64_t first_chunk = tile.begin / kChunk;
  const std::int64_t last_chunk = (tile.end - 1) / kChunk;
  s.total.clear(queries.count, pass.value_stride);
  if (pass.chunks == 1) {
    for (std::int64_t chunk = first_chunk; chunk <= last_chunk; ++chunk) {
      attend_chunk(chunk, s.chunk);
      merge(s.chunk);
    }
    finish();
    return;
  }
  // Shared: this thread does one chunk, and who finishes last merges all in order.
  const auto slot = [&](std::int64_t index) {
    const std::int64_t floats = kQueries * 2 + kQueries * pass.value_stride;
    float* const memory =
        reinterpret_cast<float*>(partials_.data()) + (group * pass.chunks + index) * floats;
    return Partial{memory, memory + kQueries, memory + 2 * kQueries};
  };
  const std::int64_t index = unit % pass.chunks;
  if (first_chunk + index <= last_chunk) attend_chunk(first_chunk + index, slot(index));
  if (chunks_left_[static_cast<std::size_t>(group)].fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  for (std::int64_t i = 0; first_chunk + i <= last_chunk; ++i) merge(slot(i));
  finish();
}

void AttentionEngine::run(const AttendArguments& a) noexcept {
  Pass pass;
  pass.a = &a;
  const std::int64_t kv_heads = a.keys.shape[1];
  pass.group = a.q.shape[1] / kv_heads;
  pass.heads_per_unit = std::min(pass.group, kQueries);
  // Few rows with many heads on one key (latent attention): smaller units occupy all threads.
  while (pass.heads_per_unit > 8 &&
         a.q.shape[0] * a.q.shape[1] < 2 * team_.size() * pass.heads_per_unit) {
    pass.heads_per_unit /= 2;
  }
  pass.head_parts = (pass.group + pass.heads_per_unit - 1) / pass.heads_per_unit;
  pass.rows_per_tile = kQueries / pass.heads_per_unit;
  pass.key_size = a.q.shape[2];
  pass.value_size = a.out.shape[2];
  pass.value_stride = round_up(pass.value_size, kPanelRows);
  pass.page_cells = a.keys.shape[2];
  const auto capacity = static_cast<std::int64_t>(tiles_.size());
  if (a.q.shape[0] > capacity) {
    // More rows than were reserved: in parts.
    for (std::int64_t first = 0; first < a.q.shape[0]; first += capacity) {
      const std::int64_t count = std::min(capacity, a.q.shape[0] - first);
      AttendArguments part = a;
      for (Tensor* tensor : {&part.q, &part.out, &part.row_begin, &part.row_end,
                             &part.rows.row_sequence, &part.rows.row_cell}) {
        *tensor = tensor->rows(first, count);
      }
      run(part);
    }
    return;
  }
  make_tiles(a, pass);
  pass.groups = pass.tiles * kv_heads * pass.head_parts;

  std::int64_t cells = 0;
  std::int64_t most_chunks = 1;
  for (std::int64_t i = 0; i < pass.tiles; ++i) {
    const RowTile& tile = tiles_[static_cast<std::size_t>(i)];
    cells += (tile.end - tile.begin) * tile.count;
    most_chunks =
        std::max<std::int64_t>(most_chunks, (tile.end - 1) / kChunk - tile.begin / kChunk + 1);
  }
  const bool fits = static_cast<std::size_t>(pass.groups * most_chunks * kQueries *
                                             (2 + pass.value_stride)) <= partial_floats_;
  if (team_.size() > 1 && pass.groups < 2 * team_.size() && most_chunks > 1 && fits) {
    pass.chunks = most_chunks;
    for (std::int64_t i = 0; i < pass.groups; ++i) {
      chunks_left_[static_cast<std::size_t>(i)].store(static_cast<std::int32_t>(pass.chunks),
                                                      std::memory_order_relaxed);
    }
  }
  const std::int64_t units = pass.groups * pass.chunks;
  const std::int64_t work = cells * a.q.shape[1] * (pass.key_size + pass.value_size);
  if (work <= kInlineWork) {
    for (std::int64_t unit = 0; unit < units; ++unit) run_unit(pass, unit, 0);
    return;
  }
  team_.for_chunks(units, 1, [&](std::int64_t begin, std::int64_t end, int thread) noexcept {
    for (std::int64_t unit = begin; unit < end; ++unit) run_unit(pass, unit, thread);
  });
}

}  // namespace hearth::compute::cpu
