// 200 random mutations of every golden model, the same in every run.
#include "model/mutated_model.h"

#include <gtest/gtest.h>

#include <random>

#include "shared_dir.h"
#include "support/error.h"

namespace hearth::testing {
namespace {

constexpr int kMutations = 200;

TEST(MutatedModels, EndInAnErrorOrRun) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const std::vector<gguf::File> files = model_files(goldens_dir() / "arch");
  ASSERT_GT(files.size(), 100U);
  int refused = 0;
  int counted = 0;
  for (std::size_t model = 0; model < files.size(); ++model) {
    for (int i = 0; i < kMutations; ++i) {
      std::minstd_rand random(static_cast<unsigned>(model * kMutations) + static_cast<unsigned>(i));
      // Up to three mutations: with more, nothing is left to describe.
      std::vector<std::uint8_t> bytes(6 + 6 * (static_cast<std::size_t>(i) % 3));
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() >> 8);
      SCOPED_TRACE(files[model].path().filename().string() + " " + std::to_string(i));
      Choices choices(bytes);
      std::string image;
      try {
        image = mutated_image(files[model], files, choices);
      } catch (const Error&) {
        continue;  // no GGUF file at all
      }
      const Outcome outcome = check_model(std::as_bytes(std::span(image)), i % 20 == 0);
      ++(outcome == Outcome::kRefused ? refused : counted);
    }
  }
  // Both must be common, or the mutations are worth nothing.
  EXPECT_GT(refused, kMutations * static_cast<int>(files.size()) / 10);
  EXPECT_GT(counted, kMutations * static_cast<int>(files.size()) / 20);
}

TEST(MutatedModels, TheModelsThemselvesRun) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const std::vector<gguf::File> files = model_files(goldens_dir() / "arch");
  for (const gguf::File& file : files) {
    Choices none({});
    const std::string image = mutated_image(file, files, none);
    // A draft model without a table of tokens does not run by itself.
    const bool alone = file.find_tensor("token_embd.weight") != nullptr;
    EXPECT_EQ(check_model(std::as_bytes(std::span(image)), true),
              alone ? Outcome::kRan : Outcome::kRefused)
        << file.path();
  }
}

}  // namespace
}  // namespace hearth::testing
