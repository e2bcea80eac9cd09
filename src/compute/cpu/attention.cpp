#include "compute/cpu/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <type_traits>

#include "compute/cpu/access.h"
#include "compute/cpu/attention_tiles.h"
#include "compute/cpu/coded_tiles.h"
#include "compute/cpu/kv_layout.h"

namespace hearth::compute::cpu {
namespace {

// Many threads share chunks evenly; but every chunk begins with the queries (rotated, for coded
// pages) and ends with a merge.
constexpr std::int64_t kNear = kFarCells / kAttendCells;  // chunks of the smaller size
static_assert(kFarCells % kFarAttendCells == 0);
constexpr std::int64_t kSplitChunks = 128;
constexpr std::int64_t kMostKvHeads = 16;  // of a unit
// Below this many multiply-adds the caller does all itself.
constexpr std::int64_t kInlineAttention = 1 << 15;
constexpr std::int64_t kScratchFloats = 232 * 1024;  // of a thread

/// The chunk that a cell is in.
constexpr std::int64_t chunk_of(std::int64_t cell) {
  return cell < kFarCells ? cell / kAttendCells : kNear + (cell - kFarCells) / kFarAttendCells;
}
constexpr std::int64_t chunk_begin(std::int64_t chunk) {
  return chunk < kNear ? chunk * kAttendCells : kFarCells + (chunk - kNear) * kFarAttendCells;
}

}  // namespace

struct AttentionEngine::Pass {
  const AttendArguments* a = nullptr;
  bool pairs = false;               // PairTiles, else FloatTiles
  std::int64_t group = 0;           // query heads per KV head
  std::int64_t heads_per_unit = 0;  // of them, taken together
  std::int64_t head_parts = 0;
  std::int64_t kv_per_unit = 1;  // KV heads taken together: few rows read them in order
  std::int64_t kv_parts = 0;
  std::int64_t rows_per_tile = 0;
  std::int64_t tiles = 0;
  std::int64_t most_rows = 0;  // of a tile
  std::int64_t groups = 0;     // tiles x parts of KV heads x head parts
  std::int64_t chunks = 1;     // > 1: every chunk of a group is a unit of its own
  std::int64_t key_size = 0, value_size = 0, value_stride = 0;
  CodedScheme coded;  // without keys: no page is coded

  [[nodiscard]] std::int64_t most_queries() const noexcept {
    return most_rows * heads_per_unit * kv_per_unit;
  }
  struct Chunks {
    std::int64_t first = 0, last = -1;
    [[nodiscard]] std::int64_t count() const noexcept { return last - first + 1; }
  };
  /// The chunks of cells [begin, end) that this part of attend() is about.
  [[nodiscard]] Chunks chunks_of(std::int64_t begin, std::int64_t end) const noexcept {
    const AttendPart& part = a->part;
    if (part.running) {
      begin = std::max(begin, part.begin);
      end = std::min(end, part.end);
    }
    if (begin >= end) return {};
    return {chunk_of(begin), chunk_of(end - 1)};
  }
  /// Floats of a unit's partial result.
  [[nodiscard]] std::int64_t partial_floats() const noexcept {
    return most_queries() * (2 + value_stride);
  }
};

AttentionEngine::AttentionEngine(ThreadTeam& team, const KernelTable& kernels,
                                 std::shared_ptr<Ledger> ledger, CoderCache& coders, bool exact)
    : team_(team), kernels_(kernels), ledger_(std::move(ledger)), coders_(coders), exact_(exact) {
  scratch_ =
      AccountedPages(ledger_, MemoryCategory::kBuffers,
                     sizeof(float) * kScratchFloats * static_cast<std::size_t>(team_.size()));
  split_groups_ = 8 * team_.size();
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

AttentionPartial take_partial(Workspace& workspace, std::int64_t queries, std::int64_t stride) {
  return {workspace.take(queries), workspace.take(queries), workspace.take(queries * stride)};
}

/// Adds a chunk's result to the total.
void merge(const KernelTable& kernels, std::int64_t queries, std::int64_t stride,
           const AttentionPartial& part, const AttentionPartial& total) noexcept {
  for (std::int64_t q = 0; q < queries; ++q) {
    if (part.maxima[q] == kMinusInfinity) continue;
    const float maximum = std::max(total.maxima[q], part.maxima[q]);
    const float old_factor = std::exp(total.maxima[q] - maximum);
    const float new_factor = std::exp(part.maxima[q] - maximum);
    total.maxima[q] = maximum;
    total.sums[q] = total.sums[q] * old_factor + part.sums[q] * new_factor;
    kernels.blend(total.values + q * stride, old_factor, part.values + q * stride, new_factor,
                  stride);
  }
}

/// Attention of a thread's units to the coded pages among their tiles.
class CodedWork {
 public:
  CodedWork(const CodedScheme& scheme, const KernelTable& kernels,
            std::span<const AttentionUnit> heads, Workspace& memory) noexcept
      : scheme_(&scheme), kernels_(&kernels), heads_(heads) {
    if (scheme.keys == nullptr) return;
    const std::int64_t queries = heads[0].count() * static_cast<std::int64_t>(heads.size());
    part_ = take_partial(memory, queries, heads[0].value_stride);
  }
  /// What the units need within attend(), for all of them.
  [[nodiscard]] std::int64_t shared_floats() const noexcept {
    if (scheme_->keys == nullptr) return 0;
    return scheme_->direct ? CodedTiles::shared_floats(*scheme_, heads_[0].count())
                           : FloatTiles::shared_floats(heads_[0], scheme_);
  }
  void prepare(Workspace& memory, Workspace shared) noexcept {
    if (scheme_->keys == nullptr) return;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      if (scheme_->direct) {
        direct_[i] = CodedTiles(heads_[i], *scheme_, *kernels_, memory, shared);
      } else {
        decoded_[i] = FloatTiles(heads_[i], *kernels_, memory, shared, scheme_);
      }
    }
  }
  /// Whether the tile is a coded page; then it is attended to.
  bool attend(std::size_t head, std::int64_t first, std::int64_t begin, std::int64_t end) noexcept {
    if (scheme_->keys == nullptr || !heads_[head].is_coded(first)) return false;
    const AttentionPartial result = part_of(head);
    if ((begun_ & 1U << head) == 0) result.clear(heads_[head].count(), heads_[head].value_stride);
    begun_ |= 1U << head;
    if (scheme_->direct) {
      direct_[head].attend(first, end, result);
    } else {
      decoded_[head].attend(first, begin, end, result);
    }
    return true;
  }
  /// Adds what a chunk's coded pages gave to what its other tiles did.
  void end(std::size_t head, float sum_scale, float output_scale,
           const AttentionPartial& total) noexcept {
    if ((begun_ & 1U << head) == 0) return;
    begun_ &= ~(1U << head);
    const AttentionPartial part = part_of(head);
    if (scheme_->direct) direct_[head].end(part);
    const std::int64_t stride = heads_[head].value_stride;
    for (std::int64_t q = 0; q < heads_[head].count(); ++q) {
      if (part.maxima[q] == kMinusInfinity) continue;
      const float maximum = std::max(total.maxima[q], part.maxima[q]);
      const float old_factor = std::exp(total.maxima[q] - maximum);
      const float new_factor = std::exp(part.maxima[q] - maximum) * sum_scale;
      total.maxima[q] = maximum;
      total.sums[q] = total.sums[q] * old_factor + part.sums[q] * new_factor;
      kernels_->blend(total.values + q * stride, old_factor, part.values + q * stride,
                      new_factor / output_scale, stride);
    }
  }

 private:
  [[nodiscard]] AttentionPartial part_of(std::size_t head) const noexcept {
    return part_.from(heads_[head].count() * static_cast<std::int64_t>(head),
                      heads_[head].value_stride);
  }

  const CodedScheme* scheme_;
  const KernelTable* kernels_;
  std::span<const AttentionUnit> heads_;
  AttentionPartial part_;
  std::array<CodedTiles, kMostKvHeads> direct_;
  std::array<FloatTiles, kMostKvHeads> decoded_;
  unsigned begun_ = 0;  // a bit per head
};

/// Attention to the tiles from `cell` on whose keys and values may be read apart; returns where the
/// first other one is. `unit`: any of the heads.
template <class Tiles, class ResultOf>
std::int64_t attend_apart(std::span<Tiles> heads, const AttentionUnit& unit, std::int64_t cell,
                          std::int64_t begin, std::int64_t end,
                          const ResultOf& result_of) noexcept {
  if constexpr (std::is_same_v<Tiles, PairTiles>) {
    while (heads[0].reads_apart() && cell < end && !unit.is_coded(cell)) {
      const std::int64_t most = std::min(end, cell + PairTiles::kTilesApart * kAttentionTile);
      const auto slot_of = [&](std::int64_t at) { return (at - cell) / kAttentionTile; };
      std::int64_t stop = cell;
      for (; stop < most && !unit.is_coded(stop); stop += kAttentionTile) {
        for (std::size_t i = 0; i < heads.size(); ++i) {
          heads[i].weigh(slot_of(stop), stop, result_of(i));
        }
      }
      for (std::int64_t at = cell; at < stop; at += kAttentionTile) {
        for (std::size_t i = 0; i < heads.size(); ++i) {
          heads[i].add(slot_of(at), at, begin, end, result_of(i));
        }
      }
      cell = stop;
    }
  }
  return cell;
}

/// Floats of work memory that `queries` queries of a pass with coded pages need at most.
std::int64_t coded_floats(const CodedScheme& scheme, std::int64_t queries, std::int64_t key_size,
                          std::int64_t value_stride) noexcept {
  constexpr std::int64_t kPadding = 8192;  // of a few hundred arrays to sixteen floats
  const std::int64_t key = round_up(key_size, kPanelRows);
  const std::int64_t partials = 3 * queries * (2 + value_stride);
  const std::int64_t raw =
      queries * (key + 2 * kPanelRows) + kMostKvHeads * PairTiles::kApartFloats;
  const std::int64_t coded =
      scheme.direct ? CodedTiles::own_floats(scheme, queries) : queries * key;
  const std::int64_t shared = std::max(kAttentionTile * (key + value_stride) + 100 * queries +
                                           kPanelRows * std::max(key, value_stride),
                                       CodedTiles::shared_floats(scheme, queries));
  return partials + raw + coded + shared + kPadding;
}

/// Where a unit's query `q` has what the parts of attend() before gave.
float* running_of(const AttentionUnit& unit, std::int64_t q) noexcept {
  const Tensor& running = unit.a->part.running;
  return floats_of(running) + unit.row(q) * running.strides[0] + unit.head(q) * running.strides[1];
}

void load_running(const AttentionUnit& unit, const AttentionPartial& total) noexcept {
  for (std::int64_t q = 0; q < unit.count(); ++q) {
    const float* const from = running_of(unit, q);
    total.maxima[q] = from[0];
    total.sums[q] = from[1];
    std::copy_n(from + 2, unit.value_size, total.values + q * unit.value_stride);
  }
}

void store_running(const AttentionUnit& unit, const AttentionPartial& total) noexcept {
  for (std::int64_t q = 0; q < unit.count(); ++q) {
    float* const to = running_of(unit, q);
    to[0] = total.maxima[q];
    to[1] = total.sums[q];
    std::copy_n(total.values + q * unit.value_stride, unit.value_size, to + 2);
  }
}

/// Divides by the sums and writes the output.
void finish(const KernelTable& kernels, const AttentionUnit& unit, const AttentionPartial& total,
            float sum_scale, float output_scale) noexcept {
  const AttendArguments& a = *unit.a;
  for (std::int64_t q = 0; q < unit.count(); ++q) {
    float sum = total.sums[q];
    float factor = output_scale;
    if (a.sinks) {
      const float sink = floats_of(a.sinks)[unit.head(q)];
      const float maximum = std::max(total.maxima[q], sink);
      const float shrink = std::exp(total.maxima[q] - maximum);
      factor *= shrink;
      sum = sum * shrink + std::exp(sink - maximum) * sum_scale;
    }
    kernels.scale(
        total.values + q * unit.value_stride, factor / sum,
        floats_of(a.out) + unit.row(q) * a.out.strides[0] + unit.head(q) * a.out.strides[1],
        unit.value_size);
  }
}

}  // namespace

void AttentionEngine::run_unit(const Pass& pass, std::int64_t unit, int thread) noexcept {
  const AttendArguments& a = *pass.a;
  const std::int64_t group = unit / pass.chunks;
  const std::int64_t head_part = group % pass.head_parts;
  const std::int64_t first_kv_head = group / pass.head_parts % pass.kv_parts * pass.kv_per_unit;
  const RowTile& tile = tiles_[static_cast<std::size_t>(group / (pass.head_parts * pass.kv_parts))];
  std::array<AttentionUnit, kMostKvHeads> heads;
  const std::int64_t count = std::min(pass.kv_per_unit, a.keys.shape[1] - first_kv_head);
  for (std::int64_t i = 0; i < count; ++i) {
    AttentionUnit& head = heads[static_cast<std::size_t>(i)];
    head.a = &a;
    head.kv_head = first_kv_head + i;
    head.first_row = tile.row;
    head.rows = tile.count;
    head.first_head = head.kv_head * pass.group + head_part * pass.heads_per_unit;
    head.heads = std::min(pass.heads_per_unit, pass.group - head_part * pass.heads_per_unit);
    head.table = ints_of(a.rows.page_table) +
                 int_at(a.rows.row_sequence, tile.row) * a.rows.page_table.strides[0];
    head.page_cells = a.keys.shape[2];
    head.key_size = pass.key_size;
    head.value_size = pass.value_size;
    head.value_stride = pass.value_stride;
  }
  const std::span<const AttentionUnit> units(heads.data(), static_cast<std::size_t>(count));
  if (pass.pairs) {
    attend_unit<PairTiles>(pass, unit, tile, units, thread);
  } else {
    attend_unit<FloatTiles>(pass, unit, tile, units, thread);
  }
}

template <class Tiles>
void AttentionEngine::attend_unit(const Pass& pass, std::int64_t unit, const RowTile& tile,
                                  std::span<const AttentionUnit> heads, int thread) noexcept {
  Workspace memory({workspace(thread), static_cast<std::size_t>(kScratchFloats)});
  const std::int64_t each = heads[0].count();
  const std::int64_t queries = each * static_cast<std::int64_t>(heads.size());
  const std::int64_t stride = pass.value_stride;
  const AttentionPartial part = take_partial(memory, queries, stride);
  const AttentionPartial total = take_partial(memory, queries, stride);
  CodedWork coded(pass.coded, kernels_, heads, memory);
  Workspace shared = memory;
  (void)memory.take(std::max(Tiles::shared_floats(heads[0]), coded.shared_floats()));
  std::array<Tiles, kMostKvHeads> tiles;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    tiles[i] = Tiles(heads[i], kernels_, memory, shared);
  }
  coded.prepare(memory, shared);

  // Not a structured binding: lambdas could not capture it.
  const Pass::Chunks chunks = pass.chunks_of(tile.begin, tile.end);
  const std::int64_t first = chunks.first;
  const std::int64_t last = chunks.last;
  // Tile by tile, and the heads of each: that is the order in memory.
  const auto attend_chunk = [&](std::int64_t chunk, const AttentionPartial& result) {
    const std::int64_t begin = std::max<std::int64_t>(tile.begin, chunk_begin(chunk));
    const std::int64_t end = std::min<std::int64_t>(tile.end, chunk_begin(chunk + 1));
    const auto result_of = [&](std::size_t i) {
      return result.from(each * static_cast<std::int64_t>(i), stride);
    };
    for (std::size_t i = 0; i < heads.size(); ++i) tiles[i].begin(result_of(i));
    for (std::int64_t cell = begin / kAttentionTile * kAttentionTile; cell < end;
         cell += kAttentionTile) {
      cell =
          attend_apart<Tiles>({tiles.data(), heads.size()}, heads[0], cell, begin, end, result_of);
      if (cell >= end) break;
      for (std::size_t i = 0; i < heads.size(); ++i) {
        if (coded.attend(i, cell, begin, end)) continue;
        const bool same_cells = i + 1 < heads.size();
        const std::int64_t next = same_cells ? cell : cell + kAttentionTile;
        tiles[i].expect(next < end ? &tiles[same_cells ? i + 1 : 0] : nullptr, next);
        tiles[i].attend(cell, begin, end, result_of(i));
      }
    }
    for (std::size_t i = 0; i < heads.size(); ++i) {
      tiles[i].end(result_of(i));
      coded.end(i, tiles[i].sum_scale(), tiles[i].output_scale(), result_of(i));
    }
  };
  const auto merge_all = [&](auto part_of) {
    const AttendPart& parts = pass.a->part;
    const auto total_of = [&](std::size_t i) {
      return total.from(each * static_cast<std::int64_t>(i), stride);
    };
    total.clear(queries, stride);
    if (parts.running && !parts.first) {
      for (std::size_t i = 0; i < heads.size(); ++i) load_running(heads[i], total_of(i));
    }
    for (std::int64_t chunk = first; chunk <= last; ++chunk) {
      merge(kernels_, queries, stride, part_of(chunk), total);
    }
    for (std::size_t i = 0; i < heads.size(); ++i) {
      if (parts.running && !parts.last) {
        store_running(heads[i], total_of(i));
      } else {
        finish(kernels_, heads[i], total_of(i), tiles[i].sum_scale(), tiles[i].output_scale());
      }
    }
  };
  if (pass.chunks == 1) {
    merge_all([&](std::int64_t chunk) {
      attend_chunk(chunk, part);
      return part;
    });
    return;
  }
  // Shared: this thread does one chunk, and who finishes last merges all in order.
  const std::int64_t group = unit / pass.chunks;
  const auto slot = [&](std::int64_t chunk) {
    float* const floats = reinterpret_cast<float*>(partials_.data()) +
                          (group * pass.chunks + chunk - first) * pass.partial_floats();
    return AttentionPartial{floats, floats + pass.most_queries(), floats + 2 * pass.most_queries()};
  };
  const std::int64_t chunk = first + unit % pass.chunks;
  if (chunk <= last) attend_chunk(chunk, slot(chunk));
  if (chunks_left_[static_cast<std::size_t>(group)].fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  merge_all(slot);
}

CodedScheme AttentionEngine::scheme_of(const AttendArguments& a) {
  CodedScheme scheme;
  if (!a.coded_keys) return scheme;
  scheme.kernels = &coded_kernels_of(kernels_);
  scheme.keys = &coders_.of(a.key_code, a.keys.shape[3]);
  if (a.values) scheme.values = &coders_.of(a.value_code, a.values.shape[3]);
  scheme.direct = !exact_ && scheme.keys->direct() && scheme.value_coder().direct();
  return scheme;
}

void AttentionEngine::run(const AttendArguments& a) noexcept {
  if (a.q.shape[0] == 0) return;
  Pass pass;
  pass.a = &a;
  const std::int64_t kv_heads = a.keys.shape[1];
  pass.key_size = a.q.shape[2];
  pass.value_size = a.out.shape[2];
  pass.value_stride = round_up(pass.value_size, kPanelRows);
  pass.pairs = PairTiles::can_attend(a, kernels_);
  pass.coded = scheme_of(a);
  std::int64_t most_queries = pass.pairs ? PairTiles::most_queries(pass.key_size, pass.value_size)
                                         : FloatTiles::most_queries(pass.key_size, pass.value_size);
  while (pass.coded.keys != nullptr && most_queries > 1 &&
         coded_floats(pass.coded, most_queries, pass.key_size, pass.value_stride) >
             kScratchFloats) {
    most_queries /= 2;
  }
  pass.group = a.q.shape[1] / kv_heads;
  pass.heads_per_unit = std::min(pass.group, most_queries);
  // Few rows with many heads on one key (latent attention): smaller units occupy all threads,
  // unless chunks do.
  const std::int64_t chunks = chunk_of(int_at(a.row_end, 0)) - chunk_of(int_at(a.row_begin, 0)) + 1;
  while (pass.heads_per_unit > 8 &&
         a.q.shape[0] * a.q.shape[1] * chunks < 2 * team_.size() * pass.heads_per_unit) {
    pass.heads_per_unit /= 2;
  }
  pass.head_parts = (pass.group + pass.heads_per_unit - 1) / pass.heads_per_unit;
  pass.rows_per_tile = most_queries / pass.heads_per_unit;
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
      if (a.part.running) part.part.running = a.part.running.rows(first, count);
      run(part);
    }
    return;
  }
  make_tiles(a, pass);
  std::int64_t cells = 0;
  std::int64_t most_chunks = 1;
  std::int64_t part_chunks = 1;  // of them, those of this part
  for (std::int64_t i = 0; i < pass.tiles; ++i) {
    const RowTile& tile = tiles_[static_cast<std::size_t>(i)];
    cells += (tile.end - tile.begin) * tile.count;
    pass.most_rows = std::max<std::int64_t>(pass.most_rows, tile.count);
    most_chunks =
        std::max<std::int64_t>(most_chunks, chunk_of(tile.end - 1) - chunk_of(tile.begin) + 1);
    part_chunks = std::max(part_chunks, pass.chunks_of(tile.begin, tile.end).count());
  }
  if (pass.head_parts == 1) {
    pass.kv_per_unit = std::clamp<std::int64_t>(most_queries / pass.most_queries(), 1,
                                                std::min(kv_heads, kMostKvHeads));
    // Enough units for all threads.
    while (pass.kv_per_unit > 1 &&
           pass.tiles * most_chunks * kv_heads < 2 * team_.size() * pass.kv_per_unit) {
      pass.kv_per_unit = (pass.kv_per_unit + 1) / 2;
    }
  }
  pass.kv_parts = (kv_heads + pass.kv_per_unit - 1) / pass.kv_per_unit;
  pass.groups = pass.tiles * pass.kv_parts * pass.head_parts;
  const bool fits = static_cast<std::size_t>(pass.groups * part_chunks * pass.partial_floats()) <=
                    partial_floats_;
  if (team_.size() > 1 && pass.groups < split_groups_ && part_chunks > 1 && fits) {
    pass.chunks = part_chunks;
    for (std::int64_t i = 0; i < pass.groups; ++i) {
      chunks_left_[static_cast<std::size_t>(i)].store(static_cast<std::int32_t>(pass.chunks),
                                                      std::memory_order_relaxed);
    }
  }
  const std::int64_t units = pass.groups * pass.chunks;
  const std::int64_t work = cells * a.q.shape[1] * (pass.key_size + pass.value_size);
  if (work <= kInlineAttention) {
    for (std::int64_t unit = 0; unit < units; ++unit) run_unit(pass, unit, 0);
    return;
  }
  team_.for_chunks(units, 1, [&](std::int64_t begin, std::int64_t end, int thread) noexcept {
    for (std::int64_t unit = begin; unit < end; ++unit) run_unit(pass, unit, thread);
  });
}

}  // namespace hearth::compute::cpu
