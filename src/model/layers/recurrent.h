// How layers look at small weight tensors.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace hearth::model {

/// A vector [size] as the one row [1, size], whatever dimensions of one it has.
[[nodiscard]] inline tensor::Tensor one_row(const tensor::Tensor& vector) noexcept {
  const std::int64_t size = vector.elements();
  tensor::Tensor row = vector;
  row.rank = 2;
  row.shape = {1, size, 1, 1};
  row.strides = {size, 1, 1, 1};
  return row;
}

/// A vector [size] as [rows, size]: every row is the same memory.
[[nodiscard]] inline tensor::Tensor repeated(const tensor::Tensor& vector,
                                             std::int64_t rows) noexcept {
  tensor::Tensor view = one_row(vector);
  view.shape[0] = rows;
  view.strides[0] = 0;
  return view;
}

/// A small weight tensor as the matrix [rows, columns], whatever dimensions of one it has.
[[nodiscard]] inline tensor::Tensor as_matrix(const tensor::Tensor& weight, std::int64_t rows,
                                              std::int64_t columns) noexcept {
  tensor::Tensor view = weight;
  view.rank = 2;
  view.shape = {rows, columns, 1, 1};
  view.strides = {columns, 1, 1, 1};
  return view;
}

}  // namespace hearth::model
