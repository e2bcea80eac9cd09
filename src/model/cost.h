// What a pass costs and how much memory a model needs: the layer code run over the counting
// backend, not a formula.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compute/count/count_backend.h"
#include "gguf/file.h"
#include "model/runner.h"
#include "model/weights.h"
#include "spec/model_spec.h"
#include "spec/setup.h"

namespace hearth::model {

/// The limits a setup (with its defaults resolved) gives to a runner.
[[nodiscard]] RunnerLimits limits_of(const spec::Setup& setup, const Outputs& outputs = {});
[[nodiscard]] state::MemoryLimits memory_limits(const spec::Setup& setup);

/// Cells that a model gets when nobody asks for a number: what it was trained for, at most 8192.
[[nodiscard]] std::int64_t default_context(const spec::ModelSpec& spec) noexcept;

/// Most bytes that logits and hidden states of one pass take on the host.
[[nodiscard]] std::size_t output_bytes(const spec::ModelSpec& spec,
                                       const Outputs& outputs) noexcept;

/// Bytes of KV that a pool under `setup` (context resolved) takes on backends like `target`.
[[nodiscard]] std::size_t kv_bytes(const spec::ModelSpec& spec, const spec::Setup& setup,
                                   const compute::Backend& target);

struct PassCost {
  compute::Counts counts;
  std::size_t weight_bytes = 0;              // resident weights
  std::size_t kv_bytes = 0;                  // of all pages
  std::uint64_t disk_bytes = 0;              // of the file of pages that have no room in kv_bytes
  std::uint64_t disk_bytes_read = 0;         // from it, by the pass
  std::size_t state_bytes = 0;               // of all slots of recurrent state
  std::size_t arena_bytes = 0;               // high-water mark of the activations
  std::size_t index_bytes = 0;               // index tensors
  std::int64_t widest = 0;                   // largest number of input features of any matrix
  std::vector<compute::WeightLoad> loads{};  // views of the file's names and bytes
};

/// Bytes by category. Not in total(): `mapped`, the mapping of the file, and `disk`, the keys and
/// values that are on disk.
struct MemoryReport {
  std::size_t weights = 0, kv = 0, state = 0, buffers = 0, other = 0;
  std::size_t mapped = 0;
  std::uint64_t disk = 0;
  [[nodiscard]] std::size_t total() const noexcept {
    return weights + kv + state + buffers + other;
  }
};

/// Cost on `target` of a pass of `rows` rows of one sequence that already holds `past` cells (of
/// several such sequences when the rows do not fit into one); logits and hidden states of as many
/// of the last rows as `outputs` allows. `past` must be less than the context. `shared`: weights
/// that are loaded already (model/weights.h). `adapters`: what the pass applies; their weights are
/// counted in `counts` only.
[[nodiscard]] PassCost count_pass(const gguf::File& file, const spec::ModelSpec& spec,
                                  const spec::Setup& setup, const compute::Backend& target,
                                  std::int64_t rows, std::int64_t past, const Outputs& outputs = {},
                                  const Weights* shared = nullptr,
                                  const AdapterSet* adapters = nullptr);

/// What an engine under `setup` will allocate on `backend`, whose workspaces it reserves: all of
/// them are part of the plan, unless the weights of another model are `shared`, which has them in
/// its own; then only their growth is.
struct MemoryPlan {
  MemoryReport memory;
  std::size_t arena_bytes = 0;
};
[[nodiscard]] MemoryPlan plan_memory(const gguf::File& file, const spec::ModelSpec& spec,
                                     const spec::Setup& setup, compute::Backend& backend,
                                     const Outputs& outputs = {}, const Weights* shared = nullptr);

}  // namespace hearth::model
