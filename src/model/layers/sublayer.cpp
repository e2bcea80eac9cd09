#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

namespace {

void run_body(Pass& pass, const spec::Attention& attention, const Tensor& x, const Tensor& out) {
  attend(pass, attention, x, out);
}
void run_body(Pass& pass, const spec::FeedForward& f, const Tensor& x, const Tensor& out) {
  feed_forward(pass, f, x, out);
}

/// norm(x) in new scratch memory, or x itself without a norm.
Tensor normed(Pass& pass, const std::optional<spec::Norm>& norm, const Tensor& x) {
  if (!norm) return x;
  const Tensor out = pass.scratch(x.shape[1]);
  apply_norm(pass, *norm, x, out);
  return out;
}

}  // namespace

compute::Projection projection(const Pass& pass, const spec::Linear& linear, const Tensor& out) {
  return {&pass.weights.matrix(linear.weight), out, pass.weights.vector(linear.bias),
          pass.weights.scalar(linear.scale)};
}

void apply_norm(const Pass& pass, const spec::Norm& norm, const Tensor& x, const Tensor& out) {
  Tensor weight = pass.weights.vector(norm.weight);
  Tensor bias = pass.weights.vector(norm.bias);
  pass.backend.norm({norm.kind, norm.epsilon, x, weight, bias, out});
}

void run_sublayer(Pass& pass, const spec::Sublayer& sublayer, const Tensor& stream) {
  const Arena::Scope scope(pass.arena);
  const Tensor input = normed(pass, sublayer.pre_norm, stream);
  const Tensor sum = pass.scratch(stream.shape[1]);
  for (std::size_t i = 0; i < sublayer.branches.size(); ++i) {
    const spec::Branch& branch = sublayer.branches[i];
    const Arena::Scope branch_scope(pass.arena);
    const Tensor out = i == 0 ? sum : pass.scratch(stream.shape[1]);
    const Tensor branch_input = normed(pass, branch.pre_norm, input);
    std::visit([&](const auto& body) { run_body(pass, body, branch_input, out); }, branch.body);
    if (branch.post_norm) apply_norm(pass, *branch.post_norm, out, out);
    if (i > 0) pass.backend.add(sum, out, 1.0F, sum);
  }
  if (sublayer.post_norm) apply_norm(pass, *sublayer.post_norm, sum, sum);
  pass.backend.add(stream, sum, sublayer.residual_scale, stream);
}

}  // namespace hearth::model
