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
  const auto add = [&](const std::string& marker) {
    const bool control = marker.size() > 2 && marker.front() == '<' && marker.back() == '>';
    if (control && std::find(texts.begin(), texts.end(), marker) == texts.end())
      texts.push_back(marker);
  };
  for (const text::CallSyntax& call : format.calls) {
    for (const std::string& marker : {call.open, call.close, call.id_end, call.quote_token})
      add(marker);
  }
  for (const text::ReasoningMarkers& markers : format.reasoning) {
    add(markers.open);
    add(markers.close);
  }
  if (format.frame == text::ReplyFrame::kHarmony) {
    for (const char* marker : {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
                               "<|end|>", "<|call|>", "<|return|>"})
      add(marker);
    for (const char* word : {"assistant", "analysis", "commentary", "final", " to=functions."})
      texts.emplace_back(word);
  }
  testing::FakeTokenizer tokenizer(std::move(texts));
  tokenizer.ends = {0};
  return tokenizer;
}

struct Read {
  std::vector<text::ReplyEvent> calls;
  std::string text, reasoning;
  int dropped = 0, problems = 0;
};

Read read(const text::ChatFormat& format, const std::string& reply, std::string_view prompt = {}) {
  text::ReplyOptions options;
  options.tools = &tools();
  options.prompt = prompt;
  text::ReplyReader reader(format, options);
  Read result;
  const auto take = [&](const std::vector<text::ReplyEvent>& events) {
    for (const text::ReplyEvent& event : events) {
      if (event.kind == text::ReplyEvent::Kind::kToolCallEnd) result.calls.push_back(event);
      if (event.kind == text::ReplyEvent::Kind::kText) result.text += event.text;
      if (event.kind == text::ReplyEvent::Kind::kReasoning) result.reasoning += event.text;
      if (event.kind == text::ReplyEvent::Kind::kToolCallDropped) ++result.dropped;
      if (event.kind == text::ReplyEvent::Kind::kProblem) ++result.problems;
    }
  };
  take(reader.push(reply));
  take(reader.finish());
  return result;
}

void check_calls(const Read& found, const std::string& reply) {
  ASSERT_FALSE(found.calls.empty()) << reply;
  EXPECT_EQ(found.text, "") << reply;
  EXPECT_EQ(found.dropped, 0) << reply;
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

TEST_P(Families, VoluntaryCallsAreReadAndValidToo) {
  const text::ChatFormat format = text::detect_chat_format(GetParam());
  const testing::FakeTokenizer tokenizer = vocabulary(format);
  const auto trie = build_token_trie(tokenizer);
  CallRules rules;
  rules.required = false;
  const auto grammar = for_tools(format, tools(), rules);
  std::size_t calls = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const testing::Sample sample = testing::sample(grammar, trie, tokenizer, seed, 400);
    if (!sample.complete) continue;
    const Read found = read(format, sample.text);
    EXPECT_EQ(found.dropped, 0) << sample.text;
    calls += found.calls.size();
    if (!found.calls.empty()) {
      Read only_calls = found;
      only_calls.text.clear();
      check_calls(only_calls, sample.text);
    }
    if (HasFailure()) return;
  }
  // Random text rarely begins a call whose marker is not one token.
  const std::string& open = format.calls.empty() ? std::string() : format.calls.front().open;
  if (open.starts_with("<") && open.ends_with(">")) {
    EXPECT_GT(calls, 0U);
  }
}

TEST_P(Families, ReasoningMayComeFirstAndThenTheCallMust) {
  const text::ChatFormat format = text::detect_chat_format(GetParam());
  if (format.reasoning.empty()) return;
  const testing::FakeTokenizer tokenizer = vocabulary(format);
  const auto trie = build_token_trie(tokenizer);
  const std::string prompt = "assistant\n" + format.reasoning[0].open + "\n";
  const auto grammar = for_tools(format, tools(), {}, options_for(format, prompt));
  // The prompt opened it: whatever is thought, calls come behind it.
  const std::string& close = format.reasoning[0].close;
  EXPECT_TRUE(matches_prefix(*grammar, "Hm, <b>well</b>.\n\n"));
  EXPECT_FALSE(matches(*grammar, "Hm."));
  EXPECT_FALSE(matches(*grammar, "Hm." + close));
  EXPECT_FALSE(matches_prefix(*grammar, "Hm." + close + "\n\nThen again, "));
  int complete = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const testing::Sample sample = testing::sample(grammar, trie, tokenizer, seed, 4000);
    if (!sample.complete) continue;
    ++complete;
    check_calls(read(format, sample.text, prompt), sample.text);
    if (HasFailure()) return;
  }
  if (close.starts_with("<") && close.ends_with(">")) {
    EXPECT_GT(complete, 10) << format.name;
  }
  // The prompt closed it: none comes.
  const std::string closed = format.reasoning[0].open + close;
  EXPECT_FALSE(matches_prefix(*for_tools(format, tools(), {}, options_for(format, closed)),
                              format.reasoning[0].open));
}

INSTANTIATE_TEST_SUITE_P(Formats, Families,
                         ::testing::Values("<tool_call> <|im_end|>",          // Hermes, Qwen
                                           "<tool_call> <|im_end|> <think>",  // Qwen3
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
                                           "]<]minimax[>[", "<param name=",
                                           "<function= <|eot_id|>",  // Functionary 3.1
                                           ">>>all <|eot_id|>",      // Functionary 3.2
                                           "<|tools_prefix|>", "[BEGIN FINAL RESPONSE]",
                                           "<|role_sep|>", "<|role_sep|><|function_call|>",
                                           "<TOOLCALL>", "<|START_ACTION|>",
                                           "<|START_OF_TURN_TOKEN|>", "functools", "<|tool|>",
                                           "<|start_of_role|>", "[gMASK]", "<|tool_call_start|>",
                                           "<function_calls>",         // Olmo 3
                                           "<|channel|> <|message|>",  // gpt-oss
                                           "<|tool_call>",             // Gemma 4
                                           "<start_function_call>"));  // FunctionGemma

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

TEST(ToolGrammar, Harmony) {
  const text::ChatFormat format = text::detect_chat_format("<|start|> <|channel|> <|message|>");
  const auto grammar = for_tools(format, tools(), {});
  const std::string call = "<|message|>{\"id\":\"AB1\"}";
  for (const std::string& text :
       {"<|channel|>commentary to=functions.set_id <|constrain|>json" + call + "<|call|>",
        "<|channel|>commentary to=functions.set_id json" + call,
        " to=functions.set_id<|channel|>commentary <|constrain|>json" + call,
        "<|channel|>analysis<|message|>Hm, f(x) <b>.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.set_id" +
            call}) {
    EXPECT_TRUE(matches(*grammar, text)) << text;
    EXPECT_EQ(read(format, text).calls.size(), 1U) << text;
  }
  for (const char* text :
       {"<|channel|>final", "Hello", "<|channel|>commentary<|message|>", "{\"id\"",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final",
        "<|channel|>analysis<|message|>Hm.<|return|>",
        "<|channel|>analysis<|message|>Hm.<|channel|>commentary to=functions.set_id<|message|>{}",
        "<|channel|>commentary to=functions.other"})
    EXPECT_FALSE(matches_prefix(*grammar, text)) << text;
  const auto free =
      for_tools(format, tools(), {.required = false, .parallel = true, .functions = {}});
  EXPECT_TRUE(matches(*free, "<|channel|>final<|message|>Hello <b>.<|return|>"));
  EXPECT_TRUE(matches(*free,
                      "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>"
                      "commentary<|message|>I call it.<|end|><|start|>assistant to=functions.set_id"
                      "<|channel|>commentary json" +
                          call));
  EXPECT_FALSE(
      matches_prefix(*free, "<|channel|>commentary to=functions.set_id<|message|>{\"id\":1"));
  EXPECT_FALSE(matches_prefix(*free, "<|channel|>commentary to=functions.other"));
}

TEST(ToolGrammar, Recipients) {
  const text::ChatFormat format = text::detect_chat_format(">>>all");
  const auto grammar = for_tools(format, tools(), {});
  EXPECT_TRUE(matches(*grammar, "ping\n{}>>>set_id\n{\"id\": \"AB1\"}"));
  EXPECT_FALSE(matches_prefix(*grammar, "all\n"));
  EXPECT_FALSE(matches_prefix(*grammar, "pong\n"));
  CallRules rules;
  rules.required = false;
  rules.functions = {"set_id"};
  const auto free = for_tools(format, tools(), rules);
  EXPECT_TRUE(
      matches(*free, "all\nIn Python: >>> print(1)\n>>>ping it>>>set_id\n{\"id\":\"AB1\"}"));
  EXPECT_FALSE(matches_prefix(*free, "all\nx>>>set_id\n{\"id\":1"));
  EXPECT_FALSE(matches_prefix(*free, "all\nx>>>ping\n"));
}

TEST(ToolGrammar, WithoutQuotes) {
  const text::ChatFormat format = text::detect_chat_format("<|tool_call>");
  const auto grammar = for_tools(format, tools(), {});
  const auto call = [](const std::string& arguments) {
    return "<|tool_call>call:get_weather" + arguments + "<tool_call|>";
  };
  const std::string q = "<|\"|>";
  const std::string text = call("{city:" + q + "a\n\"<|" + q +
                                ",days:3,where:[1,2.5],note:null,opt:{x:true,s:" + q + q + "}}");
  EXPECT_TRUE(matches(*grammar, text)) << text;
  const Read found = read(format, text);
  ASSERT_EQ(found.calls.size(), 1U);
  EXPECT_EQ(found.calls[0].text,
            R"({"city":"a\n\"<|","days":3,"where":[1,2.5],"note":null,"opt":{"x":true,"s":""}})");
  for (const std::string& wrong :
       {call("{city:\"x\"}"), call("{city:" + q + "too long" + q), call("{city:x"),
        call("{\"city\":"), std::string("<|tool_call>get_weather{")})
    EXPECT_FALSE(matches_prefix(*grammar, wrong)) << wrong;
  // Keys that are no words are quoted; longer strings than can be counted exactly have no '<'.
  const Json odd = Json::parse(R"([{"name":"f","parameters":{"type":"object","required":["a b","t"],
    "properties":{"a b":{"const":1},"t":{"type":"string","minLength":2,"maxLength":5000}}}}])");
  const auto special = for_tools(format, odd, {});
  const auto with_text = [&](const std::string& content) {
    return "<|tool_call>call:f{\"a b\":1,t:" + q + content + q + "}<tool_call|>";
  };
  EXPECT_TRUE(matches(*special, with_text("<<")));
  EXPECT_TRUE(matches(*special, with_text(std::string(5000, 'x'))));
  EXPECT_TRUE(matches(*special, with_text("<" + std::string(999, 'x'))));
  EXPECT_FALSE(matches(*special, with_text("<" + std::string(1000, 'x'))));
  EXPECT_FALSE(matches(*special, with_text(std::string(5001, 'x'))));
  EXPECT_FALSE(matches(*special, with_text("x")));
}

TEST(ToolGrammar, Python) {
  const text::ChatFormat list = text::detect_chat_format("<|tool_call_start|>");
  const auto in_list = [](const std::string& call) {
    return "<|tool_call_start|>[" + call + "]<|tool_call_end|>";
  };
  const auto grammar = for_tools(list, tools(), {});
  for (const char* call :
       {"get_weather(city='O\\'a\"', days=3, opt={'x': True, \"s\": 'b'})", "ping()",
        "ping(), ping()", "get_weather(city=\"x\", unit='c',days=14, where=[1, 2.5], note=None)"}) {
    EXPECT_TRUE(matches(*grammar, in_list(call))) << call;
    const Read found = read(list, in_list(call));
    check_calls(found, call);
  }
  for (const char* call :
       {"get_weather(days=3", "get_weather(city=x", "get_weather(city='a', days=3, opt={'x': true",
        "ping(a=1", "pong(", "get_weather(city='too long'", "get_weather(\"city\"", "[ping()"})
    EXPECT_FALSE(matches_prefix(*grammar, "<|tool_call_start|>[" + std::string(call))) << call;
  const text::ChatFormat lines = text::detect_chat_format("<function_calls>");
  const std::string two = "<function_calls>\nping()\nset_id(id='AB1')\n</function_calls>";
  EXPECT_TRUE(matches(*for_tools(lines, tools(), {}), two));
  EXPECT_EQ(read(lines, two).calls.size(), 2U);
  EXPECT_FALSE(matches_prefix(*for_tools(lines, tools(), {}), "<function_calls>\n["));
  EXPECT_THROW((void)for_tools(lines, Json::parse(R"([{"name":"a-b.call"}])"), {}), Error);
  EXPECT_THROW((void)for_tools(lines, Json::parse(R"([{"name":"f","parameters":{"type":"object",
    "properties":{"a b":{}}}}])"),
                               {}),
               Error);
}

/// A schema whose values are written as elements in elements.
const Json& nested_tools() {
  static const Json kTools = Json::parse(R"([{"name":"save","parameters":{"type":"object",
    "properties":{
      "tree":{"$ref":"#/$defs/node"},
      "tags":{"type":"array","items":{"type":"string","maxLength":3},"maxItems":2},
      "when":{"anyOf":[{"type":"object","properties":{"day":{"type":"string","pattern":"^\\d\\d$"},
        "hour":{"type":"integer","minimum":0,"maximum":23}},"required":["day"],
        "additionalProperties":false},{"type":"null"}]},
      "any":{"type":["string","object"],"maxLength":2,"maxProperties":0},
      "free":{"type":"object","additionalProperties":{"type":"boolean"},"maxProperties":1},
      "grid":{"type":"array","items":{"type":"array","items":{"enum":[1,2]},"maxItems":2},"maxItems":2}},
    "required":["tree","tags","when"],"additionalProperties":false,
    "$defs":{"node":{"type":"object","properties":{"name":{"type":"string","maxLength":2},
      "left":{"$ref":"#/$defs/node"}},"required":["name"],"additionalProperties":false}}}}])");
  return kTools;
}

TEST(ToolGrammar, NestedElements) {
  const text::ChatFormat format = text::detect_chat_format("]<]minimax[>[");
  const auto grammar = for_tools(format, nested_tools(), {});
  const auto marked = [](std::string text) {
    for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos; at += 14)
      text.insert(at, "]<]minimax[>[");
    return text;
  };
  const std::string inside =
      "<tree><name>a1</name><left><name></name></left></tree><tags><item>1</item><item>x</item></"
      "tags>"
      "<when><day>07</day><hour>7</hour></when><grid><item><item>1</item></item><item></item></"
      "grid>";
  const std::string reply =
      marked("<tool_call>\n<invoke name=\"save\">" + inside + "</invoke>\n</tool_call>");
  EXPECT_TRUE(matches(*grammar, reply)) << reply;
  text::ReplyOptions options;
  options.tools = &nested_tools();
  const testing::FakeTokenizer tokenizer = vocabulary(format);
  const auto trie = build_token_trie(tokenizer);
  const auto arguments_of = [&](const std::string& text) {
    text::ReplyReader reader(format, options);
    std::string arguments;
    for (const auto& events : {reader.push(text), reader.finish()}) {
      for (const text::ReplyEvent& event : events) {
        if (event.kind == text::ReplyEvent::Kind::kToolCallEnd) arguments = event.text;
      }
    }
    return arguments;
  };
  EXPECT_EQ(
      arguments_of(reply),
      R"({"tree":{"name":"a1","left":{"name":""}},"tags":["1","x"],"when":{"day":"07","hour":7},)"
      R"("grid":[[1],[]]})");
  int complete = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const testing::Sample sample =
        testing::sample(for_tools(format, nested_tools(), {.parallel = false, .functions = {}}),
                        trie, tokenizer, seed, 2000);
    if (!sample.complete) continue;
    ++complete;
    const std::string arguments = arguments_of(sample.text);
    const Json value = Json::parse(arguments, nullptr, false);
    ASSERT_TRUE(value.is_object()) << sample.text;
    const Json& schema = nested_tools()[0]["parameters"];
    const auto violation = testing::find_violation(value, schema, schema);
    ASSERT_FALSE(violation) << *violation << "\n" << sample.text << "\n" << arguments;
  }
  EXPECT_GT(complete, 30);
}

TEST(ToolGrammar, TextThatWouldBeReadAsSomethingElseIsNotWritten) {
  // The reader knows one type, the schema allows another; or nothing tells the reader of any.
  const Json odd =
      Json::parse(R"([{"name":"f","parameters":{"allOf":[{"type":"object","properties":{
    "a":{"anyOf":[{"type":"integer","maximum":3},{"type":"string","maxLength":2},{"const":true}]},
    "b":{"minLength":1,"maxLength":2,"type":"string"}}},{"required":["a","b"]}]}}])");
  for (const char* source : {"<seed:tool_call>", "]<]minimax[>[", "<minimax:tool_call>"}) {
    const text::ChatFormat format = text::detect_chat_format(source);
    const testing::FakeTokenizer tokenizer = vocabulary(format);
    const auto trie = build_token_trie(tokenizer);
    text::ReplyOptions options;
    options.tools = &odd;
    const Json& schema = odd[0]["parameters"];
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const testing::Sample sample = testing::sample(
          for_tools(format, odd, {.parallel = false, .functions = {}}), trie, tokenizer, seed, 500);
      ASSERT_TRUE(sample.complete);
      text::ReplyReader reader(format, options);
      std::string arguments;
      for (const auto& events : {reader.push(sample.text), reader.finish()}) {
        for (const text::ReplyEvent& event : events) {
          if (event.kind == text::ReplyEvent::Kind::kToolCallEnd) arguments = event.text;
        }
      }
      const Json value = Json::parse(arguments, nullptr, false);
      ASSERT_TRUE(value.is_object()) << sample.text;
      const auto violation = testing::find_violation(value, schema, schema);
      ASSERT_FALSE(violation) << *violation << "\n" << sample.text << "\n" << arguments;
    }
  }
}

TEST(ToolGrammar, ReasoningIsAllowedWhereTheFamilyReasons) {
  const auto grammar = [](const char* source, std::string_view prompt) {
    const text::ChatFormat format = text::detect_chat_format(source);
    return for_tools(format, tools(), {}, options_for(format, prompt));
  };
  const char* call = "<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>";
  // Qwen3 opens it by itself, or not; Qwen2.5 never does.
  const auto qwen3 = grammar("<tool_call> <|im_end|> </think>", "assistant\n");
  EXPECT_TRUE(matches(*qwen3, call));
  EXPECT_TRUE(matches(*qwen3, std::string("<think>\nHm.\n</think>\n\n") + call));
  EXPECT_FALSE(matches_prefix(*qwen3, "<think>\nHm.\n</think>\n\n<think>"));
  EXPECT_FALSE(matches_prefix(*qwen3, "<think>\nHm.<|im_end|>"));
  const auto qwen2 = grammar("<tool_call> <|im_end|>", "assistant\n");
  EXPECT_TRUE(matches(*qwen2, call));
  EXPECT_FALSE(matches_prefix(*qwen2, "<think>"));
  // MiniMax M3 says that it does not think with the closing marker alone.
  EXPECT_TRUE(matches_prefix(*grammar("]<]minimax[>[", "ai\n"), "</mm:think>]<]minimax[>[<tool"));
  // Magistral's [THINK]; Solar's message ends and another begins.
  EXPECT_TRUE(matches_prefix(*grammar("[TOOL_CALLS]", ""), "[THINK]x[/THINK][TOOL_CALLS]"));
  EXPECT_TRUE(matches_prefix(*grammar("<|tool_call:begin|>", "assistant"),
                             "<|think|>x<|end|><|begin|>assistant<|tool_calls|>"));
  // Apriel's calls end the reasoning without its marker: then they are right ones.
  const auto apriel = grammar("[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:\n");
  EXPECT_TRUE(
      matches(*apriel, "x\n<tool_calls>[{\"name\":\"ping\",\"arguments\":{}}]</tool_calls>"));
  EXPECT_FALSE(matches_prefix(*apriel, "x\n<tool_calls>[{\"name\":\"pong\""));
  EXPECT_FALSE(matches_prefix(*apriel, "x\n[BEGIN FINAL RESPONSE]\nHello"));
}

TEST(ToolGrammar, AnswersStandInTheFrameOfTheReply) {
  const auto schema = [](const char* source) {
    const text::ChatFormat format = text::detect_chat_format(source);
    return compile_json_schema(Json::parse(R"({"const":1})"), options_for(format, "assistant"));
  };
  const auto harmony = schema("<|channel|> <|message|>");
  EXPECT_TRUE(matches(*harmony, "<|channel|>final<|message|>1"));
  EXPECT_TRUE(matches(*harmony,
                      "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final"
                      "<|message|>1<|return|>"));
  EXPECT_FALSE(matches_prefix(*harmony, "1"));
  EXPECT_FALSE(matches_prefix(*harmony, "<|channel|>final<|message|>2"));
  EXPECT_TRUE(matches(*schema(">>>all"), "all\n1"));
  EXPECT_FALSE(matches_prefix(*schema(">>>all"), "1"));
  EXPECT_TRUE(matches(*schema("<tool_call>"), "1"));
}

TEST(ToolGrammar, WhatCannotBeDoneIsSaid) {
  const text::ChatFormat hermes = text::detect_chat_format("<tool_call> <|im_end|>");
  EXPECT_THROW((void)for_tools(text::detect_chat_format("plain"), tools(), {}), Error);
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
