#include "model/cost.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "model/weights.h"
#include "spec/visit.h"
#include "state/snapshots.h"

namespace hearth::model {

using compute::MemoryCategory;

namespace {

/// The arena of a counted pass: larger than any real one.
constexpr std::size_t kUnlimited = std::size_t{1} << 60;

}  // namespace

std::size_t output_bytes(const spec::ModelSpec& spec, const Outputs& outputs) noexcept {
  return static_cast<std::size_t>(outputs.logit_rows * spec.logits +
                                  outputs.hidden_rows * hidden_width(spec, outputs)) *
         sizeof(float);
}

RunnerLimits limits_of(const spec::Setup& setup, const Outputs& outputs) {
  RunnerLimits limits;
  static_cast<Outputs&>(limits) = outputs;
  limits.batch_rows = std::min(setup.batch_rows, setup.context * setup.sequences);
  limits.sequences = setup.sequences;
  return limits;
}

state::MemoryLimits memory_limits(const spec::Setup& setup) {
  return {.context = setup.context,
          .sequences = setup.sequences,
          .batch_rows = std::min(setup.batch_rows, setup.context),
          .kv_type = setup.kv_type,
          .prefix_cells = setup.prefix_cells,
          .snapshots = setup.snapshots < 0 ? state::kChatSnapshots : setup.snapshots,
          .kv_budget = setup.kv_budget,
          .spill_bytes = setup.spill_bytes,
          .spill_folder = setup.spill_folder};
}

std::int64_t default_context(const spec::ModelSpec& spec) noexcept {
  constexpr std::int64_t kMost = 8192;
  return std::min(kMost, spec.position_limit > 0 ? spec.position_limit : spec.context_length);
}

std::size_t kv_bytes(const spec::ModelSpec& spec, const spec::Setup& setup,
                     const compute::Backend& target) {
  const auto backend = compute::make_count_backend(target);
  const state::MemoryPool pool(*backend, spec, memory_limits(setup));
  return backend->allocated(MemoryCategory::kKv);
}

namespace {

/// A sequence that holds `past` rows.
std::unique_ptr<state::SequenceState> grown_sequence(state::MemoryPool& pool, std::int64_t past) {
  auto sequence = std::make_unique<state::SequenceState>(pool);
  while (sequence->length() < past) {
    sequence->grow(std::min(pool.limits().batch_rows, past - sequence->length()));
    sequence->commit();
  }
  return sequence;
}

}  // namespace

PassCost count_pass(const gguf::File& file, const spec::ModelSpec& spec, const spec::Setup& setup,
                    const compute::Backend& target, std::int64_t rows, std::int64_t past,
                    const Outputs& outputs, const Weights* shared, const AdapterSet* adapters) {
  const auto backend = compute::make_count_backend(target);
  const auto residency = setup.mapped ? compute::Residency::kMapped : compute::Residency::kPacked;
  const Weights weights(file, spec, *backend, residency, {}, shared);
  state::MemoryPool pool(*backend, spec, memory_limits(setup));

  PassCost cost;
  cost.weight_bytes = backend->allocated(MemoryCategory::kWeights);
  cost.kv_bytes = backend->allocated(MemoryCategory::kKv);
  cost.state_bytes = backend->allocated(MemoryCategory::kState);
  for (const spec::TensorUse& use : spec::tensors_of(spec)) {
    const gguf::TensorInfo* tensor = file.find_tensor(use.name);
    if (tensor == nullptr) continue;  // a draft head's, which is the target's
    if (use.role == spec::TensorRole::kMatrix || use.role == spec::TensorRole::kStack) {
      cost.widest = std::max(cost.widest, tensor->shape[0]);
    }
  }
  Runner runner(spec, weights, *backend, pool, limits_of(setup, outputs), kUnlimited);
  runner.set_adapters(adapters);
  // What does not fit into one sequence goes on in another.
  std::vector<std::unique_ptr<state::SequenceState>> sequences;
  std::vector<BatchRow> batch;
  for (std::int64_t i = 0; i < rows; ++i) {
    if (i % (setup.context - past) == 0) sequences.push_back(grown_sequence(pool, past));
    batch.push_back({.sequence = sequences.back().get(),
                     .wants_logits = spec.head.linear.present() && i >= rows - outputs.logit_rows,
                     .wants_hidden = i >= rows - outputs.hidden_rows});
  }
  backend->reset_counts();
  runner.run(batch);
  cost.counts = backend->counts();
  cost.disk_bytes = pool.disk_bytes();
  if (pool.stream() != nullptr) cost.disk_bytes_read = pool.stream()->pass_bytes();
  if (spec.encoder) {
    state::SequenceState encoded(pool);
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows));
    sequences.clear();
    runner.encode(encoded, tokens);
  }
  cost.arena_bytes = runner.arena_high_water();
  const std::span<const compute::WeightLoad> loads = backend->loads();
  cost.loads.assign(loads.begin(), loads.end());
  cost.index_bytes = backend->allocated(MemoryCategory::kBuffers) - kUnlimited;
  return cost;
}

MemoryPlan plan_memory(const gguf::File& file, const spec::ModelSpec& spec,
                       const spec::Setup& setup, compute::Backend& backend, const Outputs& outputs,
                       const Weights* shared) {
  const RunnerLimits limits = limits_of(setup, outputs);
  const PassCost cost =
      count_pass(file, spec, setup, backend, limits.batch_rows, 0, outputs, shared);
  const std::size_t buffers_before =
      shared != nullptr ? backend.allocated(MemoryCategory::kBuffers) : 0;
  backend.reserve(limits.batch_rows, cost.widest);
  for (const compute::WeightLoad& load : cost.loads) {
    backend.reserve_weight(load.source, load.use, load.residency);
  }
  MemoryPlan plan;
  plan.arena_bytes = cost.arena_bytes;
  plan.memory.weights = cost.weight_bytes;
  plan.memory.kv = cost.kv_bytes;
  plan.memory.disk = cost.disk_bytes;
  plan.memory.state = cost.state_bytes;
  plan.memory.buffers = cost.arena_bytes + cost.index_bytes +
                        (backend.allocated(MemoryCategory::kBuffers) - buffers_before);
  plan.memory.other = output_bytes(spec, outputs);
  if (shared == nullptr) plan.memory.other += backend.allocated(MemoryCategory::kOther);
  plan.memory.mapped = file.file_bytes();
  return plan;
}

}  // namespace hearth::model
