// How fast the kernels of decoding are: panels of every format times one row of activations.
//
//   HEARTH_CPU=avx2 build/bench/one_row [--repeat N] [--threads N] [TYPE...]
//
// For each format, in gigabytes of the file's blocks per second:
//   cache   one thread on panels that stay in the second-level cache, by its processor time: what
//           the arithmetic allows, however fast the memory happens to be;
//   one     one thread on 256 MiB;
//   all     all threads on the same, and its fraction of their plain reads right before and after.
// `size` is the packed size over the file's: a fraction cannot exceed its inverse. Medians.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "compute/cpu/kernel_choice.h"
#include "compute/cpu/panels.h"
#include "machine/cpu.h"
#include "machine/topology.h"
#include "measure/machine_speed.h"
#include "measure/random_blocks.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/huge_pages.h"
#include "support/thread_team.h"

namespace {

using hearth::compute::cpu::DotArguments;
using hearth::compute::cpu::PanelFormat;
using hearth::compute::cpu::RowFormat;
using hearth::measure::median;
using hearth::measure::now;
using hearth::tensor::DType;

constexpr std::int64_t kColumns = 2048;
constexpr std::size_t kCacheBytes = std::size_t{384} << 10;
constexpr std::size_t kMemoryBytes = std::size_t{256} << 20;
constexpr std::size_t kShare = std::size_t{1} << 20;

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Bench {
 public:
  Bench(int threads, int repeat)
      : kernels_(hearth::compute::cpu::choose_kernels({})),
        team_(threads, hearth::machine::team_places(threads, "")),
        speed_(team_, {}, kMemoryBytes),
        repeat_(repeat),
        memory_(kMemoryBytes) {
    std::minstd_rand random(1);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
    hearth::compute::cpu::Row256Layout layout(kColumns);
    row_.resize(static_cast<std::size_t>(layout.bytes) + 64 + 4 * kColumns);
  }

  void print_machine() {
    std::printf("%s, %d threads, reads of %.1f GB/s\n", kernels_.name, team_.size(), read_all());
    std::printf("%-8s %5s %7s %7s %7s %7s %6s\n", "", "size", "cache", "one", "all", "reads", "");
  }

  void measure(DType dtype) {
    pack(dtype);
    std::vector<double> cache;
    std::vector<double> one;
    std::vector<double> all;
    std::vector<double> reads;
    std::vector<double> fractions;
    for (int round = 0; round < repeat_; ++round) {
      cache.push_back(from_cache());
      one.push_back(from_memory(1));
      const double before = read_all();
      all.push_back(from_memory(team_.size()));
      reads.push_back((before + read_all()) / 2);
      fractions.push_back(all.back() / reads.back());
    }
    std::printf("%-8s %5.2f %7.1f %7.1f %7.1f %7.1f %5.0f%%\n",
                std::string(hearth::tensor::name(dtype)).c_str(), 1 / file_share_, median(cache),
                median(one), median(all), median(reads), 100 * median(fractions));
    std::fflush(stdout);
  }

 private:
  void pack(DType dtype) {
    using namespace hearth::compute::cpu;
    const PanelFormat format = panel_format(dtype, false, kernels_);
    dot_ = kernels_.dot[static_cast<int>(format)];
    panel_ = panel_bytes(format, kColumns);
    const std::size_t bytes = 16 * hearth::tensor::row_bytes(dtype, kColumns);
    file_share_ = static_cast<double>(bytes) / static_cast<double>(panel_);
    cached_ = kCacheBytes / panel_;
    std::vector<std::byte> blocks(bytes);
    for (std::size_t i = 0; i < cached_; ++i) {
      hearth::measure::fill_random_blocks(dtype, i, blocks);
      pack_panel(kernels_, {"random", dtype, 16, kColumns, blocks}, format, 0, 16,
                 memory_.data() + i * panel_);
    }
    panels_ = kMemoryBytes / panel_;
    for (std::size_t i = cached_; i < panels_; ++i) {
      std::memcpy(memory_.data() + i * panel_, memory_.data() + i % cached_ * panel_, panel_);
    }
    activations_ = row_.data() + (64 - reinterpret_cast<std::uintptr_t>(row_.data()) % 64) % 64;
    switch (row_format(format)) {
      case RowFormat::kFloat:
        std::memcpy(activations_, x_, sizeof x_);
        return;
      case RowFormat::kBFloat:
        return kernels_.to_bfloat(x_, kColumns, activations_);
      case RowFormat::kBlocks32:
        return kernels_.quantize32(x_, kColumns, activations_);
      case RowFormat::kBlocks256x32:
      case RowFormat::kBlocks256x16:
        return kernels_.quantize256(x_, kColumns, {true, true}, activations_);
    }
  }

  void multiply(std::size_t first, std::size_t count) const noexcept {
    alignas(64) float out[16];
    DotArguments dot;
    dot.columns = kColumns;
    dot.rows = activations_;
    dot.count = 1;
    dot.out = out;
    for (std::size_t i = first; i < first + count; ++i) {
      dot.panel = memory_.data() + i * panel_;
      dot_(dot);
    }
  }

  [[nodiscard]] double in_file(std::size_t panels, double seconds) const {
    return 1e-9 * static_cast<double>(panels * panel_) * file_share_ / seconds;
  }

  double from_cache() {
    multiply(0, cached_);
    std::size_t done = 0;
    const double start = thread_seconds();
    double end = start;
    while ((end = thread_seconds()) - start < 0.01) {
      for (int i = 0; i < 8; ++i, done += cached_) multiply(0, cached_);
    }
    return in_file(done, end - start);
  }

  double from_memory(int threads) {
    const std::size_t share = std::max<std::size_t>(1, kShare / panel_);
    std::atomic<std::size_t> next{0};
    const double start = now();
    team_.share([&](int thread) noexcept {
      if (thread >= threads) return;
      for (std::size_t i; (i = next.fetch_add(share, std::memory_order_relaxed)) < panels_;) {
        multiply(i, std::min(share, panels_ - i));
      }
    });
    return in_file(panels_, now() - start);
  }

  double read_all() { return 1e-9 * speed_.read_bandwidth(); }

  const hearth::compute::cpu::KernelTable& kernels_;
  hearth::ThreadTeam team_;
  hearth::measure::MachineSpeed speed_;
  const int repeat_;
  hearth::HugePages memory_;
  float x_[kColumns];
  std::vector<std::byte> row_;
  std::byte* activations_ = nullptr;
  hearth::compute::cpu::DotFunction dot_ = nullptr;
  std::size_t panel_ = 0, cached_ = 0, panels_ = 0;
  double file_share_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
  int threads = hearth::machine::usable_cores();
  int repeat = 5;
  std::vector<DType> wanted;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--repeat" && i + 1 < argc) {
      repeat = std::max(1, std::atoi(argv[++i]));
    } else if (word == "--threads" && i + 1 < argc) {
      threads = std::max(1, std::atoi(argv[++i]));
    } else if (const auto type = hearth::tensor::dtype_from_name(word);
               type && hearth::measure::has_random_blocks(*type)) {
      wanted.push_back(*type);
    } else {
      std::fprintf(stderr, "one_row: '%s' is no type that it has panels of, such as Q4_K or F16\n",
                   hearth::printable(word).c_str());
      return 2;
    }
  }
  const auto bench = std::make_unique<Bench>(threads, repeat);
  bench->print_machine();
  for (const hearth::tensor::DTypeInfo& type : hearth::tensor::all_dtypes()) {
    if (!hearth::measure::has_random_blocks(type.dtype)) continue;
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), type.dtype) != wanted.end())
      bench->measure(type.dtype);
  }
  return 0;
}
