// Whether this machine computes correctly: the operations of the CPU backend with every set of
// kernels that can run here, against the reference backend, on random shapes and numbers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compute/backend.h"

namespace hearth::measure {

/// One kind of operations with one set of kernels.
struct SelfTestResult {
  std::string kernels;  // "avx2"
  std::string part;     // "products"
  int compared = 0;     // outcomes
  double worst =
      0;  // normalised mean square error (NMSE) of the one furthest off, of those allowed
  std::string wrong;  // "Q4_K, 5 rows: NMSE 0.12, allowed 0.001"; empty: all are right
  [[nodiscard]] bool right() const noexcept { return wrong.empty(); }
};

struct SelfTestOptions {
  /// The sets of kernels; empty: all that can run here, or HEARTH_CPU alone where that is set.
  std::vector<std::string> kernels;
  int threads = 0;  // 0: all usable cores
  std::uint32_t seed = 1;
  /// Makes the backend that is tested; tests put broken ones here.
  std::function<std::unique_ptr<compute::Backend>(const std::string& kernels, int threads)> make;
  /// Called after every part.
  std::function<void(const SelfTestResult&)> on_result;
  const std::atomic<bool>* stop = nullptr;  // set: Error (kInterrupted) after the part
};

/// Some seconds. Throws Error when kernels are unknown or memory is missing.
[[nodiscard]] std::vector<SelfTestResult> self_test(const SelfTestOptions& options);

/// The parts in the order they are tested: "products", "rows", "experts", "attention",
/// "elementwise", "recurrent".
[[nodiscard]] std::vector<std::string_view> self_test_parts();

}  // namespace hearth::measure
