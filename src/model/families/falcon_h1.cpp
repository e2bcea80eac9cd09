// falcon-h1: every layer runs attention and Mamba-2 side by side on the same normed input; the
// multipliers of the original are folded into the weights (reference: hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_falcon_h1(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    const Norm input_norm = reader.norm(NormKind::kRms, layer, "attn_norm");
    // The only norm whose tensor has no suffix.
    const std::string bare_name = FamilyReader::layer_name(layer, "ffn_norm");
    const std::string name = reader.has(bare_name) ? bare_name : bare_name + ".weight";
    const Norm feed_forward_norm{NormKind::kRms, reader.vector(name, reader.width()), "",
                                 input_norm.epsilon};
    Layer block;
    block.sublayers.push_back(
        {input_norm,
         {Branch{{}, std::move(attention), {}}, Branch{{}, mamba2(reader, layer), {}}},
         {}});
    block.sublayers.push_back(
        {feed_forward_norm,
         {Branch{{}, reader.gated_feed_forward(layer, Activation::kSilu), {}}},
         {}});
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
