// The gated delta rule, row by row or in chunks (Yang et al. 2024, arXiv:2406.06484 and
// arXiv:2412.06464; blocks-recurrent.md section 2). With G_t the decays summed since the chunk
// began, S the state before it and rows t, s of the chunk:
//
//   A[t][s] = beta_t (k_t . k_s) exp(G_t - G_s)   s < t          P[t][s] = (q_t . k_s) exp(..)   s
//   <= t (I + A) N = R,  R_t = beta_t (v_t - exp(G_t) k_t S)          out_t = exp(G_t) q_t S + (P
//   N)_t S' = exp(G_end) S + sum_s exp(G_end - G_s) k_s N_s
//
// Decays are logarithms <= 0, so no exponential of a difference exceeds 1. With a decay per key
// channel the exponentials are inside the dot products: exp(G_t - G_s) is then split into factors
// of q_t and k_t and of k_s, and a chunk ends where the second could become too large.
#include <cmath>

#include "compute/cpu/recurrent_parts.h"

namespace hearth::compute::cpu {
namespace {

/// A chunk's summed decays of any channel stay above this, so that exp(-G) is far from overflow and
/// exp(G) far from underflow.
constexpr float kLowestDecay = -60;

class DeltaHead {
 public:
  DeltaHead(const KernelTable& kernels, const DeltaScanArguments& a, std::int64_t segment,
            std::int64_t head, RecurrentWorkspace& work) noexcept
      : kernels_(kernels),
        a_(a),
        segment_(a.rows, segment),
        head_(head),
        key_head_(a.tiled ? head % a.q.shape[1] : head / (a.v.shape[1] / a.q.shape[1])),
        keys_(a.q.shape[2]),
        values_(a.v.shape[2]),
        stride_(rounded_up(values_)),
        per_channel_(a.decay.rank == 3),
        work_(work),
        state_(a.state, head, work.state) {}

  void run() noexcept {
    state_.begin(segment_);
    for (std::int64_t t = segment_.begin; t < segment_.end;) {
      std::int64_t end = segment_.run_end(t, kChunkRows);
      if (end - t >= kLeastChunkRows && per_channel_) end = sum_channel_decays(t, end);
      if (end - t >= kLeastChunkRows) {
        chunk(t, end - t);
        const std::int32_t slot = segment_.slot_after(end - 1);
        if (slot >= 0) state_.save(slot);
      } else {
        end = std::max(end, t + 1);
        for (std::int64_t row = t; row < end; ++row) step(row);
      }
      t = end;
    }
  }

 private:
  [[nodiscard]] const float* query(std::int64_t row) const noexcept {
    return head_row(a_.q, row, key_head_);
  }
  [[nodiscard]] const float* key(std::int64_t row) const noexcept {
    return head_row(a_.k, row, key_head_);
  }
  [[nodiscard]] const float* value(std::int64_t row) const noexcept {
    return head_row(a_.v, row, head_);
  }

  void step(std::int64_t row) noexcept {
    float scalar = 0;
    const float* decay = &scalar;
    if (per_channel_) {
      kernels_.activate(Activation::kExp, head_row(a_.decay, row, head_), work_.decays, keys_);
      decay = work_.decays;
    } else {
      scalar = std::exp(element(a_.decay, row, head_));
    }
    const StateView from = state_.current();
    const StateView to = state_.next(segment_.slot_after(row));
    kernels_.delta_step({.from = from.data,
                         .from_stride = from.stride,
                         .to = to.data,
                         .to_stride = to.stride,
                         .keys = keys_,
                         .values = values_,
                         .q = query(row),
                         .k = key(row),
                         .v = value(row),
                         .decay = decay,
                         .decay_stride = per_channel_ ? 1 : 0,
                         .beta = element(a_.beta, row, head_),
                         .scale = a_.scale,
                         .out = head_row(a_.out, row, head_)});
  }

  /// Fills work_.decays [rows, keys] with summed decays; returns the end of the chunk, which may be
  /// `begin`.
  std::int64_t sum_channel_decays(std::int64_t begin, std::int64_t end) noexcept {
    for (std::int64_t row = begin; row < end; ++row) {
      float* const sums = work_.decays + (row - begin) * keys_;
      const float* const decay = head_row(a_.decay, row, head_);
      const float* const before = row > begin ? sums - keys_ : nullptr;
      float lowest = 0;
      for (std::int64_t i = 0; i < keys_; ++i) {
        sums[i] = decay[i] + (before == nullptr ? 0.0F : before[i]);
        lowest = std::min(lowest, sums[i]);
      }
      if (lowest < kLowestDecay) return row;
    }
    return end;
  }

  void chunk(std::int64_t begin, std::int64_t rows) noexcept {
    const StateView state = state_.own();
    if (per_channel_) {
      load_channel_decayed(begin, rows);
    } else {
      load_plain(begin, rows);
    }
    score(rows);
    // What the state before the chunk gives every row.
    small_product(rows, work_.keys, state.data, work_.values);
    small_product(rows, work_.queries, state.data, work_.outputs);
    correct_values(begin, rows);
    solve(rows);
    write_outputs(begin, rows);
    update_state(begin, rows, state);
  }

  /// Queries, keys and keys turned, as they are; decays summed.
  void load_plain(std::int64_t begin, std::int64_t rows) noexcept {
    double sum = 0;
    for (std::int64_t t = 0; t < rows; ++t) {
      sum += element(a_.decay, begin + t, head_);
      work_.sums[t] = sum;
      kernels_.scale(query(begin + t), a_.scale, work_.queries + t * keys_, keys_);
      std::copy_n(key(begin + t), keys_, work_.keys + t * keys_);
    }
    kernels_.transpose(work_.keys, keys_, rows, keys_, work_.turned_keys, kChunkRows);
  }

  /// Queries and keys times exp(G), keys turned times exp(-G).
  void load_channel_decayed(std::int64_t begin, std::int64_t rows) noexcept {
    kernels_.activate(Activation::kExp, work_.decays, work_.decays, rows * keys_);
    for (std::int64_t t = 0; t < rows; ++t) {
      const float* const k = key(begin + t);
      const float* const factors = work_.decays + t * keys_;
      for (std::int64_t i = 0; i < keys_; ++i) work_.keys[t * keys_ + i] = k[i] / factors[i];
    }
    kernels_.transpose(work_.keys, keys_, rows, keys_, work_.turned_keys, kChunkRows);
    for (std::int64_t t = 0; t < rows; ++t) {
      const float* const q = query(begin + t);
      const float* const k = key(begin + t);
      const float* const factors = work_.decays + t * keys_;
      for (std::int64_t i = 0; i < keys_; ++i) {
        work_.keys[t * keys_ + i] = k[i] * factors[i];
        work_.queries[t * keys_ + i] = a_.scale * q[i] * factors[i];
      }
    }
  }

  /// key_scores = -A, query_scores = P; zero above the diagonal (and on it, for -A).
  void score(std::int64_t rows) noexcept {
    for (std::int64_t first = 0; first < rows; first += 16) {
      const std::int64_t count = std::min<std::int64_t>(16, rows - first);
      for (const bool of_keys : {true, false}) {
        SmallProduct product;
        product.a = (of_keys ? work_.keys : work_.queries) + first * keys_;
        product.a_row_stride = keys_;
        product.b = work_.turned_keys;
        product.b_stride = kChunkRows;
        product.c = (of_keys ? work_.key_scores : work_.query_scores) + first * kChunkRows;
        product.c_stride = kChunkRows;
        product.rows = count;
        product.columns = first + 16;
        product.inner = keys_;
        kernels_.small_product(product);
      }
    }
    alignas(64) float factors[kChunkRows];
    for (std::int64_t t = 0; t < rows; ++t) {
      float* const of_keys = work_.key_scores + t * kChunkRows;
      float* const of_queries = work_.query_scores + t * kChunkRows;
      const std::int64_t width = t / 16 * 16 + 16;
      if (!per_channel_) {
        decays_since(kernels_, work_.sums, t, factors);
        for (std::int64_t s = 0; s <= t; ++s) {
          of_keys[s] *= factors[s];
          of_queries[s] *= factors[s];
        }
      }
      std::fill(of_keys + t, of_keys + width, 0.0F);
      std::fill(of_queries + t + 1, of_queries + width, 0.0F);
    }
  }

  /// c [rows, values] = a [rows, keys] state.
  void small_product(std::int64_t rows, const float* a, const float* state, float* c) noexcept {
    SmallProduct product;
    product.a = a;
    product.a_row_stride = keys_;
    product.b = state;
    product.b_stride = stride_;
    product.c = c;
    product.c_stride = stride_;
    product.rows = rows;
    product.columns = stride_;
    product.inner = keys_;
    kernels_.small_product(product);
  }

  [[nodiscard]] float row_decay(std::int64_t t) const noexcept {
    return per_channel_ ? 1.0F : static_cast<float>(std::exp(work_.sums[t]));
  }

  /// values = R; scores of keys get their -beta; outputs their decay.
  void correct_values(std::int64_t begin, std::int64_t rows) noexcept {
    for (std::int64_t t = 0; t < rows; ++t) {
      const float beta = element(a_.beta, begin + t, head_);
      const float decay = row_decay(t);
      float* const corrected = work_.values + t * stride_;
      kernels_.scale(corrected, -beta * decay, corrected, values_);
      kernels_.add(corrected, value(begin + t), beta, corrected, values_);
      if (!per_channel_) {
        kernels_.scale(work_.outputs + t * stride_, decay, work_.outputs + t * stride_, values_);
      }
      kernels_.scale(work_.key_scores + t * kChunkRows, -beta, work_.key_scores + t * kChunkRows,
                     t);
    }
  }

  /// values = N: forward substitution, by blocks of rows.
  void solve(std::int64_t rows) noexcept {
    constexpr std::int64_t kBlock = 8;
    for (std::int64_t first = 0; first < rows; first += kBlock) {
      const std::int64_t end = std::min(rows, first + kBlock);
      if (first > 0) accumulate(work_.key_scores, first, end, first, work_.values);
      for (std::int64_t t = first + 1; t < end; ++t) {
        for (std::int64_t s = first; s < t; ++s) {
          kernels_.add(work_.values + t * stride_, work_.values + s * stride_,
                       work_.key_scores[t * kChunkRows + s], work_.values + t * stride_, stride_);
        }
      }
    }
  }

  /// Rows [first, end) of `to` += the same rows of scores [.., inner] values.
  void accumulate(const float* scores, std::int64_t first, std::int64_t end, std::int64_t inner,
                  float* to) noexcept {
    SmallProduct product;
    product.a = scores + first * kChunkRows;
    product.a_row_stride = kChunkRows;
    product.b = work_.values;
    product.b_stride = stride_;
    product.c = to + first * stride_;
    product.c_stride = stride_;
    product.rows = end - first;
    product.columns = stride_;
    product.inner = inner;
    product.accumulate = true;
    kernels_.small_product(product);
  }

  void write_outputs(std::int64_t begin, std::int64_t rows) noexcept {
    for (std::int64_t first = 0; first < rows; first += 16) {
      const std::int64_t end = std::min<std::int64_t>(rows, first + 16);
      accumulate(work_.query_scores, first, end, end, work_.outputs);
    }
    for (std::int64_t t = 0; t < rows; ++t) {
      std::copy_n(work_.outputs + t * stride_, values_, head_row(a_.out, begin + t, head_));
    }
  }

  void update_state(std::int64_t begin, std::int64_t rows, StateView state) noexcept {
    const std::int64_t last = rows - 1;
    if (per_channel_) {
      const float* const final_decay = work_.decays + last * keys_;
      for (std::int64_t t = 0; t < rows; ++t) {
        const float* const k = key(begin + t);
        const float* const decay = work_.decays + t * keys_;
        for (std::int64_t i = 0; i < keys_; ++i) {
          work_.keys[t * keys_ + i] = k[i] * (final_decay[i] / decay[i]);
        }
      }
      for (std::int64_t i = 0; i < keys_; ++i) {
        kernels_.scale(state.data + i * stride_, final_decay[i], state.data + i * stride_, stride_);
      }
    } else {
      alignas(64) float factors[kChunkRows];
      decays_since(kernels_, work_.sums, last, factors);
      for (std::int64_t t = 0; t < last; ++t) {
        kernels_.scale(work_.values + t * stride_, factors[t], work_.values + t * stride_, stride_);
      }
      kernels_.scale(state.data, static_cast<float>(std::exp(work_.sums[last])), state.data,
                     keys_ * stride_);
    }
    SmallProduct product;
    product.a = work_.keys;
    product.a_row_stride = 1;
    product.a_column_stride = keys_;
    product.b = work_.values;
    product.b_stride = stride_;
    product.c = state.data;
    product.c_stride = stride_;
    product.rows = keys_;
    product.columns = stride_;
    product.inner = rows;
    product.accumulate = true;
    kernels_.small_product(product);
  }

  const KernelTable& kernels_;
  const DeltaScanArguments& a_;
  Segment segment_;
  std::int64_t head_, key_head_, keys_, values_, stride_;
  bool per_channel_;
  RecurrentWorkspace& work_;
  HeadState state_;
};

}  // namespace

void run_delta_head(const KernelTable& kernels, const DeltaScanArguments& a, std::int64_t segment,
                    std::int64_t head, RecurrentWorkspace& work) noexcept {
  DeltaHead(kernels, a, segment, head, work).run();
}

}  // namespace hearth::compute::cpu
