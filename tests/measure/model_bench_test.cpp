#include "measure/model_bench.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "gguf/writer.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

using tensor::DType;

constexpr std::int64_t kWidth = 64, kHidden = 128, kVocabulary = 256, kLayers = 2;

/// A llama of two layers.
std::string tiny_model() {
  gguf::Writer writer;
  writer.set("general.architecture", "llama");
  writer.set("tokenizer.ggml.model", "no_vocab");
  const auto key = [&](const char* name, std::int64_t value) {
    writer.set(std::string("llama.") + name, static_cast<std::uint32_t>(value));
  };
  key("block_count", kLayers);
  key("context_length", 4096);
  key("embedding_length", kWidth);
  key("feed_forward_length", kHidden);
  key("vocab_size", kVocabulary);
  key("attention.head_count", 4);
  key("attention.head_count_kv", 2);
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  const auto tensor = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<std::size_t>(size);
    std::vector<float> values(elements);
    for (std::size_t i = 0; i < elements; ++i) {
      values[i] = static_cast<float>(i * 2654435761U % 97) / 970 - 0.05F;
    }
    writer.add_floats(name, shape, values, shape.size() > 1 ? DType::kQ8_0 : DType::kF32);
  };
  tensor("token_embd.weight", {kWidth, kVocabulary});
  tensor("output_norm.weight", {kWidth});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    tensor(prefix + "attn_norm.weight", {kWidth});
    tensor(prefix + "attn_q.weight", {kWidth, kWidth});
    tensor(prefix + "attn_k.weight", {kWidth, kWidth / 2});
    tensor(prefix + "attn_v.weight", {kWidth, kWidth / 2});
    tensor(prefix + "attn_output.weight", {kWidth, kWidth});
    tensor(prefix + "ffn_norm.weight", {kWidth});
    tensor(prefix + "ffn_gate.weight", {kWidth, kHidden});
    tensor(prefix + "ffn_up.weight", {kWidth, kHidden});
    tensor(prefix + "ffn_down.weight", {kHidden, kWidth});
  }
  return writer.bytes();
}

class ModelBench : public ::testing::Test {
 protected:
  [[nodiscard]] BenchModel model() const {
    return {[this] {
              return std::make_shared<gguf::File>(
                  gguf::File::from_bytes(std::as_bytes(std::span(bytes_))));
            },
            {}};
  }
  [[nodiscard]] static spec::Setup setup() {
    spec::Setup setup;
    setup.threads = 1;
    return setup;
  }
  /// A plan whose probes are quick: nothing here depends on what they find.
  [[nodiscard]] static BenchPlan quick_plan() {
    BenchPlan plan;
    plan.probe_bytes = std::size_t{4} << 20;
    plan.probe_seconds = 0.001;
    return plan;
  }
  std::string bytes_ = tiny_model();
};

/// Values of the matrices of a layer.
constexpr std::int64_t kLayerValues = 3 * kWidth * kWidth + 3 * kWidth * kHidden;

TEST_F(ModelBench, CountsWhatATokenAndAPromptNeed) {
  BenchPlan plan = quick_plan();
  plan.prompt = 600;  // two passes
  plan.generated = 4;
  plan.rounds = 1;
  plan.depths = {0, 100};
  const BenchResult result = run_bench(model(), setup(), plan);
  EXPECT_EQ(result.type, "Q8_0");
  EXPECT_EQ(result.threads, 1);
  EXPECT_GT(result.load_seconds, 0);
  ASSERT_EQ(result.rows.size(), 2U);
  for (const BenchRow& row : result.rows) {
    EXPECT_EQ(row.prompt_multiply_adds,
              static_cast<double>(600 * kLayers * kLayerValues + kWidth * kVocabulary));
    // Tied: one row of the table as an embedding, all of it as the output matrix.
    const std::int64_t values = kLayers * kLayerValues + kWidth * kVocabulary + kWidth;
    EXPECT_EQ(row.pass_weight_bytes, static_cast<std::uint64_t>(values / 32 * 34));
    // Keys and values of two heads of 16 in F16, at the middle of the generation.
    EXPECT_EQ(row.pass_kv_bytes,
              static_cast<std::uint64_t>(kLayers * 2 * 2 * 16 * 2 * (row.depth + 1 + 2 + 1)));
    EXPECT_GT(row.prefill_tps.median, 0);
    EXPECT_GT(row.decode_tps.median, 0);
    EXPECT_NEAR(row.prefill_fraction,
                row.prefill_tps.median / 600 * row.prompt_multiply_adds / row.int8_peak,
                1e-6 * row.prefill_fraction);
    EXPECT_NEAR(row.decode_fraction,
                row.decode_tps.median *
                    static_cast<double>(row.pass_weight_bytes + row.pass_kv_bytes) /
                    row.read_bandwidth,
                1e-6 * row.decode_fraction);
    EXPECT_GT(row.rss_bytes, 0U);
  }
  EXPECT_EQ(result.rows[1].depth, 100);
}

TEST_F(ModelBench, SequencesThatAreDecodedTogetherShareTheWeights) {
  BenchPlan plan = quick_plan();
  plan.prompt = 0;
  plan.generated = 2;
  plan.rounds = 2;
  plan.depths = {5};
  plan.batches = {1, 3, 1};
  const BenchResult result = run_bench(model(), setup(), plan);
  ASSERT_EQ(result.rows.size(), 3U);
  const BenchRow& one = result.rows[0];
  const BenchRow& three = result.rows[1];
  EXPECT_EQ(three.batch, 3);
  EXPECT_EQ(three.pass_kv_bytes, 3 * one.pass_kv_bytes);
  EXPECT_EQ(three.pass_weight_bytes, one.pass_weight_bytes + 2 * kWidth / 32 * 34);
  EXPECT_EQ(one.prefill_tps.median, 0);
  EXPECT_GT(one.int8_peak, 0);
}

TEST_F(ModelBench, ProfileNamesTheOperationsOfBothParts) {
  BenchPlan plan = quick_plan();
  plan.prompt = 8;
  plan.generated = 3;
  plan.rounds = 2;
  plan.profile = true;
  const BenchResult result = run_bench(model(), setup(), plan);
  const auto matmul = static_cast<std::size_t>(compute::Operation::kMatmul);
  const BenchRow& row = result.rows.at(0);
  const std::uint64_t per_pass = row.prefill_profile[matmul].calls / 2;
  EXPECT_GE(per_pass, 9U);
  // A token of a prompt, then three of the answer.
  EXPECT_EQ(row.decode_profile[matmul].calls, 2 * 4 * per_pass);
}

TEST_F(ModelBench, StopsWhenCancelled) {
  const std::atomic<bool> cancel{true};
  BenchPlan plan = quick_plan();
  plan.cancel = &cancel;
  try {
    (void)run_bench(model(), setup(), plan);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInterrupted);
  }
}

TEST(SpreadOfRounds, IsMedianAndRange) {
  const Spread spread = spread_of({3, 1, 2});
  EXPECT_EQ(spread.median, 2);
  EXPECT_EQ(spread.spread, 1);
}

}  // namespace
}  // namespace hearth::measure
