// Rows of floats times one panel, whose results somebody else makes use of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

/// `count` rows of `size` floats, `row_stride` floats apart, times the panel, in calls of at most
/// kDotColumns; use(row, results[16]).
template <class Use>
void each_product(const KernelTable& kernels, PanelFormat format, const std::byte* panel,
                  std::int64_t size, const float* rows, std::int64_t row_stride, std::int64_t count,
                  Use use) noexcept {
  alignas(64) float results[kDotColumns * kPanelRows];
  DotArguments dot;
  dot.panel = panel;
  dot.columns = size;
  dot.row_stride = row_stride * static_cast<std::int64_t>(sizeof(float));
  dot.out = results;
  for (std::int64_t first = 0; first < count; first += kDotColumns) {
    dot.rows = reinterpret_cast<const std::byte*>(rows + first * row_stride);
    dot.count = static_cast<int>(std::min<std::int64_t>(kDotColumns, count - first));
    kernels.dot[static_cast<int>(format)](dot);
    for (int i = 0; i < dot.count; ++i) use(first + i, results + i * kPanelRows);
  }
}

}  // namespace hearth::compute::cpu
