// rwkv7: RWKV-7 "Goose": time mix and channel mix, LayerNorm, also of the embedding (reference:
// blocks-recurrent.md section 7).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

// Larger than any model.

/// The two matrices of a low-rank term and its bias, NAME0, NAME1 and NAME2.
class LowRankTerms {
 public:
  LowRankTerms(const FamilyReader& reader, std::int64_t layer) : reader_(reader), layer_(layer) {}

  void read(std::string_view name, std::string_view rank_key, Linear& first, Linear& second) const {
    const std::int64_t rank = reader_.integer_in(rank_key, 1, kMostFeatures);
    first = reader_.linear(tensor(name, "1"), reader_.width(), rank);
    second = reader_.linear(tensor(name, "2"), rank, reader_.width());
  }
  [[nodiscard]] std::string bias(std::string_view name) const {
    return any_vector(reader_, tensor(name, "0.weight"), reader_.width());
  }

 private:
  [[nodiscard]] std::string tensor(std::string_view name, std::string_view suffix) const {
    return FamilyReader::layer_name(layer_, "time_mix_" + std::string(name) + std::string(suffix));
  }
  const FamilyReader& reader_;
  std::int64_t layer_;
};

RwkvTimeMix time_mix(const FamilyReader& reader, std::int64_t layer) {
  const std::int64_t width = reader.width();
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, "time_mix_" + std::string(part));
  };
  const auto vector = [&](std::string_view part) {
    return any_vector(reader, name(part) + ".weight", width);
  };
  RwkvTimeMix r;
  r.size = reader.integer_in("wkv.head_size", 1, kMaxStateSize);
  if (width % r.size != 0) {
    throw Error("the model's width " + std::to_string(width) + " is no multiple of its head size " +
                    std::to_string(r.size),
                "the file is damaged or of an unknown kind");
  }
  r.heads = width / r.size;
  r.first = layer == 0;
  r.lerp = reader.vector(name("lerp_fused.weight"), width, 6);
  r.receptance = reader.linear(name("receptance"), width, width);
  r.key = reader.linear(name("key"), width, width);
  r.value = reader.linear(name("value"), width, width);
  r.output = reader.linear(name("output"), width, width);
  const LowRankTerms terms(reader, layer);
  terms.read("w", "attention.decay_lora_rank", r.w1, r.w2);
  terms.read("a", "attention.iclr_lora_rank", r.a1, r.a2);
  terms.read("g", "attention.gate_lora_rank", r.g1, r.g2);
  r.w0 = terms.bias("w");
  r.a0 = terms.bias("a");
  if (!r.first) {
    terms.read("v", "attention.value_residual_mix_lora_rank", r.v1, r.v2);
    r.v0 = terms.bias("v");
  }
  r.k_k = vector("k_k");
  r.k_a = vector("k_a");
  r.r_k = vector("r_k");
  constexpr float kGroupEpsilon = 64e-5F;
  r.norm = {NormKind::kLayer, vector("ln"), any_vector(reader, name("ln.bias"), width),
            kGroupEpsilon};
  return r;
}

RwkvChannelMix channel_mix(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, "channel_mix_" + std::string(part));
  };
  const std::int64_t hidden = reader.feed_forward_width(layer);
  RwkvChannelMix r;
  r.lerp = any_vector(reader, name("lerp_k.weight"), reader.width());
  r.key = reader.linear(name("key"), reader.width(), hidden);
  r.value = reader.linear(name("value"), hidden, reader.width());
  return r;
}

}  // namespace

ModelSpec describe_rwkv7(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  model.embedding.norm = reader.norm(NormKind::kLayer, "token_embd_norm", reader.width());
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Layer block;
    block.sublayers.push_back({reader.norm(NormKind::kLayer, layer, "attn_norm"),
                               {Branch{{}, time_mix(reader, layer), {}}},
                               {}});
    block.sublayers.push_back({reader.norm(NormKind::kLayer, layer, "attn_norm_2"),
                               {Branch{{}, channel_mix(reader, layer), {}}},
                               {}});
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
