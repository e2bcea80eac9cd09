// Alternating updates: the layer of gemma3n on its four residual streams. Each layer predicts all
// streams from each other, computes the first one, and corrects the others by what it found
// (Baykal et al. 2023, arXiv:2301.13310; reference: gemma.md, section gemma3n).
#include <cmath>

#include "model/layers/pass.h"
#include "model/layers/recurrent.h"

namespace hearth::model {

using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

Tensor stream_of(const Tensor& streams, std::int64_t index, std::int64_t width) {
  return streams.columns(index * width, width);
}

/// coefficients = linear(tanh(router(norm(x) / width))).
void route_streams(Pass& pass, const spec::AltUp& altup, const spec::Linear& linear,
                   const Tensor& x, const Tensor& coefficients) {
  const Arena::Scope scope(pass.arena);
  const Tensor scaled = pass.scratch(x.shape[1]);
  apply_norm(pass, *altup.router_norm, x, scaled);
  pass.backend.scale(scaled, 1.0F / static_cast<float>(x.shape[1]), scaled);
  const Tensor modalities = pass.scratch(altup.router.out);
  multiply(pass, scaled, {{&altup.router, modalities}});
  pass.backend.activate(spec::Activation::kTanh, modalities, modalities);
  multiply(pass, modalities, {{&linear, coefficients}});
}

/// predicted_j = stream_j + sum_i C[j][i] stream_i.
void predict(Pass& pass, const spec::AltUp& altup, const Tensor& streams, std::int64_t count,
             const Tensor& predicted) {
  const Arena::Scope scope(pass.arena);
  const Tensor coefficients = pass.scratch(count * count);
  route_streams(pass, altup, altup.predict, stream_of(streams, 0, streams.shape[1] / count),
                coefficients);
  pass.backend.copy(streams, predicted);
  pass.backend.mix(coefficients.split_last(count), streams.split_last(count), true,
                   predicted.split_last(count));
}

/// stream_j = predicted_j + (c_j + 1) (computed - predicted_0).
void correct(Pass& pass, const spec::AltUp& altup, const Tensor& computed, const Tensor& predicted,
             std::int64_t count, const Tensor& streams) {
  const Arena::Scope scope(pass.arena);
  const std::int64_t width = computed.shape[1];
  const Tensor innovation = pass.scratch(width);
  pass.backend.add(computed, stream_of(predicted, 0, width), -1.0F, innovation);
  const Tensor coefficients = pass.scratch(count);
  route_streams(pass, altup, altup.correct, computed, coefficients);
  for (std::int64_t j = 0; j < count; ++j) {
    pass.backend.add(stream_of(predicted, j, width), innovation, 1.0F,
                     stream_of(streams, j, width));
  }
  Tensor columns = coefficients;  // [T, count, 1]
  columns.rank = 3;
  pass.backend.mix(columns, innovation.split_last(1), true, streams.split_last(count));
}

/// pre_norm, body and post_norm of a sublayer on x, without the residual.
void run_part(Pass& pass, const spec::Sublayer& sublayer, const Tensor& x, const Tensor& out) {
  std::visit([&](const auto& body) { run_body(pass, body, x, out); },
             sublayer.branches.front().body);
  if (sublayer.post_norm) apply_norm(pass, *sublayer.post_norm, out, out);
}

/// The layer's attention and feed-forward on the active stream, with the learned augmented residual
/// (Laurel) beside the attention.
void compute_active(Pass& pass, const spec::Layer& layer, const Tensor& active, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const spec::AltUp& altup = *layer.altup;
  const std::int64_t width = active.shape[1];

  const Tensor x = normed(pass, layer.sublayers[0].pre_norm, active);
  const Tensor attended = pass.scratch(width);
  run_part(pass, layer.sublayers[0], x, attended);
  backend.add(attended, active, 1.0F, attended);

  const Tensor inner = pass.scratch(altup.laurel_left.out);
  const Tensor augmented = pass.scratch(width);
  multiply(pass, x, {{&altup.laurel_left, inner}});
  multiply(pass, inner, {{&altup.laurel_right, augmented}});
  if (altup.laurel_norm) apply_norm(pass, *altup.laurel_norm, augmented, augmented);
  backend.add(augmented, x, 1.0F, augmented);

  backend.add(attended, augmented, 1.0F, out);
  backend.scale(out, 1.0F / std::sqrt(2.0F), out);

  const Tensor y = normed(pass, layer.sublayers[1].pre_norm, out);
  run_part(pass, layer.sublayers[1], y, attended);
  backend.add(out, attended, 1.0F, out);
}

/// I32 [rows of x, count]: every row is 0, 1, .. count - 1.
Tensor all_matrices(const Pass& pass, const Tensor& x, std::int64_t count) {
  Tensor ids = pass.iota(count);
  ids.shape[0] = x.shape[0];
  return ids;
}

}  // namespace

void run_altup_layer(Pass& pass, const spec::Layer& layer, const Tensor& stream) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const spec::AltUp& altup = *layer.altup;
  const std::int64_t count = altup.router.out;
  const std::int64_t width = stream.shape[1] / count;

  const Tensor predicted = pass.scratch(stream.shape[1]);
  predict(pass, altup, stream, count, predicted);
  const Tensor computed = pass.scratch(width);
  compute_active(pass, layer, stream_of(predicted, 0, width), computed);
  correct(pass, altup, computed, predicted, count, stream);
  if (!layer.per_layer_input) return;

  // The per-layer embedding enters all streams but the active one.
  const Tensor scaled = pass.scratch(width);
  backend.multiply(stream_of(stream, 0, width), one_row(pass.weights.vector(altup.correct_scale)),
                   scaled);
  const Tensor signal = pass.scratch(width);
  per_layer_signal(pass, *layer.per_layer_input, scaled, signal);
  for (std::int64_t j = 1; j < count; ++j) {
    backend.add(stream_of(stream, j, width), signal, 1.0F, stream_of(stream, j, width));
  }
}

void open_altup_streams(Pass& pass, const spec::AltUpStreams& streams, const Tensor& stream) {
  const std::int64_t others = streams.projection.matrices;
  const std::int64_t width = streams.projection.in;
  const Tensor first = stream_of(stream, 0, width);
  const Tensor rest = stream.columns(width, others * width).split_last(others);
  multiply_grouped(pass, first.split_last(1), all_matrices(pass, stream, others),
                   {{&streams.projection, rest}});
  pass.backend.match_norm(rest, first);
}

void close_altup_streams(Pass& pass, const spec::AltUpStreams& streams, const Tensor& stream,
                         const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t others = streams.unembedding.matrices;
  const std::int64_t width = streams.unembedding.in;
  const Tensor first = stream_of(stream, 0, width);
  const Tensor unmade = pass.arena.allocate(DType::kF32, {stream.shape[0], others, width});
  multiply_grouped(pass, stream.columns(width, others * width).split_last(others),
                   all_matrices(pass, stream, others), {{&streams.unembedding, unmade}});
  backend.match_norm(unmade, first);
  backend.copy(first, out);
  for (std::int64_t j = 0; j < others; ++j) {
    backend.add(out, stream_of(unmade.join_last(), j, width), 1.0F, out);
  }
  backend.scale(out, 1.0F / static_cast<float>(others + 1), out);
}

}  // namespace hearth::model
