#include <algorithm>
#include <limits>

#include "compute/best_cells.h"
#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

double dot(const Tensor& q, std::int64_t t, std::int64_t h, const Tensor& keys, const Cell& cell,
           std::int64_t kv_head) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < q.shape[2]; ++i) {
    sum += static_cast<double>(at(q, t, h, i)) * pool_at(keys, cell.page, kv_head, cell.slot, i);
  }
  return sum;
}

/// Indices of the `count` largest scores in ascending order of index.
std::vector<std::int64_t> largest(const std::vector<double>& scores, std::int64_t count) {
  std::vector<BestCells<double>::Candidate> memory(static_cast<std::size_t>(count));
  BestCells<double> best(memory.data(), count);
  for (std::size_t i = 0; i < scores.size(); ++i) best.add(scores[i], static_cast<std::int32_t>(i));
  best.finish();
  std::vector<std::int64_t> order;
  for (const auto& candidate : best) order.push_back(candidate.index);
  return order;
}

std::int32_t& cell_at(const Tensor& cells, std::int64_t t, std::int64_t g, std::int64_t n) {
  return *reinterpret_cast<std::int32_t*>(cells.rank == 3 ? address(cells, t, g, n, 0)
                                                          : address(cells, t, n, 0, 0));
}

/// The cells that row t's head h reads from a source.
std::vector<std::int64_t> cells_of(const SelectedAttendArguments& a, const KvSource& source,
                                   std::int64_t t, std::int64_t h) {
  std::vector<std::int64_t> cells;
  if (source.cells) {
    const std::int64_t list = h / (a.q.shape[1] / source.cells.shape[1]);
    for (std::int64_t n = 0; n < source.cells.shape[2]; ++n) {
      const std::int32_t cell = cell_at(source.cells, t, list, n);
      if (cell < 0) break;
      cells.push_back(cell);
    }
  } else {
    for (std::int64_t c = int_at(source.row_begin, t); c < int_at(source.row_end, t); ++c) {
      cells.push_back(c);
    }
  }
  return cells;
}

void attend_head(const SelectedAttendArguments& a, std::int64_t t, std::int64_t h) {
  struct Visible {
    const KvSource* source;
    Cell cell;
    double score;
  };
  std::vector<Visible> visible;
  double maximum = a.sinks ? at(a.sinks, h) : kMinusInfinity;
  for (const KvSource& source : a.sources) {
    const std::int64_t kv_head = h / (a.q.shape[1] / source.keys.shape[1]);
    const KvRows rows{source.page_table, a.row_sequence, {}};
    for (const std::int64_t c : cells_of(a, source, t, h)) {
      const Cell cell = locate(rows, source.keys.shape[2], t, c);
      visible.push_back({&source, cell, a.scale * dot(a.q, t, h, source.keys, cell, kv_head)});
      maximum = std::max(maximum, visible.back().score);
    }
  }
  double sum = a.sinks ? std::exp(at(a.sinks, h) - maximum) : 0.0;
  for (Visible& v : visible) sum += v.score = std::exp(v.score - maximum);
  for (std::int64_t i = 0; i < a.out.shape[2]; ++i) {
    double value = 0;
    for (const Visible& v : visible) {
      const Tensor& values = v.source->values ? v.source->values : v.source->keys;
      const std::int64_t kv_head = h / (a.q.shape[1] / values.shape[1]);
      value += v.score * pool_at(values, v.cell.page, kv_head, v.cell.slot, i);
    }
    at(a.out, t, h, i) = static_cast<float>(value / sum);
  }
}

}  // namespace

void transposed_matmul(const TransposedArguments& a) noexcept {
  const auto& weight = static_cast<const ReferenceWeight&>(*a.weight);
  std::vector<float> row(static_cast<std::size_t>(weight.columns()));
  std::vector<double> sums(row.size());
  for (std::int64_t t = 0; t < a.ids.shape[0]; ++t) {
    for (std::int64_t j = 0; j < a.ids.shape[1]; ++j) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t r = 0; r < a.x.shape[2]; ++r) {
        weight.decode_row(int_at(a.ids, t, j) * weight.rows() + r, row);
        const double factor = at(a.x, t, a.x.shape[1] == 1 ? 0 : j, r);
        for (std::size_t i = 0; i < row.size(); ++i) sums[i] += factor * row[i];
      }
      for (std::size_t i = 0; i < row.size(); ++i) {
        at(a.out, t, j, static_cast<std::int64_t>(i)) = static_cast<float>(sums[i]);
      }
    }
  }
}

void attend_selected(const SelectedAttendArguments& a) noexcept {
  for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
    for (std::int64_t h = 0; h < a.q.shape[1]; ++h) attend_head(a, t, h);
  }
}

void select_cells(const SelectCellsArguments& a) noexcept {
  for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
    const std::int64_t begin = int_at(a.row_begin, t);
    std::vector<double> scores;
    for (std::int64_t c = begin; c < int_at(a.row_end, t); ++c) {
      const Cell cell = locate(a.rows, a.keys.shape[2], t, c);
      double score = 0;
      for (std::int64_t h = 0; h < a.q.shape[1]; ++h) {
        score += at(a.weights, t, h) * std::max(0.0, dot(a.q, t, h, a.keys, cell, 0));
      }
      scores.push_back(score);
    }
    const std::vector<std::int64_t> best = largest(scores, a.cells.shape[1]);
    for (std::int64_t n = 0; n < a.cells.shape[1]; ++n) {
      const auto index = static_cast<std::size_t>(n);
      cell_at(a.cells, t, 0, n) =
          index < best.size() ? static_cast<std::int32_t>(begin + best[index]) : -1;
    }
  }
}

void select_blocks(const SelectBlocksArguments& a) noexcept {
  for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
    const std::int64_t end = int_at(a.row_end, t);
    const std::int64_t blocks = (end + a.block - 1) / a.block;
    for (std::int64_t g = 0; g < a.q.shape[1]; ++g) {
      std::vector<double> scores(static_cast<std::size_t>(blocks), kMinusInfinity);
      for (std::int64_t c = 0; c < end; ++c) {
        double& score = scores[static_cast<std::size_t>(c / a.block)];
        const Cell cell = locate(a.rows, a.keys.shape[2], t, c);
        score = std::max(score, dot(a.q, t, g, a.keys, cell, 0));
      }
      const std::int64_t forced = std::min({a.local, a.top_k, blocks});
      for (std::int64_t b = blocks - forced; b < blocks; ++b) {
        scores[static_cast<std::size_t>(b)] = -kMinusInfinity;
      }
      std::int64_t n = 0;
      for (const std::int64_t block : largest(scores, a.top_k)) {
        for (std::int64_t c = block * a.block; c < std::min(end, (block + 1) * a.block); ++c) {
          cell_at(a.cells, t, g, n++) = static_cast<std::int32_t>(c);
        }
      }
      for (; n < a.cells.shape[2]; ++n) cell_at(a.cells, t, g, n) = -1;
    }
  }
}

void compress(const CompressArguments& a) noexcept {
  const std::int64_t size = a.out.shape[1];
  const std::int64_t items = a.overlapping ? 2 * a.ratio : a.ratio;
  const KvRows rows{a.page_table, a.block_sequence, {}};
  for (std::int64_t n = 0; n < a.out.shape[0]; ++n) {
    const std::int64_t block = int_at(a.block, n);
    // Overlapping: items begin one block earlier, and those use the first half of the channels.
    const std::int64_t first = (block + 1) * a.ratio - items;
    for (std::int64_t i = 0; i < size; ++i) {
      double maximum = kMinusInfinity;
      std::vector<double> gates(static_cast<std::size_t>(items), kMinusInfinity);
      std::vector<double> values(gates.size(), 0.0);
      for (std::int64_t item = 0; item < items; ++item) {
        if (first + item < 0) continue;
        const Cell cell = locate(rows, a.values.shape[2], n, first + item);
        const std::int64_t channel = i + (a.overlapping && item >= a.ratio ? size : 0);
        const auto index = static_cast<std::size_t>(item);
        values[index] = pool_at(a.values, cell.page, 0, cell.slot, channel);
        gates[index] = pool_at(a.gates, cell.page, 0, cell.slot, channel);
        if (a.bias) gates[index] += at(a.bias, item % a.ratio, channel);
        maximum = std::max(maximum, gates[index]);
      }
      double sum = 0;
      double total = 0;
      for (std::size_t item = 0; item < gates.size(); ++item) {
        const double weight = std::exp(gates[item] - maximum);
        sum += weight;
        total += weight * values[item];
      }
      at(a.out, n, i) = static_cast<float>(total / sum);
    }
  }
}

}  // namespace hearth::compute::reference
