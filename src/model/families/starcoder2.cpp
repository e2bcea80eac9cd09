// LayerNorm and RoPE on half-split pairs, biases where the file has them (reference: classic.md,
// llama-family.md). starcoder2: StarCoder2; codeshell: CodeShell (plain GELU feed-forward);
// nemotron: Nemotron-4, Minitron; jais2: Jais 2 (plain squared ReLU); orion: Orion-14B (SwiGLU).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_starcoder2(const FamilyReader& reader) {
  const std::string& architecture = reader.architecture();
  const bool squared = architecture == "nemotron" || architecture == "jais2";
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    FeedForward feed_forward =
        architecture == "orion"
            ? reader.gated_feed_forward(layer, Activation::kSilu)
            : reader.plain_feed_forward(layer,
                                        squared ? Activation::kReluSquared : Activation::kGelu);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kLayer, std::move(attention), std::move(feed_forward)));
  }
  return model;
}

}  // namespace hearth::model
