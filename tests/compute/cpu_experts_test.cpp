// Routing and grouped products of the CPU backend against the reference one, on every instruction
// set.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "backends.h"
#include "compute/count/count_backend.h"

namespace hearth::compute {
namespace {

using spec::RouterGate;
using Ints = std::vector<std::int32_t>;

Ints int_values(const Bench& bench, const Tensor& t) {
  Ints values(static_cast<std::size_t>(t.elements()));
  bench.backend->read(t, values.data());
  return values;
}

class CpuExperts : public testing::TestWithParam<std::string> {};

struct Choice {
  Ints ids;
  std::vector<float> weights;
};

struct Router {
  Routing routing;
  std::int64_t rows = 0, experts = 0, used = 0;
  std::vector<float> logits;
  std::vector<float> bias{};
  Ints selected{};

  [[nodiscard]] Choice run(Bench& bench) const {
    RouteArguments a;
    a.routing = routing;
    a.logits = bench.floats({rows, experts}, logits);
    if (!bias.empty()) a.selection_bias = bench.floats({experts}, bias);
    if (!selected.empty()) a.selected = bench.ints({rows, used}, selected);
    const auto count = static_cast<std::size_t>(rows * used);
    a.ids = bench.ints({rows, used}, Ints(count, -1));
    a.weights = bench.floats({rows, used}, std::vector<float>(count, -1));
    bench.backend->route(a);
    return {int_values(bench, a.ids), bench.values(a.weights)};
  }
};

TEST_P(CpuExperts, RouteAgreesWithTheReference) {
  Random random(1);
  for (const RouterGate gate : {RouterGate::kSoftmax, RouterGate::kSigmoid,
                                RouterGate::kSoftmaxSelected, RouterGate::kSqrtSoftplus}) {
    for (int round = 0; round < 24; ++round) {
      Router router;
      router.routing.gate = gate;
      router.routing.normalise = round % 2 == 0;
      router.routing.scale = round % 3 == 0 ? 2.5F : 1.0F;
      router.routing.groups = round % 4 == 3 ? 4 : 1;
      router.routing.groups_used = 2;
      router.rows = random.between(1, 30);
      router.experts = router.routing.groups * random.between(1, round < 20 ? 12 : 70);
      router.used = random.between(1, std::max<std::int64_t>(1, router.experts / 2));
      router.logits = random.normal(router.rows * router.experts, 2);
      if (round % 4 > 1) router.bias = random.normal(router.experts);
      if (round % 6 == 5) {
        for (std::int64_t i = 0; i < router.rows * router.used; ++i) {
          router.selected.push_back(
              static_cast<std::int32_t>(random.between(0, router.experts - 1)));
        }
      }
      Bench reference = reference_bench();
      Bench cpu = cpu_bench(GetParam(), 1 + round % 3);
      const Choice expected = router.run(reference);
      const Choice actual = router.run(cpu);
      EXPECT_EQ(expected.ids, actual.ids) << "round " << round;
      EXPECT_LT(nmse(expected.weights, actual.weights), 1e-11) << "round " << round;
      if (!router.selected.empty()) {
        EXPECT_EQ(actual.ids, router.selected);
      }
    }
  }
}

TEST_P(CpuExperts, EqualScoresGoToTheLowerIndex) {
  for (const RouterGate gate : {RouterGate::kSoftmax, RouterGate::kSigmoid}) {
    for (const bool biased : {false, true}) {
      Router router{.routing = {}, .rows = 2, .experts = 6, .used = 3, .logits = {}};
      router.routing.gate = gate;
      router.logits = {1, 2, 2, 1, 2, 2, 0, 0, 0, 0, 0, 0};
      if (biased) router.bias.assign(6, 0.25F);
      Bench cpu = cpu_bench(GetParam());
      EXPECT_EQ(router.run(cpu).ids, (Ints{1, 2, 4, 0, 1, 2}));
    }
  }
}

TEST_P(CpuExperts, EqualGroupsGoToTheLowerIndex) {
  Router router{.routing = {}, .rows = 1, .experts = 6, .used = 3, .logits = {}};
  router.routing = {.gate = RouterGate::kSigmoid, .groups = 3, .groups_used = 2};
  // Group 1 has the best expert, but groups 0 and 2 the better pairs.
  router.logits = {1, 1, 2, -9, 1, 1};
  Bench cpu = cpu_bench(GetParam());
  EXPECT_EQ(router.run(cpu).ids, (Ints{0, 1, 4}));
  router.logits = {1, 1, 1, 1, 1, 1};
  EXPECT_EQ(router.run(cpu).ids, (Ints{0, 1, 2}));
}

TEST_P(CpuExperts, SelectionBiasIsNotInTheWeights) {
  Router router{.routing = {}, .rows = 1, .experts = 3, .used = 1, .logits = {2, 0, 0}};
  router.routing.gate = RouterGate::kSigmoid;
  router.bias = {0, 0, 5};
  Bench cpu = cpu_bench(GetParam());
  const Choice choice = router.run(cpu);
  EXPECT_EQ(choice.ids, Ints{2});
  EXPECT_FLOAT_EQ(choice.weights[0], 0.5F);
}

TEST_P(CpuExperts, NormalisationDoesNotDivideByNearlyNothing) {
  Router router{.routing = {}, .rows = 1, .experts = 2, .used = 2, .logits = {-20, -20}};
  router.routing.gate = RouterGate::kSigmoid;
  router.routing.normalise = true;
  Bench cpu = cpu_bench(GetParam());
  const float probability = 1.0F / (1.0F + std::exp(20.0F));
  const float expected = probability * 16384;
  EXPECT_NEAR(router.run(cpu).weights[0], expected, 1e-4F * expected);
}

TEST_P(CpuExperts, WhateverTheLogitsIdsAreExperts) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::int32_t groups : {1, 2}) {
    Router router{.routing = {}, .rows = 3, .experts = 6, .used = 3, .logits = {}};
    router.routing.groups = groups;
    router.logits = {nan,       nan,       nan,       nan,       nan,       nan,
                     1,         nan,       infinity,  0,         nan,       2,
                     -infinity, -infinity, -infinity, -infinity, -infinity, -infinity};
    Bench cpu = cpu_bench(GetParam());
    const Ints ids = router.run(cpu).ids;
    for (std::size_t row = 0; row < 3; ++row) {
      Ints chosen(ids.begin() + 3 * static_cast<std::ptrdiff_t>(row),
                  ids.begin() + 3 * static_cast<std::ptrdiff_t>(row) + 3);
      std::sort(chosen.begin(), chosen.end());
      EXPECT_GE(chosen.front(), 0);
      EXPECT_LT(chosen.back(), 6);
      EXPECT_EQ(std::unique(chosen.begin(), chosen.end()), chosen.end());
    }
    router.selected = {-1, 6, 1 << 30, 0, 1, 2, 3, 4, 5};
    EXPECT_EQ(router.run(cpu).ids, (Ints{0, 5, 5, 0, 1, 2, 3, 4, 5}));
  }
}

TEST_P(CpuExperts, ThousandsOfExperts) {
  Random random(9);
  for (const bool biased : {false, true}) {
    Router router{.routing = {}, .rows = 2, .experts = kMaxExperts, .used = 9, .logits = {}};
    router.routing.groups = biased ? static_cast<std::int32_t>(kMaxExperts / 2) : 1;
    router.routing.groups_used = 12;
    router.logits = random.normal(2 * kMaxExperts, 4);
    if (biased) router.bias = random.normal(kMaxExperts);
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam());
    EXPECT_EQ(router.run(reference).ids, router.run(cpu).ids);
  }
}

// ---- Products -----------------------------------------------------------------------------------

struct Stack {
  DType dtype = DType::kF32;
  std::int64_t matrices = 0, rows = 0, columns = 0;
  std::vector<std::byte> blocks{};
  [[nodiscard]] WeightSource source() const {
    return {"stack", dtype, rows, columns, blocks, matrices};
  }
};

Stack random_stack(DType dtype, std::int64_t matrices, std::int64_t rows, std::int64_t columns,
                   Random& random) {
  return {dtype, matrices, rows, columns, random_blocks(dtype, matrices * rows, columns, random)};
}

struct Grouped {
  std::int64_t batch = 0, used = 0;
  bool shared = false, biased = false, scaled = false;
  std::vector<Stack> stacks{};
  std::vector<float> x{};
  Ints ids{};
  std::vector<float> vectors{};  // biases and scales are taken from here

  void fill(Random& random) {
    const Stack& stack = stacks.front();
    x = random.normal(batch * (shared ? 1 : used) * stack.columns);
    vectors = random.normal(stack.matrices * 200);
    ids.clear();
    for (std::int64_t i = 0; i < batch * used; ++i) {
      ids.push_back(static_cast<std::int32_t>(random.between(0, stack.matrices - 1)));
    }
  }
  [[nodiscard]] std::vector<float> run(Bench& bench,
                                       Residency residency = Residency::kPacked) const {
    const std::int64_t columns = stacks.front().columns;
    std::vector<GroupedProjection> projections;
    for (const Stack& stack : stacks) {
      GroupedProjection p;
      p.weight = &bench.weight(stack.source(), kUseMatmul, residency);
      p.out = bench.slice(batch, used * stack.rows, 3, 2, -7).split_last(used);
      const auto vector = [&](std::int64_t count) {
        return std::vector<float>(vectors.begin(), vectors.begin() + count);
      };
      if (biased) {
        p.bias = bench.floats({stack.matrices, stack.rows}, vector(stack.matrices * stack.rows));
      }
      if (scaled) p.scale = bench.floats({stack.matrices}, vector(stack.matrices));
      projections.push_back(p);
    }
    bench.backend->grouped_matmul(bench.floats({batch, shared ? 1 : used, columns}, x),
                                  bench.ints({batch, used}, ids), projections);
    EXPECT_FALSE(bench.backend->finish().has_value());
    std::vector<float> all;
    for (const GroupedProjection& p : projections) {
      const std::vector<float> values = bench.values(p.out);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
};

std::int64_t some_columns(DType dtype, Random& random) {
  const std::int64_t block = tensor::info(dtype).block_elements;
  return block == 1 ? random.between(1, 200) : block * random.between(1, block == 256 ? 3 : 9);
}

const std::vector<DType> kTypes = {DType::kF32,  DType::kF16,  DType::kBF16,  DType::kQ8_0,
                                   DType::kQ4_0, DType::kQ5_1, DType::kQ4_K,  DType::kQ5_K,
                                   DType::kQ6_K, DType::kQ3_K, DType::kMXFP4, DType::kIQ4_XS};

TEST_P(CpuExperts, GroupedMatmulAgreesWithTheReference) {
  Random random(2);
  for (const DType dtype : kTypes) {
    const bool quantized = tensor::info(dtype).quantized;
    for (int round = 0; round < 6; ++round) {
      Grouped g;
      g.batch = round == 0 ? 1 : random.between(1, 40);
      g.used = round == 1 ? 1 : random.between(1, 6);
      g.shared = round % 2 == 0;
      g.biased = round % 3 == 0;
      g.scaled = round % 3 == 1;
      const std::int64_t matrices = round == 2 ? 1 : random.between(1, 9);
      const std::int64_t columns = some_columns(dtype, random);
      for (int i = 0; i < (round == 3 ? 2 : 1); ++i) {
        g.stacks.push_back(random_stack(dtype, matrices, random.between(1, 50), columns, random));
      }
      g.fill(random);
      Bench reference = reference_bench();
      Bench cpu = cpu_bench(GetParam(), 1 + round % 3);
      Bench exact = cpu_bench(GetParam(), 3 - round % 3, true);
      const std::vector<float> expected = g.run(reference);
      const std::vector<float> packed = g.run(cpu);
      // Fast products may round halves, and what they meet, to bfloat16.
      const bool halves = dtype == DType::kF16 || dtype == DType::kBF16;
      EXPECT_LT(nmse(expected, packed), quantized ? 3e-4 : halves ? 1e-5 : 1e-11)
          << tensor::name(dtype) << " round " << round;
      EXPECT_TRUE(same_bits(packed, g.run(cpu, Residency::kMapped))) << tensor::name(dtype);
      EXPECT_LT(nmse(expected, g.run(exact)), 1e-11) << tensor::name(dtype);
    }
  }
}

TEST_P(CpuExperts, GroupedMatmulDoesNotDependOnBatchThreadsOrCompany) {
  Random random(3);
  for (const DType dtype : {DType::kQ4_K, DType::kQ8_0, DType::kF16}) {
    for (const bool exact : {false, true}) {
      Grouped g;
      g.batch = 300;
      g.used = 4;
      g.shared = true;
      // One matrix gets more than kGroupRows products.
      g.stacks.push_back(random_stack(dtype, 5, 37, 512, random));
      g.fill(random);
      for (std::size_t i = 0; i < g.ids.size(); i += 2) g.ids[i] = 3;
      Bench one = cpu_bench(GetParam(), 1, exact);
      Bench three = cpu_bench(GetParam(), 3, exact);
      const std::vector<float> all = g.run(one);
      EXPECT_TRUE(same_bits(all, g.run(three)));
      for (const std::int64_t t : {0, 150, 299}) {
        Grouped row = g;
        row.batch = 1;
        row.x.assign(g.x.begin() + t * 512, g.x.begin() + (t + 1) * 512);
        row.ids.assign(g.ids.begin() + t * 4, g.ids.begin() + (t + 1) * 4);
        const std::vector<float> expected(all.begin() + t * 4 * 37, all.begin() + (t + 1) * 4 * 37);
        EXPECT_TRUE(same_bits(expected, row.run(three))) << "row " << t;
      }
    }
  }
}

TEST_P(CpuExperts, ManyProductsAreCutIntoSlabs) {
  Random random(4);
  for (const bool shared : {false, true}) {
    Grouped g;
    g.batch = 700;
    g.used = 9;
    g.shared = shared;
    g.stacks.push_back(random_stack(DType::kQ8_0, 6, 5, 64, random));
    g.fill(random);
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam(), 2);
    EXPECT_LT(nmse(g.run(reference), g.run(cpu)), 3e-4);
  }
}

TEST_P(CpuExperts, IdsMayBeOneRowForAll) {
  // Latent attention: matrix = head, x is a strided slice of [T, H, ..].
  Random random(5);
  const Stack stack = random_stack(DType::kQ8_0, 4, 33, 64, random);
  const std::vector<float> x = random.normal(7 * 4 * 100);
  const auto run = [&](Bench& bench) {
    Tensor ids = bench.ints({1, 4}, {0, 1, 2, 3});
    ids.shape[0] = 7;
    ids.strides[0] = 0;
    const Tensor out = bench.floats({7, 4, 40}, std::vector<float>(7 * 4 * 40, -3)).slice(2, 5, 33);
    const GroupedProjection p{&bench.weight(stack.source()), out, {}, {}};
    bench.backend->grouped_matmul(bench.floats({7, 4, 100}, x).slice(2, 20, 64), ids, {&p, 1});
    return bench.values(out);
  };
  Bench reference = reference_bench();
  Bench cpu = cpu_bench(GetParam(), 2);
  EXPECT_LT(nmse(run(reference), run(cpu)), 3e-4);
}

TEST_P(CpuExperts, ProductsOfDifferentTypesShareTheirInput) {
  Random random(6);
  for (const std::int64_t batch : {1, 20}) {
    Grouped g;
    g.batch = batch;
    g.used = 3;
    g.shared = true;
    for (const DType dtype : {DType::kQ4_K, DType::kQ8_0, DType::kF16, DType::kQ6_K}) {
      g.stacks.push_back(
          random_stack(dtype, 7, 20 + 3 * static_cast<std::int64_t>(dtype), 512, random));
    }
    g.fill(random);
    Bench reference = reference_bench();
    Bench cpu = cpu_bench(GetParam(), 3);
    EXPECT_LT(nmse(g.run(reference), g.run(cpu)), 3e-4);
  }
}

TEST_P(CpuExperts, OnlyChosenMatricesAreRead) {
  Random random(7);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool exact : {false, true}) {
    Grouped g;
    g.batch = 2;
    g.used = 2;
    g.shared = true;
    g.stacks.push_back(random_stack(DType::kF32, 8, 19, 50, random));
    g.fill(random);
    g.ids = {1, 6, 6, 4};
    Bench clean = cpu_bench(GetParam(), 2, exact);
    const std::vector<float> expected = g.run(clean, Residency::kMapped);
    std::vector<std::byte>& blocks = g.stacks.front().blocks;
    const std::size_t matrix = blocks.size() / 8;
    for (const std::size_t m : {0, 2, 3, 5, 7}) {
      for (std::size_t i = 0; i < matrix; i += 4) std::memcpy(&blocks[m * matrix + i], &nan, 4);
    }
    for (const Residency residency : {Residency::kMapped, Residency::kPacked}) {
      Bench poisoned = cpu_bench(GetParam(), 2, exact);
      EXPECT_TRUE(same_bits(expected, g.run(poisoned, residency)));
    }
  }
}

TEST(ExpertMemory, StacksTakeWhatTheirPanelsTake) {
  Random random(8);
  auto backend = make_cpu_backend({.threads = 1, .instruction_set = {}});
  // 19 rows take two panels of 16 in each of the 8 matrices.
  const Stack stack = random_stack(DType::kQ8_0, 8, 19, 64, random);
  const Stack whole = random_stack(DType::kQ8_0, 8, 32, 64, random);
  const std::size_t bytes = backend->resident_bytes(stack.source(), kUseMatmul, Residency::kPacked);
  EXPECT_EQ(bytes, whole.blocks.size());
  const auto packed = backend->load_weight(stack.source(), kUseMatmul, Residency::kPacked);
  EXPECT_EQ(backend->allocated(MemoryCategory::kWeights), bytes);
  EXPECT_EQ(backend->resident_bytes(stack.source(), kUseMatmul, Residency::kMapped), 0U);
}

TEST(ExpertMemory, CountedBytesAreThoseOfTheChosenMatrices) {
  Random random(9);
  const auto target = make_cpu_backend({.threads = 1, .instruction_set = {}});
  auto counter = make_count_backend(*target);
  const Stack stack = random_stack(DType::kQ4_K, 8, 24, 256, random);
  const auto weight = counter->load_weight(stack.source(), kUseMatmul, Residency::kPacked);
  const auto buffer = counter->allocate(1 << 20, MemoryCategory::kBuffers);
  const auto tensor = [&](DType dtype, std::initializer_list<std::int64_t> shape) {
    return Tensor::contiguous(buffer.get(), 0, dtype, shape);
  };
  const GroupedProjection p{weight.get(), tensor(DType::kF32, {1, 3, 24}), {}, {}};
  counter->grouped_matmul(tensor(DType::kF32, {1, 1, 256}), tensor(DType::kI32, {1, 3}), {&p, 1});
  EXPECT_EQ(counter->counts().weight_bytes, 3 * stack.blocks.size() / 8);
  EXPECT_EQ(counter->counts().weight_multiply_adds, 3U * 24 * 256);
}

INSTANTIATE_TEST_SUITE_P(Sets, CpuExperts, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
