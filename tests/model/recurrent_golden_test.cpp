// Models with recurrent mixers on the CPU backend, whose chunked forms sum in another order than
// single rows do: the reference logits, however the prompt is cut.
#include <array>

#include "compute/cpu/cpu_backend.h"
#include "golden_case.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

class RecurrentGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(RecurrentGolden, ExactCpuBackendReproducesLogits) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  ModelOnBackend model(golden.model(), compute::make_cpu_backend(
                                           {.threads = 2, .exact = true, .instruction_set = ""}));
  const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
  const std::vector<float> reference = golden.array("prompt_logits");
  const double tolerance = golden_tolerance(GetParam());
  const std::array<std::size_t, 1> single = {1};
  const std::array<std::size_t, 4> uneven = {7, 1, 13, 20};
  model.restart(0);
  EXPECT_LE(nmse(model.run_in_chunks(prompt, single), reference), tolerance) << "one by one";
  model.restart(0);
  EXPECT_LE(nmse(model.run_in_chunks(prompt, uneven), reference), tolerance) << "in uneven chunks";
  model.restart(0);
  EXPECT_LE(nmse(model.run(prompt), reference), tolerance) << "as one batch";

  // From the state that the batch left: one token after the other.
  std::vector<std::int32_t> tokens = golden.ids("greedy_tokens");
  EXPECT_LE(nmse(model.run_in_chunks(tokens, single), golden.array("decode_logits")), tolerance);
}

/// Longer than a chunk.
TEST_P(RecurrentGolden, LongPromptsMayBeCutAnywhere) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const GoldenCase golden(GetParam());
  const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
  std::vector<std::int32_t> tokens;
  while (tokens.size() < 200) tokens.insert(tokens.end(), prompt.begin(), prompt.end());
  ModelOnBackend model(golden.model(), compute::make_cpu_backend(
                                           {.threads = 2, .exact = true, .instruction_set = ""}));
  const std::array<std::size_t, 1> single = {1};
  const std::array<std::size_t, 3> uneven = {70, 9, 64};
  model.restart(0);
  const std::vector<float> expected = model.run_in_chunks(tokens, single);
  model.restart(0);
  EXPECT_LE(nmse(model.run_in_chunks(tokens, uneven), expected), golden_tolerance(GetParam()));
  model.restart(0);
  EXPECT_LE(nmse(model.run(tokens), expected), golden_tolerance(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Goldens, RecurrentGolden,
                         ::testing::Values("falcon-h1", "falcon-mamba", "granitehybrid", "jamba",
                                           "kimi-linear", "lfm2", "lfm2moe", "mamba", "mamba2",
                                           "nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe",
                                           "qwen3next", "rwkv7"),
                         case_name);

}  // namespace
}  // namespace hearth::testing
