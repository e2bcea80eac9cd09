// Runs the same operation on the reference backend and on another one, and compares.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "tensor/dtype.h"

namespace hearth::compute {

/// A backend with tensors that live as long as it.
class Bench {
 public:
  explicit Bench(std::unique_ptr<Backend> made) : backend(std::move(made)) {}

  Tensor floats(std::initializer_list<std::int64_t> shape, const std::vector<float>& values) {
    return filled(DType::kF32, shape, values.data());
  }
  Tensor ints(std::initializer_list<std::int64_t> shape, const std::vector<std::int32_t>& values) {
    return filled(DType::kI32, shape, values.data());
  }
  /// `bytes` are those of all elements, in blocks where the type has them.
  Tensor raw(DType dtype, std::initializer_list<std::int64_t> shape,
             const std::vector<std::byte>& bytes) {
    return filled(dtype, shape, bytes.data());
  }
  Tensor halves(std::initializer_list<std::int64_t> shape,
                const std::vector<std::uint16_t>& values) {
    return filled(DType::kF16, shape, values.data());
  }
  /// A matrix [rows, columns] that is a column slice of a wider one filled with `fill`.
  Tensor slice(std::int64_t rows, std::int64_t columns, std::int64_t wider, std::int64_t first,
               float fill) {
    const std::vector<float> values(static_cast<std::size_t>(rows * (columns + wider)), fill);
    return floats({rows, columns + wider}, values).columns(first, columns);
  }
  std::vector<float> values(const Tensor& t) const {
    std::vector<float> result(static_cast<std::size_t>(t.elements()));
    backend->read(t, result.data());
    return result;
  }
  const Weight& weight(const WeightSource& source, unsigned use = kUseMatmul | kUseRows,
                       Residency residency = Residency::kPacked) {
    weights_.push_back(backend->load_weight(source, use, residency));
    return *weights_.back();
  }

  std::unique_ptr<Backend> backend;

 private:
  Tensor filled(DType dtype, std::initializer_list<std::int64_t> shape, const void* host) {
    Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
    const std::size_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(t.elements()));
    buffers_.push_back(backend->allocate(bytes, MemoryCategory::kOther));
    t.buffer = buffers_.back().get();
    backend->write(t, host);
    return t;
  }

  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<std::unique_ptr<Weight>> weights_;
};

inline Bench reference_bench() { return Bench(make_reference_backend()); }
inline Bench cpu_bench(const std::string& instruction_set, int threads = 2, bool exact = false) {
  return Bench(
      make_cpu_backend({.threads = threads, .exact = exact, .instruction_set = instruction_set}));
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::vector<float> normal(std::int64_t count, float deviation = 1) {
    std::normal_distribution<float> distribution(0, deviation);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = distribution(engine_);
    return values;
  }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  std::mt19937& engine() { return engine_; }

 private:
  std::mt19937 engine_;
};

/// Sum of squared differences over sum of squares.
inline double nmse(const std::vector<float>& expected, const std::vector<float>& actual) {
  EXPECT_EQ(expected.size(), actual.size());
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = static_cast<double>(expected[i]) - actual[i];
    error += difference * difference;
    power += static_cast<double>(expected[i]) * expected[i];
  }
  if (std::isnan(error)) return std::numeric_limits<double>::infinity();
  return power > 0 ? error / power : error;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Blocks of `rows` rows of `columns` random values: random bits with scale fields of sensible
/// size.
inline std::vector<std::byte> random_blocks(DType dtype, std::int64_t rows, std::int64_t columns,
                                            Random& random) {
  const auto elements = static_cast<std::size_t>(rows * columns);
  const tensor::DTypeInfo& type = tensor::info(dtype);
  std::vector<std::byte> bytes(tensor::row_bytes(dtype, elements));
  if (!type.quantized) {
    const std::vector<float> values = random.normal(rows * columns, 0.1F);
    for (std::size_t i = 0; i < elements; ++i) {
      std::byte* const to = bytes.data() + i * type.block_bytes;
      const float value = values[i];
      const std::uint16_t half = dtype == DType::kF16 ? tensor::half_from_float(value)
                                                      : tensor::bfloat16_from_float(value);
      const double wide = value;
      if (dtype == DType::kF32) std::memcpy(to, &value, 4);
      if (dtype == DType::kF16 || dtype == DType::kBF16) std::memcpy(to, &half, 2);
      if (dtype == DType::kF64) std::memcpy(to, &wide, 8);
    }
    return bytes;
  }
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.engine()());
  const auto halves_at = [dtype]() -> std::vector<std::size_t> {
    switch (dtype) {
      case DType::kQ4_1:
      case DType::kQ5_1:
      case DType::kQ4_K:
      case DType::kQ5_K:
        return {0, 2};
      case DType::kQ2_K:
        return {80, 82};
      case DType::kQ3_K:
        return {108};
      case DType::kQ6_K:
        return {208};
      case DType::kTQ1_0:
        return {52};
      case DType::kTQ2_0:
        return {64};
      case DType::kMXFP4:
      case DType::kNVFP4:
      case DType::kIQ1_M:
        return {};
      default:
        return {0};
    }
  };
  for (std::size_t block = 0; block < bytes.size(); block += type.block_bytes) {
    for (const std::size_t at : halves_at()) {
      const std::uint16_t half =
          tensor::half_from_float(0.01F + 0.001F * static_cast<float>(random.between(0, 20)));
      std::memcpy(bytes.data() + block + at, &half, 2);
    }
    if (dtype == DType::kMXFP4) bytes[block] = static_cast<std::byte>(random.between(120, 126));
    if (dtype == DType::kNVFP4) {
      for (std::size_t i = 0; i < 4; ++i)
        bytes[block + i] = static_cast<std::byte>(random.between(0x28, 0x48));
    }
    if (dtype == DType::kIQ1_M) {
      // The half's four nibbles are the upper ones of four 16-bit words, lowest first: about 0.01
      // (0x2100).
      for (std::size_t i = 0; i < 4; ++i) {
        const unsigned nibble = i == 3 ? 2 : i == 2 ? 1 : 0;
        std::byte& high = bytes[block + 49 + 2 * i];
        high = (high & std::byte{0x0F}) | static_cast<std::byte>(nibble << 4);
      }
    }
  }
  return bytes;
}

}  // namespace hearth::compute
