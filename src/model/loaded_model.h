// A model that is ready to run: the open file, its spec, its weights on a backend, its KV pool and
// a runner.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "gguf/file.h"
#include "model/adapter.h"
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
  /// `outputs`: what passes may be asked for.
  [[nodiscard]] static std::unique_ptr<LoadedModel> load(
      const spec::Setup& setup, const std::function<void(double)>& progress,
      const Outputs& outputs = {});
  /// The same from an open file, on a backend of the caller's (which decides about threads,
  /// exactness and instruction set instead of the setup).
  [[nodiscard]] static std::unique_ptr<LoadedModel> load(
      std::shared_ptr<gguf::File> file, std::shared_ptr<compute::Backend> backend,
      const spec::Setup& setup, const std::function<void(double)>& progress,
      const Outputs& outputs = {});
  /// A model that drafts for `target`, which must outlive it: next-token-prediction block `head` of
  /// the target's own file, or (`setup.model` given) a draft model in a file of its own. It runs on
  /// the target's backend and uses the target's tensors where it has none of its own.
  [[nodiscard]] static std::unique_ptr<LoadedModel> load_draft(LoadedModel& target,
                                                               const spec::Setup& setup,
                                                               std::int64_t head,
                                                               const Outputs& outputs = {});
  ~LoadedModel();

  [[nodiscard]] const gguf::File& file() const noexcept;
  [[nodiscard]] const spec::ModelSpec& spec() const noexcept;
  /// The setup with every default resolved (context, threads).
  [[nodiscard]] const spec::Setup& setup() const noexcept;
  /// Of the whole backend: a draft model's is its target's.
  [[nodiscard]] MemoryReport memory() const noexcept;

  /// A new, empty sequence of setup().context cells.
  [[nodiscard]] std::unique_ptr<state::SequenceState> new_sequence(std::int64_t first_position = 0);

  /// What a text of `tokens` tokens, which are more than the context, would need: a hint for
  /// people.
  [[nodiscard]] std::string context_advice(std::int64_t tokens) const;

  [[nodiscard]] Runner& runner() noexcept;
  [[nodiscard]] compute::Backend& backend() noexcept;
  [[nodiscard]] const Weights& weights() const noexcept;
  [[nodiscard]] state::MemoryPool& pool() noexcept;

  /// Loads a LoRA adapter (a GGUF file or a PEFT folder), or a control vector, beside the weights.
  /// Which of them a pass applies, and how strongly, is chosen by run(). Not while a pass runs.
  /// Throws Error: see AdapterSource::open; exit code 3 when memory is short.
  [[nodiscard]] std::shared_ptr<const Adapter> load_adapter(const std::filesystem::path& path);
  [[nodiscard]] std::shared_ptr<const ControlVector> load_control_vector(
      const std::filesystem::path& path) const;
  /// What load_adapter would allocate, by category. The adapter's file is read, and workspaces are
  /// reserved, for it.
  [[nodiscard]] MemoryReport plan_adapter(const std::filesystem::path& path) const;
  /// A choice for run(). It holds what it is made of.
  [[nodiscard]] std::shared_ptr<const AdapterSet> mix(
      const std::vector<AdapterChoice>& adapters,
      const std::vector<ControlChoice>& vectors = {}) const;

  /// Runs one pass (see Runner::run) with `adapters` (null: none) and checks that the file is still
  /// whole. Rows of sequences that saw other adapters before give neither the one's results nor the
  /// other's: such sequences must be emptied first.
  std::span<const float> run(std::span<const BatchRow> rows, const AdapterSet* adapters = nullptr);

 private:
  struct Impl;
  struct AdapterPlan;
  [[nodiscard]] AdapterPlan plan_for(const std::filesystem::path& path) const;
  explicit LoadedModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::model
