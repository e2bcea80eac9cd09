#include "spec/kv_format.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace hearth::spec {
namespace {

using quant::KvCode;
using tensor::DType;

TEST(KvFormat, NamesComeBack) {
  for (const KvFormatName& each : kv_format_names()) {
    const KvFormat format = parse_kv_format(each.name);
    EXPECT_EQ(parse_kv_format(format.name()), format) << each.name;
    EXPECT_EQ(format.coded(), each.name[0] == 't' || each.name == "q4_0r") << each.name;
  }
  for (const char* name : {"q8_0:tq4", "tq4:tq3.5", "tq3u", "tq4:q8_0", "tq4:tq3u", "q8_0:tq2u"}) {
    EXPECT_EQ(parse_kv_format(name).name(), name);
  }
}

TEST(KvFormat, SaysWhatIsMeant) {
  EXPECT_EQ(parse_kv_format("F16"), KvFormat(DType::kF16));
  EXPECT_EQ(parse_kv_format("q8_0:q8_0"), KvFormat(DType::kQ8_0));
  const KvFormat format = parse_kv_format("TQ3.5");
  EXPECT_EQ(format.keys.code.kind, KvCode::Kind::kLloydMax);
  EXPECT_EQ(format.keys.code.half_bits, 7);
  EXPECT_TRUE(format.keys.code.centred);
  EXPECT_FALSE(format.values.code.centred);
  EXPECT_FALSE(format.uniform);
  EXPECT_TRUE(parse_kv_format("tq3u").uniform);
  EXPECT_EQ(parse_kv_format("tq3r").keys.code.kind, KvCode::Kind::kResidual);
  EXPECT_EQ(parse_kv_format("q8_0:tq4").keys.code.kind, KvCode::Kind::kInt8);
  EXPECT_EQ(parse_kv_format("q8_0:tq4").values.code.half_bits, 8);
  EXPECT_EQ(parse_kv_format("f16:q8_0").keys.type, DType::kF16);
  EXPECT_EQ(parse_kv_format("f16:q8_0").values.type, DType::kQ8_0);
}

TEST(KvFormat, RefusesWhatIsNone) {
  for (const char* text :
       {"",        "q4_0",    "tq",       "tq1",   "tq4.5",    "tq5",         "tq2.5r", "tq3.4",
        "tq33",    "u",       ":",        "tq3:",  ":tq3",     "tq3:tq3:tq3", "f16u",   "q8_0u",
        "f16:tq4", "tq4:f16", "f32:q8_0", "tq3uu", "tq3u:tq3", "q4_K",        "tq3 "}) {
    EXPECT_THROW((void)parse_kv_format(text), Error) << text;
  }
}

}  // namespace
}  // namespace hearth::spec
