#include <limits>

#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {
namespace {

using Scores = std::vector<double>;

/// The first `count` of the indices [begin, end), by descending score; equal scores in order.
std::vector<std::int64_t> best_of(const Scores& scores, std::int64_t begin, std::int64_t end,
                                  std::int64_t count) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = begin; i < end; ++i) indices.push_back(i);
  std::stable_sort(indices.begin(), indices.end(), [&](std::int64_t a, std::int64_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  indices.resize(static_cast<std::size_t>(std::min(count, end - begin)));
  return indices;
}

void softmax(Scores& values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - largest);
  for (double& value : values) value /= sum;
}

/// Step 2 of blocks.md section 5.
Scores gate(spec::RouterGate kind, Scores logits) {
  switch (kind) {
    case spec::RouterGate::kSoftmax:
      softmax(logits);
      break;
    case spec::RouterGate::kSigmoid:
      for (double& z : logits) z = sigmoid(z);
      break;
    case spec::RouterGate::kSoftmaxSelected:
      break;
    case spec::RouterGate::kSqrtSoftplus:
      for (double& z : logits) z = std::sqrt(apply(Activation::kSoftplus, z));
      break;
  }
  return logits;
}

/// Step 4: experts outside of the best groups are out.
void limit_groups(const Routing& routing, Scores& scores) {
  const auto experts = static_cast<std::int64_t>(scores.size());
  const std::int64_t size = experts / routing.groups;
  Scores groups;
  for (std::int64_t g = 0; g < routing.groups; ++g) {
    double score = 0;
    for (const std::int64_t i : best_of(scores, g * size, (g + 1) * size, 2)) {
      score += scores[static_cast<std::size_t>(i)];
    }
    groups.push_back(score);
  }
  const std::vector<std::int64_t> kept = best_of(groups, 0, routing.groups, routing.groups_used);
  for (std::int64_t i = 0; i < experts; ++i) {
    if (std::find(kept.begin(), kept.end(), i / size) == kept.end()) {
      scores[static_cast<std::size_t>(i)] = -std::numeric_limits<double>::infinity();
    }
  }
}

void route_row(const RouteArguments& a, std::int64_t t) {
  const std::int64_t experts = a.logits.shape[1];
  const std::int64_t used = a.ids.shape[1];
  Scores logits;
  for (std::int64_t e = 0; e < experts; ++e) logits.push_back(at(a.logits, t, e));
  const Scores probabilities = gate(a.routing.gate, logits);
  std::vector<std::int64_t> ids;
  if (a.selected) {
    for (std::int64_t j = 0; j < used; ++j) {
      ids.push_back(std::clamp<std::int64_t>(int_at(a.selected, t, j) / a.divisor, 0, experts - 1));
    }
  } else {
    Scores scores = probabilities;
    for (std::int64_t e = 0; e < experts && a.selection_bias; ++e) {
      scores[static_cast<std::size_t>(e)] += at(a.selection_bias, e);
    }
    if (a.routing.groups > 1) limit_groups(a.routing, scores);
    ids = best_of(scores, 0, experts, used);
  }
  Scores weights;
  for (const std::int64_t id : ids) weights.push_back(probabilities[static_cast<std::size_t>(id)]);
  if (a.routing.gate == spec::RouterGate::kSoftmaxSelected) softmax(weights);
  double divisor = 1;
  if (a.routing.normalise) {
    double sum = 0;
    for (const double weight : weights) sum += weight;
    divisor = std::max(sum, 0x1p-14);
  }
  for (std::int64_t j = 0; j < used; ++j) {
    const auto index = static_cast<std::size_t>(j);
    at(a.weights, t, j) = static_cast<float>(weights[index] / divisor * a.routing.scale);
    *reinterpret_cast<std::int32_t*>(address(a.ids, t, j, 0, 0)) =
        static_cast<std::int32_t>(ids[index]);
  }
}

}  // namespace

void route(const RouteArguments& a) noexcept {
  for (std::int64_t t = 0; t < a.logits.shape[0]; ++t) route_row(a, t);
}

void grouped_matmul(const Tensor& x, const Tensor& ids,
                    std::span<const GroupedProjection> projections) noexcept {
  for (const GroupedProjection& p : projections) {
    const auto& weight = static_cast<const ReferenceWeight&>(*p.weight);
    std::vector<float> row(static_cast<std::size_t>(weight.columns()));
    for (std::int64_t t = 0; t < ids.shape[0]; ++t) {
      for (std::int64_t j = 0; j < ids.shape[1]; ++j) {
        const std::int64_t matrix = int_at(ids, t, j);
        const std::int64_t source = x.shape[1] == 1 ? 0 : j;
        for (std::int64_t r = 0; r < weight.rows(); ++r) {
          weight.decode_row(matrix * weight.rows() + r, row);
          double sum = 0;
          for (std::int64_t i = 0; i < weight.columns(); ++i) {
            sum += static_cast<double>(row[static_cast<std::size_t>(i)]) * at(x, t, source, i);
          }
          if (p.scale) sum *= at(p.scale, matrix);
          // Vectors of a file lose dimensions of one.
          if (p.bias)
            sum +=
                p.bias.rank == 2 ? at(p.bias, matrix, r) : at(p.bias, matrix * weight.rows() + r);
          at(p.out, t, j, r) = static_cast<float>(sum);
        }
      }
    }
  }
}

}  // namespace hearth::compute::reference
