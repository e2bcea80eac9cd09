#include "compute/cpu/access.h"
#include "compute/cpu/attention_tiles.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

/// Up to so many queries, halves are converted where they are used, else once for all.
constexpr std::int64_t kFewQueries = 12;

/// Half-precision numbers x are used as 2^-112 x (PairFormat): queries make up for it, and weights
/// are large enough that products with values do not become subnormal.
constexpr float kHalfScale = 0x1p112F;
constexpr float kHalfWeightShift = 100;

PairFormat pair_format_of(DType type) noexcept {
  if (tensor::info(type).quantized) return PairFormat::kBlocks;
  return type == DType::kF16 ? PairFormat::kF16 : PairFormat::kBF16;
}

/// Of the tile at `first`, the cells in [begin, end).
void set_cells(ValueTile& value, std::int64_t first, std::int64_t begin,
               std::int64_t end) noexcept {
  value.first_cell = std::max<std::int64_t>(0, begin - first) / 2 * 2;
  value.end_cell = std::min(kAttentionTile, end - first);
}

}  // namespace

bool PairTiles::can_attend(const AttendArguments& a, const KernelTable& kernels) noexcept {
  if (kernels.pair_attention == nullptr) return false;
  const auto can_read = [&](const Tensor& pool, KvPart part) {
    if (!tensor::info(pool.dtype).quantized) return is_sixteen_bits(pool.dtype);
    return kv_layout(pool, part, kernels) == KvLayout::kPairs;
  };
  return can_read(a.keys, KvPart::kKeys) && (!a.values || can_read(a.values, KvPart::kValues));
}

std::int64_t PairTiles::most_queries(std::int64_t key_size, std::int64_t value_size) noexcept {
  // What a tile needs stays in the second-level cache.
  constexpr std::int64_t kMost = 96, kSize = 256;
  return std::min(kMost, std::max<std::int64_t>(1, kMost * kSize / std::max(key_size, value_size)));
}

std::int64_t PairTiles::shared_floats(const AttentionUnit& unit) noexcept {
  return kAttentionTile / 2 * (round_up(unit.key_size, 2) + unit.value_stride) +
         kAttentionTile * (unit.count() + unit.count() / 2 + 1) +
         round_up(unit.count(), kPanelRows);
}

PairTiles::PairTiles(const AttentionUnit& unit, const KernelTable& kernels, Workspace& own,
                     Workspace shared) noexcept
    : unit_(&unit),
      kernels_(&kernels),
      key_format_(pair_format_of(unit.a->keys.dtype)),
      value_format_(unit.a->values ? pair_format_of(unit.a->values.dtype) : key_format_),
      integers_(key_format_ == PairFormat::kBlocks && unit.a->values),
      convert_(unit.count() > kFewQueries),
      adjusted_(unit.a->softcap > 0 || unit.a->slopes || unit.a->distance_bias),
      padded_key_size_(round_up(unit.key_size, 2)),
      all_begin_(int_at(unit.a->row_begin, unit.first_row)),
      all_end_(int_at(unit.a->row_end, unit.first_row)),
      key_pages_(pages_of(unit.a->keys, KvPart::kKeys, unit.key_size)) {
  if (unit.a->values) {
    value_pages_ = pages_of(unit.a->values, KvPart::kValues, unit.value_size);
  }
  for (std::int64_t row = unit.first_row + 1; row < unit.first_row + unit.rows; ++row) {
    all_begin_ = std::max<std::int64_t>(all_begin_, int_at(unit.a->row_begin, row));
    all_end_ = std::min<std::int64_t>(all_end_, int_at(unit.a->row_end, row));
  }
  const std::int64_t count = unit.count();
  queries_ = own.take_halves(count * padded_key_size_);
  sums_ = own.take(count * kPanelRows);
  query_scales_ = own.take(count);
  keys_ = shared.take_halves(kAttentionTile * padded_key_size_);
  values_ = shared.take_halves(kAttentionTile * unit.value_stride);
  apart_ = count <= kQueriesApart && key_format_ != PairFormat::kBlocks &&
           value_format_ != PairFormat::kBlocks && key_pages_.head != nullptr &&
           value_pages_.head != nullptr;
  Workspace& weighed = apart_ ? own : shared;
  const std::int64_t slots = apart_ ? kTilesApart : 1;
  weights_ = weighed.take_halves(slots * count * kAttentionTile);
  factors_ = weighed.take(slots * count);
  scores_ = shared.take(count * kAttentionTile);
  const Tensor& q = unit.a->q;
  const float factor = unit.a->scale * (key_format_ == PairFormat::kF16 ? kHalfScale : 1.0F);
  const PairAttentionKernels& pair_kernels = *kernels.pair_attention;
  for (std::int64_t i = 0; i < count; ++i) {
    const float* const from =
        floats_of(q) + unit.row(i) * q.strides[0] + unit.head(i) * q.strides[1];
    std::uint16_t* const to = queries_ + i * padded_key_size_;
    if (integers_) {
      query_scales_[i] = pair_kernels.pack_query_integers(from, factor, unit.key_size, to);
    } else {
      pair_kernels.pack_query(from, factor, unit.key_size, to);
    }
  }
}

float PairTiles::sum_scale() const noexcept {
  return value_format_ == PairFormat::kF16 ? 0x1p100F : 1.0F;
}

float PairTiles::output_scale() const noexcept {
  return value_format_ == PairFormat::kF16 ? kHalfScale : 1.0F;
}

QueryRange PairTiles::visible_queries(std::int64_t first) const noexcept {
  if (all_begin_ < first + kAttentionTile && all_end_ > first) return {0, unit_->count()};
  return unit_->seeing(first);
}

/// Rows as pairs; the cells outside [low, high) are left as they are.
void PairTiles::gather_keys(std::int64_t first, std::int64_t low, std::int64_t high) noexcept {
  const Tensor& pool = unit_->a->keys;
  for (std::int64_t cell = low; cell < high; ++cell) {
    const auto* const from = reinterpret_cast<const std::uint16_t*>(bytes_of(pool)) +
                             unit_->table[cell / unit_->page_cells] * pool.strides[0] +
                             unit_->kv_head * pool.strides[1] +
                             cell % unit_->page_cells * unit_->key_size;
    const auto place = [&](std::int64_t i) {
      return place_in_page(KvLayout::kPairs, KvPart::kKeys, kAttentionTile, padded_key_size_,
                           cell - first, i);
    };
    for (std::int64_t i = 0; i < unit_->key_size; ++i) keys_[place(i)] = from[i];
    if (unit_->key_size < padded_key_size_) keys_[place(unit_->key_size)] = 0;
  }
}

void PairTiles::gather_values(std::int64_t first, std::int64_t low, std::int64_t high) noexcept {
  const Tensor& pool = unit_->a->values;
  for (std::int64_t cell = low; cell < high; ++cell) {
    const auto* const from = reinterpret_cast<const std::uint16_t*>(bytes_of(pool)) +
                             unit_->table[cell / unit_->page_cells] * pool.strides[0] +
                             unit_->kv_head * pool.strides[1] +
                             cell % unit_->page_cells * unit_->value_size;
    for (std::int64_t i = 0; i < unit_->value_stride; ++i) {
      values_[place_in_page(KvLayout::kPairs, KvPart::kValues, kAttentionTile, unit_->value_stride,
                            cell - first, i)] = i < unit_->value_size ? from[i] : 0;
    }
  }
}

PairTiles::Pages PairTiles::pages_of(const Tensor& pool, KvPart part,
                                     std::int64_t size) const noexcept {
  if (kv_layout(pool, part, *kernels_) != KvLayout::kPairs) return {};
  return {bytes_of(pool) + pool_bytes(pool, unit_->kv_head * pool.strides[1]),
          pool_bytes(pool, pool.strides[0]), pool_bytes(pool, kAttentionTile * size)};
}

/// The tile in the pool, as far as it is kept in pairs.
PairTiles::Panels PairTiles::stored(std::int64_t first) const noexcept {
  const std::int64_t page = unit_->table[first / unit_->page_cells];
  const std::int64_t tile = first % unit_->page_cells / kAttentionTile;
  const auto place = [&](const Pages& pages) -> const std::byte* {
    if (pages.head == nullptr) return nullptr;
    return pages.head + page * pages.page_bytes + tile * pages.tile_bytes;
  };
  return {key_format_, value_format_, place(key_pages_), place(value_pages_)};
}

void PairTiles::expect(const PairTiles* next, std::int64_t first) noexcept {
  // Kernels of one query wait for memory as it is (reads_apart()).
  const bool fetches = unit_->count() > 1 || key_format_ == PairFormat::kBlocks;
  const bool any = fetches && next != nullptr && !next->unit_->is_coded(first);
  ahead_ = any ? next->stored(first) : Panels();
}

PairTiles::Panels PairTiles::panels(std::int64_t first, std::int64_t low,
                                    std::int64_t high) noexcept {
  Panels tile = stored(first);
  const PairAttentionKernels& pair_kernels = *kernels_->pair_attention;
  auto* const keys = reinterpret_cast<std::byte*>(keys_);
  auto* const values = reinterpret_cast<std::byte*>(values_);
  const bool in_keys = !unit_->a->values;
  // As they are stored, or as bfloat16 in the buffer, where they are already if they were gathered.
  const auto take_over = [&](PairFormat& format, const std::byte*& from, std::int64_t count,
                             std::byte* buffer, const std::byte* ahead) {
    if (format == PairFormat::kF16 && (convert_ || in_keys || from == nullptr)) {
      pair_kernels.from_halves(from == nullptr ? buffer : from, count, buffer,
                               ahead == nullptr ? buffer : ahead);
      format = PairFormat::kBF16;
      from = buffer;
    }
    if (from == nullptr) from = buffer;
  };
  if (tile.keys == nullptr) gather_keys(first, low, high);
  if (in_keys && key_format_ == PairFormat::kBlocks) {
    pair_kernels.keys_from_blocks(tile.keys, unit_->key_size, keys);
    tile.keys = keys;
    tile.key_format = PairFormat::kBF16;
  }
  take_over(tile.key_format, tile.keys, kAttentionTile * padded_key_size_, keys, ahead_.keys);
  if (in_keys) {
    pair_kernels.turn(tile.keys, (unit_->value_size + 1) / 2, values);
    tile.values = values;
    tile.value_format = PairFormat::kBF16;
    return tile;
  }
  if (tile.values == nullptr) gather_values(first, low, high);
  take_over(tile.value_format, tile.values, kAttentionTile * unit_->value_stride, values,
            ahead_.values);
  return tile;
}

void PairTiles::begin(const AttentionPartial& result) noexcept {
  result.clear(unit_->count(), unit_->value_stride);
  std::fill_n(sums_, unit_->count() * kPanelRows, 0.0F);
}

void PairTiles::end(const AttentionPartial& result) noexcept {
  for (std::int64_t q = 0; q < unit_->count(); ++q) {
    result.sums[q] = kernels_->pair_attention->sum(sums_ + q * kPanelRows);
  }
}

void PairTiles::mask_scores(std::int64_t first, QueryRange queries) noexcept {
  const AttendArguments& a = *unit_->a;
  if (!adjusted_ && all_begin_ <= first && all_end_ >= first + kAttentionTile) return;
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    const std::int64_t row = unit_->row(q);
    const bool whole =
        int_at(a.row_begin, row) <= first && int_at(a.row_end, row) >= first + kAttentionTile;
    if (whole && !adjusted_) continue;
    float* const scores = scores_ + q * kAttentionTile;
    if (!adjust_scores(a, *kernels_, row, unit_->head(q), first, scores)) {
      std::fill_n(scores, kAttentionTile, kMinusInfinity);
    }
  }
}

ScoreTile PairTiles::score_tile(const Panels& tile, QueryRange seen) const noexcept {
  ScoreTile score;
  score.format = tile.key_format;
  score.keys = tile.keys;
  score.queries = queries_ + seen.begin * padded_key_size_;
  score.query_scales = query_scales_ + seen.begin;
  score.query_stride = padded_key_size_;
  score.pairs = padded_key_size_ / 2;
  score.count = static_cast<int>(seen.end - seen.begin);
  score.scores = scores_ + seen.begin * kAttentionTile;
  return score;
}

WeighTile PairTiles::weigh_tile(QueryRange seen, std::int64_t slot,
                                const AttentionPartial& result) const noexcept {
  const std::int64_t first = slot * unit_->count() + seen.begin;
  WeighTile weigh;
  weigh.scores = scores_ + seen.begin * kAttentionTile;
  weigh.weights = weights_ + first * kAttentionTile;
  weigh.maxima = result.maxima + seen.begin;
  weigh.sums = sums_ + seen.begin * kPanelRows;
  weigh.factors = factors_ + first;
  weigh.shift = value_format_ == PairFormat::kF16 ? kHalfWeightShift : 0.0F;
  weigh.count = static_cast<int>(seen.end - seen.begin);
  return weigh;
}

ValueTile PairTiles::value_tile(const Panels& tile, const WeighTile& weighed, QueryRange seen,
                                const AttentionPartial& result) const noexcept {
  ValueTile value;
  value.format = tile.value_format;
  value.values = tile.values;
  value.panels = unit_->value_stride / kPanelRows;
  value.weights = weighed.weights;
  value.factors = weighed.factors;
  value.sums = result.values + seen.begin * unit_->value_stride;
  value.stride = unit_->value_stride;
  value.count = weighed.count;
  return value;
}

void PairTiles::attend(std::int64_t first, std::int64_t begin, std::int64_t end,
                       const AttentionPartial& result) noexcept {
  const QueryRange seen = visible_queries(first);
  if (seen.begin >= seen.end) return;
  const PairAttentionKernels& pair_kernels = *kernels_->pair_attention;
  const Panels tile = panels(first, std::max(first, begin), std::min(first + kAttentionTile, end));
  // What is converted fetches by itself.
  const auto in_place = [](const std::byte* panel, const std::uint16_t* buffer) {
    return panel != reinterpret_cast<const std::byte*>(buffer);
  };
  const bool reads_keys = ahead_.keys != nullptr && in_place(tile.keys, keys_);
  const bool reads_values = ahead_.values != nullptr && in_place(tile.values, values_);

  ScoreTile score = score_tile(tile, seen);
  score.ahead = reads_keys ? ahead_.keys : nullptr;
  pair_kernels.score(score);
  mask_scores(first, seen);

  WeighTile weigh = weigh_tile(seen, 0, result);
  ValueTile value = value_tile(tile, weigh, seen, result);
  if (reads_keys) {
    const std::int64_t fetched = score.pairs * fetched_key_lines(tile.key_format);
    weigh.ahead_keys = ahead_.keys + fetched * kCacheLine;
    weigh.ahead_key_lines = key_pages_.tile_bytes / kCacheLine - fetched;
  }
  if (reads_values) {
    const std::int64_t lines = value_pages_.tile_bytes / kCacheLine;
    weigh.ahead_values = ahead_.values;
    weigh.ahead_value_lines =
        lines - kAttentionTile / 2 * fetched_value_lines(tile.value_format, value.panels);
    value.ahead = ahead_.values + weigh.ahead_value_lines * kCacheLine;
  }
  pair_kernels.weigh(weigh);
  set_cells(value, first, begin, end);
  pair_kernels.value(value);
}

void PairTiles::weigh(std::int64_t slot, std::int64_t first,
                      const AttentionPartial& result) noexcept {
  const QueryRange seen = visible_queries(first);
  if (seen.begin >= seen.end) return;
  kernels_->pair_attention->score(score_tile(stored(first), seen));
  mask_scores(first, seen);
  kernels_->pair_attention->weigh(weigh_tile(seen, slot, result));
}

void PairTiles::add(std::int64_t slot, std::int64_t first, std::int64_t begin, std::int64_t end,
                    const AttentionPartial& result) noexcept {
  const QueryRange seen = visible_queries(first);
  if (seen.begin >= seen.end) return;
  ValueTile value = value_tile(stored(first), weigh_tile(seen, slot, result), seen, result);
  set_cells(value, first, begin, end);
  kernels_->pair_attention->value(value);
}

}  // namespace hearth::compute::cpu
