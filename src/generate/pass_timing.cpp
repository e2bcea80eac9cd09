#include "generate/pass_timing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::generate {
namespace {

/// A pass counts half after 34 others: a machine that becomes busy is noticed within seconds.
constexpr double kForget = 0.98;
constexpr int kSweeps = 30;
/// Terms are scaled to be about one, so that sums of their products have one magnitude.
constexpr double kCells = 1.0 / 1024, kRows = 1.0 / 64, kCellRows = kCells * kRows;

}  // namespace

PassTiming::Terms PassTiming::terms(const PassWork& work) noexcept {
  return {1.0, static_cast<double>(work.decode_rows) * kRows,
          static_cast<double>(work.decode_cells) * kCells,
          static_cast<double>(work.prompt_rows) * kRows,
          static_cast<double>(work.prompt_cells) * kCellRows};
}

void PassTiming::add(const PassWork& work, double seconds) noexcept {
  const Terms x = terms(work);
  // Relative errors count: a short pass that is estimated twice as long matters as much as a long
  // one.
  const double weight = 1.0 / std::max(seconds * seconds, 1e-8);
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j)
      products_[i][j] = kForget * products_[i][j] + weight * x[i] * x[j];
    targets_[i] = kForget * targets_[i] + weight * x[i] * seconds;
  }
  ++passes_;
  fit();
}

/// Least squares with weights >= 0, by coordinate descent from the last fit: five numbers that
/// change little from pass to pass.
void PassTiming::fit() noexcept {
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t i = 0; i < kTerms; ++i) {
      if (products_[i][i] <= 0) continue;
      double rest = targets_[i];
      for (std::size_t j = 0; j < kTerms; ++j) {
        if (j != i) rest -= products_[i][j] * weights_[j];
      }
      weights_[i] = std::max(0.0, rest / products_[i][i]);
    }
  }
}

double PassTiming::seconds(const PassWork& work) const noexcept {
  const Terms x = terms(work);
  double sum = 0;
  for (std::size_t i = 0; i < kTerms; ++i) sum += weights_[i] * x[i];
  return sum;
}

std::int64_t PassTiming::rows_within(const PassWork& work, std::int64_t depth,
                                     double budget) const noexcept {
  const double left = budget - seconds(work);
  if (left <= 0) return 0;
  // Row r looks back on depth + r others: the piece takes linear * rows + square * rows^2.
  const double per_cell = weights_[4] * kCellRows;
  const double linear = weights_[3] * kRows + per_cell * static_cast<double>(depth);
  const double square = per_cell / 2;
  double rows = 0;
  if (square > 0) {
    rows = (std::sqrt(linear * linear + 4 * square * left) - linear) / (2 * square);
  } else if (linear > 0) {
    rows = left / linear;
  } else {
    return std::numeric_limits<std::int64_t>::max();
  }
  return static_cast<std::int64_t>(std::min(rows, 1e15));
}

}  // namespace hearth::generate
