// Matrices that are computed while they are written: how a tensor of a GGUF file is made from
// tensors of a checkpoint, row by row, without holding either in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace hearth::model::convert {

/// `rows` rows of `width` values. A vector is a matrix of rows of one value.
struct Matrix {
  /// Puts the values [column, column + out.size()) of row `row` into `out`.
  using Read = std::function<void(std::int64_t row, std::int64_t column, std::span<float> out)>;

  std::int64_t rows = 0;
  std::int64_t width = 0;
  Read read;

  [[nodiscard]] std::int64_t elements() const noexcept { return rows * width; }
};

/// The matrix of given numbers: one row per number.
[[nodiscard]] Matrix column_of(std::vector<float> values);

/// Rows [first, first + count).
[[nodiscard]] Matrix rows_of(Matrix matrix, std::int64_t first, std::int64_t count);

/// All matrices below each other; they have the same width.
[[nodiscard]] Matrix stacked(std::vector<Matrix> matrices);

/// Row r of the result is row source_row(r); `count` rows (all of them when it is negative).
[[nodiscard]] Matrix with_rows(Matrix matrix, std::function<std::int64_t(std::int64_t)> source_row,
                               std::int64_t count = -1);

/// Column c of the result is column source_column(c).
[[nodiscard]] Matrix with_columns(Matrix matrix,
                                  std::function<std::int64_t(std::int64_t)> source_column);

/// Every block of `block_rows` rows transposed: a matrix of blocks of `width` rows of `block_rows`
/// values. One block is held in memory.
[[nodiscard]] Matrix transposed_blocks(Matrix matrix, std::int64_t block_rows);

/// function(x) for every value.
[[nodiscard]] Matrix mapped(Matrix matrix, float (*function)(float));

/// The matrix times a scale for every tile of tile_rows x tile_columns values (block-wise 8-bit
/// checkpoints); `scales` has one value per tile.
[[nodiscard]] Matrix scaled_by_tiles(Matrix matrix, Matrix scales, std::int64_t tile_rows,
                                     std::int64_t tile_columns);

}  // namespace hearth::model::convert
