// Token masks: against trying every token, with vocabularies made up and real.
#include "generate/token_constraint.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>

#include "generate/fake_tokenizer.h"
#include "generate/grammar/compiled.h"
#include "generate/grammar/grammar.h"
#include "generate/grammar/random_schemas.h"
#include "gguf/file.h"
#include "shared_dir.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

using testing::FakeTokenizer;
using testing::Json;

bool bit(std::span<const std::uint64_t> mask, text::TokenId token) {
  return (mask[static_cast<std::size_t>(token) / 64] >> (token % 64) & 1U) != 0;
}

std::vector<std::string> texts_of(const FakeTokenizer& tokenizer, TokenConstraint& constraint) {
  std::vector<std::string> allowed;
  const auto mask = constraint.allowed();
  for (std::size_t id = 0; id < tokenizer.size(); ++id) {
    const auto token = static_cast<text::TokenId>(id);
    if (bit(mask, token)) allowed.emplace_back(tokenizer.stored_text(token));
  }
  return allowed;
}

std::unique_ptr<text::Tokenizer> real_tokenizer(const std::filesystem::path& path) {
  return text::Tokenizer::create(gguf::File::open(path).metadata());
}

TEST(TokenConstraint, MasksFollowTheText) {
  FakeTokenizer tokenizer(
      {"<s>", "</s>", "{", "}", "\"", "a", "\"a\"", ":", "1", "2", "{\"", "12", "}x", "a\":"});
  tokenizer.ends = {1};
  const auto trie = build_token_trie(tokenizer);
  const auto grammar = compile_json_schema(
      Json::parse(
          R"({"type":"object","properties":{"a":{"type":"integer","maximum":20,"minimum":1}},
                      "required":["a"]})"),
      {.white_space = WhiteSpace::kNone, .reasoning = {}});
  const auto constraint = constrain(grammar, trie);
  using List = std::vector<std::string>;
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"{", "{\""}));
  constraint->accept(10);  // {"
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"a", "a\":"}));
  EXPECT_THROW(constraint->accept(8), Error);
  constraint->accept(13);  // a":
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"1", "2", "12"}));
  constraint->accept(8);  // 1
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"}", "1", "2"}));
  EXPECT_FALSE(constraint->may_end());
  constraint->accept(0);  // a control token it does not know: nothing changes
  constraint->accept(3);
  EXPECT_TRUE(constraint->may_end());
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"</s>"}));
  constraint->accept(1);
  EXPECT_TRUE(constraint->may_end());
}

TEST(TokenConstraint, UnusableTokensAreNeverAllowed) {
  FakeTokenizer tokenizer({"a", "a", "", "<a>", "</s>", "b"});
  tokenizer.ends = {4};
  tokenizer.never = {1};
  const auto constraint = constrain(compile_regex("a*"), build_token_trie(tokenizer));
  const auto mask = constraint->allowed();
  EXPECT_TRUE(bit(mask, 0) && bit(mask, 4));
  EXPECT_FALSE(bit(mask, 1) || bit(mask, 2) || bit(mask, 3) || bit(mask, 5));
  // Nothing in the vocabulary fits.
  const auto stuck = constrain(compile_regex("x"), build_token_trie(tokenizer));
  EXPECT_THROW((void)stuck->allowed(), Error);
}

TEST(TokenConstraint, TokensWithTheSameBytesAreAllAllowed) {
  FakeTokenizer tokenizer({"a", "b", "a", "a", "</s>"});
  tokenizer.ends = {4};
  const auto constraint = constrain(compile_regex("ab"), build_token_trie(tokenizer));
  const auto mask = constraint->allowed();
  EXPECT_TRUE(bit(mask, 0) && bit(mask, 2) && bit(mask, 3) && !bit(mask, 1));
}

TEST(TokenConstraint, JumpsAheadWhereThereIsOneWay) {
  FakeTokenizer tokenizer(
      {"</s>", "{\"name\"", ": ", ":", " ", "\"", "x", "y", "{", "n", "a", "m", "e", "}"});
  tokenizer.ends = {0};
  const auto trie = build_token_trie(tokenizer);
  const auto constraint = constrain(compile_regex("\\{\"name\": \"[xy]\"\\}"), trie);
  // The last token of {"name": " is left to the model: it might prefer "x.
  EXPECT_EQ(constraint->forced(), (std::vector<text::TokenId>{1, 2}));
  for (const text::TokenId token : constraint->forced()) constraint->accept(token);
  EXPECT_TRUE(constraint->forced().empty());
  constraint->accept(5);
  EXPECT_TRUE(constraint->forced().empty());
  constraint->accept(6);
  EXPECT_EQ(constraint->forced(), (std::vector<text::TokenId>{5}));
}

TEST(TokenConstraint, ReasoningComesFirst) {
  FakeTokenizer tokenizer({"</s>", "<think>", "</think>", "\n", "1", "hm", "<", "/think>"});
  tokenizer.ends = {0};
  const auto trie = build_token_trie(tokenizer);
  Options options;
  options.reasoning = Reasoning{{"<think>", "</think>"}, text::ReasoningState::kNotOpened};
  const auto grammar = compile_regex("1", options);
  using List = std::vector<std::string>;
  const auto constraint = constrain(grammar, trie);
  // A closing marker alone says that there is no reasoning.
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"<think>", "</think>", "\n", "1", "<"}));
  constraint->accept(1);
  EXPECT_EQ(texts_of(tokenizer, *constraint),
            (List{"<think>", "</think>", "\n", "1", "hm", "<", "/think>"}));
  constraint->accept(5);
  constraint->accept(2);
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"\n", "1"}));
  constraint->accept(3);
  constraint->accept(4);
  EXPECT_EQ(texts_of(tokenizer, *constraint), (List{"</s>"}));
  options.reasoning->state = text::ReasoningState::kOpened;
  const auto inside = constrain(compile_regex("1", options), trie);
  EXPECT_TRUE(bit(inside->allowed(), 5) && !bit(inside->allowed(), 0));
  for (const text::TokenId token : {5, 6, 7, 3, 4}) inside->accept(token);  // spelled out
  EXPECT_TRUE(inside->may_end());
}

/// Every token by itself, in states along sampled texts.
void compare_with_every_token(const text::Tokenizer& tokenizer) {
  const auto trie = build_token_trie(tokenizer);
  for (
      const std::string_view schema :
      {R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string","maxLength":20},
            "c":{"type":"number"},"d":{"type":"string","pattern":"^[α-ω ]+$"}},"required":["a","b"]})",
       R"({})"}) {
    const auto grammar = compile_json_schema(Json::parse(schema));
    Automaton automaton(grammar->network(), trie.get());
    const testing::Sample sample = testing::sample(grammar, trie, tokenizer, 7, 40);
    Automaton::StateId state = automaton.start();
    std::vector<std::uint64_t> own;
    std::size_t checked = 0;
    for (const text::TokenId chosen : sample.chosen) {
      const std::vector<std::uint64_t> mask = [&] {
        const auto span = automaton.mask(state, own);
        return std::vector<std::uint64_t>(span.begin(), span.end());
      }();
      for (std::size_t id = 0; id < tokenizer.size(); ++id) {
        const auto token = static_cast<text::TokenId>(id);
        const std::string_view bytes = trie->bytes(token);
        if (bytes.empty()) continue;
        const bool possible =
            automaton.run(state, bytes, trie->is_markup(token)) != Automaton::kDead;
        ASSERT_EQ(bit(mask, token), possible) << tokenizer.piece(token, true);
        checked += possible ? 1 : 0;
      }
      state = automaton.run(state, trie->bytes(chosen), false);
    }
    EXPECT_GT(checked, 200U);
  }
}

TEST(TokenConstraint, MasksAreThoseOfEveryTokenByItself) {
  const auto path = testing::goldens_dir() / "tokenizer";
  for (const char* name : {"llama-spm.gguf", "llama-bpe.gguf"}) {
    HEARTH_REQUIRE_FILE(path / name);
    compare_with_every_token(*real_tokenizer(path / name));
  }
}

TEST(TokenConstraint, ForcedTokensAreBytesThatMustCome) {
  const auto path = testing::goldens_dir() / "tokenizer" / "llama-bpe.gguf";
  HEARTH_REQUIRE_FILE(path);
  const auto tokenizer = real_tokenizer(path);
  const auto trie = build_token_trie(*tokenizer);
  const auto grammar = compile_json_schema(
      Json::parse(R"({"const":{"temperature":20,"description":"partly cloudy"}})"),
      {.white_space = WhiteSpace::kNone, .reasoning = {}});
  const auto constraint = constrain(grammar, trie);
  const std::vector<text::TokenId> forced = constraint->forced();
  ASSERT_GT(forced.size(), 4U);
  std::string text;
  for (const text::TokenId token : forced) {
    ASSERT_TRUE(bit(constraint->allowed(), token));
    constraint->accept(token);
    text += tokenizer->piece(token, false);
  }
  EXPECT_TRUE(text.starts_with("{\"temperature\":")) << text;
  EXPECT_TRUE(std::string(R"({"temperature":20,"description":"partly cloudy"})").starts_with(text));
}

TEST(TokenConstraint, OneGrammarServesManyThreads) {
  const auto path = testing::goldens_dir() / "tokenizer" / "llama-spm.gguf";
  HEARTH_REQUIRE_FILE(path);
  const auto tokenizer = real_tokenizer(path);
  const auto trie = build_token_trie(*tokenizer);
  const Json schema = Json::parse(
      R"({"type":"object","properties":{"a":{"type":"string","maxLength":30},
          "b":{"type":"array","items":{"type":"integer"},"maxItems":3}},"required":["a","b"]})");
  const auto grammar = compile_json_schema(schema);
  std::vector<std::string> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        const testing::Sample sample =
            testing::sample(grammar, trie, *tokenizer, seed * 4 + i, 2000);
        const Json value = Json::parse(sample.text, nullptr, false);
        if (!sample.complete || testing::find_violation(value, schema, schema))
          wrong[i] = sample.text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : wrong) EXPECT_EQ(text, "");
  EXPECT_GT(size(*grammar).states, 10U);
}

TEST(Automaton, AStateMovesToAYoungerOne) {
  const auto grammar = compile_json_schema(
      Json::parse(R"({"type":"array","items":{"$ref":"#"},"minItems":0,"maxItems":3})"));
  Automaton old(grammar->network(), nullptr);
  const std::string begin = "[[],[[[";
  const Automaton::StateId state = old.run(old.start(), begin, false);
  Automaton young(grammar->network(), nullptr);
  const Automaton::StateId moved = old.move_to(young, state);
  ASSERT_NE(moved, Automaton::kDead);
  for (const std::string_view rest :
       {"]]]]", "]]]", "],[]]]]", "],[],[],[]]]]", "]]],[]]", "]]],[],[]]"}) {
    const auto a = old.run(state, rest, false);
    const auto b = young.run(moved, rest, false);
    EXPECT_EQ(a == Automaton::kDead, b == Automaton::kDead) << rest;
    if (a == Automaton::kDead) continue;
    EXPECT_EQ(old.accepting(a), young.accepting(b)) << rest;
  }
}

TEST(GrammarCache, KeysTellOptionsApart) {
  Reasoning reasoning{.markers = {.open = "<a>", .close = "</a>"}};
  std::vector<Options> all = {{},
                              {.white_space = WhiteSpace::kNone},
                              {.frame = text::ReplyFrame::kHarmony},
                              {.reasoning = reasoning}};
  const auto add = [&](const auto& change) {
    all.push_back({.reasoning = reasoning});
    change(*all.back().reasoning);
  };
  add([](Reasoning& each) { each.state = text::ReasoningState::kOpened; });
  add([](Reasoning& each) { each.markers.open = "<a"; });
  add([](Reasoning& each) { each.markers.close = "</b>"; });
  add([](Reasoning& each) { each.frame_after = "x"; });
  add([](Reasoning& each) { each.stops = {"x", "y"}; });
  add([](Reasoning& each) { each.stops = {"x|y"}; });
  add([](Reasoning& each) { each.stops = {"x"}; });
  std::set<std::string> keys;
  for (const Options& each : all) keys.insert(key_of(each));
  EXPECT_EQ(keys.size(), all.size());
  EXPECT_EQ(key_of({.reasoning = reasoning}), key_of(all[3]));
}

TEST(GrammarCache, KeepsTheLatest) {
  GrammarCache cache(2);
  int made = 0;
  const auto get = [&](const std::string& key) {
    return cache.get(key, [&] {
      ++made;
      return compile_regex(key);
    });
  };
  const auto a = get("a");
  (void)get("b");
  EXPECT_EQ(get("a"), a);
  (void)get("c");  // b goes
  EXPECT_EQ(get("a"), a);
  EXPECT_EQ(made, 3);
  (void)get("b");
  EXPECT_EQ(made, 4);
}

TEST(GrammarCache, KeepsWhatIsInUseWhenThereIsTooMuch) {
  GrammarCache cache(32, 1);
  int made = 0;
  const auto get = [&](const std::string& key) {
    return cache.get(key, [&] {
      ++made;
      return compile_regex(key);
    });
  };
  const auto used = get("a");
  (void)get("b");
  (void)get("c");  // b goes
  EXPECT_EQ(get("a"), used);
  EXPECT_EQ(made, 3);
  (void)get("b");
  EXPECT_EQ(made, 4);
}

}  // namespace
}  // namespace hearth::generate::grammar
