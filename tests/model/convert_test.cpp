// Converting checkpoints: those that the goldens could have been converted from must give the
// goldens back, value for value.
#include "model/convert/converter.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint_maker.h"
#include "compute/reference/reference_backend.h"
#include "gguf/safetensors.h"
#include "golden_case.h"
#include "quant/quant.h"
#include "safetensors_writer.h"
#include "shared_dir.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using model::convert::convert;
using model::convert::ConvertOptions;
using model::convert::ConvertProgress;

std::vector<float> decoded(const gguf::File& file, const gguf::TensorInfo& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  quant::decode(tensor.dtype, file.data(tensor), values);
  return values;
}

/// Tensors that are computed: exp(log(x)) and rope factors may differ in the last bit.
bool is_computed(const std::string& name) {
  return name.ends_with("ssm_a") || name == "rope_freqs.weight";
}

void expect_same_tensors(const gguf::File& made, const gguf::File& golden) {
  std::set<std::string> names;
  for (const gguf::TensorInfo& tensor : golden.tensors()) {
    names.insert(tensor.name);
    const gguf::TensorInfo* same = made.find_tensor(tensor.name);
    ASSERT_NE(same, nullptr) << tensor.name;
    EXPECT_EQ(same->dtype, tensor.dtype) << tensor.name;
    EXPECT_TRUE(std::equal(tensor.shape, tensor.shape + 4, same->shape)) << tensor.name;
    EXPECT_EQ(same->dimensions, tensor.dimensions) << tensor.name;
    const auto expected = golden.data(tensor), found = made.data(*same);
    ASSERT_EQ(found.size(), expected.size()) << tensor.name;
    if (!is_computed(tensor.name)) {
      EXPECT_TRUE(std::equal(found.begin(), found.end(), expected.begin())) << tensor.name;
      continue;
    }
    const std::vector<float> a = decoded(made, *same), b = decoded(golden, tensor);
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_NEAR(a[i], b[i], 1e-6 * std::abs(b[i])) << tensor.name << " " << i;
  }
  for (const gguf::TensorInfo& tensor : made.tensors())
    EXPECT_TRUE(names.contains(tensor.name)) << "made besides: " << tensor.name;
}

bool same_value(const gguf::Metadata& a, const gguf::Metadata& b, std::string_view key) {
  if (a.find(key)->type != b.find(key)->type) return false;
  if (a.get_strings(key)) return a.get_strings(key) == b.get_strings(key);
  if (a.get_string(key)) return a.get_string(key) == b.get_string(key);
  return a.get_floats(key) == b.get_floats(key) && a.get_bool(key) == b.get_bool(key);
}

/// All keys of the golden but its name, and no other keys of the architecture.
void expect_same_keys(const gguf::Metadata& made, const gguf::Metadata& golden) {
  const std::string prefix = std::string(golden.get_string("general.architecture").value()) + ".";
  for (const gguf::KeyValue& entry : golden.entries()) {
    if (entry.key == "general.name") continue;
    ASSERT_TRUE(made.contains(entry.key)) << entry.key;
    EXPECT_TRUE(same_value(made, golden, entry.key)) << entry.key;
  }
  for (const gguf::KeyValue& entry : made.entries()) {
    // A base of 10000 is the one that readers assume.
    if (entry.key == prefix + "rope.freq_base" && made.get_float(entry.key) == 10000.0) continue;
    if (entry.key.starts_with(prefix)) {
      EXPECT_TRUE(golden.contains(entry.key)) << "made besides: " << entry.key;
    }
  }
}

class ConvertGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(ConvertGolden, GivesTheGoldenBack) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const TemporaryFolder folder;
  make_checkpoint(GetParam()).write(folder.path(), GetParam().size() % 2 == 0 ? 2 : 1);
  const auto result = convert(folder.path(), folder / "out.gguf", {});
  const gguf::File golden = gguf::File::open(goldens_dir() / "arch" / (GetParam() + ".gguf"));
  const gguf::File made = gguf::File::open(folder / "out.gguf");
  expect_same_tensors(made, golden);
  expect_same_keys(made.metadata(), golden.metadata());
  EXPECT_EQ(result.tensors, golden.tensors().size());
  EXPECT_TRUE(result.warnings.empty());
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertGolden, ::testing::ValuesIn(checkpoint_cases()),
                         case_name);

/// The converted model's logits are the reference's.
class ConvertLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(ConvertLogits, EqualTheReference) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const TemporaryFolder folder;
  make_checkpoint(GetParam()).write(folder.path());
  convert(folder.path(), folder / "out.gguf", {});
  const GoldenCase golden(GetParam());
  ModelOnBackend model(folder / "out.gguf", compute::make_reference_backend());
  model.restart(0);
  EXPECT_LE(nmse(model.run(golden.ids("prompt_tokens")), golden.array("prompt_logits")), 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertLogits,
                         ::testing::Values("llama-plain", "llama3-rope-factors", "llama-moe",
                                           "mistral3", "gemma", "qwen3moe", "qwen35", "lfm2",
                                           "deepseek2", "deepseek2-lite", "qwen2", "qwen3",
                                           "gemma2", "gemma3", "phi3-short", "smollm3", "olmo2",
                                           "granite"),
                         case_name);

// Options.

class ConvertSmall : public ::testing::Test {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
    checkpoint_ = make_checkpoint("qwen3");
  }
  [[nodiscard]] std::filesystem::path out() const { return folder_ / "out.gguf"; }
  model::convert::ConvertResult run(const ConvertOptions& options = {}) {
    checkpoint_.write(source());
    return convert(source(), out(), options);
  }
  [[nodiscard]] std::filesystem::path source() const {
    std::filesystem::create_directories(folder_ / "checkpoint");
    return folder_ / "checkpoint";
  }
  /// What converting says; nothing may be left behind.
  [[nodiscard]] std::string refusal(const ConvertOptions& options = {}) {
    std::string message = "accepted";
    try {
      run(options);
    } catch (const Error& error) {
      message = std::string(error.what()) + "; " + error.hint();
    }
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      EXPECT_EQ(entry.path().filename(), "checkpoint") << "left behind";
    return message;
  }
  void set_config(const std::string& key, const nlohmann::json& value) {
    auto config = nlohmann::ordered_json::parse(checkpoint_.config);
    config[key] = value;
    checkpoint_.config = config.dump();
  }
  static void expect_part(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }

  Checkpoint checkpoint_;
  TemporaryFolder folder_;
};

TEST_F(ConvertSmall, TypesOfMatricesAndVectors) {
  for (const auto& [type, file_type] :
       {std::pair(tensor::DType::kF32, 0), std::pair(tensor::DType::kBF16, 32)}) {
    run({.type = type, .pre_tokenizer = "", .overwrite = true});
    const gguf::File made = gguf::File::open(out());
    EXPECT_EQ(made.metadata().get_int("general.file_type"), file_type);
    EXPECT_EQ(made.find_tensor("blk.0.attn_q.weight")->dtype, type);
    EXPECT_EQ(made.find_tensor("blk.0.attn_q_norm.weight")->dtype, tensor::DType::kF32);
    const std::vector<float> values = decoded(made, *made.find_tensor("blk.1.ffn_up.weight"));
    const std::vector<float>& expected =
        checkpoint_.tensors.at("model.layers.1.mlp.up_proj.weight").values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float rounded =
          type == tensor::DType::kF32
              ? expected[i]
              : tensor::float_from_bfloat16(tensor::bfloat16_from_float(expected[i]));
      ASSERT_EQ(values[i], rounded);
    }
  }
}

TEST_F(ConvertSmall, NamesAndSamplingSettingsComeAlong) {
  checkpoint_.files["generation_config.json"] =
      R"({"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95,"min_p":7,
          "repetition_penalty":1.05,"eos_token_id":[126,124]})";
  run();
  const gguf::File made = gguf::File::open(out());
  const gguf::Metadata& metadata = made.metadata();
  EXPECT_EQ(metadata.get_string("general.name"), "checkpoint");
  EXPECT_FLOAT_EQ(static_cast<float>(metadata.get_float("general.sampling.temp").value()), 0.6F);
  EXPECT_EQ(metadata.get_int("general.sampling.top_k"), 20);
  EXPECT_FALSE(metadata.contains("general.sampling.min_p"));  // out of range
  EXPECT_EQ(metadata.get_ints("tokenizer.ggml.eos_token_ids"),
            (std::vector<std::int64_t>{124, 126}));
}

TEST_F(ConvertSmall, ProgressRisesToTheWhole) {
  checkpoint_.write(source());
  std::uint64_t last = 0, total = 1;
  const auto result = convert(source(), out(), {}, [&](const ConvertProgress& progress) {
    EXPECT_GT(progress.done, last);
    last = progress.done;
    total = progress.total;
  });
  EXPECT_EQ(last, total);
  EXPECT_EQ(last, result.bytes);
}

TEST_F(ConvertSmall, AnInterruptedConversionLeavesNothing) {
  checkpoint_.write(source());
  EXPECT_THROW(convert(source(), out(), {},
                       [](const ConvertProgress& progress) {
                         if (progress.done > progress.total / 2) throw Error("interrupted");
                       }),
               Error);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().filename(), "checkpoint");
}

TEST_F(ConvertSmall, AFullDiskLeavesNothing) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  checkpoint_.write(source());
  // Writing beyond the limit fails like writing to a full disk.
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited = {4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  std::string message = "accepted";
  try {
    convert(source(), out(), {});
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, previous);
  expect_part(message, "cannot write");
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().filename(), "checkpoint");
}

TEST_F(ConvertSmall, AnExistingFileIsReplacedOnlyWhenAsked) {
  run();
  try {
    convert(source(), out(), {});
    ADD_FAILURE();
  } catch (const Error& error) {
    expect_part(error.what(), "exists already");
    expect_part(error.hint(), "--force");
  }
  convert(source(), out(), {.type = tensor::DType::kF32, .pre_tokenizer = "", .overwrite = true});
  EXPECT_EQ(gguf::File::open(out()).metadata().get_int("general.file_type"), 0);
}

// What is wrong with a checkpoint.

TEST_F(ConvertSmall, FoldersThatAreNoCheckpoints) {
  EXPECT_THROW(convert(folder_ / "none", out(), {}), Error);
  try {
    convert(source(), out(), {});
    ADD_FAILURE();
  } catch (const Error& error) {
    expect_part(error.what(), "no config.json");
  }
  checkpoint_.config = "[1]";
  expect_part(refusal(), "not a JSON object");
  checkpoint_.config = "{";
  expect_part(refusal(), "not valid JSON");
  checkpoint_.config = std::string(100000, '[');
  expect_part(refusal(), "nested too deeply");
}

TEST_F(ConvertSmall, UnknownModelsAreNamedWithTheKnownOnes) {
  set_config("model_type", "mamba\n2");
  const std::string message = refusal();
  expect_part(message, "'mamba\\x0a2'");
  expect_part(message, "qwen3_moe, smollm3");
}

TEST_F(ConvertSmall, TheCheckpointItselfIsNotReplaced) {
  checkpoint_.write(source());
  EXPECT_THROW(convert(source(), source() / "model.safetensors",
                       {.type = tensor::DType::kF16, .pre_tokenizer = "", .overwrite = true}),
               Error);
  EXPECT_NO_THROW((void)gguf::SafeTensors::open(source()));
}

TEST_F(ConvertSmall, RopeParametersOfKindsOfLayers) {
  checkpoint_ = make_checkpoint("gemma3");
  auto config = nlohmann::ordered_json::parse(checkpoint_.config);
  config["text_config"]["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 2e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 3e4}}}};
  checkpoint_.config = config.dump();
  run();
  const gguf::File made = gguf::File::open(out());
  EXPECT_EQ(made.metadata().get_float("gemma3.rope.freq_base"), 2e6);
  EXPECT_EQ(made.metadata().get_float("gemma3.rope.scaling.factor"), 8);
  EXPECT_EQ(made.metadata().get_float("gemma3.rope.freq_base_swa"), 3e4);
}

TEST_F(ConvertSmall, TiedOutputMatrices) {
  checkpoint_.tensors["lm_head.weight"] = checkpoint_.tensors.at("model.embed_tokens.weight");
  run();  // tied: the copy is left out
  EXPECT_EQ(gguf::File::open(out()).find_tensor("output.weight"), nullptr);
  set_config("tie_word_embeddings", false);
  run({.type = tensor::DType::kF16, .pre_tokenizer = "", .overwrite = true});
  EXPECT_NE(gguf::File::open(out()).find_tensor("output.weight"), nullptr);
  std::filesystem::remove(out());
  checkpoint_.tensors.erase("lm_head.weight");
  expect_part(refusal(), "no tensor 'lm_head.weight'");
}

// DeepSeek V3 has a block that predicts the token after next, stored as one more layer.
TEST_F(ConvertSmall, PredictionBlocksOfDeepSeek) {
  checkpoint_ = make_checkpoint("deepseek2");
  auto& tensors = checkpoint_.tensors;
  const std::string last = "model.layers.1.", extra = "model.layers.2.";
  std::map<std::string, CheckpointTensor> copies;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(last)) copies[extra + name.substr(last.size())] = tensor;
  }
  tensors.merge(copies);
  for (const char* name : {"enorm.weight", "hnorm.weight", "shared_head.norm.weight"})
    tensors[extra + name] = {{64}, std::vector<float>(64, 1.5F)};
  tensors[extra + "eh_proj.weight"] = {{64, 128}, std::vector<float>(64 * 128, 0.25F)};
  tensors[extra + "embed_tokens.weight"] = tensors.at("model.embed_tokens.weight");
  tensors[extra + "shared_head.head.weight"] = tensors.at("model.embed_tokens.weight");
  run();
  const gguf::File made = gguf::File::open(out());
  EXPECT_EQ(made.metadata().get_int("deepseek2.block_count"), 3);
  EXPECT_EQ(made.metadata().get_int("deepseek2.nextn_predict_layers"), 1);
  EXPECT_EQ(made.find_tensor("blk.2.nextn.eh_proj.weight")->shape[0], 128);
  for (const char* name : {"enorm", "hnorm", "shared_head_norm"})
    EXPECT_NE(made.find_tensor(std::string("blk.2.nextn.") + name + ".weight"), nullptr) << name;
  // A copy of the model's own matrix is left out, another one is kept.
  EXPECT_EQ(made.find_tensor("blk.2.nextn.embed_tokens.weight"), nullptr);
  EXPECT_NE(made.find_tensor("blk.2.nextn.shared_head_head.weight"), nullptr);
  const auto first = made.data(*made.find_tensor("blk.1.ffn_up_exps.weight"));
  const auto copy = made.data(*made.find_tensor("blk.2.ffn_up_exps.weight"));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), copy.begin(), copy.end()));
}

TEST_F(ConvertSmall, PeriodsOfWindows) {
  checkpoint_ = make_checkpoint("gemma2");
  const auto pattern_of = [&](const std::vector<std::string>& types) {
    set_config("layer_types", types);
    run({.type = tensor::DType::kF16, .pre_tokenizer = "", .overwrite = true});
    return gguf::File::open(out()).metadata().get_int("gemma2.attention.sliding_window_pattern");
  };
  EXPECT_EQ(pattern_of({"sliding_attention", "full_attention"}), std::nullopt);
  EXPECT_EQ(pattern_of({"sliding_attention", "sliding_attention"}), 0);
  EXPECT_EQ(pattern_of({"full_attention", "full_attention"}), 1);
  EXPECT_THROW(pattern_of({"full_attention", "sliding_attention"}), Error);
}

TEST_F(ConvertSmall, QuantizedCheckpointsAreRefused) {
  set_config("quantization_config", {{"quant_method", "gptq"}, {"bits", 4}});
  expect_part(refusal(), "quantized (gptq)");
}

TEST_F(ConvertSmall, MissingTensors) {
  checkpoint_.tensors.erase("model.layers.1.mlp.down_proj.weight");
  expect_part(refusal(), "no tensor 'model.layers.1.mlp.down_proj.weight'");
}

TEST_F(ConvertSmall, TensorsOfAnotherShape) {
  checkpoint_.tensors.at("model.layers.0.self_attn.k_proj.weight").shape = {32, 128};
  expect_part(refusal(), "has shape [32, 128] where [64, 64] is needed");
}

TEST_F(ConvertSmall, ConfigurationsOfAnotherModel) {
  set_config("num_hidden_layers", 1);
  expect_part(refusal(), "does not use");  // the tensors of the second layer
  set_config("num_hidden_layers", 1'000'000'000);
  expect_part(refusal(), "num_hidden_layers");
  set_config("num_hidden_layers", 2);
  set_config("num_attention_heads", 3);
  expect_part(refusal(), "num_key_value_heads");
  set_config("num_attention_heads", "four");
  expect_part(refusal(), "is not a whole number");
  set_config("num_attention_heads", 4);
  set_config("hidden_act", "relu");
  expect_part(refusal(), "'relu'");
  set_config("hidden_act", "silu");
  set_config("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}});
  expect_part(refusal(), "'dynamic' cannot be converted");
}

TEST_F(ConvertSmall, TensorsThatWouldBeLost) {
  checkpoint_.tensors["model.layers.0.self_attn.q_proj.lora_A.weight"] = {{2, 64},
                                                                          std::vector<float>(128)};
  expect_part(refusal(), "'model.layers.0.self_attn.q_proj.lora_A.weight'");
}

TEST_F(ConvertSmall, ValuesThatHalfPrecisionCannotHold) {
  checkpoint_.tensors.at("model.layers.0.mlp.up_proj.weight").values[70] = 1e6F;
  expect_part(refusal(), "--type BF16");
  run({.type = tensor::DType::kBF16, .pre_tokenizer = "", .overwrite = true});
  const gguf::File made = gguf::File::open(out());
  EXPECT_NEAR(decoded(made, *made.find_tensor("blk.0.ffn_up.weight"))[70], 1e6F, 4e3F);
}

TEST_F(ConvertSmall, TruncatedShards) {
  checkpoint_.write(source(), 2);
  const auto shard = source() / "model-00002-of-00002.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 100);
  try {
    convert(source(), out(), {});
    ADD_FAILURE();
  } catch (const Error& error) {
    expect_part(error.what(), "truncated");
  }
  EXPECT_FALSE(std::filesystem::exists(out()));
}

TEST_F(ConvertSmall, VisionPartsAreLeftOutWithANote) {
  checkpoint_.tensors["model.visual.patch.weight"] = {{4}, std::vector<float>(4)};
  const auto result = run();
  ASSERT_EQ(result.warnings.size(), 1U);
  expect_part(result.warnings[0], "images");
}

// Eight-bit checkpoints of DeepSeek V3: tiles of 128 x 128 values share a scale.
TEST_F(ConvertSmall, TiledEightBitFloats) {
  set_config("quantization_config", {{"quant_method", "fp8"}, {"weight_block_size", {16, 32}}});
  checkpoint_.write(source());
  SafetensorsWriter writer;
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  for (const auto& [other, tensor] : checkpoint_.tensors) {
    if (other != name) writer.floats(other, tensor.shape, tensor.values);
  }
  std::string bytes(96 * 64, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % 0x78);
  std::vector<float> scales(6 * 2);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = 0.5F + static_cast<float>(i);
  writer.add(name, "F8_E4M3", {96, 64}, bytes).floats(name + "_scale_inv", {6, 2}, scales);
  writer.write(source() / "model.safetensors");
  convert(source(), out(), {.type = tensor::DType::kF32, .pre_tokenizer = "", .overwrite = false});
  const gguf::File made = gguf::File::open(out());
  const std::vector<float> values = decoded(made, *made.find_tensor("blk.0.ffn_up.weight"));
  for (const std::size_t i :
       {std::size_t{0}, std::size_t{70}, std::size_t{3000}, values.size() - 1}) {
    const int code = static_cast<int>(i % 0x78);
    const float plain = code < 8 ? std::ldexp(static_cast<float>(code), -9)
                                 : std::ldexp(static_cast<float>(8 + code % 8), code / 8 - 10);
    EXPECT_EQ(values[i], plain * scales[i / 64 / 16 * 2 + i % 64 / 32]) << i;
  }
}

/// Every value of the configuration made wrong in many ways: an error or a file, nothing else.
class ConvertHostile : public ::testing::TestWithParam<std::string> {};

/// Thrown when all bytes of a file were made.
struct Made {};

std::size_t convert_with_wrong_values(const Checkpoint& original, const std::string& inside,
                                      const TemporaryFolder& folder) {
  using Json = nlohmann::json;
  const Json config = Json::parse(original.config);
  const Json wrong[] = {nullptr, 0,   1,     3,       1 << 27, -1,           1e300,
                        0.37,    "x", false, {1, -2}, {},      {{"type", 7}}};
  std::size_t refused = 0;
  const Json& object = inside.empty() ? config : config.at(inside);
  for (const auto& [key, value] : object.items()) {
    for (const Json& replacement : wrong) {
      Json changed = config;
      (inside.empty() ? changed : changed[inside])[key] = replacement;
      std::ofstream(folder / "config.json") << changed.dump();
      try {
        // Everything is made; syncing thousands of files to the disk would only take time.
        convert(folder.path(), folder / "out.gguf", {}, [](const ConvertProgress& progress) {
          if (progress.done == progress.total) throw Made();
        });
        ADD_FAILURE() << "nothing was made";
      } catch (const Made&) {
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        ++refused;
      }
    }
  }
  return refused;
}

TEST_P(ConvertHostile, WrongValuesInTheConfiguration) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const TemporaryFolder folder;
  const Checkpoint checkpoint = make_checkpoint(GetParam());
  checkpoint.write(folder.path());
  EXPECT_GT(convert_with_wrong_values(checkpoint, "", folder), 10U);
  if (nlohmann::json::parse(checkpoint.config).contains("text_config")) {
    EXPECT_GT(convert_with_wrong_values(checkpoint, "text_config", folder), 10U);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertHostile,
                         ::testing::Values("llama-moe", "llama3-rope-factors", "mistral3",
                                           "qwen3moe", "qwen35-mtp", "gemma3", "phi3-short",
                                           "smollm3", "olmo2", "lfm2", "granite", "deepseek2",
                                           "bert-rank"),
                         case_name);

}  // namespace
}  // namespace hearth::testing
