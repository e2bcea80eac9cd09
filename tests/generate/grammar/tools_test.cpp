// Tool calls in every family's syntax: what the grammar lets through is what the reply reader
// reads, and its arguments are valid.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "generate/fake_tokenizer.h"
#include "generate/grammar/grammar.h"
#include "generate/grammar/random_schemas.h"
#include "support/error.h"
#include "text/chat_format.h"
#include "text/reply_reader.h"

namespace hearth::generate::grammar {
namespace {

using testing::Json;

const Json& tools() {
  static const Json kTools = Json::parse(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
      "city":{"type":"string","maxLength":6},"unit":{"enum":["c","f"]},
      "days":{"type":"integer","minimum":1,"maximum":14},
      "where":{"type":"array","items":{"type":"number","minimum":0,"maximum":9},"maxItems":2},
      "note":{"type":["string","null"],"maxLength":4},
      "opt":{"type":"object","properties":{"x":{"type":"boolean"},"s":{"type":"string","maxLength":3}},
             "required":["x"]}},
      "required":["city","days"],"additionalProperties":false}}},
    {"name":"ping"},
    {"type":"function","function":{"name":"set_id","parameters":{"type":"object","properties":{
      "id":{"$ref":"#/$defs/id"}},"required":["id"],
      "$defs":{"id":{"type":"string","pattern":"^[A-Z]{2}\\d$"}}}}}])");
  return kTools;
}

/// Single bytes, some words, and the markers that look like control tokens.
testing::FakeTokenizer vocabulary(const text::ChatFormat& format) {
  std::vector<std::string> texts{"<eos>"};
  for (int byte = 1; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (const char* word :
       {"{\"", "\": ", "\"}", "</", "\n", "get_", "city", "name", "arguments", "\", \""})
    texts.emplace_back(word);
  for (const text::CallSyntax& call : format.calls) {
    for (const std::string& marker : {call.open, call.close, call.id_end}) {
      const bool control = marker.size() > 2 && marker.front() == '<' && marker.back() == '>';
      if (control && std::find(texts.begin(), texts.end(), marker) == texts.end())
        texts.push_back(marker);
    }
  }
  testing::FakeTokenizer tokenizer(std::move(texts));
  tokenizer.ends = {0};
  return tokenizer;
}

struct Read {
  std::vector<text::ReplyEvent> calls;
  std::string text;
};

Read read(const text::ChatFormat& format, const std::string& reply) {
  text::ReplyOptions options;
  options.tools = &tools();
  text::ReplyReader reader(format, options);
  Read result;
  const auto take = [&](const std::vector<text::ReplyEvent>& events) {
    for (const text::ReplyEvent& event : events) {
      if (event.kind == text::ReplyEvent::Kind::kToolCallEnd) result.calls.push_back(event);
      if (event.kind == text::ReplyEvent::Kind::kText) result.text += event.text;
    }
  };
  take(reader.push(reply));
  take(reader.finish());
  return result;
}

void check_calls(const Read& found, const std::string& reply) {
  ASSERT_FALSE(found.calls.empty()) << reply;
  EXPECT_EQ(found.text, "") << reply;
  for (const text::ReplyEvent& call : found.calls) {
    const Json arguments = Json::parse(call.text, nullptr, false);
    ASSERT_TRUE(arguments.is_object()) << reply;
    if (call.name == "ping") {
      EXPECT_TRUE(arguments.empty()) << reply;
      continue;
    }
    const Json& schema = tools()[call.name == "get_weather" ? 0 : 2]["function"]["parameters"];
    const auto violation = testing::find_violation(arguments, schema, schema);
    EXPECT_FALSE(violation) << *violation << "\n" << reply << "\n" << call.text;
  }
}

class Families : public ::testing::TestWithParam<const char*> {};

TEST_P(Families, DemandedCallsAreReadAndValid) {
  const text::ChatFormat format = text::detect_chat_format(GetParam());
  const testing::FakeTokenizer tokenizer = vocabulary(format);
  const auto trie = build_token_trie(tokenizer);
  for (const bool parallel : {false, true}) {
    CallRules rules;
    rules.parallel = parallel;
    const auto grammar = for_tools(format, tools(), rules);
    int complete = 0;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const testing::Sample sample = testing::sample(grammar, trie, tokenizer, seed, 1500);
      if (!sample.complete) continue;
      ++complete;
      const Read found = read(format, sample.text);
      check_calls(found, sample.text);
      EXPECT_TRUE(parallel || found.calls.size() == 1) << sample.text;
      if (HasFailure()) return;
    }
    EXPECT_GT(complete, 20) << format.name;
  }
}

TEST_P(Families, OnlyTheNamedOnes) {
  const text::ChatFormat format = text::detect_chat_format(GetParam());
  const testing::FakeTokenizer tokenizer = vocabulary(format);
  const auto trie = build_token_trie(tokenizer);
  CallRules rules;
  rules.functions = {"set_id"};
  rules.parallel = false;
  const auto grammar = for_tools(format, tools(), rules);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const testing::Sample sample = testing::sample(grammar, trie, tokenizer, seed, 1500);
    ASSERT_TRUE(sample.complete) << sample.text;
    const Read found = read(format, sample.text);
    check_calls(found, sample.text);
    ASSERT_EQ(found.calls.size(), 1U);
    EXPECT_EQ(found.calls[0].name, "set_id");
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Families,
                         ::testing::Values("<tool_call> <|im_end|>",  // Hermes, Qwen
                                           "<|start_header_id|> ipython <|python_tag|>",  // Llama 3
                                           "<|header_start|>",                            // Llama 4
                                           "[TOOL_CALLS]",                                // Mistral
                                           "<|tool_call_begin|>",                         // Kimi
                                           "<|tool_call:begin|>",                         // Solar
                                           "<｜tool▁sep｜>",                     // DeepSeek
                                           "｜DSML｜",                           // DeepSeek 3.2
                                           "<function= <parameter= <|im_end|>",  // Qwen3-Coder
                                           "<seed:tool_call>", "<arg_key>",
                                           "set HYTK = ':o' <tool_sep", "<minimax:tool_call>",
                                           "<param name=", "<function= <|eot_id|>",
                                           "<|tools_prefix|>", "[BEGIN FINAL RESPONSE]",
                                           "<|role_sep|><|function_call|>", "<TOOLCALL>",
                                           "<|START_ACTION|>", "functools", "<|tool|>",
                                           "<|start_of_role|>", "[gMASK]", "<|tool_call_start|>"));

TEST(ToolGrammar, GenericProtocol) {
  const text::ChatFormat format = text::generic_tool_format({});
  const auto demanded = for_tools(format, tools(), {});
  EXPECT_TRUE(matches(*demanded, R"({"tool_calls": [{"name": "ping", "arguments": {}}]})"));
  EXPECT_FALSE(matches(*demanded, R"({"response": "x"})"));
  CallRules free;
  free.required = false;
  EXPECT_TRUE(matches(*for_tools(format, tools(), free), R"({"response": "x"})"));
}

TEST(ToolGrammar, VoluntaryCallsAreRightOnceBegun) {
  const text::ChatFormat hermes = text::detect_chat_format("<tool_call> <|im_end|>");
  CallRules rules;
  rules.required = false;
  const auto grammar = for_tools(hermes, tools(), rules);
  for (const char* text :
       {"", "Just text.",
        "Let me see.\n<tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>{\"name\":\"ping\",\"arguments\":{}}</"
        "tool_call>\n<tool_call>{\"name\":\"set_id\","
        "\"arguments\":{\"id\":\"AB1\"}}</tool_call>",
        "{\"a\":1} <tool_cal"})
    EXPECT_TRUE(matches(*grammar, text)) << text;
  for (const char* text :
       {"<tool_call>", "<tool_call>\n{\"name\": \"pong\"", "a <tool_call>x",
        "<tool_call>{\"name\":\"set_id\",\"arguments\":{\"id\":\"ab1\"}}</tool_call>"})
    EXPECT_FALSE(matches(*grammar, text)) << text;
  rules.parallel = false;
  EXPECT_FALSE(
      matches_prefix(*for_tools(hermes, tools(), rules),
                     "<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>\n<tool_call>"));
  const text::ChatFormat llama = text::detect_chat_format("<|start_header_id|> ipython");
  const auto unmarked =
      for_tools(llama, tools(), {.required = false, .parallel = true, .functions = {}});
  EXPECT_TRUE(matches(*unmarked, "Hello {"));
  EXPECT_TRUE(matches(*unmarked, ""));
  EXPECT_TRUE(matches(*unmarked, R"({"name": "set_id", "parameters": {"id": "AB1"}})"));
  EXPECT_FALSE(matches_prefix(*unmarked, R"({"name": "set_id", "parameters": {"id": "a)"));
}

TEST(ToolGrammar, WhatCannotBeDoneIsSaid) {
  const text::ChatFormat hermes = text::detect_chat_format("<tool_call> <|im_end|>");
  for (const char* source :
       {"<|channel|> <|message|>", "<function_calls>", "]<]minimax[>[", "<|tool_call>", "plain"})
    EXPECT_THROW((void)for_tools(text::detect_chat_format(source), tools(), {}), Error) << source;
  CallRules rules;
  rules.functions = {"missing"};
  EXPECT_THROW((void)for_tools(hermes, tools(), rules), Error);
  EXPECT_THROW((void)for_tools(hermes, Json::array(), {}), Error);
  EXPECT_THROW((void)for_tools(hermes, Json::parse(R"([{"name":"a b"}])"), {}), Error);
  EXPECT_THROW(
      (void)for_tools(hermes, Json::parse(R"([{"name":"a","parameters":{"not":{}}}])"), {}), Error);
}

}  // namespace
}  // namespace hearth::generate::grammar
