#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/error.h"
#include "text/tiny_vocabulary.h"

namespace hearth::text {
namespace {

using Ids = std::vector<TokenId>;

std::string error_of(const gguf::Writer& writer) {
  try {
    static_cast<void>(tokenizer_of(writer));
  } catch (const Error& error) {
    return std::string(error.what()).append("; ").append(error.hint());
  }
  return "accepted";
}

TEST(Tokenizer, MalformedMetadataIsRefusedWithTheKey) {
  gguf::Writer empty;
  EXPECT_NE(error_of(empty).find("tokenizer.ggml.model"), std::string::npos);
  gguf::Writer unknown = tiny_writer("llama");
  unknown.set("tokenizer.ggml.model", std::string_view("klingon\n"));
  EXPECT_NE(error_of(unknown).find("klingon\\x0a"), std::string::npos);
  EXPECT_NE(error_of(unknown).find("plamo2"), std::string::npos);
  gguf::Writer no_tokens;
  no_tokens.set("tokenizer.ggml.model", std::string_view("llama"));
  EXPECT_NE(error_of(no_tokens).find("tokenizer.ggml.tokens"), std::string::npos);
  gguf::Writer twice = tiny_writer("llama");
  twice.set_array("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "a"});
  EXPECT_NE(error_of(twice).find("two tokens"), std::string::npos);
  gguf::Writer types = tiny_writer("llama");
  types.set_array("tokenizer.ggml.token_type", std::vector<std::int32_t>{1});
  EXPECT_NE(error_of(types).find("token_type"), std::string::npos);
  gguf::Writer scores = tiny_writer("t5");
  scores.set_array("tokenizer.ggml.scores", std::vector<float>{1});
  EXPECT_NE(error_of(scores).find("scores"), std::string::npos);
  gguf::Writer merges = tiny_writer("gpt2");
  merges.set_array("tokenizer.ggml.merges", std::vector<std::string>{"a a", "aa"});
  EXPECT_NE(error_of(merges).find("entry 1"), std::string::npos);
  gguf::Writer map = tiny_writer("t5");
  map.set_array("tokenizer.ggml.precompiled_charsmap",
                std::vector<std::uint8_t>{255, 255, 255, 0, 1});
  EXPECT_NE(error_of(map).find("charsmap"), std::string::npos);
  gguf::Writer pre = tiny_writer("gpt2", "no-such-rule");
  EXPECT_NE(error_of(pre).find("no-such-rule"), std::string::npos);
}

TEST(Tokenizer, UnnamedPreTokenizerIsWarnedAbout) {
  EXPECT_EQ(tokenizer_of(tiny_writer("gpt2", ""))->warnings().size(), 1U);
  EXPECT_TRUE(tokenizer_of(tiny_writer("gpt2"))->warnings().empty());
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefused) {
  for (const char* kind : kTinyKinds) {
    const auto tokenizer = tokenizer_of(tiny_writer(kind));
    for (const TokenId id :
         {TokenId{-1}, static_cast<TokenId>(tokenizer->size()), TokenId{INT32_MAX}}) {
      EXPECT_THROW(static_cast<void>(tokenizer->decode({&id, 1}, {})), Error) << kind;
      EXPECT_THROW(static_cast<void>(tokenizer->piece(id, true)), Error) << kind;
      EXPECT_FALSE(tokenizer->ends_generation(id)) << kind;
    }
  }
}

TEST(Tokenizer, WithoutAVocabularyNothingCanBeEncoded) {
  const auto tokenizer = tokenizer_of(tiny_writer("none"));
  EXPECT_EQ(tokenizer->size(), 8U);
  EXPECT_THROW(static_cast<void>(tokenizer->encode("text", EncodeOptions{})), Error);
}

TEST(Tokenizer, MergesFollowRankThenPosition) {
  const auto tokenizer = tokenizer_of(tiny_writer("gpt2"));
  const auto pieces = [&](std::string_view text) {
    std::string joined;
    for (const TokenId id : tokenizer->encode(text, EncodeOptions{}))
      joined += tokenizer->piece(id, true) + "|";
    return joined;
  };
  EXPECT_EQ(pieces("aaaaaaa"), "aaaa|aa|a|");
  EXPECT_EQ(pieces("hello a"), "hello| a|");
  EXPECT_EQ(pieces("helhello"), "hel|hello|");
}

TEST(Tokenizer, UserDefinedTextIsATokenButNotInData) {
  const auto tokenizer = tokenizer_of(tiny_writer("gpt2"));
  const TokenId think = tokenizer->find("<think>").value();
  const TokenId spaces = tokenizer->find("  ").value();
  EXPECT_EQ(tokenizer->encode("<think>  ", EncodeOptions{}), (Ids{think, spaces}));
  Prompt data;
  data.append("<think>  ", Origin::kData);
  const Ids ids = tokenizer->encode(data, false);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), think), 0);
  EXPECT_EQ(ids.back(), spaces);
  EXPECT_EQ(tokenizer->decode(ids, {}), "<think>  ");
}

TEST(Tokenizer, BosIsAddedToAPromptOnce) {
  const auto tokenizer = tokenizer_of(tiny_writer("llama"));
  const TokenId bos = tokenizer->special().bos;
  Prompt plain;
  plain.append("hello", Origin::kData);
  Prompt with_bos;
  with_bos.append("<s>", Origin::kTemplate);
  with_bos.append("hello", Origin::kData);
  EXPECT_EQ(tokenizer->encode(plain, true), tokenizer->encode(with_bos, true));
  EXPECT_EQ(tokenizer->encode(with_bos, false), tokenizer->encode(with_bos, true));
  EXPECT_EQ(tokenizer->encode(plain, true).front(), bos);
  Prompt typed;  // data cannot pretend to be BOS
  typed.append("<s>hello", Origin::kData);
  const Ids ids = tokenizer->encode(typed, true);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), bos), 1);
}

TEST(Tokenizer, AMegabyteOfOneCharacterIsQuick) {
  for (const char* kind : kTinyKinds) {
    if (std::string_view(kind) == "none") continue;
    const auto tokenizer = tokenizer_of(tiny_writer(kind));
    for (const char character : {'a', ' ', '\n', '<', '\xFF'}) {
      const std::string text(std::size_t{1} << 20, character);
      const Ids ids = tokenizer->encode(text, EncodeOptions{});
      if (std::string_view(kind) == "gpt2" && character == 'a') {
        EXPECT_EQ(ids.size(), text.size() / 4);
        EXPECT_EQ(tokenizer->decode(ids, {}), text);
      }
    }
  }
}

TEST(StreamDecoder, HoldsBackUnfinishedCharacters) {
  const auto tokenizer = tokenizer_of(tiny_writer("llama"));
  StreamDecoder stream(*tokenizer, {.special = false, .at_start = true});
  const TokenId start = tokenizer->find("<0xE2>").value();
  const TokenId middle = tokenizer->find("<0x82>").value();
  const TokenId end = tokenizer->find("<0xAC>").value();
  EXPECT_EQ(stream.push(tokenizer->find("▁hello").value()),
            "hello");  // the prefix space is stripped
  EXPECT_EQ(stream.push(tokenizer->find("▁a").value()), " a");
  EXPECT_EQ(stream.push(start), "");
  EXPECT_EQ(stream.push(middle), "");
  EXPECT_EQ(stream.push(end), "€");
  EXPECT_EQ(stream.push(start), "");
  EXPECT_EQ(stream.finish(), "\xE2");
}

}  // namespace
}  // namespace hearth::text
