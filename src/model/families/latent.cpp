#include "model/families/latent.h"

#include <algorithm>
#include <cmath>

#include "compute/backend.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// Heads are numbered by index tensors of this length (Pass::iota).

}  // namespace

Rope latent_rope(const FamilyReader& reader) {
  Rope rope = reader.rope(RopePairing::kAdjacent);
  if (!rope.angles.yarn) return rope;
  const double factor = reader.number_or("rope.scaling.factor", 1);
  const double log_multiplier = reader.number_or("rope.scaling.yarn_log_multiplier", 0) / 0.1;
  const auto gain = [&](double k) { return factor <= 1 ? 1.0 : 0.1 * k * std::log(factor) + 1.0; };
  double magnitude = reader.number_or("rope.scaling.attn_factor", 1);
  if (log_multiplier == 0) {
    magnitude *= gain(1);
  } else if (reader.architecture() != "deepseek2") {
    // deepseek2 takes the multiplier for both gains.
    magnitude *= gain(1) / gain(log_multiplier);
  }
  rope.angles.magnitude = static_cast<float>(magnitude);
  return rope;
}

LatentAttention latent_attention(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  const std::int64_t width = reader.width();
  LatentAttention a;
  // The blocks behind the last layer have as many heads as the layers.
  a.heads = reader.heads(std::min(layer, reader.layers() - 1));
  if (a.heads < 1 || a.heads > kMostHeads) {
    throw Error("layer " + std::to_string(layer) + " of the model has " + std::to_string(a.heads) +
                    " attention heads",
                "the file is damaged or of an unknown kind");
  }
  // Older files give the size of a head where newer ones give that of the cache.
  const std::int64_t key_size =
      reader.integer_in("attention.key_length_mla", 2, compute::kMaxHeadSize, reader.key_size());
  a.value_size = reader.integer_in("attention.value_length_mla", 1, compute::kMaxHeadSize,
                                   reader.value_size());
  a.rope_size = reader.integer_in("rope.dimension_count", 1, key_size - 1);
  a.nope_size = key_size - a.rope_size;
  a.latent_size =
      reader.integer_in("attention.kv_lora_rank", 1, compute::kMaxHeadSize - a.rope_size);
  if (reader.has(name("attn_q_a.weight"))) {
    a.query_rank = reader.integer_in("attention.q_lora_rank", 1, kMostRank);
    a.q_a = reader.linear(name("attn_q_a"), width, a.query_rank);
    a.q_a_norm = reader.norm(NormKind::kRms, name("attn_q_a_norm"), a.query_rank);
    a.q_b = reader.linear(name("attn_q_b"), a.query_rank, a.heads * key_size);
  } else {
    a.q = reader.linear(name("attn_q"), width, a.heads * key_size);
  }
  a.kv_a = reader.linear(name("attn_kv_a_mqa"), width, a.latent_size + a.rope_size);
  a.kv_a_norm = reader.norm(NormKind::kRms, name("attn_kv_a_norm"), a.latent_size);
  if (reader.has(name("attn_k_b.weight"))) {
    a.k_b = reader.stack(name("attn_k_b"), a.nope_size, a.latent_size, a.heads);
    a.v_b = reader.stack(name("attn_v_b"), a.latent_size, a.value_size, a.heads);
  } else {
    a.kv_b = reader.stack(name("attn_kv_b"), a.latent_size, a.nope_size + a.value_size, a.heads);
  }
  a.output = reader.linear(name("attn_output"), a.heads * a.value_size, width);
  a.scale = 1.0F / std::sqrt(static_cast<float>(key_size));
  return a;
}

}  // namespace hearth::model
