// Every operation of the CPU backend but the matrix product (cpu_matmul_test) and attention
// (cpu_attention_test).
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "backends.h"
#include "support/error.h"

namespace hearth::compute {
namespace {

/// (instruction set, exact mode)
class CpuOperations : public testing::TestWithParam<std::tuple<std::string, bool>> {
 protected:
  /// Runs `operation` (which returns a result tensor) on both backends, on one and three threads,
  /// for tensors of several sizes, and compares.
  static void compare(
      const std::function<Tensor(Bench&, std::int64_t t, std::int64_t d, Random&)>& operation,
      double limit = 1e-12) {
    const auto& [set, exact] = GetParam();
    for (const std::int64_t t : {1, 3, 37}) {
      for (const std::int64_t d : {1, 15, 16, 40, 600}) {
        const auto seed = static_cast<std::uint32_t>(31 * t + d);
        const auto run = [&](Bench bench) {
          Random random(seed);
          return bench.values(operation(bench, t, d, random));
        };
        const std::vector<float> expected = run(reference_bench());
        const std::vector<float> one = run(cpu_bench(set, 1, exact));
        EXPECT_LT(nmse(expected, one), limit) << "t " << t << " d " << d;
        EXPECT_TRUE(same_bits(one, run(cpu_bench(set, 3, exact)))) << "t " << t << " d " << d;
      }
    }
  }
};

TEST_P(CpuOperations, Norms) {
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
    compare([kind](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
      NormArguments a;
      a.kind = kind;
      a.epsilon = 1e-5F;
      a.x = bench.floats({t, d}, random.normal(t * d));
      a.weight = bench.floats({d}, random.normal(d));
      if (t != 3) a.bias = bench.floats({d}, random.normal(d));
      a.out = bench.slice(t, d, 7, 4, 0);
      bench.backend->norm(a);
      return a.out;
    });
    compare([kind](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
      NormArguments a;
      a.kind = kind;
      a.epsilon = 1e-5F;
      a.x = bench.floats({t, 4 * d}, random.normal(4 * t * d)).split_last(4);
      a.weight = bench.floats({4, d}, random.normal(4 * d));
      a.out = a.x;
      bench.backend->norm(a);
      return a.out;
    });
  }
}

TEST_P(CpuOperations, Activations) {
  using enum Activation;
  for (const Activation activation :
       {kSilu, kGelu, kGeluErf, kGeluQuick, kRelu, kReluSquared, kTanh, kSigmoid}) {
    compare([activation](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
      const Tensor x = bench.floats({t, d}, random.normal(t * d, 3));
      const Tensor out = bench.slice(t, d, 3, 1, 0);
      bench.backend->activate(activation, x, out);
      return out;
    });
    compare([activation](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
      const Tensor both = bench.floats({t, 2 * d}, random.normal(2 * t * d, 2));
      bench.backend->activate_gated({activation}, both.columns(0, d), both.columns(d, d),
                                    both.columns(0, d));
      return both;
    });
  }
}

TEST_P(CpuOperations, ActivationsAreAccurateEverywhere) {
  using enum Activation;
  const auto& [set, exact] = GetParam();
  std::vector<float> values;
  for (float x = -1e4F; x < 1e4F; x = x < -1e-6F ? x * 0.97F : x < 1e-6F ? x + 3e-7F : x * 1.03F)
    values.push_back(x);
  const auto count = static_cast<std::int64_t>(values.size());
  for (const Activation activation : {kSilu, kGelu, kGeluErf, kGeluQuick, kTanh, kSigmoid}) {
    const auto run = [&](Bench bench) {
      const Tensor x = bench.floats({1, count}, values);
      bench.backend->activate(activation, x, x);
      return bench.values(x);
    };
    const std::vector<float> expected = run(reference_bench());
    const std::vector<float> actual = run(cpu_bench(set, 1, exact));
    for (std::size_t i = 0; i < values.size(); ++i) {
      // Relative, but for the far tails, where the argument's own rounding is multiplied by its
      // size, and where 1 + tanh and 1 + erf cancel in the reference's double precision.
      const double x = values[i];
      const double tail = 1 + (x < 0 ? -x : 0);
      const bool cancels = activation == kGelu || activation == kGeluErf;
      const double limit =
          std::fabs(expected[i]) * 2.5e-7 * tail * tail + (cancels ? 1e-14 : 1e-35);
      ASSERT_NEAR(actual[i], expected[i], limit)
          << "activation " << static_cast<int>(activation) << " at " << values[i];
    }
  }
}

TEST_P(CpuOperations, AddScaleClampSoftcap) {
  compare([](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
    const Tensor a = bench.floats({t, d}, random.normal(t * d));
    const Tensor b = bench.floats({t, d}, random.normal(t * d));
    const Tensor row = bench.floats({1, d}, random.normal(d));
    bench.backend->add(a, b, 0.5F, a);
    bench.backend->add(a, row, 1.0F, a);
    const Tensor out = bench.slice(t, d, 2, 1, 0);
    bench.backend->scale(a, 3.0F, out);
    bench.backend->clamp(out, 4.0F);
    bench.backend->softcap(out, 2.5F);
    return out;
  });
  compare([](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
    const Tensor x = bench.floats({t, 3 * d}, random.normal(3 * t * d)).split_last(3);
    bench.backend->scale_rows(x, bench.floats({t}, random.normal(t)));
    return x;
  });
}

TEST_P(CpuOperations, GatherAndCopy) {
  compare([](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
    const Tensor x = bench.floats({t, d + 3}, random.normal(t * (d + 3))).columns(2, d);
    std::vector<std::int32_t> rows;
    for (int i = 0; i < 9; ++i) rows.push_back(static_cast<std::int32_t>(random.between(0, t - 1)));
    const Tensor out = bench.slice(9, d, 1, 0, 0);
    bench.backend->gather(x, bench.ints({9}, rows), out);
    const Tensor copied = bench.slice(9, d, 4, 2, 0);
    bench.backend->copy(out, copied);
    return copied;
  });
}

TEST_P(CpuOperations, Rope) {
  for (const RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
    for (const int variant : {0, 1, 2, 3}) {
      compare([=](Bench& bench, std::int64_t t, std::int64_t d, Random& random) {
        RopeAngles angles;
        const std::int64_t size = 2 * std::min<std::int64_t>(d, 64) + 6;
        angles.rotated = static_cast<std::int32_t>(2 * std::min<std::int64_t>(d, 64));
        angles.frequency_scale = 0.5F;
        angles.magnitude = 1.1F;
        angles.yarn = variant == 1;
        angles.yarn_low = 3;
        angles.yarn_high = 9;
        if (variant >= 2) {
          const int sections[4] = {8, 6, 6, 2};
          std::copy(std::begin(sections), std::end(sections), std::begin(angles.sections));
          angles.interleaved_sections = variant == 3;
        }
        const std::int64_t axes = variant >= 2 ? 4 : 1;
        std::vector<std::int32_t> positions;
        for (std::int64_t i = 0; i < t * axes; ++i)
          positions.push_back(static_cast<std::int32_t>(random.between(0, 3000)));
        const Tensor at = axes == 4 ? bench.ints({t, 4}, positions) : bench.ints({t}, positions);
        const Tensor table =
            bench.floats({t, angles.rotated / 2, 2}, random.normal(t * angles.rotated));
        std::vector<float> factors = random.normal(angles.rotated / 2, 0.1F);
        for (float& factor : factors) factor += 1;
        bench.backend->rope_table(
            angles, at, variant == 1 ? bench.floats({angles.rotated / 2}, factors) : Tensor{},
            table);
        const Tensor x = bench.floats({t, 3 * size}, random.normal(3 * t * size)).split_last(3);
        bench.backend->rope(pairing, table, x);
        return x;
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllSets, CpuOperations,
                         testing::Combine(testing::ValuesIn(cpu_instruction_sets()),
                                          testing::Bool()),
                         [](const auto& tested) {
                           return std::get<0>(tested.param) +
                                  (std::get<1>(tested.param) ? "_exact" : "_fast");
                         });

TEST(CpuBackend, NamesItsInstructionSets) {
  const std::vector<std::string> sets = cpu_instruction_sets();
  ASSERT_FALSE(sets.empty());
  EXPECT_EQ(sets.back(), "portable");
  for (const std::string& set : sets)
    EXPECT_EQ(make_cpu_backend({.instruction_set = set})->name(), set);
}

TEST(CpuBackend, SaysWhichInstructionSetsThereAre) {
  try {
    (void)make_cpu_backend({.instruction_set = "abacus"});
    FAIL() << "made a backend";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'abacus' is unknown"), std::string::npos);
    EXPECT_NE(error.hint().find("portable"), std::string::npos);
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
  }
}

TEST(CpuBackend, TheEnvironmentForcesAnInstructionSet) {
  const char* const before = std::getenv("HEARTH_CPU");
  const std::string saved = before != nullptr ? before : "";
  setenv("HEARTH_CPU", "portable", 1);
  EXPECT_EQ(make_cpu_backend({})->name(), "portable");
  setenv("HEARTH_CPU", "abacus", 1);
  try {
    (void)make_cpu_backend({});
    ADD_FAILURE() << "made a backend";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("HEARTH_CPU"), std::string::npos);
  }
  if (before != nullptr) {
    setenv("HEARTH_CPU", saved.c_str(), 1);
  } else {
    unsetenv("HEARTH_CPU");
  }
}

}  // namespace
}  // namespace hearth::compute
