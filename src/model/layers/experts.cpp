// Mixture of experts (reference: blocks.md section 5, moe.md).
#include "model/layers/pass.h"

namespace hearth::model {

using compute::RouteArguments;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// The experts of every row and what they weigh.
struct Choice {
  Tensor ids;      // I32 [T, K]
  Tensor weights;  // F32 [T, K]
};

Choice allocate_choice(Pass& pass, std::int64_t used) {
  return {pass.arena.allocate(DType::kI32, {pass.rows, used}), pass.scratch(used)};
}

/// The logits of all experts [T, E].
Tensor route_logits(Pass& pass, const spec::MixtureOfExperts& moe, const Tensor& x) {
  const Tensor logits = pass.scratch(moe.experts);
  const Arena::Scope scope(pass.arena);
  Tensor input = moe.router_input == spec::RouterInput::kSublayer ? pass.sublayer_input
                 : moe.router_input == spec::RouterInput::kLayer  ? pass.layer_input
                                                                  : x;
  input = normed(pass, moe.router_norm, input);
  if (moe.router_scale != 1.0F) {
    const Tensor scaled = pass.scratch(input.shape[1]);
    pass.backend.scale(input, moe.router_scale, scaled);
    input = scaled;
  }
  multiply(pass, input, {{&moe.router, logits}});
  return logits;
}

/// The experts that the file lists for each row's token, [T, used].
Tensor experts_of_tokens(Pass& pass, const spec::MixtureOfExperts& moe) {
  Tensor table = pass.weights.vector(moe.token_experts);
  const std::int64_t tokens = table.elements() / moe.used;
  // Dimensions of one are left out of vectors.
  if (table.rank == 1) {
    table = Tensor::contiguous(table.buffer, table.offset, table.dtype, {tokens, moe.used});
  }
  const Tensor selected = pass.arena.allocate(DType::kI32, {pass.rows, moe.used});
  pass.backend.gather(table, pass.tokens, selected);
  return selected;
}

Choice choose_experts(Pass& pass, const spec::MixtureOfExperts& moe, const Tensor& logits) {
  const Choice choice = allocate_choice(pass, moe.used);
  const Arena::Scope scope(pass.arena);
  RouteArguments route;
  route.routing = moe.routing;
  route.logits = logits;
  route.selection_bias = pass.weights.vector(moe.selection_bias);
  if (!moe.token_experts.empty()) route.selected = experts_of_tokens(pass, moe);
  route.ids = choice.ids;
  route.weights = choice.weights;
  pass.backend.route(route);
  return choice;
}

/// The matrices of a set of experts, `gate` or `gate_up` absent where a form does without.
struct ExpertStacks {
  const spec::LinearStack& gate;
  const spec::LinearStack& up;
  const spec::LinearStack* gate_up;
  const spec::LinearStack& down;
  std::int64_t width = 0;
  bool gated = true;
};

/// What goes into `down`: [T, K, width]. x [T, K or 1, in].
Tensor expert_hidden(Pass& pass, const ExpertStacks& experts, const spec::Gating& gating,
                     const Tensor& x, const Tensor& ids) {
  const std::int64_t width = experts.width;
  if (!experts.gated) {
    const Tensor hidden = pass.scratch(ids.shape[1], width);
    multiply_grouped(pass, x, ids, {{&experts.up, hidden}});
    pass.backend.activate(gating.activation, hidden, hidden);
    return hidden;
  }
  const Tensor both = pass.scratch(ids.shape[1], 2 * width);
  const Tensor gate = both.slice(2, 0, width);
  const Tensor up = both.slice(2, width, width);
  if (experts.gate_up != nullptr) {
    multiply_grouped(pass, x, ids, {{experts.gate_up, both}});
  } else {
    multiply_grouped(pass, x, ids, {{&experts.gate, gate}, {&experts.up, up}});
  }
  pass.backend.activate_gated(gating, gate, up, gate);
  return gate;
}

/// The outputs of the chosen experts [T, K, out], not yet weighted.
Tensor expert_outputs(Pass& pass, const ExpertStacks& experts, const spec::Gating& gating,
                      const Tensor& x, const Tensor& ids) {
  const Tensor outputs = pass.scratch(ids.shape[1], experts.down.out);
  const Arena::Scope scope(pass.arena);
  const Tensor hidden = expert_hidden(pass, experts, gating, x, ids);
  multiply_grouped(pass, hidden, ids, {{&experts.down, outputs}});
  return outputs;
}

/// out [T, in] = what the routed experts make of x [T, in].
void run_experts(Pass& pass, const spec::MixtureOfExperts& moe, const Choice& choice,
                 const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const ExpertStacks stacks{moe.gate, moe.up,    moe.gate_up.present() ? &moe.gate_up : nullptr,
                            moe.down, moe.width, moe.gated};
  if (!moe.weight_on_input) {
    const Tensor outputs = expert_outputs(pass, stacks, moe.gating, x.split_last(1), choice.ids);
    pass.backend.mix(choice.weights.split_last(1), outputs, false, out.split_last(1));
    return;
  }
  const Tensor weighted = pass.scratch(moe.used, x.shape[1]);
  pass.backend.mix(choice.weights.split_last(moe.used), x.split_last(1), false, weighted);
  const Tensor outputs = expert_outputs(pass, stacks, moe.gating, weighted, choice.ids);
  pass.backend.copy(outputs.slice(1, 0, 1), out.split_last(1));
  for (std::int64_t j = 1; j < moe.used; ++j) {
    pass.backend.add(out, outputs.slice(1, j, 1).join_last(), 1.0F, out);
  }
}

/// out += what the chunk experts make of out itself, weighted by the probability of the expert
/// whose index is the chunk's: the form of moe.md that reproduces the engine which published
/// goldens come from.
void add_chunks(Pass& pass, const spec::MixtureOfExperts& moe, const Tensor& logits,
                const Tensor& ids, const Tensor& out) {
  const spec::MixtureOfExperts::Chunks& chunks = *moe.chunks;
  const Arena::Scope scope(pass.arena);
  const Choice choice = allocate_choice(pass, moe.used);
  RouteArguments route;
  route.routing = {.gate = spec::RouterGate::kSoftmax, .normalise = true, .scale = chunks.scale};
  route.logits = logits;
  route.selected = ids;
  route.divisor = static_cast<std::int32_t>(chunks.per_chunk);
  route.ids = choice.ids;
  route.weights = choice.weights;
  pass.backend.route(route);
  const ExpertStacks stacks{chunks.gate, chunks.up, nullptr, chunks.down, chunks.width, true};
  const Tensor outputs = expert_outputs(pass, stacks, moe.gating, out.split_last(1), choice.ids);
  pass.backend.mix(choice.weights.split_last(1), outputs, true, out.split_last(1));
}

/// out += the shared expert of x, times its gate where it has one.
void add_shared_expert(Pass& pass, const spec::MixtureOfExperts& moe, const Tensor& x,
                       const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const Tensor shared = pass.scratch(out.shape[1]);
  run_body(pass, *moe.shared, x, shared);
  if (moe.shared_gate.present()) {
    const Tensor gate = pass.scratch(1);
    multiply(pass, x, {{&moe.shared_gate, gate}});
    pass.backend.activate(compute::Activation::kSigmoid, gate, gate);
    Tensor factors = gate;
    factors.rank = 1;
    pass.backend.scale_rows(shared, factors);
  }
  pass.backend.add(out, shared, 1.0F, out);
}

}  // namespace

void run_body(Pass& pass, const spec::MixtureOfExperts& moe, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const Tensor logits = route_logits(pass, moe, x);
  const Choice choice = choose_experts(pass, moe, logits);
  if (moe.latent_down.present()) {
    const Tensor latent = pass.scratch(moe.latent_down.out);
    const Tensor latent_out = pass.scratch(moe.latent_up.in);
    multiply(pass, x, {{&moe.latent_down, latent}});
    run_experts(pass, moe, choice, latent, latent_out);
    multiply(pass, latent_out, {{&moe.latent_up, out}});
  } else {
    run_experts(pass, moe, choice, x, out);
  }
  if (moe.chunks) add_chunks(pass, moe, logits, choice.ids, out);
  if (moe.shared) add_shared_expert(pass, moe, x, out);
  if (moe.output_scale != 1.0F) pass.backend.scale(out, moe.output_scale, out);
}

}  // namespace hearth::model
