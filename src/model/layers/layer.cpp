#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Tensor;

namespace {

/// Whether something in the layer reads the stream as it was at the layer's input.
bool reads_layer_input(const spec::Layer& layer) {
  for (const spec::Sublayer& sublayer : layer.sublayers) {
    for (const spec::Branch& branch : sublayer.branches) {
      const auto* experts = std::get_if<spec::MixtureOfExperts>(&branch.body);
      if (branch.from_layer_input) return true;
      if (experts != nullptr && experts->router_input == spec::RouterInput::kLayer) return true;
    }
  }
  return false;
}

}  // namespace

const CompletedBlocks& Pass::completed_blocks(std::int64_t ratio) const {
  for (const CompletedBlocks& blocks : completed) {
    if (blocks.ratio == ratio) return blocks;
  }
  return completed.front();
}

Tensor Pass::iota(std::int64_t count) const {
  Tensor all = iota_row;
  all.rank = 2;
  all.shape = {rows, count, 1, 1};
  all.strides = {0, 1, 1, 1};
  return all;
}

void run_layer(Pass& pass, const spec::Layer& layer, const Tensor& stream) {
  const tensor::Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  if (reads_layer_input(layer)) {
    pass.layer_input = pass.scratch(stream.shape[1]);
    backend.copy(stream, pass.layer_input);
  }
  if (layer.altup) {
    run_altup_layer(pass, layer, stream);
  } else {
    for (const spec::Sublayer& sublayer : layer.sublayers) run_sublayer(pass, sublayer, stream);
    if (layer.per_layer_input) add_per_layer_input(pass, *layer.per_layer_input, stream);
  }
  if (layer.add_input_slice >= 0 && pass.input_slices) {
    const std::int64_t width = pass.spec.width;
    backend.add(stream, pass.input_slices.columns(layer.add_input_slice * width, width), 1.0F,
                stream);
  }
  if (!layer.output_scale.empty()) {
    backend.scale(stream, pass.weights.scalar(layer.output_scale), stream);
  }
  if (layer.output_norm) apply_norm(pass, *layer.output_norm, stream, stream);
  if (pass.adapters != nullptr) {
    const Tensor direction = pass.adapters->direction(pass.layer_index);
    if (direction) backend.add(stream, direction, 1.0F, stream);
  }
}

}  // namespace hearth::model
