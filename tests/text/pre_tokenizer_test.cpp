#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shared_dir.h"
#include "support/error.h"
#include "text/golden.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

using nlohmann::json;

std::vector<std::string> split_text(const PreTokenizer& pre, const std::string& text) {
  const std::u32string code_points = decode_lenient(text);
  std::vector<std::string> pieces;
  std::size_t at = 0;
  for (const std::uint32_t length : pre.split(code_points)) {
    pieces.push_back(encode_lenient(std::u32string_view(code_points).substr(at, length)));
    at += length;
  }
  EXPECT_EQ(at, code_points.size());
  return pieces;
}

TEST(PreTokenizer, SplitsLikeTheGoldens) {
  const auto path = golden_path("pretokenizer_splits.json");
  HEARTH_REQUIRE_FILE(path);
  const json golden = read_json(path);
  const auto& strings = golden.at("strings");
  std::size_t names = 0;
  for (const json& group : golden.at("groups")) {
    const json reference = group.value("reference_splits", json::object());
    for (const auto& [name, traits] : group.at("names").items()) {
      const PreTokenizer pre(name);
      ++names;
      EXPECT_EQ(pre.traits().ignore_merges, traits.at("ignore_merges")) << name;
      EXPECT_EQ(pre.traits().add_bos, traits.at("add_bos")) << name;
      EXPECT_EQ(pre.traits().add_separator, traits.at("add_sep")) << name;
      EXPECT_EQ(pre.traits().clean_spaces, traits.at("clean_spaces")) << name;
      EXPECT_EQ(pre.traits().escape_spaces, traits.at("escape_whitespaces")) << name;
      EXPECT_EQ(pre.traits().raw_utf8, !group.at("byte_encode")) << name;
      for (std::size_t i = 0; i < strings.size(); ++i) {
        const std::string key = std::to_string(i);
        const json& expected =
            reference.contains(key) ? reference.at(key) : group.at("splits").at(i);
        const std::string text = golden_bytes(strings.at(i));
        const std::vector<std::string> pieces = split_text(pre, text);
        if (expected.is_null()) continue;  // undefined: it must not crash
        std::vector<std::string> wanted;
        for (const json& piece : expected) {
          // A pattern of no width leaves empty pieces behind, which hold no token.
          if (std::string bytes = golden_bytes(piece); !bytes.empty()) wanted.push_back(bytes);
        }
        EXPECT_EQ(pieces, wanted) << name << " string " << i << ": " << text;
      }
    }
  }
  EXPECT_EQ(names, PreTokenizer::names().size());
}

TEST(PreTokenizer, UnknownNameIsNamedWithTheKnownOnes) {
  try {
    const PreTokenizer pre("no-such\n");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no-such\\x0a"), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("llama-bpe"), std::string::npos) << error.hint();
  }
}

// Every list must cut a megabyte of one character, and of two mixed ones, in linear time and
// memory: this test takes minutes, or throws, when one does not.
TEST(PreTokenizer, LongRunsAreCutInLinearTime) {
  constexpr std::size_t kLength = 300'000;
  const std::u32string_view units[] = {U"a", U" ",      U"A",  U"7",  U"\n",  U"!",
                                       U"é", U"\u0301", U"中", U" a", U"\t ", U"a\u0301"};
  for (const std::string_view name : PreTokenizer::names()) {
    const PreTokenizer pre(name);
    for (const std::u32string_view unit : units) {
      std::u32string text;
      while (text.size() < kLength) text += unit;
      text += U"b";
      std::size_t total = 0;
      for (const std::uint32_t length : pre.split(text)) total += length;
      EXPECT_EQ(total, text.size()) << name;
    }
  }
}

TEST(PreTokenizer, OddCodePointsSurvive) {
  const std::u32string text = {0xD800, U'a', 0xDFFF, 0x10FFFF, 0, U' ', 0xFFFE, 0x180E, U'b'};
  for (const std::string_view name : PreTokenizer::names()) {
    std::size_t total = 0;
    for (const std::uint32_t length : PreTokenizer(name).split(text)) {
      EXPECT_GT(length, 0U);
      total += length;
    }
    EXPECT_EQ(total, text.size()) << name;
  }
}

}  // namespace
}  // namespace hearth::text
