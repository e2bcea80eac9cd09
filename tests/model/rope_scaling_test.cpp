// --rope-scaling: angles against the equations of the papers, and against positions.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "gguf/file.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "support/error.h"

namespace hearth::model {
namespace {

std::filesystem::path golden(const std::string& name) {
  return hearth::testing::goldens_dir() / "arch" / (name + ".gguf");
}

spec::ModelSpec described(const std::string& name, const char* scaling) {
  SpecOptions options;
  if (scaling != nullptr) options.rope_scaling = spec::parse_rope_scaling(scaling);
  return describe_model(gguf::File::open(golden(name)), options);
}

const spec::RopeAngles& angles_of(const spec::ModelSpec& spec) {
  const auto& body = spec.stacks.at(0).layers.at(0).sublayers.at(0).branches.at(0).body;
  if (const auto* latent = std::get_if<spec::LatentAttention>(&body)) return latent->rope->angles;
  return std::get<spec::Attention>(body).rope->angles;
}

TEST(RopeScaling, LinearDividesPositions) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const spec::ModelSpec plain = described("llama-plain", nullptr);
  const spec::ModelSpec scaled = described("llama-plain", "linear:4");
  EXPECT_EQ(angles_of(scaled).frequency_scale, 0.25F);
  EXPECT_EQ(angles_of(scaled).magnitude, 1.0F);
  EXPECT_FALSE(angles_of(scaled).yarn);
  EXPECT_EQ(angles_of(scaled).base, angles_of(plain).base);
  EXPECT_EQ(scaled.context_length, 4 * plain.context_length);
  EXPECT_EQ(described("llama-plain", "linear:4:1000").context_length, 4000);
}

// Peng et al. 2023, section 3.2: dimension pair i turns L / (2 pi b^(2i/d)) times in the trained
// context L; pairs with more than beta_fast = 32 turns stay, those with fewer than beta_slow = 1
// are interpolated; logits are scaled so that queries and keys grow by 0.1 ln s + 1.
TEST(RopeScaling, YarnRampsBetweenTheTwo) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  constexpr double kOriginal = 4096, kFactor = 8;
  const spec::ModelSpec scaled = described("llama-plain", "yarn:8:4096");
  const spec::RopeAngles& angles = angles_of(scaled);
  EXPECT_TRUE(angles.yarn);
  EXPECT_EQ(angles.frequency_scale, 0.125F);
  EXPECT_NEAR(angles.magnitude, 0.1 * std::log(kFactor) + 1, 1e-6);
  EXPECT_EQ(scaled.context_length, 32768);
  const auto turns = [&](double pair) {
    return kOriginal / (2 * std::numbers::pi * std::pow(angles.base, 2 * pair / angles.rotated));
  };
  // The ramp begins at the last pair with 32 turns or more, and ends at the first with one or
  // fewer, as far as there are such pairs.
  if (angles.yarn_low > 0) {
    EXPECT_GE(turns(angles.yarn_low), 32);
  }
  EXPECT_LT(turns(angles.yarn_low + 1), 32);
  if (angles.yarn_high < static_cast<float>(angles.rotated - 1)) {
    EXPECT_LE(turns(angles.yarn_high), 1);
  }
  EXPECT_GT(turns(angles.yarn_high - 1), 1);
}

/// Logits after tokens at positions 0, step, 2 step, ...
std::vector<float> logits(const char* scaling, std::int64_t step) {
  spec::Setup setup;
  setup.model = golden("llama-plain");
  setup.context = 64;
  setup.exact = true;
  setup.kv_type = tensor::DType::kF32;
  setup.threads = 1;
  if (scaling != nullptr) setup.rope_scaling = spec::parse_rope_scaling(scaling);
  const auto model = LoadedModel::load(setup, {});
  EXPECT_EQ(model->setup().rope_scaling, setup.rope_scaling);
  const auto sequence = model->new_sequence();
  std::vector<float> last;
  for (std::int64_t i = 0; i < 6; ++i) {
    BatchRow row{.sequence = sequence.get(), .token = static_cast<std::int32_t>(3 * i + 1)};
    row.wants_logits = true;
    sequence->set_position(i, i * step);
    const auto told = model->run({&row, 1});
    last.assign(told.begin(), told.end());
  }
  return last;
}

TEST(RopeScaling, ScaledModelsSeePositionsCloserTogether) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const std::vector<float> plain = logits(nullptr, 1), twice = logits("linear:2", 2);
  EXPECT_EQ(plain, twice);  // 2p / 2 is p exactly
  EXPECT_NE(plain, logits("linear:2", 1));
  EXPECT_NE(plain, logits("yarn:2", 1));
  EXPECT_EQ(plain, logits("none", 1));
}

TEST(RopeScaling, TakesTheFilesPlace) {
  for (const char* name : {"deepseek2", "gpt-oss"}) {
    HEARTH_REQUIRE_FILE(golden(name));
    const spec::ModelSpec scaled = described(name, "yarn:2:512");
    EXPECT_EQ(scaled.context_length, 1024) << name;
    EXPECT_EQ(angles_of(scaled).frequency_scale, 0.5F) << name;
  }
  HEARTH_REQUIRE_FILE(golden("gpt-oss"));
  const spec::ModelSpec own = described("gpt-oss", nullptr);
  const spec::ModelSpec none = described("gpt-oss", "none");
  EXPECT_EQ(angles_of(none).frequency_scale, 1.0F);
  EXPECT_EQ(angles_of(none).magnitude, 1.0F);
  EXPECT_FALSE(angles_of(none).yarn);
  EXPECT_TRUE(angles_of(own).yarn);
}

TEST(RopeScaling, NeedsRotaryPositions) {
  HEARTH_REQUIRE_FILE(golden("mamba2"));
  EXPECT_THROW((void)described("mamba2", "linear:2"), Error);
}

}  // namespace
}  // namespace hearth::model
