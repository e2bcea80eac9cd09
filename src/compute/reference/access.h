// How the reference backend looks inside its tensors, shared by the files its operations are in.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "compute/backend.h"
#include "quant/quant.h"
#include "support/spill_file.h"
#include "tensor/dtype.h"

namespace hearth::compute::reference {

class ReferenceBuffer final : public Buffer {
 public:
  ReferenceBuffer(std::size_t bytes, std::size_t& counter)
      : Buffer(bytes), memory_(bytes + kAlignment), counter_(&counter) {
    *counter_ += bytes;
  }
  ~ReferenceBuffer() override { *counter_ -= size(); }
  [[nodiscard]] std::byte* data() noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
  [[nodiscard]] std::byte* host() noexcept override { return data(); }

 private:
  static constexpr std::size_t kAlignment = SpillFile::kAlignment;
  std::vector<std::byte> memory_;
  std::size_t* counter_;
};

class ReferenceWeight final : public Weight {
 public:
  explicit ReferenceWeight(const WeightSource& source) : Weight(source) {
    row_bytes_ = tensor::row_bytes(source.dtype, static_cast<std::size_t>(source.columns));
  }
  /// Row `row` of the stack: matrix m begins at row m * rows().
  void decode_row(std::int64_t row, std::span<float> out) const noexcept {
    quant::decode(source().dtype,
                  source().bytes.subspan(static_cast<std::size_t>(row) * row_bytes_, row_bytes_),
                  out);
  }

 private:
  std::size_t row_bytes_ = 0;
};

inline std::byte* address(const Tensor& t, std::int64_t i, std::int64_t j, std::int64_t k,
                          std::int64_t l) noexcept {
  const std::int64_t element =
      i * t.strides[0] + j * t.strides[1] + k * t.strides[2] + l * t.strides[3];
  const std::size_t bytes =
      t.offset + static_cast<std::size_t>(element) * tensor::info(t.dtype).block_bytes;
  return static_cast<ReferenceBuffer*>(t.buffer)->data() + bytes;
}

inline float& at(const Tensor& t, std::int64_t i, std::int64_t j = 0, std::int64_t k = 0) noexcept {
  return *reinterpret_cast<float*>(address(t, i, j, k, 0));
}

inline std::int32_t int_at(const Tensor& t, std::int64_t i, std::int64_t j = 0) noexcept {
  return *reinterpret_cast<const std::int32_t*>(address(t, i, j, 0, 0));
}

/// The block (for plain types: the element) of a KV pool that element i of a cell is in. Blocks are
/// along the elements of a cell.
inline std::byte* pool_block(const Tensor& pool, std::int64_t page, std::int64_t head,
                             std::int64_t slot, std::int64_t i) noexcept {
  const std::int64_t element = page * pool.strides[0] + head * pool.strides[1] +
                               slot * pool.strides[2] + i * pool.strides[3];
  const tensor::DTypeInfo& type = tensor::info(pool.dtype);
  return static_cast<ReferenceBuffer*>(pool.buffer)->data() + pool.offset +
         static_cast<std::size_t>(element / type.block_elements * type.block_bytes);
}

/// body(i, j, k, l, bytes) for the first element of every block of a tensor.
template <class Body>
void for_blocks(const Tensor& t, Body body) {
  const tensor::DTypeInfo& type = tensor::info(t.dtype);
  const auto rank = static_cast<std::size_t>(t.rank);
  std::array<std::int64_t, tensor::kMaxRank> step = {1, 1, 1, 1};
  step[rank - 1] = type.block_elements;
  for (std::int64_t i = 0; i < t.shape[0]; i += step[0]) {
    for (std::int64_t j = 0; j < t.shape[1]; j += step[1]) {
      for (std::int64_t k = 0; k < t.shape[2]; k += step[2]) {
        for (std::int64_t l = 0; l < t.shape[3]; l += step[3]) body(i, j, k, l, type.block_bytes);
      }
    }
  }
}

/// An element of a KV pool, widened. F32, F16, BF16 or Q8_0.
inline double pool_at(const Tensor& pool, std::int64_t page, std::int64_t head, std::int64_t slot,
                      std::int64_t i) noexcept {
  const auto block_size = static_cast<std::int64_t>(tensor::info(pool.dtype).block_elements);
  float values[32];
  quant::decode(pool.dtype,
                {pool_block(pool, page, head, slot, i), tensor::info(pool.dtype).block_bytes},
                {values, static_cast<std::size_t>(block_size)});
  return values[i % block_size];
}

/// The cell of a sequence: its page and its slot in the page.
struct Cell {
  std::int64_t page, slot;
};

inline Cell locate(const KvRows& rows, std::int64_t page_cells, std::int64_t row,
                   std::int64_t cell) noexcept {
  const std::int32_t sequence = int_at(rows.row_sequence, row);
  return {int_at(rows.page_table, sequence, cell / page_cells), cell % page_cells};
}

inline double sigmoid(double z) noexcept { return 1.0 / (1.0 + std::exp(-z)); }

inline double apply(Activation activation, double z) noexcept {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  switch (activation) {
    case Activation::kSilu:
      return z * sigmoid(z);
    case Activation::kGelu:
      return 0.5 * z * (1.0 + std::tanh(kSqrt2OverPi * z * (1.0 + 0.044715 * z * z)));
    case Activation::kGeluErf:
      return 0.5 * z * (1.0 + std::erf(z / std::sqrt(2.0)));
    case Activation::kGeluQuick:
      return z * sigmoid(1.702 * z);
    case Activation::kRelu:
      return std::max(z, 0.0);
    case Activation::kReluSquared:
      return z > 0 ? z * z : 0.0;
    case Activation::kTanh:
      return std::tanh(z);
    case Activation::kSigmoid:
      return sigmoid(z);
    case Activation::kSoftplus:
      return z > 20 ? z : std::log1p(std::exp(z));
    case Activation::kExp:
      return std::exp(z);
  }
  return z;
}

inline double apply(const Gating& gating, double gate, double up) noexcept {
  const double limit = gating.limit;
  switch (gating.form) {
    case spec::GateForm::kProduct:
      break;
    case spec::GateForm::kOpenAi: {
      const double g = std::min(gate, limit);
      return g * sigmoid(1.702 * g) * (std::clamp(up, -limit, limit) + 1);
    }
    case spec::GateForm::kClampInputs:
      return apply(gating.activation, std::min(gate, limit)) * std::clamp(up, -limit, limit);
    case spec::GateForm::kClampGate:
      return std::min(apply(gating.activation, gate), limit) * std::clamp(up, -limit, limit);
  }
  return apply(gating.activation, gate) * up;
}

/// Calls body(i, j, k) for every element of a tensor of rank at most 3.
template <class Body>
void for_each(const Tensor& t, Body body) noexcept {
  for (std::int64_t i = 0; i < t.shape[0]; ++i) {
    for (std::int64_t j = 0; j < t.shape[1]; ++j) {
      for (std::int64_t k = 0; k < t.shape[2]; ++k) body(i, j, k);
    }
  }
}

/// The last dimension of one row (i) or one head of a row (i, j).
struct Run {
  const Tensor* t;
  std::int64_t i, j;
  [[nodiscard]] float& operator[](std::int64_t k) const noexcept {
    return t->rank == 3 ? at(*t, i, j, k) : at(*t, i, k);
  }
};

}  // namespace hearth::compute::reference
