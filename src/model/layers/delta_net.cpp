// Gated delta net and Kimi delta attention (blocks-recurrent.md sections 2 and 3).
#include <cmath>

#include "model/layers/pass.h"
#include "model/layers/recurrent.h"

namespace hearth::model {

using spec::Activation;
using tensor::Arena;
using tensor::Tensor;

namespace {

/// Parts `first` .. `first + size - 1` of every key head's share of `mixed` [T, key heads, ..],
/// put together: out [T, key heads * size].
void take_parts(Pass& pass, const Tensor& mixed, std::int64_t first, const Tensor& out) {
  const Tensor parts = out.split_last(mixed.shape[1]);
  pass.backend.copy(mixed.slice(2, first, parts.shape[2]), parts);
}

/// What the layer's matrices make of its input.
struct DeltaInputs {
  Tensor qkv;          // [T, (2 key heads + heads) * size]
  Tensor gate;         // [T, heads * size]
  Tensor beta, alpha;  // [T, heads]
};

DeltaInputs project(Pass& pass, const spec::GatedDeltaNet& g, const Tensor& x) {
  const std::int64_t keys = g.key_heads * g.size;
  const std::int64_t values = g.value_heads * g.size;
  const std::int64_t shared = g.value_heads / g.key_heads;  // value heads per key head
  const DeltaInputs in{pass.scratch(2 * keys + values), pass.scratch(values),
                       pass.scratch(g.value_heads), pass.scratch(g.value_heads)};
  if (g.qkvz.present()) {
    const Arena::Scope scope(pass.arena);
    const Tensor all = pass.scratch(2 * keys + 2 * values);
    multiply(pass, x, {{&g.qkvz, all}});
    const Tensor mixed = all.split_last(g.key_heads);
    take_parts(pass, mixed, 0, in.qkv.columns(0, keys));
    take_parts(pass, mixed, g.size, in.qkv.columns(keys, keys));
    take_parts(pass, mixed, 2 * g.size, in.qkv.columns(2 * keys, values));
    take_parts(pass, mixed, (2 + shared) * g.size, in.gate);
  } else {
    multiply(pass, x, {{&g.qkv, in.qkv}, {&g.gate, in.gate}});
  }
  if (g.beta_alpha.present()) {
    const Arena::Scope scope(pass.arena);
    const Tensor both = pass.scratch(2 * g.value_heads);
    multiply(pass, x, {{&g.beta_alpha, both}});
    const Tensor mixed = both.split_last(g.key_heads);
    take_parts(pass, mixed, 0, in.beta);
    take_parts(pass, mixed, shared, in.alpha);
  } else {
    multiply(pass, x, {{&g.beta, in.beta}, {&g.alpha, in.alpha}});
  }
  return in;
}

/// x = x / max(|x|, epsilon) per head.
void normalise_heads(Pass& pass, const Tensor& x, float epsilon) {
  pass.backend.norm({compute::NormKind::kL2, epsilon, x, {}, {}, x});
}

}  // namespace

void run_body(Pass& pass, const spec::GatedDeltaNet& g, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t keys = g.key_heads * g.size;
  const std::int64_t values = g.value_heads * g.size;
  const DeltaInputs in = project(pass, g, x);

  const Tensor mixed = pass.scratch(2 * keys + values);
  backend.convolve(
      {.x = in.qkv,
       .weight = as_matrix(pass.weights.vector(g.conv), 2 * keys + values, g.conv_taps),
       .bias = {},
       .silu = true,
       .state = pass.memory.conv(g.memory),
       .rows = pass.recurrent,
       .out = mixed});
  const Tensor q = mixed.columns(0, keys).split_last(g.key_heads);
  const Tensor k = mixed.columns(keys, keys).split_last(g.key_heads);
  normalise_heads(pass, q, g.output_norm.epsilon);
  normalise_heads(pass, k, g.output_norm.epsilon);

  backend.activate(Activation::kSigmoid, in.beta, in.beta);
  backend.add(in.alpha, one_row(pass.weights.vector(g.dt_bias)), 1.0F, in.alpha);
  backend.activate(Activation::kSoftplus, in.alpha, in.alpha);
  backend.multiply(in.alpha, one_row(pass.weights.vector(g.a)), in.alpha);

  const Tensor recalled = pass.scratch(values);
  backend.delta_scan({.q = q,
                      .k = k,
                      .v = mixed.columns(2 * keys, values).split_last(g.value_heads),
                      .decay = in.alpha,
                      .beta = in.beta,
                      .tiled = g.tiled,
                      .scale = 1.0F / std::sqrt(static_cast<float>(g.size)),
                      .state = pass.memory.scan(g.memory),
                      .rows = pass.recurrent,
                      .out = recalled.split_last(g.value_heads)});
  apply_norm(pass, g.output_norm, recalled.split_last(g.value_heads),
             recalled.split_last(g.value_heads));
  backend.activate_gated({.activation = Activation::kSilu}, in.gate, recalled, recalled);
  multiply(pass, recalled, {{&g.output, out}});
}

void run_body(Pass& pass, const spec::KimiDeltaAttention& a, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t width = a.heads * a.size;

  // Queries, keys and values, each with its own convolution; their states lie one after the other.
  const Tensor raw = pass.scratch(3 * width);
  const Tensor mixed = pass.scratch(3 * width);
  const Tensor decay_low = pass.scratch(a.size);
  const Tensor gate_low = pass.scratch(a.size);
  const Tensor beta = pass.scratch(a.heads);
  multiply(pass, x,
           {{&a.q, raw.columns(0, width)},
            {&a.k, raw.columns(width, width)},
            {&a.v, raw.columns(2 * width, width)},
            {&a.decay_a, decay_low},
            {&a.gate_a, gate_low},
            {&a.beta, beta}});
  std::int64_t first = 0;
  for (const std::string* conv : {&a.conv_q, &a.conv_k, &a.conv_v}) {
    backend.convolve({.x = raw.columns(first, width),
                      .weight = as_matrix(pass.weights.vector(*conv), width, a.conv_taps),
                      .bias = {},
                      .silu = true,
                      .state = pass.memory.conv(a.memory).slice(1, first, width),
                      .rows = pass.recurrent,
                      .out = mixed.columns(first, width)});
    first += width;
  }
  const Tensor q = mixed.columns(0, width).split_last(a.heads);
  const Tensor k = mixed.columns(width, width).split_last(a.heads);
  normalise_heads(pass, q, a.l2_epsilon);
  normalise_heads(pass, k, a.l2_epsilon);

  const Tensor decay = pass.scratch(width);
  multiply(pass, decay_low, {{&a.decay_b, decay}});
  backend.add(decay, one_row(pass.weights.vector(a.dt_bias)), 1.0F, decay);
  backend.activate(Activation::kSoftplus, decay, decay);
  backend.multiply(decay.split_last(a.heads), repeated(pass.weights.vector(a.a), pass.rows),
                   decay.split_last(a.heads));
  backend.activate(Activation::kSigmoid, beta, beta);

  const Tensor recalled = pass.scratch(width);
  backend.delta_scan({.q = q,
                      .k = k,
                      .v = mixed.columns(2 * width, width).split_last(a.heads),
                      .decay = decay.split_last(a.heads),
                      .beta = beta,
                      .scale = 1.0F / std::sqrt(static_cast<float>(a.size)),
                      .state = pass.memory.scan(a.memory),
                      .rows = pass.recurrent,
                      .out = recalled.split_last(a.heads)});
  apply_norm(pass, a.output_norm, recalled.split_last(a.heads), recalled.split_last(a.heads));
  const Tensor gate = pass.scratch(width);
  multiply(pass, gate_low, {{&a.gate_b, gate}});
  backend.activate_gated({.activation = Activation::kSigmoid}, gate, recalled, recalled);
  multiply(pass, recalled, {{&a.output, out}});
}

}  // namespace hearth::model
