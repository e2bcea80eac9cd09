// Speed of attention: decode as a fraction of this machine's read bandwidth (bytes of keys and
// values read), prefill of 512 rows as a fraction of its bfloat16 peak, or where it has none of its
// float32 peak (visible cells only).
//
//   build/bench/attention [FORMAT] [ROUNDS] [SHAPE] [PART]   default: f16, 5 rounds, all
//   FORMAT: f16, bf16, q8_0, f32; SHAPE: 1 .. 5, 0 for all; PART: decode or prefill
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "measure/machine_speed.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/thread_team.h"
#include "tensor/dtype.h"

namespace hearth::bench {
namespace {

using compute::Backend;
using compute::KvPart;
using compute::KvRows;
using compute::MemoryCategory;
using measure::median;
using measure::seconds_of;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kRows = 512;
constexpr std::int64_t kPage = 64;

struct Shape {
  std::int64_t heads, kv_heads, key_size, value_size;
  bool latent = false;
};
constexpr Shape kShapes[] = {{32, 8, 64, 64},
                             {32, 8, 128, 128},
                             {16, 16, 128, 128},
                             {8, 4, 256, 256},
                             {16, 1, 576, 512, true}};

/// Keys and values of many cells, as those of one sequence or of several shorter ones, and query
/// rows at the ends.
class Scene {
 public:
  Scene(Backend& backend, const Shape& shape, DType dtype, std::int64_t cells)
      : backend_(backend), shape_(shape) {
    const std::int64_t pages = cells / kPage;
    keys_ = make(dtype, {pages, shape.kv_heads, kPage, shape.key_size});
    if (!shape.latent) values_ = make(dtype, {pages, shape.kv_heads, kPage, shape.value_size});
    std::vector<std::int32_t> table(static_cast<std::size_t>(pages));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i);
    table_ = make(DType::kI32, {1, pages});
    backend.write(table_, table.data());
    const Tensor rows = random(kRows, shape.kv_heads * shape.key_size);
    for (std::int64_t first = 0; first < cells; first += kRows) {
      const std::int64_t count = std::min(kRows, cells - first);
      const KvRows where = rows_at(table_, 0, first, count);
      backend.store_kv(KvPart::kKeys, rows.rows(0, count).split_last(shape.kv_heads), where, keys_);
      if (!values_) continue;
      backend.store_kv(KvPart::kValues, rows.rows(0, count).split_last(shape.kv_heads), where,
                       values_);
    }
    q_ = random(kRows, shape.heads * shape.key_size).split_last(shape.heads);
    out_ = random(kRows, shape.heads * shape.value_size).split_last(shape.heads);
  }

  /// Seconds of attention of `count` rows, cells depth ... depth + count - 1, in one sequence after
  /// the other, as in the layers of a model: little of them is in a cache.
  double attend(std::int64_t depth, std::int64_t count) {
    const std::int64_t pages = (depth + count + kPage - 1) / kPage;
    Tensor table = table_;
    table.shape = {table_.shape[1] / pages, pages, 1, 1};
    table.strides[0] = pages;
    compute::AttendArguments a;
    a.q = q_.rows(0, count);
    a.out = out_.rows(0, count);
    a.keys = keys_;
    a.values = values_;
    a.row_begin = ints(std::vector<std::int32_t>(static_cast<std::size_t>(count), 0));
    std::vector<std::int32_t> ends(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < ends.size(); ++i) {
      ends[i] = static_cast<std::int32_t>(depth + 1 + static_cast<std::int64_t>(i));
    }
    a.row_end = ints(ends);
    a.scale = 0.1F;
    // The threads that measured the machine spin for a while before they sleep, and the first time
    // is thrown away.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    double time = 0;
    std::int64_t times = -1;
    for (; time < 0.02 || times < 2; ++times) {
      a.rows = rows_at(table, (times + 1) % table.shape[0], depth, count);
      const double once = seconds_of([&] { backend_.attend(a); });
      if (times >= 0) time += once;
      buffers_.resize(buffers_.size() - 2);
    }
    buffers_.resize(buffers_.size() - 2);
    return time / static_cast<double>(times);
  }
  [[nodiscard]] double bytes_per_cell(DType dtype) const {
    const std::int64_t size = shape_.key_size + (shape_.latent ? 0 : shape_.value_size);
    return static_cast<double>(
        tensor::row_bytes(dtype, static_cast<std::size_t>(shape_.kv_heads * size)));
  }
  [[nodiscard]] double products(std::int64_t depth, std::int64_t count) const {
    const double cells = static_cast<double>(count) *
                         (static_cast<double>(depth) + 0.5 * static_cast<double>(count + 1));
    return cells * static_cast<double>(shape_.heads * (shape_.key_size + shape_.value_size));
  }

 private:
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
    buffers_.push_back(backend_.allocate(
        tensor::row_bytes(dtype, static_cast<std::size_t>(t.elements())), MemoryCategory::kOther));
    t.buffer = buffers_.back().get();
    return t;
  }
  Tensor ints(const std::vector<std::int32_t>& values) {
    const Tensor t = make(DType::kI32, {static_cast<std::int64_t>(values.size())});
    backend_.write(t, values.data());
    return t;
  }
  Tensor random(std::int64_t rows, std::int64_t columns) {
    const Tensor t = make(DType::kF32, {rows, columns});
    std::normal_distribution<float> distribution(0, 1);
    std::vector<float> values(static_cast<std::size_t>(t.elements()));
    for (float& value : values) value = distribution(engine_);
    backend_.write(t, values.data());
    return t;
  }
  KvRows rows_at(const Tensor& table, std::int64_t sequence, std::int64_t first,
                 std::int64_t count) {
    std::vector<std::int32_t> cells(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < cells.size(); ++i) {
      cells[i] = static_cast<std::int32_t>(first + static_cast<std::int64_t>(i));
    }
    const Tensor sequences = ints(std::vector<std::int32_t>(static_cast<std::size_t>(count),
                                                            static_cast<std::int32_t>(sequence)));
    return {table, sequences, ints(cells)};
  }

  Backend& backend_;
  Shape shape_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::mt19937 engine_{1};
  Tensor keys_, values_, table_, q_, out_;
};

void measure(Backend& backend, measure::MachineSpeed& machine, const Shape& shape, DType dtype,
             int rounds, const std::string& part) {
  constexpr std::int64_t kContexts[] = {1024, 4096, 16384, 32768};
  constexpr std::int64_t kDepths[] = {0, 4096, 16384};
  std::vector<double> bandwidths, peaks;
  std::vector<double> decode[4], prefill[3];
  // 256 MiB or more.
  const auto cell_bytes = static_cast<std::int64_t>(tensor::row_bytes(
      dtype, static_cast<std::size_t>(shape.kv_heads *
                                      (shape.key_size + (shape.latent ? 0 : shape.value_size)))));
  const std::int64_t copies =
      std::max<std::int64_t>(1, (std::int64_t{256} << 20) / (32768 * cell_bytes));
  Scene scene(backend, shape, dtype, copies * 32768);
  for (int round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < 4 && part != "prefill"; ++i) {
      const double bandwidth = machine.read_bandwidth();
      const double bytes = scene.bytes_per_cell(dtype) * static_cast<double>(kContexts[i]);
      const double speed = bytes / scene.attend(kContexts[i] - 1, 1);
      if (round == 0) continue;
      decode[i].push_back(speed / bandwidth);
      bandwidths.push_back(bandwidth);
    }
    for (std::size_t i = 0; i < 3 && part != "decode"; ++i) {
      const double bf16 = machine.bf16_peak(0.02);
      const double peak = bf16 > 0 ? bf16 : machine.f32_peak(0.02);
      const double speed = scene.products(kDepths[i], kRows) / scene.attend(kDepths[i], kRows);
      if (round == 0) continue;
      prefill[i].push_back(speed / peak);
      peaks.push_back(peak);
    }
  }
  std::printf("%2lld heads, %2lld kv, %3lld/%3lld  decode of read %4.1f GB/s:",
              static_cast<long long>(shape.heads), static_cast<long long>(shape.kv_heads),
              static_cast<long long>(shape.key_size), static_cast<long long>(shape.value_size),
              median(bandwidths) / 1e9);
  for (const auto& fractions : decode) std::printf(" %4.0f%%", 100 * median(fractions));
  std::printf("  prefill of peak %4.0f GMAC/s:", median(peaks) / 1e9);
  for (const auto& fractions : prefill) std::printf(" %4.1f%%", 100 * median(fractions));
  std::printf("\n");
  std::fflush(stdout);
}

DType parse_format(const std::string& name) {
  if (name == "f16") return DType::kF16;
  if (name == "bf16") return DType::kBF16;
  if (name == "q8_0") return DType::kQ8_0;
  if (name == "f32") return DType::kF32;
  throw Error("unknown format '" + printable(name) + "'", "use f16, bf16, q8_0 or f32");
}

int main_with(const std::string& format, int rounds, int only, const std::string& part) {
  const DType dtype = parse_format(format);
  const std::unique_ptr<Backend> backend = compute::make_cpu_backend({});
  backend->reserve(kRows, 16384);
  ThreadTeam team(machine::usable_cores());
  measure::MachineSpeed machine(team);
  std::printf(
      "%s, %d cores, kernels: %s, KV %s\n"
      "decode at 1k, 4k, 16k, 32k; prefill of 512 at 0, 4k, 16k\n",
      machine::cpu_name().c_str(), machine::usable_cores(),
      compute::chosen_cpu_instruction_set().c_str(), format.c_str());
  int number = 0;
  for (const Shape& shape : kShapes) {
    if (++number != only && only != 0) continue;
    measure(*backend, machine, shape, dtype, rounds, part);
  }
  return 0;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** arguments) {
  try {
    return hearth::bench::main_with(
        count > 1 ? arguments[1] : "f16", count > 2 ? std::max(1, std::atoi(arguments[2])) : 5,
        count > 3 ? std::atoi(arguments[3]) : 0, count > 4 ? arguments[4] : "");
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n%s\n", error.what(), error.hint().c_str());
    return static_cast<int>(error.exit_code());
  }
}
