// Speed of compressed keys and values: attention of one row at 32k cells by format, beside F16 and
// Q8_0 in the same run, and encoding of F16 pages on one core.
//
//   build/bench/kv_codes [ROUNDS] [SHAPE] [THREADS] [CELLS] [MEGABYTES] [FORMAT]
//   default: 5 rounds, all, all cores, 32768, 256, all
//   SHAPE: 1 .. 6, 0 for all; 9: encoding only. MEGABYTES: as many layers as have so many; with 1
//   all is in the caches and only arithmetic counts. FORMAT: only this one beside f16 and q8_0.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "measure/samples.h"
#include "quant/kv_code.h"
#include "support/error.h"
#include "tensor/dtype.h"

namespace hearth::bench {
namespace {

using compute::Backend;
using compute::KvCode;
using compute::KvPart;
using compute::KvRows;
using compute::MemoryCategory;
using measure::median;
using measure::seconds_of;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kPage = quant::kCodedCells;

struct Shape {
  std::int64_t heads, kv_heads, size;
};
constexpr Shape kShapes[] = {{32, 8, 128}, {16, 4, 256}, {32, 8, 64},
                             {32, 4, 128}, {16, 8, 128}, {64, 8, 64}};

struct Format {
  const char* name;
  DType raw;  // used where the code is none
  KvCode code;
};
constexpr KvCode lloyd_max(std::uint8_t half_bits) {
  return {.kind = KvCode::Kind::kLloydMax, .half_bits = half_bits, .seed = 1};
}
constexpr Format kFormats[] = {
    {"f16", DType::kF16, {}},
    {"q8_0", DType::kQ8_0, {}},
    {"int8", DType::kF16, {.kind = KvCode::Kind::kInt8, .seed = 1}},
    {"int4", DType::kF16, {.kind = KvCode::Kind::kInt4, .seed = 1}},
    {"4", DType::kF16, lloyd_max(8)},
    {"3.5", DType::kF16, lloyd_max(7)},
    {"3", DType::kF16, lloyd_max(6)},
    {"2.5", DType::kF16, lloyd_max(5)},
    {"2", DType::kF16, lloyd_max(4)},
};

class Memory {
 public:
  explicit Memory(Backend& backend) : backend_(backend) {}
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
    buffers_.push_back(backend_.allocate(
        tensor::row_bytes(dtype, static_cast<std::size_t>(t.elements())), MemoryCategory::kOther));
    t.buffer = buffers_.back().get();
    return t;
  }
  Tensor ints(std::initializer_list<std::int64_t> shape, const std::vector<std::int32_t>& values) {
    const Tensor t = make(DType::kI32, shape);
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
  /// A pool of random values.
  Tensor pool(KvPart part, DType dtype, std::int64_t pages, const Shape& shape) {
    constexpr std::int64_t kRows = 512;
    const Tensor result = make(dtype, {pages, shape.kv_heads, kPage, shape.size});
    const Tensor rows = random(kRows, shape.kv_heads * shape.size).split_last(shape.kv_heads);
    std::vector<std::int32_t> list(static_cast<std::size_t>(std::max(pages, kRows)));
    for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int32_t>(i);
    const std::vector<std::int32_t> zeros(list.size());
    for (std::int64_t first = 0; first < pages * kPage; first += kRows) {
      std::vector<std::int32_t> cells(kRows);
      for (std::size_t i = 0; i < kRows; ++i) {
        cells[i] = static_cast<std::int32_t>(first + static_cast<std::int64_t>(i));
      }
      const std::int64_t count = std::min(kRows, pages * kPage - first);
      backend_.store_kv(part, rows.rows(0, count),
                        {ints({1, static_cast<std::int64_t>(list.size())}, list),
                         ints({kRows}, zeros), ints({kRows}, cells)},
                        result);
    }
    return result;
  }

 private:
  Backend& backend_;
  std::mt19937 engine_{1};
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

/// Keys and values of one format in several layers, and one query row.
class Decoding {
 public:
  /// At least `least_bytes` in all, to be read in turn.
  Decoding(Backend& backend, const Shape& shape, const Format& format, std::int64_t cells,
           std::int64_t least_bytes)
      : backend_(backend), memory_(backend) {
    const bool coded = format.code.kind != KvCode::Kind::kNone;
    KvCode key_code = format.code;
    key_code.centred = true;
    const std::int64_t values = shape.kv_heads * shape.size * kPage;
    const auto raw_page =
        static_cast<std::int64_t>(tensor::row_bytes(format.raw, static_cast<std::size_t>(values)));
    const std::int64_t key_bytes = quant::coded_page_bytes(key_code, shape.size);
    const std::int64_t value_bytes = quant::coded_page_bytes(format.code, shape.size);
    const std::int64_t page_bytes =
        coded ? shape.kv_heads * (key_bytes + value_bytes) : 2 * raw_page;
    const std::int64_t pages = (cells + kPage - 1) / kPage;
    layers_ = std::max<std::int64_t>(2, least_bytes / (pages * page_bytes));
    bits_ = 8.0 * static_cast<double>(page_bytes) / static_cast<double>(2 * values);
    const std::int64_t all = layers_ * pages;
    const std::int64_t raw_pages = coded ? 64 : all;
    a_.keys = memory_.pool(KvPart::kKeys, format.raw, raw_pages, shape);
    a_.values = memory_.pool(KvPart::kValues, format.raw, raw_pages, shape);
    if (coded) {
      a_.key_code = key_code;
      a_.value_code = format.code;
      a_.coded_keys = memory_.make(DType::kI8, {all, shape.kv_heads, key_bytes});
      a_.coded_values = memory_.make(DType::kI8, {all, shape.kv_heads, value_bytes});
      std::vector<std::int32_t> pairs;
      for (std::int32_t page = 0; page < all; ++page) {
        pairs.push_back(page % static_cast<std::int32_t>(raw_pages));
        pairs.push_back(page);
      }
      const Tensor list = memory_.ints({all, 2}, pairs);
      backend.encode_pages({.part = KvPart::kKeys,
                            .raw = a_.keys,
                            .coded = a_.coded_keys,
                            .code = key_code,
                            .pairs = list});
      backend.encode_pages({.part = KvPart::kValues,
                            .raw = a_.values,
                            .coded = a_.coded_values,
                            .code = format.code,
                            .pairs = list});
    }
    std::vector<std::int32_t> table(static_cast<std::size_t>(all));
    for (std::size_t i = 0; i < table.size(); ++i) {
      table[i] = static_cast<std::int32_t>(i) | (coded ? compute::kCodedPage : 0);
    }
    const Tensor page_table = memory_.ints({layers_, pages}, table);
    a_.q = memory_.random(1, shape.heads * shape.size).split_last(shape.heads);
    a_.out = memory_.random(1, shape.heads * shape.size).split_last(shape.heads);
    const auto last = static_cast<std::int32_t>(cells - 1);
    a_.row_begin = memory_.ints({1}, {0});
    a_.row_end = memory_.ints({1}, {last + 1});
    const Tensor cell = memory_.ints({1}, {last});
    for (std::int32_t layer = 0; layer < layers_; ++layer) {
      rows_.push_back({page_table, memory_.ints({1}, {layer}), cell});
    }
    a_.scale = 0.05F;
  }
  /// Seconds of one layer.
  double attend() {
    std::int64_t count = 0;
    double time = 0;
    for (; time < 0.1; ++count) {
      a_.rows = rows_[static_cast<std::size_t>(next_++ % layers_)];
      time += seconds_of([&] { backend_.attend(a_); });
    }
    return time / static_cast<double>(count);
  }
  [[nodiscard]] double bits() const noexcept { return bits_; }

 private:
  Backend& backend_;
  Memory memory_;
  compute::AttendArguments a_;
  std::vector<KvRows> rows_;
  std::int64_t layers_ = 0, next_ = 0;
  double bits_ = 0;
};

struct Options {
  int rounds = 5, threads = 0;
  std::int64_t cells = 32768, least_bytes = 256 << 20;
  std::string only;  // a format
};

void measure_decoding(const Shape& shape, const Options& options) {
  const std::int64_t cells = options.cells;
  const std::unique_ptr<Backend> backend = compute::make_cpu_backend(
      {.threads = options.threads, .exact = false, .instruction_set = ""});
  backend->reserve(1, shape.heads * shape.size);
  std::vector<std::unique_ptr<Decoding>> formats;
  std::vector<const char*> names;
  for (const Format& format : kFormats) {
    if (names.size() >= 2 && !options.only.empty() && options.only != format.name) continue;
    formats.push_back(
        std::make_unique<Decoding>(*backend, shape, format, cells, options.least_bytes));
    names.push_back(format.name);
  }
  std::vector<std::vector<double>> times(formats.size());
  for (int round = 0; round < options.rounds; ++round) {
    for (std::size_t i = 0; i < formats.size(); ++i) times[i].push_back(formats[i]->attend());
  }
  std::printf("%lld heads, %lld of keys, size %lld, %lld cells\n",
              static_cast<long long>(shape.heads), static_cast<long long>(shape.kv_heads),
              static_cast<long long>(shape.size), static_cast<long long>(cells));
  std::printf("  format   bits   layers/s    best    GB/s   x f16  x q8_0\n");
  for (std::size_t i = 0; i < formats.size(); ++i) {
    std::vector<double> to_f16, to_q8;
    for (std::size_t round = 0; round < times[i].size(); ++round) {
      to_f16.push_back(times[0][round] / times[i][round]);
      to_q8.push_back(times[1][round] / times[i][round]);
    }
    const double time = median(times[i]);
    const double bytes =
        formats[i]->bits() / 8 * static_cast<double>(2 * cells * shape.kv_heads * shape.size);
    std::printf("  %-6s %6.3f %10.0f %7.0f %7.1f %7.2f %7.2f\n", names[i], formats[i]->bits(),
                1 / time, 1 / *std::min_element(times[i].begin(), times[i].end()),
                bytes / time * 1e-9, median(to_f16), median(to_q8));
  }
}

void measure_encoding(int rounds) {
  const std::unique_ptr<Backend> backend =
      compute::make_cpu_backend({.threads = 1, .exact = false, .instruction_set = ""});
  std::printf("encoding of F16 pages on one core, GB/s of F16 (keys with mean, values)\n");
  for (const std::int64_t size : {64, 128, 256}) {
    const Shape shape{8, 8, size};
    Memory memory(*backend);
    constexpr std::int32_t kPages = 32;
    for (const Format& format : kFormats) {
      if (format.code.kind == KvCode::Kind::kNone) continue;
      double speeds[2];
      for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
        compute::EncodePagesArguments a;
        a.part = part;
        a.code = format.code;
        a.code.centred = part == KvPart::kKeys;
        a.raw = memory.pool(part, DType::kF16, kPages, shape);
        a.coded = memory.make(DType::kI8,
                              {kPages, shape.kv_heads, quant::coded_page_bytes(a.code, size)});
        std::vector<std::int32_t> pairs;
        for (std::int32_t page = 0; page < kPages; ++page) pairs.insert(pairs.end(), {page, page});
        a.pairs = memory.ints({kPages, 2}, pairs);
        std::vector<double> times;
        for (int round = 0; round < rounds; ++round) {
          times.push_back(seconds_of([&] { backend->encode_pages(a); }));
        }
        speeds[part == KvPart::kKeys ? 0 : 1] =
            2.0 * static_cast<double>(a.raw.elements()) / median(times) * 1e-9;
      }
      std::printf("  size %3lld  %-6s %6.2f %6.2f\n", static_cast<long long>(size), format.name,
                  speeds[0], speeds[1]);
    }
  }
}

int run(int argc, char** argv) {
  const auto number = [&](int i, std::int64_t otherwise) {
    return argc > i ? std::atoll(argv[i]) : otherwise;
  };
  Options options;
  options.rounds = static_cast<int>(std::max<std::int64_t>(1, number(1, options.rounds)));
  const std::int64_t shape = number(2, 0);
  options.threads = static_cast<int>(number(3, options.threads));
  options.cells = std::max<std::int64_t>(1, number(4, options.cells));
  options.least_bytes = number(5, 256) << 20;
  if (argc > 6) options.only = argv[6];
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    if (shape != 0 && shape != static_cast<std::int64_t>(i) + 1) continue;
    measure_decoding(kShapes[i], options);
  }
  if (shape == 0 || shape == 9) measure_encoding(options.rounds);
  return 0;
}

}  // namespace
}  // namespace hearth::bench

int main(int argc, char** argv) {
  try {
    return hearth::bench::run(argc, argv);
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
