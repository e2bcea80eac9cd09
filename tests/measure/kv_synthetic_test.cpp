// The evaluation of KV formats gives what theory says, and ranks formats as it must.
#include "measure/kv_synthetic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compute/cpu/cpu_backend.h"
#include "measure/kv_rounding.h"
#include "measure/kv_speed.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

constexpr KvAttentionSize kSmall{.size = 128, .cells = 1024, .queries = 16};

TEST(KvSynthetic, DistortionIsAsTheoryHasIt) {
  for (const std::int64_t size : {std::int64_t{64}, std::int64_t{128}, std::int64_t{256}}) {
    for (const char* format : {"tq2", "tq2.5", "tq3", "tq3.5", "tq4"}) {
      const KvDistortion d = kv_distortion(format, size, 2000, 1);
      EXPECT_NEAR(d.mse / d.mse_theory, 1, 0.04) << format << ", " << size;
      EXPECT_NEAR(d.variance / d.variance_theory, 1, 0.15) << format << ", " << size;
      EXPECT_LT(std::abs(d.bias), 0.005) << format << ", " << size;
    }
  }
}

TEST(KvSynthetic, BitsAreCounted) {
  for (const std::string& name : kv_rounding_names()) {
    const KvRounding keys(name, quant::KvPart::kKeys, 128);
    EXPECT_GT(keys.bits_per_value(), 1.9) << name;
    EXPECT_LE(keys.bits_per_value(), 32) << name;
  }
  EXPECT_EQ(KvRounding("q8_0", quant::KvPart::kKeys, 128).bits_per_value(), 8.5);
  EXPECT_EQ(KvRounding("q4_0", quant::KvPart::kKeys, 128).bits_per_value(), 4.5);
  EXPECT_EQ(KvRounding("f16", quant::KvPart::kKeys, 128).bits_per_value(), 16);
  // The acceptance of issue 6: uniform 3 bits are at most a fifth of F16, keys and values together.
  EXPECT_LE(KvRounding("tq3", quant::KvPart::kKeys, 128).bits_per_value() +
                KvRounding("tq3", quant::KvPart::kValues, 128).bits_per_value(),
            2 * 3.2);
  EXPECT_THROW(KvRounding("q8_0", quant::KvPart::kKeys, 40), Error);
  EXPECT_THROW(KvRounding("nonsense", quant::KvPart::kKeys, 64), Error);
}

TEST(KvSynthetic, PlainFormatsAreNearlyExact) {
  const KvAttention f32 = kv_attention("f32", KvCase::kShared, kSmall, 1);
  EXPECT_NEAR(f32.divergence, 0, 1e-12);
  EXPECT_EQ(f32.same_best, 1);
  EXPECT_EQ(f32.needles, 1);
  EXPECT_LT(kv_attention("f16", KvCase::kGaussian, kSmall, 1).divergence, 1e-5);
}

TEST(KvSynthetic, MoreBitsAreBetter) {
  double before = 0;
  for (const char* format : {"f16", "tq4", "tq3.5", "tq3", "tq2.5", "tq2"}) {
    const double divergence = kv_attention(format, KvCase::kOutliers, kSmall, 1).divergence;
    EXPECT_GT(divergence, before) << format;
    before = divergence;
  }
}

/// Acceptance 2 of issue 6, on fewer cells than `hearth eval kv` uses.
TEST(KvSynthetic, CodesBeatPlainBlocksOfFourBits) {
  for (const std::int64_t size : {std::int64_t{64}, std::int64_t{128}, std::int64_t{256}}) {
    KvAttentionSize keys = kSmall;
    keys.size = size;
    for (const KvCase which : {KvCase::kOutliers, KvCase::kShared}) {
      const double plain = kv_attention("q4_0", which, keys, 1).divergence;
      EXPECT_LE(kv_attention("tq3.5", which, keys, 1).divergence, plain) << size << name(which);
      EXPECT_LE(kv_attention("tq4", which, keys, 1).divergence, plain / 2) << size << name(which);
    }
    // None collapses: a planted cell is still found.
    for (const char* format : {"tq4", "tq3.5", "tq3", "q4_0r"}) {
      EXPECT_GE(kv_attention(format, KvCase::kShared, keys, 1).needles, 0.75) << format << size;
    }
  }
}

TEST(KvSpeed, AttentionIsTimed) {
  const auto backend =
      compute::make_cpu_backend({.threads = 1, .exact = false, .instruction_set = {}});
  for (const char* format : {"f16", "q8_0", "tq3u", "tq4"}) {
    EXPECT_GT(kv_attention_seconds(*backend, spec::parse_kv_format(format),
                                   {.heads = 4, .kv_heads = 2, .size = 64, .cells = 640}, 0),
              0)
        << format;
  }
}

}  // namespace
}  // namespace hearth::measure
