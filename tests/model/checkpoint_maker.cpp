#include "checkpoint_maker.h"

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "gguf/file.h"
#include "quant/quant.h"
#include "safetensors_writer.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

using OrderedJson = nlohmann::ordered_json;
using Names = std::map<std::string, std::string>;
using Tensors = std::map<std::string, CheckpointTensor>;

struct CheckpointCase {
  std::string config;
  /// GGUF names, those of layers without "blk.N.", to names of the checkpoint; "L" stands for the
  /// prefix of the layer.
  Names names;
  std::string layer_prefix = "model.layers.";
  /// Changes the tensors, still under their GGUF names, into what the checkpoint holds.
  std::function<void(Tensors&, const OrderedJson& config)> undo = nullptr;
};

Names with(Names base, const Names& more) {
  for (const auto& [from, to] : more) base[from] = to;
  return base;
}

const Names kStandard = {{"token_embd.weight", "model.embed_tokens.weight"},
                         {"output_norm.weight", "model.norm.weight"},
                         {"output.weight", "lm_head.weight"},
                         {"attn_norm", "L.input_layernorm"},
                         {"attn_q", "L.self_attn.q_proj"},
                         {"attn_k", "L.self_attn.k_proj"},
                         {"attn_v", "L.self_attn.v_proj"},
                         {"attn_output", "L.self_attn.o_proj"},
                         {"attn_q_norm", "L.self_attn.q_norm"},
                         {"attn_k_norm", "L.self_attn.k_norm"},
                         {"ffn_norm", "L.post_attention_layernorm"},
                         {"ffn_gate", "L.mlp.gate_proj"},
                         {"ffn_up", "L.mlp.up_proj"},
                         {"ffn_down", "L.mlp.down_proj"}};
const Names kPostNorms = {{"post_attention_norm", "L.post_attention_layernorm"},
                          {"post_ffw_norm", "L.post_feedforward_layernorm"}};
const Names kSandwich = with(kPostNorms, {{"ffn_norm", "L.pre_feedforward_layernorm"}});

/// Calls change(tensor) for the tensors whose name ends with one of `suffixes`.
void change_each(Tensors& tensors, const std::vector<std::string>& suffixes,
                 const std::function<void(CheckpointTensor&)>& change) {
  for (auto& [name, tensor] : tensors) {
    for (const std::string& suffix : suffixes) {
      if (name.ends_with(suffix)) change(tensor);
    }
  }
}

/// Row r of the result is row source[r] of the tensor (rows: the first dimension).
void take_rows(CheckpointTensor& tensor, const std::vector<std::size_t>& source) {
  const std::size_t width = tensor.values.size() / source.size();
  std::vector<float> values;
  for (const std::size_t row : source) {
    const auto begin = tensor.values.begin() + static_cast<std::ptrdiff_t>(row * width);
    values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  tensor.values = std::move(values);
}

/// GGUF pairs rows 2b and 2b + 1 of a head, the checkpoint rows b and b + size / 2.
void split_pairs(CheckpointTensor& tensor, std::size_t heads) {
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const std::size_t size = rows / heads, half = size / 2;
  std::vector<std::size_t> source(rows);
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t a = 0; a < 2; ++a) {
      for (std::size_t b = 0; b < half; ++b)
        source[head * size + a * half + b] = head * size + 2 * b + a;
    }
  }
  take_rows(tensor, source);
}

void unpair(Tensors& tensors, const OrderedJson& config) {
  const auto heads = config.at("num_attention_heads").get<std::size_t>();
  const auto kv_heads = config.at("num_key_value_heads").get<std::size_t>();
  change_each(tensors, {"attn_q.weight", "attn_q.bias"},
              [&](CheckpointTensor& tensor) { split_pairs(tensor, heads); });
  change_each(tensors, {"attn_k.weight", "attn_k.bias"},
              [&](CheckpointTensor& tensor) { split_pairs(tensor, kv_heads); });
}

void subtract_one(Tensors& tensors) {
  change_each(tensors, {"norm.weight"}, [](CheckpointTensor& tensor) {
    for (float& value : tensor.values) value -= 1;
  });
}

/// *_exps tensors become one tensor per expert: NAMES[part] with "#" for its number.
void unstack_experts(Tensors& tensors, const Names& parts) {
  Tensors result;
  for (auto& [name, tensor] : tensors) {
    const auto part = parts.find(name.substr(name.find('.', 4) + 1));
    if (!name.starts_with("blk.") || part == parts.end()) {
      result[name] = std::move(tensor);
      continue;
    }
    const auto count = static_cast<std::size_t>(tensor.shape[0]);
    const std::size_t each = tensor.values.size() / count;
    for (std::size_t expert = 0; expert < count; ++expert) {
      std::string to = part->second;
      to.replace(to.find('#'), 1, std::to_string(expert));
      const auto begin = tensor.values.begin() + static_cast<std::ptrdiff_t>(expert * each);
      result[name.substr(0, name.find('.', 4) + 1) + to] = {
          {tensor.shape[1], tensor.shape[2]}, {begin, begin + static_cast<std::ptrdiff_t>(each)}};
    }
  }
  tensors = std::move(result);
}

Tensors read_tensors(const gguf::File& file) {
  Tensors tensors;
  for (const gguf::TensorInfo& info : file.tensors()) {
    CheckpointTensor tensor;
    for (std::uint32_t i = info.dimensions; i-- > 0;) tensor.shape.push_back(info.shape[i]);
    tensor.values.resize(static_cast<std::size_t>(info.elements()));
    quant::decode(info.dtype, file.data(info), tensor.values);
    tensors[info.name] = std::move(tensor);
  }
  return tensors;
}

/// The name in the checkpoint of a tensor with a GGUF name.
std::string renamed(const std::string& name, const CheckpointCase& made) {
  if (const auto found = made.names.find(name); found != made.names.end()) return found->second;
  if (!name.starts_with("blk.")) return name;
  const std::size_t dot = name.find('.', 4);
  const std::string layer = name.substr(4, dot - 4), rest = name.substr(dot + 1);
  const auto place = [&](std::string to) {
    if (to.starts_with("L.")) to.replace(0, 1, made.layer_prefix + layer);
    return to;
  };
  if (const auto found = made.names.find(rest); found != made.names.end())
    return place(found->second);
  const std::size_t last = rest.rfind('.');
  if (last != rest.npos) {
    const auto found = made.names.find(rest.substr(0, last));
    if (found != made.names.end()) return place(found->second) + rest.substr(last);
  }
  return made.layer_prefix + layer + "." + rest;
}

/// tokenizer.json and tokenizer_config.json of the toy byte-level BPE in the goldens.
void add_byte_level_tokenizer(const gguf::Metadata& metadata, Checkpoint& checkpoint) {
  const auto texts = metadata.get_strings("tokenizer.ggml.tokens").value();
  const auto types = metadata.get_ints("tokenizer.ggml.token_type").value();
  OrderedJson vocabulary = OrderedJson::object(), added = OrderedJson::array(),
              settings = OrderedJson::object();
  for (std::size_t id = 0; id < texts.size(); ++id) {
    const std::string text(texts[id]);
    vocabulary[text] = id;
    if (types[id] == 3) added.push_back({{"id", id}, {"content", text}, {"special", true}});
  }
  const OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const OrderedJson tokenizer = {
      {"added_tokens", added},
      {"pre_tokenizer", byte_level},
      {"model",
       {{"type", "BPE"},
        {"vocab", vocabulary},
        {"merges", metadata.get_strings("tokenizer.ggml.merges").value()}}}};
  for (const auto& [role, key] :
       {std::pair("bos", "bos"), std::pair("eos", "eos"), std::pair("pad", "padding")}) {
    const auto id = metadata.get_uint("tokenizer.ggml." + std::string(key) + "_token_id").value();
    settings[std::string(role) + "_token"] = std::string(texts[id]);
  }
  settings["add_bos_token"] = false;
  checkpoint.files["tokenizer.json"] = tokenizer.dump();
  checkpoint.files["tokenizer_config.json"] = settings.dump();
}

void add_word_piece_tokenizer(const gguf::Metadata& metadata, Checkpoint& checkpoint) {
  std::string lines;
  const auto texts = metadata.get_strings("tokenizer.ggml.tokens").value();
  for (const std::string_view text : texts) {
    const bool begins_word = text.starts_with("▁");
    const bool bracketed = text.starts_with('[') && text.ends_with(']');
    lines += begins_word ? std::string(text.substr(3))
             : bracketed ? std::string(text)
                         : "##" + std::string(text);
    lines += '\n';
  }
  checkpoint.files["vocab.txt"] = lines;
  checkpoint.files["tokenizer_config.json"] =
      R"({"unk_token":"[UNK]","sep_token":"[SEP]","pad_token":"[PAD]","cls_token":"[CLS]",
          "mask_token":"[MASK]","do_lower_case":true})";
}

const std::string kSizes =
    R"("hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,)"
    R"("max_position_embeddings":512,"hidden_act":"silu",)";

std::string llama_config(const std::string& more) {
  return R"({"model_type":"llama",)" + kSizes +
         R"("intermediate_size":96,"rms_norm_eps":1e-5,"vocab_size":128,)" + more + "}";
}

CheckpointCase llama(const std::string& more) {
  return {.config = llama_config(more), .names = kStandard, .undo = unpair};
}

CheckpointCase deepseek(const std::string& more) {
  return {.config = R"({"model_type":"deepseek_v3",)" + kSizes + R"("intermediate_size":64,
          "rms_norm_eps":1e-6,"rope_theta":10000,"kv_lora_rank":32,"qk_nope_head_dim":32,
          "qk_rope_head_dim":16,"v_head_dim":32,"first_k_dense_replace":1,
          "moe_intermediate_size":16,"n_routed_experts":8,"num_experts_per_tok":3,
          "tie_word_embeddings":false,)" +
                    more + "}",
          .names = with(kStandard, {{"attn_q_a", "L.self_attn.q_a_proj"},
                                    {"attn_q_a_norm", "L.self_attn.q_a_layernorm"},
                                    {"attn_q_b", "L.self_attn.q_b_proj"},
                                    {"attn_kv_a_mqa", "L.self_attn.kv_a_proj_with_mqa"},
                                    {"attn_kv_a_norm", "L.self_attn.kv_a_layernorm"},
                                    {"attn_kv_b", "L.self_attn.kv_b_proj"},
                                    {"ffn_gate_inp", "L.mlp.gate"},
                                    {"exp_probs_b.bias", "L.mlp.gate.e_score_correction_bias"},
                                    {"ffn_gate_shexp", "L.mlp.shared_experts.gate_proj"},
                                    {"ffn_up_shexp", "L.mlp.shared_experts.up_proj"},
                                    {"ffn_down_shexp", "L.mlp.shared_experts.down_proj"}}),
          .undo = [](Tensors& tensors, const OrderedJson&) {
            unstack_experts(tensors, {{"ffn_gate_exps.weight", "mlp.experts.#.gate_proj.weight"},
                                      {"ffn_up_exps.weight", "mlp.experts.#.up_proj.weight"},
                                      {"ffn_down_exps.weight", "mlp.experts.#.down_proj.weight"}});
            // kv_b: per head, 32 rows that make keys of the latent (k_b transposed), then 32 that
            // make values.
            Tensors joined;
            for (const auto& [name, tensor] : tensors) {
              if (!name.ends_with("attn_k_b.weight")) continue;
              const std::string layer = name.substr(0, name.size() - 15);
              const CheckpointTensor& values = tensors.at(layer + "attn_v_b.weight");
              CheckpointTensor both{{4 * 64, 32}, std::vector<float>(4 * 64 * 32)};
              for (std::size_t head = 0; head < 4; ++head) {
                for (std::size_t row = 0; row < 32; ++row) {
                  for (std::size_t column = 0; column < 32; ++column) {
                    both.values[(head * 64 + row) * 32 + column] =
                        tensor.values[(head * 32 + column) * 32 + row];
                    both.values[(head * 64 + 32 + row) * 32 + column] =
                        values.values[(head * 32 + row) * 32 + column];
                  }
                }
              }
              joined[layer + "attn_kv_b.weight"] = std::move(both);
            }
            std::erase_if(tensors, [](const auto& entry) {
              return entry.first.ends_with("attn_k_b.weight") ||
                     entry.first.ends_with("attn_v_b.weight");
            });
            tensors.merge(joined);
          }};
}

/// Value heads: tiled head j * Hk + g of the GGUF file is grouped head g * (Hv / Hk) + j.
void group_value_heads(Tensors& tensors, const OrderedJson& config) {
  const auto key_heads = config.at("linear_num_key_heads").get<std::size_t>();
  const auto value_heads = config.at("linear_num_value_heads").get<std::size_t>();
  const auto size = config.at("linear_value_head_dim").get<std::size_t>();
  const std::size_t ratio = value_heads / key_heads;
  const auto rows = [&](std::size_t before, std::size_t per_head) {
    std::vector<std::size_t> source(before);
    for (std::size_t i = 0; i < before; ++i) source[i] = i;
    for (std::size_t group = 0; group < key_heads; ++group) {
      for (std::size_t j = 0; j < ratio; ++j) {
        for (std::size_t i = 0; i < per_head; ++i)
          source.push_back(before + (j * key_heads + group) * per_head + i);
      }
    }
    return source;
  };
  change_each(tensors, {"attn_qkv.weight", "ssm_conv1d.weight"}, [&](CheckpointTensor& tensor) {
    take_rows(tensor, rows(2 * key_heads * size, size));
  });
  change_each(tensors, {"attn_gate.weight"},
              [&](CheckpointTensor& tensor) { take_rows(tensor, rows(0, size)); });
  change_each(tensors, {"ssm_dt.bias", "ssm_a", "ssm_alpha.weight", "ssm_beta.weight"},
              [&](CheckpointTensor& tensor) { take_rows(tensor, rows(0, 1)); });
  change_each(tensors, {"ssm_out.weight"}, [&](CheckpointTensor& tensor) {
    const std::vector<std::size_t> source = rows(0, size);
    const std::vector<float> old = tensor.values;
    for (std::size_t i = 0; i < old.size(); ++i)
      tensor.values[i] = old[i / source.size() * source.size() + source[i % source.size()]];
  });
}

CheckpointCase qwen35(const std::string& more) {
  return {
      .config = R"({"model_type":"qwen3_5","text_config":{"model_type":"qwen3_5_text",
          "hidden_size":64,"intermediate_size":64,"num_hidden_layers":4,"head_dim":32,
          "max_position_embeddings":512,"rms_norm_eps":1e-6,"hidden_act":"silu",
          "linear_conv_kernel_dim":4,"linear_num_key_heads":2,"linear_num_value_heads":4,
          "layer_types":["linear_attention","linear_attention","linear_attention",
                         "full_attention"],"full_attention_interval":4,
          "rope_parameters":{"rope_type":"default","rope_theta":10000000,
          "partial_rotary_factor":0.25,"mrope_section":[2,1,1],"mrope_interleaved":true},)" +
                more + R"(},"tie_word_embeddings":false})",
      .names = with(kStandard, {{"token_embd.weight", "model.language_model.embed_tokens.weight"},
                                {"output_norm.weight", "model.language_model.norm.weight"},
                                {"post_attention_norm", "L.post_attention_layernorm"},
                                {"attn_qkv", "L.linear_attn.in_proj_qkv"},
                                {"attn_gate", "L.linear_attn.in_proj_z"},
                                {"ssm_conv1d", "L.linear_attn.conv1d"},
                                {"ssm_dt.bias", "L.linear_attn.dt_bias"},
                                {"ssm_a", "L.linear_attn.A_log"},
                                {"ssm_beta", "L.linear_attn.in_proj_b"},
                                {"ssm_alpha", "L.linear_attn.in_proj_a"},
                                {"ssm_norm", "L.linear_attn.norm"},
                                {"ssm_out", "L.linear_attn.out_proj"},
                                {"nextn.eh_proj.weight", "mtp.fc.weight"},
                                {"nextn.enorm.weight", "mtp.pre_fc_norm_embedding.weight"},
                                {"nextn.hnorm.weight", "mtp.pre_fc_norm_hidden.weight"},
                                {"nextn.shared_head_norm.weight", "mtp.norm.weight"}}),
      .layer_prefix = "model.language_model.layers.",
      .undo = [](Tensors& tensors, const OrderedJson& config) {
        change_each(tensors, {"norm.weight"}, [](CheckpointTensor& tensor) {
          for (float& value : tensor.values) value -= 1;
        });
        change_each(tensors, {"ssm_norm.weight"}, [](CheckpointTensor& tensor) {
          for (float& value : tensor.values) value += 1;  // it is not shifted
        });
        change_each(tensors, {"ssm_a"}, [](CheckpointTensor& tensor) {
          for (float& value : tensor.values) value = std::log(-value);
        });
        group_value_heads(tensors, config.at("text_config"));
        change_each(tensors, {"ssm_conv1d.weight"}, [](CheckpointTensor& tensor) {
          tensor.shape.insert(tensor.shape.begin() + 1, 1);
        });
      }};
}

CheckpointCase bert(const std::string& more) {
  return {.config = R"({"model_type":"bert","hidden_size":64,"num_hidden_layers":2,
      "num_attention_heads":4,"intermediate_size":128,"max_position_embeddings":128,
      "type_vocab_size":2,"hidden_act":"gelu",)" +
                    more + "}",
          .names = {{"token_embd.weight", "bert.embeddings.word_embeddings.weight"},
                    {"position_embd.weight", "bert.embeddings.position_embeddings.weight"},
                    {"token_types.weight", "bert.embeddings.token_type_embeddings.weight"},
                    {"token_embd_norm.weight", "bert.embeddings.LayerNorm.weight"},
                    {"token_embd_norm.bias", "bert.embeddings.LayerNorm.bias"},
                    {"cls.weight", "bert.pooler.dense.weight"},
                    {"cls.bias", "bert.pooler.dense.bias"},
                    {"cls.output.weight", "classifier.weight"},
                    {"cls.output.bias", "classifier.bias"},
                    {"attn_q", "L.attention.self.query"},
                    {"attn_k", "L.attention.self.key"},
                    {"attn_v", "L.attention.self.value"},
                    {"attn_output", "L.attention.output.dense"},
                    {"attn_output_norm", "L.attention.output.LayerNorm"},
                    {"ffn_up", "L.intermediate.dense"},
                    {"ffn_down", "L.output.dense"},
                    {"layer_output_norm", "L.output.LayerNorm"}},
          .layer_prefix = "bert.encoder.layer."};
}

std::map<std::string, CheckpointCase> all_cases() {
  std::map<std::string, CheckpointCase> cases;
  cases["llama-plain"] = llama(R"("head_dim":32,"tie_word_embeddings":false)");
  cases["llama-tied"] = llama(R"("rope_theta":10000.0,"tie_word_embeddings":true)");
  cases["llama-bias"] = llama(R"("head_dim":32,"attention_bias":true,"mlp_bias":true)");
  cases["llama-linear"] = llama(R"("head_dim":32,"rope_scaling":{"type":"linear","factor":4.0})");
  cases["llama-yarn"] = llama(
      R"("head_dim":32,"rope_theta":10000.0,"max_position_embeddings":256,
         "rope_scaling":{"rope_type":"yarn","factor":8.0,"original_max_position_embeddings":32})");
  cases["llama3-rope-factors"] = llama(
      R"("head_dim":32,"rope_theta":500000.0,
         "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
                         "high_freq_factor":4.0,"original_max_position_embeddings":64})");
  cases["llama-moe"] = {.config = R"({"model_type":"mixtral",)" + kSizes +
                                  R"("intermediate_size":32,"rms_norm_eps":1e-5,"head_dim":32,
                   "num_local_experts":8,"num_experts_per_tok":2,"rope_theta":10000.0})",
                        .names = with(kStandard, {{"ffn_gate_inp", "L.block_sparse_moe.gate"}}),
                        .undo = [](Tensors& tensors, const OrderedJson& config) {
                          unpair(tensors, config);
                          const std::string from = "block_sparse_moe.experts.#.";
                          unstack_experts(tensors, {{"ffn_gate_exps.weight", from + "w1.weight"},
                                                    {"ffn_up_exps.weight", from + "w3.weight"},
                                                    {"ffn_down_exps.weight", from + "w2.weight"}});
                        }};
  cases["mistral3"] = {
      .config = R"({"model_type":"mistral3","text_config":{"model_type":"ministral3",)" + kSizes +
                R"("intermediate_size":96,"rms_norm_eps":1e-5,"head_dim":32,
                   "rope_parameters":{"rope_type":"yarn","rope_theta":1000000.0,"factor":16.0,
                   "original_max_position_embeddings":16,"beta_fast":32.0,"beta_slow":1.0,
                   "mscale":1.0,"mscale_all_dim":1.0,"llama_4_scaling_beta":0.1}}})",
      .names = with(kStandard, {{"token_embd.weight", "language_model.model.embed_tokens.weight"},
                                {"output_norm.weight", "language_model.model.norm.weight"},
                                {"output.weight", "language_model.lm_head.weight"}}),
      .layer_prefix = "language_model.model.layers.",
      .undo = [](Tensors& tensors, const OrderedJson& config) {
        unpair(tensors, config.at("text_config"));
      }};
  cases["qwen2"] = {.config = R"({"model_type":"qwen2",)" + kSizes +
                              R"("intermediate_size":96,"rms_norm_eps":1e-6,
                                 "rope_theta":1000000.0,"tie_word_embeddings":false})",
                    .names = kStandard};
  cases["qwen3"] = {.config = R"({"model_type":"qwen3",)" + kSizes +
                              R"("intermediate_size":96,"rms_norm_eps":1e-6,"head_dim":32,
                                 "rope_theta":1000000,"tie_word_embeddings":true})",
                    .names = kStandard};
  cases["qwen3moe"] = {.config = R"({"model_type":"qwen3_moe",)" + kSizes +
                                 R"("intermediate_size":64,"rms_norm_eps":1e-6,"head_dim":32,
                   "rope_theta":1000000.0,"num_experts":8,"num_experts_per_tok":2,
                   "moe_intermediate_size":16,"norm_topk_prob":true,"decoder_sparse_step":1,
                   "mlp_only_layers":[]})",
                       .names = with(kStandard, {{"ffn_gate_inp", "L.mlp.gate"}}),
                       .undo = [](Tensors& tensors, const OrderedJson&) {
                         unstack_experts(
                             tensors, {{"ffn_gate_exps.weight", "mlp.experts.#.gate_proj.weight"},
                                       {"ffn_up_exps.weight", "mlp.experts.#.up_proj.weight"},
                                       {"ffn_down_exps.weight", "mlp.experts.#.down_proj.weight"}});
                       }};
  cases["qwen35"] = qwen35(
      R"("num_attention_heads":4,"num_key_value_heads":2,"linear_key_head_dim":32,
         "linear_value_head_dim":32)");
  cases["qwen35-mtp"] = qwen35(
      R"("num_attention_heads":2,"num_key_value_heads":1,"linear_key_head_dim":16,
         "linear_value_head_dim":16,"mtp_num_hidden_layers":1)");
  const auto shifted = [](Tensors& tensors, const OrderedJson&) { subtract_one(tensors); };
  cases["gemma"] = {.config = R"({"model_type":"gemma","hidden_size":64,"num_hidden_layers":2,
          "num_attention_heads":4,"num_key_value_heads":1,"head_dim":32,"intermediate_size":96,
          "max_position_embeddings":512,"rms_norm_eps":1e-6,"hidden_act":"gelu"})",
                    .names = kStandard,
                    .undo = shifted};
  cases["gemma2"] = {.config = R"({"model_type":"gemma2","hidden_size":64,"num_hidden_layers":2,
          "num_attention_heads":4,"num_key_value_heads":2,"head_dim":32,"intermediate_size":64,
          "max_position_embeddings":512,"rms_norm_eps":1e-6,
          "hidden_activation":"gelu_pytorch_tanh","query_pre_attn_scalar":32,
          "attn_logit_softcapping":5.0,"final_logit_softcapping":8.0,"sliding_window":16})",
                     .names = with(kStandard, kSandwich),
                     .undo = shifted};
  cases["gemma3"] = {
      .config = R"({"model_type":"gemma3","text_config":{"model_type":"gemma3_text",
          "hidden_size":64,"num_hidden_layers":6,"num_attention_heads":2,
          "num_key_value_heads":1,"head_dim":32,"intermediate_size":64,
          "max_position_embeddings":512,"query_pre_attn_scalar":32,"sliding_window":16,
          "layer_types":["sliding_attention","sliding_attention","sliding_attention",
            "sliding_attention","sliding_attention","full_attention"]}})",
      .names = with(with(kStandard, kSandwich),
                    {{"token_embd.weight", "language_model.model.embed_tokens.weight"},
                     {"output_norm.weight", "language_model.model.norm.weight"}}),
      .layer_prefix = "language_model.model.layers.",
      .undo = shifted};
  cases["phi3-short"] = {
      .config = R"({"model_type":"phi3",)" + kSizes +
                R"("intermediate_size":64,"max_position_embeddings":1024,"rms_norm_eps":1e-5,
                   "original_max_position_embeddings":1024,"rope_theta":10000.0,
                   "sliding_window":32,"rope_scaling":{"type":"longrope",
                   "long_factor":LONG,"short_factor":SHORT}})",
      .names = with(kStandard,
                    {{"attn_qkv", "L.self_attn.qkv_proj"}, {"ffn_up", "L.mlp.gate_up_proj"}})};
  cases["smollm3"] = {.config = R"({"model_type":"smollm3","hidden_size":64,"num_hidden_layers":4,
          "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":64,
          "max_position_embeddings":512,"rms_norm_eps":1e-6,"rope_theta":5000000.0,
          "no_rope_layers":[1,1,1,0],"tie_word_embeddings":true})",
                      .names = kStandard,
                      .undo = unpair};
  cases["olmo2"] = {.config = R"({"model_type":"olmo2",)" + kSizes +
                              R"("intermediate_size":64,"rms_norm_eps":1e-6,
                                 "rope_theta":500000})",
                    .names = with(kStandard, kPostNorms)};
  cases["lfm2"] = {
      .config = R"({"model_type":"lfm2","hidden_size":64,"num_hidden_layers":4,
          "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":96,
          "max_position_embeddings":512,"norm_eps":1e-5,"rope_theta":1000000.0,
          "conv_L_cache":3,"layer_types":["conv","full_attention","conv","full_attention"],
          "tie_embedding":true})",
      .names = with(kStandard, {{"token_embd_norm.weight", "model.embedding_norm.weight"},
                                {"attn_norm", "L.operator_norm"},
                                {"attn_output", "L.self_attn.out_proj"},
                                {"attn_q_norm", "L.self_attn.q_layernorm"},
                                {"attn_k_norm", "L.self_attn.k_layernorm"},
                                {"ffn_norm", "L.ffn_norm"},
                                {"ffn_gate", "L.feed_forward.w1"},
                                {"ffn_up", "L.feed_forward.w3"},
                                {"ffn_down", "L.feed_forward.w2"},
                                {"shortconv.conv", "L.conv.conv"},
                                {"shortconv.in_proj", "L.conv.in_proj"},
                                {"shortconv.out_proj", "L.conv.out_proj"}}),
      .undo = [](Tensors& tensors, const OrderedJson&) {
        change_each(tensors, {"shortconv.conv.weight"}, [](CheckpointTensor& tensor) {
          tensor.shape.insert(tensor.shape.begin() + 1, 1);
        });
      }};
  cases["granite"] = {.config = R"({"model_type":"granite",)" + kSizes +
                                R"("intermediate_size":64,"rms_norm_eps":1e-5,"head_dim":32,
                   "rope_theta":10000.0,"attention_multiplier":0.1,"embedding_multiplier":6.0,
                   "residual_multiplier":0.4,"logits_scaling":0.5,"tie_word_embeddings":true})",
                      .names = kStandard,
                      .undo = unpair};
  cases["deepseek2"] = deepseek(
      R"("q_lora_rank":48,"n_shared_experts":1,"routed_scaling_factor":2.5,"norm_topk_prob":true,
         "scoring_func":"sigmoid","topk_method":"noaux_tc","n_group":4,"topk_group":2,
         "rope_scaling":{"type":"yarn","factor":8,"original_max_position_embeddings":64,
                         "beta_fast":32,"beta_slow":1,"mscale":1.0,"mscale_all_dim":1.0})");
  cases["deepseek2-lite"] = deepseek(
      R"("q_lora_rank":null,"n_shared_experts":2,"routed_scaling_factor":1.0,
         "norm_topk_prob":false,"topk_method":"greedy","n_group":1,"topk_group":1,
         "rope_scaling":{"type":"yarn","factor":8,"original_max_position_embeddings":64,
                         "beta_fast":32,"beta_slow":1,"mscale":0.707,"mscale_all_dim":0.707})");
  cases["bert"] = bert(R"("layer_norm_eps":1e-12)");
  cases["bert-cls"] = bert(R"("layer_norm_eps":1e-12)");
  cases["bert-rank"] = bert(R"("layer_norm_eps":1e-5)");
  return cases;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

void add_pooling(const std::string& mode, Checkpoint& checkpoint) {
  checkpoint.files["modules.json"] =
      R"([{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},
          {"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])";
  checkpoint.files["1_Pooling/config.json"] =
      R"({"word_embedding_dimension":64,"pooling_mode_)" + mode + R"(":true})";
}

}  // namespace

Checkpoint make_checkpoint(const std::string& name) {
  const auto cases = all_cases();
  CheckpointCase made = cases.at(name);
  const gguf::File file = gguf::File::open(goldens_dir() / "arch" / (name + ".gguf"));
  Checkpoint checkpoint;
  Tensors tensors = read_tensors(file);
  for (const auto& [mark, kind] : {std::pair("LONG", "long"), std::pair("SHORT", "short")}) {
    const auto found = tensors.find("rope_factors_" + std::string(kind) + ".weight");
    if (found == tensors.end()) continue;
    made.config = replaced(made.config, mark, OrderedJson(found->second.values).dump());
    tensors.erase(found);
  }
  tensors.erase("rope_freqs.weight");
  checkpoint.config = made.config;
  if (made.undo) made.undo(tensors, OrderedJson::parse(made.config));
  for (auto& [from, tensor] : tensors) {
    std::string to = renamed(from, made);
    if (name == "qwen35-mtp") to = replaced(to, "model.language_model.layers.4.", "mtp.layers.0.");
    checkpoint.tensors[to] = std::move(tensor);
  }
  if (name.starts_with("bert")) {
    add_word_piece_tokenizer(file.metadata(), checkpoint);
    if (name != "bert-rank") add_pooling(name == "bert" ? "mean_tokens" : "cls_token", checkpoint);
  } else {
    add_byte_level_tokenizer(file.metadata(), checkpoint);
  }
  return checkpoint;
}

std::vector<std::string> checkpoint_cases() {
  std::vector<std::string> names;
  for (const auto& [name, made] : all_cases()) names.push_back(name);
  return names;
}

void Checkpoint::write(const std::filesystem::path& folder, int shards) const {
  write_file_atomically(folder / "config.json", config);
  for (const auto& [name, text] : files) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_file_atomically(folder / name, text);
  }
  std::vector<SafetensorsWriter> writers(static_cast<std::size_t>(shards));
  OrderedJson map = OrderedJson::object();
  std::size_t next = 0;
  const auto shard_name = [&](std::size_t shard) {
    return "model-0000" + std::to_string(shard + 1) + "-of-0000" + std::to_string(shards) +
           ".safetensors";
  };
  for (const auto& [name, tensor] : tensors) {
    const std::size_t shard = next++ % writers.size();
    writers[shard].floats(name, tensor.shape, tensor.values);
    map[name] = shard_name(shard);
  }
  if (shards == 1) return writers.front().write(folder / "model.safetensors");
  for (std::size_t shard = 0; shard < writers.size(); ++shard)
    writers[shard].write(folder / shard_name(shard));
  write_file_atomically(
      folder / "model.safetensors.index.json",
      OrderedJson{{"metadata", OrderedJson::object()}, {"weight_map", map}}.dump());
}

}  // namespace hearth::testing
