// Reference vectors of encoders and outputs of encoder-decoder models: goldens/arch, modes "embed"
// and "encdec".
#include <array>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "golden_case.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

bool has_array(const GoldenCase& golden, const std::string& name) {
  const auto& arrays = golden.description.at("arrays");
  return std::any_of(arrays.begin(), arrays.end(),
                     [&](const auto& entry) { return entry.at("name") == name; });
}

/// Hidden states of all rows of the texts, which share one pass.
std::vector<float> hidden_states(ModelOnBackend& model,
                                 std::span<const std::vector<std::int32_t>> texts) {
  std::vector<std::unique_ptr<state::SequenceState>> sequences;
  std::vector<model::BatchRow> rows;
  for (const std::vector<std::int32_t>& text : texts) {
    sequences.push_back(model.new_sequence());
    for (const std::int32_t token : text) {
      rows.push_back({.sequence = sequences.back().get(), .token = token, .wants_hidden = true});
    }
  }
  model.run_rows(rows);
  const std::span<const float> states = model.runner().hidden();
  return {states.begin(), states.end()};
}

class EmbedGolden : public ::testing::TestWithParam<std::string> {};

void check_embeddings(const GoldenCase& golden, ModelOnBackend& model) {
  const std::array texts = {golden.ids("prompt_tokens")};
  const std::vector<float> states = hidden_states(model, texts);
  if (has_array(golden, "token_embd")) {
    EXPECT_LE(nmse(states, golden.array("token_embd")), 1e-8) << "hidden states";
  }
  if (!has_array(golden, "pooled")) return;
  const std::array lengths = {static_cast<std::int64_t>(texts[0].size())};
  const std::span<const float> pooled = model.runner().pool(states, lengths);
  EXPECT_LE(nmse(pooled, golden.array("pooled")), 1e-8) << "pooled";
  EXPECT_EQ(model.runner().pooled_width(), static_cast<std::int64_t>(pooled.size()));
}

TEST_P(EmbedGolden, ReferenceBackendReproducesVectors) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), compute::make_reference_backend());
  check_embeddings(golden, model);
}

TEST_P(EmbedGolden, ExactCpuBackendReproducesVectors) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), exact_backend());
  check_embeddings(golden, model);
}

TEST_P(EmbedGolden, TextsInOnePassDoNotSeeEachOther) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), exact_backend());
  const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
  const std::array<std::vector<std::int32_t>, 2> texts = {
      std::vector(prompt.begin(), prompt.begin() + 17), prompt};
  const std::vector<float> together = hidden_states(model, texts);
  std::vector<float> alone = hidden_states(model, std::span(texts).first(1));
  const std::vector<float> second = hidden_states(model, std::span(texts).last(1));
  alone.insert(alone.end(), second.begin(), second.end());
  // Not the same bits: the second text's cells begin elsewhere in their page, which changes the
  // order of sums.
  EXPECT_LE(nmse(together, alone), 1e-12);
}

TEST_P(EmbedGolden, FastCpuBackendStaysClose) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  if (!has_array(golden, "token_embd")) GTEST_SKIP() << "the case has only the pooled vector";
  ModelOnBackend model(
      golden.model(),
      compute::make_cpu_backend({.threads = 2, .exact = false, .instruction_set = ""}),
      tensor::DType::kF16);
  const std::array texts = {golden.ids("prompt_tokens")};
  EXPECT_LE(nmse(hidden_states(model, texts), golden.array("token_embd")), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Goldens, EmbedGolden, ::testing::ValuesIn(golden_cases("embed")),
                         case_name);

class EncoderDecoderGolden : public ::testing::TestWithParam<std::string> {};

void check_encoder_decoder(const GoldenCase& golden, ModelOnBackend& model) {
  const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
  const std::vector<std::int32_t> tokens = golden.ids("decoder_tokens");
  const std::vector<float> reference = golden.array("decoder_logits");
  EXPECT_EQ(model.spec().decoder_start_token,
            golden.description.at("decoder_start_token").get<std::int32_t>());

  model.restart(0);
  const std::span<const float> output = model.runner().encode(model.sequence(), prompt);
  EXPECT_LE(nmse(output, golden.array("encoder_output")), 1e-8);
  const std::vector<float> logits = model.run(tokens);
  EXPECT_LE(nmse(logits, reference), 1e-8) << "as one batch";

  const auto vocabulary = static_cast<std::size_t>(model.spec().vocabulary);
  std::vector<float> row(logits.end() - static_cast<std::ptrdiff_t>(vocabulary), logits.end());
  std::vector<float> decoded;
  for (const std::int32_t expected : golden.ids("greedy_tokens")) {
    const auto token = static_cast<std::int32_t>(argmax(row));
    ASSERT_EQ(token, expected);
    row = model.run({&token, 1});
    decoded.insert(decoded.end(), row.begin(), row.end());
  }
  EXPECT_LE(nmse(decoded, golden.array("decode_logits")), 1e-8) << "greedy continuation";

  model.restart(0);
  model.runner().encode(model.sequence(), prompt);
  const std::array<std::size_t, 1> single = {1};
  EXPECT_LE(nmse(model.run_in_chunks(tokens, single), reference), 1e-8) << "one by one";
  model.restart(0);
  model.runner().encode(model.sequence(), prompt);
  const std::array<std::size_t, 3> uneven = {7, 1, 13};
  EXPECT_LE(nmse(model.run_in_chunks(tokens, uneven), reference), 1e-8) << "in uneven chunks";
}

TEST_P(EncoderDecoderGolden, ReferenceBackendReproducesLogits) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), compute::make_reference_backend());
  check_encoder_decoder(golden, model);
}

TEST_P(EncoderDecoderGolden, ExactCpuBackendReproducesLogits) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), exact_backend());
  check_encoder_decoder(golden, model);
}

INSTANTIATE_TEST_SUITE_P(Goldens, EncoderDecoderGolden, ::testing::ValuesIn(golden_cases("encdec")),
                         case_name);

}  // namespace
}  // namespace hearth::testing
