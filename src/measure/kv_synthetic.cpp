#include "measure/kv_synthetic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <span>

#include "measure/kv_rounding.h"

namespace hearth::measure {

using quant::KvCode;
using quant::KvPart;

namespace {

using Vector = std::vector<float>;

/// Normal variates; std::normal_distribution is not the same everywhere, but here no number is
/// compared across machines.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : engine_(seed) {}
  float operator()() { return distribution_(engine_); }
  void fill(std::span<float> x) {
    for (float& value : x) value = (*this)();
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> distribution_;
};

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void scale_to(std::span<float> x, double length) {
  const double factor = length / std::sqrt(dot(x, x));
  for (float& value : x) value = static_cast<float>(value * factor);
}

/// Squared error of the Lloyd-Max code of whole bits on the sphere's marginal (kv-cache.md 3.1).
double lloyd_max_error(int bits, std::int64_t size) {
  constexpr double kGaussian[] = {1, 0.363380, 0.117482, 0.034548, 0.009501};
  constexpr double kSphere64[] = {1, 0.363380, 0.11453, 0.03342, 0.00915};
  constexpr double kSphere128[] = {1, 0.363380, 0.11602, 0.03397, 0.00935};
  if (size == 64) return kSphere64[bits];
  if (size == 128) return kSphere128[bits];
  return kGaussian[bits];
}

/// Half the coordinates may have a bit more.
double code_error(int half_bits, std::int64_t size) {
  return (lloyd_max_error(half_bits / 2, size) + lloyd_max_error((half_bits + 1) / 2, size)) / 2;
}

}  // namespace

KvDistortion kv_distortion(std::string_view format, std::int64_t size, std::int64_t samples,
                           std::uint64_t seed) {
  constexpr double kCosine = 0.5;
  const KvRounding rounding(format, KvPart::kValues, size);
  Normal normal(seed);
  const auto n = static_cast<std::size_t>(size);
  Vector u(n);
  Vector y(n);
  Vector coded(n);
  KvDistortion result;
  double sum = 0;
  double squares = 0;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    normal.fill(u);
    scale_to(u, 1);
    // y = cosine u + the rest orthogonal to it.
    normal.fill(y);
    const double along = dot(u, y);
    for (std::size_t i = 0; i < n; ++i) y[i] -= static_cast<float>(along * u[i]);
    scale_to(y, std::sqrt(1 - kCosine * kCosine));
    for (std::size_t i = 0; i < n; ++i) y[i] += static_cast<float>(kCosine * u[i]);

    rounding.round_vector(u, /*unbiased=*/false, coded);
    for (std::size_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(coded[i]) - u[i];
      result.mse += d * d;
    }
    rounding.round_vector(u, /*unbiased=*/true, coded);
    const double error = dot(coded, y) - dot(u, y);
    sum += error;
    squares += error * error;
  }
  const auto count = static_cast<double>(samples);
  result.mse /= count;
  result.bias = sum / count;
  result.variance = (squares / count - result.bias * result.bias) * static_cast<double>(size);
  const std::optional<KvCode> code = rounding.code();
  if (!code) return result;
  if (code->kind == KvCode::Kind::kLloydMax) {
    const double d = code_error(code->half_bits, size);
    result.mse_theory = d;
    result.variance_theory = d / (1 - d) * (1 - kCosine * kCosine);
  } else if (code->kind == KvCode::Kind::kResidual) {
    result.variance_theory = std::numbers::pi / 2 * code_error(code->half_bits - 2, size);
  }
  return result;
}

std::string_view name(KvCase which) noexcept {
  switch (which) {
    case KvCase::kGaussian:
      return "gaussian";
    case KvCase::kOutliers:
      return "outliers";
    case KvCase::kShared:
      return "shared";
  }
  return {};
}

namespace {

/// Keys, values and queries of one head.
struct Head {
  std::size_t size = 0, cells = 0;
  Vector keys, values;               // [cells][size]
  std::vector<Vector> queries;       // the first half looks around, the others for a needle
  std::vector<std::size_t> needles;  // cells, of the second half

  [[nodiscard]] std::span<const float> key(std::size_t cell) const {
    return std::span(keys).subspan(cell * size, size);
  }
};

/// How strongly scores differ: exp(2.5) is twelve times as likely.
constexpr double kScoreDeviation = 2.5;
/// A needle's score is so far above the expected highest of the others.
constexpr double kNeedleLead = 2;

Head make_head(KvCase which, const KvAttentionSize& given, std::uint64_t seed) {
  constexpr float kOutlier = 8;
  constexpr std::size_t kOutlierEvery = 16;
  constexpr double kSharedLength = 10;
  Normal normal(seed);
  Head head;
  head.size = static_cast<std::size_t>(given.size);
  head.cells = static_cast<std::size_t>(given.cells);
  head.keys.resize(head.cells * head.size);
  head.values.resize(head.cells * head.size);
  normal.fill(head.keys);
  normal.fill(head.values);
  double length = std::sqrt(static_cast<double>(head.size));
  Vector spread(head.size, 1.0F);
  if (which != KvCase::kGaussian) {
    for (std::size_t i = 5; i < head.size; i += kOutlierEvery) spread[i] = kOutlier;
    length = std::sqrt(dot(spread, spread));
  }
  Vector shared(head.size);
  if (which == KvCase::kShared) {
    normal.fill(shared);
    for (std::size_t i = 0; i < head.size; ++i) shared[i] *= spread[i];
    scale_to(shared, kSharedLength * length);
  }
  Vector deviations(head.size);
  const auto make_query = [&] {
    // Queries are small where keys are large, as trained models have them.
    Vector q(head.size);
    normal.fill(q);
    for (std::size_t i = 0; i < head.size; ++i) {
      q[i] /= spread[i];
      deviations[i] = q[i] * spread[i];
    }
    const double deviation = std::sqrt(dot(deviations, deviations));
    for (float& x : q) x = static_cast<float>(x * kScoreDeviation / deviation);
    return q;
  };
  for (std::size_t cell = 0; cell < head.cells; ++cell) {
    for (std::size_t i = 0; i < head.size; ++i) {
      float& key = head.keys[cell * head.size + i];
      key *= spread[i];
    }
  }
  const auto queries = static_cast<std::size_t>(given.queries);
  const double highest = kScoreDeviation * std::sqrt(2 * std::log(static_cast<double>(head.cells)));
  for (std::size_t i = 0; i < 2 * queries; ++i) {
    head.queries.push_back(make_query());
    if (i < queries) continue;
    // The needle differs from what its cell had only along the query.
    const Vector& q = head.queries.back();
    const std::size_t cell = (2 * (i - queries) + 1) * head.cells / (2 * queries);
    const double more = highest + kNeedleLead - dot(q, head.key(cell));
    Vector step(head.size);
    for (std::size_t j = 0; j < head.size; ++j) step[j] = q[j] * spread[j] * spread[j];
    const double per_step = dot(q, step);
    for (std::size_t j = 0; j < head.size; ++j) {
      head.keys[cell * head.size + j] += static_cast<float>(step[j] * more / per_step);
    }
    head.needles.push_back(cell);
  }
  for (std::size_t cell = 0; cell < head.cells; ++cell) {
    for (std::size_t i = 0; i < head.size; ++i) head.keys[cell * head.size + i] += shared[i];
  }
  return head;
}

/// Softmax weights of all cells, in double precision.
struct Weights {
  std::vector<double> logs;  // of the probabilities
  std::size_t best = 0;
};

Weights weigh(const Head& head, std::span<const float> keys, const Vector& q) {
  Weights weights;
  weights.logs.resize(head.cells);
  for (std::size_t cell = 0; cell < head.cells; ++cell) {
    weights.logs[cell] = dot(q, keys.subspan(cell * head.size, head.size));
  }
  const auto best = std::max_element(weights.logs.begin(), weights.logs.end());
  weights.best = static_cast<std::size_t>(best - weights.logs.begin());
  const double highest = *best;
  double sum = 0;
  for (double& x : weights.logs) sum += std::exp(x - highest);
  for (double& x : weights.logs) x -= highest + std::log(sum);
  return weights;
}

std::vector<double> mix(const Head& head, const Weights& weights, std::span<const float> values) {
  std::vector<double> out(head.size);
  for (std::size_t cell = 0; cell < head.cells; ++cell) {
    const double p = std::exp(weights.logs[cell]);
    for (std::size_t i = 0; i < head.size; ++i) out[i] += p * values[cell * head.size + i];
  }
  return out;
}

}  // namespace

KvAttention kv_attention(std::string_view format, KvCase which, const KvAttentionSize& size,
                         std::uint64_t seed) {
  const Head head = make_head(which, size, seed);
  Vector keys = head.keys;
  Vector values = head.values;
  KvRounding(format, KvPart::kKeys, size.size).round_pages(keys);
  KvRounding(format, KvPart::kValues, size.size).round_pages(values);
  KvAttention result;
  const auto queries = static_cast<std::size_t>(size.queries);
  for (std::size_t i = 0; i < head.queries.size(); ++i) {
    const Weights coded = weigh(head, keys, head.queries[i]);
    if (i >= queries) {
      result.needles += coded.best == head.needles[i - queries] ? 1 : 0;
      continue;
    }
    const Weights exact = weigh(head, head.keys, head.queries[i]);
    result.same_best += coded.best == exact.best ? 1 : 0;
    for (std::size_t cell = 0; cell < head.cells; ++cell) {
      result.divergence += std::exp(exact.logs[cell]) * (exact.logs[cell] - coded.logs[cell]);
    }
    const std::vector<double> a = mix(head, exact, head.values);
    const std::vector<double> b = mix(head, coded, values);
    double error = 0;
    double norm = 0;
    for (std::size_t j = 0; j < head.size; ++j) {
      error += (a[j] - b[j]) * (a[j] - b[j]);
      norm += a[j] * a[j];
    }
    result.output_error += error / norm;
  }
  for (double* sum :
       {&result.output_error, &result.divergence, &result.same_best, &result.needles}) {
    *sum /= static_cast<double>(queries);
  }
  return result;
}

}  // namespace hearth::measure
