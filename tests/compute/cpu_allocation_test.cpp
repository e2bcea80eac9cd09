// A decode step allocates nothing: this program counts calls of operator new.
#include <gtest/gtest.h>

#include "backends.h"
#include "counted_new.h"
#include "support/error.h"

namespace hearth::compute {
namespace {

class CpuAllocation : public testing::TestWithParam<Residency> {};

TEST_P(CpuAllocation, OperationsDoNotAllocate) {
  Random random(1);
  Bench bench = cpu_bench("", 2);
  const std::int64_t width = 512;
  const std::int64_t ffn = 2048;
  bench.backend->reserve(40, ffn);
  const auto weight = [&](DType dtype, std::int64_t rows, std::int64_t columns) -> const Weight& {
    static std::vector<std::vector<std::byte>> kept;
    kept.push_back(random_blocks(dtype, rows, columns, random));
    return bench.weight({"w", dtype, rows, columns, kept.back()}, kUseMatmul | kUseRows,
                        GetParam());
  };
  const Weight& table = weight(DType::kQ8_0, 64, width);
  const Weight& qkv = weight(DType::kQ4_K, 3 * width, width);
  const Weight& up = weight(DType::kQ6_K, 2 * ffn, width);
  const Weight& down = weight(DType::kF16, width, ffn);
  for (const std::int64_t t : {std::int64_t{1}, std::int64_t{37}}) {
    const auto make = [&](std::int64_t columns) {
      return bench.floats({t, columns}, random.normal(t * columns));
    };
    const Tensor x = make(width);
    const Tensor y = make(width);
    const Tensor projected = make(3 * width);
    const Tensor hidden = make(2 * ffn);
    const Tensor norm = bench.floats({width}, random.normal(width));
    std::vector<std::int32_t> counting;
    std::vector<std::int32_t> ends;
    for (std::int32_t i = 0; i < t; ++i) {
      counting.push_back(i);
      ends.push_back(i + 1);
    }
    const Tensor positions = bench.ints({t}, counting);
    const Tensor zeros = bench.ints({t}, std::vector<std::int32_t>(static_cast<std::size_t>(t), 0));
    const KvRows rows{bench.ints({1, 2}, {1, 0}), zeros, positions};
    const Tensor keys = bench.floats({2, 8, 32, 64}, random.normal(2 * 8 * 32 * 64));
    const Tensor values = bench.floats({2, 8, 32, 64}, random.normal(2 * 8 * 32 * 64));
    const Tensor rope = bench.floats({t, 32, 2}, random.normal(t * 64));
    AttendArguments attend;
    attend.q = projected.columns(0, width).split_last(8);
    attend.keys = keys;
    attend.values = values;
    attend.rows = rows;
    attend.row_begin = zeros;
    attend.row_end = bench.ints({t}, ends);
    attend.out = y.split_last(8);
    RopeAngles angles;
    angles.rotated = 64;

    Backend& b = *bench.backend;
    const std::size_t before = testing_allocations();
    b.get_rows(table, positions, 1, x);
    b.rope_table(angles, positions, {}, rope);
    b.norm({NormKind::kRms, 1e-5F, x, norm, {}, y});
    const Projection p1{&qkv, projected, {}, 1};
    b.matmul(y, {&p1, 1});
    b.rope(RopePairing::kHalves, rope, attend.q);
    b.store_kv(KvPart::kKeys, projected.columns(width, width).split_last(8), rows, keys);
    b.store_kv(KvPart::kValues, projected.columns(2 * width, width).split_last(8), rows, values);
    b.attend(attend);
    b.add(x, y, 1, x);
    const Projection p2{&up, hidden, {}, 1};
    b.matmul(x, {&p2, 1});
    b.activate_gated({Activation::kSilu}, hidden.columns(0, ffn), hidden.columns(ffn, ffn),
                     hidden.columns(0, ffn));
    const Projection p3{&down, y, {}, 1};
    b.matmul(hidden.columns(0, ffn), {&p3, 1});
    b.softcap(y, 30);
    b.clamp(y, 3);
    b.gather(y, zeros, x);
    EXPECT_FALSE(b.finish().has_value());
    EXPECT_EQ(testing_allocations(), before) << t << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(Residencies, CpuAllocation,
                         testing::Values(Residency::kPacked, Residency::kMapped),
                         [](const auto& tested) {
                           return tested.param == Residency::kPacked ? "Packed" : "Mapped";
                         });

TEST(CpuMemory, IsAccountedByCategory) {
  Random random(2);
  auto backend = make_cpu_backend({.threads = 1, .instruction_set = {}});
  EXPECT_EQ(backend->allocated(MemoryCategory::kKv), 0U);
  auto buffer = backend->allocate(12345, MemoryCategory::kKv);
  EXPECT_EQ(backend->allocated(MemoryCategory::kKv), 12345U);
  const std::vector<std::byte> blocks = random_blocks(DType::kQ8_0, 160, 1024, random);
  auto packed =
      backend->load_weight({"w", DType::kQ8_0, 160, 1024, blocks}, kUseMatmul, Residency::kPacked);
  EXPECT_EQ(backend->allocated(MemoryCategory::kWeights), blocks.size());
  auto mapped =
      backend->load_weight({"w", DType::kQ8_0, 160, 1024, blocks}, kUseMatmul, Residency::kMapped);
  EXPECT_EQ(backend->allocated(MemoryCategory::kWeights), blocks.size());
  packed.reset();
  EXPECT_EQ(backend->allocated(MemoryCategory::kWeights), 0U);
  backend.reset();  // what it handed out may outlive it
  buffer.reset();
}

TEST(CpuMemory, MoreThanThereIsIsRefused) {
  auto backend = make_cpu_backend({.threads = 1, .instruction_set = {}});
  try {
    (void)backend->allocate(std::size_t{1} << 50, MemoryCategory::kKv);
    FAIL() << "a petabyte was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
  }
}

}  // namespace
}  // namespace hearth::compute
