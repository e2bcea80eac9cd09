#include "generate/stop.h"

#include <gtest/gtest.h>

#include "generate/random.h"

namespace hearth::generate {
namespace {

TEST(StopMatcher, HoldsBackWhatMayBeTheBeginning) {
  StopMatcher matcher({"STOP"});
  EXPECT_EQ(matcher.push("Hello ST"), "Hello ");
  EXPECT_EQ(matcher.push("A"), "STA");
  EXPECT_EQ(matcher.push("SSTO"), "S");
  EXPECT_EQ(matcher.push("P and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), "STOP");
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, FinishGivesWhatWasHeldBack) {
  StopMatcher matcher({"STOP"});
  EXPECT_EQ(matcher.push("x STO"), "x ");
  EXPECT_EQ(matcher.finish(), "STO");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, TheEarliestMatchWins) {
  StopMatcher matcher({"world", "lo"});
  EXPECT_EQ(matcher.push("hello world"), "hel");
  EXPECT_EQ(matcher.matched(), "lo");
}

TEST(StopMatcher, AnEarlierOpenBeginningIsWaitedFor) {
  StopMatcher longer({"abcX", "bc"});
  EXPECT_EQ(longer.push("abc"), "");
  EXPECT_EQ(longer.push("X"), "");
  EXPECT_EQ(longer.matched(), "abcX");
  StopMatcher shorter({"abcX", "bc"});
  EXPECT_EQ(shorter.push("abc"), "");
  EXPECT_EQ(shorter.push("d"), "a");
  EXPECT_EQ(shorter.matched(), "bc");
  StopMatcher ended({"abcX", "bc"});
  EXPECT_EQ(ended.push("abc"), "");
  EXPECT_EQ(ended.finish(), "a");
  EXPECT_TRUE(ended.stopped());
}

TEST(StopMatcher, EmptyStopsAreIgnored) {
  StopMatcher matcher({"", ""});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, CuttingTheTextDifferentlyChangesNothing) {
  Random random(5);
  const std::vector<std::string> stops = {"aab", "abab", "ba", "bbbb"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int index = 0; index < 12; ++index) text += random.uniform() < 0.6 ? 'a' : 'b';
    std::size_t earliest = std::string::npos;
    for (const std::string& stop : stops) earliest = std::min(earliest, text.find(stop));
    StopMatcher matcher(stops);
    std::string passed;
    for (std::size_t begin = 0; begin < text.size();) {
      const auto length = static_cast<std::size_t>(1 + random.uniform() * 4);
      passed += matcher.push(std::string_view(text).substr(begin, length));
      begin += length;
    }
    passed += matcher.finish();
    EXPECT_EQ(passed, text.substr(0, earliest)) << text;
    EXPECT_EQ(matcher.stopped(), earliest != std::string::npos) << text;
  }
}

}  // namespace
}  // namespace hearth::generate
