// Decode and prefill speed of a synthetic 1-billion-parameter llama (the shape of Llama 3.2 1B,
// weights random but valid blocks, made in memory), as fractions of what this machine can do: its
// read bandwidth and its int8 dot-product peak, both measured in turn with the model in the same
// run.
//
//   build/bench/decode_prefill [ROUNDS] [TYPE...]      default: 7 rounds, Q8_0 Q4_K
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "gguf/file.h"
#include "machine/cpu.h"
#include "measure/machine_speed.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/runner.h"
#include "support/error.h"
#include "support/thread_team.h"
#include "tensor/dtype.h"

namespace hearth::bench {
namespace {

using tensor::DType;

struct Shape {
  std::int64_t width = 2048, layers = 16, vocabulary = 128256, heads = 32, kv_heads = 8, head = 64,
               ffn = 8192;
};

/// A GGUF file in memory (format: gguf.md).
class Image {
 public:
  void key(const std::string& name, std::uint32_t value) {
    put_string(name);
    put(std::uint32_t{4});
    put(value);
    ++keys_;
  }
  void key(const std::string& name, float value) {
    put_string(name);
    put(std::uint32_t{6});
    put(value);
    ++keys_;
  }
  void key(const std::string& name, const std::string& value) {
    put_string(name);
    put(std::uint32_t{8});
    put_string(value);
    ++keys_;
  }
  void tensor(const std::string& name, DType dtype, std::int64_t columns, std::int64_t rows) {
    tensors_.push_back({name, dtype, columns, rows});
  }
  /// The whole file; `fill(tensor type, first byte, bytes)` writes the values.
  template <class Fill>
  std::vector<std::byte> finish(Fill fill) {
    std::vector<std::byte> keys;
    std::swap(keys, bytes_);
    put(std::uint32_t{0x46554747});  // "GGUF"
    put(std::uint32_t{3});
    put(static_cast<std::uint64_t>(tensors_.size()));
    put(static_cast<std::uint64_t>(keys_));
    bytes_.insert(bytes_.end(), keys.begin(), keys.end());
    std::size_t offset = 0;
    std::vector<std::size_t> offsets;
    for (const Info& t : tensors_) {
      put_string(t.name);
      put(std::uint32_t{t.rows == 0 ? 1U : 2U});
      put(static_cast<std::uint64_t>(t.columns));
      if (t.rows > 0) put(static_cast<std::uint64_t>(t.rows));
      put(static_cast<std::uint32_t>(t.dtype));
      put(static_cast<std::uint64_t>(offset));
      offsets.push_back(offset);
      offset += aligned(t.bytes());
    }
    const std::size_t data = aligned(bytes_.size());
    bytes_.resize(data + offset);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      fill(tensors_[i].dtype, bytes_.data() + data + offsets[i], tensors_[i].bytes());
    }
    return std::move(bytes_);
  }

 private:
  struct Info {
    std::string name;
    DType dtype;
    std::int64_t columns, rows;  // rows 0: a vector
    [[nodiscard]] std::size_t bytes() const {
      return tensor::row_bytes(dtype,
                               static_cast<std::size_t>(columns * std::max<std::int64_t>(rows, 1)));
    }
  };
  static std::size_t aligned(std::size_t bytes) { return (bytes + 31) / 32 * 32; }
  template <class T>
  void put(T value) {
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), from, from + sizeof value);
  }
  void put_string(const std::string& text) {
    put(static_cast<std::uint64_t>(text.size()));
    const auto* const from = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), from, from + text.size());
  }

  std::vector<std::byte> bytes_;
  std::size_t keys_ = 0;
  std::vector<Info> tensors_;
};

/// Where the half-precision scales of a block are, and how large they should be for weights near
/// 0.02.
void set_scales(DType dtype, std::byte* block) {
  const auto put = [block](std::size_t at, float value) {
    const std::uint16_t half = tensor::half_from_float(value);
    std::memcpy(block + at, &half, sizeof half);
  };
  switch (dtype) {
    case DType::kQ8_0:
      return put(0, 0.0003F);
    case DType::kQ4_0:
      return put(0, 0.004F);
    case DType::kQ4_K:
    case DType::kQ5_K:
      put(0, 0.0001F);
      return put(2, 0.0007F);
    case DType::kQ6_K:
      return put(208, 0.00002F);
    default:
      throw Error("the benchmark has no random blocks of this type",
                  "use Q8_0, Q4_0, Q4_K, Q5_K or Q6_K");
  }
}

void fill_tensor(DType dtype, std::byte* to, std::size_t bytes) {
  if (dtype == DType::kF32) {
    const float one = 1.0F;
    for (std::size_t i = 0; i < bytes; i += sizeof one) std::memcpy(to + i, &one, sizeof one);
    return;
  }
  static std::uint64_t state = 0x9E3779B97F4A7C15U;
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(to + i, &state, 8);
  }
  const std::size_t block = tensor::info(dtype).block_bytes;
  for (std::size_t i = 0; i < bytes; i += block) set_scales(dtype, to + i);
}

std::vector<std::byte> synthetic_model(const Shape& s, DType dtype) {
  Image image;
  const auto number = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
  image.key("general.architecture", std::string("llama"));
  image.key("llama.block_count", number(s.layers));
  image.key("llama.context_length", number(8192));
  image.key("llama.embedding_length", number(s.width));
  image.key("llama.feed_forward_length", number(s.ffn));
  image.key("llama.attention.head_count", number(s.heads));
  image.key("llama.attention.head_count_kv", number(s.kv_heads));
  image.key("llama.rope.dimension_count", number(s.head));
  image.key("llama.rope.freq_base", 500000.0F);
  image.key("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  image.tensor("token_embd.weight", dtype, s.width, s.vocabulary);
  image.tensor("output_norm.weight", DType::kF32, s.width, 0);
  for (std::int64_t layer = 0; layer < s.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    image.tensor(prefix + "attn_norm.weight", DType::kF32, s.width, 0);
    image.tensor(prefix + "attn_q.weight", dtype, s.width, s.heads * s.head);
    image.tensor(prefix + "attn_k.weight", dtype, s.width, s.kv_heads * s.head);
    image.tensor(prefix + "attn_v.weight", dtype, s.width, s.kv_heads * s.head);
    image.tensor(prefix + "attn_output.weight", dtype, s.heads * s.head, s.width);
    image.tensor(prefix + "ffn_norm.weight", DType::kF32, s.width, 0);
    image.tensor(prefix + "ffn_gate.weight", dtype, s.width, s.ffn);
    image.tensor(prefix + "ffn_up.weight", dtype, s.width, s.ffn);
    image.tensor(prefix + "ffn_down.weight", dtype, s.ffn, s.width);
  }
  return image.finish(fill_tensor);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Samples {
  std::vector<double> values;
  void add(double value) { values.push_back(value); }
  [[nodiscard]] double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
  [[nodiscard]] double best() const { return *std::max_element(values.begin(), values.end()); }
};

constexpr std::int64_t kPrompt = 512;
constexpr std::int64_t kDecoded = 16;

void run(DType dtype, int rounds) {
  const std::vector<std::byte> image = synthetic_model({}, dtype);
  const gguf::File file = gguf::File::from_bytes(image);
  const spec::ModelSpec spec = model::describe_model(file, {2048});
  spec::Setup setup;
  setup.context = 2048;
  const auto backend = compute::make_cpu_backend({});
  const model::PassCost cost = model::count_pass(file, spec, setup, *backend, kPrompt, 0);
  const model::PassCost token_cost = model::count_pass(file, spec, setup, *backend, 1, kPrompt);
  backend->reserve(kPrompt, cost.widest);
  const double loading = now();
  const model::Weights weights(file, spec, *backend, compute::Residency::kPacked, nullptr);
  const double load_seconds = now() - loading;
  state::MemoryPool pool(*backend, spec, model::memory_limits(setup));
  model::Runner runner(spec, weights, *backend, pool, model::limits_of(setup), cost.arena_bytes);

  ThreadTeam team(machine::usable_cores());
  measure::MachineSpeed machine(team);
  Samples bandwidth, peak, decode, prefill, decode_fraction, prefill_fraction;
  const auto token_bytes =
      static_cast<double>(token_cost.counts.weight_bytes + token_cost.counts.kv_bytes_read);
  const auto prompt_work = static_cast<double>(cost.counts.weight_multiply_adds);
  for (int round = 0; round < rounds + 1; ++round) {
    state::SequenceState sequence(pool);
    std::vector<model::BatchRow> rows;
    for (std::int32_t i = 0; i < kPrompt; ++i)
      rows.push_back({.sequence = &sequence, .token = 100 + 37 * i, .wants_logits = i + 1 == kPrompt});
    const double top = machine.int8_peak();
    double start = now();
    (void)runner.run(rows);
    const double prefill_rate = static_cast<double>(kPrompt) / (now() - start);
    const double speed = std::max(machine.read_bandwidth(), machine.read_bandwidth());
    start = now();
    for (std::int64_t i = 0; i < kDecoded; ++i) {
      const model::BatchRow row{.sequence = &sequence, .token = static_cast<std::int32_t>(1000 + i), .wants_logits = true};
      (void)runner.run({&row, 1});
    }
    const double decode_rate = static_cast<double>(kDecoded) / (now() - start);
    if (round == 0) continue;  // warming up
    peak.add(top);
    bandwidth.add(speed);
    prefill.add(prefill_rate);
    decode.add(decode_rate);
    decode_fraction.add(decode_rate * token_bytes / speed);
    prefill_fraction.add(prefill_rate / static_cast<double>(kPrompt) * prompt_work / top);
  }
  const double best_bandwidth = bandwidth.best();
  const double best_peak = peak.best();
  std::printf("%s: %.0f MB of weights read per token, packed in %.2f s (%.0f MB in memory)\n",
              std::string(tensor::name(dtype)).c_str(),
              static_cast<double>(token_cost.counts.weight_bytes) / 1e6, load_seconds,
              static_cast<double>(backend->allocated(compute::MemoryCategory::kWeights)) / 1e6);
  std::printf("  read bandwidth  %7.1f GB/s median, %7.1f best\n", bandwidth.median() / 1e9,
              best_bandwidth / 1e9);
  std::printf("  int8 peak       %7.1f GMAC/s median, %5.1f best\n", peak.median() / 1e9,
              best_peak / 1e9);
  std::printf(
      "  decode          %7.1f tok/s median, %7.1f best: %5.1f %% of the bandwidth (median of "
      "rounds), %5.1f %% best to best\n",
      decode.median(), decode.best(), 100 * decode_fraction.median(),
      100 * decode.best() * token_bytes / best_bandwidth);
  std::printf(
      "  prefill %lld     %7.1f tok/s median, %7.1f best: %5.1f %% of the int8 peak (median of "
      "rounds), %5.1f %% best to best\n",
      static_cast<long long>(kPrompt), prefill.median(), prefill.best(),
      100 * prefill_fraction.median(),
      100 * prefill.best() / static_cast<double>(kPrompt) * prompt_work / best_peak);
}

int main_with(int count, char** arguments) {
  const int rounds = count > 1 ? std::max(1, std::atoi(arguments[1])) : 7;
  std::vector<std::string> names(arguments + std::min(count, 2), arguments + count);
  if (names.empty()) names = {"Q8_0", "Q4_K"};
  std::printf("%s, %d cores, kernels: %s\n", machine::cpu_name().c_str(), machine::usable_cores(),
              compute::chosen_cpu_instruction_set().c_str());
  for (const std::string& name : names) {
    const auto dtype = tensor::dtype_from_name(name);
    if (!dtype) throw Error("unknown type '" + printable(name) + "'");
    run(*dtype, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** arguments) {
  try {
    return hearth::bench::main_with(count, arguments);
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n%s\n", error.what(), error.hint().c_str());
    return static_cast<int>(error.exit_code());
  }
}
