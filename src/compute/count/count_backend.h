// The counting backend: executes the same layer code as the others, moves no data, and records what
// a pass costs. It is the only cost model there is, so it cannot disagree with the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"

namespace hearth::compute {

struct Counts {
  std::uint64_t operations = 0;
  std::uint64_t weight_multiply_adds = 0;     // matmuls with stored weights
  std::uint64_t attention_multiply_adds = 0;  // scores and mixing
  std::uint64_t weight_bytes = 0;             // of weights read, as stored in the file
  std::uint64_t kv_bytes_read = 0;
  std::uint64_t kv_bytes_written = 0;
  std::uint64_t scan_multiply_adds = 0;  // recurrent mixers
  std::uint64_t state_bytes = 0;         // of recurrent state, read and written
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
