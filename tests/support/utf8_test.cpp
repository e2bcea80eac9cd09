#include "support/utf8.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace hearth {
namespace {

TEST(Utf8, RoundTripsEveryScalarValue) {
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point < 0xE000) continue;
    std::string text;
    append_utf8(text, code_point);
    const Utf8Decoded decoded = decode_utf8(text);
    ASSERT_TRUE(decoded.valid);
    ASSERT_EQ(decoded.code_point, code_point);
    ASSERT_EQ(decoded.length, text.size());
  }
}

TEST(Utf8, ReplacesMaximalSubparts) {
  // The example of section 3.9 of the Unicode standard (table 3-8).
  EXPECT_EQ(to_valid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(to_valid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(find_invalid_utf8("ab\xED\xA0\x80"), 2U);
  EXPECT_EQ(find_invalid_utf8("grün"), std::string_view::npos);
}

TEST(Utf8, FindsTheUnfinishedTail) {
  EXPECT_EQ(incomplete_utf8_tail("a\xE2\x82"), 2U);
  EXPECT_EQ(incomplete_utf8_tail("a\xF0\x9F\x98"), 3U);
  EXPECT_EQ(incomplete_utf8_tail("a\xE2\x82\xAC"), 0U);
  EXPECT_EQ(incomplete_utf8_tail("a\xFF"), 0U);
  EXPECT_EQ(incomplete_utf8_tail("\xE0\x80"), 0U);  // already ill-formed, nothing to wait for
  EXPECT_EQ(incomplete_utf8_tail(""), 0U);
}

TEST(Printable, EscapesControlAndInvalidBytes) {
  EXPECT_EQ(printable("a\nb\xff"), "a\\x0ab\\xff");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(in_quotes("a\nb"), "'a\\x0ab'");
  EXPECT_EQ(in_quotes("abcdef", 3), "'abc...'");
}

}  // namespace
}  // namespace hearth
