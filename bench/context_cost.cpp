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
#include "gguf/writer.h"
#include "machine/cpu.h"
#include "measure/samples.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/runner.h"
#include "support/error.h"

namespace hearth::bench {
namespace {

using compute::Operation;
using measure::median;
using tensor::DType;

constexpr std::int64_t kShort = 1024;
constexpr std::int64_t kLong = 32768;
constexpr std::int64_t kWidth = 1024, kLayers = 8, kVocabulary = 4096, kHeads = 16, kKvHeads = 4,
                       kHead = 64, kHidden = 2048, kExperts = 32, kUsed = 4, kExpertWidth = 512;

/// A model of a family, its weights small random numbers of type F16.
class Image {
 public:
  explicit Image(const std::string& architecture) : prefix_(architecture + ".") {
    writer_.set("general.architecture", architecture);
    key("block_count", kLayers);
    key("context_length", 2 * kLong);
    key("embedding_length", kWidth);
    key("feed_forward_length", kHidden);
    key("attention.head_count", kHeads);
    key("attention.head_count_kv", kKvHeads);
    writer_.set(prefix_ + "attention.layer_norm_rms_epsilon", 1e-5F);
    matrix("token_embd.weight", {kWidth, kVocabulary});
    vector("output_norm.weight", kWidth);
  }
  void key(const std::string& name, std::int64_t value) {
    writer_.set(prefix_ + name, static_cast<std::uint32_t>(value));
  }
  gguf::Writer& writer() { return writer_; }
  void matrix(const std::string& name, std::vector<std::int64_t> shape) {
    add(name, std::move(shape), DType::kF16);
  }
  void vector(const std::string& name, std::int64_t size, std::int64_t rows = 1) {
    if (rows == 1) {
      add(name, {size}, DType::kF32);
    } else {
      add(name, {size, rows}, DType::kF32);
    }
  }
  /// Dense feed-forward part of a layer.
  void feed_forward(const std::string& layer) {
    matrix(layer + "ffn_gate.weight", {kWidth, kHidden});
    matrix(layer + "ffn_up.weight", {kWidth, kHidden});
    matrix(layer + "ffn_down.weight", {kHidden, kWidth});
  }
  void attention(const std::string& layer, std::int64_t query_rows = kHeads * kHead) {
    matrix(layer + "attn_q.weight", {kWidth, query_rows});
    matrix(layer + "attn_k.weight", {kWidth, kKvHeads * kHead});
    matrix(layer + "attn_v.weight", {kWidth, kKvHeads * kHead});
    matrix(layer + "attn_output.weight", {kHeads * kHead, kWidth});
  }
  [[nodiscard]] std::string bytes() const { return writer_.bytes(); }

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape, DType dtype) {
    std::size_t elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<std::size_t>(size);
    std::vector<float> values(elements);
    for (float& value : values) {
      state_ = state_ * 1664525U + 1013904223U;
      value = (static_cast<float>(state_ >> 8) / 16777216.0F - 0.5F) * 0.05F;
    }
    writer_.add_floats(name, std::move(shape), values, dtype);
  }

  std::string prefix_;
  gguf::Writer writer_;
  std::uint32_t state_ = 1;
};

std::string layer_name(std::int64_t layer) { return "blk." + std::to_string(layer) + "."; }

void gemma_layer(Image& image, const std::string& name) {
  for (const char* norm : {"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"}) {
    image.vector(name + norm + ".weight", kWidth);
  }
  image.vector(name + "attn_q_norm.weight", kHead);
  image.vector(name + "attn_k_norm.weight", kHead);
  image.attention(name);
  image.feed_forward(name);
}

/// Windows of 512 in all layers (`period` large) or all but every period-th.
std::string windows(std::int64_t period) {
  Image image("gemma3");
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("attention.sliding_window", 512);
  image.key("attention.sliding_window_pattern", period);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) gemma_layer(image, layer_name(layer));
  return image.bytes();
}

std::string delta_net() {
  Image image("qwen35");
  constexpr std::int64_t kState = 128, kValueHeads = 8, kKeyHeads = 4;
  constexpr std::int64_t kInner = kState * kValueHeads, kMixed = kInner + 2 * kKeyHeads * kState;
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("ssm.conv_kernel", 4);
  image.key("ssm.state_size", kState);
  image.key("ssm.group_count", kKeyHeads);
  image.key("ssm.time_step_rank", kValueHeads);
  image.key("ssm.inner_size", kInner);
  image.key("full_attention_interval", kLayers + 1);
  image.key("rope.dimension_count", 16);
  image.writer().set_array("qwen35.rope.dimension_sections", std::vector<std::int32_t>{3, 3, 2, 0});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "post_attention_norm.weight", kWidth);
    image.matrix(name + "attn_qkv.weight", {kWidth, kMixed});
    image.matrix(name + "attn_gate.weight", {kWidth, kInner});
    image.vector(name + "ssm_conv1d.weight", 4, kMixed);
    image.vector(name + "ssm_dt.bias", kValueHeads);
    image.vector(name + "ssm_a", kValueHeads);
    image.matrix(name + "ssm_beta.weight", {kWidth, kValueHeads});
    image.matrix(name + "ssm_alpha.weight", {kWidth, kValueHeads});
    image.vector(name + "ssm_norm.weight", kState);
    image.matrix(name + "ssm_out.weight", {kInner, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

std::string mamba2() {
  Image image("mamba2");
  constexpr std::int64_t kInner = 2 * kWidth, kState = 128, kMixers = 32, kGroups = 1;
  constexpr std::int64_t kMixed = kInner + 2 * kGroups * kState;
  image.key("ssm.conv_kernel", 4);
  image.key("ssm.inner_size", kInner);
  image.key("ssm.state_size", kState);
  image.key("ssm.time_step_rank", kMixers);
  image.key("ssm.group_count", kGroups);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.matrix(name + "ssm_in.weight", {kWidth, kInner + kMixed + kMixers});
    image.vector(name + "ssm_conv1d.weight", 4, kMixed);
    image.vector(name + "ssm_conv1d.bias", kMixed);
    image.vector(name + "ssm_dt.bias", kMixers);
    image.vector(name + "ssm_a", 1, kMixers);
    image.vector(name + "ssm_d", 1, kMixers);
    image.vector(name + "ssm_norm.weight", kInner / kGroups);
    image.matrix(name + "ssm_out.weight", {kInner, kWidth});
  }
  return image.bytes();
}

/// Short convolutions only: the attention layers of LFM2 are as those of any other model.
std::string lfm2() {
  Image image("lfm2");
  image.writer().set_array("lfm2.attention.head_count_kv", std::vector<std::int32_t>(kLayers, 0));
  image.key("shortconv.l_cache", 3);
  image.key("vocab_size", kVocabulary);
  image.vector("token_embd_norm.weight", kWidth);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "shortconv.conv.weight", 3, kWidth);
    image.matrix(name + "shortconv.in_proj.weight", {kWidth, 3 * kWidth});
    image.matrix(name + "shortconv.out_proj.weight", {kWidth, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

constexpr std::int64_t kLatent = 512, kRope = 64;

std::string latent() {
  Image image("deepseek2");
  constexpr std::int64_t kPlain = 64, kValue = 64;
  image.key("attention.kv_lora_rank", kLatent);
  image.key("attention.key_length", kLatent + kRope);
  image.key("attention.value_length", kLatent);
  image.key("attention.key_length_mla", kPlain + kRope);
  image.key("attention.value_length_mla", kValue);
  image.key("attention.head_count_kv", 1);
  image.key("rope.dimension_count", kRope);
  image.key("attention.q_lora_rank", 512);
  image.key("vocab_size", kVocabulary);
  image.key("leading_dense_block_count", kLayers);
  // No layer has experts, but the family asks for their numbers.
  image.key("expert_count", kExperts);
  image.key("expert_used_count", kUsed);
  image.key("expert_shared_count", 1);
  image.key("expert_feed_forward_length", kExpertWidth);
  image.matrix("output.weight", {kWidth, kVocabulary});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "attn_q_a_norm.weight", 512);
    image.vector(name + "attn_kv_a_norm.weight", kLatent);
    image.matrix(name + "attn_q_a.weight", {kWidth, 512});
    image.matrix(name + "attn_q_b.weight", {512, kHeads * (kPlain + kRope)});
    image.matrix(name + "attn_kv_a_mqa.weight", {kWidth, kLatent + kRope});
    image.matrix(name + "attn_k_b.weight", {kPlain, kLatent, kHeads});
    image.matrix(name + "attn_v_b.weight", {kLatent, kValue, kHeads});
    image.matrix(name + "attn_output.weight", {kHeads * kValue, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

std::string experts() {
  Image image("qwen3moe");
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("expert_count", kExperts);
  image.key("expert_used_count", kUsed);
  image.key("expert_feed_forward_length", kExpertWidth);
  image.matrix("output.weight", {kWidth, kVocabulary});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "attn_q_norm.weight", kHead);
    image.vector(name + "attn_k_norm.weight", kHead);
    image.attention(name);
    image.matrix(name + "ffn_gate_inp.weight", {kWidth, kExperts});
    image.matrix(name + "ffn_gate_exps.weight", {kWidth, kExpertWidth, kExperts});
    image.matrix(name + "ffn_up_exps.weight", {kWidth, kExpertWidth, kExperts});
    image.matrix(name + "ffn_down_exps.weight", {kExpertWidth, kWidth, kExperts});
  }
  return image.bytes();
}

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
