#include "model/quantize/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <tuple>

#include "quant/quant.h"
#include "support/error.h"

namespace hearth::model::quantize {
namespace {

using tensor::DType;

enum class Category {
  kOther,
  kOutput,
  kEmbedding,
  kValue,
  kKey,
  kQuery,
  kAttentionOutput,
  kUp,
  kGate,
  kDown
};

Category category_of(std::string_view name) {
  if (name == "output.weight") return Category::kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight")
    return Category::kEmbedding;
  // Suffixes: also the attention of an encoder and across to it.
  if (name.ends_with("attn_v.weight") || name.ends_with("attn_qkv.weight") ||
      name.ends_with("attn_kv_b.weight"))
    return Category::kValue;
  if (name.ends_with("attn_k.weight")) return Category::kKey;
  if (name.ends_with("attn_q.weight")) return Category::kQuery;
  if (name.ends_with("attn_output.weight")) return Category::kAttentionOutput;
  const auto has = [name](std::string_view part) { return name.find(part) != name.npos; };
  if (has("ffn_up")) return Category::kUp;
  if (has("ffn_gate")) return Category::kGate;
  if (has("ffn_down")) return Category::kDown;
  return Category::kOther;
}

/// Where a tensor is: "enc.", 3 of "enc.blk.3.attn_q.weight". -1 outside of layers.
struct Place {
  std::string_view prefix;
  std::int64_t layer = -1;
};

Place place_of(std::string_view name) {
  const std::size_t found = name.find("blk.");
  if (found == name.npos || (found != 0 && name[found - 1] != '.')) return {};
  Place place{name.substr(0, found), -1};
  const std::string_view number = name.substr(found + 4);
  std::int64_t layer = -1;
  const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), layer);
  if (problem == std::errc() && layer >= 0 && end != number.data() + number.size() && *end == '.')
    place.layer = layer;
  return place;
}

/// Indices of the tensors in the order of layers: files may hold them in any.
std::vector<std::size_t> in_layer_order(std::span<const gguf::TensorInfo> tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key = [&](std::size_t index) {
    const std::string_view name = tensors[index].name;
    const Place place = place_of(name);
    return std::tuple(place.prefix, place.layer, name);
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  return order;
}

bool fits(DType type, std::int64_t columns) {
  return columns % tensor::info(type).block_elements == 0;
}

/// The next best for rows that are not whole blocks of `type` (section 5).
DType replacement(DType type) {
  using enum DType;
  switch (type) {
    case kIQ1_S:
    case kIQ1_M:
    case kIQ2_XXS:
    case kIQ2_XS:
    case kIQ2_S:
    case kIQ3_XXS:
    case kIQ3_S:
    case kIQ4_XS:
      return kIQ4_NL;
    case kQ2_0:
    case kQ2_K:
    case kQ3_K:
    case kTQ1_0:
    case kTQ2_0:
      return kQ4_0;
    case kQ4_K:
      return kQ5_0;
    case kQ5_K:
      return kQ5_1;
    case kQ6_K:
      return kQ8_0;
    default:
      return kF16;
  }
}

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

bool is_routed_expert(std::string_view name) { return name.ends_with("_exps.weight"); }

/// A tensor as the rules see it.
struct Subject {
  std::string_view name;
  Category category = Category::kOther;
  std::int64_t columns = 0;
  std::int64_t matrices = 1;
  std::int64_t index = 0;  // within its category; the layer in models with experts
  std::int64_t layer = -1;
};

/// The rules of section 4 for one file type and model. Every function returns the type of one kind
/// of tensor; base_ is what no rule changes.
class Rules {
 public:
  Rules(const ModelShape& model, const Recipe& recipe, bool tied, std::int64_t values)
      : file_(recipe.type),
        base_(info(recipe.type).base),
        with_importance_(recipe.with_importance),
        model_(model),
        tied_(tied),
        falcon_(model.architecture == "falcon"),
        eight_experts_(model.experts == 8),
        wide_groups_(model.kv_heads > 0 && model.heads / model.kv_heads >= 4),
        values_(values) {}

  [[nodiscard]] DType choose(const Subject& tensor) const {
    if (is_float(base_)) return base_;
    const Category category = tensor.category;
    if (category == Category::kOutput || (category == Category::kEmbedding && tied_))
      return output(tensor);
    if (file_ == FileType::kMXFP4_MOE) return tensor.matrices > 1 ? DType::kMXFP4 : DType::kQ8_0;
    if (category == Category::kEmbedding) return embedding();
    if (is({FileType::kIQ1_S, FileType::kIQ1_M}) || is_2_bit_codebook()) return low_bits(tensor);
    switch (category) {
      case Category::kValue:
        return value(tensor.index);
      case Category::kKey:
        if (eight_experts_) return DType::kQ8_0;
        return key_or_query();
      case Category::kQuery:
        return key_or_query();
      case Category::kDown:
        return down(tensor.index);
      case Category::kAttentionOutput:
        return attention_output();
      case Category::kUp:
      case Category::kGate:
        return up_or_gate(tensor.index);
      default:
        return base_;
    }
  }

 private:
  [[nodiscard]] bool is(std::initializer_list<FileType> types) const {
    return std::find(types.begin(), types.end(), file_) != types.end();
  }
  [[nodiscard]] bool is_2_bit_codebook() const {
    return is({FileType::kIQ2_XXS, FileType::kIQ2_XS, FileType::kIQ2_S, FileType::kIQ2_M});
  }
  /// The larger two of them.
  [[nodiscard]] bool is_2_5_bit() const { return is({FileType::kIQ2_S, FileType::kIQ2_M}); }
  /// The layers that get more bits: the first and last eighth, and every third between.
  [[nodiscard]] static bool more(std::int64_t i, std::int64_t n) {
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
  }
  [[nodiscard]] bool first_eighth(std::int64_t i) const { return i < model_.layers / 8; }

  /// Rule 1.
  [[nodiscard]] DType output(const Subject& tensor) const {
    if (file_ == FileType::kMXFP4_MOE || falcon_ || !fits(base_, tensor.columns))
      return DType::kQ8_0;
    if (is({FileType::kIQ1_S, FileType::kIQ1_M, FileType::kIQ3_XXS}) || is_2_bit_codebook())
      return DType::kQ5_K;
    return base_ == DType::kQ8_0 ? base_ : DType::kQ6_K;
  }

  /// Rule 3.
  [[nodiscard]] DType embedding() const {
    if (is({FileType::kIQ2_XXS, FileType::kIQ2_XS, FileType::kIQ1_S, FileType::kIQ1_M}))
      return DType::kQ2_K;
    if (is({FileType::kIQ2_S, FileType::kIQ2_M, FileType::kIQ3_XXS})) return DType::kIQ3_S;
    if (is({FileType::kTQ1_0, FileType::kTQ2_0, FileType::kQ2_0})) return DType::kQ4_K;
    return base_;
  }

  /// Rule 4: files of IQ1_* and IQ2_*.
  [[nodiscard]] DType low_bits(const Subject& tensor) const {
    const DType better = is_2_5_bit() ? DType::kIQ3_S : DType::kQ2_K;
    switch (tensor.category) {
      case Category::kValue:
        return wide_groups_ || model_.experts >= 4 ? DType::kQ4_K : better;
      case Category::kKey:
        return eight_experts_ ? DType::kQ4_K : base_;
      case Category::kDown:
        return first_eighth(tensor.index) ? better : base_;
      case Category::kAttentionOutput:
        if (eight_experts_) return DType::kQ5_K;
        if (is({FileType::kIQ1_S, FileType::kIQ1_M})) return DType::kIQ2_XXS;
        return is_2_5_bit() ? DType::kIQ3_S : base_;
      default:
        return base_;
    }
  }

  /// Rule 5.
  [[nodiscard]] DType value(std::int64_t i) const {
    if (eight_experts_) return DType::kQ8_0;
    const DType type = value_of_file(i);
    // Llama 70B has eight query heads for each value head: its values are small and count much.
    const bool llama_70b =
        model_.architecture == "llama" && model_.layers == 80 && model_.heads > model_.kv_heads;
    return llama_70b && (type == DType::kQ3_K || type == DType::kQ4_K) ? DType::kQ5_K : type;
  }

  [[nodiscard]] DType value_of_file(std::int64_t i) const {
    switch (file_) {
      case FileType::kQ2_K:
        return wide_groups_ ? DType::kQ4_K : DType::kQ3_K;
      case FileType::kIQ3_XXS:
        if (wide_groups_) return DType::kQ4_K;
        return with_importance_ ? DType::kIQ3_XXS : DType::kIQ3_S;
      case FileType::kQ2_K_S:
      case FileType::kIQ3_XS:
      case FileType::kIQ3_S:
        return wide_groups_ ? DType::kQ4_K : base_;
      case FileType::kIQ3_M:
        return DType::kQ4_K;
      case FileType::kQ3_K_M:
        return i < 2 ? DType::kQ5_K : DType::kQ4_K;
      case FileType::kQ3_K_L:
        return DType::kQ5_K;
      case FileType::kIQ4_NL:
      case FileType::kIQ4_XS:
        return wide_groups_ ? DType::kQ5_K : base_;
      case FileType::kQ4_K_M:
      case FileType::kQ5_K_M:
        return more(i, values_) ? DType::kQ6_K : base_;
      case FileType::kQ4_K_S:
        return i < 4 ? DType::kQ5_K : base_;
      default:
        return base_;
    }
  }

  /// Rule 6.
  [[nodiscard]] DType key_or_query() const {
    if (file_ == FileType::kIQ3_XS) return DType::kIQ3_XXS;
    if (file_ == FileType::kIQ3_XXS) return DType::kIQ2_S;
    return base_;
  }

  /// Rule 7.
  [[nodiscard]] DType down(std::int64_t i) const {
    const std::int64_t n = model_.layers;
    switch (file_) {
      case FileType::kQ2_K:
        return DType::kQ3_K;
      case FileType::kQ2_K_S:
        return first_eighth(i) ? DType::kQ4_K : base_;
      case FileType::kIQ3_XXS:
        if (with_importance_) return base_;
        return first_eighth(i) ? DType::kQ4_K : DType::kQ3_K;
      case FileType::kQ3_K_M:
        if (i < n / 16) return DType::kQ5_K;
        return !falcon_ || more(i, n) ? DType::kQ4_K : DType::kQ3_K;
      case FileType::kIQ3_M:
        return first_eighth(i) || (eight_experts_ && more(i, n)) ? DType::kQ4_K : base_;
      case FileType::kQ3_K_L:
        return falcon_ ? DType::kQ4_K : DType::kQ5_K;
      case FileType::kQ4_K_M:
        if (falcon_ && i >= n / 16) return more(i, n) ? DType::kQ5_K : DType::kQ4_K;
        return falcon_ || more(i, n) ? DType::kQ6_K : base_;
      case FileType::kIQ4_NL:
      case FileType::kIQ4_XS:
        return !with_importance_ && first_eighth(i) ? DType::kQ5_K : base_;
      case FileType::kQ5_K_M:
        return more(i, n) ? DType::kQ6_K : base_;
      case FileType::kQ4_K_S:
        return !falcon_ && first_eighth(i) ? DType::kQ5_K : base_;
      case FileType::kQ4_0:
        return with_importance_ && first_eighth(i) ? DType::kQ4_1 : base_;
      case FileType::kQ5_0:
        return with_importance_ && first_eighth(i) ? DType::kQ5_1 : base_;
      default:
        return base_;
    }
  }

  /// Rule 8.
  [[nodiscard]] DType attention_output() const {
    if (falcon_) return file_ == FileType::kQ3_K_L ? DType::kQ4_K : base_;
    if (eight_experts_ &&
        is({FileType::kQ2_K, FileType::kQ3_K_S, FileType::kQ3_K_M, FileType::kQ4_K_S,
            FileType::kQ4_K_M, FileType::kIQ3_XXS, FileType::kIQ3_XS, FileType::kIQ3_S,
            FileType::kIQ3_M, FileType::kIQ4_NL, FileType::kIQ4_XS}))
      return DType::kQ5_K;
    switch (file_) {
      case FileType::kQ2_K:
        return DType::kQ3_K;
      case FileType::kIQ3_XXS:
        return DType::kIQ3_S;
      case FileType::kQ3_K_M:
      case FileType::kIQ3_M:
        return DType::kQ4_K;
      case FileType::kQ3_K_L:
        return DType::kQ5_K;
      default:
        return base_;
    }
  }

  /// Rule 9.
  [[nodiscard]] DType up_or_gate(std::int64_t i) const {
    const std::int64_t n = model_.layers;
    return file_ == FileType::kIQ3_XS && i >= n / 8 && i < 7 * n / 8 ? DType::kIQ3_XXS : base_;
  }

  FileType file_;
  DType base_;
  bool with_importance_;
  const ModelShape& model_;
  bool tied_;
  bool falcon_;
  bool eight_experts_;
  bool wide_groups_;     // four or more query heads share a value head
  std::int64_t values_;  // tensors of Category::kValue
};

/// Our own mix. Routed experts are nearly all of a large model's bytes, and each is used seldom: it
/// is they that go to two bits, the way down a little higher, since errors there reach the residual
/// stream unweighted by a gate. What every token passes stays at eight bits, and the first and last
/// layers with experts get a bit more.
class ExpertRules {
 public:
  ExpertRules(std::span<const gguf::TensorInfo> tensors, bool with_importance)
      : with_importance_(with_importance) {
    std::vector<std::int64_t> layers;
    for (const gguf::TensorInfo& tensor : tensors) {
      if (is_routed_expert(tensor.name)) layers.push_back(place_of(tensor.name).layer);
    }
    std::sort(layers.begin(), layers.end());
    layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
    if (layers.empty()) {
      throw Error("the model has no routed experts, which Q2_EXPERTS is for",
                  "choose another type, Q4_K_M say", ExitCode::kUsage);
    }
    const std::size_t ends = std::max<std::size_t>(1, layers.size() / 16);
    first_ = layers[ends - 1];
    last_ = layers[layers.size() - ends];
  }

  [[nodiscard]] DType choose(const Subject& tensor) const {
    if (!is_routed_expert(tensor.name)) return DType::kQ8_0;
    const bool end = tensor.layer <= first_ || tensor.layer >= last_;
    if (tensor.category == Category::kDown) return end ? DType::kQ3_K : DType::kQ2_K;
    if (with_importance_) return end ? DType::kIQ3_XXS : DType::kIQ2_XXS;
    return end ? DType::kQ3_K : DType::kQ2_K;
  }

 private:
  bool with_importance_;
  std::int64_t first_ = 0, last_ = 0;  // up to and from which layers get more
};

/// The tensors as subjects, in their order in the file.
std::vector<Subject> subjects_of(std::span<const gguf::TensorInfo> tensors, bool experts) {
  std::vector<Subject> subjects(tensors.size());
  std::array<std::int64_t, 16> seen{};
  for (const std::size_t at : in_layer_order(tensors)) {
    const gguf::TensorInfo& tensor = tensors[at];
    Subject& subject = subjects[at];
    subject.name = tensor.name;
    subject.category = category_of(tensor.name);
    subject.columns = tensor.shape[0];
    subject.matrices = tensor.shape[2];
    subject.layer = place_of(tensor.name).layer;
    subject.index = seen[static_cast<std::size_t>(subject.category)]++;
    // A layer with experts may have several tensors of a kind. Values are counted one by one: n is
    // their number then, not that of layers.
    if (experts && subject.layer >= 0 && subject.category != Category::kValue)
      subject.index = subject.layer;
  }
  return subjects;
}

/// Whether `text` is `pattern`, where `*` stands for any text.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = pattern.npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {  // let the last star take one character more
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Throws Error unless every override changes something.
void check_overrides(std::span<const gguf::TensorInfo> tensors,
                     const std::vector<TypeOverride>& overrides) {
  for (const TypeOverride& entry : overrides) {
    bool known = false, changes = false;
    for (const gguf::TensorInfo& tensor : tensors) {
      if (!pattern_matches(entry.pattern, tensor.name)) continue;
      known = true;
      changes = changes || quantizable(tensor);
    }
    if (changes) continue;
    throw Error(fmt::format("--tensor-type: {} '{}'",
                            known ? "no weights of another type are possible for"
                                  : "the model has no tensor called",
                            printable(entry.pattern)),
                known ? "norms, routers, convolutions and the like keep the type they have"
                      : "hearth inspect --tensors lists them; * stands for any text",
                ExitCode::kUsage);
  }
}

const TypeOverride* override_of(std::string_view name, const std::vector<TypeOverride>& overrides) {
  const auto found = std::find_if(
      overrides.rbegin(), overrides.rend(),
      [name](const TypeOverride& entry) { return pattern_matches(entry.pattern, name); });
  return found == overrides.rend() ? nullptr : &*found;
}

/// Section 6.
bool requires_importance(DType type, const Subject& tensor, FileType file) {
  if (tensor.category == Category::kOutput || tensor.category == Category::kEmbedding) return false;
  return quant::needs_importance(type) || (type == DType::kQ2_K && file == FileType::kQ2_K_S);
}

/// `heads` or its value for the first layer where it is not 0.
std::int64_t first_positive(const gguf::Metadata& metadata, const std::string& key) {
  const auto values = metadata.get_ints(key);
  if (!values) return 0;
  const auto found =
      std::find_if(values->begin(), values->end(), [](std::int64_t value) { return value > 0; });
  return found == values->end() ? 0 : *found;
}

}  // namespace

ModelShape model_shape(const gguf::Metadata& metadata) {
  ModelShape shape;
  shape.architecture = metadata.get_string("general.architecture").value_or("");
  const std::string prefix = shape.architecture + ".";
  constexpr std::int64_t kMost = 1 << 24;
  const auto size = [&](const char* key) {
    return std::clamp<std::int64_t>(first_positive(metadata, prefix + key), 0, kMost);
  };
  shape.layers = size("block_count");
  shape.heads = size("attention.head_count");
  shape.kv_heads = size("attention.head_count_kv");
  if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
  shape.experts = size("expert_count");
  return shape;
}

TypeOverride parse_type_override(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  const auto refuse = [&](const std::string& why) {
    throw Error(fmt::format("--tensor-type {}: {}", printable(text), why),
                "write PATTERN=TYPE, ffn_down=Q6_K say", ExitCode::kUsage);
  };
  if (equals == text.npos || equals == 0) refuse("it is not PATTERN=TYPE");
  TypeOverride result{std::string(text.substr(0, equals)), std::nullopt};
  const std::string_view type = text.substr(equals + 1);
  if (type == "copy" || type == "COPY") return result;
  result.type = tensor::dtype_from_name(type);
  if (!result.type || !quant::can_encode(*result.type))
    refuse(fmt::format("'{}' is not a type that can be made", printable(type)));
  return result;
}

bool pattern_matches(std::string_view pattern, std::string_view name) noexcept {
  for (std::size_t begin = 0; begin < name.size(); ++begin) {
    if (begin != 0 && name[begin - 1] != '.') continue;
    for (std::size_t end = name.size(); end > begin; --end) {
      const bool whole_parts = end == name.size() || name[end] == '.';
      if (whole_parts && glob_matches(pattern, name.substr(begin, end - begin))) return true;
    }
  }
  return false;
}

bool quantizable(const gguf::TensorInfo& tensor) noexcept {
  const std::string_view name = tensor.name;
  if (!is_float(tensor.dtype) && !tensor::info(tensor.dtype).quantized) return false;
  if (!quant::can_decode(tensor.dtype) || !name.ends_with("weight")) return false;
  if (tensor.shape[1] * tensor.shape[2] * tensor.shape[3] == 1) return false;
  constexpr std::string_view kParts[] = {
      "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel",
      "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
      "indexer.q_proj.weight", "attn_rel_b.weight", "position_embd", "token_types.weight",
      // images and sound
      "patch_embd", "codebook",
      // RWKV
      "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
      "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight",
      "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight",
      "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight"};
  return std::none_of(std::begin(kParts), std::end(kParts),
                      [name](std::string_view part) { return name.find(part) != name.npos; });
}

std::vector<TypeChoice> choose_types(const ModelShape& model,
                                     std::span<const gguf::TensorInfo> tensors,
                                     const Recipe& recipe) {
  if (recipe.pure && (recipe.type == FileType::kQ2_EXPERTS || recipe.type == FileType::kCopy)) {
    throw Error(fmt::format("--pure asks for one type, which {} is not", info(recipe.type).name),
                "leave it out", ExitCode::kUsage);
  }
  check_overrides(tensors, recipe.overrides);
  const std::vector<Subject> subjects = subjects_of(tensors, model.experts > 0);
  const auto has = [&](Category category) {
    return std::count_if(subjects.begin(), subjects.end(),
                         [=](const Subject& subject) { return subject.category == category; });
  };
  const Rules rules(model, recipe, has(Category::kOutput) == 0, has(Category::kValue));
  std::optional<ExpertRules> expert_rules;
  if (recipe.type == FileType::kQ2_EXPERTS) expert_rules.emplace(tensors, recipe.with_importance);

  std::vector<TypeChoice> choices;
  choices.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const gguf::TensorInfo& tensor = tensors[i];
    TypeChoice& choice = choices.emplace_back(TypeChoice{tensor.dtype});
    if (!quantizable(tensor)) continue;
    const TypeOverride* chosen = override_of(tensor.name, recipe.overrides);
    if (chosen != nullptr ? !chosen->type : recipe.type == FileType::kCopy) continue;
    choice.type = chosen != nullptr ? *chosen->type
                  : expert_rules    ? expert_rules->choose(subjects[i])
                  : recipe.pure     ? info(recipe.type).base
                                    : rules.choose(subjects[i]);
    if (!fits(choice.type, tensor.shape[0])) {
      choice.replaced = true;
      choice.type = replacement(choice.type);
      if (!fits(choice.type, tensor.shape[0])) choice.type = DType::kF16;
    }
    choice.needs_importance =
        choice.type != tensor.dtype && requires_importance(choice.type, subjects[i], recipe.type);
  }
  return choices;
}

}  // namespace hearth::model::quantize
