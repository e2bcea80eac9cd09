// Per-layer embeddings: every token brings a small vector for every layer, mixed with a projection
// of its embedding (gemma3n, gemma4; reference: gemma.md).
#include <cmath>

#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

void make_per_layer_embeddings(Pass& pass, const spec::PerLayerEmbedding& embedding,
                               const Tensor& x) {
  compute::Backend& backend = pass.backend;
  const Tensor& made = pass.per_layer;
  multiply(pass, x, {{&embedding.projection, made}});
  backend.scale(made, embedding.projection_scale, made);
  if (embedding.norm) {
    const Tensor by_layer = made.split_last(embedding.layers);
    apply_norm(pass, *embedding.norm, by_layer, by_layer);
  }
  const Arena::Scope scope(pass.arena);
  const Tensor tokens = pass.scratch(embedding.layers * embedding.width);
  backend.get_rows(pass.weights.matrix(embedding.tokens), pass.tokens, embedding.token_scale,
                   tokens);
  backend.add(made, tokens, 1.0F, made);
  backend.scale(made, 1.0F / std::sqrt(2.0F), made);
}

void per_layer_signal(Pass& pass, const spec::PerLayerInput& input, const Tensor& x,
                      const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const std::int64_t width = input.gate.out;
  const Tensor gate = pass.scratch(width);
  multiply(pass, x, {{&input.gate, gate}});
  const Tensor embedding =
      pass.per_layer.columns(static_cast<std::int64_t>(pass.layer_index) * width, width);
  pass.backend.activate_gated({.activation = spec::Activation::kGelu}, gate, embedding, gate);
  multiply(pass, gate, {{&input.projection, out}});
  if (input.post_norm) apply_norm(pass, *input.post_norm, out, out);
}

void add_per_layer_input(Pass& pass, const spec::PerLayerInput& input, const Tensor& stream) {
  const Arena::Scope scope(pass.arena);
  const Tensor signal = pass.scratch(stream.shape[1]);
  per_layer_signal(pass, input, stream, signal);
  pass.backend.add(stream, signal, 1.0F, stream);
}

}  // namespace hearth::model
