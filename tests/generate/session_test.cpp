#include "generate/session.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fake_tokenizer.h"
#include "scripted_evaluator.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

using testing::FakeTokenizer;
using testing::ScriptedEvaluator;
using Ids = std::vector<text::TokenId>;

/// Tokens 0..9 are digits, 10 a space, 11 ends the text, 12 is BOS, 13 a control token, 14 and 15
/// halves of "é".
class SessionTest : public ::testing::Test {
 protected:
  SessionTest()
      : tokenizer_({"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", " ", "<end>", "<bos>",
                    "<tool>", "\xc3", "\xa9"}) {
    tokenizer_.ends = {11};
    tokenizer_.roles.bos = 12;
    options_.sampler.temperature = 0;
  }

  ScriptedEvaluator counting(std::int64_t context = 64, std::int64_t rows = 4) {
    return {16, context, rows, [](const Ids& held) { return (held.back() + 1) % 10; }};
  }

  ScriptedEvaluator saying(Ids answer, std::size_t prompt) {
    return {16, 64, 64,
            [answer, prompt](const Ids& held) { return answer.at(held.size() - prompt); }};
  }

  GenerateResult generate(Session& session, const Ids& prompt) {
    pieces_.clear();
    text_.clear();
    return session.generate(prompt, options_, [this](const Piece& piece) {
      pieces_.push_back((piece.control ? "!" : "") + std::string(piece.text));
      text_ += piece.text;
      return true;
    });
  }

  FakeTokenizer tokenizer_;
  GenerateOptions options_;
  std::vector<std::string> pieces_;
  std::string text_;
};

TEST_F(SessionTest, ContinuesThePrompt) {
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 5;
  const GenerateResult result = generate(session, {12, 1, 2});
  EXPECT_EQ(text_, "34567");
  EXPECT_EQ(result.finish, FinishReason::kLength);
  EXPECT_EQ(result.prompt_tokens, 3);
  EXPECT_EQ(result.generated_tokens, 5);
  EXPECT_EQ(result.reused_tokens, 0);
}

TEST_F(SessionTest, NothingIsGeneratedForZeroTokens) {
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 0;
  EXPECT_EQ(generate(session, {1}).finish, FinishReason::kLength);
  EXPECT_EQ(text_, "");
}

TEST_F(SessionTest, PromptsAreEvaluatedInPieces) {
  ScriptedEvaluator evaluator = counting(64, 4);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 1;
  std::vector<std::pair<std::int64_t, std::int64_t>> progress;
  options_.on_prompt_progress = [&](std::int64_t done, std::int64_t total) {
    progress.emplace_back(done, total);
  };
  generate(session, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(evaluator.passes, (std::vector<std::size_t>{4, 4, 2}));
  EXPECT_EQ(progress, (std::vector<std::pair<std::int64_t, std::int64_t>>{
                          {0, 10}, {4, 10}, {8, 10}, {10, 10}}));
}

TEST_F(SessionTest, ACommonPrefixIsNotEvaluatedAgain) {
  ScriptedEvaluator evaluator = counting(64, 64);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 3;
  generate(session, {12, 1, 2});  // generates 3 4 5; 3 and 4 are evaluated
  EXPECT_EQ(evaluator.held, (Ids{12, 1, 2, 3, 4}));
  evaluator.passes.clear();
  const GenerateResult result = generate(session, {12, 1, 2, 3, 4, 5, 6});
  EXPECT_EQ(result.reused_tokens, 5);
  EXPECT_EQ(evaluator.passes.front(), 2U);
  EXPECT_EQ(text_, "789");

  const GenerateResult other = generate(session, {12, 1, 7});
  EXPECT_EQ(other.reused_tokens, 2);
  EXPECT_EQ(text_, "890");
  EXPECT_EQ(evaluator.held, (Ids{12, 1, 7, 8, 9}));
  EXPECT_EQ(Ids(session.tokens().begin(), session.tokens().end()), evaluator.held);
}

TEST_F(SessionTest, TheLastTokenOfAKnownPromptIsEvaluatedForItsLogits) {
  ScriptedEvaluator evaluator = counting(64, 64);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 2;
  generate(session, {1, 2, 3});
  EXPECT_EQ(generate(session, {1, 2, 3}).reused_tokens, 2);
  EXPECT_EQ(text_, "45");
  EXPECT_EQ(generate(session, {1, 2}).reused_tokens, 1);
  EXPECT_EQ(text_, "34");
}

TEST_F(SessionTest, EndsAtTheEndOfTextAndAtBos) {
  for (const text::TokenId end : {11, 12}) {
    ScriptedEvaluator evaluator = saying({5, end, 6}, 1);
    Session session(evaluator, tokenizer_);
    const GenerateResult result = generate(session, {1});
    EXPECT_EQ(text_, "5");
    EXPECT_EQ(result.finish, FinishReason::kStop);
  }
}

TEST_F(SessionTest, StopStringsAcrossTokens) {
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  options_.stops = {"678", "99"};
  const GenerateResult result = generate(session, {1});
  EXPECT_EQ(text_, "2345");
  EXPECT_EQ(result.finish, FinishReason::kStopText);
  EXPECT_EQ(result.stop_text, "678");
  EXPECT_EQ(pieces_, (std::vector<std::string>{"2", "3", "4", "5"}));
}

TEST_F(SessionTest, TextHeldForAStopStringComesWhenTheTextEnds) {
  ScriptedEvaluator evaluator = saying({5, 6, 11}, 1);
  Session session(evaluator, tokenizer_);
  options_.stops = {"67"};
  EXPECT_EQ(generate(session, {1}).finish, FinishReason::kStop);
  EXPECT_EQ(text_, "56");
}

TEST_F(SessionTest, CharactersAreNeverSplit) {
  ScriptedEvaluator evaluator = saying({5, 14, 15, 14, 11}, 1);
  Session session(evaluator, tokenizer_);
  generate(session, {1});
  EXPECT_EQ(pieces_, (std::vector<std::string>{"5", "\xc3\xa9", "\xc3"}));
}

TEST_F(SessionTest, ControlTokensAreGivenApartAndOnlyWhenAskedFor) {
  ScriptedEvaluator evaluator = saying({5, 13, 6, 11}, 1);
  Session session(evaluator, tokenizer_);
  generate(session, {1});
  EXPECT_EQ(text_, "56");
  options_.control_pieces = true;
  Session again(evaluator, tokenizer_);
  evaluator.truncate(0);
  generate(again, {1});
  EXPECT_EQ(pieces_, (std::vector<std::string>{"5", "!<tool>", "6"}));
  options_.stops = {"tool"};
  Session stopping(evaluator, tokenizer_);
  evaluator.truncate(0);
  EXPECT_EQ(generate(stopping, {1}).finish, FinishReason::kStopText);
  EXPECT_EQ(text_, "5");
}

TEST_F(SessionTest, SuppressedTokensAreNotGenerated) {
  ScriptedEvaluator evaluator = counting();
  tokenizer_.never = {3};
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 1;
  generate(session, {2});
  EXPECT_EQ(text_, "0");  // the likeliest of the rest
}

TEST_F(SessionTest, TokensWithoutATextAreNotGenerated) {
  // Vocabularies of weights are often padded beyond the tokenizer's.
  ScriptedEvaluator evaluator(20, 64, 4, [](const Ids&) { return 17; });
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 1;
  generate(session, {2});
  EXPECT_EQ(text_, "0");
}

TEST_F(SessionTest, AFullContextEndsTheGeneration) {
  ScriptedEvaluator evaluator = counting(6);
  Session session(evaluator, tokenizer_);
  const GenerateResult result = generate(session, {0, 1, 2, 3});
  EXPECT_EQ(result.finish, FinishReason::kContext);
  EXPECT_EQ(text_, "456");  // the last one is known from the last logits but cannot be evaluated
  EXPECT_EQ(evaluator.length(), 6);
}

TEST_F(SessionTest, AShiftedContextHoldsExactlyTheShorterText) {
  ScriptedEvaluator evaluator = counting(8, 64);
  Session session(evaluator, tokenizer_);
  options_.overflow = Overflow::kShift;
  options_.max_tokens = 20;
  const GenerateResult result = generate(session, {12, 0, 1, 2});
  EXPECT_EQ(text_, "34567890123456789012");
  EXPECT_GT(result.shifts, 2);
  EXPECT_EQ(evaluator.held.front(), 12);  // kept
  EXPECT_LE(evaluator.length(), 8);
  for (std::size_t index = 2; index < evaluator.held.size(); ++index) {
    EXPECT_EQ(evaluator.held[index], (evaluator.held[index - 1] + 1) % 10);
  }
}

TEST_F(SessionTest, APromptLongerThanTheContextIsAnError) {
  ScriptedEvaluator evaluator = counting(4);
  Session session(evaluator, tokenizer_);
  try {
    generate(session, {0, 1, 2, 3, 4});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
  }
  EXPECT_THROW(generate(session, {}), Error);
}

TEST_F(SessionTest, CancellationTakesEffectWithinOnePass) {
  std::atomic<bool> cancel{false};
  options_.cancel = &cancel;
  ScriptedEvaluator evaluator = counting(64, 2);
  evaluator.before_return = [&] {
    if (evaluator.passes.size() == 2) cancel = true;
  };
  Session session(evaluator, tokenizer_);
  EXPECT_EQ(generate(session, {0, 1, 2, 3, 4, 5}).finish, FinishReason::kCancelled);
  EXPECT_EQ(evaluator.passes.size(), 2U);
  EXPECT_EQ(text_, "");
  // What was evaluated is not lost.
  cancel = false;
  options_.max_tokens = 1;
  evaluator.before_return = nullptr;
  EXPECT_EQ(generate(session, {0, 1, 2, 3, 4, 5}).reused_tokens, 4);
}

TEST_F(SessionTest, CancellationWhileGenerating) {
  std::atomic<bool> cancel{false};
  options_.cancel = &cancel;
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  std::string text;
  const GenerateResult result = session.generate(Ids{1}, options_, [&](const Piece& piece) {
    text += piece.text;
    cancel = text.size() == 3;
    return true;
  });
  EXPECT_EQ(result.finish, FinishReason::kCancelled);
  EXPECT_EQ(text, "234");
}

TEST_F(SessionTest, TheReceiverEndsTheGeneration) {
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  int pieces = 0;
  const GenerateResult result =
      session.generate(Ids{1}, options_, [&](const Piece&) { return ++pieces < 3; });
  EXPECT_EQ(result.finish, FinishReason::kStop);
  EXPECT_EQ(pieces, 3);
}

TEST_F(SessionTest, ForcedTokensComeNext) {
  ScriptedEvaluator evaluator = counting();
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 6;
  std::string text;
  session.generate(Ids{1}, options_, [&](const Piece& piece) {
    text += piece.text;
    if (text == "23") session.force(Ids{10, 7});
    return true;
  });
  EXPECT_EQ(text, "23 789");
}

TEST_F(SessionTest, OnePassEvaluatesWhatIsForced) {
  ScriptedEvaluator evaluator = counting(64, 4);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 12;
  std::string text;
  const auto force_six = [&](const Piece& piece) {
    text += piece.text;
    if (text == "23") session.force(Ids{5, 5, 5, 5, 5, 7});
    return true;
  };
  session.generate(Ids{1}, options_, force_six);
  EXPECT_EQ(text, "235555578901");
  // The prompt, 2, and 3 with what is forced, four at a time; then one by one.
  EXPECT_EQ(evaluator.passes, (std::vector<std::size_t>{1, 1, 4, 3, 1, 1, 1}));
  EXPECT_EQ(evaluator.held, (Ids{1, 2, 3, 5, 5, 5, 5, 5, 7, 8, 9, 0}));
  EXPECT_EQ(Ids(session.tokens().begin(), session.tokens().end()), evaluator.held);
}

/// The end comes among them, or the context does.
TEST_F(SessionTest, WhatIsForcedEndsWhereAllElseDoes) {
  for (const std::int64_t most : {3, 4, 5, 20}) {
    ScriptedEvaluator evaluator = counting(8, 4);
    Session session(evaluator, tokenizer_);
    options_.max_tokens = most;
    int pieces = 0;
    const GenerateResult result = session.generate(Ids{1}, options_, [&](const Piece&) {
      if (++pieces == 1) session.force(Ids{5, 5, 5, 5, 5, 5, 5, 5, 5, 5});
      return true;
    });
    EXPECT_EQ(result.generated_tokens, std::min<std::int64_t>(most, 8));
    EXPECT_EQ(result.finish, most == 20 ? FinishReason::kContext : FinishReason::kLength);
    EXPECT_EQ(Ids(session.tokens().begin(), session.tokens().end()), evaluator.held);
    // What was not evaluated is, when it is gone on with.
    generate(session, {1, 2, 5, 5, 7});
    EXPECT_TRUE(text_.starts_with("8")) << text_;
  }
  ScriptedEvaluator evaluator = counting(8, 4);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 20;
  options_.overflow = Overflow::kShift;
  int pieces = 0;
  const GenerateResult result = session.generate(Ids{1}, options_, [&](const Piece&) {
    if (++pieces == 1) session.force(Ids{5, 5, 5, 5, 5, 5, 5, 5, 5, 5});
    return true;
  });
  EXPECT_EQ(result.generated_tokens, 20);
  EXPECT_GT(result.shifts, 0);
}

TEST_F(SessionTest, AFailedPassLeavesTheSessionUsable) {
  ScriptedEvaluator evaluator = counting(64, 2);
  Session session(evaluator, tokenizer_);
  options_.max_tokens = 1;
  evaluator.before_return = [&] {
    if (evaluator.passes.size() == 2) throw Error("the disk is gone");
  };
  EXPECT_THROW(generate(session, {0, 1, 2, 3}), Error);
  evaluator.before_return = nullptr;
  generate(session, {0, 1, 2, 5});
  EXPECT_EQ(text_, "6");
  EXPECT_EQ(evaluator.held, (Ids{0, 1, 2, 5}));
}

TEST_F(SessionTest, AnAddedEndOfTextIsTakenOffPrompts) {
  tokenizer_.roles.eos = 11;
  tokenizer_.roles.add_eos = true;
  text::Prompt prompt;
  prompt.append("12", text::Origin::kData);
  prompt.append("<end>", text::Origin::kTemplate);  // what a tokenizer that adds EOS gives
  EXPECT_EQ(prompt_tokens(tokenizer_, prompt), (Ids{12, 1, 2}));
  tokenizer_.roles.add_eos = false;
  EXPECT_EQ(prompt_tokens(tokenizer_, prompt), (Ids{12, 1, 2, 11}));
}

}  // namespace
}  // namespace hearth::generate
