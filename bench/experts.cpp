// Grouped products of a synthetic layer of experts (the shape of Qwen3 30B-A3B: 128 experts of 768
// by 2048, 8 of them used; weights random but valid blocks): decode as a fraction of this machine's
// read bandwidth, prefill beside a dense product of the same number of multiply-adds.
//
//   build/bench/experts [ROUNDS] [TYPE...]      default: 9 rounds, Q8_0 Q4_K
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "measure/machine_speed.h"
#include "measure/random_blocks.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/thread_team.h"
#include "tensor/dtype.h"

namespace hearth::bench {
namespace {

using compute::GroupedProjection;
using compute::Projection;
using compute::Weight;
using measure::median;
using measure::now;
using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kWidth = 2048, kExpertWidth = 768, kExperts = 128, kUsed = 8;
constexpr std::int64_t kPrompt = 512;
constexpr int kDecoded = 32;

class Random {
 public:
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }

 private:
  std::uint64_t state_ = 0x9E3779B97F4A7C15U;
};

/// Random blocks of small values.
std::vector<std::byte> random_weight(DType dtype, std::int64_t elements, Random& random) {
  std::vector<std::byte> bytes(tensor::row_bytes(dtype, static_cast<std::size_t>(elements)));
  measure::fill_random_blocks(dtype, random.next(), bytes);
  return bytes;
}

/// The tensors of one pass of `rows` rows through a layer of experts, and the choice of experts.
class Pass {
 public:
  Pass(compute::Backend& backend, std::int64_t rows, Random& random) : backend_(backend) {
    x = make(DType::kF32, {rows, 1, kWidth});
    both = make(DType::kF32, {rows, kUsed, 2 * kExpertWidth});
    out = make(DType::kF32, {rows, kUsed, kWidth});
    ids = make(DType::kI32, {rows, kUsed});
    std::vector<float> values(static_cast<std::size_t>(rows * kWidth));
    for (float& v : values) v = static_cast<float>(random.next() % 2001) / 1000.0F - 1.0F;
    backend.write(x, values.data());
    choose(random);
  }
  /// Different experts for every row.
  void choose(Random& random) {
    std::vector<std::int32_t> chosen;
    for (std::int64_t t = 0; t < ids.shape[0]; ++t) {
      const std::size_t begin = chosen.size();
      while (chosen.size() < begin + kUsed) {
        const auto id = static_cast<std::int32_t>(random.next() % kExperts);
        const auto own = chosen.begin() + static_cast<std::ptrdiff_t>(begin);
        if (std::find(own, chosen.end(), id) == chosen.end()) chosen.push_back(id);
      }
    }
    backend_.write(ids, chosen.data());
  }

  Tensor x, both, out, ids;

 private:
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
    buffers_.push_back(backend_.allocate(static_cast<std::size_t>(t.elements()) * 4,
                                         compute::MemoryCategory::kBuffers));
    t.buffer = buffers_.back().get();
    return t;
  }

  compute::Backend& backend_;
  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
};

void run(DType dtype, int rounds) {
  Random random;
  const std::int64_t matrix = kExpertWidth * kWidth;
  const std::vector<std::byte> gate_bytes = random_weight(dtype, kExperts * matrix, random);
  const std::vector<std::byte> up_bytes = random_weight(dtype, kExperts * matrix, random);
  const std::vector<std::byte> down_bytes = random_weight(dtype, kExperts * matrix, random);
  const auto backend = compute::make_cpu_backend({});
  backend->reserve(kPrompt, kWidth);
  const auto load = [&](const std::vector<std::byte>& bytes, std::int64_t rows,
                        std::int64_t columns, std::int64_t matrices) {
    return backend->load_weight({"w", dtype, rows, columns, bytes, matrices}, compute::kUseMatmul,
                                compute::Residency::kPacked);
  };
  const auto gate = load(gate_bytes, kExpertWidth, kWidth, kExperts);
  const auto up = load(up_bytes, kExpertWidth, kWidth, kExperts);
  const auto down = load(down_bytes, kWidth, kExpertWidth, kExperts);
  // As many multiply-adds per row as the chosen experts.
  const auto dense_gate = load(gate_bytes, kUsed * kExpertWidth, kWidth, 1);
  const auto dense_up = load(up_bytes, kUsed * kExpertWidth, kWidth, 1);
  const auto dense_down = load(down_bytes, kWidth, kUsed * kExpertWidth, 1);

  const auto grouped = [&](const Pass& pass) {
    const Tensor gates = pass.both.slice(2, 0, kExpertWidth);
    const GroupedProjection first[] = {
        {gate.get(), gates, {}, {}},
        {up.get(), pass.both.slice(2, kExpertWidth, kExpertWidth), {}, {}}};
    backend->grouped_matmul(pass.x, pass.ids, first);
    const GroupedProjection second{down.get(), pass.out, {}, {}};
    backend->grouped_matmul(gates, pass.ids, {&second, 1});
  };
  const auto dense = [&](const Pass& pass) {
    const Tensor x = pass.x.join_last();
    const Tensor both = pass.both.join_last();
    const Tensor gates = both.columns(0, kUsed * kExpertWidth);
    const Projection first[] = {
        {dense_gate.get(), gates, {}, 1},
        {dense_up.get(), both.columns(kUsed * kExpertWidth, kUsed * kExpertWidth), {}, 1}};
    backend->matmul(x, first);
    const Projection second{dense_down.get(), pass.out.join_last().columns(0, kWidth), {}, 1};
    backend->matmul(gates, {&second, 1});
  };

  Pass token(*backend, 1, random);
  Pass prompt(*backend, kPrompt, random);
  ThreadTeam team(machine::usable_cores());
  measure::MachineSpeed machine(team);
  const double token_bytes =
      3.0 * kUsed * static_cast<double>(tensor::row_bytes(dtype, static_cast<std::size_t>(matrix)));
  const double prompt_work = 2.0 * 3.0 * kUsed * static_cast<double>(matrix) * kPrompt;
  std::vector<double> bandwidth, decode, fraction, prefill, dense_prefill;
  for (int round = 0; round < rounds + 1; ++round) {
    const double speed = std::max(machine.read_bandwidth(), machine.read_bandwidth());
    double seconds = 0;
    for (int i = 0; i < kDecoded; ++i) {
      token.choose(random);
      const double start = now();
      grouped(token);
      seconds += now() - start;
    }
    const double rate = kDecoded * token_bytes / seconds;
    double start = now();
    grouped(prompt);
    const double grouped_seconds = now() - start;
    start = now();
    dense(prompt);
    const double dense_seconds = now() - start;
    if (round == 0) continue;  // warming up
    bandwidth.push_back(speed);
    decode.push_back(rate);
    fraction.push_back(rate / speed);
    prefill.push_back(prompt_work / grouped_seconds);
    dense_prefill.push_back(prompt_work / dense_seconds);
  }
  const std::string name(tensor::name(dtype));
  std::printf("%s decode: %.1f GB/s of chosen experts, %.1f %% of %.1f GB/s read bandwidth\n",
              name.c_str(), median(decode) / 1e9, 100 * median(fraction), median(bandwidth) / 1e9);
  std::printf("%s prefill %lld: %.1f GFLOP/s, %.1f %% of a dense product's %.1f GFLOP/s\n",
              name.c_str(), static_cast<long long>(kPrompt), median(prefill) / 1e9,
              100 * median(prefill) / median(dense_prefill), median(dense_prefill) / 1e9);
}

int main_with(int count, char** arguments) {
  const int rounds = count > 1 ? std::max(1, std::atoi(arguments[1])) : 9;
  std::vector<std::string> names(arguments + std::min(count, 2), arguments + count);
  if (names.empty()) names = {"Q8_0", "Q4_K"};
  std::printf("%s, %d cores, kernels: %s\n", machine::cpu_name().c_str(), machine::usable_cores(),
              compute::chosen_cpu_instruction_set().c_str());
  for (const std::string& name : names) {
    const auto dtype = tensor::dtype_from_name(name);
    if (!dtype || !measure::has_random_blocks(*dtype)) {
      throw Error("weights are not stored as '" + printable(name) + "'", "use Q8_0 or Q4_K, say");
    }
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
