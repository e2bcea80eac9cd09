// PEFT adapters of checkpoints: applied to the converted model they must give what converting the
// merged checkpoint gives.
#include <fstream>

#include "adapter_maker.h"
#include "checkpoint_maker.h"
#include "model/convert/converter.h"
#include "safetensors_writer.h"
#include "shared_dir.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

constexpr std::int64_t kRank = 4;
const nlohmann::json kConfig = {{"peft_type", "LORA"}, {"r", kRank},
                                {"lora_alpha", 8},     {"bias", "none"},
                                {"use_dora", false},   {"modules_to_save", nullptr}};

/// Changes by the names of modules of the checkpoint.
Changes changes_of(const Checkpoint& checkpoint, const std::vector<std::string>& ends) {
  std::mt19937 random(7);
  Changes changes;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (!name.ends_with(".weight") || tensor.shape.size() != 2) continue;
    const std::string module = name.substr(0, name.size() - 7);
    const bool wanted = std::any_of(ends.begin(), ends.end(),
                                    [&](const std::string& end) { return module.ends_with(end); });
    if (!wanted) continue;
    changes.emplace(module, random_change(tensor.shape[1], tensor.shape[0], 1, kRank,
                                          module.ends_with("embed_tokens"), random));
  }
  return changes;
}

void write_peft(const std::filesystem::path& folder, const nlohmann::json& config,
                const Changes& changes) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "adapter_config.json") << config.dump();
  SafetensorsWriter writer;
  for (const auto& [module, c] : changes) {
    const std::string name = "base_model.model." + module;
    if (c.embedding) {
      std::vector<float> turned(c.a.size());
      for (std::int64_t t = 0; t < c.out; ++t) {
        for (std::int64_t r = 0; r < c.rank; ++r)
          turned[static_cast<std::size_t>(r * c.out + t)] = Change::at(c.a, t * c.rank + r);
      }
      writer.floats(name + ".lora_embedding_A", {c.rank, c.out}, turned);
      writer.floats(name + ".lora_embedding_B", {c.in, c.rank}, c.b);
    } else {
      writer.floats(name + ".lora_A.weight", {c.rank, c.in}, c.a);
      writer.floats(name + ".lora_B.weight", {c.out, c.rank}, c.b);
    }
  }
  writer.write(folder / "adapter_model.safetensors");
}

void merge(Checkpoint& checkpoint, const Changes& changes, double k) {
  for (const auto& [module, change] : changes) {
    std::vector<float>& values = checkpoint.tensors.at(module + ".weight").values;
    const std::vector<float> delta = change.delta(k);
    ASSERT_EQ(values.size(), delta.size());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
  }
}

std::filesystem::path converted(const Checkpoint& checkpoint, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  checkpoint.write(folder);
  const std::filesystem::path out = folder.string() + ".gguf";
  model::convert::ConvertOptions options;
  options.type = tensor::DType::kF32;
  model::convert::convert(folder, out, options);
  return out;
}

struct PeftCase {
  std::string name;
  std::vector<std::string> modules;
};

class PeftAdapter : public ::testing::TestWithParam<PeftCase> {};

TEST_P(PeftAdapter, GivesTheLogitsOfTheMergedCheckpoint) {
  const auto& [name, modules] = GetParam();
  HEARTH_REQUIRE_FILE(golden_model(name));
  const TemporaryFolder folder;
  Checkpoint checkpoint = make_checkpoint(name);
  const Changes changes = changes_of(checkpoint, modules);
  ASSERT_GE(changes.size(), modules.size());
  const std::filesystem::path base = converted(checkpoint, folder / "base");
  nlohmann::json config = kConfig;
  config["use_rslora"] = true;
  write_peft(folder / "peft", config, changes);
  merge(checkpoint, changes, 0.5 * 8 / std::sqrt(static_cast<double>(kRank)));
  const auto merged = load_exactly(converted(checkpoint, folder / "merged"));
  const auto model = load_exactly(base);
  const auto set = model->mix({{model->load_adapter(folder / "peft"), 0.5F}});
  const std::vector<float> expected = logits_of(*merged);
  EXPECT_LE(nmse(logits_of(*model, set.get()), expected), 1e-6);
  EXPECT_GT(nmse(logits_of(*model), expected), 1e-4);
}

const std::vector<std::string> kAttention = {"q_proj", "k_proj", "v_proj", "o_proj"};
const std::vector<std::string> kMlp = {"gate_proj", "up_proj", "down_proj"};

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

INSTANTIATE_TEST_SUITE_P(
    Adapters, PeftAdapter,
    ::testing::Values(
        PeftCase{"llama-plain", joined(joined(kAttention, kMlp), {"embed_tokens", "lm_head"})},
        PeftCase{"llama-moe", joined(kAttention, {"w1", "w2", "w3", "block_sparse_moe.gate"})},
        PeftCase{"qwen3", joined(kAttention, kMlp)},
        PeftCase{"qwen3moe", joined(kMlp, {"mlp.gate"})}, PeftCase{"smollm3", kAttention},
        PeftCase{"granite", kAttention}, PeftCase{"mistral3", kAttention},
        PeftCase{"gemma2", joined(kAttention, kMlp)}, PeftCase{"gemma3", kMlp},
        PeftCase{"olmo2", joined(kAttention, kMlp)},
        PeftCase{"phi3-short", {"qkv_proj", "gate_up_proj", "o_proj", "down_proj"}},
        PeftCase{"lfm2",
                 {"conv.in_proj", "conv.out_proj", "feed_forward.w1", "feed_forward.w2",
                  "feed_forward.w3", "self_attn.q_proj", "self_attn.out_proj"}}),
    [](const auto& given) {
      std::string name = given.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(PeftFolder, EqualsTheSameAdapterAsGguf) {
  HEARTH_REQUIRE_FILE(golden_model("qwen3"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("qwen3"));
  const Changes changes = random_changes(file, {"blk.0.attn_q."}, kRank);
  write_adapter(folder / "lora.gguf", file, 8, changes);
  write_peft(folder / "peft", kConfig,
             {{"model.layers.0.self_attn.q_proj", changes.at("blk.0.attn_q.weight")}});
  const auto model = load_exactly(golden_model("qwen3"));
  const auto one = model->mix({{model->load_adapter(folder / "lora.gguf"), 1.0F}});
  const auto other = model->mix({{model->load_adapter(folder / "peft"), 1.0F}});
  const std::vector<float> expected = logits_of(*model, one.get());
  EXPECT_EQ(logits_of(*model, other.get()), expected);
  EXPECT_NE(logits_of(*model), expected);
  // The same scale by a pattern.
  nlohmann::json config = kConfig;
  config["r"] = 99;
  config["lora_alpha"] = 1;
  config["rank_pattern"] = {{"q_proj", kRank}};
  config["alpha_pattern"] = {{"layers.0.self_attn.q_proj", 8}};
  write_peft(folder / "patterns", config,
             {{"model.layers.0.self_attn.q_proj", changes.at("blk.0.attn_q.weight")}});
  const auto third = model->mix({{model->load_adapter(folder / "patterns"), 1.0F}});
  EXPECT_EQ(logits_of(*model, third.get()), expected);
}

TEST(PeftFolder, RefusesWhatIsNotSupported) {
  HEARTH_REQUIRE_FILE(golden_model("qwen3"));
  const TemporaryFolder folder;
  const auto model = load_exactly(golden_model("qwen3"));
  const gguf::File file = gguf::File::open(golden_model("qwen3"));
  const Change q = random_changes(file, {"blk.0.attn_q."}, kRank).at("blk.0.attn_q.weight");
  const std::string module = "model.layers.0.self_attn.q_proj";
  const auto expect = [&](const nlohmann::json& config, const Changes& changes,
                          std::string_view words) {
    write_peft(folder / "peft", config, changes);
    try {
      (void)model->load_adapter(folder / "peft");
      FAIL() << "no error where it should say " << words;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json config = kConfig;
    config[key] = value;
    return config;
  };
  const Changes good = {{module, q}};
  expect(with("peft_type", "LOHA"), good, "peft_type");
  expect(with("use_dora", true), good, "use_dora");
  expect(with("modules_to_save", {"lm_head"}), good, "modules_to_save");
  expect(with("bias", "all"), good, "bias");
  expect(with("lora_alpha", 0), good, "lora_alpha");
  expect(with("r", 5), good, "rank 4");
  expect(with("alpha_pattern", {{"layers\\.[0-9]+", 2}}), good, "regular expressions");
  expect(kConfig, {{"model.layers.0.self_attn.z_proj", q}}, "z_proj");
  expect(kConfig, {{"model.layers.77.self_attn.q_proj", q}}, "blk.77");
  expect(kConfig, {{"model.layers.0.self_attn.k_proj", q}}, "do not fit");
  expect(kConfig, {}, "changes nothing");
  std::filesystem::remove(folder / "peft" / "adapter_model.safetensors");
  EXPECT_THROW((void)model->load_adapter(folder / "peft"), Error);
  std::filesystem::remove(folder / "peft" / "adapter_config.json");
  EXPECT_THROW((void)model->load_adapter(folder / "peft"), Error);
  write_peft(folder / "peft", kConfig, good);
  const std::string bytes = read_file(folder / "peft" / "adapter_model.safetensors");
  for (std::size_t size = 0; size < bytes.size(); size += 97) {
    write_file_atomically(folder / "peft" / "adapter_model.safetensors", bytes.substr(0, size));
    EXPECT_THROW((void)model->load_adapter(folder / "peft"), Error) << size;
  }
  SafetensorsWriter dora;
  dora.floats("base_model.model." + module + ".lora_magnitude_vector", {4}, std::vector<float>(4));
  dora.write(folder / "peft" / "adapter_model.safetensors");
  EXPECT_THROW((void)model->load_adapter(folder / "peft"), Error);
}

}  // namespace
}  // namespace hearth::testing
