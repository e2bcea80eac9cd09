// The standard decoder layer with RoPE on adjacent pairs (reference: llama-family.md). llama: Llama
// 1 to 3, Mistral, Mixtral, SmolLM, TinyLlama, Yi and many more; mistral3: Ministral 3, newer
// Mistral Small; internlm2: InternLM 2 to 3; xverse: XVERSE; chatglm: ChatGLM 3, GLM-4-9B;
// ernie4_5: ERNIE 4.5 0.3B; paddleocr: PaddleOCR-VL; baichuan: Baichuan (13B: ALiBi instead of
// RoPE); refact: Refact (ALiBi, one key head); llama-embed: bidirectional embedders.
#include <limits>

#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

enum class Positions { kRope, kAlibi, kNone };

/// Baichuan's files do not say which of its two models they hold: the number of layers does. The
/// engine that the reference cases come from gives neither RoPE nor ALiBi to any other number.
Positions positions(const FamilyReader& reader) {
  constexpr std::int64_t kLayersOf7B = 32;
  constexpr std::int64_t kLayersOf13B = 40;
  if (reader.architecture() == "refact") return Positions::kAlibi;
  if (reader.architecture() != "baichuan" || reader.layers() == kLayersOf7B) {
    return Positions::kRope;
  }
  return reader.layers() == kLayersOf13B ? Positions::kAlibi : Positions::kNone;
}

}  // namespace

ModelSpec describe_llama(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const auto beta = static_cast<float>(reader.number_or("attention.temperature_scale", 0));
  const bool multi_axis = reader.architecture() == "paddleocr" && reader.has_rope_sections();
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (positions(reader) == Positions::kAlibi) attention.max_alibi_bias = 8;
    if (positions(reader) == Positions::kRope) {
      attention.rope = reader.rope(multi_axis ? RopePairing::kHalves : RopePairing::kAdjacent);
      if (multi_axis) reader.add_rope_sections(*attention.rope, false);
    }
    if (reader.architecture() == "mistral3" && beta != 0) {
      const std::int64_t interval =
          reader.integer_in("rope.scaling.original_context_length", 1,
                            std::numeric_limits<std::int32_t>::max(), model.context_length);
      attention.temperature = QueryTemperature{beta, 0, interval};
    }
    // Mixtral: experts in every layer, as wide as a dense layer would be.
    const ExpertOptions options{.width = reader.feed_forward_width(layer),
                                .normalise = true,
                                .shared_width = reader.shared_expert_width(layer)};
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), reader.experts_or_dense(layer, options)));
  }
  if (reader.architecture() == "llama-embed" &&
      !reader.boolean("attention.causal").value_or(false)) {
    make_bidirectional(model);
    model.head.linear = {};
    model.logits = 0;
  }
  return model;
}

}  // namespace hearth::model
