#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "compute/cpu/access.h"
#include "compute/cpu/attention_tiles.h"
#include "compute/cpu/coded_tiles.h"
#include "compute/cpu/kv_layout.h"
#include "compute/cpu/panel_product.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kQueries = 32;

/// The keys or the values of one KV head.
struct HeadCells {
  HeadCells(const Tensor& pool, std::int64_t kv_head) noexcept
      : base(bytes_of(pool) + kv_head * pool_bytes(pool, pool.strides[1])),
        page_stride(pool_bytes(pool, pool.strides[0])),
        slot_stride(pool_bytes(pool, pool.strides[2])),
        format(panel_format_of(pool)) {}
  [[nodiscard]] const std::byte* at(std::int64_t page, std::int64_t slot) const noexcept {
    return base + page * page_stride + slot * slot_stride;
  }

  const std::byte* base;
  std::int64_t page_stride, slot_stride;
  PanelFormat format;
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

/// Turns one query's raw scores of a tile into softmax weights relative to the running maximum;
/// returns the factor by which what was summed before shrinks, or a negative number when the query
/// sees none of these cells.
float weigh_scores(const AttendArguments& a, const KernelTable& kernels, std::int64_t row,
                   std::int64_t head, std::int64_t first_cell, float* scores, float& maximum,
                   float& total) noexcept {
  if (!adjust_scores(a, kernels, row, head, first_cell, scores)) {
    std::fill_n(scores, kAttentionTile, 0.0F);
    return -1;
  }
  const float before = maximum;
  maximum = std::max(before, kernels.largest(scores, kAttentionTile));
  // A maximum of minus infinity (all scores are) would give NaN for what must be zero.
  const float reference = maximum == kMinusInfinity ? 0.0F : maximum;
  const float factor = std::exp(before - reference);
  total = total * factor + kernels.exp_row(scores, reference, kAttentionTile);
  return factor;
}

}  // namespace

/// Where a tile's panels are: in the pool, or gathered.
struct FloatTiles::Panels {
  PanelFormat key_format = PanelFormat::kF32, value_format = PanelFormat::kF32;
  const std::byte* keys[kAttentionTile / kPanelRows] = {};  // per block of sixteen cells
  const std::byte* values = nullptr;                        // of the first sixteen values
  std::int64_t value_panel_bytes = 0;                       // to the next sixteen
};

std::int64_t FloatTiles::most_queries(std::int64_t /*key_size*/,
                                      std::int64_t /*value_size*/) noexcept {
  return kQueries;
}

std::int64_t FloatTiles::shared_floats(const AttentionUnit& unit,
                                       const CodedScheme* coded) noexcept {
  std::int64_t decoded = 0;
  if (coded != nullptr) {
    decoded =
        kPanelRows * std::max(coded->keys->layout().padded, coded->value_coder().layout().padded);
  }
  return kAttentionTile * (unit.key_size + unit.value_stride + unit.count()) +
         round_up(unit.count(), kPanelRows) + decoded;
}

FloatTiles::FloatTiles(const AttentionUnit& unit, const KernelTable& kernels, Workspace& own,
                       Workspace shared, const CodedScheme* coded) noexcept
    : unit_(&unit), kernels_(&kernels), coded_(coded) {
  queries_ = own.take(unit.count() * unit.key_size);
  keys_ = shared.take(kAttentionTile * unit.key_size);
  values_ = shared.take(kAttentionTile * unit.value_stride);
  scores_ = shared.take(unit.count() * kAttentionTile);
  factors_ = shared.take(unit.count());
  if (coded != nullptr) {
    decoded_ = shared.take(
        kPanelRows * std::max(coded->keys->layout().padded, coded->value_coder().layout().padded));
  }
  const Tensor& q = unit.a->q;
  for (std::int64_t i = 0; i < unit.count(); ++i) {
    const float* const from =
        floats_of(q) + unit.row(i) * q.strides[0] + unit.head(i) * q.strides[1];
    kernels.scale(from, unit.a->scale, queries_ + i * unit.key_size, unit.key_size);
  }
}

/// Gathers the cells [low, high) of the tile, where they are kept as rows, into panels. The other
/// cells' values become zeros; keys only within a block of sixteen that has any cell.
void FloatTiles::gather(std::int64_t first, std::int64_t low, std::int64_t high) noexcept {
  const AttendArguments& a = *unit_->a;
  const auto are_rows = [&](const Tensor& pool, KvPart part) {
    return kv_layout(pool, part, *kernels_) == KvLayout::kRows;
  };
  const bool keys_too = are_rows(a.keys, KvPart::kKeys);
  const bool values_too = a.values ? are_rows(a.values, KvPart::kValues) : keys_too;
  const HeadCells key_cells(a.keys, unit_->kv_head);
  const HeadCells value_cells(a.values ? a.values : a.keys, unit_->kv_head);
  CellWalk walk(unit_->table, unit_->page_cells, low);
  for (std::int64_t block = first; block < first + kAttentionTile; block += kPanelRows) {
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
        kernels_->value_to_panels(value, value_cells.format, unit_->value_size, cell - first,
                                  kAttentionTile, values_);
      }
    }
    if (!keys_too || block + kPanelRows <= low || block >= high) continue;
    kernels_->keys_to_panel(lanes, key_cells.format, unit_->key_size,
                            keys_ + (block - first) * unit_->key_size);
  }
}

/// Values that are the first part of keys kept in panels: the panels of keys, turned. Cells outside
/// [low, high) become zeros.
void FloatTiles::turn(const Panels& panels, std::int64_t first, std::int64_t low,
                      std::int64_t high) noexcept {
  for (std::int64_t block = 0; block < kAttentionTile; block += kPanelRows) {
    const std::byte* const keys = panels.keys[block / kPanelRows];
    if (keys == nullptr) continue;
    kernels_->panel_to_values(keys, panels.key_format, unit_->value_size, block, kAttentionTile,
                              values_);
    for (std::int64_t lane = block; lane < block + kPanelRows; ++lane) {
      if (first + lane >= low && first + lane < high) continue;
      for (std::int64_t i = 0; i < unit_->value_stride; i += kPanelRows) {
        std::fill_n(values_ + (i / kPanelRows * kAttentionTile + lane) * kPanelRows, kPanelRows,
                    0.0F);
      }
    }
  }
}

/// The panels of a coded page, all of whose cells are there.
FloatTiles::Panels FloatTiles::decoded(std::int32_t page) noexcept {
  const AttendArguments& a = *unit_->a;
  const auto bytes = [&](const Tensor& pool) {
    return std::span<const std::byte>(
        bytes_of(pool) + (page & ~kCodedPage) * pool.strides[0] + unit_->kv_head * pool.strides[1],
        static_cast<std::size_t>(pool.shape[2]));
  };
  const quant::KvCoder& keys = coded_->keys->coder();
  const quant::KvCoder& values = coded_->value_coder().coder();
  Panels panels;
  for (std::int64_t block = 0; block < kAttentionTile; block += kPanelRows) {
    const std::byte* lanes[kPanelRows];
    const auto put_values = [&] {
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        kernels_->value_to_panels(lanes[lane], PanelFormat::kF32, unit_->value_size, block + lane,
                                  kAttentionTile, values_);
      }
    };
    const auto decode = [&](const quant::KvCoder& coder, KvPart part, const Tensor& pool) {
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        float* const cell = decoded_ + lane * coder.layout().padded;
        coder.decode_cell(part, bytes(pool), block + lane, cell);
        lanes[lane] = reinterpret_cast<const std::byte*>(cell);
      }
    };
    decode(keys, KvPart::kKeys, a.coded_keys);
    float* const panel = keys_ + block * unit_->key_size;
    kernels_->keys_to_panel(lanes, PanelFormat::kF32, unit_->key_size, panel);
    panels.keys[block / kPanelRows] = reinterpret_cast<const std::byte*>(panel);
    if (a.values) decode(values, KvPart::kValues, a.coded_values);
    put_values();
  }
  panels.values = reinterpret_cast<const std::byte*>(values_);
  panels.value_panel_bytes = kAttentionTile * kPanelRows * static_cast<std::int64_t>(sizeof(float));
  return panels;
}

/// The panels of the cells [first, first + kAttentionTile), of which only those in [begin, end)
/// count.
FloatTiles::Panels FloatTiles::panels(std::int64_t first, std::int64_t begin,
                                      std::int64_t end) noexcept {
  const AttendArguments& a = *unit_->a;
  if (coded_ != nullptr && unit_->is_coded(first)) {
    return decoded(unit_->table[first / unit_->page_cells]);
  }
  const std::int64_t low = std::max(first, begin);
  const std::int64_t high = std::min(first + kAttentionTile, end);
  const bool key_panels = kv_layout(a.keys, KvPart::kKeys, *kernels_) == KvLayout::kPanels;
  const bool value_panels =
      a.values && kv_layout(a.values, KvPart::kValues, *kernels_) == KvLayout::kPanels;
  if (!key_panels || (a.values && !value_panels)) gather(first, low, high);
  Panels panels;
  const auto place = [&](const Tensor& pool, std::int64_t cell, std::int64_t width) {
    return bytes_of(pool) +
           pool_bytes(pool, unit_->table[cell / unit_->page_cells] * pool.strides[0] +
                                unit_->kv_head * pool.strides[1] +
                                cell % unit_->page_cells * width);
  };
  if (key_panels) panels.key_format = panel_format_of(a.keys);
  for (std::int64_t block = first; block < first + kAttentionTile; block += kPanelRows) {
    if (block + kPanelRows <= low || block >= high) continue;
    panels.keys[(block - first) / kPanelRows] =
        key_panels ? place(a.keys, block, unit_->key_size)
                   : reinterpret_cast<const std::byte*>(keys_ + (block - first) * unit_->key_size);
  }
  if (!a.values && key_panels) turn(panels, first, low, high);
  panels.values = reinterpret_cast<const std::byte*>(values_);
  panels.value_panel_bytes = kAttentionTile * kPanelRows * static_cast<std::int64_t>(sizeof(float));
  if (value_panels) {
    panels.value_format = panel_format_of(a.values);
    panels.values = place(a.values, first, kPanelRows);
    panels.value_panel_bytes = pool_bytes(a.values, unit_->page_cells * kPanelRows);
  }
  return panels;
}

void FloatTiles::begin(const AttentionPartial& result) noexcept {
  result.clear(unit_->count(), unit_->value_stride);
}

void FloatTiles::attend(std::int64_t first, std::int64_t begin, std::int64_t end,
                        const AttentionPartial& result) noexcept {
  const AttendArguments& a = *unit_->a;
  const std::int64_t count = unit_->count();
  const Panels tile = panels(first, begin, end);
  for (std::int64_t block = 0; block < kAttentionTile; block += kPanelRows) {
    // No query sees these cells: their scores are masked.
    if (first + block + kPanelRows <= begin || first + block >= end) continue;
    each_product(*kernels_, tile.key_format, tile.keys[block / kPanelRows], unit_->key_size,
                 queries_, unit_->key_size, count, [&](std::int64_t q, const float* scores) {
                   std::copy_n(scores, kPanelRows, scores_ + q * kAttentionTile + block);
                 });
  }
  for (std::int64_t q = 0; q < count; ++q) {
    factors_[q] = weigh_scores(a, *kernels_, unit_->row(q), unit_->head(q), first,
                               scores_ + q * kAttentionTile, result.maxima[q], result.sums[q]);
  }
  // Only cells of the tile's range: others may never have been written. An even start keeps the
  // kernels' two partial sums as they would be for the whole tile.
  const std::int64_t low = std::max<std::int64_t>(0, begin - first) / 2 * 2;
  const std::int64_t cells = std::min(kAttentionTile, end - first) - low;
  const std::int64_t low_bytes =
      low * kPanelRows * (tile.value_format == PanelFormat::kF32 ? 4 : 2);
  for (std::int64_t i = 0; i < unit_->value_stride; i += kPanelRows) {
    each_product(*kernels_, tile.value_format,
                 tile.values + i / kPanelRows * tile.value_panel_bytes + low_bytes, cells,
                 scores_ + low, kAttentionTile, count, [&](std::int64_t q, const float* sums) {
                   if (factors_[q] < 0) return;
                   kernels_->blend(result.values + q * unit_->value_stride + i, factors_[q], sums,
                                   1, kPanelRows);
                 });
  }
}

QueryRange AttentionUnit::seeing(std::int64_t first) const noexcept {
  QueryRange seen{rows, 0};
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t row = first_row + r;
    if (int_at(a->row_begin, row) >= first + kAttentionTile || int_at(a->row_end, row) <= first)
      continue;
    seen.begin = std::min(seen.begin, r);
    seen.end = r + 1;
  }
  return {seen.begin * heads, seen.end * heads};
}

bool adjust_scores(const AttendArguments& a, const KernelTable& kernels, std::int64_t row,
                   std::int64_t head, std::int64_t first_cell, float* scores) noexcept {
  const std::int64_t low = std::max<std::int64_t>(0, int_at(a.row_begin, row) - first_cell);
  const std::int64_t high =
      std::min<std::int64_t>(kAttentionTile, int_at(a.row_end, row) - first_cell);
  if (low >= high) return false;
  if (a.softcap > 0) kernels.softcap(scores, a.softcap, kAttentionTile);
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
  std::fill(scores + high, scores + kAttentionTile, kMinusInfinity);
  return true;
}

}  // namespace hearth::compute::cpu
