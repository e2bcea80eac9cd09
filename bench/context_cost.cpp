// What one decoded token costs at a short and at a long context, by operation, on synthetic models
// of each kind of mixer (made in memory): what should not grow with the context must not. And two
// counts: values that latent attention caches per token, bytes of experts that a token reads.
//
//   build/bench/context_cost [ROUNDS]      default: 31 rounds of one token at either context
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "compute/profile/profile_backend.h"
#include "gguf/file.h"
#include "machine/cpu.h"
#include "measure/samples.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/runner.h"
#include "support/error.h"
#include "synthetic_models.h"

namespace hearth::bench {
namespace {

using compute::Operation;
using measure::median;

constexpr std::int64_t kShort = 1024;
constexpr std::int64_t kLong = 32768;
/// Milliseconds of one token: whole, and by operation.
struct Sample {
  double whole = 0;
  std::array<double, compute::kOperations> operations{};
};

class Bench {
 public:
  Bench(const gguf::File& file, const spec::ModelSpec& spec)
      : file_(file), spec_(spec), cpu_(compute::make_cpu_backend({})) {
    setup_.context = kLong + 256;
    setup_.sequences = 2;
    backend_ = compute::make_profile_backend(*cpu_);
    const model::MemoryPlan plan = model::plan_memory(file_, spec_, setup_, *backend_);
    weights_ = std::make_unique<model::Weights>(file_, spec_, *backend_,
                                                compute::Residency::kPacked, nullptr);
    pool_ = std::make_unique<state::MemoryPool>(*backend_, spec_, model::memory_limits(setup_));
    runner_ = std::make_unique<model::Runner>(spec_, *weights_, *backend_, *pool_,
                                              model::limits_of(setup_), plan.arena_bytes);
  }
  [[nodiscard]] const state::MemoryPool& pool() const { return *pool_; }

  /// Paired rounds: a token at either context in turn.
  void run(const char* name, int rounds) {
    const auto few = grown(kShort);
    const auto many = grown(kLong);
    std::vector<Sample> at_few, at_many;
    for (int round = -3; round < rounds; ++round) {
      const Sample a = token(*few);
      const Sample b = token(*many);
      if (round < 0) continue;  // warming up
      at_few.push_back(a);
      at_many.push_back(b);
    }
    const auto line = [&](std::string_view what, auto of) {
      std::vector<double> a, b, ratio;
      for (std::size_t i = 0; i < at_few.size(); ++i) {
        a.push_back(of(at_few[i]));
        b.push_back(of(at_many[i]));
        ratio.push_back(b.back() / a.back());
      }
      std::printf("%-22s %-18s %9.3f %9.3f %7.2f\n", name, std::string(what).c_str(), median(a),
                  median(b), median(ratio));
    };
    line("token", [](const Sample& s) { return s.whole; });
    for (std::size_t i = 0; i < compute::kOperations; ++i) {
      if (at_few[0].operations[i] < 0.002 * at_few[0].whole &&
          at_many[0].operations[i] < 0.002 * at_many[0].whole) {
        continue;
      }
      line(compute::operation_name(static_cast<Operation>(i)),
           [i](const Sample& s) { return s.operations[i]; });
    }
  }

 private:
  /// A sequence that holds `length` rows that nobody evaluated: what is in them does not matter.
  std::unique_ptr<state::SequenceState> grown(std::int64_t length) {
    auto sequence = std::make_unique<state::SequenceState>(*pool_);
    while (sequence->length() < length) {
      sequence->grow(std::min(pool_->limits().batch_rows, length - sequence->length()));
      sequence->commit();
    }
    return sequence;
  }
  Sample token(state::SequenceState& sequence) {
    using Clock = std::chrono::steady_clock;
    const model::BatchRow row{.sequence = &sequence, .token = 7, .wants_logits = true};
    backend_->reset_profile();
    const Clock::time_point begin = Clock::now();
    (void)runner_->run({&row, 1});
    Sample sample;
    sample.whole = 1e3 * std::chrono::duration<double>(Clock::now() - begin).count();
    for (std::size_t i = 0; i < compute::kOperations; ++i) {
      sample.operations[i] = 1e3 * backend_->profile()[i].seconds;
    }
    return sample;
  }

  const gguf::File& file_;
  const spec::ModelSpec& spec_;
  spec::Setup setup_;
  std::unique_ptr<compute::Backend> cpu_;
  std::unique_ptr<compute::ProfileBackend> backend_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<state::MemoryPool> pool_;
  std::unique_ptr<model::Runner> runner_;
};

void print_latent(const state::MemoryPool& pool, const spec::ModelSpec& spec) {
  std::int64_t values = 0;
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    const auto index = static_cast<spec::MemoryIndex>(i);
    values += pool.keys(index).shape[1] * pool.keys(index).shape[3];
    if (pool.values(index)) values += pool.values(index).shape[1] * pool.values(index).shape[3];
  }
  std::printf("%-22s caches %lld values per token and layer: latent %lld + rope %lld\n", "",
              static_cast<long long>(values / kLayers), static_cast<long long>(kLatent),
              static_cast<long long>(kRope));
}

void print_experts(const gguf::File& file, const spec::ModelSpec& spec) {
  const auto backend = compute::make_cpu_backend({});
  spec::Setup setup;
  setup.context = kShort;
  const model::PassCost cost = model::count_pass(file, spec, setup, *backend, 1, 0);
  std::uint64_t all = 0;
  std::uint64_t stacks = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.dimensions == 3) stacks += tensor.bytes;
    // Of the embedding table one row.
    all += tensor.name == "token_embd.weight" ? tensor.bytes / kVocabulary
           : tensor.dimensions == 2           ? tensor.bytes
                                              : 0;
  }
  std::printf(
      "%-22s reads %.3f MB per token: %.3f MB of other weights + %lld of %lld experts "
      "(%.3f of %.3f MB)\n",
      "", static_cast<double>(cost.counts.weight_bytes) / 1e6, static_cast<double>(all) / 1e6,
      static_cast<long long>(kUsed), static_cast<long long>(kExperts),
      static_cast<double>(cost.counts.weight_bytes - all) / 1e6, static_cast<double>(stacks) / 1e6);
}

int main_with(int rounds) {
  std::printf("%s, %d cores, kernels: %s; one token, ms\n", machine::cpu_name().c_str(),
              machine::usable_cores(), compute::chosen_cpu_instruction_set().c_str());
  std::printf("%-22s %-18s %9s %9s %7s\n", "model", "operation", "at 1k", "at 32k", "ratio");
  struct Kind {
    const char* name;
    std::string (*make)();
  };
  const Kind kinds[] = {{"sliding window", [] { return windows(1000); }},
                        {"window + full (4:1)", [] { return windows(4); }},
                        {"gated delta net", delta_net},
                        {"mamba-2", mamba2},
                        {"lfm2 convolutions", lfm2},
                        {"latent attention", latent},
                        {"mixture of experts", experts}};
  for (const Kind& kind : kinds) {
    const std::string image = kind.make();
    const gguf::File file = gguf::File::from_bytes(std::as_bytes(std::span(image)));
    const spec::ModelSpec spec = model::describe_model(file, {kLong + 256});
    Bench bench(file, spec);
    bench.run(kind.name, rounds);
    if (kind.make == latent) print_latent(bench.pool(), spec);
    if (kind.make == experts) print_experts(file, spec);
  }
  return 0;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** arguments) {
  try {
    return hearth::bench::main_with(count > 1 ? std::max(1, std::atoi(arguments[1])) : 31);
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n%s\n", error.what(), error.hint().c_str());
    return static_cast<int>(error.exit_code());
  }
}
