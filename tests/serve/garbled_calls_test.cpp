// Whatever a model makes of its family's calls, the reply goes through: from the listener to every
// dialect's writer nothing throws, nothing fails, and what comes out is well-formed.
#include <gtest/gtest.h>

#include <memory>

#include "generate/fake_tokenizer.h"
#include "serve/dialects/anthropic_writer.h"
#include "serve/dialects/dialect_test.h"
#include "serve/dialects/ollama_writers.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/responses_writer.h"
#include "serve/reply_channel.h"
#include "text/family_replies.h"

namespace hearth::serve {
namespace {

/// What the scheduler would tell: a piece per token.
std::vector<ChannelEvent> listen(const std::string& family, const std::string& reply) {
  static const hearth::testing::FakeTokenizer kTokenizer(std::vector<std::string>{"<eos>"});
  auto chat = std::make_shared<ChatTokens>();
  chat->format = text::testing::format_of(family);
  chat->tools = text::testing::tools();
  auto channel = std::make_shared<ReplyChannel>();
  ChoiceListener listener(channel, 0, kTokenizer, chat);
  bool go_on = true;
  for (std::size_t at = 0; go_on && at < reply.size(); at += 5) {
    generate::GeneratedPiece piece;
    piece.piece.text = std::string_view(reply).substr(at, 5);
    piece.token = -1;
    go_on = listener.piece(piece).go_on;
  }
  listener.finished({});
  std::vector<ChannelEvent> events;
  while (auto event = channel->take(std::chrono::milliseconds(0))) events.push_back(*event);
  return events;
}

std::string written(ReplyWriter& writer, const std::vector<ChannelEvent>& events) {
  std::string bytes = writer.begin(testing::header());
  for (const ChannelEvent& event : events) {
    EXPECT_NE(event.kind, ChannelEvent::Kind::kFailed) << event.message;
    bytes += event.kind == ChannelEvent::Kind::kEnd ? writer.choice_end(0, event.end)
                                                    : writer.event(0, event.event, event.logprobs);
  }
  return bytes + writer.end(testing::usage());
}

void check(const std::string& family, const std::string& reply) {
  SCOPED_TRACE(family + ": " + reply);
  const std::vector<ChannelEvent> events = listen(family, reply);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().kind, ChannelEvent::Kind::kEnd);
  std::size_t calls = 0;
  for (const ChannelEvent& event : events)
    calls += event.kind == ChannelEvent::Kind::kReply &&
             event.event.kind == text::ReplyEvent::Kind::kToolCallEnd;

  const Json openai = Json::parse(written(*make_openai_chat_writer({}), events));
  const Json& message = openai["choices"][0]["message"];
  EXPECT_EQ(message.contains("tool_calls") ? message["tool_calls"].size() : 0, calls);
  EXPECT_EQ(openai["choices"][0]["finish_reason"], calls > 0 ? "tool_calls" : "stop");
  EXPECT_TRUE(Json::parse(written(*make_anthropic_writer(false), events))["content"].is_array());
  EXPECT_TRUE(Json::parse(written(*make_responses_writer({}), events))["output"].is_array());
  EXPECT_TRUE(Json::parse(written(*make_ollama_writer({.stream = false}), events))["done"]);
  // Streams: every event is well-formed.
  EXPECT_FALSE(
      testing::read_sse(written(*make_openai_chat_writer({.stream = true}), events)).empty());
  EXPECT_FALSE(testing::read_sse(written(*make_anthropic_writer(true), events)).empty());
  ResponsesReplyOptions streamed;
  streamed.stream = true;
  EXPECT_FALSE(testing::read_sse(written(*make_responses_writer(streamed), events)).empty());
  EXPECT_FALSE(testing::read_lines(written(*make_ollama_writer({}), events)).empty());
}

TEST(GarbledCalls, AreNeverAnErrorInAnyDialect) {
  std::uint64_t seed = 0;
  for (const text::testing::Family& family : text::testing::families()) {
    check(family.name, family.one);
    for (std::size_t length = 0; length < family.one.size(); length += 3)
      check(family.name, family.one.substr(0, length));
    for (const std::string* whole : {&family.one, &family.two, &family.tricky}) {
      for (int i = 0; i < 15; ++i) check(family.name, text::testing::garbled(*whole, ++seed));
    }
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace hearth::serve
