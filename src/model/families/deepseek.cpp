// DeepSeek and its relatives before V4: DeepSeekMoE (deepseek), the language model of DeepSeek-OCR
// (deepseek2-ocr), latent attention with experts (deepseek2: V2, V3, R1, Kimi K2, GLM-4.7-Flash;
// mistral4), and sparse attention led by a lightning indexer (deepseek32: V3.2, glm-dsa: GLM-5)
// (reference: deepseek.md).
#include <cmath>

#include "compute/backend.h"
#include "model/families/latent.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// Dense in the first layers, then experts with a shared one.
Body feed_forward(const FamilyReader& reader, std::int64_t layer, const ExpertOptions& options) {
  if (layer < reader.integer_or("leading_dense_block_count", 0)) {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  return reader.experts(layer, options);
}

ExpertOptions expert_options(const FamilyReader& reader) {
  constexpr std::int64_t kMostWidth = std::int64_t{1} << 24;
  constexpr std::int64_t kMostShared = 1024;
  ExpertOptions options;
  options.width = reader.integer_in("expert_feed_forward_length", 1, kMostWidth);
  options.shared_width = options.width * reader.integer_in("expert_shared_count", 0, kMostShared);
  return options;
}

ExpertOptions gated_expert_options(const FamilyReader& reader, RouterGate gate) {
  ExpertOptions options = expert_options(reader);
  options.gate = gate;
  options.gate_from_file = true;
  return options;
}

/// Files of GLM-4.7-Flash do not say that their router is a sigmoid.
RouterGate latent_gate(const FamilyReader& reader, std::int64_t vocabulary) {
  if (reader.architecture() == "glm-dsa") return RouterGate::kSigmoid;
  const bool flash = (reader.layers() == 47 || reader.layers() == 48) && vocabulary == 154880;
  return flash ? RouterGate::kSigmoid : RouterGate::kSoftmax;
}

/// Whether a layer of GLM-5 chooses cells itself; the others use what the layer before chose.
bool has_own_choice(const FamilyReader& reader, std::int64_t layer) {
  constexpr std::int64_t kSharingContext = 1 << 20;
  if (reader.architecture() != "glm-dsa") return true;
  const std::vector<std::int64_t> types = reader.integers("attention.indexer.types");
  if (types.size() == 1) return types[0] != 0;
  if (!types.empty()) {
    if (layer >= static_cast<std::int64_t>(types.size())) {
      throw Error(
          "the model's metadata key 'glm-dsa.attention.indexer.types' has fewer entries "
          "than the model has layers",
          "the file is damaged or of an unknown kind");
    }
    return types[static_cast<std::size_t>(layer)] != 0;
  }
  const bool shares = reader.integer_or("context_length", 0) >= kSharingContext;
  return !shares || layer < 3 || (layer - 2) % 4 == 0;
}

Indexer indexer(const FamilyReader& reader, std::int64_t layer, const LatentAttention& attention) {
  constexpr std::int64_t kMostHeads = 1024;
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, "indexer." + std::string(part));
  };
  Indexer result;
  result.top_k = reader.integer_in("attention.indexer.top_k", 1, compute::kMaxSelected);
  result.heads = reader.integer_in("attention.indexer.head_count", 1, kMostHeads);
  result.size =
      reader.integer_in("attention.indexer.key_length", attention.rope_size, compute::kMaxHeadSize);
  result.shared = !has_own_choice(reader, layer);
  if (result.shared) {
    if (layer > 0) return result;
    throw Error("the first layer of the model has no indexer of its own",
                "the file is damaged or of an unknown kind");
  }
  result.q = reader.linear(name("attn_q_b"), attention.query_rank, result.heads * result.size);
  result.k = reader.linear(name("attn_k"), reader.width(), result.size);
  result.weights = reader.linear(name("proj"), reader.width(), result.heads);
  Norm norm{.kind = NormKind::kLayer, .epsilon = 1e-6F};
  norm.weight = reader.vector(name("k_norm.weight"), result.size);
  if (reader.has(name("k_norm.bias"))) norm.bias = reader.vector(name("k_norm.bias"), result.size);
  result.k_norm = norm;
  result.rope = attention.rope;
  if (reader.architecture() == "deepseek32") result.rope->pairing = RopePairing::kHalves;
  return result;
}

LatentAttention attention(const FamilyReader& reader, std::int64_t layer) {
  LatentAttention a = latent_attention(reader, layer);
  a.rope = latent_rope(reader);
  if (a.rope->angles.yarn) {
    const double factor = reader.number_or("rope.scaling.factor", 1);
    const double log_multiplier = reader.number_or("rope.scaling.yarn_log_multiplier", 0) / 0.1;
    const double gain = factor > 1 ? 1 + 0.1 * log_multiplier * std::log(factor) : 1;
    const double total = a.rope->angles.magnitude * gain;
    a.scale *= static_cast<float>(total * total);
  }
  const double beta = reader.number_or("attention.temperature_scale", 0);
  if (beta != 0) {
    constexpr std::int64_t kMostPositions = std::int64_t{1} << 31;
    a.temperature =
        QueryTemperature{static_cast<float>(beta), 0,
                         reader.integer_in("attention.temperature_length", 1, kMostPositions)};
  }
  return a;
}

Layer block(const FamilyReader& reader, std::int64_t layer, LatentAttention attention,
            RouterGate gate) {
  return reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                 feed_forward(reader, layer, gated_expert_options(reader, gate)));
}

}  // namespace

ModelSpec describe_deepseek(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  ExpertOptions options = expert_options(reader);
  options.normalise = false;
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), feed_forward(reader, layer, options)));
  }
  return model;
}

ModelSpec describe_deepseek2_ocr(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const ExpertOptions options = gated_expert_options(reader, RouterGate::kSoftmax);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    attention.rope->angles = {.rotated = attention.rope->angles.rotated};
    attention.rope->factors.clear();
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), feed_forward(reader, layer, options)));
  }
  return model;
}

ModelSpec describe_deepseek2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(
        block(reader, layer, attention(reader, layer), latent_gate(reader, model.vocabulary)));
  }
  return model;
}

ModelSpec describe_deepseek32(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    LatentAttention sparse = attention(reader, layer);
    sparse.indexer = indexer(reader, layer, sparse);
    model.stacks[0].layers.push_back(
        block(reader, layer, std::move(sparse), latent_gate(reader, model.vocabulary)));
  }
  return model;
}

// Dense attention in all of them, also where the model's own is sparse.
ModelSpec describe_deepseek2_draft(const FamilyReader& reader, std::int64_t head) {
  const std::int64_t layer = reader.layers() + head;
  const RouterGate gate = latent_gate(reader, reader.model(NormKind::kRms).vocabulary);
  return reader.draft_model(head, NormKind::kRms,
                            block(reader, layer, attention(reader, layer), gate));
}

}  // namespace hearth::model
