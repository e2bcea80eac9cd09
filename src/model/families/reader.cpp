#include "model/families/reader.h"

#include <cmath>
#include <limits>

#include "compute/backend.h"
#include "support/error.h"

namespace hearth::model {

using spec::Attention;
using spec::Branch;
using spec::FeedForward;
using spec::Layer;
using spec::Linear;
using spec::ModelSpec;
using spec::Norm;
using spec::NormKind;
using spec::Sublayer;

namespace {

// Larger than any model; small enough that products of two sizes cannot overflow.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;
constexpr std::int64_t kMaxLayers = 4096;

[[noreturn]] void throw_bad_key(const std::string& key, const std::string& problem) {
  throw Error("the model's metadata key '" + key + "' " + problem,
              "the file is damaged or of an unknown kind");
}

std::int64_t checked_size(const std::string& key, std::int64_t value, std::int64_t low,
                          std::int64_t high) {
  if (value < low || value > high)
    throw_bad_key(key, "is " + std::to_string(value) + ", which is out of range");
  return value;
}

/// Passes a key's value on. Throws Error when the key is there but could not be read as `kind`.
template <class Value>
std::optional<Value> typed(const gguf::Metadata& metadata, const std::string& key,
                           std::optional<Value> value, const char* kind) {
  if (!value && metadata.contains(key)) throw_bad_key(key, std::string("is not ") + kind);
  return value;
}

std::string shape_text(const gguf::TensorInfo& tensor) {
  std::string text = "[";
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
  }
  return text + "]";
}

}  // namespace

FamilyReader::FamilyReader(const gguf::File& file, const SpecOptions& options) : file_(&file) {
  architecture_ = std::string(file.metadata().get_string("general.architecture").value_or(""));
  width_ = integer_in("embedding_length", 1, kMaxSize);
  const std::int64_t blocks = integer_in("block_count", 1, kMaxLayers);
  draft_layers_ = integer_in("nextn_predict_layers", 0, blocks - 1, 0);
  layers_ = blocks - draft_layers_;
  trained_context_ = integer_in("context_length", 1, kMaxSize);
  context_ = options.context > 0 ? options.context : trained_context_;

  heads_ = per_layer("attention.head_count", 0);
  kv_heads_ = integers("attention.head_count_kv").empty() ? heads_
                                                          : per_layer("attention.head_count_kv", 0);
  feed_forward_ = per_layer("feed_forward_length", 0);
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const std::int64_t kv = kv_heads(layer);
    // 0 marks a layer without attention (hybrids).
    if (kv > 0 && heads(layer) % kv != 0) {
      throw_bad_key(key("attention.head_count_kv"), "does not divide the number of query heads");
    }
  }
  const std::int64_t default_size = heads(0) > 0 ? width_ / heads(0) : 0;
  key_size_ = integer_in("attention.key_length", 0, compute::kMaxHeadSize, default_size);
  value_size_ = integer_in("attention.value_length", 0, compute::kMaxHeadSize, default_size);
  rotated_ = integer_in("rope.dimension_count", 0, key_size_, key_size_);
}

std::optional<double> FamilyReader::number(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  const std::optional<double> value =
      typed(metadata, key(name), metadata.get_float(key(name)), "a number");
  if (value && !std::isfinite(*value)) throw_bad_key(key(name), "is not finite");
  return value;
}

double FamilyReader::required_number(std::string_view name) const {
  const std::optional<double> value = number(name);
  if (!value) throw_bad_key(key(name), "is missing");
  return *value;
}

std::optional<std::int64_t> FamilyReader::integer(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  const gguf::Value* value = metadata.find(key(name));
  if (value != nullptr && value->type == gguf::ValueType::kArray) return std::nullopt;
  return typed(metadata, key(name), metadata.get_int(key(name)), "an integer");
}

std::int64_t FamilyReader::integer_in(std::string_view name, std::int64_t low, std::int64_t high,
                                      std::optional<std::int64_t> fallback) const {
  const std::optional<std::int64_t> value = integer(name);
  if (!value && !fallback) throw_bad_key(key(name), "is missing or not an integer");
  return checked_size(key(name), value ? *value : *fallback, low, high);
}

std::optional<bool> FamilyReader::boolean(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_bool(key(name)), "true or false");
}

std::optional<std::string_view> FamilyReader::string(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_string(key(name)), "a string");
}

std::vector<std::int64_t> FamilyReader::integers(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_ints(key(name)), "a list of integers")
      .value_or(std::vector<std::int64_t>{});
}

std::int64_t FamilyReader::window_size(std::optional<std::int64_t> fallback) const {
  return integer_in("attention.sliding_window", 0, std::numeric_limits<std::int64_t>::max(),
                    fallback);
}

std::int64_t FamilyReader::window_period(std::int64_t fallback) const {
  return integer_in("attention.sliding_window_pattern", 0, kMaxSize, fallback);
}

std::vector<std::int64_t> FamilyReader::per_layer(std::string_view name,
                                                  std::int64_t fallback) const {
  std::vector<std::int64_t> values = integers(name);
  if (values.empty()) return {fallback};
  if (values.size() != 1 && static_cast<std::int64_t>(values.size()) < layers_) {
    throw_bad_key(key(name), "has fewer entries than the model has layers");
  }
  for (const std::int64_t value : values) checked_size(key(name), value, 0, kMaxSize);
  return values;
}

std::int64_t FamilyReader::at(const std::vector<std::int64_t>& values, std::int64_t layer) const {
  return values.size() == 1 ? values[0] : values[static_cast<std::size_t>(layer)];
}

std::string FamilyReader::layer_name(std::int64_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

const gguf::TensorInfo& FamilyReader::required_tensor(const std::string& name) const {
  const gguf::TensorInfo* tensor = file_->find_tensor(name);
  if (tensor == nullptr && file_->tensors().empty()) {
    throw Error(
        "'" + printable(file_->path().string(), 300) + "' holds a vocabulary and no weights",
        "it serves hearth tokenize, detokenize and render; choose the whole model for this");
  }
  if (tensor == nullptr) {
    throw Error("the model has no tensor '" + name + "', which architecture '" +
                    printable(architecture_) + "' needs",
                "the file is incomplete: fetch it again");
  }
  return *tensor;
}

std::string FamilyReader::vector(const std::string& name, std::int64_t size,
                                 std::int64_t heads) const {
  const gguf::TensorInfo& tensor = required_tensor(name);
  if (tensor.shape[0] != size || tensor.elements() != size * heads) {
    throw Error("tensor '" + name + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(size) + (heads == 1 ? "" : ", " + std::to_string(heads)) +
                    "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  return name;
}

Linear FamilyReader::linear(const std::string& name, std::int64_t in, std::int64_t out) const {
  Linear result;
  result.in = in;
  result.out = out;
  result.weight = name + ".weight";
  const gguf::TensorInfo& tensor = required_tensor(result.weight);
  if (tensor.shape[0] != in || tensor.shape[1] != out || tensor.shape[2] * tensor.shape[3] != 1) {
    throw Error("tensor '" + result.weight + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(in) + ", " + std::to_string(out) + "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  if (has(name + ".bias")) result.bias = vector(name + ".bias", out);
  if (has(name + ".scale")) result.scale = vector(name + ".scale", 1);
  return result;
}

Norm FamilyReader::norm(NormKind kind, const std::string& name, std::int64_t size,
                        std::int64_t heads) const {
  Norm result;
  result.kind = kind;
  result.epsilon = static_cast<float>(required_number(kind == NormKind::kLayer
                                                          ? "attention.layer_norm_epsilon"
                                                          : "attention.layer_norm_rms_epsilon"));
  result.weight = vector(name + ".weight", size, heads);
  if (has(name + ".bias")) result.bias = vector(name + ".bias", size, heads);
  return result;
}

Attention FamilyReader::attention(std::int64_t layer) const {
  Attention result;
  result.heads = heads(layer);
  result.kv_heads = kv_heads(layer);
  result.key_size = key_size_;
  result.value_size = value_size_;
  if (result.heads == 0 || result.kv_heads == 0 || key_size_ == 0 || value_size_ == 0) {
    throw_bad_key(key("attention.head_count"),
                  "gives layer " + std::to_string(layer) + " no attention heads");
  }
  const std::int64_t q = result.heads * key_size_;
  const std::int64_t k = result.kv_heads * key_size_;
  const std::int64_t v = result.kv_heads * value_size_;
  if (has(layer_name(layer, "attn_qkv.weight"))) {
    result.qkv = linear(layer_name(layer, "attn_qkv"), width_, q + k + v);
  } else {
    result.q = linear(layer_name(layer, "attn_q"), width_, q);
    result.k = linear(layer_name(layer, "attn_k"), width_, k);
    result.v = linear(layer_name(layer, "attn_v"), width_, v);
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
    const bool own_betas = architecture_ == "mistral3";
    const double beta_fast = own_betas ? number_or("rope.scaling.yarn_beta_fast", 32) : 32;
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

FeedForward FamilyReader::gated_feed_forward(std::int64_t layer,
                                             spec::Activation activation) const {
  FeedForward result;
  result.width = feed_forward_width(layer);
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

ModelSpec FamilyReader::model(NormKind head_norm) const {
  ModelSpec spec;
  spec.architecture = architecture_;
  spec.name = std::string(file_->metadata().get_string("general.name").value_or(""));
  spec.width = width_;
  spec.draft_heads = draft_layers_;
  spec.context_length = trained_context_;
  const gguf::TensorInfo& embedding = required_tensor("token_embd.weight");
  spec.vocabulary = checked_size("token_embd.weight rows", embedding.shape[1], 1, kMaxSize);
  spec.embedding.tokens = linear("token_embd", width_, spec.vocabulary).weight;
  spec.logits = spec.vocabulary;
  spec.head.norm = norm(head_norm, "output_norm", width_);
  spec.head.linear =
      linear(has("output.weight") ? "output" : "token_embd", width_, spec.vocabulary);
  if (has("output.bias")) spec.head.linear.bias = vector("output.bias", spec.vocabulary);
  spec.stacks.push_back({"decoder", {}});
  spec.stacks.back().layers.reserve(static_cast<std::size_t>(layers_));
  return spec;
}

spec::LinearStack FamilyReader::stack(const std::string& name, std::int64_t in, std::int64_t out,
                                      std::int64_t matrices) const {
  spec::LinearStack result{.weight = name + ".weight", .in = in, .out = out, .matrices = matrices};
  const gguf::TensorInfo& tensor = required_tensor(result.weight);
  if (tensor.shape[0] != in || tensor.elements() != in * out * matrices) {
    throw Error("tensor '" + result.weight + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(in) + ", " + std::to_string(out) + ", " +
                    std::to_string(matrices) + "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  if (has(name + ".bias")) result.bias = vector(name + ".bias", out, matrices);
  if (has(name + ".scale")) result.scale = vector(name + ".scale", matrices);
  return result;
}

spec::MixtureOfExperts FamilyReader::experts(std::int64_t layer,
                                             const ExpertOptions& options) const {
  spec::MixtureOfExperts moe;
  moe.experts = integer_in("expert_count", 1, compute::kMaxExperts);
  moe.used = integer_in("expert_used_count", 1, moe.experts);
  moe.width = checked_size(key("expert_feed_forward_length"), options.width, 1, kMaxSize);
  moe.gated = options.gated;
  moe.gating = options.gating;
  moe.router = linear(layer_name(layer, "ffn_gate_inp"), width_, moe.experts);
  const std::string bias = layer_name(layer, options.selection_bias);
  if (has(bias)) moe.selection_bias = vector(bias, moe.experts);

  spec::Routing& routing = moe.routing;
  routing.gate = options.gate;
  if (options.gate_from_file) {
    const std::int64_t function = integer_in("expert_gating_func", 0, 4, 0);
    if (function > 0) routing.gate = static_cast<spec::RouterGate>(function - 1);
  }
  routing.normalise = options.normalise.value_or(boolean("expert_weights_norm").value_or(false));
  const double scale = number_or("expert_weights_scale", 0);
  routing.scale = scale == 0 ? 1.0F : static_cast<float>(scale);
  routing.groups = static_cast<std::int32_t>(integer_in("expert_group_count", 0, moe.experts, 0));
  if (routing.groups > 1) {
    routing.groups_used =
        static_cast<std::int32_t>(integer_in("expert_group_used_count", 1, routing.groups));
    if (moe.experts % routing.groups != 0) {
      throw_bad_key(key("expert_group_count"), "does not divide the number of experts");
    }
    if (moe.used > moe.experts / routing.groups * routing.groups_used) {
      throw_bad_key(key("expert_used_count"), "is more than the groups used have");
    }
  } else {
    routing.groups = 1;
  }

  if (!options.gated) {
    moe.up = stack(layer_name(layer, "ffn_up_exps"), width_, moe.width, moe.experts);
  } else if (has(layer_name(layer, "ffn_gate_up_exps.weight"))) {
    moe.gate_up = stack(layer_name(layer, "ffn_gate_up_exps"), width_, 2 * moe.width, moe.experts);
  } else {
    moe.gate = stack(layer_name(layer, "ffn_gate_exps"), width_, moe.width, moe.experts);
    moe.up = stack(layer_name(layer, "ffn_up_exps"), width_, moe.width, moe.experts);
  }
  moe.down = stack(layer_name(layer, "ffn_down_exps"), moe.width, width_, moe.experts);

  if (options.shared_width > 0) {
    FeedForward shared;
    shared.width =
        checked_size(key("expert_shared_feed_forward_length"), options.shared_width, 1, kMaxSize);
    shared.gated = options.gated;
    shared.gating = options.gating;
    if (options.gated) {
      shared.gate = linear(layer_name(layer, "ffn_gate_shexp"), width_, shared.width);
    }
    shared.up = linear(layer_name(layer, "ffn_up_shexp"), width_, shared.width);
    shared.down = linear(layer_name(layer, "ffn_down_shexp"), shared.width, width_);
    moe.shared = std::move(shared);
    if (has(layer_name(layer, "ffn_gate_inp_shexp.weight"))) {
      moe.shared_gate = linear(layer_name(layer, "ffn_gate_inp_shexp"), width_, 1);
    }
  }
  return moe;
}

Layer FamilyReader::sequential_layer(std::int64_t layer, NormKind kind, spec::Body mixer,
                                     spec::Body feed_forward) const {
  Layer result;
  result.sublayers.push_back(
      {norm(kind, layer, "attn_norm"), {Branch{{}, std::move(mixer), {}}}, {}});
  result.sublayers.push_back(
      {norm(kind, layer, "ffn_norm"), {Branch{{}, std::move(feed_forward), {}}}, {}});
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
