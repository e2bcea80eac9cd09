#include "compute/cpu/elementwise.h"

#include <cmath>

#include "compute/cpu/access.h"
#include "compute/cpu/row_loop.h"

namespace hearth::compute::cpu {

void ElementwiseEngine::multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept {
  const Rows from(a);
  const Rows to(out);
  const std::int64_t heads = a.rank == 3 ? a.shape[1] : 1;
  const bool one_row = b.shape[0] == 1;
  if (b.rank < a.rank) {
    for_rows(team_, from.count(), from.size(), [&](std::int64_t row) {
      const float* factor = floats_of(b) + (one_row ? 0 : row / heads * b.strides[0]);
      if (b.rank == 2) factor += row % heads * b.strides[1];
      kernels_.scale(from[row], *factor, to[row], from.size());
    });
    return;
  }
  const Rows factors(b);
  const std::int64_t period = one_row ? heads : from.count();
  for_rows(team_, from.count(), from.size(), [&](std::int64_t row) {
    kernels_.multiply(from[row], factors[row % period], to[row], from.size());
  });
}

void ElementwiseEngine::mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
                            const Tensor& out) noexcept {
  const std::int64_t terms = x.shape[1];
  const std::int64_t outs = out.shape[1];
  const std::int64_t size = out.shape[2];
  // The columns are cut, so that a single row with many terms keeps all threads busy and a sum
  // stays in the first-level cache.
  constexpr std::int64_t kPiece = 2048;
  const std::int64_t pieces = (size + kPiece - 1) / kPiece;
  const std::int64_t cost = std::min(size, kPiece) * (terms + 1);
  for_rows(team_, out.shape[0] * outs * pieces, cost, [&](std::int64_t unit) {
    const std::int64_t first = unit % pieces * kPiece;
    const std::int64_t count = std::min(kPiece, size - first);
    const std::int64_t t = unit / pieces / outs;
    const std::int64_t o = unit / pieces % outs;
    const float* const factors =
        floats_of(coefficients) + t * coefficients.strides[0] + o * coefficients.strides[1];
    const float* const from = floats_of(x) + t * x.strides[0] + first;
    float* const to = floats_of(out) + t * out.strides[0] + o * out.strides[1] + first;
    std::int64_t i = 0;
    if (!accumulate) {
      kernels_.scale(from, factors[0], to, count);
      i = 1;
    }
    for (; i < terms; ++i) kernels_.add(to, from + i * x.strides[1], factors[i], to, count);
  });
}

void ElementwiseEngine::match_norm(const Tensor& x, const Tensor& like) noexcept {
  const Rows rows(x);
  const std::int64_t parts = x.rank == 3 ? x.shape[1] : 1;
  for_rows(team_, rows.count(), 3 * rows.size(), [&](std::int64_t row) {
    const float own = kernels_.sum_squares(rows[row], rows.size());
    const float wanted =
        kernels_.sum_squares(floats_of(like) + row / parts * like.strides[0], rows.size());
    const float factor = own > 0 ? std::sqrt(wanted) / std::sqrt(own) : 0.0F;
    kernels_.scale(rows[row], factor, rows[row], rows.size());
  });
}

void ElementwiseEngine::keep_largest(const Tensor& x, float multiplier) noexcept {
  const Rows rows(x);
  for_rows(team_, rows.count(), 3 * rows.size(),
           [&](std::int64_t row) { kernels_.keep_largest(rows[row], multiplier, rows.size()); });
}

namespace {

/// The normalisation of one row's matrix C[source][destination], kept transposed where it goes.
class StreamMatrix {
 public:
  StreamMatrix(float* mix, std::int64_t row_stride, std::int64_t size) noexcept
      : mix_(mix), row_stride_(row_stride), size_(size) {}

  [[nodiscard]] float& at(std::int64_t source, std::int64_t destination) const noexcept {
    return mix_[destination * row_stride_ + source];
  }
  void softmax_rows(float epsilon) const noexcept {
    for (std::int64_t s = 0; s < size_; ++s) {
      float largest = at(s, 0);
      for (std::int64_t d = 1; d < size_; ++d) largest = std::max(largest, at(s, d));
      float sum = 0;
      for (std::int64_t d = 0; d < size_; ++d) sum += at(s, d) = std::exp(at(s, d) - largest);
      for (std::int64_t d = 0; d < size_; ++d) at(s, d) = at(s, d) / sum + epsilon;
    }
  }
  void divide_columns(float epsilon) const noexcept {
    for (std::int64_t d = 0; d < size_; ++d) {
      float sum = epsilon;
      for (std::int64_t s = 0; s < size_; ++s) sum += at(s, d);
      for (std::int64_t s = 0; s < size_; ++s) at(s, d) /= sum;
    }
  }
  void divide_rows(float epsilon) const noexcept {
    for (std::int64_t s = 0; s < size_; ++s) {
      float sum = epsilon;
      for (std::int64_t d = 0; d < size_; ++d) sum += at(s, d);
      for (std::int64_t d = 0; d < size_; ++d) at(s, d) /= sum;
    }
  }

 private:
  float* mix_;
  std::int64_t row_stride_;
  std::int64_t size_;
};

float sigmoid(float z) noexcept { return 1.0F / (1.0F + std::exp(-z)); }

}  // namespace

void ElementwiseEngine::hyper_weights(const HyperWeightsArguments& a) noexcept {
  const std::int64_t m = a.before.shape[2];
  const float* const base = floats_of(a.base);
  const float* const scale = floats_of(a.scale);
  for_rows(team_, a.z.shape[0], 4 * m * m * std::max(1, a.iterations), [&](std::int64_t t) {
    const float* const z = floats_of(a.z) + t * a.z.strides[0];
    const auto logit = [&](std::int64_t i, int which) { return z[i] * scale[which] + base[i]; };
    float* const before = floats_of(a.before) + t * a.before.strides[0];
    for (std::int64_t j = 0; j < m; ++j) before[j] = sigmoid(logit(j, 0)) + a.epsilon;
    if (!a.mix) return;
    float* const after = floats_of(a.after) + t * a.after.strides[0];
    const StreamMatrix c(floats_of(a.mix) + t * a.mix.strides[0], a.mix.strides[1], m);
    for (std::int64_t j = 0; j < m; ++j) {
      after[j * a.after.strides[1]] = 2.0F * sigmoid(logit(m + j, 1));
      for (std::int64_t d = 0; d < m; ++d) c.at(j, d) = logit(2 * m + d + m * j, 2);
    }
    c.softmax_rows(a.epsilon);
    c.divide_columns(a.epsilon);
    for (std::int32_t i = 1; i < a.iterations; ++i) {
      c.divide_rows(a.epsilon);
      c.divide_columns(a.epsilon);
    }
  });
}

}  // namespace hearth::compute::cpu
