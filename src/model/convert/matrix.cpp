#include "model/convert/matrix.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace hearth::model::convert {

Matrix column_of(std::vector<float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const auto shared = std::make_shared<const std::vector<float>>(std::move(values));
  return {count, 1, [shared](std::int64_t row, std::int64_t, std::span<float> out) {
            std::fill(out.begin(), out.end(), (*shared)[static_cast<std::size_t>(row)]);
          }};
}

Matrix rows_of(Matrix matrix, std::int64_t first, std::int64_t count) {
  return with_rows(
      std::move(matrix), [first](std::int64_t row) { return first + row; }, count);
}

Matrix stacked(std::vector<Matrix> matrices) {
  const std::int64_t each = matrices.front().rows;
  const bool even = std::all_of(matrices.begin(), matrices.end(),
                                [&](const Matrix& matrix) { return matrix.rows == each; });
  Matrix result;
  result.width = matrices.front().width;
  std::vector<std::int64_t> ends;
  for (const Matrix& matrix : matrices) ends.push_back(result.rows += matrix.rows);
  const auto parts = std::make_shared<const std::vector<Matrix>>(std::move(matrices));
  if (even) {
    result.read = [parts, each](std::int64_t row, std::int64_t column, std::span<float> out) {
      (*parts)[static_cast<std::size_t>(row / each)].read(row % each, column, out);
    };
  } else {
    result.read = [parts, ends = std::move(ends)](std::int64_t row, std::int64_t column,
                                                  std::span<float> out) {
      const auto part =
          static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), row) - ends.begin());
      (*parts)[part].read(part == 0 ? row : row - ends[part - 1], column, out);
    };
  }
  return result;
}

Matrix with_rows(Matrix matrix, std::function<std::int64_t(std::int64_t)> source_row,
                 std::int64_t count) {
  Matrix result{count < 0 ? matrix.rows : count, matrix.width, nullptr};
  result.read = [from = std::move(matrix.read), source_row = std::move(source_row)](
                    std::int64_t row, std::int64_t column, std::span<float> out) {
    from(source_row(row), column, out);
  };
  return result;
}

Matrix with_columns(Matrix matrix, std::function<std::int64_t(std::int64_t)> source_column) {
  Matrix result{matrix.rows, matrix.width, nullptr};
  const auto whole = std::make_shared<std::vector<float>>(static_cast<std::size_t>(matrix.width));
  result.read = [from = std::move(matrix.read), source_column = std::move(source_column), whole](
                    std::int64_t row, std::int64_t column, std::span<float> out) {
    from(row, 0, *whole);
    for (float& value : out) value = (*whole)[static_cast<std::size_t>(source_column(column++))];
  };
  return result;
}

namespace {

/// The block of rows that was read last.
struct HeldBlock {
  std::int64_t number = -1;
  std::vector<float> values;
};

}  // namespace

Matrix transposed_blocks(Matrix matrix, std::int64_t block_rows) {
  const std::int64_t width = matrix.width;
  Matrix result{matrix.rows / block_rows * width, block_rows, nullptr};
  const auto held = std::make_shared<HeldBlock>();
  result.read = [from = std::move(matrix.read), block_rows, width, held](
                    std::int64_t row, std::int64_t column, std::span<float> out) {
    const std::int64_t block = row / width;
    if (held->number != block) {
      held->values.resize(static_cast<std::size_t>(block_rows * width));
      for (std::int64_t i = 0; i < block_rows; ++i) {
        from(block * block_rows + i, 0,
             std::span(held->values)
                 .subspan(static_cast<std::size_t>(i * width), static_cast<std::size_t>(width)));
      }
      held->number = block;
    }
    for (float& value : out) {
      value = held->values[static_cast<std::size_t>(column++ * width + row % width)];
    }
  };
  return result;
}

Matrix mapped(Matrix matrix, float (*function)(float)) {
  Matrix result{matrix.rows, matrix.width, nullptr};
  result.read = [from = std::move(matrix.read), function](std::int64_t row, std::int64_t column,
                                                          std::span<float> out) {
    from(row, column, out);
    std::transform(out.begin(), out.end(), out.begin(), function);
  };
  return result;
}

Matrix scaled_by_tiles(Matrix matrix, Matrix scales, std::int64_t tile_rows,
                       std::int64_t tile_columns) {
  Matrix result{matrix.rows, matrix.width, nullptr};
  const auto row_scales =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(scales.width));
  result.read = [from = std::move(matrix.read), scale = std::move(scales.read), row_scales,
                 tile_rows,
                 tile_columns](std::int64_t row, std::int64_t column, std::span<float> out) {
    from(row, column, out);
    scale(row / tile_rows, 0, *row_scales);
    for (float& value : out) {
      value *= (*row_scales)[static_cast<std::size_t>(column++ / tile_columns)];
    }
  };
  return result;
}

}  // namespace hearth::model::convert
