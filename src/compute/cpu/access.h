// How the CPU backend looks inside tensors.
#pragma once

#include <cstdint>

#include "compute/cpu/memory.h"

namespace hearth::compute::cpu {

[[nodiscard]] inline std::byte* bytes_of(const Tensor& t) noexcept {
  return static_cast<CpuBuffer*>(t.buffer)->data() + t.offset;
}
[[nodiscard]] inline float* floats_of(const Tensor& t) noexcept {
  return reinterpret_cast<float*>(bytes_of(t));
}
[[nodiscard]] inline const std::int32_t* ints_of(const Tensor& t) noexcept {
  return reinterpret_cast<const std::int32_t*>(bytes_of(t));
}

[[nodiscard]] constexpr std::int64_t round_up(std::int64_t x, std::int64_t to) noexcept {
  return (x + to - 1) / to * to;
}

/// Element i of a one-dimensional integer tensor (which may be a column of a wider one).
[[nodiscard]] inline std::int32_t int_at(const Tensor& t, std::int64_t i) noexcept {
  return ints_of(t)[i * t.strides[0]];
}

/// A float tensor as rows of its last dimension.
class Rows {
 public:
  explicit Rows(const Tensor& t) noexcept
      : data_(floats_of(t)), size_(t.shape[static_cast<std::size_t>(t.rank - 1)]) {
    if (t.rank == 3) {
      inner_ = t.shape[1];
      outer_stride_ = t.strides[0];
      inner_stride_ = t.strides[1];
      count_ = t.shape[0] * t.shape[1];
    } else if (t.rank == 2) {
      inner_stride_ = t.strides[0];
      inner_ = count_ = t.shape[0];
    }
  }
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] float* operator[](std::int64_t row) const noexcept {
    return data_ + row / inner_ * outer_stride_ + row % inner_ * inner_stride_;
  }

 private:
  float* data_;
  std::int64_t size_;
  std::int64_t count_ = 1;
  std::int64_t inner_ = 1;
  std::int64_t outer_stride_ = 0;
  std::int64_t inner_stride_ = 0;
};

}  // namespace hearth::compute::cpu
