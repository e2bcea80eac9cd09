#include "compute/cpu/access.h"
#include "compute/cpu/attention_tiles.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kTile = kAttentionTile;

/// Up to so many queries, halves are converted where they are used, else once for all.
constexpr std::int64_t kFewQueries = 12;

/// Half-precision numbers x are used as 2^-112 x (PairFormat): queries make up for it, and weights
/// are large enough that products with values do not become subnormal.
constexpr float kHalfScale = 0x1p112F;
constexpr float kHalfWeightShift = 100;

constexpr std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

PairFormat pair_format_of(DType type) noexcept {
  if (tensor::info(type).quantized) return PairFormat::kBlocks;
  return type == DType::kF16 ? PairFormat::kF16 : PairFormat::kBF16;
}

}  // namespace

/// Where a tile's panels are: in the pool, converted or gathered.
struct PairTiles::Panels {
  PairFormat key_format = PairFormat::kBF16, value_format = PairFormat::kBF16;
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
};

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
  return kTile / 2 * (round_up(unit.key_size, 2) + unit.value_stride) +
         kTile * (unit.count() + unit.count() / 2 + 1) + round_up(unit.count(), kPanelRows);
}

PairTiles::PairTiles(const AttentionUnit& unit, const KernelTable& kernels, Workspace& own,
                     Workspace shared) noexcept
    : unit_(&unit),
      kernels_(&kernels),
      key_format_(pair_format_of(unit.a->keys.dtype)),
      value_format_(unit.a->values ? pair_format_of(unit.a->values.dtype) : key_format_),
      integers_(key_format_ == PairFormat::kBlocks && unit.a->values),
      convert_(unit.count() > kFewQueries),
      padded_key_size_(round_up(unit.key_size, 2)) {
  const std::int64_t count = unit.count();
  queries_ = own.take_halves(count * padded_key_size_);
  sums_ = own.take(count * kPanelRows);
  query_scales_ = own.take(count);
  keys_ = shared.take_halves(kTile * padded_key_size_);
  values_ = shared.take_halves(kTile * unit.value_stride);
  weights_ = shared.take_halves(count * kTile);
  scores_ = shared.take(count * kTile);
  factors_ = shared.take(count);
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

/// From the first to the last query that sees any of the cells [first, first + kTile).
PairTiles::Range PairTiles::visible_queries(std::int64_t first) const noexcept {
  const AttendArguments& a = *unit_->a;
  Range rows{unit_->rows, 0};
  for (std::int64_t r = 0; r < unit_->rows; ++r) {
    const std::int64_t row = unit_->first_row + r;
    if (int_at(a.row_begin, row) >= first + kTile || int_at(a.row_end, row) <= first) continue;
    rows.begin = std::min(rows.begin, r);
    rows.end = r + 1;
  }
  return {rows.begin * unit_->heads, rows.end * unit_->heads};
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
      return place_in_page(KvLayout::kPairs, KvPart::kKeys, kTile, padded_key_size_, cell - first,
                           i);
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
      values_[place_in_page(KvLayout::kPairs, KvPart::kValues, kTile, unit_->value_stride,
                            cell - first, i)] = i < unit_->value_size ? from[i] : 0;
    }
  }
}

/// The tile in the pool, as far as it is kept in pairs.
PairTiles::Panels PairTiles::stored(std::int64_t first) const noexcept {
  const AttendArguments& a = *unit_->a;
  const auto place = [&](const Tensor& pool, KvPart part, std::int64_t size) -> const std::byte* {
    if (kv_layout(pool, part, *kernels_) != KvLayout::kPairs) return nullptr;
    return bytes_of(pool) +
           pool_bytes(pool, unit_->table[first / unit_->page_cells] * pool.strides[0] +
                                unit_->kv_head * pool.strides[1] +
                                first % unit_->page_cells * size);
  };
  return {key_format_, value_format_, place(a.keys, KvPart::kKeys, unit_->key_size),
          a.values ? place(a.values, KvPart::kValues, unit_->value_size) : nullptr};
}

/// `last`: whether no tile follows in the chunk.
PairTiles::Panels PairTiles::panels(std::int64_t first, std::int64_t low, std::int64_t high,
                                    bool last) noexcept {
  Panels tile = stored(first);
  const Panels next = last || unit_->is_coded(first + kTile) ? tile : stored(first + kTile);
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
  take_over(tile.key_format, tile.keys, kTile * padded_key_size_, keys, next.keys);
  if (in_keys) {
    pair_kernels.turn(tile.keys, (unit_->value_size + 1) / 2, values);
    tile.values = values;
    tile.value_format = PairFormat::kBF16;
    return tile;
  }
  if (tile.values == nullptr) gather_values(first, low, high);
  take_over(tile.value_format, tile.values, kTile * unit_->value_stride, values, next.values);
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

void PairTiles::mask_scores(std::int64_t first, Range queries) noexcept {
  const AttendArguments& a = *unit_->a;
  const bool adjusted = a.softcap > 0 || a.slopes || a.distance_bias;
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    const std::int64_t row = unit_->row(q);
    const bool whole = int_at(a.row_begin, row) <= first && int_at(a.row_end, row) >= first + kTile;
    if (whole && !adjusted) continue;
    float* const scores = scores_ + q * kTile;
    if (!adjust_scores(a, *kernels_, row, unit_->head(q), first, scores)) {
      std::fill_n(scores, kTile, kMinusInfinity);
    }
  }
}

void PairTiles::attend(std::int64_t first, std::int64_t begin, std::int64_t end,
                       const AttentionPartial& result) noexcept {
  const Range seen = visible_queries(first);
  if (seen.begin >= seen.end) return;
  const PairAttentionKernels& pair_kernels = *kernels_->pair_attention;
  const Panels tile =
      panels(first, std::max(first, begin), std::min(first + kTile, end), first + kTile >= end);
  const int queries = static_cast<int>(seen.end - seen.begin);

  ScoreTile score;
  score.format = tile.key_format;
  score.keys = tile.keys;
  score.queries = queries_ + seen.begin * padded_key_size_;
  score.query_scales = query_scales_ + seen.begin;
  score.query_stride = padded_key_size_;
  score.pairs = padded_key_size_ / 2;
  score.count = queries;
  score.scores = scores_ + seen.begin * kTile;
  pair_kernels.score(score);
  mask_scores(first, seen);

  WeighTile weigh;
  weigh.scores = score.scores;
  weigh.weights = weights_ + seen.begin * kTile;
  weigh.maxima = result.maxima + seen.begin;
  weigh.sums = sums_ + seen.begin * kPanelRows;
  weigh.factors = factors_ + seen.begin;
  weigh.shift = value_format_ == PairFormat::kF16 ? kHalfWeightShift : 0.0F;
  weigh.count = queries;
  pair_kernels.weigh(weigh);

  ValueTile value;
  value.format = tile.value_format;
  value.values = tile.values;

  value.panels = unit_->value_stride / kPanelRows;
  value.first_cell = std::max<std::int64_t>(0, begin - first) / 2 * 2;
  value.end_cell = std::min(kTile, end - first);
  value.weights = weigh.weights;
  value.factors = weigh.factors;
  value.sums = result.values + seen.begin * unit_->value_stride;
  value.stride = unit_->value_stride;
  value.count = queries;
  pair_kernels.value(value);
}

}  // namespace hearth::compute::cpu
