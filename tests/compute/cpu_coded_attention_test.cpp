// Coded pages of keys and values in the CPU backend against the reference one: encoding them, and
// attention over raw and coded pages side by side.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "backends.h"
#include "quant/kv_coder.h"

namespace hearth::compute {
namespace {

using Kind = KvCode::Kind;

constexpr std::int64_t kPage = quant::kCodedCells;

KvCode code(Kind kind, int half_bits, bool centred, int value_part = 0) {
  return {.kind = kind,
          .half_bits = static_cast<std::uint8_t>(half_bits),
          .centred = centred,
          .value_part = static_cast<std::uint16_t>(value_part),
          .seed = 3};
}

struct CodedShape {
  std::int64_t heads = 4, kv_heads = 2, key_size = 64, value_size = 64;
  DType type = DType::kF16;
  KvCode keys = {}, values = {};
  float softcap = 0;
  bool slopes = false, sinks = false;
  float slope = 0.05F;  // their size
  std::int32_t window = 0;
  bool latent = false;
};

struct CodedScene {
  CodedShape shape;
  std::vector<std::int32_t> lengths, queries;
  std::uint32_t seed = 1;
  int raw_every = 3;  // of the whole pages one in so many stays raw; 0: none
};

/// Keys or values of one part: the raw pool, and its coded pages' bytes.
struct Pool {
  Tensor raw, coded;
};

/// Everything but attention itself happens on the reference backend, and its bytes are taken over.
class Stage {
 public:
  explicit Stage(const CodedScene& scene) : scene_(scene), random_(scene.seed) {
    const CodedShape& s = scene.shape;
    const auto longest = *std::max_element(scene.lengths.begin(), scene.lengths.end());
    pages_each_ = (longest + kPage - 1) / kPage;
    pages_ = static_cast<std::int64_t>(scene.lengths.size()) * pages_each_;
    rows_ = random_.normal(pages_ * kPage * s.kv_heads * s.key_size);
    // Keys share a large component, and some channels stick out.
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto channel = static_cast<std::int64_t>(i) % s.key_size;
      if (s.keys.centred) rows_[i] += channel % 7 == 0 ? 3.0F : -0.5F;
      if (channel == 5) rows_[i] *= 4;
    }
    value_rows_ = random_.normal(pages_ * kPage * s.kv_heads * s.value_size);
    queries_ = random_.normal(64 * s.heads * s.key_size);
    for (std::int64_t page = 0; page < pages_; ++page) {
      const std::int64_t in_sequence = page % pages_each_;
      const bool whole =
          (in_sequence + 1) * kPage <= scene.lengths[static_cast<std::size_t>(page / pages_each_)];
      const bool stays = scene.raw_every > 0 && page % scene.raw_every == scene.raw_every - 1;
      table_.push_back(static_cast<std::int32_t>(page) | (whole && !stays ? kCodedPage : 0));
    }
  }

  [[nodiscard]] Pool pool(Bench& bench, KvPart part) const {
    const CodedShape& s = scene_.shape;
    const std::int64_t size = part == KvPart::kKeys ? s.key_size : s.value_size;
    const KvCode& kv_code = part == KvPart::kKeys ? s.keys : s.values;
    const auto values = static_cast<std::size_t>(pages_ * s.kv_heads * kPage * size);
    Pool pool;
    pool.raw =
        bench.raw(s.type, {pages_, s.kv_heads, kPage, size},
                  std::vector<std::byte>(tensor::row_bytes(s.type, values), std::byte{0xFF}));
    std::vector<std::int32_t> cells(static_cast<std::size_t>(pages_ * kPage));
    std::vector<std::int32_t> zeros(cells.size());
    std::vector<std::int32_t> table(static_cast<std::size_t>(pages_));
    for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<std::int32_t>(i);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i);
    const KvRows all{bench.ints({1, pages_}, table), bench.ints({pages_ * kPage}, zeros),
                     bench.ints({pages_ * kPage}, cells)};
    bench.backend->store_kv(part,
                            bench
                                .floats({pages_ * kPage, s.kv_heads * size},
                                        part == KvPart::kKeys ? rows_ : value_rows_)
                                .split_last(s.kv_heads),
                            all, pool.raw);
    const std::int64_t bytes = quant::coded_page_bytes(kv_code, size);
    pool.coded =
        bench.raw(DType::kI8, {pages_, s.kv_heads, bytes},
                  std::vector<std::byte>(static_cast<std::size_t>(pages_ * s.kv_heads * bytes)));
    std::vector<std::int32_t> pairs;
    for (std::int32_t page = 0; page < pages_; ++page) pairs.insert(pairs.end(), {page, page});
    if (s.type != DType::kQ8_0) {
      bench.backend->encode_pages({.part = part,
                                   .raw = pool.raw,
                                   .coded = pool.coded,
                                   .code = kv_code,
                                   .pairs = bench.ints({pages_, 2}, pairs)});
    }
    return pool;
  }

  /// The bytes of coded pages as the reference backend writes them.
  [[nodiscard]] std::vector<std::byte> coded_bytes(KvPart part) const {
    Bench reference = reference_bench();
    return bytes_of(reference, pool(reference, part).coded);
  }
  [[nodiscard]] static std::vector<std::byte> bytes_of(Bench& bench, const Tensor& coded) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(coded.elements()));
    bench.backend->read(coded, bytes.data());
    return bytes;
  }

  std::vector<float> attend(Bench& bench, std::int64_t only_row = -1) const {
    const CodedShape& s = scene_.shape;
    std::vector<std::int32_t> sequence, cell, begin, end;
    for (std::size_t i = 0; i < scene_.lengths.size(); ++i) {
      for (std::int32_t c = scene_.lengths[i] - scene_.queries[i]; c < scene_.lengths[i]; ++c) {
        sequence.push_back(static_cast<std::int32_t>(i));
        cell.push_back(c);
        begin.push_back(s.window > 0 ? std::max(0, c + 1 - s.window) : 0);
        end.push_back(c + 1);
      }
    }
    auto count = static_cast<std::int64_t>(cell.size());
    const std::int64_t width = s.heads * s.key_size;
    std::vector<float> q(queries_.begin(), queries_.begin() + count * width);
    if (only_row >= 0) {
      q = {q.begin() + only_row * width, q.begin() + (only_row + 1) * width};
      for (auto* list : {&sequence, &cell, &begin, &end}) {
        *list = {(*list)[static_cast<std::size_t>(only_row)]};
      }
      count = 1;
    }
    AttendArguments a;
    a.q = bench.floats({count, width}, q).split_last(s.heads);
    const Pool keys = pool(bench, KvPart::kKeys);
    bench.backend->write(keys.coded, coded_keys_.data());
    a.keys = keys.raw;
    a.coded_keys = keys.coded;
    a.key_code = s.keys;
    if (!s.latent) {
      const Pool values = pool(bench, KvPart::kValues);
      bench.backend->write(values.coded, coded_values_.data());
      a.values = values.raw;
      a.coded_values = values.coded;
      a.value_code = s.values;
    }
    a.rows = {bench.ints({pages_ / pages_each_, pages_each_}, table_),
              bench.ints({count}, sequence), bench.ints({count}, cell)};
    a.row_begin = bench.ints({count}, begin);
    a.row_end = bench.ints({count}, end);
    a.scale = 1.0F / std::sqrt(static_cast<float>(s.key_size));
    a.softcap = s.softcap;
    Random parameters(5);
    if (s.slopes) a.slopes = bench.floats({s.heads}, parameters.normal(s.heads, s.slope));
    if (s.sinks) a.sinks = bench.floats({s.heads}, parameters.normal(s.heads));
    a.out = bench.slice(count, s.heads * s.value_size, 9, 4, 0).split_last(s.heads);
    bench.backend->attend(a);
    return bench.values(a.out);
  }

  void encode_by_reference() {
    coded_keys_ = coded_bytes(KvPart::kKeys);
    if (!scene_.shape.latent) coded_values_ = coded_bytes(KvPart::kValues);
  }

 private:
  CodedScene scene_;
  Random random_;
  std::int64_t pages_each_ = 0, pages_ = 0;
  std::vector<float> rows_, value_rows_, queries_;
  std::vector<std::int32_t> table_;
  std::vector<std::byte> coded_keys_, coded_values_;
};

class CpuCodedAttention : public testing::TestWithParam<std::string> {
 protected:
  /// Queries are rounded to bytes (a part in 127 of the largest coordinate), weights to 7 bits or,
  /// of integers, to 15. That is more of an output to which many cells add alike: `most`.
  static void compare(const CodedScene& scene, double most = 6e-4) {
    SCOPED_TRACE("seed " + std::to_string(scene.seed));
    Stage stage(scene);
    stage.encode_by_reference();
    Bench reference = reference_bench();
    const std::vector<float> expected = stage.attend(reference);
    Bench one = cpu_bench(GetParam(), 1);
    const std::vector<float> actual = stage.attend(one);
    EXPECT_LT(nmse(expected, actual), most);
    Bench exact = cpu_bench(GetParam(), 2, true);
    if (scene.shape.type == DType::kF32) {
      EXPECT_LT(nmse(expected, stage.attend(exact)), 1e-10);
    }
    Bench many = cpu_bench(GetParam(), 3);
    many.backend->reserve(8, 4096);
    EXPECT_TRUE(same_bits(actual, stage.attend(many))) << "3 threads";
    const auto width = static_cast<std::size_t>(scene.shape.heads * scene.shape.value_size);
    for (std::size_t row = 0; row < actual.size() / width; row += 7) {
      const auto first = actual.begin() + static_cast<std::ptrdiff_t>(row * width);
      Bench alone = cpu_bench(GetParam(), 2);
      alone.backend->reserve(8, 4096);
      EXPECT_TRUE(same_bits({first, first + static_cast<std::ptrdiff_t>(width)},
                            stage.attend(alone, static_cast<std::int64_t>(row))))
          << "row " << row << " alone";
    }
  }
};

std::vector<KvCode> all_codes() {
  std::vector<KvCode> codes;
  for (int half_bits = 2; half_bits <= 8; ++half_bits) {
    codes.push_back(code(Kind::kLloydMax, half_bits, half_bits % 2 == 0));
    codes.push_back(code(Kind::kLloydMax, half_bits, half_bits % 2 != 0));
  }
  for (const int half_bits : {4, 6, 8}) codes.push_back(code(Kind::kResidual, half_bits, true));
  for (const bool centred : {false, true}) {
    codes.push_back(code(Kind::kInt4, 0, centred));
    codes.push_back(code(Kind::kInt8, 0, centred));
  }
  return codes;
}

TEST_P(CpuCodedAttention, EveryCode) {
  std::uint32_t seed = 100;
  const std::vector<KvCode> codes = all_codes();
  for (std::size_t i = 0; i < codes.size(); ++i) {
    compare({{.heads = 6,
              .kv_heads = 3,
              .type = i % 2 == 0 ? DType::kF16 : DType::kF32,
              .keys = codes[i],
              .values = codes[(i + 5) % codes.size()]},
             {200, 64},
             {3, 1},
             seed++});
  }
}

TEST_P(CpuCodedAttention, EverySize) {
  std::uint32_t seed = 200;
  for (const std::int64_t size : {8, 24, 64, 80, 96, 128, 192, 256}) {
    const bool even = seed % 2 == 0;
    compare({{.heads = 4,
              .kv_heads = 2,
              .key_size = size,
              .value_size = size == 192 ? 128 : size,
              .type = even ? DType::kBF16 : DType::kF32,
              .keys = code(Kind::kLloydMax, even ? 7 : 6, true),
              .values = code(Kind::kLloydMax, even ? 6 : 5, false)},
             {150, 3},
             {2, 1},
             seed++});
  }
}

// Latent attention: one wide key per cell, whose first part is the value.
TEST_P(CpuCodedAttention, ValuesInKeys) {
  std::uint32_t seed = 300;
  for (const Kind kind : {Kind::kLloydMax, Kind::kInt4, Kind::kInt8, Kind::kResidual}) {
    compare({{.heads = 20,
              .kv_heads = 1,
              .key_size = 80,
              .value_size = 64,
              .type = DType::kF32,
              .keys = code(kind, 8, seed % 2 == 0, 64),
              .latent = true},
             {150, 65},
             {4, 1},
             seed++});
  }
  compare({{.heads = 16,
            .kv_heads = 1,
            .key_size = 576,
            .value_size = 512,
            .keys = code(Kind::kLloydMax, 7, true, 512),
            .latent = true},
           {140},
           {3},
           seed++});
}

TEST_P(CpuCodedAttention, WindowsSlopesSinksAndCaps) {
  CodedShape shape{.keys = code(Kind::kLloydMax, 6, true),
                   .values = code(Kind::kLloydMax, 6, false)};
  shape.window = 70;
  compare({shape, {300, 40}, {40, 4}, 400});
  shape = {.heads = 6,
           .kv_heads = 1,
           .type = DType::kBF16,
           .keys = shape.keys,
           .values = shape.values,
           .slopes = true};
  compare({shape, {190}, {21}, 401});
  shape.slopes = false;
  shape.softcap = 5;
  shape.sinks = true;
  compare({shape, {190}, {21}, 402});
}

// Up to eight queries of a key head take codes as they are, and panels of coordinates in twos and
// fours as there are registers for the sums; more of them take expanded codes.
TEST_P(CpuCodedAttention, EveryGroupOfQueries) {
  const std::pair<KvCode, KvCode> kPairs[] = {
      {code(Kind::kLloydMax, 8, true), code(Kind::kInt8, 0, false)},
      {code(Kind::kLloydMax, 6, true), code(Kind::kInt4, 0, false)},
      {code(Kind::kInt8, 0, true), code(Kind::kLloydMax, 8, false)},
      {code(Kind::kLloydMax, 5, true), code(Kind::kLloydMax, 6, false)},
      {code(Kind::kLloydMax, 3, true), code(Kind::kLloydMax, 5, false)},
  };
  std::uint32_t seed = 800;
  for (std::int64_t heads = 1; heads <= 9; ++heads) {
    for (const auto& [keys, values] : kPairs) {
      compare({{.heads = heads,
                .kv_heads = 1,
                .key_size = 80,
                .value_size = 80,
                .keys = keys,
                .values = values},
               {70},
               {1},
               seed++,
               0},
              1e-3);
    }
  }
}

// Where scores rise from tile to tile the reference of the exponentials follows them, and where
// they fall it stays.
TEST_P(CpuCodedAttention, ScoresThatRiseAndFall) {
  CodedShape shape{.heads = 8,
                   .kv_heads = 2,
                   .type = DType::kF32,
                   .keys = code(Kind::kLloydMax, 8, true),
                   .values = code(Kind::kLloydMax, 8, false),
                   .slopes = true};
  for (const float slope : {0.1F, 0.5F, 4.0F}) {
    shape.slope = slope;
    compare({shape, {320}, {3}, 900, 0});
    compare({shape, {320}, {3}, 901, 2});
  }
}

// Chunks of a long range are shared by threads; all pages coded, all raw but one, half and half.
TEST_P(CpuCodedAttention, LongRanges) {
  const CodedShape shape{.heads = 2,
                         .kv_heads = 1,
                         .key_size = 16,
                         .value_size = 16,
                         .keys = code(Kind::kLloydMax, 8, true),
                         .values = code(Kind::kLloydMax, 8, false)};
  compare({shape, {1700}, {2}, 500, 0});
  compare({shape, {1700}, {2}, 501, 2});
  compare({shape, {1200}, {9}, 502, 1});
  // From 8192 cells on chunks are larger.
  compare({shape, {8192}, {3}, 503, 0}, 1e-3);
  compare({shape, {10500}, {2}, 504, 3}, 1e-3);
}

TEST_P(CpuCodedAttention, ManyHeadsAndQ8Beside) {
  compare({{.heads = 71,
            .kv_heads = 1,
            .keys = code(Kind::kLloydMax, 7, true),
            .values = code(Kind::kLloydMax, 7, false)},
           {150},
           {3},
           600});
  compare({{.heads = 36,
            .kv_heads = 18,
            .key_size = 32,
            .value_size = 32,
            .type = DType::kF16,
            .keys = code(Kind::kLloydMax, 6, true),
            .values = code(Kind::kLloydMax, 6, false)},
           {150, 70},
           {1, 3},
           601});
}

// Pages that the backend encodes itself say the same as the reference's: a code differs only where
// rounding puts a coordinate on the other side of a boundary.
TEST_P(CpuCodedAttention, Encoding) {
  std::uint32_t seed = 700;
  for (const KvCode& kv_code : all_codes()) {
    for (const std::int64_t size : {64, 80, 128}) {
      for (const DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
        const CodedScene scene{{.key_size = size,
                                .value_size = size,
                                .type = type,
                                .keys = kv_code,
                                .values = kv_code},
                               {128},
                               {1},
                               seed++};
        const Stage stage(scene);
        for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
          const std::vector<std::byte> expected = stage.coded_bytes(part);
          Bench bench = cpu_bench(GetParam(), 2);
          const std::vector<std::byte> actual =
              Stage::bytes_of(bench, stage.pool(bench, part).coded);
          const quant::KvCoder coder(kv_code, size);
          const auto bytes = static_cast<std::size_t>(coder.layout().bytes);
          const auto cells = static_cast<std::size_t>(kPage * size);
          double different = 0;
          for (std::size_t at = 0; at < expected.size(); at += bytes) {
            std::vector<float> first(cells), second(cells);
            coder.decode_page(part, std::span(expected).subspan(at, bytes), first);
            coder.decode_page(part, std::span(actual).subspan(at, bytes), second);
            ASSERT_LT(nmse(first, second), 2e-3) << "size " << size << " seed " << seed;
            for (std::size_t i = 0; i < bytes; ++i) different += expected[at + i] != actual[at + i];
          }
          EXPECT_LT(different / static_cast<double>(expected.size()), 0.01)
              << "size " << size << " seed " << seed;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllSets, CpuCodedAttention, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
