// Tensors: typed, shaped, strided views of a backend's memory. A tensor owns nothing and knows no
// host pointer; only the backend that made its buffer can look inside.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "tensor/dtype.h"

namespace hearth::tensor {

/// Memory of some backend. Backends derive from it; `size()` is in bytes.
class Buffer {
 public:
  virtual ~Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Its bytes, where the host can read and write them between operations: what files are read
  /// into. Null where it cannot.
  [[nodiscard]] virtual std::byte* host() noexcept { return nullptr; }

 protected:
  explicit Buffer(std::size_t size) : size_(size) {}

 private:
  std::size_t size_;
};

inline constexpr int kMaxRank = 4;

/// A view. `shape` is row-major (last dimension fastest, the reverse of GGUF's order), `strides`
/// are in elements, the last stride is always 1. Of block types only whole blocks can be addressed.
/// Dimensions beyond `rank` are 1. A default-constructed tensor is absent (`!tensor`).
struct Tensor {
  Buffer* buffer = nullptr;
  std::size_t offset = 0;  // bytes
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape = {1, 1, 1, 1};
  std::array<std::int64_t, kMaxRank> strides = {1, 1, 1, 1};

  explicit operator bool() const noexcept { return buffer != nullptr; }
  [[nodiscard]] std::int64_t elements() const noexcept {
    return shape[0] * shape[1] * shape[2] * shape[3];
  }

  /// Rows [begin, begin + count) of the first dimension.
  [[nodiscard]] Tensor rows(std::int64_t begin, std::int64_t count) const noexcept {
    assert(begin >= 0 && count >= 0 && begin + count <= shape[0]);
    Tensor view = *this;
    view.offset += row_bytes(dtype, static_cast<std::size_t>(begin * strides[0]));
    view.shape[0] = count;
    return view;
  }

  /// Columns [begin, begin + count) of the last dimension of a matrix.
  [[nodiscard]] Tensor columns(std::int64_t begin, std::int64_t count) const noexcept {
    assert(rank == 2 && begin >= 0 && count >= 0 && begin + count <= shape[1]);
    Tensor view = *this;
    view.offset += row_bytes(dtype, static_cast<std::size_t>(begin));
    view.shape[1] = count;
    return view;
  }

  /// Elements [begin, begin + count) of dimension `dimension`.
  [[nodiscard]] Tensor slice(int dimension, std::int64_t begin, std::int64_t count) const noexcept {
    assert(dimension >= 0 && dimension < rank && begin >= 0 && count >= 0);
    const auto d = static_cast<std::size_t>(dimension);
    assert(begin + count <= shape[d]);
    Tensor view = *this;
    view.offset += row_bytes(dtype, static_cast<std::size_t>(begin * strides[d]));
    view.shape[d] = count;
    return view;
  }

  /// [rows, parts, size] seen as [rows, parts * size]; the inner dimensions must be dense.
  [[nodiscard]] Tensor join_last() const noexcept {
    assert(rank == 3 && (shape[1] == 1 || strides[1] == shape[2]));
    Tensor view = *this;
    view.rank = 2;
    view.shape = {shape[0], shape[1] * shape[2], 1, 1};
    view.strides = {strides[0], 1, 1, 1};
    return view;
  }
  /// [rows, parts, size] seen as [rows * parts, size]; the rows must be dense.
  [[nodiscard]] Tensor join_first() const noexcept {
    assert(rank == 3 && (shape[0] == 1 || strides[0] == shape[1] * strides[1]));
    Tensor view = *this;
    view.rank = 2;
    view.shape = {shape[0] * shape[1], shape[2], 1, 1};
    view.strides = {strides[1], 1, 1, 1};
    return view;
  }

  /// A matrix [rows, parts * size] seen as [rows, parts, size].
  [[nodiscard]] Tensor split_last(std::int64_t parts) const noexcept {
    assert(rank == 2 && shape[1] % parts == 0);
    Tensor view = *this;
    view.rank = 3;
    view.shape = {shape[0], parts, shape[1] / parts, 1};
    view.strides = {strides[0], shape[1] / parts, 1, 1};
    return view;
  }

  /// A contiguous tensor at `offset` bytes of `buffer`.
  [[nodiscard]] static Tensor contiguous(Buffer* buffer, std::size_t offset, DType dtype,
                                         std::initializer_list<std::int64_t> shape) noexcept {
    assert(shape.size() >= 1 && shape.size() <= kMaxRank);
    Tensor tensor;
    tensor.buffer = buffer;
    tensor.offset = offset;
    tensor.dtype = dtype;
    tensor.rank = static_cast<int>(shape.size());
    int dimension = 0;
    for (const std::int64_t size : shape) tensor.shape[dimension++] = size;
    std::int64_t stride = 1;
    for (int i = tensor.rank - 1; i >= 0; --i) {
      tensor.strides[i] = stride;
      stride *= tensor.shape[i];
    }
    return tensor;
  }
};

}  // namespace hearth::tensor
