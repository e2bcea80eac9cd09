// Attention over chosen cells, choices of cells, pooling of blocks and transposed products of the
// CPU backend against the reference one.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "backends.h"

namespace hearth::compute {
namespace {

std::vector<std::int32_t> integers(const Bench& bench, const Tensor& t) {
  std::vector<std::int32_t> result(static_cast<std::size_t>(t.elements()));
  bench.backend->read(t, result.data());
  return result;
}

std::vector<std::int32_t> ascending(std::int64_t count, std::int32_t first = 0) {
  std::vector<std::int32_t> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), first);
  return result;
}

/// What a pool is like.

struct PoolShape {
  std::int64_t heads = 1, size = 32, page = 64;
  DType type = DType::kF16;
  KvPart part = KvPart::kKeys;
};

Tensor page_table(Bench& bench, std::size_t sequences, std::int64_t pages_each, Random& random) {
  std::vector<std::int32_t> pages =
      ascending(static_cast<std::int64_t>(sequences) * pages_each + 1);
  std::shuffle(pages.begin(), pages.end(), random.engine());
  pages.pop_back();
  return bench.ints({static_cast<std::int64_t>(sequences), pages_each}, pages);
}

Tensor filled_pool(Bench& bench, const PoolShape& shape, const std::vector<std::int64_t>& lengths,
                   const Tensor& table, Random& random) {
  const std::int64_t pages = table.shape[0] * table.shape[1] + 1;
  const auto count = static_cast<std::size_t>(pages * shape.heads * shape.page * shape.size);
  const Tensor pool = shape.type == DType::kF16
                          ? bench.halves({pages, shape.heads, shape.page, shape.size},
                                         std::vector<std::uint16_t>(count, 0x7E00))
                          : bench.floats({pages, shape.heads, shape.page, shape.size},
                                         std::vector<float>(count, std::nanf("")));
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const std::int64_t length = lengths[i];
    if (length == 0) continue;
    const KvRows rows{
        table,
        bench.ints({length}, std::vector<std::int32_t>(static_cast<std::size_t>(length),
                                                       static_cast<std::int32_t>(i))),
        bench.ints({length}, ascending(length))};
    const std::int64_t width = shape.heads * shape.size;
    bench.backend->store_kv(
        shape.part,
        bench.floats({length, width}, random.normal(length * width)).split_last(shape.heads), rows,
        pool);
  }
  return pool;
}

/// Runs an operation on the reference backend, on the CPU one with several numbers of threads.
template <class Result, class Run, class Compare>
void on_all(const std::string& set, Run run, Compare compare) {
  Bench reference = reference_bench();
  const Result expected = run(reference);
  for (const int threads : {1, 2, 5}) {
    Bench bench = cpu_bench(set, threads, true);
    bench.backend->reserve(16, 512);
    compare(expected, run(bench));
  }
}

class CpuSelection : public testing::TestWithParam<std::string> {};

struct AttendScene {
  std::int64_t heads = 6, key_size = 48, value_size = 32;
  PoolShape pool{};     // its size is key_size
  bool latent = false;  // values are in the keys
  bool sinks = false;
  std::int64_t lists = 1, list_size = 0;  // 0: ranges
  bool second = false;                    // a second source, with lists of its own
  std::vector<std::int64_t> lengths = {200, 3, 90};
  std::int64_t rows_each = 3;
};

std::vector<float> attend(Bench& bench, const AttendScene& s, std::uint32_t seed) {
  Random random(seed);
  const std::int64_t longest = *std::max_element(s.lengths.begin(), s.lengths.end());
  const Tensor table = page_table(bench, s.lengths.size(), longest / s.pool.page + 1, random);
  PoolShape shape = s.pool;
  shape.size = s.key_size;
  const Tensor keys = filled_pool(bench, shape, s.lengths, table, random);
  shape.size = s.value_size;
  shape.part = KvPart::kValues;
  const Tensor values = s.latent ? Tensor{} : filled_pool(bench, shape, s.lengths, table, random);

  const std::int64_t rows = static_cast<std::int64_t>(s.lengths.size()) * s.rows_each;
  std::vector<std::int32_t> sequence, begin, end, lists, few;
  for (std::size_t i = 0; i < s.lengths.size(); ++i) {
    for (std::int64_t row = 0; row < s.rows_each; ++row) {
      sequence.push_back(static_cast<std::int32_t>(i));
      const std::int64_t last = random.between(1, s.lengths[i]);
      end.push_back(static_cast<std::int32_t>(last));
      // Some rows see nothing of a range when there is a second source.
      begin.push_back(
          static_cast<std::int32_t>(s.second && row == 0 ? last : random.between(0, last - 1)));
      for (std::int64_t list = 0; list < s.lists; ++list) {
        std::vector<std::int32_t> cells = ascending(s.lengths[i]);
        if (row % 2 == 0) std::shuffle(cells.begin(), cells.end(), random.engine());
        cells.resize(static_cast<std::size_t>(std::min<std::int64_t>(
            s.lengths[i], random.between(1, std::max<std::int64_t>(1, s.list_size)))));
        std::sort(cells.begin(), cells.end());
        cells.resize(static_cast<std::size_t>(s.list_size), -1);
        lists.insert(lists.end(), cells.begin(), cells.end());
      }
      for (const std::int32_t cell : {0, row == 1 ? -1 : 2, -1}) few.push_back(cell);
    }
  }
  std::vector<KvSource> sources(1);
  sources[0] = {keys, values, table, bench.ints({rows}, begin), bench.ints({rows}, end), {}};
  if (s.list_size > 0) sources[0].cells = bench.ints({rows, s.lists, s.list_size}, lists);
  if (s.second) {
    PoolShape other = s.pool;
    other.size = s.key_size;
    const Tensor more = filled_pool(bench, other, s.lengths, table, random);
    sources.push_back(
        {more, s.latent ? Tensor{} : values, table, {}, {}, bench.ints({rows, 1, 3}, few)});
  }
  SelectedAttendArguments a;
  // Queries are a part of wider rows.
  a.q = bench
            .floats({rows, s.heads * (s.key_size + 5)},
                    random.normal(rows * s.heads * (s.key_size + 5)))
            .split_last(s.heads)
            .slice(2, 5, s.key_size);
  a.sources = sources;
  a.row_sequence = bench.ints({rows}, sequence);
  a.scale = 0.2F;
  if (s.sinks) a.sinks = bench.floats({s.heads}, random.normal(s.heads));
  a.out = bench.slice(rows, s.heads * s.value_size, 9, 4, 0).split_last(s.heads);
  bench.backend->attend_selected(a);
  return bench.values(a.out);
}

TEST_P(CpuSelection, Attention) {
  std::uint32_t seed = 1;
  const auto check = [&](const AttendScene& scene) {
    ++seed;
    SCOPED_TRACE(seed);
    std::vector<float> first;
    on_all<std::vector<float>>(
        GetParam(), [&](Bench& bench) { return attend(bench, scene, seed); },
        [&](const std::vector<float>& expected, const std::vector<float>& actual) {
          EXPECT_LT(nmse(expected, actual), 1e-11);
          if (first.empty()) first = actual;
          EXPECT_TRUE(same_bits(first, actual));
        });
  };
  check({});
  check({.list_size = 70});
  check({.heads = 40, .key_size = 80, .value_size = 64, .latent = true, .list_size = 150});
  check({.heads = 5,
         .key_size = 41,
         .value_size = 37,
         .latent = true,
         .sinks = true,
         .list_size = 20,
         .second = true});
  check({.heads = 8, .pool = {.heads = 2}, .lists = 2, .list_size = 33});
  check({.heads = 8, .pool = {.heads = 2, .page = 7, .type = DType::kF32}, .second = true});
  check({.pool = {.page = 32, .type = DType::kF32}, .sinks = true, .second = true});
  check({.pool = {.type = DType::kF32}, .latent = true, .second = true});
}

struct SelectScene {
  std::int64_t heads = 3, size = 32, count = 10, page = 64;
  DType type = DType::kF32;
  std::vector<std::int64_t> lengths = {200, 7, 1000};
  std::int64_t rows_each = 2;
};

std::vector<std::int32_t> select_cells(Bench& bench, const SelectScene& s) {
  Random random(3);
  const std::int64_t longest = *std::max_element(s.lengths.begin(), s.lengths.end());
  const Tensor table = page_table(bench, s.lengths.size(), longest / s.page + 1, random);
  const Tensor keys = filled_pool(bench, {.size = s.size, .page = s.page, .type = s.type},
                                  s.lengths, table, random);
  std::vector<std::int32_t> sequence, begin, end;
  for (std::size_t i = 0; i < s.lengths.size(); ++i) {
    for (std::int64_t row = 0; row < s.rows_each; ++row) {
      sequence.push_back(static_cast<std::int32_t>(i));
      end.push_back(static_cast<std::int32_t>(row == 0 ? s.lengths[i] : s.lengths[i] / 2));
      begin.push_back(row == 0 ? 0 : std::min(5, end.back()));
    }
  }
  const auto rows = static_cast<std::int64_t>(sequence.size());
  SelectCellsArguments a;
  a.q = bench.floats({rows, s.heads * s.size}, random.normal(rows * s.heads * s.size))
            .split_last(s.heads);
  a.weights = bench.floats({rows, s.heads}, random.normal(rows * s.heads));
  a.keys = keys;
  a.rows = {table, bench.ints({rows}, sequence), {}};
  a.row_begin = bench.ints({rows}, begin);
  a.row_end = bench.ints({rows}, end);
  a.cells = bench.ints({rows, s.count},
                       std::vector<std::int32_t>(static_cast<std::size_t>(rows * s.count), 77));
  bench.backend->select_cells(a);
  return integers(bench, a.cells);
}

TEST_P(CpuSelection, BestCells) {
  const auto check = [&](const SelectScene& scene) {
    on_all<std::vector<std::int32_t>>(
        GetParam(), [&](Bench& bench) { return select_cells(bench, scene); },
        [](const auto& expected, const auto& actual) { EXPECT_EQ(expected, actual); });
  };
  check({});
  check({.heads = 9, .size = 40, .count = 65, .type = DType::kF16});
  check({.count = 300, .rows_each = 1});
  check({.size = 13, .count = 1, .page = 7, .rows_each = 4});
  check({.count = 2000});  // all of them
}

// All scores are equal (no positive product): the lowest cells win.
TEST_P(CpuSelection, EqualScoresPreferLowCells) {
  for (const int threads : {1, 4}) {
    Bench bench = cpu_bench(GetParam(), threads);
    Random random(4);
    const Tensor table = page_table(bench, 1, 20, random);
    const Tensor keys = filled_pool(bench, {.size = 16}, {1200}, table, random);
    SelectCellsArguments a;
    a.q = bench.floats({1, 16}, std::vector<float>(16, 0.0F)).split_last(1);
    a.weights = bench.floats({1, 1}, {1});
    a.keys = keys;
    a.rows = {table, bench.ints({1}, {0}), {}};
    a.row_begin = bench.ints({1}, {3});
    a.row_end = bench.ints({1}, {1200});
    a.cells = bench.ints({1, 12}, ascending(12));
    bench.backend->select_cells(a);
    EXPECT_EQ(integers(bench, a.cells), ascending(12, 3));
  }
}

struct BlockScene {
  std::int64_t groups = 2, size = 32, block = 16, top_k = 4, local = 1, page = 64;
  std::vector<std::int64_t> lengths = {300, 7, 64};
};

std::vector<std::int32_t> select_blocks(Bench& bench, const BlockScene& s) {
  Random random(5);
  const Tensor table = page_table(bench, s.lengths.size(), 300 / s.page + 1, random);
  const Tensor keys =
      filled_pool(bench, {.size = s.size, .page = s.page}, s.lengths, table, random);
  std::vector<std::int32_t> sequence, end;
  for (std::size_t i = 0; i < s.lengths.size(); ++i) {
    for (int row = 0; row < 3; ++row) {
      sequence.push_back(static_cast<std::int32_t>(i));
      end.push_back(static_cast<std::int32_t>(random.between(1, s.lengths[i])));
    }
  }
  const auto rows = static_cast<std::int64_t>(sequence.size());
  SelectBlocksArguments a;
  a.q = bench.floats({rows, s.groups * s.size}, random.normal(rows * s.groups * s.size))
            .split_last(s.groups);
  a.keys = keys;
  a.rows = {table, bench.ints({rows}, sequence), {}};
  a.row_end = bench.ints({rows}, end);
  a.block = s.block;
  a.top_k = s.top_k;
  a.local = s.local;
  const std::int64_t most = s.top_k * s.block;
  a.cells =
      bench.ints({rows, s.groups, most},
                 std::vector<std::int32_t>(static_cast<std::size_t>(rows * s.groups * most), 9));
  bench.backend->select_blocks(a);
  return integers(bench, a.cells);
}

TEST_P(CpuSelection, BestBlocks) {
  for (const BlockScene& scene :
       {BlockScene{},
        BlockScene{.groups = 1, .size = 17, .block = 5, .top_k = 3, .local = 2, .page = 7},
        BlockScene{.block = 1, .top_k = 9, .local = 0},
        BlockScene{.block = 128, .top_k = 2, .local = 3}, BlockScene{.top_k = 100}}) {
    on_all<std::vector<std::int32_t>>(
        GetParam(), [&](Bench& bench) { return select_blocks(bench, scene); },
        [](const auto& expected, const auto& actual) { EXPECT_EQ(expected, actual); });
  }
}

std::vector<float> compress(Bench& bench, std::int64_t size, std::int64_t ratio, bool overlapping,
                            std::int64_t page) {
  Random random(6);
  const std::int64_t width = overlapping ? 2 * size : size;
  const std::vector<std::int64_t> lengths = {4 * ratio, ratio};
  const Tensor table = page_table(bench, 2, 4 * ratio / page + 1, random);
  PoolShape shape{.size = width, .page = page, .type = DType::kF32, .part = KvPart::kValues};
  CompressArguments a;
  a.values = filled_pool(bench, shape, lengths, table, random);
  shape.part = KvPart::kKeys;
  a.gates = filled_pool(bench, shape, lengths, table, random);
  a.bias = bench.floats({ratio, width}, random.normal(ratio * width));
  a.page_table = table;
  a.block_sequence = bench.ints({4}, {0, 0, 1, 0});
  a.block = bench.ints({4}, {0, 1, 0, 3});
  a.ratio = ratio;
  a.overlapping = overlapping;
  a.out = bench.slice(4, size, 3, 2, 0);
  bench.backend->compress(a);
  return bench.values(a.out);
}

TEST_P(CpuSelection, PooledBlocks) {
  const auto check = [&](std::int64_t size, std::int64_t ratio, bool overlapping,
                         std::int64_t page) {
    on_all<std::vector<float>>(
        GetParam(), [&](Bench& bench) { return compress(bench, size, ratio, overlapping, page); },
        [](const auto& expected, const auto& actual) { EXPECT_LT(nmse(expected, actual), 1e-12); });
  };
  check(64, 4, true, 64);
  check(72, 128, false, 64);
  check(13, 4, true, 64);
  check(13, 6, false, 7);
}

std::vector<float> transposed(Bench& bench, DType type, std::int64_t rows, std::int64_t x_rows,
                              std::int64_t columns, bool shared, std::int64_t batch) {
  Random random(7);
  constexpr std::int64_t kMatrices = 5;
  const std::vector<std::byte> bytes = random_blocks(type, kMatrices * rows, columns, random);
  const Weight& weight = bench.weight({"w", type, rows, columns, bytes, kMatrices}, kUseMatmul);
  const std::int64_t parts = shared ? 1 : kMatrices;
  TransposedArguments a;
  a.x = bench.floats({batch, parts * (x_rows + 3)}, random.normal(batch * parts * (x_rows + 3)))
            .split_last(parts)
            .slice(2, 3, x_rows);
  a.ids = bench.ints({1, kMatrices}, ascending(kMatrices));
  a.ids.shape[0] = batch;
  a.ids.strides[0] = 0;
  a.weight = &weight;
  a.out = bench.slice(batch, kMatrices * (columns + 2), 4, 3, 0)
              .split_last(kMatrices)
              .slice(2, 2, columns);
  bench.backend->transposed_matmul(a);
  return bench.values(a.out);
}

TEST_P(CpuSelection, TransposedProducts) {
  const auto check = [&](DType type, std::int64_t rows, std::int64_t x_rows, std::int64_t columns,
                         bool shared, std::int64_t batch) {
    on_all<std::vector<float>>(
        GetParam(),
        [&](Bench& bench) { return transposed(bench, type, rows, x_rows, columns, shared, batch); },
        [](const auto& expected, const auto& actual) { EXPECT_LT(nmse(expected, actual), 1e-11); });
  };
  check(DType::kF32, 24, 24, 32, false, 1);
  check(DType::kF32, 23, 11, 37, true, 19);
  check(DType::kF16, 40, 33, 50, false, 9);
  check(DType::kQ8_0, 20, 13, 64, true, 3);
  check(DType::kF32, 600, 512, 1000, false, 3);  // in several parts
}

INSTANTIATE_TEST_SUITE_P(AllSets, CpuSelection, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
