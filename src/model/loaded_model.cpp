#include "model/loaded_model.h"

#include <algorithm>

#include "compute/cpu/cpu_backend.h"
#include "machine/memory.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/fitting.h"
#include "model/load_errors.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::model {

using compute::MemoryCategory;

namespace {

// Rows between two times that a packed model's file is given back: each looks up a row of the
// embedding table, which maps up to 64 KiB of it.
constexpr std::size_t kRowsUntilForgotten = 256;
// More than any model; products with it cannot overflow.
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;
// Beyond weights, KV and work buffers: the program itself, the tokenizer, file pages.
constexpr std::size_t kHeadroom = std::size_t{64} << 20;

struct Resolved {
  spec::Setup setup;
  spec::ModelSpec spec;
  MemoryPlan plan;
};

/// Describes the model for a context: the file's own, or one of its draft heads.
using Describe = std::function<spec::ModelSpec(std::int64_t context)>;

/// Fills in the defaults of a setup that do not depend on memory.
Resolved with_defaults(const Describe& describe, const spec::Setup& given) {
  if (given.context < 0 || given.context > kMaxContext) {
    throw Error("a context of " + std::to_string(given.context) + " tokens is not possible",
                "use --ctx with a number up to " + std::to_string(kMaxContext), ExitCode::kUsage);
  }
  Resolved resolved{given, describe(given.context), {}};
  spec::Setup& setup = resolved.setup;
  // Exact evaluation reads the stored values themselves, so packing would be a copy for nothing.
  setup.mapped = setup.mapped || setup.exact;
  const std::int64_t limit = resolved.spec.position_limit;
  if (limit > 0 && setup.context > limit) {
    throw ContextTooLong("a context of " + std::to_string(setup.context) +
                             " tokens is more than the " + std::to_string(limit) +
                             " positions the model knows",
                         "use --ctx " + std::to_string(limit) + " or less");
  }
  if (setup.context == 0) {
    setup.context = default_context(resolved.spec);
    resolved.spec = describe(setup.context);
  }
  // Encoders read whole texts in one pass.
  if (!resolved.spec.causal || resolved.spec.encoder) setup.batch_rows = setup.context;
  return resolved;
}

/// Plans the memory and refuses what does not fit, before anything is loaded. A context that nobody
/// asked for shrinks until it fits.
void fit_into_memory(Resolved& resolved, const gguf::File& file, const Describe& describe,
                     bool context_was_given, compute::Backend& backend, const Outputs& outputs,
                     const Weights* shared) {
  const std::size_t available = machine::memory_facts().available;
  spec::Setup& setup = resolved.setup;
  for (;;) {
    resolved.plan = plan_memory(file, resolved.spec, setup, backend, outputs, shared);
    const MemoryReport& memory = resolved.plan.memory;
    const std::size_t needed = memory.total() + kHeadroom;
    if (available == 0 || needed <= available) return;
    if (context_was_given || setup.context <= 512 || needed - memory.kv >= available) {
      const std::size_t without_kv = needed - memory.kv;
      std::string hint = "use a smaller --ctx, a smaller quantization or a smaller model";
      if (without_kv < available) {
        const std::optional<spec::KvFormat> format =
            fitting_kv_format(resolved.spec, setup, backend, available - without_kv);
        if (format) hint = "--kv " + format->name() + " would fit; else " + hint;
      }
      throw MemoryShortage("the model needs " + precise_size_text(needed) + " of memory (weights " +
                               precise_size_text(memory.weights) + ", KV cache for " +
                               std::to_string(setup.context) + " tokens " +
                               precise_size_text(memory.kv) + " in " + setup.kv_type.name() +
                               ") and " + precise_size_text(available) + " are available",
                           hint, needed - available);
    }
    if (!resolved.spec.causal || resolved.spec.encoder) setup.batch_rows = setup.context / 2;
    setup.context /= 2;
    resolved.spec = describe(setup.context);
  }
}

/// Completes a draft model in a file of its own: what it does not have is its target's.
void borrow(spec::ModelSpec& draft, const spec::ModelSpec& target, const gguf::File& file) {
  bool fits = true;
  const auto is_own = [&](const std::string& name) { return file.find_tensor(name) != nullptr; };
  if (draft.embedding.tokens.empty()) {
    draft.embedding.tokens = target.embedding.tokens;
    fits = draft.width == target.width && draft.vocabulary <= target.vocabulary &&
           !is_own(draft.embedding.tokens);
  }
  if (!draft.head.linear.present()) {
    const spec::Linear& head = draft.head.linear = target.head.linear;
    if (draft.head.target_tokens.empty()) draft.logits = head.out;
    fits = fits && head.in == draft.width && head.out == draft.logits && !is_own(head.weight) &&
           !is_own(head.bias) && !is_own(head.scale);
  }
  if (fits) return;
  throw Error("the draft model and its target have different widths or vocabularies",
              "use the target it was made for");
}

}  // namespace

struct LoadedModel::Impl {
  std::shared_ptr<gguf::File> file;
  std::shared_ptr<compute::Backend> backend;
  spec::Setup setup;
  spec::ModelSpec spec;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<state::MemoryPool> pool;
  std::unique_ptr<Runner> runner;
  const Weights* shared = nullptr;  // of the model that this one drafts for
  std::vector<std::weak_ptr<const Adapter>> adapters;
  std::size_t rows_since_forgotten = 0;

  /// What stays in the file are tables of rows: they are not to become memory of this process.
  void forget_rows(std::size_t rows) {
    rows_since_forgotten += rows;
    if (setup.mapped || rows_since_forgotten < kRowsUntilForgotten) return;
    file->forget_pages();
    rows_since_forgotten = 0;
  }

  [[nodiscard]] compute::Residency residency() const {
    return setup.mapped ? compute::Residency::kMapped : compute::Residency::kPacked;
  }

  void load(const Describe& describe, const spec::Setup& given,
            const std::function<void(double)>& progress, const Outputs& outputs,
            const Weights* weights_of_target) {
    shared = weights_of_target;
    Resolved resolved = with_defaults(describe, given);
    fit_into_memory(resolved, *file, describe, given.context > 0, *backend, outputs, shared);
    setup = resolved.setup;
    spec = std::move(resolved.spec);
    pool = std::make_unique<state::MemoryPool>(*backend, spec, memory_limits(setup));
    weights = std::make_unique<Weights>(*file, spec, *backend, residency(), progress, shared);
    runner = std::make_unique<Runner>(spec, *weights, *backend, *pool, limits_of(setup, outputs),
                                      resolved.plan.arena_bytes);
    file->check();
    if (!setup.mapped) file->forget_pages();  // the weights are not to be in memory twice
  }
};

LoadedModel::LoadedModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoadedModel::~LoadedModel() = default;

std::unique_ptr<LoadedModel> LoadedModel::load(const spec::Setup& given,
                                               const std::function<void(double)>& progress,
                                               const Outputs& outputs) {
  auto file = std::make_shared<gguf::File>(gguf::File::open(given.model));
  return load(std::move(file),
              compute::make_cpu_backend({.threads = given.threads,
                                         .exact = given.exact,
                                         .instruction_set = given.instruction_set}),
              given, progress, outputs);
}

std::unique_ptr<LoadedModel> LoadedModel::load(std::shared_ptr<gguf::File> opened,
                                               std::shared_ptr<compute::Backend> backend,
                                               const spec::Setup& given,
                                               const std::function<void(double)>& progress,
                                               const Outputs& outputs) {
  auto impl = std::make_unique<Impl>();
  impl->file = std::move(opened);
  impl->backend = std::move(backend);
  const gguf::File& file = *impl->file;
  const auto describe = [&](std::int64_t context) {
    spec::ModelSpec spec = describe_model(file, {context, given.rope_scaling});
    if (spec.embedding.hidden) {
      throw Error("this model only guesses what another one will say, and cannot run alone",
                  "see `hearth logits --help`: --target names the model it was made for");
    }
    return spec;
  };
  impl->load(describe, given, progress, outputs, nullptr);
  return std::unique_ptr<LoadedModel>(new LoadedModel(std::move(impl)));
}

std::unique_ptr<LoadedModel> LoadedModel::load_draft(LoadedModel& target, const spec::Setup& given,
                                                     std::int64_t head, const Outputs& outputs) {
  auto impl = std::make_unique<Impl>();
  const bool own_file = !given.model.empty();
  impl->file =
      own_file ? std::make_shared<gguf::File>(gguf::File::open(given.model)) : target.impl_->file;
  impl->backend = target.impl_->backend;
  const gguf::File& file = *impl->file;
  const auto describe = [&](std::int64_t context) {
    if (!own_file) return describe_draft_head(file, {context, given.rope_scaling}, head);
    spec::ModelSpec spec = describe_model(file, {context, given.rope_scaling});
    borrow(spec, target.spec(), file);
    return spec;
  };
  impl->load(describe, given, {}, outputs, target.impl_->weights.get());
  return std::unique_ptr<LoadedModel>(new LoadedModel(std::move(impl)));
}

const gguf::File& LoadedModel::file() const noexcept { return *impl_->file; }
const spec::ModelSpec& LoadedModel::spec() const noexcept { return impl_->spec; }
const spec::Setup& LoadedModel::setup() const noexcept { return impl_->setup; }

MemoryReport LoadedModel::memory() const noexcept {
  const auto bytes = [this](MemoryCategory category) {
    return impl_->backend->allocated(category);
  };
  MemoryReport report{bytes(MemoryCategory::kWeights), bytes(MemoryCategory::kKv),
                      bytes(MemoryCategory::kState),   bytes(MemoryCategory::kBuffers),
                      bytes(MemoryCategory::kOther),   impl_->file->file_bytes()};
  report.disk = impl_->pool->disk_bytes();
  report.other += output_bytes(impl_->spec, impl_->runner->limits());
  for (const std::weak_ptr<const Adapter>& each : impl_->adapters) {
    if (const std::shared_ptr<const Adapter> adapter = each.lock())
      report.other += adapter->host_bytes();
  }
  return report;
}

std::unique_ptr<state::SequenceState> LoadedModel::new_sequence(std::int64_t first_position) {
  return std::make_unique<state::SequenceState>(*impl_->pool, first_position);
}

std::string LoadedModel::context_advice(std::int64_t tokens) const {
  // What is held now is free when the model is loaded again.
  const std::size_t held = impl_->backend->allocated(MemoryCategory::kKv);
  return model::context_advice(impl_->spec, impl_->setup, *impl_->backend, tokens,
                               machine::memory_facts().available + held);
}

Runner& LoadedModel::runner() noexcept { return *impl_->runner; }
compute::Backend& LoadedModel::backend() noexcept { return *impl_->backend; }
const Weights& LoadedModel::weights() const noexcept { return *impl_->weights; }
state::MemoryPool& LoadedModel::pool() noexcept { return *impl_->pool; }

/// What an adapter takes on top of what the engine has.
struct LoadedModel::AdapterPlan {
  std::shared_ptr<const AdapterSource> source;
  MemoryReport memory;
  std::size_t arena_bytes = 0;
};

LoadedModel::AdapterPlan LoadedModel::plan_for(const std::filesystem::path& path) const {
  AdapterPlan plan;
  plan.source = AdapterSource::open(path, *impl_->file, impl_->spec);
  const std::shared_ptr<compute::CountBackend> counter =
      compute::make_count_backend(*impl_->backend);
  const auto counted = std::make_shared<const Adapter>(plan.source, counter, impl_->residency());
  const AdapterMix all({{counted, 1.0F}}, {}, counter, impl_->spec);
  const RunnerLimits& limits = impl_->runner->limits();
  const PassCost cost = count_pass(*impl_->file, impl_->spec, impl_->setup, *impl_->backend,
                                   limits.batch_rows, 0, limits, impl_->shared, &all);
  plan.arena_bytes = std::max(cost.arena_bytes, impl_->runner->arena_bytes());
  plan.memory.weights = counter->allocated(MemoryCategory::kWeights);
  const std::size_t buffers_before = impl_->backend->allocated(MemoryCategory::kBuffers);
  impl_->backend->reserve(limits.batch_rows, counted->widest());
  plan.memory.buffers = plan.arena_bytes - impl_->runner->arena_bytes() +
                        (impl_->backend->allocated(MemoryCategory::kBuffers) - buffers_before);
  plan.memory.other = counted->host_bytes();
  return plan;
}

MemoryReport LoadedModel::plan_adapter(const std::filesystem::path& path) const {
  return plan_for(path).memory;
}

std::shared_ptr<const Adapter> LoadedModel::load_adapter(const std::filesystem::path& path) {
  const AdapterPlan plan = plan_for(path);
  const std::size_t available = machine::memory_facts().available;
  if (available > 0 && plan.memory.total() + kHeadroom > available) {
    throw Error("the adapter needs " + precise_size_text(plan.memory.total()) + " of memory and " +
                    precise_size_text(available) + " are available",
                "use a smaller --ctx or a smaller model", ExitCode::kDoesNotFit);
  }
  impl_->runner->grow_arena(plan.arena_bytes);
  auto adapter = std::make_shared<const Adapter>(plan.source, impl_->backend, impl_->residency());
  impl_->adapters.push_back(adapter);
  return adapter;
}

std::shared_ptr<const ControlVector> LoadedModel::load_control_vector(
    const std::filesystem::path& path) const {
  return std::make_shared<const ControlVector>(path, impl_->spec);
}

std::shared_ptr<const AdapterSet> LoadedModel::mix(
    const std::vector<AdapterChoice>& adapters, const std::vector<ControlChoice>& vectors) const {
  return std::make_shared<const AdapterMix>(adapters, vectors, impl_->backend, impl_->spec);
}

std::span<const float> LoadedModel::run(std::span<const BatchRow> rows,
                                        const AdapterSet* adapters) {
  for (const BatchRow& row : rows) {
    if (impl_->spec.encoder && row.sequence->encoder_length() == 0) {
      throw Error("the decoder of this model has no encoded text to read", "encode a text first");
    }
  }
  impl_->runner->set_adapters(adapters);
  const std::span<const float> logits = impl_->runner->run(rows);
  impl_->forget_rows(rows.size());
  try {
    impl_->file->check();
    if (adapters != nullptr) {
      for (const std::weak_ptr<const Adapter>& each : impl_->adapters) {
        if (const std::shared_ptr<const Adapter> adapter = each.lock()) adapter->check();
      }
    }
  } catch (...) {
    forget(rows);
    throw;
  }
  return logits;
}

}  // namespace hearth::model
