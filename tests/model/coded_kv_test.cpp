// Models whose old keys and values are coded: predictions stay close to those of plain pages, the
// CPU's are those of the reference, and what a sequence remembers is the same in all its ways.
#include <array>
#include <cmath>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "golden_case.h"

namespace hearth::testing {
namespace {

constexpr std::size_t kCodedTokens = 330;
constexpr std::array<std::size_t, 1> kPass = {32};

class CodedKv : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(goldens_dir() / "arch"); }

  /// Logits of a text longer than what the ladder keeps raw, in passes of 32 rows.
  [[nodiscard]] std::vector<float> logits(const char* format,
                                          std::unique_ptr<compute::Backend> backend) const {
    const GoldenCase golden(GetParam());
    ModelOnBackend model(golden.model(), std::move(backend), spec::parse_kv_format(format));
    const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < kCodedTokens; ++i)
      tokens.push_back(prompt[(3 * i + i * i / 7) % prompt.size()]);
    model.restart(0);
    return model.run_in_chunks(tokens, kPass);
  }
};

TEST_P(CodedKv, PredictionsStayClose) {
  const std::vector<float> plain = logits("f32", exact_backend());
  const std::vector<float> four = logits("tq4u", exact_backend());
  const std::vector<float> two = logits("tq2u", exact_backend());
  const std::vector<float> ladder = logits("tq4", exact_backend());
  const double error_of_four = nmse(four, plain);
  EXPECT_LT(error_of_four, 0.05);
  EXPECT_GT(error_of_four, 0);
  EXPECT_GT(nmse(two, plain), error_of_four);
  EXPECT_LT(nmse(ladder, plain), 0.05);
  // The first passes see nothing coded, but rows of half precision, and windows of 8 bits.
  const std::size_t first = 2 * 32 * plain.size() / kCodedTokens;
  EXPECT_LT(nmse(std::span(four).first(first), std::span(plain).first(first)), 1e-3);
}

TEST_P(CodedKv, ExactIsAsTheReference) {
  for (const char* format : {"tq3u", "q8_0:tq4u"}) {
    const std::vector<float> fast = logits(format, exact_backend());
    const std::vector<float> slow = logits(format, compute::make_reference_backend());
    EXPECT_LT(nmse(fast, slow), 1e-4) << format;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CodedKv,
                         ::testing::Values("llama-plain", "qwen3", "deepseek2", "qwen35", "gemma3",
                                           "gpt-oss"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace hearth::testing
