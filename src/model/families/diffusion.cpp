// Masked diffusion language models: every row sees every row, and nothing is remembered. dream:
// Dream 7B (Qwen2's weights and layer); llada: LLaDA 8B (Llama's); llada-moe: LLaDA-MoE; rnd1: RND1
// (Qwen3-MoE's) (reference: llama-family.md).
#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

ModelSpec non_causal(ModelSpec model) {
  make_bidirectional(model);
  return model;
}

}  // namespace

ModelSpec describe_dream(const FamilyReader& reader) { return non_causal(describe_qwen2(reader)); }

ModelSpec describe_llada(const FamilyReader& reader) { return non_causal(describe_llama(reader)); }

ModelSpec describe_rnd1(const FamilyReader& reader) { return non_causal(describe_qwen3(reader)); }

ModelSpec describe_llada_moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts(layer, {.width = reader.expert_width(layer), .normalise = false})));
  }
  return non_causal(std::move(model));
}

}  // namespace hearth::model
