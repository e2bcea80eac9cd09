// Adapters applied at run time must give what merged weights give.
#include "model/adapter.h"

#include "adapter_maker.h"
#include "shared_dir.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using model::LoadedModel;

constexpr double kTolerance = 1e-6;

struct AdapterCase {
  std::string model;
  std::set<std::string> parts;
  std::int64_t rank = 4;
};

class MergedAdapter : public ::testing::TestWithParam<AdapterCase> {};

TEST_P(MergedAdapter, GivesTheLogitsOfMergedWeights) {
  const AdapterCase& given = GetParam();
  HEARTH_REQUIRE_FILE(golden_model(given.model));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model(given.model));
  const Changes changes = random_changes(file, given.parts, given.rank);
  ASSERT_FALSE(changes.empty());
  constexpr float kAlpha = 6, kScale = 1.5F;
  write_adapter(folder / "lora.gguf", file, kAlpha, changes);
  write_merged(folder / "merged.gguf", file,
               {{changes, double{kScale} * kAlpha / static_cast<double>(given.rank)}});

  const auto merged = load_exactly(folder / "merged.gguf");
  const std::vector<float> expected = logits_of(*merged);
  const auto model = load_exactly(golden_model(given.model));
  const std::vector<float> plain = logits_of(*model);
  EXPECT_GT(nmse(plain, expected), 1e-4) << "the adapter changes too little to tell";
  const auto adapter = model->load_adapter(folder / "lora.gguf");
  const auto set = model->mix({{adapter, kScale}});
  EXPECT_LE(nmse(logits_of(*model, set.get()), expected), kTolerance);
  EXPECT_EQ(logits_of(*model), plain) << "without the adapter, nothing has changed";
}

INSTANTIATE_TEST_SUITE_P(
    Adapters, MergedAdapter,
    ::testing::Values(AdapterCase{"llama-plain", {"attn_", "ffn_"}, 4},
                      AdapterCase{"llama-plain", {"blk."}, 7},
                      AdapterCase{"llama-plain", {"token_embd"}, 3},
                      AdapterCase{"llama-plain", {"output.weight", "token_embd", "attn_q."}, 5},
                      AdapterCase{"gemma2", {"attn_", "ffn_"}, 3},
                      AdapterCase{"llama-moe", {"_exps", "attn_q.", "ffn_gate_inp"}, 3},
                      AdapterCase{"qwen3moe", {"_exps"}, 5},
                      AdapterCase{"lfm2", {"shortconv.in_proj", "shortconv.out_proj", "ffn_"}, 4},
                      AdapterCase{"mamba2", {"ssm_in", "ssm_out"}, 4},
                      AdapterCase{
                          "deepseek2", {"attn_kv_a_mqa", "attn_q_", "attn_k_b", "attn_v_b"}, 3},
                      AdapterCase{"qwen35", {"attn_", "ssm_out", "ffn_"}, 2}),
    [](const auto& given) {
      std::string name = given.param.model + "_" + *given.param.parts.begin();
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
      return name + "_" + std::to_string(given.param.rank);
    });

TEST(Adapter, EmbeddingsAreScaledLikeTheTable) {
  HEARTH_REQUIRE_FILE(golden_model("gemma2"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("gemma2"));
  const Changes changes = random_changes(file, {"token_embd"}, 3);
  write_adapter(folder / "lora.gguf", file, 3, changes);
  const auto model = load_exactly(golden_model("gemma2"));
  ASSERT_NE(model->spec().embedding.scale, 1.0F);
  // A tied output matrix stays as it was: the adapter is of the embeddings.
  ASSERT_EQ(model->spec().head.linear.weight, "token_embd.weight");
  const auto set = model->mix({{model->load_adapter(folder / "lora.gguf"), 1.0F}});
  const std::vector<float> changed = logits_of(*model, set.get());
  EXPECT_GT(nmse(changed, logits_of(*model)), 1e-4);
}

TEST(Adapter, OfATiedOutputMatrixLeavesTheEmbeddingsAlone) {
  HEARTH_REQUIRE_FILE(golden_model("llama-tied"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-tied"));
  const gguf::TensorInfo& table = *file.find_tensor("token_embd.weight");
  std::mt19937 random(3);
  const std::map<std::string, std::string> untied = {{"token_embd.weight", "output.weight"}};
  const auto compare = [&](const Changes& changes) {
    write_adapter(folder / "lora.gguf", file, 4, changes);
    write_merged(folder / "merged.gguf", file, {{changes, 1.0}}, untied);
    const auto merged = load_exactly(folder / "merged.gguf");
    const auto model = load_exactly(golden_model("llama-tied"));
    const auto set = model->mix({{model->load_adapter(folder / "lora.gguf"), 1.0F}});
    EXPECT_LE(nmse(logits_of(*model, set.get()), logits_of(*merged)), kTolerance);
  };
  compare({{"output.weight", random_change(table.shape[0], table.shape[1], 1, 4, false, random)}});
  compare(
      {{"token_embd.weight", random_change(table.shape[0], table.shape[1], 1, 4, true, random)}});
}

TEST(Adapter, SeveralAddUp) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  const Changes first = random_changes(file, {"attn_", "token_embd"}, 4, 1);
  const Changes second = random_changes(file, {"attn_v", "ffn_", "token_embd"}, 6, 2);
  write_adapter(folder / "first.gguf", file, 8, first);
  write_adapter(folder / "second.gguf", file, 0, second);  // alpha 0: the scale alone
  write_merged(folder / "merged.gguf", file, {{first, 0.5 * 8 / 4}, {second, -0.75}});
  const auto merged = load_exactly(folder / "merged.gguf");
  const auto model = load_exactly(golden_model("llama-plain"));
  const auto a = model->load_adapter(folder / "first.gguf");
  const auto b = model->load_adapter(folder / "second.gguf");
  const auto set = model->mix({{a, 0.5F}, {b, -0.75F}});
  EXPECT_LE(nmse(logits_of(*model, set.get()), logits_of(*merged)), kTolerance);
  const auto nothing = model->mix({{a, 0.0F}, {b, 0.0F}});
  EXPECT_EQ(logits_of(*model, nothing.get()), logits_of(*model));
}

TEST(Adapter, QuantizedModelsStayClose) {
  HEARTH_REQUIRE_FILE(golden_model("llama-256-Q8_0"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-256-Q8_0"));
  const Changes changes = random_changes(file, {"attn_", "ffn_"}, 5);
  write_adapter(folder / "lora.gguf", file, 5, changes);
  const auto exact = load_exactly(golden_model("llama-256-Q8_0"));
  const auto quick = load_exactly(golden_model("llama-256-Q8_0"), /*exact=*/false);
  const auto of = [&](LoadedModel& model) {
    const auto set = model.mix({{model.load_adapter(folder / "lora.gguf"), 1.0F}});
    return logits_of(model, set.get());
  };
  EXPECT_LE(nmse(of(*quick), of(*exact)), 5e-3);
}

TEST(Adapter, SwitchingLoadsNothing) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  write_adapter(folder / "a.gguf", file, 4, random_changes(file, {"attn_"}, 4, 1));
  write_adapter(folder / "b.gguf", file, 4, random_changes(file, {"ffn_"}, 4, 2));
  const auto model = load_exactly(golden_model("llama-plain"), /*exact=*/false);
  const auto a = model->load_adapter(folder / "a.gguf");
  const auto b = model->load_adapter(folder / "b.gguf");
  const auto with_a = model->mix({{a, 1.0F}}), with_b = model->mix({{b, 1.0F}});
  const std::vector<float> only_a = logits_of(*model, with_a.get());
  const std::vector<float> only_b = logits_of(*model, with_b.get());
  const model::MemoryReport before = model->memory();
  // Two sequences in turn, each with its own.
  const auto first = model->new_sequence(), second = model->new_sequence();
  std::vector<float> in_turn_a, in_turn_b;
  for (const std::int32_t token : kTokens) {
    const auto step = [&](const auto& sequence, const auto& set, std::vector<float>& all) {
      const model::BatchRow row{.sequence = sequence.get(), .token = token, .wants_logits = true};
      const std::span<const float> logits = model->run({&row, 1}, set.get());
      all.insert(all.end(), logits.begin(), logits.end());
    };
    step(first, with_a, in_turn_a);
    step(second, with_b, in_turn_b);
  }
  EXPECT_LE(nmse(in_turn_a, only_a), 1e-4);
  EXPECT_LE(nmse(in_turn_b, only_b), 1e-4);
  EXPECT_GT(nmse(in_turn_a, only_b), 1e-3);
  EXPECT_EQ(model->memory().weights, before.weights);
  EXPECT_EQ(model->memory().total(), before.total());
}

TEST(Adapter, TakesTheMemoryThatWasPlanned) {
  for (const char* name : {"llama-plain", "qwen3moe", "llama-256-Q4_K_M"}) {
    HEARTH_REQUIRE_FILE(golden_model(name));
    const TemporaryFolder folder;
    const gguf::File file = gguf::File::open(golden_model(name));
    // A rank above every width: the work memory must grow.
    write_adapter(folder / "lora.gguf", file, 4,
                  random_changes(file, {"attn_", "ffn_", "output.weight"}, 301));
    for (const bool exact : {true, false}) {
      const auto model = load_exactly(golden_model(name), exact);
      const model::MemoryReport plan = model->plan_adapter(folder / "lora.gguf");
      const model::MemoryReport before = model->memory();
      // Planning reserves the workspaces that it counts.
      const auto other = load_exactly(golden_model(name), exact);
      const model::MemoryReport fresh = other->memory();
      const auto adapter = other->load_adapter(folder / "lora.gguf");
      EXPECT_EQ(other->memory().weights - fresh.weights, plan.weights) << name;
      // Weights that are not packed need a workspace of the backend's own for each panel.
      if (!exact) {
        EXPECT_EQ(other->memory().buffers - fresh.buffers, plan.buffers) << name;
      }
      EXPECT_EQ(other->memory().other - fresh.other, plan.other) << name;
      EXPECT_EQ(before.weights, fresh.weights);
      EXPECT_GT(plan.buffers, 0U) << name;
      const auto set = other->mix({{adapter, 1.0F}});
      const model::MemoryReport loaded = other->memory();
      (void)logits_of(*other, set.get());
      EXPECT_EQ(other->memory().total(), loaded.total()) << name;
    }
  }
}

// ---- Files that are wrong -----------------------------------------------------------------------

/// The sentence with which loading fails.
std::string refusal(LoadedModel& model, const std::filesystem::path& path) {
  try {
    (void)model.load_adapter(path);
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error for " << path;
  return {};
}

TEST(Adapter, RefusesWhatDoesNotFit) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  const auto model = load_exactly(golden_model("llama-plain"));
  const std::vector<float> zeros(4096);
  const auto tensor = [&](gguf::Writer& writer, const std::string& name,
                          const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    writer.add_floats(name, shape, std::span(zeros).first(count));
  };
  const auto expect = [&](const gguf::Writer& writer, std::string_view words) {
    writer.write(folder / "bad.gguf");
    const std::string message = refusal(*model, folder / "bad.gguf");
    EXPECT_NE(message.find(words), std::string::npos) << message;
  };
  const std::string q = "blk.0.attn_q.weight";
  const auto with = [&](const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& all) {
    gguf::Writer writer = adapter_writer("llama", 4);
    for (const auto& [name, shape] : all) tensor(writer, name, shape);
    return writer;
  };
  expect(with({{q + ".lora_a", {64, 4}}}), "without");
  expect(with({{q + ".lora_b", {4, 128}}}), "without");
  expect(with({{q + ".lora_a", {63, 4}}, {q + ".lora_b", {4, 128}}}),
         "do not fit the model's [128, 64]");
  expect(with({{q + ".lora_a", {64, 4}}, {q + ".lora_b", {4, 127}}}), "do not fit");
  expect(with({{q + ".lora_a", {64, 4}}, {q + ".lora_b", {3, 128}}}), "do not fit");
  expect(with({{q + ".lora_a", {64, 2, 2}}, {q + ".lora_b", {2, 128, 2}}}), "do not fit");
  expect(with({{q + ".lora_a", {64, 1, 1, 2}}, {q + ".lora_b", {1, 128}}}), "four dimensions");
  expect(with({{"blk.9.attn_q.weight.lora_a", {64, 4}}, {"blk.9.attn_q.weight.lora_b", {4, 128}}}),
         "blk.9.attn_q.weight");
  expect(with({{"output_norm.weight.lora_a", {64, 4}}, {"output_norm.weight.lora_b", {4, 1}}}),
         "no matrix");
  expect(with({{q, {64}}}), "no part of a LoRA");
  expect(with({{"blk.0.attn_norm.weight", {64}}}), "changes nothing");
  expect(adapter_writer("qwen2", 4), "qwen2");
  gguf::Writer other = adapter_writer("llama", 4);
  other.set("adapter.type", "dora");
  expect(other, "dora");
  other = adapter_writer("llama", 4);
  other.set("general.type", "model");
  expect(other, "not an adapter");
  other = adapter_writer("llama", 4);
  other.set_array("adapter.alora.invocation_tokens", std::vector<std::uint32_t>{1, 2});
  expect(other, "aLoRA");
  EXPECT_NE(refusal(*model, golden_model("llama-plain")).find("not an adapter"), std::string::npos);
  EXPECT_FALSE(refusal(*model, folder / "absent.gguf").empty());
}

TEST(Adapter, RefusesEveryTruncation) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  const auto model = load_exactly(golden_model("llama-plain"));
  write_adapter(folder / "lora.gguf", file, 4, random_changes(file, {"blk.0.attn_q."}, 2));
  const std::string bytes = read_file(folder / "lora.gguf");
  for (std::size_t size = 0; size + 1 < bytes.size(); size += 37) {
    write_file_atomically(folder / "cut.gguf", bytes.substr(0, size));
    EXPECT_FALSE(refusal(*model, folder / "cut.gguf").empty()) << size;
  }
}

TEST(Adapter, TruncatedWhileInUseIsAnError) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  write_adapter(folder / "lora.gguf", file, 4, random_changes(file, {"attn_q.", "token_embd"}, 2));
  const auto model = load_exactly(golden_model("llama-plain"));
  const auto set = model->mix({{model->load_adapter(folder / "lora.gguf"), 1.0F}});
  std::filesystem::resize_file(folder / "lora.gguf", 100);
  EXPECT_THROW((void)logits_of(*model, set.get()), Error);
  EXPECT_FALSE(logits_of(*model).empty());
}

TEST(Adapter, IgnoresNorms) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-plain"));
  gguf::Writer writer = adapter_writer("llama", 4);
  add_changes(writer, random_changes(file, {"attn_q."}, 2));
  const std::vector<float> norm(64, 2.0F);
  writer.add_floats("blk.0.attn_norm.weight", {64}, norm);
  writer.write(folder / "lora.gguf");
  const auto model = load_exactly(golden_model("llama-plain"));
  EXPECT_EQ(model->load_adapter(folder / "lora.gguf")->terms().size(), 2U);
}

// ---- Control vectors ----------------------------------------------------------------------------

TEST(ControlVector, AddsWhatABiasWouldAdd) {
  HEARTH_REQUIRE_FILE(golden_model("llama-bias"));
  const TemporaryFolder folder;
  const gguf::File file = gguf::File::open(golden_model("llama-bias"));
  const auto model = load_exactly(golden_model("llama-bias"));
  const std::int64_t width = model->spec().width;
  const auto layers = static_cast<std::int64_t>(model->spec().stacks[0].layers.size());
  ASSERT_GE(layers, 2);
  std::mt19937 random(5);
  const std::vector<float> direction = random_floats(width, random);
  const std::string last = "direction." + std::to_string(layers - 1);
  gguf::Writer vector;
  vector.set("general.architecture", "controlvector");
  vector.add_floats(last, {width}, direction);
  vector.write(folder / "vector.gguf");
  // The last thing that the last layer adds to the stream gets the direction as a bias.
  constexpr float kStrength = 2.5F;
  const std::string bias = "blk." + std::to_string(layers - 1) + ".ffn_down.bias";
  gguf::Writer writer;
  writer.copy(file.metadata());
  bool found = false;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.name != bias) {
      writer.add_tensor(tensor.name, tensor.dtype, {tensor.shape, tensor.shape + tensor.dimensions},
                        file.data(tensor));
      continue;
    }
    found = true;
    std::vector<float> values = decoded_tensor(file, tensor);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += kStrength * direction[i];
    writer.add_floats(bias, {width}, values);
  }
  if (!found) {
    std::vector<float> values(direction);
    for (float& value : values) value *= kStrength;
    writer.add_floats(bias, {width}, values);
  }
  writer.write(folder / "biased.gguf");
  const auto biased = load_exactly(folder / "biased.gguf");
  const std::vector<float> expected = logits_of(*biased);
  const auto loaded = model->load_control_vector(folder / "vector.gguf");
  const auto set = model->mix({}, {{loaded, kStrength}});
  EXPECT_LE(nmse(logits_of(*model, set.get()), expected), kTolerance);
  EXPECT_GT(nmse(logits_of(*model), expected), 1e-4);
  const auto elsewhere = model->mix({}, {{loaded, kStrength, 0, layers - 2}});
  EXPECT_EQ(logits_of(*model, elsewhere.get()), logits_of(*model));
  const auto twice = model->mix({}, {{loaded, 1.0F}, {loaded, kStrength - 1.0F}});
  EXPECT_LE(nmse(logits_of(*model, twice.get()), expected), kTolerance);
}

TEST(ControlVector, RefusesWhatDoesNotFit) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const TemporaryFolder folder;
  const auto model = load_exactly(golden_model("llama-plain"));
  const std::vector<float> zeros(65);
  const auto expect = [&](const std::string& name, std::int64_t width, std::string_view words) {
    gguf::Writer writer;
    writer.set("general.architecture", "controlvector");
    writer.add_floats(name, {width}, std::span(zeros).first(static_cast<std::size_t>(width)));
    writer.write(folder / "bad.gguf");
    try {
      (void)model->load_control_vector(folder / "bad.gguf");
      FAIL() << "no error for " << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  expect("direction.0", 64, "no direction");
  expect("direction.x", 64, "no direction");
  expect("dir", 64, "no direction");
  expect("direction.1", 65, "65 values");
  expect("direction.2", 64, "layers 0 to 1");
  EXPECT_THROW((void)model->load_control_vector(golden_model("llama-plain")), Error);
}

}  // namespace
}  // namespace hearth::testing
