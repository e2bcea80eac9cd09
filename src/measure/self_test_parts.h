// The computations of the self-test. Internal to self_test.
#pragma once

#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compute/backend.h"

namespace hearth::measure {

/// What one computation gave, and how far off other kernels may be.
struct Outcome {
  std::string name;
  std::vector<float> values;
  double tolerance = 0;  // NMSE
};

/// A backend with tensors that live as long as this, filled with numbers that only depend on the
/// seed and the order of the calls.
class Workbench {
 public:
  Workbench(compute::Backend& backend, std::uint32_t seed) : backend_(backend), random_(seed) {}

  [[nodiscard]] compute::Backend& backend() noexcept { return backend_; }
  [[nodiscard]] std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  [[nodiscard]] std::vector<float> normal(std::int64_t count, float deviation = 1);

  compute::Tensor floats(std::initializer_list<std::int64_t> shape, float deviation = 1);
  compute::Tensor zeros(std::initializer_list<std::int64_t> shape);
  /// Between `low` and `high`, most of them near `high`.
  compute::Tensor near(std::initializer_list<std::int64_t> shape, float low, float high);
  compute::Tensor ints(std::initializer_list<std::int64_t> shape,
                       std::span<const std::int32_t> values);
  /// Every byte is `fill`.
  compute::Tensor filled(compute::DType dtype, std::initializer_list<std::int64_t> shape,
                         std::byte fill);
  const compute::Weight& weight(compute::DType dtype, std::int64_t rows, std::int64_t columns,
                                unsigned use, compute::Residency residency,
                                std::int64_t matrices = 1);
  [[nodiscard]] std::vector<float> values(const compute::Tensor& tensor) const;

 private:
  compute::Tensor made(compute::DType dtype, std::initializer_list<std::int64_t> shape,
                       const void* host);

  compute::Backend& backend_;
  std::mt19937 random_;
  std::vector<std::unique_ptr<compute::Buffer>> buffers_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> blocks_;
  std::vector<std::unique_ptr<compute::Weight>> weights_;
};

struct SelfTestPart {
  std::string_view name;
  std::vector<Outcome> (*run)(Workbench& bench);
};
[[nodiscard]] std::span<const SelfTestPart> all_self_test_parts() noexcept;

}  // namespace hearth::measure
