// deepseek4: DeepSeek V4: hyper-connected residual streams, one key per row that is also its value,
// sliding windows with pooled blocks behind them, experts chosen by token id in the first layers
// (reference: deepseek.md).
#include <algorithm>
#include <cmath>

#include "compute/backend.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// Blocks of this many rows overlap, and an indexer chooses among them.
constexpr std::int64_t kIndexedRatio = 4;
constexpr std::int64_t kPlainRatio = 128;

[[noreturn]] void throw_bad(const std::string& what) {
  throw Error("the model's metadata " + what, "the file is damaged or of an unknown kind");
}

class Page {
 public:
  explicit Page(const FamilyReader& reader) : reader_(reader) {
    streams_ = reader.integer_in("hyper_connection.count", 1, kMaxStreams);
    heads_ = reader.heads(0);
    size_ = reader.key_size();
    rank_ = reader.integer_in("attention.q_lora_rank", 1, kMostRank);
    ratios_ = reader.integers("attention.compress_ratios");
    if (heads_ < 1 || heads_ > kMostHeads || size_ < 1 || reader.value_size() != size_) {
      throw_bad("gives attention heads of impossible number or size");
    }
    if (static_cast<std::int64_t>(ratios_.size()) < reader.layers()) {
      throw_bad(
          "key 'deepseek4.attention.compress_ratios' has fewer entries than the model has "
          "layers");
    }
  }

  [[nodiscard]] ModelSpec model(ModelSpec spec) const {
    spec.streams = streams_;
    spec.hyper_epsilon = static_cast<float>(reader_.required_number("hyper_connection.epsilon"));
    spec.sinkhorn_iterations = static_cast<std::int32_t>(
        reader_.integer_in("hyper_connection.sinkhorn_iterations", 1, 1000));
    const std::int64_t all = streams_ * reader_.width();
    StreamHead head;
    head.norm = whole_norm();
    head.function = reader_.linear("output_hc_fn", all, streams_);
    head.base = reader_.vector("output_hc_base.weight", streams_);
    head.scale = reader_.vector("output_hc_scale.weight", 1);
    spec.stream_head = head;
    spec.head.hidden = HiddenKind::kStreams;
    return spec;
  }

  [[nodiscard]] Layer layer(std::int64_t layer, std::int64_t ratio) const {
    Layer result =
        reader_.sequential_layer(layer, NormKind::kRms, attention(layer, ratio), experts(layer));
    result.sublayers[0].hyper = connection(layer, "hc_attn");
    result.sublayers[1].hyper = connection(layer, "hc_ffn");
    return result;
  }
  [[nodiscard]] std::int64_t ratio(std::int64_t layer) const {
    return ratios_[static_cast<std::size_t>(layer)];
  }

 private:
  static constexpr std::int64_t kMaxStreams = 16;

  static std::string name(std::int64_t layer, std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  }
  [[nodiscard]] float epsilon() const {
    return static_cast<float>(reader_.required_number("attention.layer_norm_rms_epsilon"));
  }
  [[nodiscard]] Norm whole_norm() const { return {.kind = NormKind::kRms, .epsilon = epsilon()}; }

  [[nodiscard]] HyperConnection connection(std::int64_t layer, const std::string& part) const {
    const std::int64_t outputs = (2 + streams_) * streams_;
    HyperConnection result;
    result.norm = whole_norm();
    result.function =
        reader_.linear(name(layer, part + "_fn"), streams_ * reader_.width(), outputs);
    result.base = reader_.vector(name(layer, part + "_base.weight"), outputs);
    result.scale = reader_.vector(name(layer, part + "_scale.weight"), 3);
    return result;
  }

  /// Layers that pool have a base of their own, YaRN, and no gain.
  [[nodiscard]] Rope rope(std::int64_t ratio) const {
    Rope rope = reader_.rope(RopePairing::kAdjacent);
    RopeAngles& angles = rope.angles;
    rope.factors.clear();
    if (ratio == 0) {
      angles = {.rotated = angles.rotated, .base = angles.base};
      return rope;
    }
    angles.magnitude = 1;
    angles.base = reader_.required_number("attention.compress_rope_freq_base");
    if (!(angles.base > 1)) {
      throw_bad("key 'deepseek4.attention.compress_rope_freq_base' must be larger than 1");
    }
    if (!angles.yarn) return rope;
    // The ramp of YaRN (blocks.md section 2.2) for this base.
    constexpr double kPi = 3.14159265358979323846;
    const auto original = static_cast<double>(reader_.integer_or(
        "rope.scaling.original_context_length", reader_.integer_or("context_length", 1)));
    const auto pair_of = [&](double rotations) {
      return angles.rotated * std::log(original / (rotations * 2 * kPi)) /
             (2 * std::log(angles.base));
    };
    angles.yarn_low = static_cast<float>(std::max(0.0, std::floor(pair_of(32))));
    angles.yarn_high = static_cast<float>(
        std::min(static_cast<double>(angles.rotated - 1), std::ceil(pair_of(1))));
    return rope;
  }

  [[nodiscard]] Compressor compressor(std::int64_t layer, const std::string& part,
                                      std::int64_t size, std::int64_t ratio) const {
    const std::int64_t width = ratio == kIndexedRatio ? 2 * size : size;
    Compressor c;
    c.size = size;
    c.values = reader_.linear(name(layer, part + "_kv"), reader_.width(), width);
    c.gates = reader_.linear(name(layer, part + "_gate"), reader_.width(), width);
    c.position_bias = reader_.vector(name(layer, part + "_ape.weight"), width, ratio);
    c.norm = reader_.norm(NormKind::kRms, name(layer, part + "_norm"), size);
    return c;
  }

  [[nodiscard]] CompressedAttention attention(std::int64_t layer, std::int64_t ratio) const {
    const std::int64_t width = reader_.width();
    const std::int64_t groups = reader_.integer_in("attention.output_group_count", 1, heads_);
    const std::int64_t output_rank = reader_.integer_in("attention.output_lora_rank", 1, kMostRank);
    if (heads_ % groups != 0) {
      throw_bad("key 'deepseek4.attention.output_group_count' does not divide the heads");
    }
    CompressedAttention a;
    a.heads = heads_;
    a.size = size_;
    a.ratio = ratio;
    a.window = reader_.window_size();
    if (a.window < 1) throw_bad("key 'deepseek4.attention.sliding_window' must be larger than 0");
    a.rope = rope(ratio);
    a.rotated = a.rope->angles.rotated;
    a.q_a = reader_.linear(name(layer, "attn_q_a"), width, rank_);
    a.q_a_norm = reader_.norm(NormKind::kRms, name(layer, "attn_q_a_norm"), rank_);
    a.q_b = reader_.linear(name(layer, "attn_q_b"), rank_, heads_ * size_);
    a.q_norm = whole_norm();
    a.kv = reader_.linear(name(layer, "attn_kv"), width, size_);
    a.kv_norm = reader_.norm(NormKind::kRms, name(layer, "attn_kv_a_norm"), size_);
    a.scale = 1.0F / std::sqrt(static_cast<float>(size_));
    a.sinks = reader_.vector(name(layer, "attn_sinks.weight"), heads_);
    a.output_a =
        reader_.stack(name(layer, "attn_output_a"), heads_ / groups * size_, output_rank, groups);
    a.output_b = reader_.linear(name(layer, "attn_output_b"), groups * output_rank, width);
    if (ratio == 0) return a;
    if (ratio != kIndexedRatio && ratio != kPlainRatio) {
      throw_bad("asks for blocks of " + std::to_string(ratio) + " rows, where 4 and 128 are known");
    }
    a.compressor = compressor(layer, "attn_compressor", size_, ratio);
    if (ratio == kIndexedRatio) a.indexer = indexer(layer);
    return a;
  }

  [[nodiscard]] CompressedAttention::BlockIndexer indexer(std::int64_t layer) const {
    CompressedAttention::BlockIndexer result;
    result.heads = reader_.integer_in("attention.indexer.head_count", 1, kMostHeads);
    result.size = reader_.integer_in("attention.indexer.key_length",
                                     reader_.integer_in("rope.dimension_count", 0, size_, size_),
                                     compute::kMaxHeadSize / 2);
    result.top_k = reader_.integer_in("attention.indexer.top_k", 1, compute::kMaxSelected);
    result.q = reader_.linear(name(layer, "indexer.attn_q_b"), rank_, result.heads * result.size);
    result.weights = reader_.linear(name(layer, "indexer.proj"), reader_.width(), result.heads);
    result.compressor = compressor(layer, "indexer_compressor", result.size, kIndexedRatio);
    return result;
  }

  /// The limit of a layer from a number or a list of them.
  [[nodiscard]] std::optional<double> limit(std::string_view key, std::int64_t layer) const {
    const std::string full = "deepseek4." + std::string(key);
    const auto& metadata = reader_.file().metadata();
    if (const auto list = metadata.get_floats(full); list && !list->empty()) {
      if (list->size() == 1) return (*list)[0];
      if (layer < static_cast<std::int64_t>(list->size())) {
        return (*list)[static_cast<std::size_t>(layer)];
      }
      throw_bad("key '" + full + "' has fewer entries than the model has layers");
    }
    return reader_.number(key);
  }
  static Gating gating(double limit) {
    if (!(limit > 1e-6)) return {};
    return {Activation::kSilu, GateForm::kClampInputs, static_cast<float>(limit)};
  }

  [[nodiscard]] MixtureOfExperts experts(std::int64_t layer) const {
    constexpr std::int64_t kMostShared = 1024;
    ExpertOptions options;
    options.width = reader_.integer_in("expert_feed_forward_length", 1, kMostRank);
    options.shared_width =
        options.width * reader_.integer_in("expert_shared_count", 0, kMostShared);
    options.gate = RouterGate::kSqrtSoftplus;
    options.gate_from_file = true;
    const double experts_limit = limit("swiglu_clamp_exp", layer).value_or(0);
    options.gating = gating(experts_limit);
    options.shared_gating = gating(limit("swiglu_clamp_shexp", layer).value_or(experts_limit));
    MixtureOfExperts moe = reader_.experts(layer, options);
    if (layer < reader_.integer_or("hash_layer_count", 0)) {
      const std::int64_t vocabulary = reader_.model(NormKind::kRms).vocabulary;
      moe.token_experts =
          reader_.vector(name(layer, "ffn_gate_tid2eid.weight"), moe.used, vocabulary);
    }
    return moe;
  }

  const FamilyReader& reader_;
  std::int64_t streams_ = 0, heads_ = 0, size_ = 0, rank_ = 0;
  std::vector<std::int64_t> ratios_;
};

}  // namespace

ModelSpec describe_deepseek4(const FamilyReader& reader) {
  const Page page(reader);
  ModelSpec model = page.model(reader.model(NormKind::kRms));
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(page.layer(layer, page.ratio(layer)));
  }
  return model;
}

// Only the raw window; what the token and every stream make together is a stream.
ModelSpec describe_deepseek4_draft(const FamilyReader& reader, std::int64_t head) {
  const Page page(reader);
  return page.model(
      reader.draft_model(head, NormKind::kRms, page.layer(reader.layers() + head, 0)));
}

}  // namespace hearth::model
