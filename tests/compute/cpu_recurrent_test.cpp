// Recurrent mixers of the CPU backend against the reference one.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "backends.h"
#include "counted_new.h"

namespace hearth::compute {
namespace {

/// How the rows of a batch use state: lengths of the segments, slots before them, rows whose states
/// are kept.
struct RecurrentScene {
  std::vector<std::int32_t> lengths;
  bool checkpoints = false;  // some rows besides the last ones keep their states
  std::uint32_t seed = 1;
};

/// Makes inputs that are the same on every backend, and some that are column slices.
class Maker {
 public:
  Maker(Bench& bench, const RecurrentScene& scene) : bench_(bench), random_(scene.seed) {
    rows_ = std::accumulate(scene.lengths.begin(), scene.lengths.end(), std::int64_t{0});
    const auto segments = static_cast<std::int64_t>(scene.lengths.size());
    std::vector<std::int32_t> begin = {0};
    std::vector<std::int32_t> before;
    std::vector<std::int32_t> after(static_cast<std::size_t>(rows_), -1);
    std::int32_t free_slot = 0;
    for (const std::int32_t length : scene.lengths) {
      begin.push_back(begin.back() + length);
      const std::int64_t kind = random_.between(0, 2);
      before.push_back(kind == 0 ? -1 : free_slot++);
      // The last row's state replaces the first one, or goes elsewhere.
      after[static_cast<std::size_t>(begin.back() - 1)] = kind == 1 ? before.back() : free_slot++;
      for (std::int32_t t = begin[begin.size() - 2]; scene.checkpoints && t + 1 < begin.back();
           ++t) {
        if (random_.between(0, 9) == 0) after[static_cast<std::size_t>(t)] = free_slot++;
      }
    }
    slots_ = free_slot + 1;
    rows_of_state = {bench.ints({segments + 1}, begin), bench.ints({segments}, before),
                     bench.ints({rows_}, after)};
  }

  Tensor matrix(std::int64_t columns, float deviation = 1) {
    const std::int64_t wider = columns + 5;
    return bench_.floats({rows_, wider}, random_.normal(rows_ * wider, deviation))
        .columns(3, columns);
  }
  /// Every element in [low, high], most of them near high.
  Tensor between(std::int64_t columns, float low, float high) {
    std::vector<float> values = random_.normal(rows_ * columns);
    for (float& value : values) {
      value = high - (high - low) * std::min(1.0F, 0.1F * value * value);
    }
    return bench_.floats({rows_, columns}, values);
  }
  Tensor heads(std::int64_t heads, std::int64_t size, float deviation = 1) {
    return matrix(heads * size, deviation).split_last(heads);
  }
  Tensor vector(std::int64_t size) { return bench_.floats({size}, random_.normal(size)); }
  Tensor table(std::int64_t rows, std::int64_t columns, float deviation = 1) {
    return bench_.floats({rows, columns}, random_.normal(rows * columns, deviation));
  }
  /// [slots, heads, rows, columns], a slice of a wider one.
  Tensor state(std::int64_t heads, std::int64_t rows, std::int64_t columns) {
    const std::int64_t count = slots_ * (heads + 2) * rows * columns;
    return bench_.floats({slots_, heads + 2, rows, columns}, random_.normal(count, 0.3F))
        .slice(1, 1, heads);
  }
  Tensor conv_state(std::int64_t channels, std::int64_t taps) {
    return bench_
        .floats({slots_, 3 * channels, taps - 1},
                random_.normal(slots_ * 3 * channels * (taps - 1)))
        .slice(1, channels, channels);
  }
  Tensor out(std::int64_t columns) { return bench_.slice(rows_, columns, 9, 4, 0); }

  RecurrentRows rows_of_state;

 private:
  Bench& bench_;
  Random random_;
  std::int64_t rows_ = 0, slots_ = 0;
};

/// What an operation wrote.
struct Result {
  std::vector<float> out, state;
};
using Operation = std::function<Result(Bench&, const RecurrentScene&)>;

/// Runs the operation, which must not allocate on the CPU backend, and takes what it wrote.
template <class Run>
Result result_of(Bench& bench, const Tensor& out, const Tensor& state, Run run) {
  const std::size_t before = testing_allocations();
  run();
  if (bench.backend->name() != "reference") {
    EXPECT_EQ(testing_allocations(), before);
  }
  return {bench.values(out), bench.values(state)};
}

Operation convolution(std::int64_t channels, std::int64_t taps, bool centred = false) {
  return [=](Bench& bench, const RecurrentScene& scene) {
    Maker make(bench, scene);
    ConvolveArguments a;
    a.x = make.matrix(channels);
    a.weight = make.table(channels, taps);
    a.silu = taps % 2 == 0;
    if (a.silu) a.bias = make.vector(channels);
    a.centred = centred;
    a.state = make.conv_state(channels, taps);
    a.rows = make.rows_of_state;
    a.out = make.out(channels);
    return result_of(bench, a.out, a.state, [&] { bench.backend->convolve(a); });
  };
}

struct DeltaShape {
  std::int64_t key_heads = 2, heads = 4, keys = 32, values = 32;
  bool per_channel = false, tiled = false;
  float strongest = -2;  // decay of a row
};

Operation delta(const DeltaShape& s) {
  return [=](Bench& bench, const RecurrentScene& scene) {
    Maker make(bench, scene);
    DeltaScanArguments a;
    a.q = make.heads(s.key_heads, s.keys);
    a.k = make.heads(s.key_heads, s.keys);
    for (const Tensor& unit : {a.q, a.k}) {
      bench.backend->norm({NormKind::kL2, 1e-6F, unit, {}, {}, unit});
    }
    a.v = make.heads(s.heads, s.values);
    const std::int64_t decays = s.per_channel ? s.heads * s.keys : s.heads;
    a.decay = make.between(decays, s.strongest, 0);
    if (s.per_channel) a.decay = a.decay.split_last(s.heads);
    a.beta = make.between(s.heads, 0, 1);
    a.tiled = s.tiled;
    a.scale = 1.0F / std::sqrt(static_cast<float>(s.keys));
    a.state = make.state(s.heads, s.keys, s.values);
    a.rows = make.rows_of_state;
    a.out = make.out(s.heads * s.values).split_last(s.heads);
    return result_of(bench, a.out, a.state, [&] { bench.backend->delta_scan(a); });
  };
}

Operation selective(std::int64_t channels, std::int64_t size) {
  return [=](Bench& bench, const RecurrentScene& scene) {
    Maker make(bench, scene);
    SelectiveScanArguments a;
    a.x = make.matrix(channels);
    a.dt = make.between(channels, 2, 0.01F);
    a.b = make.matrix(size);
    a.c = make.matrix(size);
    a.a = make.table(channels, size);
    bench.backend->activate(Activation::kExp, a.a, a.a);
    bench.backend->scale(a.a, -1, a.a);
    a.d = make.vector(channels);
    a.state = make.state(1, channels, size);
    a.rows = make.rows_of_state;
    a.out = make.out(channels);
    return result_of(bench, a.out, a.state, [&] { bench.backend->selective_scan(a); });
  };
}

Operation state_space(std::int64_t heads, std::int64_t groups, std::int64_t width,
                      std::int64_t size, float strongest = 2) {
  return [=](Bench& bench, const RecurrentScene& scene) {
    Maker make(bench, scene);
    StateSpaceScanArguments a;
    a.x = make.heads(heads, width);
    a.dt = make.between(heads, strongest, 0.001F);
    a.b = make.heads(groups, size, 0.3F);
    a.c = make.heads(groups, size, 0.3F);
    a.a = make.table(1, heads);
    bench.backend->activate(Activation::kExp, a.a, a.a);
    bench.backend->scale(a.a, -1, a.a);
    a.a.rank = 1;
    a.a.shape = {heads, 1, 1, 1};
    a.a.strides = {1, 1, 1, 1};
    a.d = make.vector(heads);
    a.state = make.state(heads, width, size);
    a.rows = make.rows_of_state;
    a.out = make.out(heads * width).split_last(heads);
    return result_of(bench, a.out, a.state, [&] { bench.backend->state_space_scan(a); });
  };
}

Operation rwkv(std::int64_t heads, std::int64_t size) {
  return [=](Bench& bench, const RecurrentScene& scene) {
    Maker make(bench, scene);
    RwkvScanArguments a;
    a.r = make.heads(heads, size);
    a.w = make.between(heads * size, 0.55F, 1).split_last(heads);
    a.k = make.heads(heads, size, 0.3F);
    a.v = make.heads(heads, size);
    a.a = make.heads(heads, size);
    bench.backend->norm({NormKind::kL2, 1e-6F, a.a, {}, {}, a.a});
    a.b = make.heads(heads, size);
    bench.backend->scale(a.a, -0.7F, a.b);
    a.state = make.state(heads, size, size);
    a.rows = make.rows_of_state;
    a.out = make.out(heads * size).split_last(heads);
    return result_of(bench, a.out, a.state, [&] { bench.backend->rwkv_scan(a); });
  };
}

class CpuRecurrent : public testing::TestWithParam<std::string> {
 protected:
  static void compare(const Operation& operation, const std::string& name) {
    const std::vector<RecurrentScene> scenes = {
        {{1}, false, 1},          {{1, 1, 1, 1, 1}, false, 2},
        {{3, 1, 20, 2}, true, 3}, {{64, 65, 12, 1}, false, 4},  // whole chunks and a little more
        {{150, 11}, true, 5},     {{31, 200}, true, 6},
    };
    for (const RecurrentScene& scene : scenes) {
      SCOPED_TRACE(name + ", scene " + std::to_string(scene.seed));
      Bench reference = reference_bench();
      const Result expected = operation(reference, scene);
      Bench one = cpu_bench(GetParam(), 1);
      const Result actual = operation(one, scene);
      EXPECT_LT(nmse(expected.out, actual.out), 1e-10);
      EXPECT_LT(nmse(expected.state, actual.state), 1e-10);
      Bench many = cpu_bench(GetParam(), 3);
      const Result threaded = operation(many, scene);
      EXPECT_TRUE(same_bits(actual.out, threaded.out));
      EXPECT_TRUE(same_bits(actual.state, threaded.state));
    }
  }
};

TEST_P(CpuRecurrent, Convolution) {
  compare(convolution(64, 4), "64 channels");
  compare(convolution(211, 3), "211 channels");
  compare(convolution(33, 2), "token shift");
  compare(convolution(70, 7, true), "centred");
}

TEST_P(CpuRecurrent, GatedDeltaNet) {
  compare(delta({}), "plain");
  compare(delta({.key_heads = 1, .heads = 3, .keys = 19, .values = 37}), "odd sizes");
  compare(delta({.heads = 6, .keys = 128, .values = 128, .tiled = true}), "tiled");
  compare(delta({.strongest = -300}), "strong decay");
  compare(delta({.strongest = -1e-4F}), "weak decay");
}

TEST_P(CpuRecurrent, KimiDeltaAttention) {
  compare(delta({.key_heads = 3, .heads = 3, .per_channel = true}), "plain");
  compare(delta({.key_heads = 2, .heads = 2, .keys = 21, .values = 43, .per_channel = true}),
          "odd sizes");
  compare(delta({.key_heads = 2, .heads = 2, .per_channel = true, .strongest = -300}),
          "strong decay");
  compare(delta({.key_heads = 2, .heads = 2, .per_channel = true, .strongest = -1e-4F}),
          "weak decay");
}

TEST_P(CpuRecurrent, SelectiveScan) {
  compare(selective(64, 16), "64 channels");
  compare(selective(45, 5), "odd sizes");
}

TEST_P(CpuRecurrent, StateSpaceScan) {
  compare(state_space(4, 2, 16, 32), "grouped");
  compare(state_space(3, 1, 13, 37), "odd sizes");
  compare(state_space(2, 1, 64, 128, 300), "strong decay");
  compare(state_space(2, 2, 64, 128, 0.002F), "weak decay");
}

TEST_P(CpuRecurrent, Rwkv7) {
  compare(rwkv(4, 64), "heads of 64");
  compare(rwkv(3, 21), "odd sizes");
}

/// A prompt may be cut anywhere: the state carries over.
TEST_P(CpuRecurrent, CutsOfASequenceGiveTheSame) {
  const auto run = [&](const std::vector<std::int32_t>& cuts) {
    Bench bench = cpu_bench(GetParam(), 2);
    Random random(7);
    const std::int64_t rows = 180;
    const auto make = [&](std::int64_t heads, std::int64_t size) {
      return bench.floats({rows, heads, size}, random.normal(rows * heads * size, 0.2F));
    };
    DeltaScanArguments all;
    all.q = make(2, 32);
    all.k = make(2, 32);
    all.v = make(2, 32);
    all.decay = make(1, 2).join_last();
    bench.backend->activate(Activation::kExp, all.decay, all.decay);
    bench.backend->scale(all.decay, -0.3F, all.decay);
    all.beta = make(1, 2).join_last();
    all.state = bench.floats({1, 2, 32, 32}, std::vector<float>(2048, 0));
    all.out = make(2, 32);
    std::int32_t begin = 0;
    for (const std::int32_t end : cuts) {
      const std::int64_t count = end - begin;
      DeltaScanArguments part = all;
      for (Tensor* t : {&part.q, &part.k, &part.v, &part.decay, &part.beta, &part.out}) {
        *t = t->rows(begin, count);
      }
      std::vector<std::int32_t> after(static_cast<std::size_t>(count), -1);
      after.back() = 0;
      part.rows = {bench.ints({2}, {0, static_cast<std::int32_t>(count)}),
                   bench.ints({1}, {begin == 0 ? -1 : 0}), bench.ints({count}, after)};
      bench.backend->delta_scan(part);
      begin = end;
    }
    return bench.values(all.out);
  };
  const std::vector<float> whole = run({180});
  EXPECT_LT(nmse(whole, run({1, 2, 3, 70, 180})), 1e-11);
  EXPECT_LT(nmse(whole, run({64, 128, 180})), 1e-11);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, CpuRecurrent, testing::ValuesIn(cpu_instruction_sets()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace hearth::compute
