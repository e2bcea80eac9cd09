// One unit of attention, some queries of one KV head, on tiles of cells: in float32, or with dot
// products of bfloat16 pairs. Used by AttentionEngine, which merges the results of chunks of cells.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Takes parts of a thread's work memory, each aligned to 64 bytes.
class Workspace {
 public:
  explicit Workspace(std::span<float> memory) noexcept : memory_(memory) {}
  [[nodiscard]] float* take(std::int64_t floats) noexcept {
    float* const taken = memory_.data();
    memory_ = memory_.subspan(static_cast<std::size_t>((floats + 15) / 16 * 16));
    return taken;
  }
  /// `count` elements of 16 bits.
  [[nodiscard]] std::uint16_t* take_halves(std::int64_t count) noexcept {
    return reinterpret_cast<std::uint16_t*>(take((count + 1) / 2));
  }

 private:
  std::span<float> memory_;
};

struct CodedScheme;  // coded_tiles.h

/// Queries of a unit that follow each other.
struct QueryRange {
  std::int64_t begin = 0, end = 0;
};

/// Running results of some queries: maximum, sum of exponentials and weighted sum of values.
struct AttentionPartial {
  float* maxima = nullptr;
  float* sums = nullptr;
  float* values = nullptr;  // [query][value stride]

  /// From query `first` on.
  [[nodiscard]] AttentionPartial from(std::int64_t first, std::int64_t stride) const noexcept {
    return {maxima + first, sums + first, values + first * stride};
  }
  void clear(std::int64_t queries, std::int64_t stride) const noexcept {
    std::fill_n(maxima, queries, kMinusInfinity);
    std::fill_n(sums, queries, 0.0F);
    std::fill_n(values, queries * stride, 0.0F);
  }
};

/// Which queries a unit has, rows of a tile times some heads of one KV head, and where their cells
/// are.
struct AttentionUnit {
  const AttendArguments* a = nullptr;
  std::int64_t first_row = 0, rows = 0;
  std::int64_t first_head = 0, heads = 0;
  std::int64_t kv_head = 0;
  const std::int32_t* table = nullptr;  // pages of the sequence
  std::int64_t page_cells = 0;
  std::int64_t key_size = 0, value_size = 0, value_stride = 0;

  [[nodiscard]] std::int64_t count() const noexcept { return rows * heads; }
  /// Whether the cells from `first` on, a whole tile, are a coded page.
  [[nodiscard]] bool is_coded(std::int64_t first) const noexcept {
    return (table[first / page_cells] & kCodedPage) != 0;
  }
  [[nodiscard]] std::int64_t row(std::int64_t query) const noexcept {
    return first_row + query / heads;
  }
  [[nodiscard]] std::int64_t head(std::int64_t query) const noexcept {
    return first_head + query % heads;
  }
  /// From the first to the last query that sees any of the cells [first, first + kAttentionTile).
  [[nodiscard]] QueryRange seeing(std::int64_t first) const noexcept;
};

/// Caps and biases one query's raw scores of the cells first_cell .. first_cell + 63; those that it
/// does not see score minus infinity. False when it sees none of them; then the scores are left.
[[nodiscard]] bool adjust_scores(const AttendArguments& a, const KernelTable& kernels,
                                 std::int64_t row, std::int64_t head, std::int64_t first_cell,
                                 float* scores) noexcept;

/// The interface of both: begin(), attend() for tiles of one chunk in ascending order, end().
/// expect() names the tile that is read after the next call of attend(): that of `next`, from cell
/// `first` on; null where nothing is. Of PairTiles that read apart, weigh() and then add() take the
/// place of attend(), up to kTilesApart tiles of all heads in between.
class FloatTiles {
 public:
  /// Queries that share a tile at most.
  [[nodiscard]] static std::int64_t most_queries(std::int64_t key_size,
                                                 std::int64_t value_size) noexcept;

  /// Floats of memory that all units of a thread share: they need it within attend() only.
  [[nodiscard]] static std::int64_t shared_floats(const AttentionUnit& unit,
                                                  const CodedScheme* coded = nullptr) noexcept;

  FloatTiles() = default;
  /// `coded`: tiles may be coded pages, which are decoded.
  FloatTiles(const AttentionUnit& unit, const KernelTable& kernels, Workspace& own,
             Workspace shared, const CodedScheme* coded = nullptr) noexcept;
  void begin(const AttentionPartial& result) noexcept;
  void expect(const FloatTiles* /*next*/, std::int64_t /*first*/) noexcept {}
  /// Attention to those of the cells [first, first + 64) that are in [begin, end).
  void attend(std::int64_t first, std::int64_t begin, std::int64_t end,
              const AttentionPartial& result) noexcept;
  void end(const AttentionPartial& /*result*/) noexcept {}

  /// Sums are this times what they stand for; values divided by sums times output_scale() are the
  /// output.
  [[nodiscard]] float sum_scale() const noexcept { return 1; }
  [[nodiscard]] float output_scale() const noexcept { return 1; }

 private:
  struct Panels;
  Panels panels(std::int64_t first, std::int64_t begin, std::int64_t end) noexcept;
  void gather(std::int64_t first, std::int64_t low, std::int64_t high) noexcept;
  void turn(const Panels& panels, std::int64_t first, std::int64_t low, std::int64_t high) noexcept;
  Panels decoded(std::int32_t page) noexcept;

  const AttentionUnit* unit_ = nullptr;
  const KernelTable* kernels_ = nullptr;
  const CodedScheme* coded_ = nullptr;
  float* decoded_ = nullptr;  // sixteen cells
  float *queries_ = nullptr, *keys_ = nullptr, *values_ = nullptr, *scores_ = nullptr,
        *factors_ = nullptr;
};

/// Keys and values of 16 bits, which are rounded to bfloat16 with queries and weights, or of Q8_0,
/// whose bytes meet queries and weights of 16-bit integers. Values that are parts of keys in Q8_0
/// become bfloat16, too.
class PairTiles {
 public:
  /// Whether the kernels can, and the keys and values are kept as they need them.
  [[nodiscard]] static bool can_attend(const AttendArguments& a,
                                       const KernelTable& kernels) noexcept;
  [[nodiscard]] static std::int64_t most_queries(std::int64_t key_size,
                                                 std::int64_t value_size) noexcept;

  [[nodiscard]] static std::int64_t shared_floats(const AttentionUnit& unit) noexcept;

  PairTiles() = default;
  PairTiles(const AttentionUnit& unit, const KernelTable& kernels, Workspace& own,
            Workspace shared) noexcept;
  void begin(const AttentionPartial& result) noexcept;
  void expect(const PairTiles* next, std::int64_t first) noexcept;
  void attend(std::int64_t first, std::int64_t begin, std::int64_t end,
              const AttentionPartial& result) noexcept;
  void end(const AttentionPartial& result) noexcept;

  /// Few queries read keys and values of 16 bits where they are, as fast as memory gives them, and
  /// it gives most in long streams: the keys of all heads, then their values (docs/benchmarks.md).
  /// Software would only fetch fewer lines at a time than the hardware does by itself.
  [[nodiscard]] bool reads_apart() const noexcept { return apart_; }
  static constexpr std::int64_t kQueriesApart = 2, kTilesApart = 4;
  /// Floats of a unit's memory that this takes at most.
  static constexpr std::int64_t kApartFloats =
      kTilesApart * kQueriesApart * (kAttentionTile / 2 + 1) + 2 * kPanelRows;
  /// Weights of the tile's cells, kept in `slot` < kTilesApart for add().
  void weigh(std::int64_t slot, std::int64_t first, const AttentionPartial& result) noexcept;
  void add(std::int64_t slot, std::int64_t first, std::int64_t begin, std::int64_t end,
           const AttentionPartial& result) noexcept;

  [[nodiscard]] float sum_scale() const noexcept;
  [[nodiscard]] float output_scale() const noexcept;

 private:
  /// Where a tile's panels are: in the pool, converted or gathered.
  struct Panels {
    PairFormat key_format = PairFormat::kBF16, value_format = PairFormat::kBF16;
    const std::byte* keys = nullptr;
    const std::byte* values = nullptr;
  };
  /// A KV head's pages in a pool that keeps them in pairs; else `head` is null.
  struct Pages {
    const std::byte* head = nullptr;
    std::int64_t page_bytes = 0, tile_bytes = 0;
  };
  [[nodiscard]] Pages pages_of(const Tensor& pool, KvPart part, std::int64_t size) const noexcept;
  /// unit_->seeing(), at once where all queries see a cell of the tile.
  [[nodiscard]] QueryRange visible_queries(std::int64_t first) const noexcept;
  [[nodiscard]] Panels stored(std::int64_t first) const noexcept;
  [[nodiscard]] Panels panels(std::int64_t first, std::int64_t low, std::int64_t high) noexcept;
  void gather_keys(std::int64_t first, std::int64_t low, std::int64_t high) noexcept;
  void gather_values(std::int64_t first, std::int64_t low, std::int64_t high) noexcept;
  void mask_scores(std::int64_t first, QueryRange queries) noexcept;
  /// The kernels' arguments, but for what is fetched ahead.
  [[nodiscard]] ScoreTile score_tile(const Panels& tile, QueryRange seen) const noexcept;
  [[nodiscard]] WeighTile weigh_tile(QueryRange seen, std::int64_t slot,
                                     const AttentionPartial& result) const noexcept;
  [[nodiscard]] ValueTile value_tile(const Panels& tile, const WeighTile& weighed, QueryRange seen,
                                     const AttentionPartial& result) const noexcept;

  const AttentionUnit* unit_ = nullptr;
  const KernelTable* kernels_ = nullptr;
  PairFormat key_format_ = PairFormat::kBF16, value_format_ = PairFormat::kBF16;  // as stored
  bool integers_ = false;  // queries meet bytes
  bool convert_ = false;   // halves become bfloat16 first
  bool adjusted_ = false;  // scores are capped or biased
  bool apart_ = false;
  std::int64_t padded_key_size_ = 0;
  std::int64_t all_begin_ = 0, all_end_ = 0;  // the cells that all queries see
  Pages key_pages_, value_pages_;
  Panels ahead_;  // what expect() named
  std::uint16_t *queries_ = nullptr, *keys_ = nullptr, *values_ = nullptr, *weights_ = nullptr;
  float *scores_ = nullptr, *factors_ = nullptr, *sums_ = nullptr, *query_scales_ = nullptr;
};

}  // namespace hearth::compute::cpu
