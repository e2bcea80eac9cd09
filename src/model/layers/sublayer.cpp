#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

tensor::Tensor normed(Pass& pass, const std::optional<spec::Norm>& norm, const Tensor& x) {
  if (!norm) return x;
  const Tensor out = pass.scratch(x.shape[1]);
  apply_norm(pass, *norm, x, out);
  return out;
}

void apply_norm(const Pass& pass, const spec::Norm& norm, const Tensor& x, const Tensor& out) {
  const Tensor weight = pass.weights.vector(norm.weight);
  const Tensor bias = pass.weights.vector(norm.bias);
  pass.backend.norm({norm.kind, norm.epsilon, x, weight, bias, out});
}

namespace {

/// What the sublayer's branches read.
Tensor sublayer_input(Pass& pass, const spec::Sublayer& sublayer, const Tensor& stream) {
  if (!sublayer.token_norm) return normed(pass, sublayer.pre_norm, stream);
  const std::int64_t width = stream.shape[1];
  const Tensor both = pass.scratch(2 * width);
  apply_norm(pass, *sublayer.token_norm, pass.token_embedding, both.columns(0, width));
  const Tensor second = both.columns(width, width);
  if (sublayer.pre_norm) {
    apply_norm(pass, *sublayer.pre_norm, stream, second);
  } else {
    pass.backend.copy(stream, second);
  }
  return both;
}

}  // namespace

void run_branches(Pass& pass, const spec::Sublayer& sublayer, const Tensor& input,
                  const Tensor& sum) {
  for (std::size_t i = 0; i < sublayer.branches.size(); ++i) {
    const spec::Branch& branch = sublayer.branches[i];
    const Arena::Scope branch_scope(pass.arena);
    const Tensor out = i == 0 ? sum : pass.scratch(sum.shape[1]);
    const Tensor branch_input =
        normed(pass, branch.pre_norm, branch.from_layer_input ? pass.layer_input : input);
    std::visit([&](const auto& body) { run_body(pass, body, branch_input, out); }, branch.body);
    if (branch.post_norm) apply_norm(pass, *branch.post_norm, out, out);
    if (i > 0) pass.backend.add(sum, out, 1.0F, sum);
  }
}

void run_sublayer(Pass& pass, const spec::Sublayer& sublayer, const Tensor& stream) {
  if (sublayer.hyper) return run_hyper_sublayer(pass, sublayer, stream);
  const Arena::Scope scope(pass.arena);
  pass.sublayer_input = stream;
  const Tensor input = sublayer_input(pass, sublayer, stream);
  const Tensor sum = pass.scratch(stream.shape[1]);
  run_branches(pass, sublayer, input, sum);
  if (sublayer.sum_scale != 1.0F) pass.backend.scale(sum, sublayer.sum_scale, sum);
  if (sublayer.norm_after_add) {
    pass.backend.add(stream, sum, sublayer.residual_scale, sum);
    const Tensor& result = sublayer.second_norm ? sum : stream;
    if (sublayer.post_norm) {
      apply_norm(pass, *sublayer.post_norm, sum, result);
    } else {
      pass.backend.copy(sum, result);
    }
    if (!sublayer.second_norm) return;
    pass.backend.add(stream, sum, 1.0F, stream);
    apply_norm(pass, *sublayer.second_norm, stream, stream);
    return;
  }
  if (sublayer.post_norm) apply_norm(pass, *sublayer.post_norm, sum, sum);
  pass.backend.add(stream, sum, sublayer.residual_scale, stream);
}

}  // namespace hearth::model
