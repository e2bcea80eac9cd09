// Paged attention of the CPU backend against the reference one.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "backends.h"

namespace hearth::compute {
namespace {

struct AttentionShape {
  std::int64_t heads = 4, kv_heads = 2, key_size = 64, value_size = 64, page = 32;
  DType type = DType::kF16;
  float softcap = 0;
  bool slopes = false, sinks = false;
  std::int32_t window = 0;                         // 0: all cells before the row
  bool latent = false;                             // values are the first part of the keys
  std::int64_t reach = 0;                          // of the distance bias; 0: none
  bool ahead = false;                              // rows also see the cells after them
  std::optional<DType> value_type = std::nullopt;  // where it is not `type`
};

/// Sequences of some length whose last rows are the queries. Keys and values of all cells come in
/// through store_kv.
struct AttentionScene {
  AttentionShape shape;
  std::vector<std::int32_t> lengths;  // cells of each sequence
  std::vector<std::int32_t> queries;  // how many of its last cells are query rows
  std::uint32_t seed = 1;
};

std::vector<float> attend(Bench& bench, const AttentionScene& scene, std::int64_t only_row = -1) {
  const AttentionShape& s = scene.shape;
  Random random(scene.seed);
  const auto longest = *std::max_element(scene.lengths.begin(), scene.lengths.end());
  const auto sequences = static_cast<std::int64_t>(scene.lengths.size());
  const std::int64_t pages_each = (longest + s.page - 1) / s.page;
  const std::int64_t pages = sequences * pages_each + 2;
  std::vector<std::int32_t> table(static_cast<std::size_t>(pages));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i);
  std::shuffle(table.begin(), table.end(), random.engine());
  table.resize(static_cast<std::size_t>(sequences * pages_each));
  const Tensor page_table = bench.ints({sequences, pages_each}, table);

  // Unwritten cells hold NaN: nothing may leak from them.
  const auto pool = [&](std::int64_t size, DType type) {
    const auto count = static_cast<std::size_t>(pages * s.kv_heads * s.page * size);
    // All bits set is NaN in every format (in Q8_0: of a scale).
    return bench.raw(type, {pages, s.kv_heads, s.page, size},
                     std::vector<std::byte>(tensor::row_bytes(type, count), std::byte{0xFF}));
  };
  const Tensor keys = pool(s.key_size, s.type);
  const Tensor values = s.latent ? Tensor{} : pool(s.value_size, s.value_type.value_or(s.type));
  std::vector<std::int32_t> row_sequence, row_cell, row_begin, row_end;
  for (std::size_t i = 0; i < scene.lengths.size(); ++i) {
    const std::int64_t length = scene.lengths[i];
    std::vector<std::int32_t> cells(static_cast<std::size_t>(length));
    for (std::size_t c = 0; c < cells.size(); ++c) cells[c] = static_cast<std::int32_t>(c);
    const KvRows all{
        page_table,
        bench.ints({length}, std::vector<std::int32_t>(cells.size(), static_cast<std::int32_t>(i))),
        bench.ints({length}, cells)};
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      const Tensor& to = part == KvPart::kKeys ? keys : values;
      if (!to) continue;
      const std::int64_t size = to.shape[3];
      bench.backend->store_kv(
          part,
          bench.floats({length, s.kv_heads * size}, random.normal(length * s.kv_heads * size))
              .split_last(s.kv_heads),
          all, to);
    }
    for (std::int32_t cell = scene.lengths[i] - scene.queries[i]; cell < scene.lengths[i]; ++cell) {
      row_sequence.push_back(static_cast<std::int32_t>(i));
      row_cell.push_back(cell);
      row_begin.push_back(s.window > 0 ? std::max(0, cell + 1 - s.window) : 0);
      row_end.push_back(s.ahead ? scene.lengths[i] : cell + 1);
    }
  }
  const auto rows = static_cast<std::int64_t>(row_cell.size());
  std::vector<float> q = random.normal(rows * s.heads * s.key_size);
  std::int64_t count = rows;
  if (only_row >= 0) {
    const auto keep = [only_row](auto& values_of_rows, std::int64_t width) {
      values_of_rows = {values_of_rows.begin() + only_row * width,
                        values_of_rows.begin() + (only_row + 1) * width};
    };
    keep(q, s.heads * s.key_size);
    for (auto* list : {&row_sequence, &row_cell, &row_begin, &row_end}) keep(*list, 1);
    count = 1;
  }
  AttendArguments a;
  a.q = bench.floats({count, s.heads * s.key_size}, q).split_last(s.heads);
  a.keys = keys;
  a.values = values;
  a.rows = {page_table, bench.ints({count}, row_sequence), bench.ints({count}, row_cell)};
  a.row_begin = bench.ints({count}, row_begin);
  a.row_end = bench.ints({count}, row_end);
  a.scale = 1.0F / std::sqrt(static_cast<float>(s.key_size));
  a.softcap = s.softcap;
  Random parameters(5);
  if (s.slopes) a.slopes = bench.floats({s.heads}, parameters.normal(s.heads, 0.05F));
  if (s.sinks) a.sinks = bench.floats({s.heads}, parameters.normal(s.heads));
  if (s.reach > 0) {
    const std::int64_t distances = 2 * s.reach + 1;
    a.distance_bias = bench.floats({s.heads, distances}, parameters.normal(s.heads * distances));
  }
  a.out = bench.slice(count, s.heads * s.value_size, 9, 4, 0).split_last(s.heads);
  bench.backend->attend(a);
  return bench.values(a.out);
}

class CpuAttention : public testing::TestWithParam<std::string> {
 protected:
  /// Where there are dot products of bfloat16, 16-bit keys and values, queries and weights are
  /// rounded to it: 9 bits, an error of 2^-9 / sqrt 3 each.
  static double tolerance(DType type) {
    const bool rounded = (GetParam() == "avx512bf16" || GetParam() == "amx") && type != DType::kF32;
    return rounded ? 4e-5 : 1e-11;
  }
  static void compare(const AttentionScene& scene) {
    Bench reference = reference_bench();
    const std::vector<float> expected = attend(reference, scene);
    Bench one = cpu_bench(GetParam(), 1);
    const std::vector<float> actual = attend(one, scene);
    EXPECT_LT(nmse(expected, actual), tolerance(scene.shape.type));
    for (const int threads : {2, 4}) {
      Bench many = cpu_bench(GetParam(), threads);
      many.backend->reserve(8, 4096);
      EXPECT_TRUE(same_bits(actual, attend(many, scene))) << threads << " threads";
    }
    const auto width = static_cast<std::size_t>(scene.shape.heads * scene.shape.value_size);
    for (std::size_t row = 0; row < actual.size() / width; row += 5) {
      const auto first = actual.begin() + static_cast<std::ptrdiff_t>(row * width);
      Bench alone = cpu_bench(GetParam(), 2);
      alone.backend->reserve(8, 4096);
      EXPECT_TRUE(same_bits({first, first + static_cast<std::ptrdiff_t>(width)},
                            attend(alone, scene, static_cast<std::int64_t>(row))))
          << "row " << row << " alone";
    }
  }
};

TEST_P(CpuAttention, OneSequence) {
  compare({{}, {70}, {70}, 1});
  compare({{.heads = 3,
            .kv_heads = 3,
            .key_size = 40,
            .value_size = 24,
            .page = 7,
            .type = DType::kF32},
           {33},
           {33},
           2});
}

TEST_P(CpuAttention, DecodeOfSeveralSequences) {
  compare({{.heads = 8, .kv_heads = 2}, {1, 65, 300, 17}, {1, 1, 1, 1}, 3});
}

TEST_P(CpuAttention, LongRangesAreShared) {
  compare(
      {{.heads = 2, .kv_heads = 1, .key_size = 16, .value_size = 16, .page = 64}, {1700}, {2}, 4});
}

TEST_P(CpuAttention, WindowsSlopesSinksAndCaps) {
  compare({{.window = 20}, {150, 40}, {40, 40}, 5});
  compare({{.heads = 6, .kv_heads = 1, .key_size = 80, .value_size = 80, .slopes = true},
           {90},
           {21},
           6});
  compare({{.softcap = 5, .sinks = true}, {90}, {21}, 7});
}

// Pages of whole tiles are read in place.
TEST_P(CpuAttention, PagesOfWholeTiles) {
  compare({{.page = 64, .window = 37}, {200, 66, 1}, {70, 3, 1}, 8});
  compare({{.heads = 6,
            .kv_heads = 2,
            .key_size = 48,
            .value_size = 32,
            .page = 128,
            .type = DType::kF32},
           {130, 300},
           {40, 1},
           9});
  compare({{.key_size = 24, .value_size = 8, .page = 64, .window = 5}, {100}, {30}, 10});
}

TEST_P(CpuAttention, ManyHeadsOnOneKeyHead) {
  compare({{.heads = 71, .kv_heads = 1, .key_size = 64, .value_size = 64}, {50}, {3}, 8});
}

TEST_P(CpuAttention, DistanceBias) {
  compare({{.heads = 6, .kv_heads = 6, .reach = 17, .ahead = true}, {90, 30}, {90, 30}, 12});
  compare({{.page = 64, .reach = 128}, {200}, {9}, 13});
}

// Latent attention: one wide key per cell, whose first part is the value.
TEST_P(CpuAttention, ValuesInKeys) {
  AttentionShape latent{
      .heads = 20, .kv_heads = 1, .key_size = 80, .value_size = 64, .page = 64, .latent = true};
  compare({latent, {150, 3, 65}, {9, 3, 1}, 14});
  latent.type = DType::kF32;
  latent.window = 23;
  compare({latent, {150, 70}, {40, 1}, 15});
  latent = {
      .heads = 40, .kv_heads = 1, .key_size = 41, .value_size = 37, .page = 64, .latent = true};
  compare({latent, {1100}, {3}, 16});
  latent.page = 7;  // rows instead of panels
  compare({latent, {50}, {7}, 17});
  latent.kv_heads = 2;
  latent.page = 32;
  latent.sinks = true;
  compare({latent, {100}, {7}, 18});
}

TEST_P(CpuAttention, EveryFormat) {
  std::uint32_t seed = 20;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    for (const std::int64_t size : {64, 80, 96, 128, 192, 256}) {
      if (type == DType::kQ8_0 && size % 32 != 0) continue;
      compare({{.heads = 6,
                .kv_heads = 2,
                .key_size = size,
                .value_size = size,
                .page = 64,
                .type = type,
                .window = size == 96 ? 50 : 0},
               {70, 1},
               {3, 1},
               seed++});
    }
    // In rows; more queries than convert halves where they use them; values in keys.
    compare({{.key_size = 64, .value_size = 32, .page = 24, .type = type}, {70}, {9}, seed++});
    compare(
        {{.heads = 8, .kv_heads = 1, .key_size = 96, .value_size = 64, .page = 128, .type = type},
         {700},
         {33},
         seed++});
    compare({{.heads = 20,
              .kv_heads = 1,
              .key_size = 96,
              .value_size = 64,
              .page = 64,
              .type = type,
              .latent = true},
             {150, 3},
             {9, 1},
             seed++});
  }
}

TEST_P(CpuAttention, KeysAndValuesOfDifferentFormats) {
  std::uint32_t seed = 50;
  const DType types[] = {DType::kF16, DType::kBF16, DType::kQ8_0};
  for (const DType keys : types) {
    for (const DType values : types) {
      if (keys == values) continue;
      AttentionShape shape{.heads = 6, .kv_heads = 2, .key_size = 64, .value_size = 96, .page = 64};
      shape.type = keys;
      shape.value_type = values;
      compare({shape, {70, 1}, {3, 1}, seed++});
      shape.window = 50;
      compare(
          {shape, {140}, {33}, seed++});  // more queries than convert halves where they use them
    }
  }
}

// Few rows take several KV heads at once, as many as there are; and an odd number of them.
TEST_P(CpuAttention, ManyKeyHeads) {
  compare({{.heads = 40, .kv_heads = 20, .key_size = 32, .value_size = 32, .page = 64},
           {1100, 70},
           {1, 3},
           40});
}

// One or two queries read many tiles' keys before their values; alone they do so, too.
TEST_P(CpuAttention, FewQueriesAndManyTiles) {
  std::uint32_t seed = 60;
  for (const DType type : {DType::kF16, DType::kBF16}) {
    for (const std::int64_t heads : {3, 6}) {
      AttentionShape shape{
          .heads = heads, .kv_heads = 3, .key_size = 40, .value_size = 24, .page = 64};
      shape.type = type;
      compare({shape, {450, 70, 1}, {1, 2, 1}, seed++});
      shape.window = 333;
      shape.sinks = true;
      compare({shape, {700, 640}, {3, 1}, seed++});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllSets, CpuAttention, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
