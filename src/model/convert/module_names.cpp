#include "model/convert/module_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace hearth::model::convert {
namespace {

struct Family {
  std::string_view architecture;
  bool permutes;  // rows of q and k
};
constexpr std::array<Family, 14> kNamings = {{{"gemma", false},
                                              {"gemma2", false},
                                              {"gemma3", false},
                                              {"granite", true},
                                              {"lfm2", false},
                                              {"llama", true},
                                              {"mistral3", true},
                                              {"olmo2", false},
                                              {"phi3", false},
                                              {"qwen2", false},
                                              {"qwen3", false},
                                              {"qwen35", false},
                                              {"qwen3moe", false},
                                              {"smollm3", true}}};

struct Name {
  std::string_view module, tensor;
  bool turned = false;  // by RoPE
};
constexpr std::array<Name, 17> kLayerNames = {{{"self_attn.q_proj", "attn_q", true},
                                               {"self_attn.k_proj", "attn_k", true},
                                               {"self_attn.v_proj", "attn_v"},
                                               {"self_attn.o_proj", "attn_output"},
                                               {"self_attn.out_proj", "attn_output"},
                                               {"self_attn.qkv_proj", "attn_qkv"},
                                               {"mlp.gate_proj", "ffn_gate"},
                                               {"mlp.up_proj", "ffn_up"},
                                               {"mlp.down_proj", "ffn_down"},
                                               {"mlp.gate_up_proj", "ffn_up"},
                                               {"mlp.gate", "ffn_gate_inp"},
                                               {"block_sparse_moe.gate", "ffn_gate_inp"},
                                               {"conv.in_proj", "shortconv.in_proj"},
                                               {"conv.out_proj", "shortconv.out_proj"},
                                               {"feed_forward.w1", "ffn_gate"},
                                               {"feed_forward.w3", "ffn_up"},
                                               {"feed_forward.w2", "ffn_down"}}};
/// After the number of the expert.
constexpr std::array<Name, 6> kExpertNames = {{{"gate_proj", "ffn_gate_exps"},
                                               {"up_proj", "ffn_up_exps"},
                                               {"down_proj", "ffn_down_exps"},
                                               {"w1", "ffn_gate_exps"},
                                               {"w3", "ffn_up_exps"},
                                               {"w2", "ffn_down_exps"}}};

template <std::size_t size>
const Name* find(const std::array<Name, size>& names, std::string_view module) noexcept {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const Name& name) { return name.module == module; });
  return found == names.end() ? nullptr : &*found;
}

/// Takes `prefix` away from `text`.
bool take(std::string_view& text, std::string_view prefix) noexcept {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Takes "NUMBER." away from `text`.
std::optional<std::int64_t> take_number(std::string_view& text) noexcept {
  std::int32_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || number < 0) return {};
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!take(text, ".")) return {};
  return number;
}

const Family* family_of(std::string_view architecture) noexcept {
  const auto found = std::find_if(kNamings.begin(), kNamings.end(), [&](const Family& family) {
    return family.architecture == architecture;
  });
  return found == kNamings.end() ? nullptr : &*found;
}

}  // namespace

bool knows_modules(std::string_view architecture) noexcept {
  return family_of(architecture) != nullptr;
}

std::optional<ModulePlace> find_module(std::string_view architecture, std::string_view module) {
  const Family* family = family_of(architecture);
  if (family == nullptr) return {};
  for (const std::string_view prefix :
       {"model.language_model.", "language_model.model.", "language_model.", "model."}) {
    if (take(module, prefix)) break;
  }
  if (module == "embed_tokens") return ModulePlace{"token_embd.weight"};
  if (module == "lm_head") return ModulePlace{"output.weight"};
  if (!take(module, "layers.")) return {};
  const std::optional<std::int64_t> layer = take_number(module);
  if (!layer) return {};
  if (take(module, "mlp.experts.") || take(module, "block_sparse_moe.experts.")) {
    const std::optional<std::int64_t> expert = take_number(module);
    const Name* name = find(kExpertNames, module);
    if (!expert || name == nullptr) return {};
    return ModulePlace{fmt::format("blk.{}.{}.weight", *layer, name->tensor), *expert};
  }
  const Name* name = find(kLayerNames, module);
  if (name == nullptr) return {};
  return ModulePlace{fmt::format("blk.{}.{}.weight", *layer, name->tensor), -1,
                     name->turned && family->permutes};
}

}  // namespace hearth::model::convert
