#include "model/cost.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "model/weights.h"
#include "spec/visit.h"

namespace hearth::model {

using compute::MemoryCategory;

namespace {

/// The arena of a counted pass: larger than any real one.
constexpr std::size_t kUnlimited = std::size_t{1} << 60;

}  // namespace

RunnerLimits limits_of(const spec::Setup& setup, std::int64_t logit_rows) {
  return {.batch_rows = std::min(setup.batch_rows, setup.context * setup.sequences),
          .logit_rows = logit_rows,
          .context = setup.context,
          .sequences = setup.sequences};
}

std::vector<state::KvLayer> kv_layers(const spec::ModelSpec& spec) {
  std::vector<state::KvLayer> layers;
  for (const spec::Attention* a : spec::attentions_of(spec)) {
    layers.push_back({a->kv_heads, a->key_size, a->value_size});
  }
  return layers;
}

std::int64_t default_context(const spec::ModelSpec& spec) noexcept {
  constexpr std::int64_t kMost = 8192;
  return std::min(kMost, spec.position_limit > 0 ? spec.position_limit : spec.context_length);
}

std::int64_t kv_pages(const spec::Setup& setup) noexcept {
  return (setup.context + state::kPageCells - 1) / state::kPageCells * setup.sequences;
}

PassCost count_pass(const gguf::File& file, const spec::ModelSpec& spec, const spec::Setup& setup,
                    const compute::Backend& target, std::int64_t rows, std::int64_t past,
                    std::int64_t logit_rows) {
  const auto backend = compute::make_count_backend(target);
  const auto residency = setup.mapped ? compute::Residency::kMapped : compute::Residency::kPacked;
  const Weights weights(file, spec, *backend, residency, {});
  const std::vector<state::KvLayer> layers = kv_layers(spec);
  state::KvPool pool(*backend, layers, kv_pages(setup), setup.kv_type);

  PassCost cost;
  cost.weight_bytes = backend->allocated(MemoryCategory::kWeights);
  cost.kv_bytes = backend->allocated(MemoryCategory::kKv);
  for (const spec::TensorUse& use : spec::tensors_of(spec)) {
    if (use.role == spec::TensorRole::kMatrix) {
      cost.widest = std::max(cost.widest, file.find_tensor(use.name)->shape[0]);
    }
  }
  Runner runner(spec, weights, *backend, pool, limits_of(setup, logit_rows), kUnlimited);
  // What does not fit into one sequence goes on in another.
  std::vector<std::unique_ptr<state::SequenceState>> sequences;
  std::vector<BatchRow> batch;
  for (std::int64_t i = 0; i < rows; ++i) {
    if (i % (setup.context - past) == 0) {
      sequences.push_back(std::make_unique<state::SequenceState>(pool, setup.context));
      sequences.back()->grow(past);
    }
    batch.push_back({sequences.back().get(), 0, i >= rows - logit_rows});
  }
  backend->reset_counts();
  runner.run(batch);
  cost.counts = backend->counts();
  cost.arena_bytes = runner.arena_high_water();
  cost.index_bytes = backend->allocated(MemoryCategory::kBuffers) - kUnlimited;
  return cost;
}

MemoryPlan plan_memory(const gguf::File& file, const spec::ModelSpec& spec,
                       const spec::Setup& setup, compute::Backend& backend,
                       std::int64_t logit_rows) {
  const RunnerLimits limits = limits_of(setup, logit_rows);
  const PassCost cost = count_pass(file, spec, setup, backend, limits.batch_rows, 0,
                                   std::min(logit_rows, limits.batch_rows));
  backend.reserve(limits.batch_rows, cost.widest);
  MemoryPlan plan;
  plan.arena_bytes = cost.arena_bytes;
  plan.memory.weights = cost.weight_bytes;
  plan.memory.kv = cost.kv_bytes;
  plan.memory.buffers =
      cost.arena_bytes + cost.index_bytes + backend.allocated(MemoryCategory::kBuffers);
  plan.memory.other = backend.allocated(MemoryCategory::kOther) +
                      static_cast<std::size_t>(logit_rows * spec.vocabulary) * sizeof(float);
  plan.memory.mapped = file.file_bytes();
  return plan;
}

}  // namespace hearth::model
