// Regular expressions against what ECMAScript says they match.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/grammar/grammar.h"
#include "generate/grammar/regex.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

struct Case {
  std::string pattern;
  std::vector<std::string> right, wrong;
};

TEST(Regex, SearchesAsPatternDoes) {
  const std::vector<Case> cases = {
      {"b", {"b", "abc", "\n b"}, {"", "ac"}},
      {"^b", {"b", "bc"}, {"ab"}},
      {"b$", {"b", "ab"}, {"ba", "b\n"}},
      {"^$", {""}, {"a"}},
      {"^a|b$", {"a", "ax", "xb"}, {"xa", "bx"}},
      {"(^a|b)c", {"ac", "bc", "xbc"}, {"xac"}},
      {"a(b$|c)", {"ab", "acx", "xac"}, {"abx"}},
      {"^[a-c]+$", {"abc"}, {"", "abd"}},
      {"^[^a-c]$", {"d", "é", "\n"}, {"a", "dd"}},
      {"^[-a]$", {"-", "a"}, {"b"}},
      {"^[a-]$", {"-", "a"}, {"b"}},
      {"^[\\]\\\\]$", {"]", "\\"}, {"["}},
      {"^.$", {"a", "😀"}, {"\n", "\r", "\xe2\x80\xa8", "ab"}},
      {"^\\d\\D$", {"1a"}, {"11", "٣a"}},
      {"^\\w+$", {"a_9"}, {"é", "-"}},
      {"^\\s$", {" ", "\t", "\xc2\xa0", "\xef\xbb\xbf"}, {"a"}},
      {"^\\u00e9\\u{1F600}\\x41$", {"é😀A"}, {"é"}},
      {"^\\ud83d\\ude00$", {"😀"}, {"a"}},
      {"^(?:ab){2,3}$", {"abab", "ababab"}, {"ab", "abababab"}},
      {"^a{2}$", {"aa"}, {"a", "aaa"}},
      {"^a{2,}$", {"aa", "aaaa"}, {"a"}},
      {"^a??b*?c+?$", {"c", "abbcc"}, {"ab"}},
      {"^(?<name>x)|y$", {"x", "ay"}, {"a"}},
      {"^\\p{Lu}\\p{L}*$", {"Été", "A"}, {"été", "A1"}},
      {"^\\P{L}$", {"1"}, {"a"}},
      {"^\\p{Nd}$", {"٣"}, {"a"}},
      {"^\\t\\n\\v\\f\\r\\0\\cA$", {std::string("\t\n\v\f\r\0\x01", 7)}, {""}},
      {"^[\\b]$", {"\b"}, {"b"}},
      {"^(a|b|)$", {"a", "b", ""}, {"c"}},
      {"^\\/\\-\\.$", {"/-."}, {"/-x"}},
      {"", {"", "anything"}, {}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.pattern);
    const Dfa dfa = compile_pattern(one.pattern);
    for (const std::string& text : one.right)
      EXPECT_TRUE(dfa.accepts(code_points_of(text, "t"))) << text;
    for (const std::string& text : one.wrong)
      EXPECT_FALSE(dfa.accepts(code_points_of(text, "t"))) << text;
  }
}

TEST(Regex, WhatIsNotRegularIsRefused) {
  for (const char* pattern : {"(?=a)b",
                              "(?!a)b",
                              "(?<=a)b",
                              "(a)\\1",
                              "\\bfoo",
                              "a\\B",
                              "(",
                              ")",
                              "[",
                              "[z-a]",
                              "a{2,1}",
                              "*a",
                              "a**",
                              "+",
                              "\\",
                              "\\p{Script=Han}",
                              "\\p{Nope}",
                              "\\q",
                              "(?i)a",
                              "{2}",
                              "a{99999999}",
                              "\\u12",
                              "\\ud83d",
                              "^*",
                              "[\\d-z]",
                              "\xff",
                              "(a{1,1000}){1,1000}",
                              "\\07"}) {
    EXPECT_THROW((void)compile_pattern(pattern), Error) << pattern;
  }
  EXPECT_THROW((void)compile_pattern(std::string(5000, '(') + std::string(5000, ')')), Error);
  // The classic that needs 2^n states.
  EXPECT_THROW((void)compile_pattern("(a|b)*a(a|b){20}"), Error);
}

TEST(Regex, AsAGrammarAllOfTheTextMatches) {
  const auto grammar = compile_regex("[a-z]+(\\.[a-z]+)?|été{2}");
  for (const char* text : {"a", "abc.de", "étéé"}) EXPECT_TRUE(matches(*grammar, text)) << text;
  for (const char* text : {"", "a.", ".a", "A", "été", "a b"})
    EXPECT_FALSE(matches(*grammar, text)) << text;
  EXPECT_TRUE(matches_prefix(*grammar, "abc."));
  EXPECT_FALSE(matches_prefix(*grammar, "abc.."));
}

TEST(Dfa, SetsOfStrings) {
  const Dfa words = exactly(std::vector<std::u32string>{U"ab", U"abc", U""});
  EXPECT_TRUE(words.accepts(U"abc") && words.accepts(U"") && !words.accepts(U"a"));
  const Dfa others = complement(words);
  EXPECT_TRUE(!others.accepts(U"abc") && !others.accepts(U"") && others.accepts(U"a") &&
              others.accepts(U"abcd"));
  EXPECT_TRUE(disjoint(words, others));
  EXPECT_TRUE(complement(any_string()).empty());
  EXPECT_TRUE(complement(Dfa{}).accepts(U"x"));
  const Dfa short_words = intersection(words, strings_of_length(1, 2));
  EXPECT_TRUE(short_words.accepts(U"ab") && !short_words.accepts(U"abc") &&
              !short_words.accepts(U""));
  EXPECT_TRUE(difference(words, words).empty());
  const Dfa same = minimal(compile_pattern("^(ab|cb|db)$"));
  EXPECT_EQ(same.states.size(), 3U);
}

TEST(CodePoints, Utf8RangesCoverEveryCodePointOnce) {
  for (const CodePointRange range : {CodePointRange{0, kLastCodePoint}, CodePointRange{0x7E, 0x801},
                                     CodePointRange{0xFFF0, 0x10010}, CodePointRange{0x3F, 0x3F}}) {
    std::uint64_t covered = 0;
    for (const ByteRanges& part : utf8_ranges(range)) {
      std::uint64_t count = 1;
      for (int i = 0; i < part.length; ++i) count *= part.places[i][1] - part.places[i][0] + 1U;
      covered += count;
    }
    std::uint64_t wanted = 0;
    for (const CodePointRange& part : CodePointSet({range}).ranges())
      wanted += part.last - part.first + 1;
    EXPECT_EQ(covered, wanted);
  }
}

}  // namespace
}  // namespace hearth::generate::grammar
