#include "compute/cpu/experts.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "compute/cpu/access.h"
#include "compute/cpu/panel_queue.h"
#include "compute/cpu/row_loop.h"

namespace hearth::compute::cpu {

// ---- The choice of experts ----------------------------------------------------------------------

namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// ids[0 .. count) = the largest of scores[begin .. end), count <= end - begin, in descending
/// order; of equal ones the first. Whatever the scores (NaN too), ids are distinct and in the
/// range.
void choose(const float* scores, std::int64_t begin, std::int64_t end, std::int64_t count,
            std::int32_t* ids) noexcept {
  std::int64_t found = 0;
  for (std::int64_t e = begin; e < end; ++e) {
    if (found == count && !(scores[e] > scores[ids[count - 1]])) continue;
    std::int64_t place = found < count ? found++ : count - 1;
    for (; place > 0 && scores[e] > scores[ids[place - 1]]; --place) ids[place] = ids[place - 1];
    ids[place] = static_cast<std::int32_t>(e);
  }
}

/// Experts outside of the best groups are out: their scores become minus infinity. A group's score
/// is the sum of its two largest.
void limit_groups(const Routing& routing, std::int64_t experts, float* scores) noexcept {
  const std::int64_t size = experts / routing.groups;
  float sums[kMaxExperts];
  std::int32_t kept[kMaxExperts];
  for (std::int64_t g = 0; g < routing.groups; ++g) {
    std::int32_t best[2];
    const std::int64_t count = std::min<std::int64_t>(2, size);
    choose(scores, g * size, (g + 1) * size, count, best);
    sums[g] = scores[best[0]] + (count == 2 ? scores[best[1]] : 0.0F);
  }
  choose(sums, 0, routing.groups, routing.groups_used, kept);
  for (std::int64_t g = 0; g < routing.groups; ++g) {
    if (std::find(kept, kept + routing.groups_used, g) != kept + routing.groups_used) continue;
    std::fill_n(scores + g * size, size, kMinusInfinity);
  }
}

/// In place: the probabilities (blocks.md section 5, step 2) of `experts` logits; room for a
/// multiple of 16.
void gate(const KernelTable& kernels, spec::RouterGate kind, std::int64_t experts,
          float* values) noexcept {
  switch (kind) {
    case spec::RouterGate::kSoftmax: {
      const std::int64_t padded = (experts + 15) / 16 * 16;
      std::fill(values + experts, values + padded, kMinusInfinity);
      const float sum = kernels.exp_row(values, kernels.largest(values, padded), padded);
      return kernels.scale(values, 1.0F / sum, values, experts);
    }
    case spec::RouterGate::kSigmoid:
      return kernels.activate(Activation::kSigmoid, values, values, experts);
    case spec::RouterGate::kSoftmaxSelected:
      return;
    case spec::RouterGate::kSqrtSoftplus:
      kernels.activate(Activation::kSoftplus, values, values, experts);
      for (std::int64_t e = 0; e < experts; ++e) values[e] = std::sqrt(values[e]);
      return;
  }
}

/// Steps 7 to 9: softmax over the chosen, normalisation, scale.
void finish_weights(const Routing& routing, std::int64_t used, float* weights) noexcept {
  float divisor = 1.0F;
  if (routing.gate == spec::RouterGate::kSoftmaxSelected) {
    const float largest = *std::max_element(weights, weights + used);
    float sum = 0;
    for (std::int64_t j = 0; j < used; ++j) sum += weights[j] = std::exp(weights[j] - largest);
    for (std::int64_t j = 0; j < used; ++j) weights[j] /= sum;
  }
  if (routing.normalise) {
    float sum = 0;
    for (std::int64_t j = 0; j < used; ++j) sum += weights[j];
    divisor = std::max(sum, 0x1p-14F);
  }
  for (std::int64_t j = 0; j < used; ++j) weights[j] = weights[j] / divisor * routing.scale;
}

void route_row(const KernelTable& kernels, const RouteArguments& a, std::int64_t t) noexcept {
  const std::int64_t experts = a.logits.shape[1];
  const std::int64_t used = a.ids.shape[1];
  const float* const logits = floats_of(a.logits) + t * a.logits.strides[0];
  float* const weights = floats_of(a.weights) + t * a.weights.strides[0];
  auto* const ids = reinterpret_cast<std::int32_t*>(bytes_of(a.ids)) + t * a.ids.strides[0];
  alignas(64) float probabilities[kMaxExperts];
  std::copy_n(logits, experts, probabilities);
  gate(kernels, a.routing.gate, experts, probabilities);
  if (a.selected) {
    const std::int32_t* const given = ints_of(a.selected) + t * a.selected.strides[0];
    for (std::int64_t j = 0; j < used; ++j) {
      ids[j] = std::clamp(given[j] / a.divisor, 0, static_cast<std::int32_t>(experts - 1));
    }
  } else if (!a.selection_bias && a.routing.groups <= 1) {
    // Every gate is monotonic, and the logits have not been rounded.
    choose(logits, 0, experts, used, ids);
  } else {
    alignas(64) float scores[kMaxExperts];
    std::copy_n(probabilities, experts, scores);
    if (a.selection_bias) {
      kernels.add(scores, floats_of(a.selection_bias), 1.0F, scores, experts);
    }
    if (a.routing.groups > 1) limit_groups(a.routing, experts, scores);
    choose(scores, 0, experts, used, ids);
  }
  for (std::int64_t j = 0; j < used; ++j) weights[j] = probabilities[ids[j]];
  finish_weights(a.routing, used, weights);
}

}  // namespace

void ExpertEngine::route(const RouteArguments& a) noexcept {
  for_rows(team_, a.logits.shape[0], 8 * a.logits.shape[1],
           [&](std::int64_t t) { route_row(kernels_, a, t); });
}

// ---- Products -----------------------------------------------------------------------------------

namespace {

// Products that are grouped at once. Larger batches are cut, so that converted activations fit.
constexpr std::int64_t kSlabProducts = 4096;
// More rows of one matrix are cut, so that they stay in the second-level cache and are shared
// evenly.
constexpr std::int64_t kGroupRows = 128;

}  // namespace

/// What is multiplied at once: products [first, first + count) of the batch, product p being number
/// p mod K of row p / K.
struct ExpertEngine::Slab {
  const float* x = nullptr;
  std::int64_t row_stride = 0, part_stride = 0;  // of x
  std::int64_t columns = 0;
  std::int64_t used = 0;  // K
  bool shared = false;    // x has one part, for all products of a row
  std::int64_t first = 0, count = 0;
  ActivationRows converted;  // of inputs

  /// Inputs are numbered as the products, or as the rows of the batch when these share them.
  [[nodiscard]] std::int64_t input_of(std::int64_t product) const noexcept {
    return shared ? product / used : product;
  }
  [[nodiscard]] std::int64_t first_input() const noexcept { return input_of(first); }
  [[nodiscard]] std::int64_t inputs() const noexcept {
    return input_of(first + count - 1) + 1 - first_input();
  }
  [[nodiscard]] const float* input(std::int64_t i) const noexcept {
    return shared ? x + i * row_stride : x + i / used * row_stride + i % used * part_stride;
  }
  [[nodiscard]] bool converts() const noexcept { return converted.bytes_per_row() > 0; }
};

void ExpertEngine::reserve_stack(std::int64_t matrices) {
  if (matrices <= matrices_) return;
  index_ = AccountedPages();
  const std::size_t per_product = sizeof(std::int32_t) + sizeof(Group);
  index_ = AccountedPages(ledger_, MemoryCategory::kBuffers,
                          static_cast<std::size_t>(kSlabProducts) * per_product +
                              static_cast<std::size_t>(matrices + 1) * sizeof(std::int32_t));
  groups_ = reinterpret_cast<Group*>(index_.data());
  order_ = reinterpret_cast<std::int32_t*>(groups_ + kSlabProducts);
  begins_ = order_ + kSlabProducts;
  matrices_ = matrices;
}

/// Sorts the products of a slab by matrix (a counting sort).
std::span<const ExpertEngine::Group> ExpertEngine::group(const Slab& slab, const Tensor& ids,
                                                         std::int64_t matrices) noexcept {
  const auto matrix_of = [&](std::int64_t product) {
    return ints_of(
        ids)[product / slab.used * ids.strides[0] + product % slab.used * ids.strides[1]];
  };
  std::fill_n(begins_, matrices + 1, 0);
  for (std::int64_t p = slab.first; p < slab.first + slab.count; ++p) ++begins_[matrix_of(p) + 1];
  std::size_t count = 0;
  for (std::int32_t m = 0; m < matrices; ++m) {
    const std::int32_t begin = begins_[m];
    const std::int32_t end = begin + begins_[m + 1];
    begins_[m + 1] = end;
    for (std::int32_t at = begin; at < end; at += kGroupRows) {
      groups_[count++] = {m, at, std::min(static_cast<std::int32_t>(kGroupRows), end - at)};
    }
  }
  for (std::int64_t p = slab.first; p < slab.first + slab.count; ++p) {
    order_[begins_[matrix_of(p)]++] = static_cast<std::int32_t>(p - slab.first);
  }
  return {groups_, count};
}

void ExpertEngine::convert(const Slab& slab, std::int64_t begin, std::int64_t end) const noexcept {
  for (std::int64_t i = begin; i < end; ++i) {
    slab.converted.convert(kernels_, slab.input(slab.first_input() + i), slab.columns, i);
  }
}

/// Panels panel and, where two are multiplied at once, panel + 1. Returns how many it were.
std::int64_t ExpertEngine::multiply_panels(const Slab& slab, const GroupedProjection& projection,
                                           const Group& group, std::int64_t panel,
                                           int thread) const noexcept {
  const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
  const std::int64_t rows = weight.rows();
  const std::int64_t first = panel * kPanelRows;
  const std::int64_t matrix = group.matrix;
  // Vectors of a file lose dimensions of one.
  const std::int64_t bias_stride = projection.bias.rank == 2 ? projection.bias.strides[0] : rows;
  const float* const bias =
      projection.bias ? floats_of(projection.bias) + matrix * bias_stride + first : nullptr;
  const float scale =
      projection.scale ? floats_of(projection.scale)[matrix * projection.scale.strides[0]] : 1.0F;
  const RowFormat format = row_format(weight.format());
  const auto input = [&](std::int64_t product) -> const std::byte* {
    const std::int64_t i = slab.input_of(product);
    if (format == RowFormat::kFloat) return reinterpret_cast<const std::byte*>(slab.input(i));
    const ActivationRows::Part& part = slab.converted.part(format);
    return part.first + (i - slab.first_input()) * part.stride;
  };
  alignas(64) float tile[kDotColumns * kPairPanels * kPanelRows];
  const std::byte* inputs[kDotColumns];
  float* outputs[kDotColumns];
  const std::int64_t panels = ReadyPanels::together(
      kernels_, weight, std::min(kPairPanels, weight.panels() - panel), group.count);
  const ReadyPanels ready(kernels_, weight, matrix, panel, panels, group.count,
                          matmul_.native_scratch(thread), matmul_.wide_scratch(thread));
  const std::int64_t width = panels * kPanelRows;
  const std::int64_t count = std::min(width, rows - first);
  DotArguments dot;
  dot.row_table = inputs;
  dot.out = tile;
  dot.out_stride = width;
  ready.fetch_next(panels - 1, group.count, dot);
  for (std::int32_t done = 0; done < group.count; done += dot.count) {
    dot.count = static_cast<int>(ReadyPanels::rows_at_once(panels, group.count - done));
    dot.next_row = done;
    for (int c = 0; c < dot.count; ++c) {
      const std::int64_t product = slab.first + order_[group.begin + done + c];
      inputs[c] = input(product);
      outputs[c] = floats_of(projection.out) + product / slab.used * projection.out.strides[0] +
                   product % slab.used * projection.out.strides[1] + first;
    }
    ready.multiply(0, panels, dot);
    for (int c = 0; c < dot.count; ++c) {
      for (std::int64_t r = 0; r < count; ++r) {
        outputs[c][r] = scale * tile[c * width + r] + (bias != nullptr ? bias[r] : 0.0F);
      }
    }
  }
  return panels;
}

void ExpertEngine::run_slab(const Slab& slab, std::span<const Group> groups,
                            std::span<const GroupedProjection> projections) noexcept {
  std::int64_t pairs = 0;  // of panels of one matrix, of every projection
  std::int64_t bytes = 0;
  for (const GroupedProjection& projection : projections) {
    const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
    pairs += (weight.panels() + kPairPanels - 1) / kPairPanels;
    bytes += weight.panels() * static_cast<std::int64_t>(weight.panel_bytes());
  }
  const auto multiply = [&](std::int64_t index, int thread) {
    const Group& group = groups[static_cast<std::size_t>(index / pairs)];
    std::int64_t panel = index % pairs * kPairPanels;
    for (const GroupedProjection& projection : projections) {
      const std::int64_t own = static_cast<const CpuWeight&>(*projection.weight).panels();
      if (panel < own) {
        const std::int64_t end = std::min(panel + kPairPanels, own);
        while (panel < end) panel += multiply_panels(slab, projection, group, panel, thread);
        return;
      }
      panel -= (own + kPairPanels - 1) / kPairPanels * kPairPanels;
    }
  };
  const std::int64_t inputs = slab.inputs();
  const std::int64_t total = static_cast<std::int64_t>(groups.size()) * pairs;
  const int threads = team_.size();
  const bool alone =
      threads == 1 || pairs * kPairPanels * kPanelRows * slab.columns * slab.count <= kInlineWork;
  const bool convert_here = slab.converts() && (alone || inputs * slab.columns <= kInlineConvert);
  if (convert_here) convert(slab, 0, inputs);
  if (alone) {
    for (std::int64_t index = 0; index < total; ++index) multiply(index, 0);
    return;
  }
  // Where a matrix has few rows, threads walk through the memory; else they take pairs in turn.
  const bool few = slab.count < 4 * static_cast<std::int64_t>(groups.size());
  const auto matrices = static_cast<std::int64_t>(groups.size());
  PanelQueue queue(total, bytes * matrices, std::max<std::int64_t>(1, slab.count / matrices),
                   threads);
  std::atomic<std::int64_t> next_input{convert_here || !slab.converts() ? inputs : 0};
  std::atomic<std::int64_t> inputs_done{next_input.load(std::memory_order_relaxed)};
  std::atomic<std::int64_t> next{0};
  team_.share([&](int thread) noexcept {
    for (;;) {
      const std::int64_t begin = next_input.fetch_add(4, std::memory_order_relaxed);
      if (begin >= inputs) break;
      const std::int64_t end = std::min(begin + 4, inputs);
      convert(slab, begin, end);
      inputs_done.fetch_add(end - begin, std::memory_order_release);
    }
    while (inputs_done.load(std::memory_order_acquire) < inputs) std::this_thread::yield();
    if (few) {
      for (auto range = queue.take(thread); !range.empty(); range = queue.take(thread)) {
        for (; range.begin < range.end; ++range.begin) multiply(range.begin, thread);
      }
      return;
    }
    for (;;) {
      const std::int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= total) return;
      multiply(index, thread);
    }
  });
}

void ExpertEngine::grouped_matmul(const Tensor& x, const Tensor& ids,
                                  std::span<const GroupedProjection> projections) noexcept {
  Slab slab;
  slab.x = floats_of(x);
  slab.row_stride = x.strides[0];
  slab.part_stride = x.strides[1];
  slab.columns = x.shape[2];
  slab.used = ids.shape[1];
  slab.shared = x.shape[1] == 1;
  std::int64_t matrices = 1;
  for (const GroupedProjection& projection : projections) {
    const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
    matrices = std::max(matrices, weight.matrices());
    slab.converted.want(row_format(weight.format()), slab.columns);
  }
  std::int64_t most = kSlabProducts;
  if (slab.converts()) {
    const std::span<std::byte> space = matmul_.activations();
    // At least 16 rows of the widest matrix.
    const std::int64_t inputs =
        static_cast<std::int64_t>(space.size()) / slab.converted.bytes_per_row();
    most = std::min(most, slab.shared ? (inputs - 1) * slab.used : inputs);
    slab.converted.place(space.data(), inputs);
  }
  const std::int64_t products = ids.shape[0] * slab.used;
  for (slab.first = 0; slab.first < products; slab.first += most) {
    slab.count = std::min(most, products - slab.first);
    run_slab(slab, group(slab, ids, matrices), projections);
  }
}

}  // namespace hearth::compute::cpu
