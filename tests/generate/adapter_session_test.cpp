// Sequences with adapters of their own on one model.
#include <gtest/gtest.h>

#include "generate/evaluator.h"
#include "gguf/writer.h"
#include "shared_dir.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using generate::ModelEvaluator;

/// A LoRA of one matrix of llama-plain.
void write_lora(const std::filesystem::path& path, const std::string& tensor, std::int64_t in,
                std::int64_t out) {
  gguf::Writer writer;
  writer.set("general.type", "adapter");
  writer.set("general.architecture", "llama");
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", 2.0F);
  std::vector<float> a(static_cast<std::size_t>(in)), b(static_cast<std::size_t>(out));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = 0.1F * static_cast<float>(i % 7) - 0.3F;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = 0.2F - 0.1F * static_cast<float>(i % 5);
  writer.add_floats(tensor + ".lora_a", {in, 1}, a);
  writer.add_floats(tensor + ".lora_b", {1, out}, b);
  writer.write(path);
}

std::vector<float> evaluated(ModelEvaluator& evaluator, const std::vector<std::int32_t>& tokens) {
  const std::span<const float> logits = evaluator.evaluate(tokens, true);
  return {logits.begin(), logits.end()};
}

TEST(ModelEvaluator, HasAdaptersOfItsOwn) {
  const std::filesystem::path path = goldens_dir() / "arch" / "llama-plain.gguf";
  HEARTH_REQUIRE_FILE(path);
  const TemporaryFolder folder;
  write_lora(folder / "q.gguf", "blk.0.attn_q.weight", 64, 128);
  write_lora(folder / "up.gguf", "blk.1.ffn_up.weight", 64, 96);
  spec::Setup setup;
  setup.model = path;
  setup.context = 64;
  setup.sequences = 4;
  setup.exact = true;
  setup.kv_type = tensor::DType::kF32;
  const auto model = model::LoadedModel::load(setup, {});
  const auto q = model->mix({{model->load_adapter(folder / "q.gguf"), 1.0F}});
  const auto up = model->mix({{model->load_adapter(folder / "up.gguf"), 1.0F}});
  const std::size_t weights = model->memory().weights;
  const std::vector<std::int32_t> prompt = {1, 5, 9}, next = {7};

  // Alone.
  std::vector<std::vector<float>> expected;
  for (const auto& set : {std::shared_ptr<const model::AdapterSet>(), q, up}) {
    ModelEvaluator evaluator(*model);
    evaluator.set_adapters(set);
    (void)evaluated(evaluator, prompt);
    expected.push_back(evaluated(evaluator, next));
  }
  EXPECT_NE(expected[0], expected[1]);
  EXPECT_NE(expected[1], expected[2]);

  // In turn.
  ModelEvaluator plain(*model), first(*model), second(*model);
  first.set_adapters(q);
  second.set_adapters(up);
  for (ModelEvaluator* each : {&plain, &first, &second}) (void)evaluated(*each, prompt);
  EXPECT_EQ(evaluated(second, next), expected[2]);
  EXPECT_EQ(evaluated(plain, next), expected[0]);
  EXPECT_EQ(evaluated(first, next), expected[1]);

  // Other adapters empty the sequence, the same ones do not.
  first.set_adapters(q);
  EXPECT_EQ(first.length(), 4);
  first.set_adapters(up);
  EXPECT_EQ(first.length(), 0);
  (void)evaluated(first, prompt);
  EXPECT_EQ(evaluated(first, next), expected[2]);
  first.set_adapters(nullptr);
  EXPECT_EQ(first.length(), 0);
  (void)evaluated(first, prompt);
  EXPECT_EQ(evaluated(first, next), expected[0]);
  EXPECT_EQ(model->memory().weights, weights);
}

}  // namespace
}  // namespace hearth::testing
