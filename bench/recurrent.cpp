// Speed of the recurrent mixers on 32 heads of size 128 (or what is usual for each): decode steps
// as a fraction of this machine's read bandwidth (states are read and written: half is the most
// that memory allows), and prefill in the chunked forms against row by row.
//
//   build/bench/recurrent [ROUNDS] [THREADS]      default: 5 rounds (medians), all cores
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "measure/machine_speed.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace hearth::bench {
namespace {

using compute::Backend;
using compute::MemoryCategory;
using measure::median;
using measure::seconds_of;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kPrefillRows = 512;

class Tensors {
 public:
  explicit Tensors(Backend& backend) : backend_(backend) {}
  Tensor floats(std::initializer_list<std::int64_t> shape, float low, float high) {
    Tensor t = make(DType::kF32, shape);
    std::uniform_real_distribution<float> distribution(low, high);
    std::vector<float> values(static_cast<std::size_t>(t.elements()));
    constexpr std::size_t kPeriod = 1 << 16;  // then it repeats: making numbers is slow
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = i < kPeriod ? distribution(engine_) : values[i - kPeriod];
    }
    backend_.write(t, values.data());
    return t;
  }
  Tensor ints(const std::vector<std::int32_t>& values) {
    const Tensor t = make(DType::kI32, {static_cast<std::int64_t>(values.size())});
    backend_.write(t, values.data());
    return t;
  }

 private:
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
    buffers_.push_back(
        backend_.allocate(static_cast<std::size_t>(t.elements()) * 4, MemoryCategory::kOther));
    t.buffer = buffers_.back().get();
    return t;
  }
  Backend& backend_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::mt19937 engine_{1};
};

/// One mixer: its state [slots, heads, rows, columns], and how to run it over rows of one sequence
/// that begin with the state in a slot and leave it in slots.
struct Mixer {
  std::string name;
  std::int64_t heads, rows, columns;
  std::function<void(const compute::RecurrentRows&, const Tensor& state, std::int64_t count)> run;
};

std::vector<Mixer> mixers(Backend& backend, Tensors& tensors) {
  const auto head_rows = [&](std::int64_t heads, std::int64_t size, float low, float high) {
    return tensors.floats({kPrefillRows, heads, size}, low, high);
  };
  const Tensor wide = head_rows(32, 128, -0.08F, 0.08F);
  const Tensor out = head_rows(32, 128, 0, 0);
  const Tensor key_decay = head_rows(32, 128, -0.1F, -0.001F);
  const Tensor head_decay = tensors.floats({kPrefillRows, 32}, -0.1F, -0.001F);
  const Tensor positive = tensors.floats({kPrefillRows, 4096}, 0.001F, 0.1F);
  const Tensor small = tensors.floats({kPrefillRows, 1, 128}, -0.1F, 0.1F);
  const Tensor negative = tensors.floats({4096, 16}, -2, -1);
  const Tensor head_factors = tensors.floats({64}, -2, -1);
  const Tensor ones = tensors.floats({4096}, 1, 1);
  const Tensor factors = head_rows(64, 64, 0.6F, 1);
  const auto split = [](const Tensor& t, std::int64_t heads) {
    return t.join_last().split_last(heads);
  };
  const auto delta = [=, &backend](const Tensor& decay) {
    return
        [=, &backend](const compute::RecurrentRows& rows, const Tensor& state, std::int64_t count) {
          const Tensor x = wide.rows(0, count);
          backend.delta_scan({.q = x,
                              .k = x,
                              .v = x,
                              .decay = decay.rows(0, count),
                              .beta = positive.columns(0, 32).rows(0, count),
                              .state = state,
                              .rows = rows,
                              .out = out.rows(0, count)});
        };
  };
  return {
      {"gated delta net", 32, 128, 128, delta(head_decay)},
      {"Kimi delta attention", 32, 128, 128, delta(key_decay)},
      {"Mamba-2, heads of 64", 64, 64, 128,
       [=, &backend](const compute::RecurrentRows& rows, const Tensor& state, std::int64_t count) {
         backend.state_space_scan({.x = split(wide, 64).rows(0, count),
                                   .dt = positive.columns(0, 64).rows(0, count),
                                   .b = small.rows(0, count),
                                   .c = small.rows(0, count),
                                   .a = head_factors,
                                   .d = ones,
                                   .state = state,
                                   .rows = rows,
                                   .out = split(out, 64).rows(0, count)});
       }},
      {"Mamba-1, 4096 channels", 1, 4096, 16,
       [=, &backend](const compute::RecurrentRows& rows, const Tensor& state, std::int64_t count) {
         const Tensor selection = small.join_last().rows(0, count);
         backend.selective_scan({.x = wide.join_last().rows(0, count),
                                 .dt = positive.rows(0, count),
                                 .b = selection.columns(0, 16),
                                 .c = selection.columns(16, 16),
                                 .a = negative,
                                 .d = ones,
                                 .state = state,
                                 .rows = rows,
                                 .out = out.join_last().rows(0, count)});
       }},
      {"RWKV-7, heads of 64", 64, 64, 64,
       [=, &backend](const compute::RecurrentRows& rows, const Tensor& state, std::int64_t count) {
         const Tensor x = split(wide, 64).rows(0, count);
         backend.rwkv_scan({.r = x,
                            .w = factors.rows(0, count),
                            .k = x,
                            .v = x,
                            .a = x,
                            .b = x,
                            .state = state,
                            .rows = rows,
                            .out = split(out, 64).rows(0, count)});
       }},
  };
}

void measure_mixer(const Mixer& mixer, Tensors& tensors, measure::MachineSpeed& machine,
                   int rounds) {
  // States of many layers, so that each comes from memory.
  const std::int64_t floats = mixer.heads * mixer.rows * mixer.columns;
  const std::int64_t slots = std::max<std::int64_t>(2, (std::int64_t{32} << 20) / floats);
  const Tensor state = tensors.floats({slots, mixer.heads, mixer.rows, mixer.columns}, -0.1F, 0.1F);
  const Tensor one_segment = tensors.ints({0, 1});
  std::vector<compute::RecurrentRows> steps;
  for (std::int32_t slot = 0; slot < slots; ++slot) {
    const Tensor index = tensors.ints({slot});
    steps.push_back({one_segment, index, index});
  }
  std::vector<std::int32_t> last(kPrefillRows, -1);
  last.back() = 0;
  const Tensor whole = tensors.ints({0, static_cast<std::int32_t>(kPrefillRows)});
  const Tensor zero = tensors.ints({0});
  const compute::RecurrentRows chunked{whole, zero, tensors.ints(last)};
  // Every row's state wanted: row by row.
  const compute::RecurrentRows single{whole, zero,
                                      tensors.ints(std::vector<std::int32_t>(kPrefillRows, 0))};
  std::vector<double> fractions;
  std::vector<double> chunk_speeds;
  std::vector<double> row_speeds;
  for (int round = 0; round <= rounds; ++round) {
    const double bandwidth = machine.read_bandwidth();
    const double decode = seconds_of([&] {
      for (const compute::RecurrentRows& rows : steps) mixer.run(rows, state, 1);
    });
    const double in_chunks = seconds_of([&] { mixer.run(chunked, state, kPrefillRows); });
    const double in_rows = seconds_of([&] { mixer.run(single, state, kPrefillRows); });
    if (round == 0) continue;
    fractions.push_back(static_cast<double>(slots * floats) * 4 / decode / bandwidth);
    chunk_speeds.push_back(kPrefillRows / in_chunks);
    row_speeds.push_back(kPrefillRows / in_rows);
  }
  std::printf(
      "%-24s decode: state bytes at %4.0f%% of read bandwidth; prefill %7.0f tokens/s, "
      "row by row %7.0f (x %.2f)\n",
      mixer.name.c_str(), 100 * median(fractions), median(chunk_speeds), median(row_speeds),
      median(chunk_speeds) / median(row_speeds));
}

void run(int rounds, int threads) {
  const std::unique_ptr<Backend> backend =
      compute::make_cpu_backend({.threads = threads, .instruction_set = {}});
  ThreadTeam team(threads);
  measure::MachineSpeed machine(team, {}, std::size_t{256} << 20);
  std::printf("%s, %d threads, one layer, prompt of %d tokens, read bandwidth %.1f GB/s\n",
              std::string(backend->name()).c_str(), team.size(), static_cast<int>(kPrefillRows),
              machine.read_bandwidth() / 1e9);
  std::fflush(stdout);
  Tensors shared(*backend);
  for (const Mixer& mixer : mixers(*backend, shared)) {
    Tensors own(*backend);
    measure_mixer(mixer, own, machine, rounds);
  }
}

}  // namespace
}  // namespace hearth::bench

int main(int argc, char** argv) {
  try {
    const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
    const int threads = argc > 2 ? std::max(1, std::atoi(argv[2])) : 0;
    hearth::bench::run(rounds, threads > 0 ? threads : hearth::machine::usable_cores());
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "recurrent: %s\n", error.what());
    return 1;
  }
  return 0;
}
