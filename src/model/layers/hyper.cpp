// Hyper-connections (arXiv:2409.19606; reference: deepseek.md, section deepseek4): several residual
// streams, of which every sublayer reads one mix and into which it writes another.
#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

namespace {

/// function(norm(streams)), [T, function.out].
Tensor stream_logits(Pass& pass, const spec::Norm& norm, const spec::Linear& function,
                     const Tensor& streams) {
  const Tensor z = pass.scratch(function.out);
  const Arena::Scope scope(pass.arena);
  const Tensor flat = pass.scratch(streams.shape[1]);
  apply_norm(pass, norm, streams, flat);
  multiply(pass, flat, {{&function, z}});
  return z;
}

}  // namespace

void run_hyper_sublayer(Pass& pass, const spec::Sublayer& sublayer, const Tensor& stream) {
  const Arena::Scope scope(pass.arena);
  const spec::HyperConnection& hyper = *sublayer.hyper;
  const std::int64_t streams = pass.spec.streams;
  const std::int64_t width = pass.spec.width;
  const Tensor z = stream_logits(pass, hyper.norm, hyper.function, stream);
  const Tensor before = pass.scratch(1, streams);
  const Tensor after = pass.scratch(streams, 1);
  const Tensor mix = pass.scratch(streams, streams);
  pass.backend.hyper_weights({.z = z,
                              .base = pass.weights.vector(hyper.base),
                              .scale = pass.weights.vector(hyper.scale),
                              .iterations = pass.spec.sinkhorn_iterations,
                              .epsilon = pass.spec.hyper_epsilon,
                              .before = before,
                              .after = after,
                              .mix = mix});
  const Tensor x = stream.split_last(streams);
  const Tensor input = pass.scratch(width);
  pass.backend.mix(before, x, false, input.split_last(1));
  pass.sublayer_input = input;
  const Tensor sum = pass.scratch(width);
  {
    const Arena::Scope body_scope(pass.arena);
    run_branches(pass, sublayer, normed(pass, sublayer.pre_norm, input), sum);
  }
  const Tensor mixed = pass.scratch(streams, width);
  pass.backend.mix(mix, x, false, mixed);
  pass.backend.mix(after, sum.split_last(1), true, mixed);
  pass.backend.copy(mixed, x);
}

void collapse_streams(Pass& pass, const spec::StreamHead& head, const Tensor& streams,
                      const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const std::int64_t count = pass.spec.streams;
  const Tensor weights = pass.scratch(1, count);
  pass.backend.hyper_weights({.z = stream_logits(pass, head.norm, head.function, streams),
                              .base = pass.weights.vector(head.base),
                              .scale = pass.weights.vector(head.scale),
                              .epsilon = pass.spec.hyper_epsilon,
                              .before = weights,
                              .after = {},
                              .mix = {}});
  pass.backend.mix(weights, streams.split_last(count), false, out.split_last(1));
}

}  // namespace hearth::model
