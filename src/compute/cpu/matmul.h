// Matrix products with packed weights: quantizes the activations once, then lets the threads take
// panels.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "compute/cpu/panels.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// Below this many multiply-adds waking the team costs more than it saves.
inline constexpr std::int64_t kInlineWork = 1 << 16;
/// Converting this many values on one thread takes a few microseconds.
inline constexpr std::int64_t kInlineConvert = 1 << 14;

/// A weight of this backend: panels in its memory, or, when `memory` is empty, made from the file's
/// bytes at each use. Every matrix of a stack has panels of its own.
class CpuWeight final : public Weight {
 public:
  CpuWeight(const WeightSource& source, PanelFormat format)
      : Weight(source), format_(format), panel_bytes_(cpu::panel_bytes(format, source.columns)) {}

  /// Packs all panels now.
  void pack(WeightSlabs& slabs, ThreadTeam& team, const KernelTable& kernels);

  [[nodiscard]] PanelFormat format() const noexcept { return format_; }
  [[nodiscard]] std::size_t panel_bytes() const noexcept { return panel_bytes_; }
  [[nodiscard]] bool is_packed() const noexcept { return memory_.data() != nullptr; }
  /// Panels of one matrix.
  [[nodiscard]] std::int64_t panels() const noexcept {
    return (rows() + kPanelRows - 1) / kPanelRows;
  }
  /// Bytes of the panels of all matrices.
  [[nodiscard]] std::size_t packed_bytes() const noexcept {
    return static_cast<std::size_t>(panels() * matrices()) * panel_bytes_;
  }
  /// Rows of panel `panel` of a matrix: 16, or what is left of the matrix.
  [[nodiscard]] std::int64_t panel_rows(std::int64_t panel) const noexcept {
    return std::min(kPanelRows, rows() - panel * kPanelRows);
  }
  /// A panel of a matrix, made in `scratch` (panel_bytes()) when the weight is not packed.
  [[nodiscard]] const std::byte* panel(std::int64_t matrix, std::int64_t panel,
                                       const KernelTable& kernels,
                                       std::byte* scratch) const noexcept;

 private:
  void make_panel(std::int64_t matrix, std::int64_t panel, const KernelTable& kernels,
                  std::byte* to) const noexcept;

  PanelFormat format_;
  std::size_t panel_bytes_;
  WeightMemory memory_;
};

/// Panels that a kernel may take at once: there is always room for so many expanded ones.
inline constexpr std::int64_t kPairPanels = 2;

/// A row stride that keeps rows in different cache sets.
[[nodiscard]] std::int64_t padded_stride(std::int64_t bytes) noexcept;

/// Rows of activations in every format that weights want them in: `first` and `stride` in bytes,
/// stride 0 where nothing wants it.
struct ActivationRows {
  struct Part {
    std::byte* first = nullptr;
    std::int64_t stride = 0;
  };
  Part blocks32, blocks256, bfloats;
  Row256Parts parts256;

  /// Adds what `format` wants for rows of `columns` values.
  void want(RowFormat format, std::int64_t columns) noexcept;
  [[nodiscard]] std::int64_t bytes_per_row() const noexcept {
    return blocks32.stride + blocks256.stride + bfloats.stride;
  }
  /// Lays the parts out for `rows` rows from `space` on.
  void place(std::byte* space, std::int64_t rows) noexcept;
  void convert(const KernelTable& kernels, const float* x, std::int64_t columns,
               std::int64_t row) const noexcept;
  /// The part of a format other than kFloat.
  [[nodiscard]] const Part& part(RowFormat format) const noexcept;
};

/// Panels of one matrix of a weight, ready to be multiplied: as they are kept, or, for many rows,
/// expanded, so that their codes are read once and not once per tile.
class ReadyPanels {
 public:
  /// Whether so many rows are worth expanding panels of a format that can be: from memory it takes
  /// as long as seven to ten rows, and makes each of them faster, the more so the longer codes take
  /// to decode (measured with AVX-512 without AMX: docs/benchmarks.md).
  [[nodiscard]] static bool are_many(const KernelTable& kernels, const CpuWeight& weight,
                                     std::int64_t rows) noexcept;
  [[nodiscard]] static bool expands(const KernelTable& kernels, const CpuWeight& weight,
                                    std::int64_t rows) noexcept;

  /// `native`: room for a panel that must be made; `wide`: for `count` expanded panels.
  ReadyPanels(const KernelTable& kernels, const CpuWeight& weight, std::int64_t matrix,
              std::int64_t first, std::int64_t count, std::int64_t rows, std::byte* native,
              std::byte* wide) noexcept;
  /// How many of `left` panels of a weight to multiply at once with `rows` rows: 1 or 2.
  [[nodiscard]] static std::int64_t together(const KernelTable& kernels, const CpuWeight& weight,
                                             std::int64_t left, std::int64_t rows) noexcept;
  /// How many of `left` rows to multiply so many panels with at once. The last of them are shared
  /// evenly: a kernel for one row takes longer than a row among others.
  [[nodiscard]] static std::int64_t rows_at_once(std::int64_t panels, std::int64_t left) noexcept {
    if (panels == 2) return std::min<std::int64_t>(kPairColumns, left);
    if (left <= kDotColumns) return left;
    return std::min<std::int64_t>(kDotColumns, left / 2);
  }
  /// Multiplies `panels` (1 or 2) panels from first + index on with `dot.count` rows, as many as
  /// rows_at_once() says, into columns beside each other; the panels and the columns are filled in.
  void multiply(std::int64_t index, std::int64_t panels, DotArguments dot) const noexcept;
  /// Has `rows` rows that meet panel first + index fetch the one that follows it in memory, if any
  /// does (DotArguments::next, next_rows).
  void fetch_next(std::int64_t index, std::int64_t rows, DotArguments& dot) const noexcept;

 private:
  DotFunction multiply_ = nullptr;
  DotFunction multiply_two_ = nullptr;
  const std::byte* start_ = nullptr;
  const std::byte* last_ =
      nullptr;  // panel of the matrix, when all are in memory one after another
  std::size_t stride_ = 0;
  std::int64_t columns_ = 0;
};

class MatmulEngine {
 public:
  MatmulEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {}

  /// Grows the workspace for batches of `rows` rows of at most `columns` features, in the formats
  /// that the weights want. Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns);
  /// Grows the workspace for a weight: `packed`, or with panels made at each use. Throws Error.
  void reserve_weight(const CpuWeight& weight, bool packed);

  void run(const Tensor& x, std::span<const Projection> projections) noexcept;

  /// The workspace for converted rows and for panels made by thread `thread`, free between calls of
  /// run(): grouped products use it too.
  [[nodiscard]] std::span<std::byte> activations() const noexcept {
    return {activations_.data(), activations_.size()};
  }
  [[nodiscard]] std::byte* native_scratch(int thread) const noexcept {
    return scratch_.data() + static_cast<std::size_t>(thread) * (native_bytes_ + wide_bytes_);
  }
  [[nodiscard]] std::byte* wide_scratch(int thread) const noexcept {
    return native_scratch(thread) + native_bytes_;
  }

 private:
  struct Pass;
  struct Unit;
  void run_slab(const Tensor& x, std::span<const Projection> projections,
                std::int64_t first_row) noexcept;
  void multiply(const Pass& pass, const Unit& unit, int thread) const noexcept;
  /// How many expanded panels of a weight a thread has room for.
  [[nodiscard]] std::int64_t wide_panels(const CpuWeight& weight) const noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::array<bool, 5> wanted_ = {};  // by RowFormat
  std::size_t native_bytes_ = 0;
  std::size_t wide_bytes_ = 0;
  AccountedPages activations_;
  AccountedPages scratch_;  // per thread: a panel, expanded panels
};

}  // namespace hearth::compute::cpu
