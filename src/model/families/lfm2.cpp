// lfm2, lfm2moe: Liquid's short convolutions between attention layers; the MoE variant has experts
// after the leading dense layers. The final norm is stored as token_embd_norm (reference:
// hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

ShortConvolution short_convolution(const FamilyReader& reader, std::int64_t layer, bool causal) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  ShortConvolution s;
  s.taps = conv_taps(reader, "shortconv.l_cache");
  s.centred = !causal;
  s.in = reader.linear(name("shortconv.in_proj"), reader.width(), 3 * reader.width());
  s.conv = reader.vector(name("shortconv.conv.weight"), s.taps, reader.width());
  s.output = reader.linear(name("shortconv.out_proj"), reader.width(), reader.width());
  return s;
}

Attention attention_of(const FamilyReader& reader, std::int64_t layer, bool causal) {
  Attention attention = reader.attention(layer);
  reader.add_qk_norm(attention, NormKind::kRms, layer);
  attention.rope = reader.rope(RopePairing::kHalves);
  const std::int64_t window = reader.window_size(0);
  if (window > 0) attention.window = {WindowKind::kSliding, window};
  if (!causal) {
    attention.key_source = KeySource::kBatch;
    attention.window = {window > 0 ? WindowKind::kSymmetric : WindowKind::kEverything, window};
  }
  return attention;
}

Body lfm2_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (!reader.has(FamilyReader::layer_name(layer, "ffn_gate_inp.weight"))) {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.normalise = true;
  return reader.experts(layer, options);
}

}  // namespace

ModelSpec describe_lfm2(const FamilyReader& reader) {
  ModelSpec model = reader.model(reader.norm(NormKind::kRms, "token_embd_norm", reader.width()));
  model.causal = reader.boolean("attention.causal").value_or(true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    const bool attends = reader.kv_heads(layer) > 0;
    Body mixer = attends ? Body(attention_of(reader, layer, model.causal))
                         : Body(short_convolution(reader, layer, model.causal));
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(mixer), lfm2_feed_forward(reader, layer)));
  }
  return model;
}

}  // namespace hearth::model
