// The layer of experts against the formulas of blocks.md section 5, written out for one row at a
// time, in every variant that a spec can describe.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "gguf/file.h"
#include "gguf/writer.h"
#include "model/layers/pass.h"
#include "model/weights.h"
#include "state/memory.h"

namespace hearth::model {
namespace {

using spec::Linear;
using spec::LinearStack;
using spec::MixtureOfExperts;
using tensor::DType;
using tensor::Tensor;
using Vector = std::vector<double>;

constexpr std::int64_t kWidth = 12, kExperts = 6, kUsed = 2, kExpertWidth = 5, kRows = 4,
                       kVocabulary = 9;

/// Makes tensors of random numbers as a spec names them, and remembers them.
class Tensors {
 public:
  Linear linear(const std::string& name, std::int64_t in, std::int64_t out, bool biased = false) {
    Linear l{.weight = name, .in = in, .out = out};
    add(name, {in, out}, 0.4F);
    if (biased) add(l.bias = name + ".bias", {out}, 0.3F);
    return l;
  }
  LinearStack stack(const std::string& name, std::int64_t in, std::int64_t out,
                    std::int64_t matrices = kExperts) {
    LinearStack s{.weight = name, .in = in, .out = out, .matrices = matrices};
    add(name, {in, out, matrices}, 0.4F);
    return s;
  }
  std::string vector(const std::string& name, std::vector<std::int64_t> shape, float deviation) {
    add(name, std::move(shape), deviation);
    return name;
  }
  std::string indices(const std::string& name, std::int64_t columns, std::int64_t rows) {
    std::vector<std::int32_t>& values = integers_[name];
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto first = static_cast<std::int32_t>(random_() % kExperts);
      for (std::int32_t j = 0; j < columns; ++j) values.push_back((first + j) % kExperts);
    }
    writer_.add_tensor(name, DType::kI32, {columns, rows}, std::as_bytes(std::span(values)));
    return name;
  }
  [[nodiscard]] std::string bytes() const { return writer_.bytes(); }
  [[nodiscard]] const std::vector<std::int32_t>& integers(const std::string& name) const {
    return integers_.at(name);
  }
  [[nodiscard]] double at(const std::string& name, std::int64_t i) const {
    return values_.at(name).at(static_cast<std::size_t>(i));
  }

  /// linear(x), and matrix m of a stack times x.
  [[nodiscard]] Vector apply(const Linear& l, const Vector& x) const {
    return product(l.weight, l.bias, l.in, l.out, 0, x);
  }
  [[nodiscard]] Vector apply(const LinearStack& s, std::int64_t m, const Vector& x) const {
    Vector y = product(s.weight, s.bias, s.in, s.out, m, x);
    for (double& value : y) value *= s.scale.empty() ? 1.0 : at(s.scale, m);
    return y;
  }
  std::vector<float> random(std::int64_t count, float deviation) {
    std::normal_distribution<float> distribution(0, deviation);
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(distribution(random_));
    return values;
  }

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape, float deviation) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    values_[name] = random(count, deviation);
    writer_.add_floats(name, std::move(shape), values_[name]);
  }
  [[nodiscard]] Vector product(const std::string& weight, const std::string& bias, std::int64_t in,
                               std::int64_t out, std::int64_t matrix, const Vector& x) const {
    EXPECT_EQ(static_cast<std::int64_t>(x.size()), in);
    Vector y;
    for (std::int64_t r = 0; r < out; ++r) {
      double sum = bias.empty() ? 0.0 : at(bias, matrix * out + r);
      for (std::int64_t i = 0; i < in; ++i) {
        sum += at(weight, (matrix * out + r) * in + i) * x[static_cast<std::size_t>(i)];
      }
      y.push_back(sum);
    }
    return y;
  }

  gguf::Writer writer_;
  std::map<std::string, std::vector<float>> values_;
  std::map<std::string, std::vector<std::int32_t>> integers_;
  std::mt19937 random_{17};
};

double sigmoid(double z) { return 1.0 / (1.0 + std::exp(-z)); }
double silu(double z) { return z * sigmoid(z); }

Vector softmax(Vector values) {
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value);
  for (double& value : values) value /= sum;
  return values;
}

Vector swiglu(const Vector& gate, const Vector& up) {
  Vector hidden;
  for (std::size_t i = 0; i < gate.size(); ++i) hidden.push_back(silu(gate[i]) * up[i]);
  return hidden;
}

void add_scaled(Vector& to, double factor, const Vector& x) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += factor * x[i];
}

/// One expert of x.
Vector expert(const Tensors& t, const MixtureOfExperts& moe, std::int64_t e, const Vector& x) {
  Vector hidden;
  if (!moe.gated) {
    hidden = t.apply(moe.up, e, x);
    for (double& z : hidden) z = z > 0 ? z * z : 0.0;  // the variant under test is ReLU squared
  } else if (moe.gate_up.present()) {
    const Vector both = t.apply(moe.gate_up, e, x);
    hidden =
        swiglu({both.begin(), both.begin() + moe.width}, {both.begin() + moe.width, both.end()});
  } else {
    hidden = swiglu(t.apply(moe.gate, e, x), t.apply(moe.up, e, x));
  }
  return t.apply(moe.down, e, hidden);
}

/// What the router reads and the layer makes of one row.
Vector expected_row(const Tensors& t, const MixtureOfExperts& moe, const Vector& x, Vector router,
                    std::int32_t token) {
  if (moe.router_norm) {
    double squares = 0;
    for (const double v : router) squares += v * v;
    const double factor =
        1.0 / std::sqrt(squares / static_cast<double>(kWidth) + moe.router_norm->epsilon);
    for (std::size_t i = 0; i < router.size(); ++i) {
      router[i] *= factor * t.at(moe.router_norm->weight, static_cast<std::int64_t>(i));
    }
  }
  for (double& v : router) v *= moe.router_scale;
  const Vector logits = t.apply(moe.router, router);
  Vector probabilities = logits;
  if (moe.routing.gate == spec::RouterGate::kSoftmax) probabilities = softmax(logits);
  if (moe.routing.gate == spec::RouterGate::kSigmoid) {
    for (double& z : probabilities) z = sigmoid(z);
  }
  std::vector<std::int64_t> ids;
  if (!moe.token_experts.empty()) {
    for (std::int64_t j = 0; j < kUsed; ++j) {
      ids.push_back(t.integers(moe.token_experts)[static_cast<std::size_t>(token * kUsed + j)]);
    }
  } else {
    Vector scores = probabilities;
    for (std::int64_t e = 0; e < kExperts && !moe.selection_bias.empty(); ++e) {
      scores[static_cast<std::size_t>(e)] += t.at(moe.selection_bias, e);
    }
    for (std::int64_t j = 0; j < kUsed; ++j) {
      const auto best = std::max_element(scores.begin(), scores.end());
      ids.push_back(best - scores.begin());
      *best = -1e30;
    }
  }
  Vector weights;
  for (const std::int64_t e : ids) weights.push_back(probabilities[static_cast<std::size_t>(e)]);
  if (moe.routing.gate == spec::RouterGate::kSoftmaxSelected) weights = softmax(weights);
  double sum = 0;
  for (const double w : weights) sum += w;
  for (double& w : weights) w *= moe.routing.scale / (moe.routing.normalise ? sum : 1.0);

  const Vector input = moe.latent_down.present() ? t.apply(moe.latent_down, x) : x;
  Vector y(static_cast<std::size_t>(moe.down.out));
  for (std::size_t j = 0; j < ids.size(); ++j) {
    Vector own = input;
    if (moe.weight_on_input) {
      for (double& v : own) v *= weights[j];
    }
    add_scaled(y, moe.weight_on_input ? 1.0 : weights[j], expert(t, moe, ids[j], own));
  }
  if (moe.latent_up.present()) y = t.apply(moe.latent_up, y);
  if (moe.chunks) {
    const Vector p = softmax(logits);
    double total = 0;
    for (const std::int64_t e : ids)
      total += p[static_cast<std::size_t>(e / moe.chunks->per_chunk)];
    const Vector before = y;
    for (const std::int64_t e : ids) {
      const std::int64_t c = e / moe.chunks->per_chunk;
      const Vector hidden =
          swiglu(t.apply(moe.chunks->gate, c, before), t.apply(moe.chunks->up, c, before));
      add_scaled(y, moe.chunks->scale * p[static_cast<std::size_t>(c)] / total,
                 t.apply(moe.chunks->down, c, hidden));
    }
  }
  if (moe.shared) {
    const Vector hidden = swiglu(t.apply(moe.shared->gate, x), t.apply(moe.shared->up, x));
    const double gate = moe.shared_gate.present() ? sigmoid(t.apply(moe.shared_gate, x)[0]) : 1.0;
    add_scaled(y, gate, t.apply(moe.shared->down, hidden));
  }
  for (double& v : y) v *= moe.output_scale;
  return y;
}

/// The plainest mixture: softmax over all, SwiGLU experts.
MixtureOfExperts plain(Tensors& t) {
  MixtureOfExperts moe;
  moe.experts = kExperts;
  moe.used = kUsed;
  moe.width = kExpertWidth;
  moe.router = t.linear("router", kWidth, kExperts);
  moe.gate = t.stack("gate", kWidth, kExpertWidth);
  moe.up = t.stack("up", kWidth, kExpertWidth);
  moe.down = t.stack("down", kExpertWidth, kWidth);
  return moe;
}

spec::FeedForward shared_expert(Tensors& t) {
  spec::FeedForward shared;
  shared.width = 8;
  shared.gate = t.linear("shared_gate", kWidth, shared.width);
  shared.up = t.linear("shared_up", kWidth, shared.width);
  shared.down = t.linear("shared_down", shared.width, kWidth);
  return shared;
}

struct Variant {
  std::string name;
  std::function<void(Tensors&, MixtureOfExperts&)> change;
};

/// Runs the layer on `backend` for rows whose three possible router inputs all differ.
void check(const Variant& variant, compute::Backend& backend) {
  Tensors t;
  MixtureOfExperts moe = plain(t);
  variant.change(t, moe);
  spec::ModelSpec spec;
  spec.width = kWidth;
  spec.vocabulary = kVocabulary;
  spec.stacks = {{.layers = {{.sublayers = {{.branches = {{.body = moe}}}}}}}};
  const std::string bytes = t.bytes();
  const gguf::File file = gguf::File::from_bytes(std::as_bytes(std::span(bytes)));
  backend.reserve(kRows, 64);
  const Weights weights(file, spec, backend, compute::Residency::kPacked, nullptr);
  const state::MemoryPool memory(backend, spec, {.context = kRows, .batch_rows = kRows});
  const auto buffer = backend.allocate(1 << 20, compute::MemoryCategory::kBuffers);
  tensor::Arena arena(*buffer);
  Pass pass{backend, weights, arena, memory, spec};
  pass.rows = kRows;
  const auto rows = [&](std::vector<float>& values) {
    values = t.random(kRows * kWidth, 1);
    const Tensor made = pass.scratch(kWidth);
    backend.write(made, values.data());
    return made;
  };
  std::vector<float> x, sublayer, layer;
  const Tensor input = rows(x);
  pass.sublayer_input = rows(sublayer);
  pass.layer_input = rows(layer);
  pass.tokens = arena.allocate(DType::kI32, {kRows});
  const std::vector<std::int32_t> tokens = {3, 0, 8, 3};
  backend.write(pass.tokens, tokens.data());
  const Tensor out = pass.scratch(kWidth);
  const std::size_t used = arena.used();
  run_body(pass, moe, input, out);
  EXPECT_EQ(arena.used(), used);
  std::vector<float> values(static_cast<std::size_t>(kRows * kWidth));
  backend.read(out, values.data());

  const std::vector<float>& router = moe.router_input == spec::RouterInput::kBody       ? x
                                     : moe.router_input == spec::RouterInput::kSublayer ? sublayer
                                                                                        : layer;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto part = [&](const std::vector<float>& all) {
      return Vector(all.begin() + row * kWidth, all.begin() + (row + 1) * kWidth);
    };
    const Vector expected =
        expected_row(t, moe, part(x), part(router), tokens[static_cast<std::size_t>(row)]);
    const Vector actual = part(values);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], 2e-5 * (1 + std::abs(expected[i])))
          << variant.name << ", row " << row << ", feature " << i;
    }
  }
}

std::vector<Variant> variants() {
  using spec::RouterGate;
  return {
      {"Plain", [](Tensors&, MixtureOfExperts&) {}},
      {"Normalised",
       [](Tensors&, MixtureOfExperts& m) {
         m.routing = {.gate = RouterGate::kSigmoid, .normalise = true, .scale = 2.5F};
       }},
      {"BiasesAndScales",  // gpt-oss, and sidecar scales
       [](Tensors& t, MixtureOfExperts& m) {
         m.routing.gate = RouterGate::kSoftmaxSelected;
         m.router = t.linear("biased_router", kWidth, kExperts, true);
         m.gate.bias = t.vector("gate_bias", {kExpertWidth, kExperts}, 1);
         m.up.bias = t.vector("up_bias", {kExpertWidth, kExperts}, 1);
         m.down.scale = t.vector("down_scale", {kExperts}, 1);
       }},
      {"SelectionBias",
       [](Tensors& t, MixtureOfExperts& m) { m.selection_bias = t.vector("b", {kExperts}, 2); }},
      {"FusedGateUp",
       [](Tensors& t, MixtureOfExperts& m) {
         m.gate_up = t.stack("gate_up", kWidth, 2 * kExpertWidth);
         m.gate = m.up = {};
       }},
      {"Ungated",
       [](Tensors&, MixtureOfExperts& m) {
         m.gated = false;
         m.gating.activation = spec::Activation::kReluSquared;
         m.gate = {};
       }},
      {"WeightOnInput",
       [](Tensors&, MixtureOfExperts& m) {
         m.weight_on_input = true;
         m.routing.gate = RouterGate::kSigmoid;
       }},
      {"Latent",
       [](Tensors& t, MixtureOfExperts& m) {
         m.latent_down = t.linear("latent_down", kWidth, 7);
         m.latent_up = t.linear("latent_up", 7, kWidth);
         m.gate = t.stack("small_gate", 7, kExpertWidth);
         m.up = t.stack("small_up", 7, kExpertWidth);
         m.down = t.stack("small_down", kExpertWidth, 7);
       }},
      {"SharedExpert",
       [](Tensors& t, MixtureOfExperts& m) {
         m.shared = shared_expert(t);
         m.output_scale = 0.5F;
       }},
      {"GatedSharedExpert",
       [](Tensors& t, MixtureOfExperts& m) {
         m.shared = shared_expert(t);
         m.shared_gate = t.linear("gate_of_shared", kWidth, 1);
       }},
      {"RouterReadsTheSublayer",
       [](Tensors& t, MixtureOfExperts& m) {
         m.router_input = spec::RouterInput::kSublayer;
         m.router_norm =
             spec::Norm{.weight = t.vector("router_norm", {kWidth}, 1), .epsilon = 1e-5F};
         m.router_scale = 1.7F;
       }},
      {"RouterReadsTheLayer",
       [](Tensors&, MixtureOfExperts& m) { m.router_input = spec::RouterInput::kLayer; }},
      {"ExpertsOfTokens",
       [](Tensors& t, MixtureOfExperts& m) {
         m.token_experts = t.indices("token_experts", kUsed, kVocabulary);
       }},
      {"Chunks",
       [](Tensors& t, MixtureOfExperts& m) {
         m.chunks = {.per_chunk = 2,
                     .width = 3,
                     .gate = t.stack("chunk_gate", kWidth, 3, kExperts / 2),
                     .up = t.stack("chunk_up", kWidth, 3, kExperts / 2),
                     .down = t.stack("chunk_down", 3, kWidth, kExperts / 2),
                     .scale = 0.7F};
       }},
  };
}

class ExpertsLayer : public ::testing::TestWithParam<Variant> {};

TEST_P(ExpertsLayer, ComputesTheFormulas) {
  check(GetParam(), *compute::make_reference_backend());
  check(GetParam(), *compute::make_cpu_backend({.threads = 2, .instruction_set = {}}));
}

INSTANTIATE_TEST_SUITE_P(Variants, ExpertsLayer, ::testing::ValuesIn(variants()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace hearth::model
