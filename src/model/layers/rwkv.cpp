// RWKV-7's time mix and channel mix (blocks-recurrent.md section 7).
#include <array>

#include "model/layers/pass.h"
#include "model/layers/recurrent.h"

namespace hearth::model {

using spec::Activation;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// A constant in the arena.
template <std::size_t kCount>
Tensor constant(Pass& pass, const std::array<float, kCount>& values) {
  const Tensor tensor = pass.arena.allocate(DType::kF32, {1, static_cast<std::int64_t>(kCount)});
  pass.backend.write(tensor, values.data());
  return tensor;
}

/// What the row before has more than this one: x[t - 1] - x[t], a convolution with the taps (1, -1)
/// whose state is the last row.
Tensor shift_difference(Pass& pass, const Tensor& x, spec::MemoryIndex memory) {
  static constexpr std::array kTaps = {1.0F, -1.0F};
  const std::int64_t width = x.shape[1];
  const Tensor difference = pass.scratch(width);
  pass.backend.convolve({.x = x,
                         .weight = repeated(constant(pass, kTaps), width),
                         .bias = {},
                         .state = pass.memory.conv(memory),
                         .rows = pass.recurrent,
                         .out = difference});
  return difference;
}

/// x + difference * lerp, in new memory.
Tensor mixed_with_shift(Pass& pass, const Tensor& x, const Tensor& difference, const Tensor& lerp) {
  const Tensor mixed = pass.scratch(x.shape[1]);
  pass.backend.multiply(difference, lerp, mixed);
  pass.backend.add(x, mixed, 1.0F, mixed);
  return mixed;
}

/// out = second(activation(first(x))), without the activation when it is absent.
void low_rank(Pass& pass, const spec::Linear& first, std::optional<Activation> activation,
              const spec::Linear& second, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const Tensor inner = pass.scratch(first.out);
  multiply(pass, x, {{&first, inner}});
  if (activation) pass.backend.activate(*activation, inner, inner);
  multiply(pass, inner, {{&second, out}});
}

/// The same, with a bias that is a tensor of its own and a sigmoid around it all.
void low_rank_sigmoid(Pass& pass, const spec::Linear& first, std::optional<Activation> activation,
                      const spec::Linear& second, const std::string& bias, const Tensor& x,
                      const Tensor& out) {
  low_rank(pass, first, activation, second, x, out);
  pass.backend.add(out, one_row(pass.weights.vector(bias)), 1.0F, out);
  pass.backend.activate(Activation::kSigmoid, out, out);
}

/// values += (first layer's values - values) * sigmoid(v2 (v1 m) + v0); the first layer's are kept.
void mix_values(Pass& pass, const spec::RwkvTimeMix& r, const Tensor& m, const Tensor& values) {
  if (r.first) {
    pass.backend.copy(values, pass.first_value);
    return;
  }
  const Arena::Scope scope(pass.arena);
  const Tensor share = pass.scratch(values.shape[1]);
  const Tensor difference = pass.scratch(values.shape[1]);
  low_rank_sigmoid(pass, r.v1, {}, r.v2, r.v0, m, share);
  pass.backend.add(pass.first_value, values, -1.0F, difference);
  pass.backend.multiply(difference, share, difference);
  pass.backend.add(values, difference, 1.0F, values);
}

/// out += v_h sum_j k_j r_j weight_j for every head h.
void add_bonus(Pass& pass, const spec::RwkvTimeMix& r, const Tensor& key, const Tensor& receptance,
               const Tensor& values, const Tensor& out) {
  static constexpr std::array kOne = {1.0F};
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const Tensor terms = pass.scratch(out.shape[1]);
  backend.multiply(key, receptance, terms);
  backend.multiply(terms, one_row(pass.weights.vector(r.r_k)), terms);
  // The sum over a head is a mix of ones.
  Tensor ones = constant(pass, kOne);
  ones.rank = 3;
  ones.shape = {pass.rows * r.heads, r.size, 1, 1};
  ones.strides = {0, 0, 1, 1};
  Tensor coefficients = terms;
  coefficients.rank = 3;
  coefficients.shape = {pass.rows * r.heads, 1, r.size, 1};
  coefficients.strides = {r.size, r.size, 1, 1};
  const Tensor sums = pass.scratch(r.heads);
  Tensor each = sums;
  each.rank = 3;
  each.shape = {pass.rows * r.heads, 1, 1, 1};
  each.strides = {1, 1, 1, 1};
  backend.mix(coefficients, ones, false, each);
  backend.multiply(values.split_last(r.heads), sums, terms.split_last(r.heads));
  backend.add(out, terms, 1.0F, out);
}

}  // namespace

void run_body(Pass& pass, const spec::RwkvTimeMix& r, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t width = r.heads * r.size;
  const auto heads = [&](const Tensor& t) { return t.split_last(r.heads); };
  const Tensor difference = shift_difference(pass, x, r.memory);
  const Tensor lerps = as_matrix(pass.weights.vector(r.lerp), 6, width);
  const auto shifted = [&](std::int64_t index) {  // in the order r, w, k, v, a, g
    return mixed_with_shift(pass, x, difference, lerps.rows(index, 1));
  };

  const Tensor receptance = pass.scratch(width);
  const Tensor decay = pass.scratch(width);
  const Tensor key = pass.scratch(width);
  const Tensor values = pass.scratch(width);
  const Tensor rate = pass.scratch(width);
  const Tensor gate = pass.scratch(width);
  multiply(pass, shifted(0), {{&r.receptance, receptance}});
  // exp(-e^-0.5 sigmoid(..)): between 0.545 and 1.
  low_rank_sigmoid(pass, r.w1, Activation::kTanh, r.w2, r.w0, shifted(1), decay);
  backend.scale(decay, -0.606531F, decay);
  backend.activate(Activation::kExp, decay, decay);
  multiply(pass, shifted(2), {{&r.key, key}});
  const Tensor value_input = shifted(3);
  multiply(pass, value_input, {{&r.value, values}});
  mix_values(pass, r, value_input, values);
  low_rank_sigmoid(pass, r.a1, {}, r.a2, r.a0, shifted(4), rate);
  low_rank(pass, r.g1, Activation::kSigmoid, r.g2, shifted(5), gate);

  // removed = k * k_k, of length 1; k += (rate - 1) k k_a.
  const Tensor removed = pass.scratch(width);
  backend.multiply(key, one_row(pass.weights.vector(r.k_k)), removed);
  backend.norm({compute::NormKind::kL2, 1e-12F, heads(removed), {}, {}, heads(removed)});
  const Tensor scaled_key = pass.scratch(width);
  const Tensor adaptive_key = pass.scratch(width);
  backend.multiply(key, one_row(pass.weights.vector(r.k_a)), scaled_key);
  backend.multiply(rate, scaled_key, adaptive_key);
  backend.add(adaptive_key, scaled_key, -1.0F, adaptive_key);
  backend.add(key, adaptive_key, 1.0F, key);
  backend.multiply(removed, rate, rate);
  backend.scale(removed, -1.0F, removed);

  const Tensor y = pass.scratch(width);
  backend.rwkv_scan({.r = heads(receptance),
                     .w = heads(decay),
                     .k = heads(key),
                     .v = heads(values),
                     .a = heads(removed),
                     .b = heads(rate),
                     .state = pass.memory.scan(r.memory),
                     .rows = pass.recurrent,
                     .out = heads(y)});
  backend.norm({r.norm.kind, r.norm.epsilon, heads(y),
                as_matrix(pass.weights.vector(r.norm.weight), r.heads, r.size),
                as_matrix(pass.weights.vector(r.norm.bias), r.heads, r.size), heads(y)});
  add_bonus(pass, r, key, receptance, values, y);
  backend.multiply(y, gate, y);
  multiply(pass, y, {{&r.output, out}});
}

void run_body(Pass& pass, const spec::RwkvChannelMix& r, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const Tensor difference = shift_difference(pass, x, r.memory);
  const Tensor mixed = mixed_with_shift(pass, x, difference, one_row(pass.weights.vector(r.lerp)));
  const Tensor hidden = pass.scratch(r.key.out);
  multiply(pass, mixed, {{&r.key, hidden}});
  pass.backend.activate(Activation::kReluSquared, hidden, hidden);
  multiply(pass, hidden, {{&r.value, out}});
}

}  // namespace hearth::model
