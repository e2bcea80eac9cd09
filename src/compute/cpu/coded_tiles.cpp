#include "compute/cpu/coded_tiles.h"

#include <algorithm>

#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kTile = kAttentionTile;
static_assert(kTile == quant::kCodedCells);

const std::byte* page_of(const Tensor& pool, std::int32_t page, std::int64_t head) noexcept {
  return bytes_of(pool) + (page & ~kCodedPage) * pool.strides[0] + head * pool.strides[1];
}

}  // namespace

std::int64_t CodedTiles::own_floats(const CodedScheme& scheme, std::int64_t queries) noexcept {
  const quant::CodedPageLayout& l = scheme.keys->layout();
  return queries * (l.padded + l.padded / 4 + 2 * l.run_count) + 4 * kPanelRows;
}

std::int64_t CodedTiles::shared_floats(const CodedScheme& scheme, std::int64_t queries) noexcept {
  const std::int64_t bytes =
      kTile * (scheme.keys->layout().padded + scheme.value_coder().layout().padded);
  return bytes / 4 + queries * (kTile + kTile / 2 + 4) + kTile + 12 * kPanelRows;
}

CodedTiles::CodedTiles(const AttentionUnit& unit, const CodedScheme& scheme,
                       const KernelTable& kernels, Workspace& own, Workspace shared) noexcept
    : unit_(&unit),
      scheme_(&scheme),
      kernels_(&kernels),
      query_size_(scheme.keys->layout().padded),
      runs_(scheme.keys->layout().run_count) {
  const std::int64_t count = unit.count();
  rotated_ = own.take(count * query_size_);
  queries_ = reinterpret_cast<std::int8_t*>(own.take(count * query_size_ / 4));
  query_scales_ = own.take(count * runs_);
  query_corrections_ = reinterpret_cast<std::int32_t*>(own.take(count * runs_));
  keys_ = reinterpret_cast<std::byte*>(shared.take(kTile * query_size_ / 4));
  values_ =
      reinterpret_cast<std::byte*>(shared.take(kTile * scheme.value_coder().layout().padded / 4));
  scores_ = shared.take(count * kTile);
  start_ = shared.take(count);
  shrink_ = shared.take(count);
  factors_ = shared.take(kTile);
  weights_.high = reinterpret_cast<std::int8_t*>(shared.take(count * kTile / 4));
  weights_.low = reinterpret_cast<std::int8_t*>(shared.take(count * kTile / 4));
  weights_.scales = shared.take(count);
  weights_.corrections = reinterpret_cast<std::int32_t*>(shared.take(count));
  const Tensor& q = unit.a->q;
  for (std::int64_t i = 0; i < count; ++i) {
    float* const to = rotated_ + i * query_size_;
    kernels.scale(floats_of(q) + unit.row(i) * q.strides[0] + unit.head(i) * q.strides[1],
                  unit.a->scale, to, unit.key_size);
    std::fill(to + unit.key_size, to + query_size_, 0.0F);
    scheme.kernels->turn(scheme.keys->rotation(), to);
    for (std::int64_t r = 0; r < runs_; ++r) {
      const quant::CodeRun& run = scheme.keys->layout().runs[static_cast<std::size_t>(r)];
      query_scales_[i * runs_ + r] = scheme.kernels->quantize(
          to + run.first, run.count, queries_ + i * query_size_ + run.first,
          query_corrections_ + i * runs_ + r);
    }
  }
}

void CodedTiles::begin(const AttentionPartial& result) noexcept {
  result.clear(unit_->count(), unit_->value_stride);
}

/// From the first to the last query that sees any of the cells [first, first + kTile).
CodedTiles::Range CodedTiles::visible_queries(std::int64_t first) const noexcept {
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

void CodedTiles::score(const std::byte* page, Range queries) noexcept {
  const CodedKernels& kernels = *scheme_->kernels;
  const quant::CodedPageLayout& l = scheme_->keys->layout();
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    start_[q] = 0;
    for (int part = 0; l.centred && part < l.parts; ++part) {
      const std::int64_t first = l.part_begin[static_cast<std::size_t>(part)];
      start_[q] += scheme_->keys->mean_unit(page, part) *
                   kernels.mean_product(reinterpret_cast<const std::int8_t*>(page + l.mean + first),
                                        rotated_ + q * query_size_ + first,
                                        l.part_begin[static_cast<std::size_t>(part) + 1] - first);
    }
  }
  int factors_row = -1;
  for (std::int64_t r = 0; r < runs_; ++r) {
    const quant::CodeRun& run = l.runs[static_cast<std::size_t>(r)];
    std::byte* const bytes = keys_ + run.first * kTile;
    kernels.expand(page + run.offset, run.bits, scheme_->keys->numbers(run), run.count / 8, bytes);
    if (run.factor != factors_row) {
      scheme_->keys->factors(kernels, page, run.factor, factors_);
      factors_row = run.factor;
    }
    const std::int64_t at = queries.begin * runs_ + r;
    kernels.score({.keys = bytes,
                   .count = run.count,
                   .factors = factors_,
                   .queries = queries_ + queries.begin * query_size_ + run.first,
                   .query_stride = query_size_,
                   .scales = query_scales_ + at,
                   .corrections = query_corrections_ + at,
                   .parameter_stride = runs_,
                   .queries_count = static_cast<int>(queries.end - queries.begin),
                   .start = r == 0 ? start_ + queries.begin : nullptr,
                   .scores = scores_ + queries.begin * kTile});
  }
}

/// Scores become softmax weights relative to the running maximum.
void CodedTiles::weigh(std::int64_t first, Range queries, const AttentionPartial& result) noexcept {
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    shrink_[q] = weigh_scores(*unit_->a, *kernels_, unit_->row(q), unit_->head(q), first,
                              scores_ + q * kTile, result.maxima[q], result.sums[q]);
    // Who sees none of the cells has weights of zero.
    if (shrink_[q] < 0) shrink_[q] = 1;
  }
}

void CodedTiles::add_values(const std::byte* page, Range queries,
                            const AttentionPartial& result) noexcept {
  const CodedKernels& kernels = *scheme_->kernels;
  const PageCoder& coder = scheme_->value_coder();
  int factors_row = -1;
  for (const quant::CodeRun& run : coder.layout().all_runs()) {
    if (run.first >= unit_->value_size) break;
    std::byte* const bytes = values_ + run.first * kTile;
    if (scheme_->values != nullptr) {
      kernels.expand(page + run.offset, run.bits, coder.numbers(run), run.count / 8, bytes);
    } else {
      kernels.turn_bytes(keys_ + run.first * kTile, run.count / kPanelRows, bytes);
    }
    if (run.factor != factors_row) {
      factors_row = run.factor;
      coder.factors(kernels, page, run.factor, factors_);
      for (std::int64_t q = queries.begin; q < queries.end; ++q) {
        kernels.weigh(scores_ + q * kTile, factors_,
                      {weights_.high + q * kTile, weights_.low + q * kTile, weights_.scales + q,
                       weights_.corrections + q});
      }
    }
    kernels.value(
        {.values = bytes,
         .panels = run.count / kPanelRows,
         .weights = {weights_.high + queries.begin * kTile, weights_.low + queries.begin * kTile,
                     weights_.scales + queries.begin, weights_.corrections + queries.begin},
         .shrink = shrink_ + queries.begin,
         .sums = result.values + queries.begin * unit_->value_stride + run.first,
         .stride = unit_->value_stride,
         .queries_count = static_cast<int>(queries.end - queries.begin)});
  }
}

/// The mean of the page's values, times the weights' sum.
void CodedTiles::add_mean(const std::byte* page, Range queries,
                          const AttentionPartial& result) noexcept {
  const quant::CodedPageLayout& l = scheme_->value_coder().layout();
  const float unit = scheme_->value_coder().mean_unit(page, 0);
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    float sum = 0;
    for (std::int64_t cell = 0; cell < kTile; ++cell) sum += scores_[q * kTile + cell];
    float* const to = result.values + q * unit_->value_stride;
    for (std::int64_t i = 0; i < unit_->value_size; ++i) {
      to[i] += sum * unit * static_cast<float>(static_cast<std::int8_t>(page[l.mean + i]));
    }
  }
}

void CodedTiles::attend(std::int64_t first, const AttentionPartial& result) noexcept {
  const Range queries = visible_queries(first);
  if (queries.begin >= queries.end) return;
  const AttendArguments& a = *unit_->a;
  const std::int32_t page = unit_->table[first / kTile];
  const std::byte* const keys = page_of(a.coded_keys, page, unit_->kv_head);
  const std::byte* const values =
      scheme_->values != nullptr ? page_of(a.coded_values, page, unit_->kv_head) : keys;
  score(keys, queries);
  weigh(first, queries, result);
  add_values(values, queries, result);
  if (scheme_->value_coder().layout().centred) add_mean(values, queries, result);
}

void CodedTiles::end(const AttentionPartial& result) noexcept {
  const PageCoder& coder = scheme_->value_coder();
  for (std::int64_t q = 0; q < unit_->count(); ++q) {
    if (result.maxima[q] == kMinusInfinity) continue;
    scheme_->kernels->turn_back(
        scheme_->values != nullptr ? coder.rotation() : coder.first_rotation(),
        result.values + q * unit_->value_stride);
  }
}

}  // namespace hearth::compute::cpu
