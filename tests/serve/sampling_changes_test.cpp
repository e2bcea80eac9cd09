#include "serve/sampling_changes.h"

#include <gtest/gtest.h>

namespace hearth::serve {
namespace {

TEST(SamplingChanges, EverySettingThatIsNamedIsTaken) {
  SamplingChanges changes;
  changes.temperature = 0.25F;
  changes.dry_multiplier = 0.5F;
  changes.dry_base = 2.0F;
  changes.dry_allowed_length = 5;
  changes.dry_last_n = 7;
  changes.dry_breakers = std::vector<std::string>{"x"};
  changes.xtc_probability = 0.125F;
  changes.xtc_threshold = 0.375F;
  changes.seed = 3;
  generate::SamplerSettings settings;
  settings.top_k = 17;
  apply(changes, settings);
  EXPECT_EQ(settings.temperature, 0.25F);
  EXPECT_EQ(settings.top_k, 17);  // not named
  EXPECT_EQ(settings.dry_multiplier, 0.5F);
  EXPECT_EQ(settings.dry_base, 2.0F);
  EXPECT_EQ(settings.dry_allowed_length, 5);
  EXPECT_EQ(settings.dry_last_n, 7);
  EXPECT_EQ(settings.dry_breakers, std::vector<std::string>{"x"});
  EXPECT_EQ(settings.xtc_probability, 0.125F);
  EXPECT_EQ(settings.xtc_threshold, 0.375F);
  EXPECT_EQ(settings.seed, 3U);
}

TEST(SamplingChanges, SettingsComeBackAsChanges) {
  generate::SamplerSettings settings;
  settings.min_p = 0.01F;
  settings.mirostat = 2;
  generate::SamplerSettings again;
  apply(changes_of(settings), again);
  EXPECT_EQ(again.min_p, 0.01F);
  EXPECT_EQ(again.mirostat, 2);
  EXPECT_EQ(again.top_p, settings.top_p);
}

}  // namespace
}  // namespace hearth::serve
