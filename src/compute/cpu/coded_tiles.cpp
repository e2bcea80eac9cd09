#include "compute/cpu/coded_tiles.h"

#include <algorithm>
#include <cstring>

#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

static_assert(kAttentionTile == quant::kCodedCells);

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
      kAttentionTile * (scheme.keys->layout().padded + scheme.value_coder().layout().padded);
  return bytes / 4 + queries * (kAttentionTile + kAttentionTile / 2 + 4) + kAttentionTile +
         12 * kPanelRows;
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
  keys_ = reinterpret_cast<std::byte*>(shared.take(kAttentionTile * query_size_ / 4));
  values_ = reinterpret_cast<std::byte*>(
      shared.take(kAttentionTile * scheme.value_coder().layout().padded / 4));
  scores_ = shared.take(count * kAttentionTile);
  start_ = shared.take(count);
  shrink_ = shared.take(count);
  factors_ = shared.take(kAttentionTile);
  weights_.high = reinterpret_cast<std::int8_t*>(shared.take(count * kAttentionTile / 4));
  weights_.low = reinterpret_cast<std::int8_t*>(shared.take(count * kAttentionTile / 4));
  weights_.scales = shared.take(count);
  weights_.corrections = reinterpret_cast<std::int32_t*>(shared.take(count));
  const Tensor& q = unit.a->q;
  auto* const bytes = reinterpret_cast<std::int8_t*>(keys_);  // needed within attend() only
  for (std::int64_t i = 0; i < count; ++i) {
    float* const to = rotated_ + i * query_size_;
    kernels.scale(floats_of(q) + unit.row(i) * q.strides[0] + unit.head(i) * q.strides[1],
                  unit.a->scale, to, unit.key_size);
    std::fill(to + unit.key_size, to + query_size_, 0.0F);
    scheme.kernels->turn(scheme.keys->rotation(), to);
    for (std::int64_t r = 0; r < runs_; ++r) {
      const quant::CodeRun& run = scheme.keys->layout().runs[static_cast<std::size_t>(r)];
      query_scales_[i * runs_ + r] = scheme.kernels->quantize(
          to + run.first, run.count, bytes + run.first, query_corrections_ + i * runs_ + r);
    }
    for (std::int64_t quad = 0; quad < query_size_ / 4; ++quad) {
      std::memcpy(queries_ + 4 * (quad * count + i), bytes + 4 * quad, 4);
    }
  }
}

void CodedTiles::begin(const AttentionPartial& result) noexcept {
  result.clear(unit_->count(), unit_->value_stride);
}

bool CodedTiles::takes_codes(QueryRange queries) const noexcept {
  return queries.end - queries.begin <= scheme_->kernels->direct_queries;
}

void CodedTiles::score(const std::byte* page, const std::byte* next, QueryRange queries) noexcept {
  const CodedKernels& kernels = *scheme_->kernels;
  const quant::CodedPageLayout& l = scheme_->keys->layout();
  const auto count = static_cast<int>(queries.end - queries.begin);
  std::fill_n(start_ + queries.begin, count, 0.0F);
  for (int part = 0; l.centred && part < l.parts; ++part) {
    const std::int64_t first = l.part_begin[static_cast<std::size_t>(part)];
    kernels.mean_products({.mean = reinterpret_cast<const std::int8_t*>(page + l.mean + first),
                           .unit = scheme_->keys->mean_unit(page, part),
                           .x = rotated_ + queries.begin * query_size_ + first,
                           .stride = query_size_,
                           .count = l.part_begin[static_cast<std::size_t>(part) + 1] - first,
                           .products = start_ + queries.begin,
                           .queries_count = count});
  }
  // Values in keys take the expanded bytes.
  const bool direct = takes_codes(queries) && scheme_->values != nullptr;
  int factors_row = -1;
  for (std::int64_t r = 0; r < runs_; ++r) {
    const quant::CodeRun& run = l.runs[static_cast<std::size_t>(r)];
    const std::int8_t* const numbers = scheme_->keys->numbers(run);
    const std::byte* bytes = page + run.offset;
    if (!direct) {
      kernels.expand(bytes, run.bits, numbers, run.count / 8, keys_ + run.first * kAttentionTile);
      bytes = keys_ + run.first * kAttentionTile;
    }
    if (run.factor != factors_row) {
      scheme_->keys->factors(kernels, page, run.factor, factors_);
      factors_row = run.factor;
    }
    const std::int64_t at = queries.begin * runs_ + r;
    kernels.score({.keys = bytes,
                   .bits = direct ? run.bits : 0,
                   .numbers = numbers,
                   .ahead = next + run.offset,
                   .count = run.count,
                   .factors = factors_,
                   .queries = queries_ + run.first * unit_->count() + 4 * queries.begin,
                   .query_stride = unit_->count(),
                   .scales = query_scales_ + at,
                   .corrections = query_corrections_ + at,
                   .parameter_stride = runs_,
                   .queries_count = count,
                   .start = r == 0 ? start_ + queries.begin : nullptr,
                   .scores = scores_ + queries.begin * kAttentionTile});
  }
}

/// Scores become softmax weights relative to the running reference.
void CodedTiles::weigh(std::int64_t first, QueryRange queries,
                       const AttentionPartial& result) noexcept {
  const AttendArguments& a = *unit_->a;
  const bool adjusted = a.softcap > 0 || a.slopes || a.distance_bias;
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    const std::int64_t row = unit_->row(q);
    if (!adjusted && int_at(a.row_begin, row) <= first &&
        int_at(a.row_end, row) >= first + kAttentionTile) {
      q += unit_->heads - 1;  // nor do the row's other heads
      continue;
    }
    float* const scores = scores_ + q * kAttentionTile;
    if (!adjust_scores(a, *kernels_, row, unit_->head(q), first, scores)) {
      std::fill_n(scores, kAttentionTile, kMinusInfinity);  // it sees none of the cells
    }
  }
  scheme_->kernels->softmax({.scores = scores_ + queries.begin * kAttentionTile,
                             .references = result.maxima + queries.begin,
                             .sums = result.sums + queries.begin,
                             .shrink = shrink_ + queries.begin,
                             .queries_count = static_cast<int>(queries.end - queries.begin)});
}

void CodedTiles::add_values(const std::byte* page, const std::byte* next, QueryRange queries,
                            const AttentionPartial& result) noexcept {
  const CodedKernels& kernels = *scheme_->kernels;
  const PageCoder& coder = scheme_->value_coder();
  const bool direct = takes_codes(queries) && scheme_->values != nullptr;
  const bool wide = coder.coder().code().kind != KvCode::Kind::kLloydMax;
  const auto count = static_cast<int>(queries.end - queries.begin);
  const CodedWeights weights{weights_.high + queries.begin * kAttentionTile,
                             wide ? weights_.low + queries.begin * kAttentionTile : nullptr,
                             weights_.scales + queries.begin, weights_.corrections + queries.begin};
  int factors_row = -1;
  for (const quant::CodeRun& run : coder.layout().all_runs()) {
    if (run.first >= unit_->value_size) break;
    std::byte* const expanded = values_ + run.first * kAttentionTile;
    const std::byte* bytes = expanded;
    if (direct) {
      bytes = page + run.offset;
    } else if (scheme_->values != nullptr) {
      kernels.expand(page + run.offset, run.bits, coder.numbers(run), run.count / 8, expanded);
    } else {
      kernels.turn_bytes(keys_ + run.first * kAttentionTile, run.count / kPanelRows, expanded);
    }
    if (run.factor != factors_row) {
      factors_row = run.factor;
      coder.factors(kernels, page, run.factor, factors_);
      kernels.weigh(scores_ + queries.begin * kAttentionTile, factors_, weights, count);
    }
    kernels.value({.values = bytes,
                   .bits = direct ? run.bits : 0,
                   .numbers = coder.numbers(run),
                   .ahead = next + run.offset,
                   .panels = run.count / kPanelRows,
                   .weights = weights,
                   .shrink = shrink_ + queries.begin,
                   .sums = result.values + queries.begin * unit_->value_stride + run.first,
                   .stride = unit_->value_stride,
                   .queries_count = count});
  }
}

/// The mean of the page's values, times the weights' sum.
void CodedTiles::add_mean(const std::byte* page, QueryRange queries,
                          const AttentionPartial& result) noexcept {
  const quant::CodedPageLayout& l = scheme_->value_coder().layout();
  const float unit = scheme_->value_coder().mean_unit(page, 0);
  for (std::int64_t q = queries.begin; q < queries.end; ++q) {
    float sum = 0;
    for (std::int64_t cell = 0; cell < kAttentionTile; ++cell)
      sum += scores_[q * kAttentionTile + cell];
    float* const to = result.values + q * unit_->value_stride;
    for (std::int64_t i = 0; i < unit_->value_size; ++i) {
      to[i] += sum * unit * static_cast<float>(static_cast<std::int8_t>(page[l.mean + i]));
    }
  }
}

/// Where the next tile's codes are, or if there is none, this one's; what a page begins with, its
/// end, is fetched at once.
const std::byte* CodedTiles::ahead(const Tensor& pool, const PageCoder& coder, std::int64_t first,
                                   std::int64_t end) const noexcept {
  const std::int32_t* const table = unit_->table + first / kAttentionTile;
  const bool next = first + kAttentionTile < end && (table[1] & kCodedPage) != 0;
  const std::byte* const page = page_of(pool, table[next ? 1 : 0], unit_->kv_head);
  const quant::CodedPageLayout& l = coder.layout();
  for (std::int64_t i = l.factors; i < l.bytes; i += 64) __builtin_prefetch(page + i, 0, 2);
  return page;
}

void CodedTiles::attend(std::int64_t first, std::int64_t end,
                        const AttentionPartial& result) noexcept {
  const QueryRange queries = unit_->seeing(first);
  if (queries.begin >= queries.end) return;
  const AttendArguments& a = *unit_->a;
  const std::int32_t page = unit_->table[first / kAttentionTile];
  const std::byte* const keys = page_of(a.coded_keys, page, unit_->kv_head);
  const std::byte* const values =
      scheme_->values != nullptr ? page_of(a.coded_values, page, unit_->kv_head) : keys;
  const std::byte* const next_keys = ahead(a.coded_keys, *scheme_->keys, first, end);
  score(keys, next_keys, queries);
  weigh(first, queries, result);
  add_values(
      values,
      scheme_->values != nullptr ? ahead(a.coded_values, *scheme_->values, first, end) : next_keys,
      queries, result);
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
