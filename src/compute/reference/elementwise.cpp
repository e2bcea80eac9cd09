#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {

void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept {
  const bool one_row = b.shape[0] == 1;
  const bool factors = b.rank < a.rank;
  for_each(a, [&](auto i, auto j, auto k) {
    const std::int64_t row = one_row ? 0 : i;
    const float factor = !factors ? at(b, row, j, k) : b.rank == 2 ? at(b, row, j) : at(b, row);
    at(out, i, j, k) = at(a, i, j, k) * factor;
  });
}

void mix(const Tensor& coefficients, const Tensor& x, bool accumulate, const Tensor& out) noexcept {
  for_each(out, [&](auto t, auto o, auto d) {
    double sum = accumulate ? at(out, t, o, d) : 0.0;
    for (std::int64_t i = 0; i < x.shape[1]; ++i) {
      sum += static_cast<double>(at(coefficients, t, o, i)) * at(x, t, i, d);
    }
    at(out, t, o, d) = static_cast<float>(sum);
  });
}

namespace {

double length(const Run& row, std::int64_t size) noexcept {
  double squares = 0;
  for (std::int64_t i = 0; i < size; ++i) squares += static_cast<double>(row[i]) * row[i];
  return std::sqrt(squares);
}

}  // namespace

void match_norm(const Tensor& x, const Tensor& like) noexcept {
  const bool parts = x.rank == 3;
  const std::int64_t size = like.shape[1];
  for (std::int64_t t = 0; t < x.shape[0]; ++t) {
    const double wanted = length({&like, t, 0}, size);
    for (std::int64_t h = 0; h < (parts ? x.shape[1] : 1); ++h) {
      const Run row{&x, t, h};
      const double own = length(row, size);
      const double factor = own > 0 ? wanted / own : 0.0;
      for (std::int64_t i = 0; i < size; ++i) row[i] = static_cast<float>(row[i] * factor);
    }
  }
}

void keep_largest(const Tensor& x, float multiplier) noexcept {
  const std::int64_t size = x.shape[1];
  for (std::int64_t t = 0; t < x.shape[0]; ++t) {
    double mean = 0;
    for (std::int64_t i = 0; i < size; ++i) mean += at(x, t, i);
    mean /= static_cast<double>(size);
    double squares = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      squares += (at(x, t, i) - mean) * (at(x, t, i) - mean);
    }
    const auto divisor = static_cast<double>(std::max<std::int64_t>(1, size - 1));
    const double cutoff = mean + multiplier * std::sqrt(squares / divisor);
    for (std::int64_t i = 0; i < size; ++i) {
      at(x, t, i) = static_cast<float>(std::max(0.0, at(x, t, i) - cutoff));
    }
  }
}

namespace {

/// C[source][destination] of one row, before and after its normalisation.
class StreamMatrix {
 public:
  explicit StreamMatrix(std::int64_t size)
      : size_(size), c_(static_cast<std::size_t>(size * size)) {}
  double& at(std::int64_t source, std::int64_t destination) noexcept {
    return c_[static_cast<std::size_t>(source * size_ + destination)];
  }
  void softmax_rows(double epsilon) noexcept {
    for (std::int64_t s = 0; s < size_; ++s) {
      double largest = at(s, 0);
      for (std::int64_t d = 1; d < size_; ++d) largest = std::max(largest, at(s, d));
      double sum = 0;
      for (std::int64_t d = 0; d < size_; ++d) sum += at(s, d) = std::exp(at(s, d) - largest);
      for (std::int64_t d = 0; d < size_; ++d) at(s, d) = at(s, d) / sum + epsilon;
    }
  }
  void divide_columns(double epsilon) noexcept {
    for (std::int64_t d = 0; d < size_; ++d) {
      double sum = epsilon;
      for (std::int64_t s = 0; s < size_; ++s) sum += at(s, d);
      for (std::int64_t s = 0; s < size_; ++s) at(s, d) /= sum;
    }
  }
  void divide_rows(double epsilon) noexcept {
    for (std::int64_t s = 0; s < size_; ++s) {
      double sum = epsilon;
      for (std::int64_t d = 0; d < size_; ++d) sum += at(s, d);
      for (std::int64_t d = 0; d < size_; ++d) at(s, d) /= sum;
    }
  }

 private:
  std::int64_t size_;
  std::vector<double> c_;
};

}  // namespace

void hyper_weights(const HyperWeightsArguments& a) noexcept {
  const std::int64_t m = a.before.shape[2];
  const double epsilon = a.epsilon;
  for (std::int64_t t = 0; t < a.z.shape[0]; ++t) {
    const auto z = [&](std::int64_t i, std::int64_t scale) {
      return static_cast<double>(at(a.z, t, i)) * at(a.scale, scale) + at(a.base, i);
    };
    for (std::int64_t j = 0; j < m; ++j) {
      at(a.before, t, 0, j) = static_cast<float>(sigmoid(z(j, 0)) + epsilon);
    }
    if (!a.mix) continue;
    StreamMatrix c(m);
    for (std::int64_t j = 0; j < m; ++j) {
      at(a.after, t, j, 0) = static_cast<float>(2.0 * sigmoid(z(m + j, 1)));
      for (std::int64_t d = 0; d < m; ++d) c.at(j, d) = z(2 * m + d + m * j, 2);
    }
    c.softmax_rows(epsilon);
    c.divide_columns(epsilon);
    for (std::int32_t i = 1; i < a.iterations; ++i) {
      c.divide_rows(epsilon);
      c.divide_columns(epsilon);
    }
    for (std::int64_t d = 0; d < m; ++d) {
      for (std::int64_t s = 0; s < m; ++s) at(a.mix, t, d, s) = static_cast<float>(c.at(s, d));
    }
  }
}

}  // namespace hearth::compute::reference
