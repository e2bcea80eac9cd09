// Matrix products with packed weights: quantizes the activations once, then lets the threads take
// panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "compute/cpu/panels.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// A weight of this backend: panels in its memory, or, when `memory` is empty, made from the file's
/// bytes at each use. Every matrix of a stack has panels of its own.
class CpuWeight final : public Weight {
 public:
  CpuWeight(const WeightSource& source, PanelFormat format)
      : Weight(source), format_(format), panel_bytes_(cpu::panel_bytes(format, source.columns)) {}

  /// Packs all panels now.
  void pack(WeightSlabs& slabs, ThreadTeam& team, bool biased);

  [[nodiscard]] PanelFormat format() const noexcept { return format_; }
  [[nodiscard]] std::size_t panel_bytes() const noexcept { return panel_bytes_; }
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
  [[nodiscard]] const std::byte* panel(std::int64_t matrix, std::int64_t panel, bool biased,
                                       std::byte* scratch) const noexcept;

 private:
  void make_panel(std::int64_t matrix, std::int64_t panel, bool biased,
                  std::byte* to) const noexcept;

  PanelFormat format_;
  std::size_t panel_bytes_;
  WeightMemory memory_;
};

/// A row stride that keeps rows in different cache sets.
[[nodiscard]] std::int64_t padded_stride(std::int64_t bytes) noexcept;

class MatmulEngine {
 public:
  MatmulEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger)
      : team_(team), kernels_(kernels), ledger_(std::move(ledger)) {}

  /// Grows the workspace for batches of `rows` rows of at most `columns` features, and for making
  /// panels of at most `panel_bytes` on the fly. Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns, std::size_t panel_bytes);

  void run(const Tensor& x, std::span<const Projection> projections) noexcept;

  /// The workspace for quantized rows and for a panel made by thread `thread`, free between calls
  /// of run(): grouped products use it too.
  [[nodiscard]] std::span<std::byte> activations() const noexcept {
    return {activations_.data(), activations_.size()};
  }
  [[nodiscard]] std::byte* scratch(int thread) const noexcept {
    return scratch_.data() + static_cast<std::size_t>(thread) * scratch_bytes_;
  }

 private:
  struct Pass;
  void run_slab(const Tensor& x, std::span<const Projection> projections,
                std::int64_t first_row) noexcept;
  void quantize(const Pass& pass, std::int64_t begin, std::int64_t end) const noexcept;
  void multiply_panel(const Pass& pass, const Projection& projection, std::int64_t panel,
                      std::int64_t begin, std::int64_t end, int thread) const noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t stride32_ = 0;
  std::int64_t stride256_ = 0;
  std::size_t scratch_bytes_ = 0;
  AccountedPages activations_;  // rows_ rows of blocks of 32, then rows_ rows of blocks of 256
  AccountedPages scratch_;      // one panel per thread
};

}  // namespace hearth::compute::cpu
