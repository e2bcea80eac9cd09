// Models whose metadata and tensors do not fit together, as a damaged or malicious file would have
// them: small models of several families, in which one key or one tensor at a time is wrong. Each
// must run or end in hearth::Error.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gguf/writer.h"
#include "model/loaded_model.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using gguf::Writer;
using tensor::DType;
using Setter = std::function<void(Writer&, const std::string&)>;

template <class Value>
Setter number(Value value) {
  return [value](Writer& writer, const std::string& key) { writer.set(key, value); };
}
template <class Value>
Setter list(std::vector<Value> values) {
  return [values](Writer& writer, const std::string& key) { writer.set_array(key, values); };
}
Setter text(const std::string& value) {
  return [value](Writer& writer, const std::string& key) { writer.set(key, value); };
}

struct TensorPlan {
  std::vector<std::int64_t> shape;
  DType dtype = DType::kF32;
};

constexpr std::int64_t kHostileWidth = 32, kHostileHeads = 4, kHostileKvHeads = 2, kHostileHead = 8,
                       kHostileHidden = 64, kHostileVocab = 40;

/// A model as plain data, so that parts of it can be changed.
struct ModelPlan {
  std::string architecture;
  std::uint32_t layers = 2;
  std::map<std::string, Setter> keys;
  std::map<std::string, TensorPlan> tensors;

  void key(const std::string& name, Setter setter) {
    keys[architecture + "." + name] = std::move(setter);
  }
  void layer_tensor(const std::string& name, std::vector<std::int64_t> shape) {
    for (std::uint32_t layer = 0; layer < layers; ++layer)
      tensors["blk." + std::to_string(layer) + "." + name] = {shape};
  }
  void without_layer_tensor(const std::string& name) {
    for (std::uint32_t layer = 0; layer < layers; ++layer)
      tensors.erase("blk." + std::to_string(layer) + "." + name);
  }

  void write(const std::filesystem::path& path) const {
    Writer writer;
    writer.set("general.architecture", architecture);
    for (const auto& [name, setter] : keys) setter(writer, name);
    std::map<std::string, std::string> data;
    for (const auto& [name, tensor] : tensors) {
      std::size_t elements = 1;
      for (const std::int64_t size : tensor.shape) elements *= static_cast<std::size_t>(size);
      std::string& bytes = data[name];
      bytes.resize(tensor::row_bytes(tensor.dtype, elements));
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 % 31);
      if (tensor.dtype == DType::kF32) {
        for (std::size_t i = 0; i < elements; ++i) {
          const float value = 0.01F * static_cast<float>(i % 17) + 0.01F;
          std::memcpy(bytes.data() + 4 * i, &value, 4);
        }
      }
      writer.add_tensor(name, tensor.dtype, tensor.shape, std::as_bytes(std::span(bytes)));
    }
    std::ofstream(path, std::ios::binary) << writer.bytes();
  }
};

ModelPlan base(const std::string& architecture, std::uint32_t layers = 2) {
  ModelPlan plan;
  plan.architecture = architecture;
  plan.layers = layers;
  plan.key("embedding_length", number(static_cast<std::uint32_t>(kHostileWidth)));
  plan.key("block_count", number(layers));
  plan.key("context_length", number(64U));
  plan.key("attention.head_count", number(static_cast<std::uint32_t>(kHostileHeads)));
  plan.key("attention.head_count_kv", number(static_cast<std::uint32_t>(kHostileKvHeads)));
  plan.key("feed_forward_length", number(static_cast<std::uint32_t>(kHostileHidden)));
  plan.key("attention.layer_norm_rms_epsilon", number(1e-5F));
  plan.key("attention.layer_norm_epsilon", number(1e-5F));
  plan.tensors["token_embd.weight"] = {{kHostileWidth, kHostileVocab}};
  plan.tensors["output_norm.weight"] = {{kHostileWidth}};
  plan.layer_tensor("attn_q.weight", {kHostileWidth, kHostileHeads * kHostileHead});
  plan.layer_tensor("attn_k.weight", {kHostileWidth, kHostileKvHeads * kHostileHead});
  plan.layer_tensor("attn_v.weight", {kHostileWidth, kHostileKvHeads * kHostileHead});
  plan.layer_tensor("attn_output.weight", {kHostileHeads * kHostileHead, kHostileWidth});
  plan.layer_tensor("attn_norm.weight", {kHostileWidth});
  plan.layer_tensor("ffn_norm.weight", {kHostileWidth});
  plan.layer_tensor("ffn_gate.weight", {kHostileWidth, kHostileHidden});
  plan.layer_tensor("ffn_up.weight", {kHostileWidth, kHostileHidden});
  plan.layer_tensor("ffn_down.weight", {kHostileHidden, kHostileWidth});
  return plan;
}

ModelPlan llama() {
  ModelPlan plan = base("llama");
  plan.key("rope.dimension_count", number(8U));
  plan.key("rope.freq_base", number(10000.0F));
  plan.tensors["rope_freqs.weight"] = {{kHostileHead / 2}};
  plan.layer_tensor("attn_q.bias", {kHostileHeads * kHostileHead});
  plan.layer_tensor("attn_q.scale", {1});
  plan.tensors["output.weight"] = {{kHostileWidth, kHostileVocab}};
  return plan;
}

ModelPlan mistral3() {
  ModelPlan plan = base("mistral3");
  plan.key("attention.temperature_scale", number(0.1F));
  plan.key("rope.scaling.type", text("yarn"));
  plan.key("rope.scaling.factor", number(4.0F));
  plan.key("rope.scaling.original_context_length", number(16U));
  plan.key("rope.scaling.yarn_log_multiplier", number(1.0F));
  plan.key("rope.scaling.yarn_beta_fast", number(32.0F));
  return plan;
}

ModelPlan gemma(const std::string& architecture) {
  ModelPlan plan = base(architecture);
  plan.key("attention.sliding_window", number(4U));
  plan.key("attention.sliding_window_pattern", number(2U));
  plan.key("attention.key_length", number(static_cast<std::uint32_t>(kHostileHead)));
  plan.key("attention.value_length", number(static_cast<std::uint32_t>(kHostileHead)));
  plan.key("rope.freq_base_swa", number(10000.0F));
  plan.layer_tensor("post_attention_norm.weight", {kHostileWidth});
  plan.layer_tensor("post_ffw_norm.weight", {kHostileWidth});
  if (architecture == "gemma3") {
    plan.layer_tensor("attn_q_norm.weight", {kHostileHead});
    plan.layer_tensor("attn_k_norm.weight", {kHostileHead, kHostileKvHeads});
  }
  return plan;
}

ModelPlan gpt2() {
  ModelPlan plan = base("gpt2");
  plan.tensors["position_embd.weight"] = {{kHostileWidth, 64}};
  plan.layer_tensor("attn_norm.bias", {kHostileWidth});
  plan.without_layer_tensor("ffn_gate.weight");
  return plan;
}

ModelPlan bloom() {
  ModelPlan plan = base("bloom");
  plan.tensors["token_embd_norm.weight"] = {{kHostileWidth}};
  plan.without_layer_tensor("ffn_gate.weight");
  return plan;
}

ModelPlan glm4() {
  ModelPlan plan = gemma("glm4");
  plan.key("rope.dimension_sections", list<std::int32_t>({2, 1, 1, 0}));
  return plan;
}

ModelPlan olmo2() {
  ModelPlan plan = gemma("olmo2");
  plan.layer_tensor("attn_q_norm.weight", {kHostileHeads * kHostileHead});
  plan.layer_tensor("attn_k_norm.weight", {kHostileKvHeads * kHostileHead});
  plan.without_layer_tensor("attn_norm.weight");
  plan.without_layer_tensor("ffn_norm.weight");
  return plan;
}

ModelPlan cohere2() {
  ModelPlan plan = base("cohere2");
  plan.key("attention.sliding_window", number(4U));
  plan.key("logit_scale", number(0.5F));
  plan.without_layer_tensor("ffn_norm.weight");
  return plan;
}

/// Windows exist in the model of 64 layers only.
ModelPlan exaone4() {
  ModelPlan plan = base("exaone4", 64);
  plan.key("attention.sliding_window", number(4U));
  for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"})
    plan.layer_tensor(name, {kHostileHead});
  for (const char* name : {"post_attention_norm.weight", "post_ffw_norm.weight"})
    plan.layer_tensor(name, {kHostileWidth});
  return plan;
}

std::vector<ModelPlan> plans() {
  return {llama(), mistral3(), gemma("gemma2"), gemma("gemma3"), gpt2(),
          bloom(), glm4(),     olmo2(),         cohere2(),       exaone4()};
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What a key can be instead of what it should be.
const std::vector<Setter>& wrong_values() {
  static const std::vector<Setter> values = {
      number(std::int32_t{-1}),
      number(std::int32_t{0}),
      number(1U),
      number(3U),
      number(7U),
      number(1U << 16),
      number(std::numeric_limits<std::int32_t>::max()),
      number(std::numeric_limits<std::uint32_t>::max()),
      number(std::numeric_limits<std::int64_t>::min()),
      number(std::numeric_limits<std::int64_t>::max()),
      number(std::numeric_limits<std::uint64_t>::max()),
      number(0.0F),
      number(-1.0F),
      number(0.5F),
      number(std::numeric_limits<float>::quiet_NaN()),
      number(std::numeric_limits<float>::infinity()),
      number(-kInfinity),
      number(1e300),
      number(-1e-300),
      text("yarn"),
      [](Writer& writer, const std::string& key) { writer.set(key, true); },
      list<std::int32_t>({}),
      list<std::int32_t>({1}),
      list<std::int32_t>({4, 2, 1}),
      list<std::int32_t>({-1, -1}),
      list<std::int64_t>(
          {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max()}),
      list<std::int32_t>(std::vector<std::int32_t>(100, 0)),
      list<std::int32_t>({2147483647, 2147483647, 2147483647, 2147483647}),
      list<float>({0.5F, 1.0F}),
      list<std::string>({"a", "b"}),
  };
  return values;
}

/// Loads the model and evaluates some tokens. Returns whether it ran; every other exception than
/// Error passes through.
bool runs(const ModelPlan& plan, std::int64_t context = 32, std::int64_t first_position = 0,
          bool exact = true) {
  const TemporaryFolder folder;
  plan.write(folder / "model.gguf");
  spec::Setup setup;
  setup.model = folder / "model.gguf";
  setup.context = context;
  setup.threads = 1;
  setup.exact = exact;
  setup.kv_type = DType::kF32;
  setup.batch_rows = 8;
  try {
    const auto model = model::LoadedModel::load(setup, {}, {.logit_rows = 8});
    const auto sequence = model->new_sequence(first_position);
    std::vector<model::BatchRow> rows;
    for (std::int32_t token = 0; token < 7; ++token) rows.push_back({sequence.get(), token, true});
    (void)model->run(rows);
    (void)model->run(std::array{model::BatchRow{sequence.get(), 1, true}});
    return true;
  } catch (const Error& error) {
    EXPECT_STRNE(error.what(), "");
    return false;
  }
}

TEST(HostileMetadata, TheModelsThemselvesRun) {
  for (const ModelPlan& plan : plans()) EXPECT_TRUE(runs(plan)) << plan.architecture;
}

TEST(HostileMetadata, WrongKeysEndInAnError) {
  for (const ModelPlan& plan : plans()) {
    ModelPlan all = plan;  // with optional keys that the family's model does not have
    for (const char* name :
         {"rope.dimension_count", "attention.key_length", "attention.value_length",
          "rope.freq_base", "attention.scale", "nextn_predict_layers", "expert_count"}) {
      all.keys.try_emplace(plan.architecture + "." + name, nullptr);
    }
    // Of the deep model only what is its own: it is slow to load.
    if (plan.layers > 2)
      std::erase_if(all.keys, [](const auto& entry) {
        return entry.first.find("sliding_window") == std::string::npos;
      });
    for (const auto& [key, unused] : all.keys) {
      SCOPED_TRACE(key);
      ModelPlan changed = plan;
      const std::int64_t context = key.ends_with("context_length") ? 0 : 32;
      changed.keys.erase(key);
      (void)runs(changed, context);
      for (std::size_t i = 0; i < wrong_values().size(); ++i) {
        SCOPED_TRACE(i);
        changed.keys[key] = wrong_values()[i];
        (void)runs(changed, context);
      }
    }
  }
}

TEST(HostileMetadata, WrongTensorsEndInAnError) {
  for (const ModelPlan& plan : plans()) {
    for (const auto& [name, tensor] : plan.tensors) {
      if (plan.layers > 2) break;
      if (name.starts_with("blk.") && !name.starts_with("blk.1.")) continue;
      SCOPED_TRACE(plan.architecture + " " + name);
      const auto with = [&](std::vector<std::int64_t> shape, DType dtype = DType::kF32) {
        ModelPlan changed = plan;
        changed.tensors[name] = {std::move(shape), dtype};
        const bool ran = runs(changed);
        EXPECT_EQ(runs(changed, 32, 0, false), ran);
        return ran;
      };
      std::vector<std::int64_t> shape = tensor.shape;
      std::int64_t elements = 1;
      for (const std::int64_t size : shape) elements *= size;
      ModelPlan without = plan;
      without.tensors.erase(name);
      (void)runs(without);
      EXPECT_FALSE(with({elements + 1}));
      EXPECT_FALSE(with({1, elements + 1}));
      if (elements > 1) {
        EXPECT_FALSE(with({1, elements}));
        EXPECT_FALSE(with({2, elements / 2}));
        EXPECT_FALSE(with({1, 1, elements}));
        EXPECT_FALSE(with({1, 1, 1, elements}));
      }
      if (shape.size() == 2) {
        EXPECT_FALSE(with({elements}));
        if (name.find("embd") == std::string::npos) {
          EXPECT_FALSE(with({shape[0], shape[1] + 1}));
        }
      }
      (void)with(shape, DType::kI32);
      (void)with(shape, DType::kF16);
      (void)with(shape, DType::kF64);
      if (shape[0] % 32 == 0) (void)with(shape, DType::kQ4_0);
    }
  }
}

TEST(HostileMetadata, HeadsLargerThanTheWorkspacesAreRefused) {
  for (const std::int64_t size : {std::int64_t{1024}, std::int64_t{1026}, std::int64_t{8192}}) {
    ModelPlan plan = base("llama");
    plan.key("attention.key_length", number(static_cast<std::uint32_t>(size)));
    plan.key("attention.value_length", number(static_cast<std::uint32_t>(size)));
    plan.layer_tensor("attn_q.weight", {kHostileWidth, kHostileHeads * size});
    plan.layer_tensor("attn_k.weight", {kHostileWidth, kHostileKvHeads * size});
    plan.layer_tensor("attn_v.weight", {kHostileWidth, kHostileKvHeads * size});
    plan.layer_tensor("attn_output.weight", {kHostileHeads * size, kHostileWidth});
    EXPECT_EQ(runs(plan), size <= 1024) << size;
  }
}

TEST(HostileMetadata, HeadCountsDifferByLayer) {
  ModelPlan plan = base("llama");
  plan.key("attention.head_count_kv", list<std::int32_t>({2, 4}));
  EXPECT_FALSE(runs(plan));
  plan.tensors["blk.1.attn_k.weight"] = {{kHostileWidth, kHostileHeads * kHostileHead}};
  plan.tensors["blk.1.attn_v.weight"] = {{kHostileWidth, kHostileHeads * kHostileHead}};
  EXPECT_TRUE(runs(plan));
  plan.key("attention.head_count_kv", list<std::int32_t>({2}));
  EXPECT_FALSE(runs(plan));
}

TEST(HostileMetadata, TheDefaultContextIsWhatThePositionTableHolds) {
  ModelPlan plan = gpt2();
  plan.key("context_length", number(1000U));
  EXPECT_TRUE(runs(plan, 0));
  EXPECT_FALSE(runs(plan, 1000));
}

TEST(HostileMetadata, PositionsAndContextsOutOfRangeAreRefused) {
  constexpr std::int64_t kLast = std::numeric_limits<std::int32_t>::max();
  EXPECT_TRUE(runs(llama(), 32, kLast - 8));
  EXPECT_FALSE(runs(llama(), 32, kLast - 7));
  EXPECT_FALSE(runs(llama(), 32, -1));
  EXPECT_FALSE(runs(gpt2(), 32, 60));
  EXPECT_FALSE(runs(gpt2(), 65));
  EXPECT_FALSE(runs(llama(), -1));
  EXPECT_FALSE(runs(llama(), std::numeric_limits<std::int64_t>::max()));
}

}  // namespace
}  // namespace hearth::testing
