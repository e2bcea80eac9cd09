// What the recurrent mixers of the CPU share: segments of rows, states in slots, workspaces.
#pragma once

#include <algorithm>
#include <cstdint>

#include "compute/backend.h"
#include "compute/cpu/access.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

/// Rows that the chunked forms take at once: with more, the products of rows with rows cost more
/// than what fewer passes over the state save.
inline constexpr std::int64_t kChunkRows = 32;
/// Shorter runs are cheaper row by row.
inline constexpr std::int64_t kLeastChunkRows = 12;

/// Floats that one thread works in.
struct RecurrentWorkspace {
  static constexpr std::int64_t kSide = spec::kMaxStateSize;
  alignas(64) float state[kSide * kSide];
  float turned_state[kSide * kSide];  // the other way round
  float queries[kChunkRows * kSide];
  float keys[kChunkRows * kSide];
  float turned_keys[kSide * kChunkRows];
  float values[kChunkRows * kSide];
  float outputs[kChunkRows * kSide];
  float decays[kChunkRows * kSide];
  /// Summed logarithms of one decay per row: their differences matter even where they are large.
  double sums[kChunkRows];
  float key_scores[kChunkRows * kChunkRows];
  float query_scores[kChunkRows * kChunkRows];
};

[[nodiscard]] constexpr std::int64_t rounded_up(std::int64_t size) noexcept {
  return (size + 15) / 16 * 16;
}

/// One segment of a batch.
struct Segment {
  Segment(const RecurrentRows& rows, std::int64_t index) noexcept
      : begin(int_at(rows.segment_begin, index)),
        end(int_at(rows.segment_begin, index + 1)),
        initial_slot(int_at(rows.segment_slot, index)),
        row_slots(&rows.row_slot) {}

  [[nodiscard]] std::int32_t slot_after(std::int64_t row) const noexcept {
    return int_at(*row_slots, row);
  }
  /// The end of the run of rows from `row` on in which only the last one's state may be wanted; at
  /// most `longest` rows.
  [[nodiscard]] std::int64_t run_end(std::int64_t row, std::int64_t longest) const noexcept {
    const std::int64_t limit = std::min(end, row + longest);
    while (row < limit) {
      if (slot_after(row++) >= 0) break;
    }
    return row;
  }

  std::int64_t begin, end;
  std::int32_t initial_slot;
  const Tensor* row_slots;
};

/// A matrix in memory.
struct StateView {
  float* data = nullptr;
  std::int64_t stride = 0;
};

/// The state of one head in the slots of state [slots, heads, rows, columns], and where it
/// currently is.
class HeadState {
 public:
  HeadState(const Tensor& state, std::int64_t head, float* workspace) noexcept
      : slots_(floats_of(state) + head * state.strides[1]),
        slot_stride_(state.strides[0]),
        row_stride_(state.strides[2]),
        rows_(state.shape[2]),
        columns_(state.shape[3]),
        own_{workspace, rounded_up(state.shape[3])} {}

  /// The state before the segment's first row.
  void begin(const Segment& segment) noexcept {
    if (segment.initial_slot >= 0) {
      current_ = in_slot(segment.initial_slot);
      return;
    }
    std::fill_n(own_.data, rows_ * own_.stride, 0.0F);
    current_ = own_;
  }
  [[nodiscard]] StateView current() const noexcept { return current_; }
  /// Where the state after a row is to be written; it is then the current one.
  [[nodiscard]] StateView next(std::int32_t slot) noexcept {
    current_ = slot >= 0 ? in_slot(slot) : own_;
    return current_;
  }
  [[nodiscard]] StateView in_slot(std::int32_t slot) const noexcept {
    return {slots_ + slot * slot_stride_, row_stride_};
  }
  /// Brings the current state into the workspace, whose rows are padded to sixteens.
  StateView own() noexcept {
    if (current_.data != own_.data) {
      copy(current_, own_);
      current_ = own_;
    }
    return own_;
  }
  /// Copies the state in the workspace to a slot.
  void save(std::int32_t slot) const noexcept { copy(own_, in_slot(slot)); }

 private:
  void copy(StateView from, StateView to) const noexcept {
    for (std::int64_t i = 0; i < rows_; ++i) {
      std::copy_n(from.data + i * from.stride, columns_, to.data + i * to.stride);
    }
  }

  float* slots_;
  std::int64_t slot_stride_, row_stride_, rows_, columns_;
  StateView own_, current_;
};

/// Row `row` of head `head` of x [T, heads, size].
[[nodiscard]] inline float* head_row(const Tensor& x, std::int64_t row,
                                     std::int64_t head) noexcept {
  return floats_of(x) + row * x.strides[0] + head * x.strides[1];
}
/// Element [row, column] of x [T, columns].
[[nodiscard]] inline float& element(const Tensor& x, std::int64_t row,
                                    std::int64_t column) noexcept {
  return floats_of(x)[row * x.strides[0] + column];
}

/// factors[s] = exp(sums[t] - sums[s]) for s <= t < kChunkRows.
inline void decays_since(const KernelTable& kernels, const double* sums, std::int64_t t,
                         float* factors) noexcept {
  for (std::int64_t s = 0; s <= t; ++s) factors[s] = static_cast<float>(sums[t] - sums[s]);
  kernels.activate(Activation::kExp, factors, factors, t + 1);
}

/// One head of one segment of delta_scan and of state_space_scan.
void run_delta_head(const KernelTable& kernels, const DeltaScanArguments& a, std::int64_t segment,
                    std::int64_t head, RecurrentWorkspace& work) noexcept;
void run_state_space_head(const KernelTable& kernels, const StateSpaceScanArguments& a,
                          std::int64_t segment, std::int64_t head,
                          RecurrentWorkspace& work) noexcept;

}  // namespace hearth::compute::cpu
