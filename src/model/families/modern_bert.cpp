// modern-bert: ModernBERT, gte and granite embedders: pre-norm encoder with symmetric windows in
// two layers of three, and GELU-gated feed-forward (reference: embedding.md).
#include "model/families/encoders.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

Activation hidden_activation(const FamilyReader& reader) {
  const std::string_view name = reader.string("hidden_activation").value_or("gelu");
  if (name == "gelu" || name == "geglu") return Activation::kGelu;
  if (name == "silu" || name == "swish" || name == "swiglu") return Activation::kSilu;
  if (name == "relu" || name == "reglu") return Activation::kRelu;
  throw Error("unknown hidden activation '" + printable(name) + "'",
              "known ones are: gelu, silu, relu");
}

}  // namespace

ModelSpec describe_modern_bert(const FamilyReader& reader) {
  ModelSpec model = encoder_model(reader);
  model.embedding.norm = reader.norm(NormKind::kLayer, "token_embd_norm", reader.width());
  model.head.norm = reader.norm(NormKind::kLayer, "output_norm", reader.width());
  const Activation activation = hidden_activation(reader);
  const std::int64_t window = reader.window_size(0);
  const std::int64_t period = reader.window_period(3);
  for (std::int64_t l = 0; l < reader.layers(); ++l) {
    // The first layer of every period attends to everything.
    const bool windowed = window > 0 && period != 1 && (period == 0 || l % period != 0);
    Attention attention = encoder_attention(reader, l, windowed ? window : 0);
    attention.rope = windowed ? reader.window_rope(RopePairing::kHalves, 10000)
                              : reader.rope(RopePairing::kHalves);
    Layer layer;
    layer.sublayers.push_back({{}, {Branch{{}, std::move(attention), {}}}, {}});
    // The embedding's norm already serves the first layer.
    if (l > 0 || reader.has(FamilyReader::layer_name(l, "attn_norm.weight"))) {
      layer.sublayers[0].pre_norm = reader.norm(NormKind::kLayer, l, "attn_norm");
    }
    layer.sublayers.push_back({reader.norm(NormKind::kLayer, l, "ffn_norm"),
                               {Branch{{}, reader.gated_feed_forward(l, activation), {}}},
                               {}});
    model.stacks[0].layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace hearth::model
