// Choosing a token allocates nothing.
#include <gtest/gtest.h>

#include "compute/counted_new.h"
#include "generate/sampler.h"

namespace hearth::generate {
namespace {

TEST(SamplerAllocation, SamplingDoesNotAllocate) {
  constexpr std::int64_t kVocabulary = 3000;
  Random random(2);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = static_cast<float>(random.uniform() * 12);
  SamplerSettings everything;
  everything.typical = 0.9F;
  everything.repeat_penalty = 1.1F;
  everything.dry_multiplier = 1;
  everything.xtc_probability = 0.5F;
  std::vector<SamplerSettings> all(5, everything);
  all[1].top_k = 0;
  all[2].top_k = 2000;
  all[3].temperature = 0;
  all[4].mirostat = 2;
  for (const SamplerSettings& settings : all) {
    Sampler sampler(settings, {kVocabulary, 400, {5}, {7}});
    const std::size_t before = compute::testing_allocations();
    for (int token = 0; token < 300; ++token) sampler.accept(sampler.sample(logits));
    EXPECT_EQ(compute::testing_allocations(), before);
  }
  EXPECT_GT(compute::testing_allocations(), 0U);  // they are counted
}

}  // namespace
}  // namespace hearth::generate
