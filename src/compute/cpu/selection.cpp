#include "compute/cpu/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "compute/best_cells.h"
#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"
#include "compute/cpu/panel_product.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kTile = 64;          // cells that are attended to at a time
constexpr std::int64_t kSharingHeads = 32;  // heads of a row that share gathered cells
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The cells of one KV head of a pool (kv_layout.h).
class HeadPages {
 public:
  HeadPages(const Tensor& pool, KvPart part, std::int64_t kv_head, const Tensor& page_table,
            std::int64_t sequence, const KernelTable& kernels) noexcept
      : kernels_(kernels),
        pool_(pool),
        part_(part),
        layout_(kv_layout(pool, part, kernels)),
        page_cells_(pool.shape[2]),
        size_(pool.shape[3]),
        page_stride_(pool_bytes(pool, pool.strides[0])),
        base_(bytes_of(pool) + pool_bytes(pool, kv_head * pool.strides[1])),
        table_(ints_of(page_table) + sequence * page_table.strides[0]) {}

  [[nodiscard]] PanelFormat format() const noexcept { return panel_format_of(pool_); }
  [[nodiscard]] std::int64_t bytes(std::int64_t elements) const noexcept {
    return pool_bytes(pool_, elements);
  }
  /// Sixteen keys from `cell` on, a multiple of sixteen, as a panel: in place, or unpacked to
  /// `buffer`; null when they are kept as rows.
  [[nodiscard]] const std::byte* panel(std::int64_t cell, float* buffer,
                                       PanelFormat& format) const noexcept {
    const bool blocks = tensor::info(pool_.dtype).quantized;
    if (layout_ == KvLayout::kRows || blocks) return nullptr;
    format = panel_format_of(pool_);
    const std::byte* const stored = page(cell) + bytes(place_in_page(layout_, part_, page_cells_,
                                                                     size_, cell % page_cells_, 0));
    if (layout_ == KvLayout::kPanels) return stored;
    kernels_.pair_attention->to_floats(
        stored, format == PanelFormat::kF16 ? PairFormat::kF16 : PairFormat::kBF16, size_ / 2,
        buffer);
    format = PanelFormat::kF32;
    return reinterpret_cast<const std::byte*>(buffer);
  }
  /// The first `count` elements of a cell, next to each other: in place, or copied to `buffer`.
  [[nodiscard]] const std::byte* row(std::int64_t cell, std::int64_t count,
                                     std::byte* buffer) const noexcept {
    const std::int64_t slot = cell % page_cells_;
    if (layout_ == KvLayout::kRows) return page(cell) + bytes(slot * size_);
    const auto copy = [&]<class Element>(Element* to) {
      load_cell(reinterpret_cast<const Element*>(page(cell)), size_, part_, layout_, page_cells_,
                slot, count, to);
    };
    if (tensor::info(pool_.dtype).quantized) {
      load_blocks(page(cell), size_, part_, page_cells_, slot, buffer);
    } else if (is_sixteen_bits(pool_.dtype)) {
      copy(reinterpret_cast<std::uint16_t*>(buffer));
    } else {
      copy(reinterpret_cast<std::uint32_t*>(buffer));
    }
    return buffer;
  }
  /// One element, of a pool of floats.
  [[nodiscard]] float at(std::int64_t cell, std::int64_t i) const noexcept {
    const std::int64_t slot = cell % page_cells_;
    const std::int64_t place = layout_ == KvLayout::kRows
                                   ? slot * size_ + i
                                   : place_in_page(layout_, part_, page_cells_, size_, slot, i);
    return reinterpret_cast<const float*>(page(cell))[place];
  }

 private:
  [[nodiscard]] const std::byte* page(std::int64_t cell) const noexcept {
    return base_ + table_[cell / page_cells_] * page_stride_;
  }

  const KernelTable& kernels_;
  const Tensor& pool_;
  KvPart part_;
  KvLayout layout_;
  std::int64_t page_cells_, size_, page_stride_;
  const std::byte* base_;
  const std::int32_t* table_;
};

/// Whether cells[0 .. 15] follow each other from a multiple of sixteen on.
bool are_one_panel(const std::int32_t* cells, std::int64_t count) noexcept {
  if (count < kPanelRows || cells[0] % kPanelRows != 0) return false;
  for (std::int32_t i = 1; i < kPanelRows; ++i) {
    if (cells[i] != cells[0] + i) return false;
  }
  return true;
}

/// Softmax attention of the heads of one unit, tile by tile of gathered cells.
class Gatherer {
 public:
  Gatherer(const KernelTable& kernels, float* workspace, const float* q, std::int64_t q_stride,
           std::int64_t queries, std::int64_t key_size, std::int64_t value_size,
           float scale) noexcept
      : kernels_(kernels),
        queries_(queries),
        key_size_(key_size),
        value_size_(value_size),
        value_stride_(round_up(value_size, kPanelRows)) {
    const auto take = [&workspace](std::int64_t floats) {
      float* const taken = workspace;
      workspace += floats;
      return taken;
    };
    q_ = take(kSharingHeads * kMaxHeadSize);
    sums_ = take(kSharingHeads * kMaxHeadSize);
    panel_ = take(kPanelRows * kMaxHeadSize);
    rows_ = reinterpret_cast<std::byte*>(take(kPanelRows * kMaxHeadSize));
    values_ = take(kTile * kMaxHeadSize);
    scores_ = take(kSharingHeads * kTile);
    maxima_ = take(kSharingHeads);
    totals_ = take(kSharingHeads);
    factors_ = take(kSharingHeads);
    static_assert((2 * kSharingHeads + 2 * kPanelRows + kTile) * kMaxHeadSize +
                      kSharingHeads * (kTile + 3) <=
                  AttentionEngine::kWorkspaceFloats);
    for (std::int64_t i = 0; i < queries; ++i) {
      kernels.scale(q + i * q_stride, scale, q_ + i * key_size, key_size);
    }
    std::fill_n(sums_, queries * value_stride_, 0.0F);
    std::fill_n(maxima_, queries, -kInfinity);
    std::fill_n(totals_, queries, 0.0F);
  }

  /// Attends to `count` cells, 1 .. kTile. `values` may be null: they are the first part of the
  /// keys.
  void add(const HeadPages& keys, const HeadPages* values, const std::int32_t* cells,
           std::int64_t count) noexcept {
    for (std::int64_t block = 0; block < count; block += kPanelRows) {
      score_block(keys, values, cells + block, std::min(kPanelRows, count - block), block);
    }
    for (std::int64_t i = 0; i < queries_; ++i) {
      float* const scores = scores_ + i * kTile;
      std::fill(scores + count, scores + kTile, -kInfinity);
      const float before = maxima_[i];
      maxima_[i] = std::max(before, kernels_.largest(scores, kTile));
      const float reference = maxima_[i] == -kInfinity ? 0.0F : maxima_[i];
      factors_[i] = std::exp(before - reference);
      totals_[i] = totals_[i] * factors_[i] + kernels_.exp_row(scores, reference, kTile);
    }
    for (std::int64_t i = 0; i < value_size_; i += kPanelRows) {
      const auto* const panel = reinterpret_cast<const std::byte*>(values_ + i * kTile);
      each_product(kernels_, PanelFormat::kF32, panel, count, scores_, kTile, queries_,
                   [&](std::int64_t query, const float* part) {
                     float* const sum = sums_ + query * value_stride_ + i;
                     for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
                       sum[lane] = sum[lane] * factors_[query] + part[lane];
                     }
                   });
    }
  }

  void finish(std::int64_t query, const float* sink, float* out) const noexcept {
    float total = totals_[query];
    float factor = 1;
    if (sink != nullptr) {
      const float maximum = std::max(maxima_[query], *sink);
      factor = std::exp(maxima_[query] - maximum);
      total = total * factor + std::exp(*sink - maximum);
    }
    const float* const sum = sums_ + query * value_stride_;
    for (std::int64_t i = 0; i < value_size_; ++i) out[i] = sum[i] * factor / total;
  }

 private:
  /// Scores of up to sixteen cells, whose values become rows `first` .. of the tile's panels.
  void score_block(const HeadPages& keys, const HeadPages* values, const std::int32_t* cells,
                   std::int64_t count, std::int64_t first) noexcept {
    PanelFormat format = PanelFormat::kF32;
    const std::byte* panel =
        are_one_panel(cells, count) ? keys.panel(cells[0], panel_, format) : nullptr;
    const bool turned = panel != nullptr && values == nullptr;
    if (turned) kernels_.panel_to_values(panel, format, value_size_, first, kTile, values_);
    const std::byte* lanes[kPanelRows] = {};
    if (panel == nullptr) {
      for (std::int64_t lane = 0; lane < count; ++lane) {
        lanes[lane] = keys.row(cells[lane], key_size_, rows_ + lane * keys.bytes(key_size_));
      }
      kernels_.keys_to_panel(lanes, keys.format(), key_size_, panel_);
      panel = reinterpret_cast<const std::byte*>(panel_);
    }
    each_product(kernels_, format, panel, key_size_, q_, key_size_, queries_,
                 [&](std::int64_t query, const float* scores) {
                   std::copy_n(scores, kPanelRows, scores_ + query * kTile + first);
                 });
    if (turned) return;
    const PanelFormat value_format = values == nullptr ? keys.format() : values->format();
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      const std::byte* value = lanes[lane];
      if (values != nullptr) {
        value = lane < count ? values->row(cells[lane], value_size_, rows_) : nullptr;
      }
      kernels_.value_to_panels(value, value_format, value_size_, first + lane, kTile, values_);
    }
  }

  const KernelTable& kernels_;
  std::int64_t queries_, key_size_, value_size_, value_stride_;
  float *q_, *sums_, *panel_, *values_, *scores_, *maxima_, *totals_, *factors_;
  std::byte* rows_;
};

}  // namespace

// ---- Attention ----------------------------------------------------------------------------------

/// Heads that read the same cells of the same KV head, taken in parts.
struct SelectionEngine::HeadGroups {
  explicit HeadGroups(const SelectedAttendArguments& a) noexcept {
    for (const KvSource& source : a.sources) {
      count = std::max(count, source.keys.shape[1]);
      if (source.cells) count = std::max(count, source.cells.shape[1]);
    }
    heads = a.q.shape[1] / count;
    parts = (heads + kSharingHeads - 1) / kSharingHeads;
  }
  std::int64_t count = 1, heads = 0, parts = 0;
};

void SelectionEngine::attend_group(const SelectedAttendArguments& a, const HeadGroups& groups,
                                   std::int64_t unit, int thread) noexcept {
  const std::int64_t part = unit % groups.parts;
  const std::int64_t group = unit / groups.parts % groups.count;
  const std::int64_t t = unit / (groups.parts * groups.count);
  const std::int64_t sequence = int_at(a.row_sequence, t);
  const std::int64_t head = group * groups.heads + part * kSharingHeads;
  const std::int64_t heads = std::min(kSharingHeads, groups.heads - part * kSharingHeads);
  Gatherer gatherer(kernels_, attention_.workspace(thread),
                    floats_of(a.q) + t * a.q.strides[0] + head * a.q.strides[1], a.q.strides[1],
                    heads, a.q.shape[2], a.out.shape[2], a.scale);
  for (const KvSource& source : a.sources) {
    const std::int64_t kv_head = group * source.keys.shape[1] / groups.count;
    const HeadPages keys(source.keys, KvPart::kKeys, kv_head, source.page_table, sequence,
                         kernels_);
    const bool apart = static_cast<bool>(source.values);
    const HeadPages values(apart ? source.values : source.keys,
                           apart ? KvPart::kValues : KvPart::kKeys, kv_head, source.page_table,
                           sequence, kernels_);
    const auto attend_to = [&](const std::int32_t* cells, std::int64_t count) {
      gatherer.add(keys, apart ? &values : nullptr, cells, count);
    };
    if (source.cells) {
      const std::int64_t list = group * source.cells.shape[1] / groups.count;
      const std::int32_t* const cells =
          ints_of(source.cells) + t * source.cells.strides[0] + list * source.cells.strides[1];
      for (std::int64_t first = 0; first < source.cells.shape[2]; first += kTile) {
        std::int64_t count = 0;
        const std::int64_t most = std::min(kTile, source.cells.shape[2] - first);
        while (count < most && cells[first + count] >= 0) ++count;
        if (count > 0) attend_to(cells + first, count);
        if (count < kTile) break;
      }
    } else {
      std::int32_t cells[kTile];
      const std::int64_t end = int_at(source.row_end, t);
      for (std::int64_t first = int_at(source.row_begin, t); first < end;) {
        const std::int64_t count = std::min(end, (first / kTile + 1) * kTile) - first;
        for (std::int64_t i = 0; i < count; ++i) cells[i] = static_cast<std::int32_t>(first + i);
        attend_to(cells, count);
        first += count;
      }
    }
  }
  for (std::int64_t i = 0; i < heads; ++i) {
    const float* const sink = a.sinks ? floats_of(a.sinks) + head + i : nullptr;
    gatherer.finish(i, sink,
                    floats_of(a.out) + t * a.out.strides[0] + (head + i) * a.out.strides[1]);
  }
}

void SelectionEngine::attend_selected(const SelectedAttendArguments& a) noexcept {
  const HeadGroups groups(a);
  team_.for_chunks(a.q.shape[0] * groups.count * groups.parts, 1,
                   [&](std::int64_t begin, std::int64_t end, int thread) {
                     for (std::int64_t unit = begin; unit < end; ++unit) {
                       attend_group(a, groups, unit, thread);
                     }
                   });
}

// ---- Choice -------------------------------------------------------------------------------------

namespace {

using Best = BestCells<float>;

constexpr std::int64_t kPanelFloats = kPanelRows * kMaxHeadSize;

/// The cells [block, block + 16) as a panel, those outside [begin, end) being zeros or anything:
/// in place, or gathered into `to`.
const std::byte* panel_of(const KernelTable& kernels, const HeadPages& keys, std::int64_t block,
                          std::int64_t begin, std::int64_t end, std::int64_t size, float* to,
                          PanelFormat& format) noexcept {
  if (const std::byte* const panel = keys.panel(block, to, format)) return panel;
  const std::byte* lanes[kPanelRows] = {};
  // Only rows that are scattered are copied: those of blocks.
  std::array<std::byte, kPanelRows * kMaxHeadSize / kBlockSize * kBlockBytes> rows;
  for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
    const std::int64_t cell = block + lane;
    if (cell >= begin && cell < end)
      lanes[lane] = keys.row(cell, size, rows.data() + lane * keys.bytes(size));
  }
  kernels.keys_to_panel(lanes, keys.format(), size, to);
  format = PanelFormat::kF32;
  return reinterpret_cast<const std::byte*>(to);
}

}  // namespace

void SelectionEngine::score_cells(const SelectCellsArguments& a, std::int64_t t, std::int64_t begin,
                                  std::int64_t end, float* panel, float* to) noexcept {
  const HeadPages keys(a.keys, KvPart::kKeys, 0, a.rows.page_table, int_at(a.rows.row_sequence, t),
                       kernels_);
  const std::int64_t size = a.q.shape[2];
  const float* const q = floats_of(a.q) + t * a.q.strides[0];
  const float* const weights = floats_of(a.weights) + t * a.weights.strides[0];
  for (std::int64_t block = begin / kPanelRows * kPanelRows; block < end; block += kPanelRows) {
    PanelFormat format;
    const std::byte* const cells = panel_of(kernels_, keys, block, begin, end, size, panel, format);
    float scores[kPanelRows] = {};
    each_product(kernels_, format, cells, size, q, a.q.strides[1], a.q.shape[1],
                 [&](std::int64_t head, const float* products) {
                   for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
                     scores[lane] += weights[head] * std::max(0.0F, products[lane]);
                   }
                 });
    const std::int64_t last = std::min(end, block + kPanelRows);
    for (std::int64_t cell = std::max(begin, block); cell < last; ++cell) {
      *to++ = scores[cell - block];
    }
  }
}

void SelectionEngine::select_cells(const SelectCellsArguments& a) noexcept {
  // A workspace holds a panel, the chosen candidates and scores of a piece of the range.
  constexpr std::int64_t kCandidates = 2 * kMaxSelected;
  constexpr std::int64_t kPiece = 1 << 16;
  static_assert(kPanelFloats + kCandidates + kPiece <= AttentionEngine::kWorkspaceFloats);
  static_assert(sizeof(Best::Candidate) == 2 * sizeof(float));
  const std::int64_t limit = a.cells.shape[1];
  const std::int64_t rows = a.q.shape[0];
  const auto candidates = [&](int thread) {
    return reinterpret_cast<Best::Candidate*>(attention_.workspace(thread) + kPanelFloats);
  };
  const auto scores = [&](int thread) {
    return attention_.workspace(thread) + kPanelFloats + kCandidates;
  };
  const auto add_scores = [&](Best& best, std::int64_t begin, std::int64_t end,
                              const float* values) {
    for (std::int64_t cell = begin; cell < end; ++cell) {
      best.add(values[cell - begin], static_cast<std::int32_t>(cell));
    }
  };
  const auto write = [&](std::int64_t t, Best& best) {
    std::int32_t* to = reinterpret_cast<std::int32_t*>(bytes_of(a.cells)) + t * a.cells.strides[0];
    std::int32_t* const end = to + limit;
    best.finish();
    for (const Best::Candidate& candidate : best) *to++ = candidate.index;
    std::fill(to, end, -1);
  };
  const auto choose = [&](std::int64_t t, int thread) {
    const std::int64_t end = int_at(a.row_end, t);
    Best best(candidates(thread), limit);
    for (std::int64_t first = int_at(a.row_begin, t); first < end; first += kPiece) {
      const std::int64_t last = std::min(end, first + kPiece);
      if (end - int_at(a.row_begin, t) <= limit) {
        std::fill_n(scores(thread), last - first, 0.0F);
      } else {
        score_cells(a, t, first, last, attention_.workspace(thread), scores(thread));
      }
      add_scores(best, first, last, scores(thread));
    }
    write(t, best);
  };
  if (rows >= team_.size() || team_.size() == 1) {
    team_.for_chunks(rows, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t t = begin; t < end; ++t) choose(t, thread);
    });
    return;
  }
  // Few rows: the threads share the cells of each.
  constexpr std::int64_t kLeastShared = 1024;
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int64_t end = int_at(a.row_end, t);
    std::int64_t begin = int_at(a.row_begin, t);
    if (end - begin <= std::max(limit, kLeastShared)) {
      choose(t, 0);
      continue;
    }
    Best best(candidates(0), limit);
    const std::int64_t share =
        std::min(kPiece, round_up((end - begin) / team_.size() + 1, kPanelRows));
    for (; begin < end; begin += share * team_.size()) {
      const auto first = [&](int thread) { return std::min(end, begin + thread * share); };
      team_.run([&](int thread) noexcept {
        score_cells(a, t, first(thread), first(thread + 1), attention_.workspace(thread),
                    scores(thread));
      });
      for (int thread = 0; thread < team_.size(); ++thread) {
        add_scores(best, first(thread), first(thread + 1), scores(thread));
      }
    }
    write(t, best);
  }
}

void SelectionEngine::choose_blocks(const SelectBlocksArguments& a, std::int64_t t,
                                    std::int64_t group, int thread) noexcept {
  float* const panel = attention_.workspace(thread);
  Best best(reinterpret_cast<Best::Candidate*>(panel + kPanelFloats), a.top_k);
  const HeadPages keys(a.keys, KvPart::kKeys, 0, a.rows.page_table, int_at(a.rows.row_sequence, t),
                       kernels_);
  const std::int64_t size = a.q.shape[2];
  const float* const q = floats_of(a.q) + t * a.q.strides[0] + group * a.q.strides[1];
  const std::int64_t end = int_at(a.row_end, t);
  const std::int64_t blocks = (end + a.block - 1) / a.block;
  const std::int64_t scored = blocks - std::min({a.local, a.top_k, blocks});
  const std::int64_t scored_end = std::min(end, scored * a.block);
  float score = -kInfinity;
  // With no more blocks than may be chosen there is nothing to score.
  if (blocks > a.top_k) {
    for (std::int64_t first = 0; first < scored_end; first += kPanelRows) {
      PanelFormat format;
      const std::byte* const cells =
          panel_of(kernels_, keys, first, 0, scored_end, size, panel, format);
      const std::int64_t last = std::min(scored_end, first + kPanelRows);
      each_product(kernels_, format, cells, size, q, size, 1,
                   [&](std::int64_t, const float* products) {
                     for (std::int64_t cell = first; cell < last; ++cell) {
                       score = std::max(score, products[cell - first]);
                       if ((cell + 1) % a.block != 0) continue;
                       best.add(score, static_cast<std::int32_t>(cell / a.block));
                       score = -kInfinity;
                     }
                   });
    }
  } else {
    for (std::int64_t block = 0; block < scored; ++block) {
      best.add(0, static_cast<std::int32_t>(block));
    }
  }
  for (std::int64_t block = scored; block < blocks; ++block) {
    best.add(kInfinity, static_cast<std::int32_t>(block));
  }
  best.finish();
  std::int32_t* to = reinterpret_cast<std::int32_t*>(bytes_of(a.cells)) + t * a.cells.strides[0] +
                     group * a.cells.strides[1];
  std::int32_t* const to_end = to + a.cells.shape[2];
  for (const Best::Candidate& chosen : best) {
    const std::int64_t first = chosen.index * a.block;
    for (std::int64_t cell = first; cell < std::min(end, first + a.block); ++cell) {
      *to++ = static_cast<std::int32_t>(cell);
    }
  }
  std::fill(to, to_end, -1);
}

void SelectionEngine::select_blocks(const SelectBlocksArguments& a) noexcept {
  const std::int64_t groups = a.q.shape[1];
  team_.for_chunks(a.q.shape[0] * groups, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      choose_blocks(a, unit / groups, unit % groups, thread);
    }
  });
}

// ---- Pooling ------------------------------------------------------------------------------------

void SelectionEngine::compress(const CompressArguments& a) noexcept {
  constexpr std::int64_t kChannels = 64;  // that a thread takes at a time
  const std::int64_t size = a.out.shape[1];
  const std::int64_t parts = (size + kChannels - 1) / kChannels;
  const std::int64_t items = a.overlapping ? 2 * a.ratio : a.ratio;
  const auto pool_part = [&](std::int64_t n, std::int64_t begin, std::int64_t end) {
    const std::int64_t block = int_at(a.block, n);
    const std::int64_t sequence = int_at(a.block_sequence, n);
    const HeadPages values(a.values, KvPart::kValues, 0, a.page_table, sequence, kernels_);
    const HeadPages gates(a.gates, KvPart::kKeys, 0, a.page_table, sequence, kernels_);
    // Overlapping: the items begin one block earlier, and those use the first half of the channels.
    const std::int64_t first = (block + 1) * a.ratio - items;
    const auto channel = [&](std::int64_t item, std::int64_t i) {
      return a.overlapping && item >= a.ratio ? size + i : i;
    };
    const auto gate = [&](std::int64_t item, std::int64_t i) {
      const float bias =
          a.bias ? floats_of(a.bias)[item % a.ratio * a.bias.strides[0] + channel(item, i)] : 0.0F;
      return gates.at(first + item, channel(item, i)) + bias;
    };
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t from = std::max<std::int64_t>(0, -first);
      float maximum = -kInfinity;
      for (std::int64_t item = from; item < items; ++item) {
        maximum = std::max(maximum, gate(item, i));
      }
      float sum = 0;
      float total = 0;
      for (std::int64_t item = from; item < items; ++item) {
        const float weight = std::exp(gate(item, i) - maximum);
        sum += weight;
        total += weight * values.at(first + item, channel(item, i));
      }
      floats_of(a.out)[n * a.out.strides[0] + i] = total / sum;
    }
  };
  team_.for_chunks(a.out.shape[0] * parts, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first = unit % parts * kChannels;
      pool_part(unit / parts, first, std::min(size, first + kChannels));
    }
  });
}

}  // namespace hearth::compute::cpu
