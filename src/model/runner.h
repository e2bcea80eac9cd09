// The runner: walks a ModelSpec over a backend for a batch of rows, reading and writing the rows'
// sequences.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "model/adapters.h"
#include "model/weights.h"
#include "spec/model_spec.h"
#include "spec/setup.h"
#include "state/memory.h"
#include "state/sequence.h"
#include "tensor/arena.h"

namespace hearth::model {

/// One row of a pass. Rows of one sequence must be in order and next to each other; each takes the
/// sequence's next cell.
struct BatchRow {
  state::SequenceState* sequence = nullptr;
  std::int32_t token = 0;
  bool wants_logits = false;
  /// Hidden state of the row wanted: see Outputs::hidden.
  bool wants_hidden = false;
  /// Rows of images: [input_slices * width], read instead of the token's embedding. Draft heads:
  /// the hidden state of the model they draft for, beside the token (null: zeros).
  const float* input = nullptr;
  /// Multi-axis RoPE: t, h and w of the row (null: all are the next position of the sequence). The
  /// sequence then goes on after the largest of them.
  const std::int32_t* axes = nullptr;
};

enum class HiddenRequest : std::uint8_t {
  kNone,
  kHidden,  // what ModelSpec::head.hidden says: [width], or [streams * width]
  kTaps,    // the stream at the input of layers Outputs::taps: [taps * width]
};

/// What passes are asked for.
struct Outputs {
  std::int64_t logit_rows = 1;  // rows of one pass that may want logits
  HiddenRequest hidden = HiddenRequest::kNone;
  std::int64_t hidden_rows = 0;      // rows of one pass that may want their hidden state
  std::vector<std::int32_t> taps{};  // layers; the number of layers: the state after the last one
};

/// Floats of the hidden state of one row.
[[nodiscard]] std::int64_t hidden_width(const spec::ModelSpec& spec,
                                        const Outputs& outputs) noexcept;

struct RunnerLimits : Outputs {
  std::int64_t batch_rows = spec::kPassRows;
  int sequences = 1;  // different sequences in one pass
};

/// Takes back the cells that a pass gave to its rows.
void forget(std::span<const BatchRow> rows) noexcept;

class Runner {
 public:
  /// `arena_bytes` is the work memory for activations: the high-water mark of a counted pass under
  /// the same limits (model/cost.h). Everything referred to must outlive the runner. Throws Error
  /// when memory is short.
  Runner(const spec::ModelSpec& spec, const Weights& weights, compute::Backend& backend,
         const state::MemoryPool& memory, const RunnerLimits& limits, std::size_t arena_bytes);
  ~Runner();

  /// Evaluates the rows (at most limits().batch_rows) and returns the logits of those that want
  /// them, in order: [wanting rows, spec.logits], valid until the next call. Throws Error for
  /// tokens outside the vocabulary, full sequences and failures of the backend; the sequences are
  /// then as before. Allocates nothing on the heap.
  /// Models that are not causal: all rows of a sequence must be in one pass, on empty sequences.
  std::span<const float> run(std::span<const BatchRow> rows);

  /// Hidden states of the rows of the last pass that wanted them, [rows, hidden_width()], valid
  /// until the next call.
  [[nodiscard]] std::span<const float> hidden() const noexcept;
  [[nodiscard]] std::int64_t hidden_width() const noexcept;

  /// Encoder-decoder models: evaluates the encoder on `tokens` (at most batch_rows) and makes its
  /// output known to `sequence`, which must be empty. Returns the output [tokens, width], valid
  /// until the next call.
  std::span<const float> encode(state::SequenceState& sequence,
                                std::span<const std::int32_t> tokens);

  /// Draft heads with features (EAGLE-3): the hidden states made of features [rows, features], as
  /// `input` of later rows. [rows, width], valid until the next call.
  std::span<const float> fuse_features(std::span<const float> features);

  /// The pooled vectors (spec.pooling without its normalisation, dense modules and classifier
  /// included) of `states` [rows, width], one text after the other; text i has lengths[i] rows.
  /// Returns [texts, pooled_width()], valid until the next call.
  std::span<const float> pool(std::span<const float> states, std::span<const std::int64_t> lengths);
  [[nodiscard]] std::int64_t pooled_width() const noexcept;

  /// Adapters that the next passes apply; null: none. Must outlive them.
  void set_adapters(const AdapterSet* adapters) noexcept;

  /// `check` is called before every layer of later passes and may throw to end one, which then is
  /// as one that failed: people do not wait for long passes that they do not want any more.
  void check_between_layers(std::function<void()> check);

  /// Makes the work memory at least `bytes` large, between passes: adapters need more. Throws Error
  /// when memory is short; nothing has changed then.
  void grow_arena(std::size_t bytes);
  [[nodiscard]] std::size_t arena_bytes() const noexcept;

  [[nodiscard]] const RunnerLimits& limits() const noexcept;
  /// Most activation memory that any pass has used so far, in bytes.
  [[nodiscard]] std::size_t arena_high_water() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::model
