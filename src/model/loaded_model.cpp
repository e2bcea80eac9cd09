#include "model/loaded_model.h"

#include <algorithm>
#include <cstdio>

#include "compute/cpu/cpu_backend.h"
#include "machine/memory.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using compute::MemoryCategory;

namespace {

// More than any model; products with it cannot overflow.
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;
// Beyond weights, KV and work buffers: the program itself, the tokenizer, file pages.
constexpr std::size_t kHeadroom = std::size_t{64} << 20;

std::string bytes_text(std::size_t bytes) {
  char text[32];
  const auto count = static_cast<double>(bytes);
  if (bytes < 1'000'000'000) {
    std::snprintf(text, sizeof text, "%.1f MB", count / 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.2f GB", count / 1e9);
  }
  return text;
}

struct Resolved {
  spec::Setup setup;
  spec::ModelSpec spec;
  MemoryPlan plan;
};

/// Fills in the defaults of a setup that do not depend on memory.
Resolved with_defaults(const gguf::File& file, const spec::Setup& given) {
  if (given.context < 0 || given.context > kMaxContext) {
    throw Error("a context of " + std::to_string(given.context) + " tokens is not possible",
                "use --ctx with a number up to " + std::to_string(kMaxContext), ExitCode::kUsage);
  }
  Resolved resolved{given, describe_model(file, {given.context}), {}};
  spec::Setup& setup = resolved.setup;
  // Exact evaluation reads the stored values themselves, so packing would be a copy for nothing.
  setup.mapped = setup.mapped || setup.exact;
  const std::int64_t limit = resolved.spec.position_limit;
  if (limit > 0 && setup.context > limit) {
    throw Error("a context of " + std::to_string(setup.context) + " tokens is more than the " +
                    std::to_string(limit) + " positions the model knows",
                "use --ctx " + std::to_string(limit) + " or less", ExitCode::kDoesNotFit);
  }
  if (setup.context == 0) {
    setup.context = default_context(resolved.spec);
    resolved.spec = describe_model(file, {setup.context});
  }
  return resolved;
}

/// Plans the memory and refuses what does not fit, before anything is loaded. A context that nobody
/// asked for shrinks until it fits.
void fit_into_memory(Resolved& resolved, const gguf::File& file, bool context_was_given,
                     compute::Backend& backend, std::int64_t logit_rows) {
  const std::size_t available = machine::memory_facts().available;
  spec::Setup& setup = resolved.setup;
  for (;;) {
    resolved.plan = plan_memory(file, resolved.spec, setup, backend, logit_rows);
    const MemoryReport& memory = resolved.plan.memory;
    const std::size_t needed = memory.total() + kHeadroom;
    if (available == 0 || needed <= available) return;
    if (context_was_given || setup.context <= 512 || needed - memory.kv >= available) {
      throw Error("the model needs " + bytes_text(needed) + " of memory (weights " +
                      bytes_text(memory.weights) + ", KV cache for " +
                      std::to_string(setup.context) + " tokens " + bytes_text(memory.kv) +
                      ") and " + bytes_text(available) + " are available",
                  "use a smaller --ctx, a smaller quantization or a smaller model",
                  ExitCode::kDoesNotFit);
    }
    setup.context /= 2;
    resolved.spec = describe_model(file, {setup.context});
  }
}

}  // namespace

struct LoadedModel::Impl {
  gguf::File file;
  spec::Setup setup;
  spec::ModelSpec spec;
  std::unique_ptr<compute::Backend> backend;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<state::KvPool> pool;
  std::unique_ptr<Runner> runner;
};

LoadedModel::LoadedModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoadedModel::~LoadedModel() = default;

std::unique_ptr<LoadedModel> LoadedModel::load(const spec::Setup& given,
                                               const std::function<void(double)>& progress,
                                               std::int64_t logit_rows) {
  auto impl =
      std::unique_ptr<Impl>(new Impl{gguf::File::open(given.model), {}, {}, {}, {}, {}, {}});
  impl->backend = compute::make_cpu_backend(
      {.threads = given.threads, .exact = given.exact, .instruction_set = given.instruction_set});
  Resolved resolved = with_defaults(impl->file, given);
  fit_into_memory(resolved, impl->file, given.context > 0, *impl->backend, logit_rows);
  impl->setup = resolved.setup;
  impl->spec = std::move(resolved.spec);
  const spec::Setup& setup = impl->setup;

  const std::vector<state::KvLayer> layers = kv_layers(impl->spec);
  impl->pool =
      std::make_unique<state::KvPool>(*impl->backend, layers, kv_pages(setup), setup.kv_type);
  impl->weights = std::make_unique<Weights>(
      impl->file, impl->spec, *impl->backend,
      setup.mapped ? compute::Residency::kMapped : compute::Residency::kPacked, progress);
  impl->runner = std::make_unique<Runner>(impl->spec, *impl->weights, *impl->backend, *impl->pool,
                                          limits_of(setup, logit_rows), resolved.plan.arena_bytes);
  impl->file.check();
  return std::unique_ptr<LoadedModel>(new LoadedModel(std::move(impl)));
}

const gguf::File& LoadedModel::file() const noexcept { return impl_->file; }
const spec::ModelSpec& LoadedModel::spec() const noexcept { return impl_->spec; }
const spec::Setup& LoadedModel::setup() const noexcept { return impl_->setup; }

MemoryReport LoadedModel::memory() const noexcept {
  const auto bytes = [this](MemoryCategory category) {
    return impl_->backend->allocated(category);
  };
  MemoryReport report{bytes(MemoryCategory::kWeights), bytes(MemoryCategory::kKv),
                      bytes(MemoryCategory::kState),   bytes(MemoryCategory::kBuffers),
                      bytes(MemoryCategory::kOther),   impl_->file.file_bytes()};
  report.other +=
      static_cast<std::size_t>(impl_->runner->limits().logit_rows * impl_->spec.vocabulary) *
      sizeof(float);
  return report;
}

std::unique_ptr<state::SequenceState> LoadedModel::new_sequence(std::int64_t first_position) {
  return std::make_unique<state::SequenceState>(*impl_->pool, impl_->setup.context, first_position);
}

std::span<const float> LoadedModel::run(std::span<const BatchRow> rows) {
  const std::span<const float> logits = impl_->runner->run(rows);
  try {
    impl_->file.check();
  } catch (...) {
    forget(rows);
    throw;
  }
  return logits;
}

}  // namespace hearth::model
