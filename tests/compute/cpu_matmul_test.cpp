// Matrix products of the CPU backend against the reference one: every weight type, every
// instruction set.
#include <gtest/gtest.h>

#include "backends.h"
#include "quant/quant.h"

namespace hearth::compute {
namespace {

std::vector<DType> weight_types() {
  std::vector<DType> types;
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (quant::can_decode(type.dtype) && type.dtype != DType::kF64) types.push_back(type.dtype);
  }
  return types;
}

struct Case {
  std::string instruction_set;
  DType dtype;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::string& set : cpu_instruction_sets()) {
    for (const DType dtype : weight_types()) cases.push_back({set, dtype});
  }
  return cases;
}

class CpuMatmul : public testing::TestWithParam<Case> {};

struct Product {
  std::int64_t rows = 0, columns = 0, batch = 0;
  std::vector<std::byte> blocks;
  std::vector<float> x;
  std::vector<float> bias;
  [[nodiscard]] WeightSource source(DType dtype) const {
    return {"w", dtype, rows, columns, blocks};
  }
};

Product random_product(DType dtype, std::int64_t rows, std::int64_t batch, Random& random) {
  Product p;
  const std::int64_t block = tensor::info(dtype).block_elements;
  p.rows = rows;
  p.columns = block == 1 ? random.between(1, 200) : block * random.between(1, block == 256 ? 3 : 9);
  p.batch = batch;
  p.blocks = random_blocks(dtype, p.rows, p.columns, random);
  p.x = random.normal(batch * p.columns);
  p.bias = random.normal(rows);
  return p;
}

std::vector<float> multiply(Bench& bench, const Product& p, DType dtype,
                            Residency residency = Residency::kPacked, bool plain = false) {
  const Weight& weight = bench.weight(p.source(dtype), kUseMatmul, residency);
  const Tensor out = bench.slice(p.batch, p.rows, 5, 3, -7);
  Projection projection{&weight, out, bench.floats({p.rows}, p.bias), 0.5F};
  if (plain) projection = {&weight, out, {}, 1.0F};
  bench.backend->matmul(bench.floats({p.batch, p.columns}, p.x), {&projection, 1});
  EXPECT_FALSE(bench.backend->finish().has_value());
  return bench.values(out);
}

/// Fast products with quantized weights round activations to int8; those with halves may round both
/// sides to bfloat16.
double tolerance(DType dtype) {
  if (tensor::info(dtype).quantized) return 3e-4;
  return dtype == DType::kF16 || dtype == DType::kBF16 ? 1e-5 : 1e-11;
}

TEST_P(CpuMatmul, AgreesWithTheReference) {
  const DType dtype = GetParam().dtype;
  Random random(7);
  for (const std::int64_t batch : {1, 2, 3, 7, 17, 33}) {
    const std::int64_t rows = random.between(1, 70);
    const Product p = random_product(dtype, rows, batch, random);
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam().instruction_set, static_cast<int>(1 + batch % 4));
    const std::vector<float> expected = multiply(reference, p, dtype);
    const std::vector<float> packed = multiply(cpu, p, dtype);
    EXPECT_LT(nmse(expected, packed), tolerance(dtype))
        << "batch " << batch << " rows " << rows << " columns " << p.columns;
    EXPECT_TRUE(same_bits(packed, multiply(cpu, p, dtype, Residency::kMapped)))
        << "mapped, batch " << batch;
  }
}

TEST_P(CpuMatmul, ExactModeIsExactAndIndependentOfBatchAndThreads) {
  const DType dtype = GetParam().dtype;
  Random random(11);
  const Product p = random_product(dtype, 53, 19, random);
  Bench reference = reference_bench();
  Bench one = cpu_bench(GetParam().instruction_set, 1, true);
  Bench three = cpu_bench(GetParam().instruction_set, 3, true);
  const std::vector<float> batched = multiply(one, p, dtype);
  EXPECT_LT(nmse(multiply(reference, p, dtype), batched), 1e-11);
  EXPECT_TRUE(same_bits(batched, multiply(three, p, dtype)));
  for (std::int64_t t = 0; t < p.batch; ++t) {
    Product row = p;
    row.batch = 1;
    row.x.assign(p.x.begin() + t * p.columns, p.x.begin() + (t + 1) * p.columns);
    const std::vector<float> expected(batched.begin() + t * p.rows,
                                      batched.begin() + (t + 1) * p.rows);
    ASSERT_TRUE(same_bits(expected, multiply(three, row, dtype))) << "row " << t;
  }
}

/// Row t of a product, alone: the same bits as among the others.
void expect_same_alone(Bench& bench, const Product& p, DType dtype, bool plain, std::int64_t t,
                       const std::vector<float>& batched) {
  Product row = p;
  row.batch = 1;
  row.x.assign(p.x.begin() + t * p.columns, p.x.begin() + (t + 1) * p.columns);
  const std::vector<float> expected(batched.begin() + t * p.rows,
                                    batched.begin() + (t + 1) * p.rows);
  ASSERT_TRUE(same_bits(expected, multiply(bench, row, dtype, Residency::kPacked, plain)))
      << "row " << t << " of " << p.batch << (plain ? ", plain" : "");
}

TEST_P(CpuMatmul, FastModeDoesNotDependOnTheBatchEither) {
  const DType dtype = GetParam().dtype;
  Random random(13);
  Bench cpu = cpu_bench(GetParam().instruction_set, 2);
  // Two pairs of panels and a part of one; rows for kernels that take eight, six and fewer: of
  // panels as they are, all of them, and of expanded ones (ReadyPanels::are_many) those at the
  // ends of what a kernel takes.
  const Product few = random_product(dtype, 75, 15, random);
  const Product many = random_product(dtype, 75, 103, random);
  for (const bool plain : {false, true}) {
    std::vector<float> batched = multiply(cpu, few, dtype, Residency::kPacked, plain);
    for (std::int64_t t = 0; t < few.batch; ++t)
      expect_same_alone(cpu, few, dtype, plain, t, batched);
    batched = multiply(cpu, many, dtype, Residency::kPacked, plain);
    for (const std::int64_t t : {0, 5, 6, 7, 8, 95, 96, 101, 102})
      expect_same_alone(cpu, many, dtype, plain, t, batched);
  }
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.instruction_set + "_" + std::string(tensor::name(info.param.dtype));
}
INSTANTIATE_TEST_SUITE_P(AllTypes, CpuMatmul, testing::ValuesIn(all_cases()), case_name);

class CpuSet : public testing::TestWithParam<std::string> {};

TEST_P(CpuSet, SeveralProductsOfDifferentTypesShareTheirInput) {
  Random random(3);
  const std::int64_t columns = 512;
  for (const std::int64_t batch : {1, 5, 40}) {
    const std::vector<float> x = random.normal(batch * columns);
    const std::vector<DType> types = {DType::kQ4_K, DType::kQ8_0, DType::kF16, DType::kQ6_K};
    std::vector<std::vector<std::byte>> blocks;
    for (std::size_t i = 0; i < types.size(); ++i) {
      blocks.push_back(
          random_blocks(types[i], 100 + 10 * static_cast<std::int64_t>(i), columns, random));
    }
    const auto run = [&](Bench& bench) {
      std::vector<Projection> projections;
      for (std::size_t i = 0; i < types.size(); ++i) {
        const std::int64_t rows = 100 + 10 * static_cast<std::int64_t>(i);
        const Weight& weight = bench.weight({"w", types[i], rows, columns, blocks[i]});
        projections.push_back(
            {&weight,
             bench.floats({batch, rows},
                          std::vector<float>(static_cast<std::size_t>(batch * rows))),
             {},
             1});
      }
      bench.backend->matmul(bench.floats({batch, columns}, x), projections);
      std::vector<float> all;
      for (const Projection& p : projections) {
        const std::vector<float> values = bench.values(p.out);
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    };
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam(), 3);
    EXPECT_LT(nmse(run(reference), run(cpu)), 2e-4);
  }
}

TEST_P(CpuSet, BatchesLargerThanReservedWork) {
  Random random(5);
  Product p = random_product(DType::kQ8_0, 33, 700, random);
  Bench reference = reference_bench();
  Bench cpu = cpu_bench(GetParam(), 2);
  cpu.backend->reserve(32, p.columns);
  EXPECT_LT(nmse(multiply(reference, p, DType::kQ8_0), multiply(cpu, p, DType::kQ8_0)), 2e-4);
}

TEST_P(CpuSet, LooksUpRowsOfEveryType) {
  Random random(17);
  for (const DType dtype : weight_types()) {
    const std::int64_t columns = 512;
    const std::vector<std::byte> blocks = random_blocks(dtype, 20, columns, random);
    const std::vector<std::int32_t> ids = {19, 0, 7, 7};
    const auto run = [&](Bench& bench) {
      const Weight& table = bench.weight({"t", dtype, 20, columns, blocks}, kUseRows);
      const Tensor out = bench.slice(4, columns, 4, 2, 0);
      bench.backend->get_rows(table, bench.ints({4}, ids), 1.5F, out);
      return bench.values(out);
    };
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam(), 2);
    EXPECT_LT(nmse(run(reference), run(cpu)), 1e-13) << tensor::name(dtype);
  }
}

std::string set_name(const testing::TestParamInfo<std::string>& info) { return info.param; }
INSTANTIATE_TEST_SUITE_P(AllSets, CpuSet, testing::ValuesIn(cpu_instruction_sets()), set_name);

}  // namespace
}  // namespace hearth::compute
