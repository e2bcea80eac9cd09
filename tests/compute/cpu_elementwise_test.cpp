// The less common elementwise operations of the CPU backend against the reference one, on every
// instruction set.
#include <gtest/gtest.h>

#include <numeric>

#include "backends.h"

namespace hearth::compute {
namespace {

class CpuElementwise : public testing::TestWithParam<std::string> {
 protected:
  /// Runs `operation` on both backends, which returns what is to be compared.
  template <class Operation>
  void compare(Operation operation, double tolerance = 1e-11) const {
    Bench reference = reference_bench();
    const std::vector<float> expected = operation(reference);
    for (const int threads : {1, 3}) {
      Bench cpu = cpu_bench(GetParam(), threads);
      EXPECT_LT(nmse(expected, operation(cpu)), tolerance) << threads << " threads";
    }
  }
};

struct Shape {
  std::int64_t rows, heads, size;
};
const std::vector<Shape> kShapes = {{1, 1, 1}, {1, 4, 33}, {3, 2, 16}, {5, 3, 100}, {37, 7, 130}};

TEST_P(CpuElementwise, MultiplyBroadcasts) {
  Random random(1);
  for (const Shape& s : kShapes) {
    const std::vector<float> a = random.normal(s.rows * s.heads * s.size);
    const std::vector<float> b = random.normal(s.rows * s.heads * s.size);
    const auto part = [&](std::int64_t count) {
      return std::vector<float>(b.begin(), b.begin() + count);
    };
    const auto matrix = [&](const Tensor& t) { return t.join_last(); };
    compare([&](Bench& bench) {
      const Tensor x = bench.floats({s.rows, s.heads, s.size}, a);
      const Tensor out = bench.slice(s.rows, s.heads * s.size, 7, 4, 0);
      bench.backend->multiply(matrix(x), matrix(bench.floats({s.rows, s.heads, s.size}, b)), out);
      return bench.values(out);
    });
    compare([&](Bench& bench) {
      const Tensor x = bench.floats({s.rows, s.heads, s.size}, a);
      bench.backend->multiply(x, bench.floats({1, s.heads, s.size}, part(s.heads * s.size)), x);
      return bench.values(x);
    });
    compare([&](Bench& bench) {
      const Tensor x = bench.floats({s.rows, s.heads, s.size}, a);
      bench.backend->multiply(x, bench.floats({s.rows, s.heads}, part(s.rows * s.heads)), x);
      return bench.values(x);
    });
    compare([&](Bench& bench) {
      const Tensor x = matrix(bench.floats({s.rows, s.heads, s.size}, a));
      bench.backend->multiply(x, bench.floats({s.rows}, part(s.rows)), x);
      return bench.values(x);
    });
    compare([&](Bench& bench) {
      const Tensor x = matrix(bench.floats({s.rows, s.heads, s.size}, a));
      bench.backend->multiply(x, bench.floats({1, s.heads * s.size}, part(s.heads * s.size)), x);
      return bench.values(x);
    });
  }
}

TEST_P(CpuElementwise, MultiplyIsWhatItSays) {
  Bench cpu = cpu_bench(GetParam());
  const Tensor x = cpu.floats({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  cpu.backend->multiply(x, cpu.floats({2, 2}, {1, 10, 100, 1000}), x);
  EXPECT_EQ(cpu.values(x), (std::vector<float>{1, 2, 30, 40, 500, 600, 7000, 8000}));
}

TEST_P(CpuElementwise, MixSumsTheParts) {
  Random random(2);
  for (const Shape& s : kShapes) {
    for (const std::int64_t outs : {1, 3}) {
      for (const bool accumulate : {false, true}) {
        const std::int64_t size = s.rows == 1 ? 40 * s.size + 3000 : s.size;
        const std::vector<float> c = random.normal(s.rows * outs * s.heads);
        const std::vector<float> x = random.normal(s.rows * s.heads * size);
        const std::vector<float> before = random.normal(s.rows * outs * size);
        compare([&](Bench& bench) {
          const Tensor out = bench.floats({s.rows, outs, size}, before);
          bench.backend->mix(bench.floats({s.rows, outs, s.heads}, c),
                             bench.floats({s.rows, s.heads, size}, x), accumulate, out);
          return bench.values(out);
        });
      }
    }
  }
}

TEST_P(CpuElementwise, MixTakesStridedViews) {
  Random random(3);
  const std::vector<float> c = random.normal(4 * 6);
  const std::vector<float> x = random.normal(4 * 2 * 50);
  compare([&](Bench& bench) {
    const Tensor out = bench.slice(4, 30, 9, 2, -1);
    const Tensor coefficients = bench.floats({4, 6}, c).columns(1, 4).split_last(2);
    const Tensor parts = bench.floats({4, 2, 50}, x).slice(2, 10, 15);
    bench.backend->mix(coefficients, parts, false, out.split_last(2));
    return bench.values(out);
  });
}

TEST_P(CpuElementwise, MatchNormGivesTheLengthOfLike) {
  Random random(4);
  for (const Shape& s : kShapes) {
    const std::vector<float> x = random.normal(s.rows * s.heads * s.size, 3);
    const std::vector<float> like = random.normal(s.rows * s.size, 0.2F);
    compare([&](Bench& bench) {
      const Tensor t = bench.floats({s.rows, s.heads, s.size}, x);
      bench.backend->match_norm(t, bench.floats({s.rows, s.size}, like));
      return bench.values(t);
    });
  }
  Bench cpu = cpu_bench(GetParam());
  const Tensor x = cpu.floats({2, 2}, {3, 4, 0, 0});
  cpu.backend->match_norm(x, cpu.floats({2, 2}, {0, 10, 1, 1}));
  EXPECT_EQ(cpu.values(x), (std::vector<float>{6, 8, 0, 0}));
}

TEST_P(CpuElementwise, KeepLargestKeepsTheTail) {
  Random random(5);
  for (const std::int64_t size : {2, 16, 100, 4097}) {
    const std::vector<float> values = random.normal(9 * size, 2);
    compare([&](Bench& bench) {
      const Tensor x = bench.slice(9, size, 3, 1, 0);
      bench.backend->copy(bench.floats({9, size}, values), x);
      bench.backend->keep_largest(x, 0.5F);
      return bench.values(x);
    });
  }
  // Five per cent of a normal distribution are more than 1.645 deviations above its mean.
  Bench cpu = cpu_bench(GetParam());
  const Tensor x = cpu.floats({1, 10000}, random.normal(10000));
  cpu.backend->keep_largest(x, 1.6448533535F);
  const std::vector<float> kept = cpu.values(x);
  const auto positive = std::count_if(kept.begin(), kept.end(), [](float v) { return v > 0; });
  EXPECT_NEAR(static_cast<double>(positive), 500, 100);
}

TEST_P(CpuElementwise, HyperWeightsAgreeAndAreDoublyStochastic) {
  Random random(6);
  for (const std::int64_t m : {1, 2, 4, 7}) {
    for (const std::int32_t iterations : {1, 20}) {
      const std::int64_t rows = random.between(1, 40);
      const std::vector<float> z = random.normal(rows * (2 + m) * m);
      const std::vector<float> base = random.normal((2 + m) * m);
      const auto run = [&](Bench& bench) {
        HyperWeightsArguments a;
        a.z = bench.floats({rows, (2 + m) * m}, z);
        a.base = bench.floats({(2 + m) * m}, base);
        a.scale = bench.floats({3}, {0.5F, 1.5F, 0.7F});
        a.iterations = iterations;
        a.epsilon = 1e-6F;
        const auto floats = [&](std::int64_t i, std::int64_t j) {
          return bench.floats({rows, i, j},
                              std::vector<float>(static_cast<std::size_t>(rows * i * j)));
        };
        a.before = floats(1, m);
        a.after = floats(m, 1);
        a.mix = floats(m, m);
        bench.backend->hyper_weights(a);
        std::vector<float> all = bench.values(a.mix);
        for (std::int64_t i = 0; i < rows * m; ++i) {
          double sum = 0;  // over the sources of a destination
          for (std::int64_t s = 0; s < m; ++s) sum += all[static_cast<std::size_t>(i * m + s)];
          EXPECT_NEAR(sum, 1, 1e-4);
        }
        for (const Tensor& t : {a.before, a.after}) {
          const std::vector<float> values = bench.values(t);
          all.insert(all.end(), values.begin(), values.end());
        }
        return all;
      };
      compare(run);
    }
  }
}

// Without `after` and `mix`: the head of a model with several streams.
TEST_P(CpuElementwise, HyperWeightsOfTheHead) {
  compare([](Bench& bench) {
    Random random(7);
    HyperWeightsArguments a;
    a.z = bench.floats({9, 5}, random.normal(45));
    a.base = bench.floats({5}, random.normal(5));
    a.scale = bench.floats({1}, {0.5F});
    a.epsilon = 1e-6F;
    a.before = bench.floats({9, 1, 5}, std::vector<float>(45));
    bench.backend->hyper_weights(a);
    return bench.values(a.before);
  });
}

TEST_P(CpuElementwise, HyperMixIsTransposed) {
  // One iteration of two streams: softmax over destinations, then columns (of sources) to one.
  Bench cpu = cpu_bench(GetParam());
  HyperWeightsArguments a;
  const float ln3 = std::log(3.0F);
  a.z = cpu.floats({1, 8}, {0, 0, 0, 0, ln3, 0, 0, 0});  // c[0] = (ln 3, 0), c[1] = (0, 0)
  a.base = cpu.floats({8}, std::vector<float>(8, 0.0F));
  a.scale = cpu.floats({3}, {1, 1, 1});
  a.iterations = 1;
  a.before = cpu.floats({1, 1, 2}, {0, 0});
  a.after = cpu.floats({1, 2, 1}, {0, 0});
  a.mix = cpu.floats({1, 2, 2}, {0, 0, 0, 0});
  cpu.backend->hyper_weights(a);
  // C = [[3/4, 1/4], [1/2, 1/2]] / column sums (5/4, 3/4); mix[d][s] = C[s][d].
  const std::vector<float> expected = {0.6F, 0.4F, 1.0F / 3, 2.0F / 3};
  const std::vector<float> mix = cpu.values(a.mix);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(mix[i], expected[i], 1e-6) << i;
  EXPECT_NEAR(cpu.values(a.before)[0], 0.5, 1e-6);
  EXPECT_NEAR(cpu.values(a.after)[1], 1.0, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Sets, CpuElementwise, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
