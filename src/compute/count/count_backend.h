// The counting backend: executes the same layer code as the others, moves no data, and records what
// a pass costs. It is the only cost model there is, so it cannot disagree with the engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"

namespace hearth::compute {

/// One more than the largest DType.
inline constexpr std::size_t kDTypeIds = 43;

/// Products with weights of one type.
struct TypeCounts {
  std::uint64_t bytes = 0;  // read, as stored in the file
  std::uint64_t multiply_adds = 0;
  std::uint64_t grouped_multiply_adds = 0;  // of them, with chosen matrices
};

struct Counts {
  std::uint64_t operations = 0;
  std::uint64_t products = 0;                 // of them, products with weights
  std::uint64_t attentions = 0;               // of them, attention
  std::uint64_t weight_multiply_adds = 0;     // matmuls with stored weights
  std::uint64_t attention_multiply_adds = 0;  // scores and mixing
  std::uint64_t weight_bytes = 0;             // of weights read, as stored in the file
  std::uint64_t kv_bytes_read = 0;
  std::uint64_t kv_bytes_written = 0;
  std::uint64_t scan_multiply_adds = 0;  // recurrent mixers
  std::uint64_t state_bytes = 0;         // of recurrent state, read and written
  /// Values that other operations write, each as often as it is worth: convolutions count their
  /// taps, mixing what it reads.
  std::uint64_t row_values = 0;
  std::uint64_t stored_values = 0;     // of keys and values put into memory
  std::uint64_t attention_values = 0;  // of attention's results
  /// Products by DType of the weights; rows that are only looked up are not among them.
  std::array<TypeCounts, kDTypeIds> by_type{};
  /// Of grouped products, weighted by multiply-adds: rows per matrix and pass.
  double grouped_rows = 0;

  [[nodiscard]] const TypeCounts& of(DType dtype) const noexcept {
    return by_type[static_cast<std::size_t>(dtype)];
  }
};

/// What load_weight was called with.
struct WeightLoad {
  WeightSource source;
  unsigned use = 0;
  Residency residency = Residency::kPacked;
};

class CountBackend : public Backend {
 public:
  /// All weights that were loaded, in order.
  [[nodiscard]] virtual std::span<const WeightLoad> loads() const noexcept = 0;
  [[nodiscard]] virtual const Counts& counts() const noexcept = 0;
  virtual void reset_counts() noexcept = 0;
};

/// Buffers of it have a size but no memory (index tensors excepted, which attention is counted by).
/// Weights take the memory that they would take on `target`, which must outlive it.
[[nodiscard]] std::unique_ptr<CountBackend> make_count_backend(const Backend& target);

}  // namespace hearth::compute
