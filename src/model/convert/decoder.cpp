#include "model/convert/decoder.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "support/error.h"

namespace hearth::model::convert {
namespace {

std::optional<std::int64_t> fallback_of(std::int64_t value) {
  return value < 0 ? std::nullopt : std::optional(value);
}

float plus_one(float value) { return value + 1.0F; }

constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxExperts = 65536;

}  // namespace

std::string find_prefix(const Conversion& conversion) {
  for (const char* prefix : {"model.", "model.language_model.", "language_model.model.", ""}) {
    if (conversion.has(std::string(prefix) + "embed_tokens.weight")) return prefix;
  }
  return "model.";
}

Decoder::Decoder(Conversion& conversion, const DecoderDefaults& defaults, DecoderStyle style)
    : conversion_(&conversion),
      defaults_(defaults),
      style_(style),
      prefix_(find_prefix(conversion)) {
  const Config& config = conversion.config();
  width = config.integer("hidden_size");
  layers = config.integer("num_hidden_layers");
  heads = config.integer("num_attention_heads", fallback_of(defaults.heads));
  kv_heads =
      config.integer("num_key_value_heads", defaults.kv_heads < 0 ? heads : defaults.kv_heads);
  if (width < 1 || heads < 1 || kv_heads < 1 || heads % kv_heads != 0)
    config.fail("num_key_value_heads", "does not divide num_attention_heads");
  if (layers < 1 || layers > kMaxLayers) config.fail("num_hidden_layers", "is out of range");
  head_size =
      config.integer("head_dim", defaults.head_size < 0 ? width / heads : defaults.head_size);
  if (head_size < 1) config.fail("head_dim", "is out of range");
  feed_forward = config.integer("intermediate_size", 0);
  const std::string embedding = prefix_ + "embed_tokens.weight";
  vocabulary = conversion.shape(embedding).empty() ? 0 : conversion.shape(embedding)[0];

  conversion.set_size("block_count", layers);
  conversion.set_size("context_length",
                      config.integer("max_position_embeddings", fallback_of(defaults.context)));
  conversion.set_size("embedding_length", width);
  if (feed_forward > 0) conversion.set_size("feed_forward_length", feed_forward);
  conversion.set_size("attention.head_count", heads);
  conversion.set_size("attention.head_count_kv", kv_heads);
  const std::string_view epsilon = config.has("norm_eps") ? "norm_eps" : "rms_norm_eps";
  conversion.set_number(
      "attention.layer_norm_rms_epsilon",
      config.number(epsilon,
                    defaults.epsilon < 0 ? std::nullopt : std::optional(defaults.epsilon)));
}

void Decoder::write_head_sizes() const {
  conversion_->set_size("attention.key_length", head_size);
  conversion_->set_size("attention.value_length", head_size);
}

void Decoder::write_vocabulary_size() const { conversion_->set_size("vocab_size", vocabulary); }

void Decoder::write_rotated(std::int64_t rotated) const {
  conversion_->set_size("rope.dimension_count", rotated);
}

std::int64_t Decoder::rotated_size(double default_factor) const {
  const double factor = rope_parameters().number(
      "partial_rotary_factor", config().number("partial_rotary_factor", default_factor));
  if (factor <= 0 || factor > 1) config().fail("partial_rotary_factor", "is not in (0, 1]");
  return static_cast<std::int64_t>(static_cast<double>(head_size) * factor);
}

Config Decoder::rope_parameters() const {
  // Since transformers 5 one object holds base and scaling; before, rope_scaling held the scaling.
  const Config parameters =
      config().object(config().has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  return parameters.has("full_attention") ? parameters.object("full_attention") : parameters;
}

void Decoder::write_rope(std::int64_t rotated) const {
  const Config parameters = rope_parameters();
  const bool given = parameters.has("rope_theta") || config().has("rope_theta");
  const double base =
      parameters.number("rope_theta", config().number("rope_theta", defaults_.rope_base));
  if (base <= 1) config().fail("rope_theta", "is not larger than 1");
  if (given || defaults_.rope_base != 10000) conversion_->set_number("rope.freq_base", base);

  const std::string type =
      parameters.string("rope_type", parameters.string("type", std::string("default")));
  if (type == "default" || type == "mrope") return;
  if (type == "llama3" || type == "longrope" || type == "su") {
    return add_rope_factors(parameters, rotated);
  }
  if (type != "linear" && type != "yarn") {
    throw Error(fmt::format("{}: RoPE scaling of type '{}' cannot be converted", config().where(),
                            printable(type)),
                "known are linear, yarn, llama3 and longrope");
  }
  const double factor = parameters.number("factor");
  if (factor <= 0) parameters.fail("factor", "is not positive");
  conversion_->set_text("rope.scaling.type", type);
  conversion_->set_number("rope.scaling.factor", factor);
  if (type == "yarn") write_yarn(parameters, factor);
}

// YaRN (arXiv 2309.00071). Readers derive the gain 0.1 ln f + 1 themselves; what a checkpoint says
// otherwise goes into attn_factor, a further factor (reference: blocks.md section 2.2).
void Decoder::write_yarn(const Config& parameters, double factor) const {
  conversion_->set_size("rope.scaling.original_context_length",
                        parameters.integer("original_max_position_embeddings",
                                           config().integer("max_position_embeddings", 0)));
  const double fast = parameters.number("beta_fast", 32), slow = parameters.number("beta_slow", 1);
  const double all = parameters.number("mscale_all_dim", 0);
  const double own = parameters.number("mscale", all);
  const bool latent = conversion_->architecture() == "deepseek2";
  const bool mistral = conversion_->architecture() == "mistral3";
  const double logarithm = factor <= 1 ? 0 : 0.1 * std::log(factor);
  if (mistral) {
    conversion_->set_number("rope.scaling.yarn_beta_fast", fast);
    conversion_->set_number("rope.scaling.yarn_beta_slow", slow);
  } else if (fast != 32 || slow != 1) {
    throw Error(fmt::format("{}: YaRN with beta_fast {} and beta_slow {} cannot be expressed for "
                            "architecture '{}'",
                            config().where(), fast, slow, conversion_->architecture()),
                "only 32 and 1 can");
  }
  if (all != 0 && (latent || mistral)) {
    conversion_->set_number("rope.scaling.yarn_log_multiplier", latent ? 0.1 * all : all);
    if (own == all) return;
    if (latent) {
      throw Error(fmt::format("{}: YaRN with mscale {} and mscale_all_dim {} cannot be expressed",
                              config().where(), own, all),
                  "only equal ones can");
    }
    // The reader divides gain(1) by gain(all); the checkpoint wants gain(mscale) there.
    conversion_->set_number("rope.scaling.attn_factor", (own * logarithm + 1) / (logarithm + 1));
  } else if (parameters.has("attention_factor")) {
    conversion_->set_number("rope.scaling.attn_factor",
                            parameters.number("attention_factor") / (logarithm + 1));
  } else if (parameters.has("mscale") && all != 0) {
    conversion_->set_number("rope.scaling.attn_factor",
                            (own * logarithm + 1) / (all * logarithm + 1) / (logarithm + 1));
  }
}

namespace {

/// Llama 3.1: wavelengths beyond the original context are stretched by `factor`, short ones stay,
/// and those between change smoothly.
std::vector<float> llama3_factors(const Config& parameters, std::int64_t rotated, double base) {
  const double factor = parameters.number("factor", 8);
  const double low = parameters.number("low_freq_factor", 1);
  const double high = parameters.number("high_freq_factor", 4);
  const auto original = static_cast<double>(
      parameters.integer("original_max_position_embeddings", std::int64_t{8192}));
  if (factor <= 0 || low <= 0 || high <= low)
    parameters.fail("high_freq_factor", "is not larger than low_freq_factor");
  std::vector<float> factors;
  for (std::int64_t i = 0; i < rotated / 2; ++i) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(base, 2 * static_cast<double>(i) / static_cast<double>(rotated));
    double result = 1;
    if (wavelength > original / low) {
      result = factor;
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      result = 1 / ((1 - smooth) / factor + smooth);
    }
    factors.push_back(static_cast<float>(result));
  }
  return factors;
}

}  // namespace

void Decoder::add_rope_factors(const Config& parameters, std::int64_t rotated) const {
  const std::string type =
      parameters.string("rope_type", parameters.string("type", std::string("default")));
  const auto add = [&](const std::string& name, std::vector<float> values) {
    conversion_->add_vector(name, column_of(std::move(values)));
  };
  if (type == "llama3") {
    const double base =
        parameters.number("rope_theta", config().number("rope_theta", defaults_.rope_base));
    return add("rope_freqs.weight", llama3_factors(parameters, rotated, base));
  }
  const auto context = static_cast<double>(config().integer("max_position_embeddings"));
  const std::int64_t original = config().integer(
      "original_max_position_embeddings",
      parameters.integer("original_max_position_embeddings", static_cast<std::int64_t>(context)));
  if (original < 2) config().fail("original_max_position_embeddings", "is out of range");
  conversion_->set_size("rope.scaling.original_context_length", original);
  const double stretch = context / static_cast<double>(original);
  const double derived =
      stretch <= 1 ? 1 : std::sqrt(1 + std::log(stretch) / std::log(static_cast<double>(original)));
  conversion_->set_number("rope.scaling.attn_factor",
                          parameters.number("attention_factor", derived));
  for (const char* kind : {"long", "short"}) {
    const std::vector<double> values = parameters.numbers(std::string(kind) + "_factor");
    if (static_cast<std::int64_t>(values.size()) != rotated / 2) {
      parameters.fail(std::string(kind) + "_factor",
                      fmt::format("has {} values where {} are needed", values.size(), rotated / 2));
    }
    add(fmt::format("rope_factors_{}.weight", kind), {values.begin(), values.end()});
  }
}

void Decoder::write_window(std::int64_t period) const {
  const std::int64_t window = config().integer("sliding_window", std::int64_t{0});
  if (window == 0) return;
  conversion_->set_size("attention.sliding_window", window);
  std::int64_t given = config().integer(
      "sliding_window_pattern", config().integer("_sliding_window_pattern", std::int64_t{0}));
  const std::vector<std::string> types = config().strings("layer_types");
  if (!types.empty()) {
    if (static_cast<std::int64_t>(types.size()) < layers)
      config().fail("layer_types", "has fewer entries than the model has layers");
    const auto is_full = [&](std::int64_t layer) {
      return types[static_cast<std::size_t>(layer)] == "full_attention";
    };
    given = 1;
    while (given <= layers && !is_full(given - 1)) ++given;
    if (given > layers) given = layers < period ? period : 0;  // no full layer: period 0
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      if (given != 0 && is_full(layer) != ((layer + 1) % given == 0)) {
        config().fail("layer_types", "does not repeat regularly, which GGUF files cannot express");
      }
    }
  }
  if (given != period && (given != 0 || !types.empty()))
    conversion_->set_size("attention.sliding_window_pattern", given);
}

void Decoder::require_activation(std::string_view name) const {
  const std::string_view key =
      config().has("hidden_activation") ? "hidden_activation" : "hidden_act";
  const std::string given = config().string(key, std::string(name));
  if (given == name || (name == "silu" && given == "swish")) return;
  config().fail(key, fmt::format("is '{}', but models of type '{}' use '{}'", printable(given),
                                 conversion_->architecture(), name));
}

std::string Decoder::source(std::int64_t layer, std::string_view from) const {
  if (layer >= layers && !extra_prefix_.empty())
    return fmt::format("{}{}.{}", extra_prefix_, layer - layers, from);
  return fmt::format("{}layers.{}.{}", prefix_, layer, from);
}

std::string Decoder::target(std::int64_t layer, std::string_view to) {
  return fmt::format("blk.{}.{}", layer, to);
}

void Decoder::add_embeddings(std::string_view norm, std::string_view norm_target) {
  conversion_->add_embedding_table(
      conversion_->matrix(prefix_ + "embed_tokens.weight", vocabulary, width));
  add_norm(std::string(norm_target), prefix_ + std::string(norm), width);
  std::string head = "lm_head";
  if (prefix_ == "language_model.model.") head = "language_model.lm_head";
  const bool tied =
      config().boolean("tie_word_embeddings", config().boolean("tie_embedding", false));
  const bool said = config().has("tie_word_embeddings") || config().has("tie_embedding");
  if (tied) {
    conversion_->ignore_prefix(head + ".");  // some checkpoints store the same numbers again
  } else if (said || conversion_->has(head + ".weight")) {
    conversion_->add_matrix("output.weight",
                            conversion_->matrix(head + ".weight", vocabulary, width));
    if (conversion_->has(head + ".bias"))
      conversion_->add_vector("output.bias", conversion_->vector(head + ".bias", vocabulary));
  }
}

void Decoder::add_norm(const std::string& to, const std::string& from, std::int64_t size) const {
  Matrix weight = conversion_->vector(from + ".weight", size);
  if (style_.shifted_norms) weight = mapped(std::move(weight), plus_one);
  conversion_->add_vector(to + ".weight", std::move(weight));
}

void Decoder::add_linear(std::int64_t layer, std::string_view to, std::string_view from,
                         std::int64_t in, std::int64_t out, Precision precision) const {
  const std::string name = source(layer, from);
  conversion_->add_matrix(target(layer, to) + ".weight",
                          conversion_->matrix(name + ".weight", out, in), precision);
  if (conversion_->has(name + ".bias"))
    conversion_->add_vector(target(layer, to) + ".bias", conversion_->vector(name + ".bias", out));
}

Matrix Decoder::in_rope_order(Matrix matrix, std::int64_t head_count) const {
  if (!style_.permute_rope) return matrix;
  const std::int64_t size = matrix.rows / head_count;
  if (size % 2 != 0) config().fail("head_dim", "is odd");
  return with_rows(std::move(matrix),
                   [size](std::int64_t row) { return rope_source_row(row, size); });
}

void Decoder::add_qkv(std::int64_t layer, std::string_view attention) const {
  const auto add = [&](const char* to, const char* from, std::int64_t head_count, bool turned) {
    const std::string name = source(layer, fmt::format("{}.{}", attention, from));
    const std::int64_t rows = head_count * head_size;
    const auto ordered = [&](Matrix matrix) {
      return turned ? in_rope_order(std::move(matrix), head_count) : std::move(matrix);
    };
    conversion_->add_matrix(target(layer, to) + ".weight",
                            ordered(conversion_->matrix(name + ".weight", rows, width)));
    if (conversion_->has(name + ".bias")) {
      conversion_->add_vector(target(layer, to) + ".bias",
                              ordered(conversion_->vector(name + ".bias", rows)));
    }
  };
  add("attn_q", "q_proj", heads, true);
  add("attn_k", "k_proj", kv_heads, true);
  add("attn_v", "v_proj", kv_heads, false);
}

void Decoder::add_qk_norms(std::int64_t layer, std::string_view q, std::string_view k) const {
  add_norm(target(layer, "attn_q_norm"), source(layer, q), head_size);
  add_norm(target(layer, "attn_k_norm"), source(layer, k), head_size);
}

void Decoder::add_attention(std::int64_t layer) const {
  add_qkv(layer);
  add_linear(layer, "attn_output", "self_attn.o_proj", heads * head_size, width);
}

void Decoder::add_feed_forward(std::int64_t layer, std::int64_t inner, std::string_view suffix,
                               std::string_view from) const {
  const auto add = [&](const char* part, std::int64_t in, std::int64_t out) {
    add_linear(layer, fmt::format("ffn_{}{}", part, suffix), fmt::format("{}.{}_proj", from, part),
               in, out);
  };
  add("gate", width, inner);
  add("up", width, inner);
  add("down", inner, width);
}

void Decoder::add_experts(std::int64_t layer, std::string_view from, std::int64_t count,
                          std::int64_t inner, const ExpertNames& names) const {
  if (count < 1 || count > kMaxExperts)
    throw Error(fmt::format("{}: the number of experts is out of range", config().where()));
  const auto add = [&](const char* to, std::string_view name, std::int64_t in, std::int64_t out) {
    std::vector<Matrix> experts;
    for (std::int64_t expert = 0; expert < count; ++expert) {
      experts.push_back(conversion_->matrix(
          source(layer, fmt::format("{}.{}.{}.weight", from, expert, name)), out, in));
    }
    conversion_->add(target(layer, to) + ".weight", {in, out, count}, stacked(std::move(experts)),
                     Precision::kChosen);
  };
  add("ffn_gate_exps", names.gate, width, inner);
  add("ffn_up_exps", names.up, width, inner);
  add("ffn_down_exps", names.down, inner, width);
}

}  // namespace hearth::model::convert
