// The parts of FamilyReader that put attentions, feed-forwards and layers together.
#include <cmath>

#include "model/families/reader.h"
#include "model/families/reader_checks.h"
#include "support/error.h"

namespace hearth::model {

using spec::Attention;
using spec::Branch;
using spec::FeedForward;
using spec::Layer;
using spec::ModelSpec;
using spec::Norm;
using spec::NormKind;

Attention FamilyReader::attention(std::int64_t layer, std::int64_t input) const {
  if (input == 0) input = width_;
  Attention result;
  result.heads = heads(layer);
  result.kv_heads = kv_heads(layer);
  result.key_size = key_size_;
  result.value_size = value_size_;
  if (result.heads == 0 || result.kv_heads == 0 || key_size_ == 0 || value_size_ == 0) {
    throw_bad_key(key("attention.head_count"),
                  "gives layer " + std::to_string(layer) + " no attention heads");
  }
  if (result.heads % result.kv_heads != 0) {
    throw_bad_key(key("attention.head_count_kv"), "does not divide the number of query heads");
  }
  const std::int64_t q = result.heads * key_size_;
  const std::int64_t k = result.kv_heads * key_size_;
  const std::int64_t v = result.kv_heads * value_size_;
  if (has(layer_name(layer, "attn_qkv.weight"))) {
    result.qkv = linear(layer_name(layer, "attn_qkv"), input, q + k + v);
  } else {
    result.q = linear(layer_name(layer, "attn_q"), input, q);
    result.k = linear(layer_name(layer, "attn_k"), input, k);
    result.v = linear(layer_name(layer, "attn_v"), input, v);
  }
  result.output = linear(layer_name(layer, "attn_output"), result.heads * value_size_, width_);
  const double scale = number_or("attention.scale", 0);
  result.scale =
      static_cast<float>(scale != 0 ? scale : 1.0 / std::sqrt(static_cast<double>(key_size_)));
  return result;
}

void FamilyReader::add_qk_norm(Attention& attention, NormKind kind, std::int64_t layer) const {
  const auto read = [&](std::string_view name, std::int64_t head_count) {
    const std::string tensor = layer_name(layer, name);
    const bool per_head = required_tensor(tensor + ".weight").elements() != key_size_;
    return norm(kind, tensor, key_size_, per_head ? head_count : 1);
  };
  attention.q_norm = read("attn_q_norm", attention.heads);
  attention.k_norm = read("attn_k_norm", attention.kv_heads);
}

void FamilyReader::add_optional_qk_norm(Attention& attention, NormKind kind,
                                        std::int64_t layer) const {
  if (has(layer_name(layer, "attn_q_norm.weight"))) add_qk_norm(attention, kind, layer);
}

void FamilyReader::add_whole_qk_norm(Attention& attention, NormKind kind,
                                     std::int64_t layer) const {
  attention.norm_whole = true;
  attention.q_norm =
      norm(kind, layer_name(layer, "attn_q_norm"), attention.heads * attention.key_size);
  attention.k_norm =
      norm(kind, layer_name(layer, "attn_k_norm"), attention.kv_heads * attention.key_size);
}

void FamilyReader::choose_factors(spec::Rope& rope) const {
  const std::int64_t pairs = rotated_ / 2;
  if (has("rope_freqs.weight")) {
    rope.factors = vector("rope_freqs.weight", pairs);
  } else if (has("rope_factors_long.weight") && has("rope_factors_short.weight")) {
    const std::int64_t original =
        integer_or("rope.scaling.original_context_length", trained_context_);
    rope.factors = vector(
        context_ > original ? "rope_factors_long.weight" : "rope_factors_short.weight", pairs);
  }
}

// Reference: blocks.md section 2.2. The gain of YaRN is g(f) = 0.1 ln f + 1; a log multiplier lm
// divides it by g(f, lm) = 0.1 lm ln f + 1.
void FamilyReader::apply_scaling(spec::RopeAngles& angles) const {
  const std::string_view type = string("rope.scaling.type").value_or("linear");
  double factor = number_or("rope.scaling.factor", number_or("rope.scale_linear", 0));
  if (factor <= 0 || type == "none") factor = 1;
  angles.frequency_scale = static_cast<float>(1.0 / factor);
  double magnitude = number_or("rope.scaling.attn_factor", 1);
  if (type == "yarn") {
    angles.yarn = true;
    const double pi = 3.14159265358979323846;
    const double original =
        static_cast<double>(integer_or("rope.scaling.original_context_length", trained_context_));
    const bool grok = architecture_ == "grok";
    const bool own_betas = architecture_ == "mistral3" || grok;
    const double beta_fast =
        own_betas ? number_or("rope.scaling.yarn_beta_fast", grok ? 8 : 32) : 32;
    const double beta_slow = own_betas ? number_or("rope.scaling.yarn_beta_slow", 1) : 1;
    const auto pair_of = [&](double rotations) {
      return rotated_ * std::log(original / (rotations * 2 * pi)) / (2 * std::log(angles.base));
    };
    angles.yarn_low = static_cast<float>(std::max(0.0, std::floor(pair_of(beta_fast))));
    angles.yarn_high = static_cast<float>(
        std::min(static_cast<double>(rotated_ - 1), std::ceil(pair_of(beta_slow))));
    const double log_multiplier = number_or("rope.scaling.yarn_log_multiplier", 0);
    const auto gain = [&](double k) {
      return factor <= 1 ? 1.0 : 0.1 * k * std::log(factor) + 1.0;
    };
    magnitude *= log_multiplier == 0 ? gain(1) : gain(1) / gain(log_multiplier);
  }
  angles.magnitude = static_cast<float>(magnitude);
}

spec::Rope FamilyReader::unscaled_rope(spec::RopePairing pairing, std::string_view base_key,
                                       double default_base) const {
  if (rotated_ % 2 != 0) throw_bad_key(key("rope.dimension_count"), "is odd");
  spec::Rope rope;
  rope.pairing = pairing;
  rope.angles.rotated = static_cast<std::int32_t>(rotated_);
  rope.angles.base = number_or(base_key, default_base);
  if (!(rope.angles.base > 1)) throw_bad_key(key(base_key), "must be larger than 1");
  return rope;
}

spec::Rope FamilyReader::rope(spec::RopePairing pairing) const {
  spec::Rope rope = unscaled_rope(pairing, "rope.freq_base", 10000);
  apply_scaling(rope.angles);
  choose_factors(rope);
  return rope;
}

spec::Rope FamilyReader::window_rope(spec::RopePairing pairing, double default_base) const {
  return unscaled_rope(pairing, "rope.freq_base_swa", default_base);
}

spec::Rope FamilyReader::scaled_window_rope(spec::RopePairing pairing) const {
  spec::Rope scaled = rope(pairing);
  scaled.angles.base = window_rope(pairing, scaled.angles.base).angles.base;
  return scaled;
}

bool FamilyReader::has_rope_sections() const {
  const std::vector<std::int64_t> sections = integers("rope.dimension_sections");
  return sections.size() >= 2 && sections[0] > 0 && sections[1] > 0;
}

void FamilyReader::add_rope_sections(spec::Rope& rope, bool interleaved) const {
  const std::string_view name = "rope.dimension_sections";
  const std::vector<std::int64_t> sections = integers(name);
  if (sections.empty()) throw_bad_key(key(name), "is missing");
  std::int64_t sum = 0;
  for (std::size_t axis = 0; axis < 4 && axis < sections.size(); ++axis) {
    sum += checked_size(key(name), sections[axis], 0, key_size_);
    rope.angles.sections[axis] = static_cast<std::int32_t>(sections[axis]);
  }
  if (sum == 0) throw_bad_key(key(name), "is 0 for every axis");
  rope.angles.interleaved_sections = interleaved;
}

FeedForward FamilyReader::gated_feed_forward(std::int64_t layer, spec::Activation activation,
                                             std::int64_t width) const {
  FeedForward result;
  result.width = width > 0 ? width : feed_forward_width(layer);
  result.gating.activation = activation;
  if (has(layer_name(layer, "ffn_gate.weight"))) {
    result.gate = linear(layer_name(layer, "ffn_gate"), width_, result.width);
    result.up = linear(layer_name(layer, "ffn_up"), width_, result.width);
  } else {
    result.gate_up = linear(layer_name(layer, "ffn_up"), width_, 2 * result.width);
  }
  result.down = linear(layer_name(layer, "ffn_down"), result.width, width_);
  return result;
}

FeedForward FamilyReader::plain_feed_forward(std::int64_t layer,
                                             spec::Activation activation) const {
  FeedForward result;
  result.width = feed_forward_width(layer);
  result.gated = false;
  result.gating.activation = activation;
  result.up = linear(layer_name(layer, "ffn_up"), width_, result.width);
  result.down = linear(layer_name(layer, "ffn_down"), result.width, width_);
  return result;
}

ModelSpec FamilyReader::model(Norm head_norm) const {
  ModelSpec spec;
  spec.architecture = architecture_;
  spec.name = std::string(file_->metadata().get_string("general.name").value_or(""));
  spec.width = width_;
  // A file may announce draft blocks and not hold them.
  spec.draft_heads = has(layer_name(layers_, "nextn.eh_proj.weight")) ? draft_layers_ : 0;
  spec.context_length = trained_context_;
  // The table and the head may be one tensor, under either name (codeshell).
  const std::string table =
      has("token_embd.weight") || !has("output.weight") ? "token_embd" : "output";
  const gguf::TensorInfo& embedding = required_tensor(table + ".weight");
  spec.vocabulary = checked_size(table + ".weight rows", embedding.shape[1], 1, kMaxSize);
  spec.embedding.tokens = linear(table, width_, spec.vocabulary).weight;
  spec.logits = spec.vocabulary;
  spec.head.norm = std::move(head_norm);
  spec.head.linear =
      linear(has("output.weight") ? "output" : "token_embd", width_, spec.vocabulary);
  if (has("output.bias")) spec.head.linear.bias = vector("output.bias", spec.vocabulary);
  spec.stacks.push_back({"decoder", {}});
  spec.stacks.back().layers.reserve(static_cast<std::size_t>(layers_));
  return spec;
}

void FamilyReader::add_positions(ModelSpec& model) const {
  const gguf::TensorInfo* positions = file_->find_tensor("position_embd.weight");
  model.position_limit = positions != nullptr ? positions->shape[1] : model.context_length;
  model.embedding.positions = linear("position_embd", width_, model.position_limit).weight;
}

Layer FamilyReader::sequential_layer(std::int64_t layer, NormKind kind, spec::Body mixer,
                                     spec::Body feed_forward, std::string_view ffn_norm) const {
  Layer result;
  result.sublayers.push_back(
      {norm(kind, layer, "attn_norm"), {Branch{{}, std::move(mixer), {}}}, {}});
  result.sublayers.push_back(
      {norm(kind, layer, ffn_norm), {Branch{{}, std::move(feed_forward), {}}}, {}});
  return result;
}

Layer FamilyReader::standard_layer(std::int64_t layer, Attention attention) const {
  return sequential_layer(layer, NormKind::kRms, std::move(attention),
                          gated_feed_forward(layer, spec::Activation::kSilu));
}

Layer FamilyReader::sandwich_layer(std::int64_t layer, Attention attention,
                                   spec::Activation activation) const {
  Layer result = sequential_layer(layer, NormKind::kRms, std::move(attention),
                                  gated_feed_forward(layer, activation));
  result.sublayers[0].post_norm = norm(NormKind::kRms, layer, "post_attention_norm");
  result.sublayers[1].post_norm = norm(NormKind::kRms, layer, "post_ffw_norm");
  return result;
}

Layer FamilyReader::post_norm_layer(std::int64_t layer, Attention attention) const {
  FeedForward feed_forward = gated_feed_forward(layer, spec::Activation::kSilu);
  Layer result;
  result.sublayers.push_back({{},
                              {Branch{{}, std::move(attention), {}}},
                              norm(NormKind::kRms, layer, "post_attention_norm"),
                              1.0F});
  result.sublayers.push_back({{},
                              {Branch{{}, std::move(feed_forward), {}}},
                              norm(NormKind::kRms, layer, "post_ffw_norm"),
                              1.0F});
  return result;
}

Layer parallel_layer(Norm norm, spec::Body attention, spec::Body feed_forward) {
  Layer layer;
  layer.sublayers.push_back(
      {std::move(norm),
       {Branch{{}, std::move(attention), {}}, Branch{{}, std::move(feed_forward), {}}},
       {},
       1.0F});
  return layer;
}

bool is_windowed(std::int64_t layer, std::int64_t period) noexcept {
  return period == 0 || layer % period < period - 1;
}

}  // namespace hearth::model
