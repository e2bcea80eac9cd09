#include "compute/cpu/transposed.h"

#include <algorithm>

#include "compute/cpu/access.h"
#include "compute/cpu/panel_product.h"
#include "quant/quant.h"
#include "tensor/dtype.h"

namespace hearth::compute::cpu {

// Rows of the matrix become panels of sixteen columns, so that the transposed product is what the
// dot kernels compute. Sums run over the rows in chunks of fixed size: the same bits for any batch.
void TransposedEngine::multiply_matrix(const TransposedArguments& a, std::int64_t product,
                                       int thread) noexcept {
  const WeightSource& source = a.weight->source();
  const std::int64_t columns = source.columns;
  const std::int64_t padded = (columns + kPanelRows - 1) / kPanelRows * kPanelRows;
  const std::size_t row_bytes = tensor::row_bytes(source.dtype, static_cast<std::size_t>(columns));
  const std::int64_t first_row = int_at(a.ids.rows(0, 1).columns(product, 1), 0) * source.rows;
  const std::int64_t rows = a.x.shape[2];
  float* const row = attention_.workspace(thread);
  float* const panels = row + padded;
  const std::int64_t most = std::min(rows, (AttentionEngine::kWorkspaceFloats - padded) / padded);
  for (std::int64_t begin = 0; begin < rows; begin += most) {
    const std::int64_t count = std::min(most, rows - begin);
    for (std::int64_t r = 0; r < count; ++r) {
      const auto offset = static_cast<std::size_t>(first_row + begin + r) * row_bytes;
      quant::decode(source.dtype, source.bytes.subspan(offset, row_bytes),
                    {row, static_cast<std::size_t>(columns)});
      kernels_.value_to_panels(reinterpret_cast<const std::byte*>(row), PanelFormat::kF32, columns,
                               r, count, panels);
    }
    const std::int64_t x_product = a.x.shape[1] == 1 ? 0 : product;
    const float* const x = floats_of(a.x) + x_product * a.x.strides[1] + begin;
    for (std::int64_t column = 0; column < columns; column += kPanelRows) {
      const std::int64_t lanes = std::min(kPanelRows, columns - column);
      const auto* const panel = reinterpret_cast<const std::byte*>(panels + column * count);
      each_product(kernels_, PanelFormat::kF32, panel, count, x, a.x.strides[0], a.x.shape[0],
                   [&](std::int64_t t, const float* sums) {
                     float* const to = floats_of(a.out) + t * a.out.strides[0] +
                                       product * a.out.strides[1] + column;
                     if (begin == 0) std::fill_n(to, lanes, 0.0F);
                     kernels_.add(to, sums, 1.0F, to, lanes);
                   });
    }
  }
}

void TransposedEngine::run(const TransposedArguments& a) noexcept {
  team_.for_chunks(a.ids.shape[1], 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t product = begin; product < end; ++product) {
      multiply_matrix(a, product, thread);
    }
  });
}

}  // namespace hearth::compute::cpu
