// The runner: walks a ModelSpec over a backend for a batch of rows, reading and writing the rows'
// sequences.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "model/weights.h"
#include "spec/model_spec.h"
#include "state/sequence.h"
#include "tensor/arena.h"

namespace hearth::model {

/// One row of a pass. Rows of one sequence must be in order and next to each other; each takes the
/// sequence's next cell.
struct BatchRow {
  state::SequenceState* sequence = nullptr;
  std::int32_t token = 0;
  bool wants_logits = false;
};

struct RunnerLimits {
  std::int64_t batch_rows = 512;
  std::int64_t logit_rows = 1;  // rows of one pass that may want logits
  std::int64_t context = 0;     // cells per sequence
  int sequences = 1;            // different sequences in one pass
};

/// Takes back the cells that a pass gave to its rows.
void forget(std::span<const BatchRow> rows) noexcept;

class Runner {
 public:
  /// `arena_bytes` is the work memory for activations: the high-water mark of a counted pass under
  /// the same limits (model/cost.h). Everything referred to must outlive the runner. Throws Error
  /// when memory is short.
  Runner(const spec::ModelSpec& spec, const Weights& weights, compute::Backend& backend,
         const state::KvPool& pool, const RunnerLimits& limits, std::size_t arena_bytes);
  ~Runner();

  /// Evaluates the rows (at most limits().batch_rows) and returns the logits of those that want
  /// them, in order: [wanting rows, vocabulary], valid until the next call. Throws Error for tokens
  /// outside the vocabulary, full sequences and failures of the backend; the sequences are then as
  /// before. Allocates nothing on the heap.
  std::span<const float> run(std::span<const BatchRow> rows);

  [[nodiscard]] const RunnerLimits& limits() const noexcept;
  /// Most activation memory that any pass has used so far, in bytes.
  [[nodiscard]] std::size_t arena_high_water() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::model
