// Architectures without a reference case: a tiny model of each with exactly the keys and tensors
// that its files have (reference: architectures/tensors.md). Each must be described, must run, and
// must give the same logits however the prompt is cut.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "gguf/writer.h"
#include "golden_case.h"
#include "spec/visit.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using gguf::Writer;
using Shape = std::vector<std::int64_t>;

constexpr std::int64_t kWidth = 32, kHeads = 4, kKvHeads = 2, kHead = 8, kHidden = 48, kVocab = 40;
constexpr std::int64_t kQ = kHeads * kHead, kKv = kKvHeads * kHead;
constexpr std::int64_t kExperts = 4, kExpertWidth = 16;
constexpr int kLayers = 4;

/// A model as plain data.
struct Zoo {
  explicit Zoo(std::string name) : architecture(std::move(name)) {
    key("embedding_length", std::uint32_t{kWidth});
    key("block_count", std::uint32_t{kLayers});
    key("context_length", 256U);
    key("attention.head_count", std::uint32_t{kHeads});
    key("attention.head_count_kv", std::uint32_t{kKvHeads});
    key("feed_forward_length", std::uint32_t{kHidden});
    tensors["token_embd.weight"] = {kWidth, kVocab};
    tensors["output.weight"] = {kWidth, kVocab};
  }

  std::string architecture;
  std::map<std::string, std::function<void(Writer&, const std::string&)>> keys;
  std::map<std::string, Shape> tensors;

  template <class Value>
  Zoo& key(const std::string& name, Value value) {
    return raw_key(architecture + "." + name, value);
  }
  template <class Value>
  Zoo& raw_key(const std::string& name, Value value) {
    keys[name] = [value](Writer& writer, const std::string& full) { writer.set(full, value); };
    return *this;
  }
  Zoo& list(const std::string& name, std::vector<std::int32_t> values) {
    keys[architecture + "." + name] = [values](Writer& writer, const std::string& full) {
      writer.set_array(full, values);
    };
    return *this;
  }
  Zoo& tensor(const std::string& name, Shape shape) {
    tensors[name] = std::move(shape);
    return *this;
  }
  /// In every layer.
  Zoo& each(std::initializer_list<const char*> names, const Shape& shape) {
    for (int layer = 0; layer < kLayers; ++layer)
      for (const char* name : names) tensors[at(layer, name)] = shape;
    return *this;
  }
  static std::string at(int layer, const std::string& name) {
    return "blk." + std::to_string(layer) + "." + name;
  }

  Zoo& rms() {
    key("attention.layer_norm_rms_epsilon", 1e-5F);
    return tensor("output_norm.weight", {kWidth});
  }
  Zoo& layer_norm(bool bias) {
    key("attention.layer_norm_epsilon", 1e-5F);
    if (bias) tensor("output_norm.bias", {kWidth});
    return tensor("output_norm.weight", {kWidth});
  }
  Zoo& norms(std::initializer_list<const char*> names, bool bias = false) {
    for (const char* name : names) {
      each({(std::string(name) + ".weight").c_str()}, {kWidth});
      if (bias) each({(std::string(name) + ".bias").c_str()}, {kWidth});
    }
    return *this;
  }
  Zoo& attention() {
    each({"attn_q.weight"}, {kWidth, kQ});
    each({"attn_k.weight", "attn_v.weight"}, {kWidth, kKv});
    return each({"attn_output.weight"}, {kQ, kWidth});
  }
  Zoo& fused_attention(bool bias) {
    if (bias) each({"attn_qkv.bias"}, {kQ + 2 * kKv}).each({"attn_output.bias"}, {kWidth});
    return each({"attn_qkv.weight"}, {kWidth, kQ + 2 * kKv})
        .each({"attn_output.weight"}, {kQ, kWidth});
  }
  Zoo& qk_norm() { return each({"attn_q_norm.weight", "attn_k_norm.weight"}, {kHead}); }
  Zoo& gated() {
    return each({"ffn_gate.weight", "ffn_up.weight"}, {kWidth, kHidden})
        .each({"ffn_down.weight"}, {kHidden, kWidth});
  }
  Zoo& plain(bool bias) {
    if (bias) each({"ffn_up.bias"}, {kHidden}).each({"ffn_down.bias"}, {kWidth});
    return each({"ffn_up.weight"}, {kWidth, kHidden}).each({"ffn_down.weight"}, {kHidden, kWidth});
  }
  Zoo& experts(std::int64_t width = kExpertWidth) {
    key("expert_count", std::uint32_t{kExperts});
    key("expert_used_count", 2U);
    key("expert_feed_forward_length", static_cast<std::uint32_t>(width));
    each({"ffn_gate_inp.weight"}, {kWidth, kExperts});
    each({"ffn_gate_exps.weight", "ffn_up_exps.weight"}, {kWidth, width, kExperts});
    return each({"ffn_down_exps.weight"}, {width, kWidth, kExperts});
  }
  Zoo& shared_expert(std::int64_t width = kExpertWidth) {
    return each({"ffn_gate_shexp.weight", "ffn_up_shexp.weight"}, {kWidth, width})
        .each({"ffn_down_shexp.weight"}, {width, kWidth});
  }
  Zoo& selection_bias() { return each({"exp_probs_b.bias"}, {kExperts}); }

  void write(const std::filesystem::path& path) const {
    Writer writer;
    writer.set("general.architecture", architecture);
    for (const auto& [name, set] : keys) set(writer, name);
    std::map<std::string, std::vector<float>> data;
    std::uint32_t state = 1;
    for (const auto& [name, shape] : tensors) {
      std::size_t count = 1;
      for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
      std::vector<float>& values = data[name];
      const bool norm = name.find("norm.weight") != std::string::npos;
      for (std::size_t i = 0; i < count; ++i) {
        state = state * 1664525U + 1013904223U;
        const float noise = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
        values.push_back(norm ? 1.0F + 0.2F * noise : 0.3F * noise);
      }
      writer.add_tensor(name, tensor::DType::kF32, shape, std::as_bytes(std::span(values)));
    }
    std::ofstream(path, std::ios::binary) << writer.bytes();
  }
};

/// The layer of Llama, with its usual keys.
Zoo llama_like(const std::string& architecture) {
  return Zoo(architecture).rms().norms({"attn_norm", "ffn_norm"}).attention().gated();
}

Zoo moe_like(const std::string& architecture) {
  return Zoo(architecture).rms().norms({"attn_norm", "ffn_norm"}).attention().experts();
}

std::vector<Zoo> dense_models() {
  std::vector<Zoo> all;
  for (const char* name : {"xverse", "exaone", "refact", "llada", "dream"}) {
    all.push_back(llama_like(name));
  }
  all.push_back(llama_like("baichuan"));
  all.push_back(llama_like("pangu-embedded").each({"attn_output.bias"}, {kWidth}));
  all.push_back(llama_like("paddleocr").list("rope.dimension_sections", {2, 1, 1, 0}));
  all.push_back(llama_like("maincoder").qk_norm());
  all.push_back(llama_like("hunyuan_vl")
                    .qk_norm()
                    .list("rope.dimension_sections", {2, 1, 1, 0})
                    .key("rope.scaling.alpha", 1000.0F));
  all.push_back(llama_like("nanbeige").key("num_loops", 2U));
  all.push_back(llama_like("bitnet")
                    .norms({"attn_sub_norm"})
                    .each({"ffn_sub_norm.weight"}, {kHidden})
                    .each({"attn_q.scale", "ffn_down.scale"}, {1}));
  Zoo chatglm = Zoo("chatglm").rms().norms({"attn_norm", "ffn_norm"}).fused_attention(true);
  all.push_back(chatglm.key("rope.dimension_count", 4U)
                    .each({"ffn_up.weight"}, {kWidth, 2 * kHidden})
                    .each({"ffn_down.weight"}, {kHidden, kWidth}));
  all.push_back(
      Zoo("orion").layer_norm(true).norms({"attn_norm", "ffn_norm"}, true).attention().gated());
  Zoo codeshell = Zoo("codeshell")
                      .layer_norm(true)
                      .norms({"attn_norm", "ffn_norm"}, true)
                      .fused_attention(true);
  codeshell.tensors.erase("token_embd.weight");
  all.push_back(codeshell.plain(true));
  all.push_back(Zoo("jais2")
                    .layer_norm(true)
                    .norms({"attn_norm", "ffn_norm"}, true)
                    .attention()
                    .plain(true)
                    .each({"attn_q.bias", "attn_output.bias"}, {kWidth}));
  all.push_back(Zoo("jais")
                    .layer_norm(true)
                    .norms({"attn_norm", "ffn_norm"}, true)
                    .fused_attention(true)
                    .gated()
                    .key("attention.max_alibi_bias", 8.0F)
                    .each({"ffn_gate.bias", "ffn_up.bias"}, {kHidden}));
  // MPT with learned positions and q and k normalised as a whole.
  Zoo mpt = Zoo("mpt").layer_norm(false).norms({"attn_norm", "ffn_norm"}).fused_attention(false);
  all.push_back(mpt.plain(false)
                    .tensor("position_embd.weight", {kWidth, 256})
                    .each({"attn_q_norm.weight"}, {kQ})
                    .each({"attn_k_norm.weight"}, {kKv}));
  // OpenELM and Llama-Nemotron: other sizes in every layer.
  Zoo openelm = Zoo("openelm").rms().norms({"attn_norm", "ffn_norm"}).qk_norm();
  openelm.key("attention.key_length", 8U).key("attention.value_length", 8U);
  openelm.list("attention.head_count", {4, 6, 4, 8}).list("attention.head_count_kv", {2, 3, 2, 4});
  openelm.list("feed_forward_length", {16, 24, 32, 40});
  const std::array<std::int64_t, kLayers> heads = {4, 6, 4, 8};
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::int64_t h = heads[static_cast<std::size_t>(layer)];
    const std::int64_t width = 16 + 8 * layer;
    openelm.tensor(Zoo::at(layer, "attn_qkv.weight"), {kWidth, 2 * h * kHead});
    openelm.tensor(Zoo::at(layer, "attn_output.weight"), {h * kHead, kWidth});
    openelm.tensor(Zoo::at(layer, "ffn_gate.weight"), {kWidth, width});
    openelm.tensor(Zoo::at(layer, "ffn_up.weight"), {kWidth, width});
    openelm.tensor(Zoo::at(layer, "ffn_down.weight"), {width, kWidth});
  }
  all.push_back(openelm);
  Zoo deci = llama_like("deci");  // as usual; a matrix for attention; no attention; nothing
  deci.list("attention.head_count", {4, 4, 0, 0}).list("attention.head_count_kv", {2, 0, 0, 0});
  deci.list("feed_forward_length", {48, 48, 48, 0});
  for (int layer = 1; layer < kLayers; ++layer)
    for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight"})
      deci.tensors.erase(Zoo::at(layer, name));
  for (const char* name : {"attn_norm.weight", "attn_output.weight"})
    deci.tensors.erase(Zoo::at(2, name));
  std::erase_if(deci.tensors, [](const auto& entry) { return entry.first.starts_with("blk.3."); });
  all.push_back(deci);
  return all;
}

std::vector<Zoo> expert_models() {
  std::vector<Zoo> all;
  all.push_back(
      moe_like("bailingmoe").shared_expert(2 * kExpertWidth).key("expert_shared_count", 2U));
  all.push_back(moe_like("llada-moe").qk_norm());
  all.push_back(moe_like("rnd1").qk_norm());
  Zoo mellum = moe_like("mellum").qk_norm().key("attention.sliding_window", 6U);
  all.push_back(mellum.key("attention.sliding_window_pattern", 2U));
  Zoo grove = moe_like("grovemoe").qk_norm().key("experts_per_group", 2U);
  grove.key("expert_chunk_feed_forward_length", 8U).key("expert_group_scale", 0.05F);
  grove.each({"ffn_gate_chexps.weight", "ffn_up_chexps.weight"}, {kWidth, 8, 2});
  all.push_back(grove.each({"ffn_down_chexps.weight"}, {8, kWidth, 2}));
  Zoo laguna = moe_like("laguna").qk_norm().selection_bias().shared_expert();
  laguna.key("attention.sliding_window", 6U).key("rope.dimension_count_swa", 4U);
  laguna.key("expert_weights_norm", true).key("expert_weights_scale", 1.5F);
  all.push_back(laguna.each({"attn_gate.weight"}, {kWidth, kHeads}));
  all.push_back(laguna.each({"attn_gate.weight"}, {kWidth, kQ}));
  all.push_back(Zoo("arctic")
                    .rms()
                    .norms({"attn_norm", "ffn_norm", "ffn_norm_exps"})
                    .attention()
                    .each({"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"}, {kWidth, kWidth})
                    .experts(kHidden));
  all.push_back(Zoo("dbrx")
                    .layer_norm(false)
                    .norms({"attn_norm", "attn_output_norm"})
                    .fused_attention(false)
                    .key("attention.clamp_kqv", 1.0F)
                    .experts(kHidden));
  Zoo grok = moe_like("grok").norms({"attn_output_norm", "layer_output_norm"});
  all.push_back(grok);
  Zoo grok2 = moe_like("grok").gated().norms({"attn_output_norm", "post_ffw_norm"});
  all.push_back(grok2);
  Zoo cohere = Zoo("cohere2moe").layer_norm(false).norms({"attn_norm"}).attention().experts();
  cohere.key("attention.sliding_window", 6U).key("logit_scale", 0.25F);
  cohere.key("attention.sliding_window_pattern", 4U).key("leading_dense_block_count", 0U);
  all.push_back(cohere);
  all.push_back(cohere.shared_expert().key("expert_shared_count", 1U));
  return all;
}

std::vector<std::int32_t> prompt() {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 20; ++i) tokens.push_back((7 * i + 3) % static_cast<int>(kVocab));
  return tokens;
}

void expect_runs(const Zoo& zoo) {
  SCOPED_TRACE(zoo.architecture);
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "model.gguf";
  zoo.write(path);
  ModelOnBackend model(
      path, compute::make_cpu_backend({.threads = 1, .exact = true, .instruction_set = ""}),
      tensor::DType::kF32, 64);
  // Nothing in the file is left unread.
  std::set<std::string> used;
  for (const spec::TensorUse& use : spec::tensors_of(model.spec())) used.insert(use.name);
  for (const auto& [name, unused] : zoo.tensors) {
    EXPECT_TRUE(used.contains(name)) << name;
  }
  model.restart(0);
  const std::vector<float> logits = model.run(prompt());
  ASSERT_EQ(logits.size(), prompt().size() * kVocab);
  for (const float logit : logits) ASSERT_TRUE(std::isfinite(logit));
  if (!model.spec().causal) return;  // all rows of a text are in one pass
  for (const std::vector<std::size_t>& sizes :
       {std::vector<std::size_t>{1}, std::vector<std::size_t>{7, 1, 3}}) {
    model.restart(0);
    EXPECT_LE(nmse(model.run_in_chunks(prompt(), sizes), logits), 1e-10) << sizes.size();
  }
}

TEST(Zoo, DenseModelsRunHoweverThePromptIsCut) {
  for (const Zoo& zoo : dense_models()) expect_runs(zoo);
}

TEST(Zoo, MixturesOfExpertsRunHoweverThePromptIsCut) {
  for (const Zoo& zoo : expert_models()) expect_runs(zoo);
}

/// Draft heads of models whose reference cases have none.
TEST(Zoo, DraftHeadsAreDescribed) {
  for (const char* name :
       {"hy_v3", "step35", "mimo2", "cohere2moe", "glm4moe", "bailingmoe2", "exaone-moe"}) {
    SCOPED_TRACE(name);
    Zoo zoo = moe_like(name).qk_norm().norms({"post_attention_norm"});
    zoo.key("nextn_predict_layers", 2U).key("attention.sliding_window", 6U);
    zoo.list("attention.sliding_window_pattern", {1, 0, 1, 1}).key("logit_scale", 1.0F);
    zoo.norms({"nextn.enorm", "nextn.hnorm"}).each({"nextn.eh_proj.weight"}, {2 * kWidth, kWidth});
    zoo.tensor("blk.2.nextn.shared_head_norm.weight", {kWidth});
    zoo.tensor("blk.3.nextn.shared_head_head.weight", {kWidth, kVocab});
    const TemporaryFolder folder;
    zoo.write(folder / "model.gguf");
    const gguf::File file = gguf::File::open(folder / "model.gguf");
    const spec::ModelSpec trunk = model::describe_model(file, {});
    EXPECT_EQ(trunk.draft_heads, 2);
    EXPECT_EQ(trunk.stacks[0].layers.size(), 2U);
    for (std::int64_t head = 0; head < 2; ++head) {
      const spec::ModelSpec draft = model::describe_draft_head(file, {}, head);
      ASSERT_TRUE(draft.embedding.hidden.has_value());
      EXPECT_EQ(draft.embedding.hidden->projection.weight,
                Zoo::at(static_cast<int>(2 + head), "nextn.eh_proj.weight"));
      EXPECT_EQ(draft.stacks[0].layers.size(), 1U);
      EXPECT_EQ(draft.kv_memories.size(), 1U);
      EXPECT_EQ(draft.head.hidden, trunk.head.hidden);
      EXPECT_EQ(draft.head.linear.weight,
                head == 1 ? "blk.3.nextn.shared_head_head.weight" : "output.weight");
      EXPECT_EQ(draft.head.norm->weight,
                head == 0 ? "blk.2.nextn.shared_head_norm.weight" : "output_norm.weight");
    }
    EXPECT_THROW((void)model::describe_draft_head(file, {}, 2), Error);
    EXPECT_THROW((void)model::describe_draft_head(file, {}, -1), Error);
  }
}

/// Every key and every tensor left out, every number made absurd: an Error, or a model.
TEST(Zoo, DamagedFilesEndInAnError) {
  std::vector<Zoo> all = dense_models();
  for (Zoo& zoo : expert_models()) all.push_back(std::move(zoo));
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "model.gguf";
  const auto describe = [&](const Zoo& zoo) {
    zoo.write(path);
    try {
      const gguf::File file = gguf::File::open(path);
      (void)model::describe_model(file, {});
      return true;
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
      return false;
    }
  };
  for (const Zoo& zoo : all) {
    SCOPED_TRACE(zoo.architecture);
    ASSERT_TRUE(describe(zoo));
    for (const auto& [key, unused] : zoo.keys) {
      Zoo changed = zoo;
      changed.keys.erase(key);
      (void)describe(changed);
      for (const std::int64_t value :
           {std::int64_t{-1}, std::int64_t{0}, std::int64_t{5}, std::int64_t{1} << 40}) {
        (void)describe(changed.raw_key(key, value));
      }
      (void)describe(changed.raw_key(key, std::nanf("")));
      (void)describe(changed.raw_key(key, std::string("x")));
      changed.keys[key] = [](Writer& writer, const std::string& full) {
        writer.set_array(full, std::vector<std::int64_t>{1 << 20, -7, 3});
      };
      (void)describe(changed);
    }
    for (const auto& [name, shape] : zoo.tensors) {
      if (name.starts_with("blk.0.") || name.starts_with("blk.3.")) continue;
      Zoo changed = zoo;
      changed.tensors[name] = {3, 5, 2};
      EXPECT_FALSE(describe(changed)) << name;
    }
  }
}

}  // namespace
}  // namespace hearth::testing
