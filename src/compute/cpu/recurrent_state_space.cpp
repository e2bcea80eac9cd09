// Mamba-2, row by row or in chunks (the matrix form of Dao & Gu 2024, arXiv:2405.21060). With G_t
// the logarithms dt a summed since the chunk began and S the state before it:
//
//   out_t = exp(G_t) S c_t + sum_{s <= t} (c_t . b_s) exp(G_t - G_s) dt_s x_s + d x_t
//   S' = exp(G_end) S + sum_s exp(G_end - G_s) dt_s x_s b_s^T
//
// In chunks the state is kept turned, [size, rows of x], so that both are products with rows of x.
#include <cmath>

#include "compute/cpu/recurrent_parts.h"

namespace hearth::compute::cpu {
namespace {

class StateSpaceHead {
 public:
  StateSpaceHead(const KernelTable& kernels, const StateSpaceScanArguments& a, std::int64_t segment,
                 std::int64_t head, RecurrentWorkspace& work) noexcept
      : kernels_(kernels),
        a_(a),
        segment_(a.rows, segment),
        head_(head),
        group_(head / (a.x.shape[1] / a.b.shape[1])),
        width_(a.x.shape[2]),
        size_(a.b.shape[2]),
        stride_(rounded_up(width_)),
        log_factor_(floats_of(a.a)[head]),
        skip_(floats_of(a.d)[head]),
        work_(work),
        state_(a.state, head, work.state) {}

  void run() noexcept {
    state_.begin(segment_);
    for (std::int64_t t = segment_.begin; t < segment_.end;) {
      const std::int64_t end = segment_.run_end(t, kChunkRows);
      if (end - t >= kLeastChunkRows) {
        turn();
        chunk(t, end - t);
        const std::int32_t slot = segment_.slot_after(end - 1);
        if (slot >= 0) turn_back(state_.in_slot(slot));
      } else {
        if (turned_) turn_back(state_.next(-1));
        turned_ = false;
        for (std::int64_t row = t; row < end; ++row) step(row);
      }
      t = end;
    }
  }

 private:
  void step(std::int64_t row) noexcept {
    const float dt = element(a_.dt, row, head_);
    const StateView from = state_.current();
    const StateView to = state_.next(segment_.slot_after(row));
    kernels_.state_space_step({.from = from.data,
                               .from_stride = from.stride,
                               .to = to.data,
                               .to_stride = to.stride,
                               .rows = width_,
                               .size = size_,
                               .x = head_row(a_.x, row, head_),
                               .b = head_row(a_.b, row, group_),
                               .c = head_row(a_.c, row, group_),
                               .dt = dt,
                               .decay = std::exp(dt * log_factor_),
                               .d = skip_,
                               .out = head_row(a_.out, row, head_)});
  }

  /// Brings the state into work_.turned_state.
  void turn() noexcept {
    if (turned_) return;
    const StateView from = state_.current();
    kernels_.transpose(from.data, from.stride, width_, size_, work_.turned_state, stride_);
    turned_ = true;
  }
  void turn_back(StateView to) const noexcept {
    kernels_.transpose(work_.turned_state, stride_, size_, width_, to.data, to.stride);
  }

  void chunk(std::int64_t begin, std::int64_t rows) noexcept {
    load(begin, rows);
    score(begin, rows);
    from_state(begin, rows);
    write_outputs(begin, rows);
    update_state(begin, rows);
  }

  /// values = dt x, turned_keys = b turned, sums = G.
  void load(std::int64_t begin, std::int64_t rows) noexcept {
    double sum = 0;
    for (std::int64_t t = 0; t < rows; ++t) {
      const float dt = element(a_.dt, begin + t, head_);
      sum += static_cast<double>(dt) * log_factor_;
      work_.sums[t] = sum;
      kernels_.scale(head_row(a_.x, begin + t, head_), dt, work_.values + t * stride_, width_);
    }
    kernels_.transpose(head_row(a_.b, begin, group_), a_.b.strides[0], rows, size_,
                       work_.turned_keys, kChunkRows);
  }

  /// query_scores[t][s] = (c_t . b_s) exp(G_t - G_s) for s <= t, else 0.
  void score(std::int64_t begin, std::int64_t rows) noexcept {
    for (std::int64_t first = 0; first < rows; first += 16) {
      SmallProduct product;
      product.a = head_row(a_.c, begin + first, group_);
      product.a_row_stride = a_.c.strides[0];
      product.b = work_.turned_keys;
      product.b_stride = kChunkRows;
      product.c = work_.query_scores + first * kChunkRows;
      product.c_stride = kChunkRows;
      product.rows = std::min<std::int64_t>(16, rows - first);
      product.columns = first + 16;
      product.inner = size_;
      kernels_.small_product(product);
    }
    alignas(64) float factors[kChunkRows];
    for (std::int64_t t = 0; t < rows; ++t) {
      float* const scores = work_.query_scores + t * kChunkRows;
      decays_since(kernels_, work_.sums, t, factors);
      for (std::int64_t s = 0; s <= t; ++s) scores[s] *= factors[s];
      std::fill(scores + t + 1, scores + t / 16 * 16 + 16, 0.0F);
    }
  }

  /// outputs_t = exp(G_t) S c_t.
  void from_state(std::int64_t begin, std::int64_t rows) noexcept {
    SmallProduct product;
    product.a = head_row(a_.c, begin, group_);
    product.a_row_stride = a_.c.strides[0];
    product.b = work_.turned_state;
    product.b_stride = stride_;
    product.c = work_.outputs;
    product.c_stride = stride_;
    product.rows = rows;
    product.columns = stride_;
    product.inner = size_;
    kernels_.small_product(product);
    for (std::int64_t t = 0; t < rows; ++t) {
      float* const out = work_.outputs + t * stride_;
      kernels_.scale(out, static_cast<float>(std::exp(work_.sums[t])), out, stride_);
    }
  }

  void write_outputs(std::int64_t begin, std::int64_t rows) noexcept {
    for (std::int64_t first = 0; first < rows; first += 16) {
      const std::int64_t end = std::min<std::int64_t>(rows, first + 16);
      SmallProduct product;
      product.a = work_.query_scores + first * kChunkRows;
      product.a_row_stride = kChunkRows;
      product.b = work_.values;
      product.b_stride = stride_;
      product.c = work_.outputs + first * stride_;
      product.c_stride = stride_;
      product.rows = end - first;
      product.columns = stride_;
      product.inner = end;
      product.accumulate = true;
      kernels_.small_product(product);
    }
    for (std::int64_t t = 0; t < rows; ++t) {
      kernels_.add(work_.outputs + t * stride_, head_row(a_.x, begin + t, head_), skip_,
                   head_row(a_.out, begin + t, head_), width_);
    }
  }

  void update_state(std::int64_t begin, std::int64_t rows) noexcept {
    alignas(64) float factors[kChunkRows];
    decays_since(kernels_, work_.sums, rows - 1, factors);
    for (std::int64_t t = 0; t + 1 < rows; ++t) {
      kernels_.scale(work_.values + t * stride_, factors[t], work_.values + t * stride_, stride_);
    }
    const auto total = static_cast<float>(std::exp(work_.sums[rows - 1]));
    kernels_.scale(work_.turned_state, total, work_.turned_state, size_ * stride_);
    SmallProduct product;
    product.a = head_row(a_.b, begin, group_);
    product.a_row_stride = 1;
    product.a_column_stride = a_.b.strides[0];
    product.b = work_.values;
    product.b_stride = stride_;
    product.c = work_.turned_state;
    product.c_stride = stride_;
    product.rows = size_;
    product.columns = stride_;
    product.inner = rows;
    product.accumulate = true;
    kernels_.small_product(product);
  }

  const KernelTable& kernels_;
  const StateSpaceScanArguments& a_;
  Segment segment_;
  std::int64_t head_, group_, width_, size_, stride_;
  float log_factor_, skip_;
  bool turned_ = false;
  RecurrentWorkspace& work_;
  HeadState state_;
};

}  // namespace

void run_state_space_head(const KernelTable& kernels, const StateSpaceScanArguments& a,
                          std::int64_t segment, std::int64_t head,
                          RecurrentWorkspace& work) noexcept {
  StateSpaceHead(kernels, a, segment, head, work).run();
}

}  // namespace hearth::compute::cpu
