#include "generate/chat.h"

#include <gtest/gtest.h>

#include "fake_tokenizer.h"
#include "scripted_evaluator.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::generate {
namespace {

using testing::FakeTokenizer;
using testing::ScriptedEvaluator;
using Ids = std::vector<text::TokenId>;

/// ChatML over a vocabulary of single characters and a few markers; the model says a script.
class ChatTest : public ::testing::Test {
 protected:
  static std::vector<std::string> vocabulary() {
    std::vector<std::string> texts = {"<|im_start|>", "<|im_end|>", "think_open", "think_close"};
    texts[2] = "<think>";  // a control token for FakeTokenizer
    texts[3] = "</think>";
    for (char character = ' '; character <= '~'; ++character) texts.emplace_back(1, character);
    texts.emplace_back("\n");
    return texts;
  }

  ChatTest() : tokenizer_(vocabulary()) {
    tokenizer_.ends = {1};
    options_.generate.sampler.temperature = 0;
  }

  Ids encode(const std::string& text) {
    return tokenizer_.encode(text, {.add_special = false, .parse_special = true});
  }

  static text::Prompt render(const Json& messages, const Json& variables) {
    text::Prompt prompt;
    for (const Json& message : messages) {
      prompt.append("<|im_start|>" + message["role"].get<std::string>() + "\n",
                    text::Origin::kTemplate);
      prompt.append(message["content"].get<std::string>(), text::Origin::kData);
      prompt.append("<|im_end|>\n", text::Origin::kTemplate);
    }
    prompt.append("<|im_start|>assistant\n", text::Origin::kTemplate);
    if (variables.contains("enable_thinking") && variables["enable_thinking"] == false) {
      prompt.append("<think>\n\n</think>\n\n", text::Origin::kTemplate);
    }
    return prompt;
  }

  /// Says `answer` after every prompt, then ends. What Hearth writes itself (the forced end of
  /// reasoning) is skipped to `after_cut` when it occurs.
  ScriptedEvaluator saying(const std::string& answer, const std::string& after_cut = {},
                           std::int64_t context = 4096) {
    const Ids script = encode(answer + "<|im_end|>");
    const Ids cut = encode(after_cut + "<|im_end|>");
    const Ids mark = encode("assistant\n");
    return {static_cast<std::int64_t>(tokenizer_.size()), context, 512, [=, this](const Ids& held) {
              // Position in the answer: tokens since the last "assistant\n".
              std::size_t begin = held.size();
              while (!std::equal(mark.begin(), mark.end(),
                                 held.begin() + static_cast<std::ptrdiff_t>(begin - mark.size())))
                --begin;
              const Ids said(held.begin() + static_cast<std::ptrdiff_t>(begin), held.end());
              const Ids close = {3};
              const auto closed = std::search(said.begin(), said.end(), close.begin(), close.end());
              if (!after_cut.empty() && closed != said.end()) {
                const auto past = static_cast<std::size_t>(said.end() - closed) - 1;
                return past < 2 ? tokenizer_.find("\n").value() : cut.at(past - 2);
              }
              return script.at(said.size());
            }};
  }

  ChatReply send(Chat& chat, const std::string& text) {
    return chat.send(text, options_, [](const text::ReplyEvent&) {});
  }

  static text::ChatFormat format() {
    return text::detect_chat_format(
        "{{ '<|im_start|>' }}{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}<|im_end|>");
  }

  FakeTokenizer tokenizer_;
  ChatOptions options_;
};

TEST_F(ChatTest, KeepsTheConversationAndReusesItsTokens) {
  ScriptedEvaluator evaluator = saying("Hello.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  chat.conversation.system = "Be brief.";
  const ChatReply first = send(chat, "Hi");
  EXPECT_EQ(first.text, "Hello.");
  EXPECT_EQ(first.result.finish, FinishReason::kStop);
  const ChatReply second = send(chat, "Again");
  EXPECT_GE(second.result.reused_tokens, first.result.prompt_tokens + 6);
  EXPECT_EQ(chat.conversation.messages, Json::parse(R"([
    {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Again"}, {"role": "assistant", "content": "Hello."}])"));
}

TEST_F(ChatTest, WhatUsersWriteIsNoControlToken) {
  ScriptedEvaluator evaluator = saying("ok");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  send(chat, "<|im_end|>");
  EXPECT_EQ(std::count(evaluator.held.begin(), evaluator.held.end(), 0),
            2);  // the template's two starts only
}

TEST_F(ChatTest, ReasoningIsApart) {
  ScriptedEvaluator evaluator = saying("<think>\nhmm\n</think>\n\nYes.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  const ChatReply reply = send(chat, "Really?");
  EXPECT_EQ(reply.text, "Yes.");
  EXPECT_EQ(reply.reasoning, "hmm");
  EXPECT_EQ(chat.conversation.messages.back()["reasoning_content"], "hmm");
}

TEST_F(ChatTest, ABudgetCutsTheReasoning) {
  ScriptedEvaluator evaluator =
      saying("<think>\n" + std::string(500, 'z') + "</think>\n\nNever.", "Short.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  options_.thinking = true;
  options_.thinking_budget = 20;
  const ChatReply reply = send(chat, "Think");
  EXPECT_EQ(reply.text, "Short.");
  EXPECT_GE(reply.reasoning.size(), 15U);
  EXPECT_LE(reply.reasoning.size(), 21U);
}

TEST_F(ChatTest, ThinkingOffIsToldToTheTemplate) {
  ScriptedEvaluator evaluator = saying("ignored", "Direct.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  options_.thinking = false;
  EXPECT_EQ(send(chat, "Go").text, "Direct.");
}

TEST_F(ChatTest, RetryReplacesTheLastAnswer) {
  ScriptedEvaluator evaluator = saying("One.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  EXPECT_THROW(chat.retry(options_, [](const text::ReplyEvent&) {}), Error);
  send(chat, "Hi");
  chat.retry(options_, [](const text::ReplyEvent&) {});
  EXPECT_EQ(chat.conversation.messages.size(), 2U);
}

TEST_F(ChatTest, ACancelledReplyIsKeptWhenSomethingWasSaid) {
  std::atomic<bool> cancel{false};
  options_.generate.cancel = &cancel;
  ScriptedEvaluator evaluator = saying("A long answer.");
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  std::string seen;
  const ChatReply reply = chat.send("Hi", options_, [&](const text::ReplyEvent& event) {
    seen += event.text;
    cancel = seen.size() >= 6;
  });
  EXPECT_EQ(reply.result.finish, FinishReason::kCancelled);
  EXPECT_EQ(chat.conversation.messages.back()["content"], reply.text);
  EXPECT_TRUE(reply.text.starts_with("A long")) << reply.text;
  // Cancelled before the first word: as if nothing had been asked.
  const Json before = chat.conversation.messages;
  cancel = true;
  chat.send("More", options_, [](const text::ReplyEvent&) {});
  EXPECT_EQ(chat.conversation.messages, before);
  chat.retry(options_, [](const text::ReplyEvent&) {});
  EXPECT_EQ(chat.conversation.messages, before);
}

TEST_F(ChatTest, AFailureLeavesTheConversationAsItWas) {
  ScriptedEvaluator evaluator = saying("ok");
  evaluator.before_return = [] { throw Error("broken"); };
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  EXPECT_THROW(send(chat, "Hi"), Error);
  EXPECT_TRUE(chat.conversation.messages.empty());
}

TEST_F(ChatTest, AConversationLongerThanTheContext) {
  ScriptedEvaluator evaluator = saying("Fine.", {}, 160);
  Session session(evaluator, tokenizer_);
  Chat chat(session, render, format());
  for (int turn = 0; turn < 2; ++turn) send(chat, std::string(20, 'x'));
  try {
    for (int turn = 0; turn < 3; ++turn) send(chat, std::string(20, 'x'));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
    EXPECT_NE(error.hint().find("/set overflow shift"), std::string::npos) << error.hint();
  }
  options_.generate.overflow = Overflow::kShift;
  try {
    send(chat, std::string(300, 'x'));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the message alone"), std::string::npos);
    EXPECT_EQ(error.hint().find("overflow"), std::string::npos) << error.hint();
  }
  const std::size_t messages = chat.conversation.messages.size();
  const ChatReply reply = send(chat, std::string(20, 'x'));
  EXPECT_EQ(reply.text, "Fine.");
  EXPECT_GE(reply.dropped_messages, 2);
  EXPECT_LE(reply.result.prompt_tokens, 120);
  EXPECT_EQ(chat.conversation.messages.size(),
            messages + 2);  // nothing is forgotten in the conversation itself
}

TEST(Conversation, IsSavedAndLoaded) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "talk.json";
  SavedConversation saved;
  saved.conversation.system = "Be \"kind\".\n";
  saved.conversation.messages.push_back({{"role", "user"}, {"content", "é"}});
  saved.model = "tiny";
  saved.settings["temp"] = "0.5";
  save_conversation(saved, path);
  const SavedConversation loaded = load_conversation(path);
  EXPECT_EQ(loaded.conversation.system, saved.conversation.system);
  EXPECT_EQ(loaded.conversation.messages, saved.conversation.messages);
  EXPECT_EQ(loaded.settings, saved.settings);
  EXPECT_EQ(loaded.model, "tiny");
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(Conversation, MessagesWithoutContentAreKept) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "talk.json";
  write_file_atomically(path, R"({"format": "hearth-conversation-1", "messages": [
    {"role": "system", "tool_calls": []}, {"role": "system", "content": "late"}]})");
  const SavedConversation loaded = load_conversation(path);
  EXPECT_EQ(loaded.conversation.system, "");
  EXPECT_EQ(loaded.conversation.messages.size(), 2U);
}

TEST(Conversation, BadFilesAreErrors) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "bad.json";
  const std::string head = R"({"format": "hearth-conversation-1", )";
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string(R"({"format": "other"})"),
        head + R"("x": 1})", head + R"("messages": [1]})",
        head + R"("messages": [{"role": "king", "content": ""}]})",
        head + R"("messages": [{"role": "user"}]})",
        head + R"("messages": [], "settings": {"temp": 1}})",
        head + R"("messages": )" + std::string(100000, '[')}) {
    write_file_atomically(path, text);
    EXPECT_THROW((void)load_conversation(path), Error) << text.substr(0, 80);
  }
  EXPECT_THROW((void)load_conversation(folder.path() / "none.json"), Error);
}

}  // namespace
}  // namespace hearth::generate
