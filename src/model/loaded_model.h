// A model that is ready to run: the open file, its spec, its weights on a backend, its KV pool and
// a runner.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "gguf/file.h"
#include "model/cost.h"
#include "model/runner.h"
#include "spec/model_spec.h"
#include "spec/setup.h"
#include "state/sequence.h"

namespace hearth::model {

class LoadedModel {
 public:
  /// Opens, checks and loads `setup.model`. `progress` (may be empty) is called with the fraction
  /// of the weights that are loaded, 0..1; it may throw to cancel. Throws Error: no such file,
  /// unknown architecture, missing tensor, or (exit code 3, before anything is loaded) not enough
  /// memory.
  /// `logit_rows`: how many rows of one pass may want logits.
  [[nodiscard]] static std::unique_ptr<LoadedModel> load(
      const spec::Setup& setup, const std::function<void(double)>& progress,
      std::int64_t logit_rows = 1);
  ~LoadedModel();

  [[nodiscard]] const gguf::File& file() const noexcept;
  [[nodiscard]] const spec::ModelSpec& spec() const noexcept;
  /// The setup with every default resolved (context, threads).
  [[nodiscard]] const spec::Setup& setup() const noexcept;
  [[nodiscard]] MemoryReport memory() const noexcept;

  /// A new, empty sequence of setup().context cells.
  [[nodiscard]] std::unique_ptr<state::SequenceState> new_sequence(std::int64_t first_position = 0);

  /// Runs one pass (see Runner::run) and checks that the file is still whole.
  std::span<const float> run(std::span<const BatchRow> rows);

 private:
  struct Impl;
  explicit LoadedModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::model
