// qwen3next, qwen35, qwen35moe: Qwen3-Next and Qwen3.5: gated delta nets with a gated full
// attention every few layers, dense or of experts with a gated shared one, and
// next-token-prediction blocks (reference: qwen.md, blocks-speculative.md section 1).
#include <cmath>

#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

// Larger than any model.

[[noreturn]] void throw_bad(const FamilyReader& reader, const std::string& problem) {
  throw Error("this '" + printable(reader.architecture()) + "' model " + problem,
              "the file is damaged or of an unknown kind");
}

/// Multi-axis RoPE whose axes take turns (qwen35); text uses one position for all of them.
Rope rope_of(const FamilyReader& reader) {
  Rope rope = reader.rope(RopePairing::kHalves);
  if (reader.architecture() == "qwen3next") return rope;
  reader.add_rope_sections(rope, true);
  return rope;
}

/// Full attention whose queries come with gates on the output.
Attention gated_attention(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  Attention a;
  a.heads = reader.heads(layer);
  a.kv_heads = reader.kv_heads(layer);
  a.key_size = reader.key_size();
  a.value_size = reader.value_size();
  if (a.heads == 0 || a.kv_heads == 0 || a.heads % a.kv_heads != 0 || a.key_size == 0 ||
      a.value_size != a.key_size) {
    throw_bad(reader, "gives layer " + std::to_string(layer) + " impossible attention heads");
  }
  a.q = reader.linear(name("attn_q"), reader.width(), 2 * a.heads * a.key_size);
  a.k = reader.linear(name("attn_k"), reader.width(), a.kv_heads * a.key_size);
  a.v = reader.linear(name("attn_v"), reader.width(), a.kv_heads * a.value_size);
  a.output = reader.linear(name("attn_output"), a.heads * a.value_size, reader.width());
  a.gate_in_q = true;
  a.gate = OutputGate{};
  reader.add_qk_norm(a, NormKind::kRms, layer);
  a.rope = rope_of(reader);
  const double scale = reader.number_or("attention.scale", 0);
  a.scale = static_cast<float>(scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(a.key_size)));
  return a;
}

GatedDeltaNet delta_net(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  GatedDeltaNet g;
  g.conv_taps = conv_taps(reader, "ssm.conv_kernel");
  g.size = reader.integer_in("ssm.state_size", 1, kMaxStateSize);
  g.key_heads = reader.integer_in("ssm.group_count", 1, kMostFeatures / g.size);
  g.value_heads = reader.integer_in("ssm.time_step_rank", 1, kMostFeatures / g.size);
  if (g.value_heads % g.key_heads != 0 ||
      reader.integer_in("ssm.inner_size", 1, kMostFeatures) != g.value_heads * g.size) {
    throw_bad(reader, "has delta nets whose sizes do not fit each other");
  }
  // The converter of qwen35 reorders value heads; qwen3next's are in their original order.
  g.tiled = reader.architecture() != "qwen3next";
  const std::int64_t width = reader.width();
  const std::int64_t keys = g.key_heads * g.size;
  const std::int64_t values = g.value_heads * g.size;
  if (reader.has(name("attn_qkv.weight"))) {
    g.qkv = reader.linear(name("attn_qkv"), width, 2 * keys + values);
    g.gate = reader.linear(name("attn_gate"), width, values);
  } else {
    g.qkvz = reader.linear(name("ssm_in"), width, 2 * keys + 2 * values);
  }
  if (reader.has(name("ssm_ba.weight"))) {
    g.beta_alpha = reader.linear(name("ssm_ba"), width, 2 * g.value_heads);
  } else {
    g.beta = reader.linear(name("ssm_beta"), width, g.value_heads);
    g.alpha = reader.linear(name("ssm_alpha"), width, g.value_heads);
  }
  g.conv = reader.vector(name("ssm_conv1d.weight"), g.conv_taps, 2 * keys + values);
  g.dt_bias = any_vector(reader, name("ssm_dt.bias"), g.value_heads);
  g.a = any_vector(reader, name("ssm_a"), g.value_heads);
  g.output_norm = reader.norm(NormKind::kRms, name("ssm_norm"), g.size);
  g.output = reader.linear(name("ssm_out"), values, width);
  return g;
}

bool is_recurrent(const FamilyReader& reader, std::int64_t layer) {
  const std::vector<std::int64_t> flags = reader.integers("attention.recurrent_layers");
  if (!flags.empty()) {
    if (layer >= static_cast<std::int64_t>(flags.size())) {
      throw_bad(reader, "says of too few layers whether they are recurrent");
    }
    return flags[static_cast<std::size_t>(layer)] != 0;
  }
  return (layer + 1) % reader.integer_in("full_attention_interval", 1, kMostFeatures, 4) != 0;
}

Body qwen35_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (reader.architecture() == "qwen35") {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSoftmax);
  options.normalise = true;
  return reader.experts(layer, options);
}

Layer block(const FamilyReader& reader, std::int64_t layer, Body mixer) {
  Layer result;
  result.sublayers.push_back(
      {reader.norm(NormKind::kRms, layer, "attn_norm"), {Branch{{}, std::move(mixer), {}}}, {}});
  result.sublayers.push_back({reader.norm(NormKind::kRms, layer, "post_attention_norm"),
                              {Branch{{}, qwen35_feed_forward(reader, layer), {}}},
                              {}});
  return result;
}

}  // namespace

ModelSpec describe_qwen35(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Body mixer = is_recurrent(reader, layer) ? Body(delta_net(reader, layer))
                                             : Body(gated_attention(reader, layer));
    model.stacks[0].layers.push_back(block(reader, layer, std::move(mixer)));
  }
  return model;
}

ModelSpec describe_qwen35_draft(const FamilyReader& reader, std::int64_t head) {
  const std::int64_t layer = reader.layers() + head;
  return reader.draft_model(head, NormKind::kRms,
                            block(reader, layer, gated_attention(reader, layer)));
}

}  // namespace hearth::model
