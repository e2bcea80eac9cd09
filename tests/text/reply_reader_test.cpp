// The reply reader, family by family: what models write, well and badly. Every reply is read whole,
// byte by byte, and cut in two at every position (read_reply).
#include "text/reply_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/family_replies.h"
#include "text/reply_collect.h"

namespace hearth::text::testing {
namespace {

ReplyOptions with_tools(std::string_view prompt = {}) {
  ReplyOptions options;
  options.tools = &tools();
  options.prompt = prompt;
  return options;
}

struct Case {
  std::string family;
  std::string what;
  std::string prompt;
  std::string reply;
  std::string text;
  std::string reasoning;
  /// name(arguments), apart by newlines.
  std::string calls;
};

std::string calls_of(const Reply& reply) {
  std::string all;
  for (const Call& call : reply.calls)
    all += (all.empty() ? "" : "\n") + call.name + "(" + call.arguments + ")";
  return all;
}

void check(const Case& test) {
  SCOPED_TRACE(test.family + ": " + test.what);
  const Reply reply = read_reply(format_of(test.family), with_tools(test.prompt), test.reply);
  EXPECT_EQ(reply.text, test.text);
  EXPECT_EQ(reply.reasoning, test.reasoning);
  EXPECT_EQ(calls_of(reply), test.calls);
}

constexpr char kParis[] = R"(get_weather({"city":"Paris"}))";
constexpr char kParisOslo[] =
    "get_weather({\"city\":\"Paris\"})\nget_weather({\"city\":\"Oslo\",\"days\":3})";
/// A string argument full of what could be taken for markup.
constexpr char kTricky[] =
    R"(write_file({"path":"a \"b\".txt","text":"}]</tool_call>[/TOOL_CALLS]{\"x\": '🦙'}\n<think>"}))";

TEST(ReplyReader, OneCallTwoCallsAndMarkupInsideStringsInEveryFamily) {
  for (const Family& family : families()) {
    check({family.name, "one call", "", family.one, "", "", kParis});
    if (!family.two.empty()) check({family.name, "two calls", "", family.two, "", "", kParisOslo});
    check({family.name, "tricky strings", "", family.tricky, "", "", kTricky});
  }
}

/// Families whose calls have no marker must begin with the call, or are addressed; all others may
/// write text first.
bool text_may_precede(const std::string& family) {
  for (const char* bare : {"llama-3", "llama-4", "harmony", "functionary-v3.2", "glm-4"}) {
    if (family == bare) return false;
  }
  return true;
}

TEST(ReplyReader, TextAroundCalls) {
  for (const Family& family : families()) {
    if (!text_may_precede(family.name)) continue;
    check({family.name, "text before", "", "Ä moment. \n\n" + family.one, "Ä moment.", "", kParis});
  }
}

TEST(ReplyReader, PlainTextIsPlainText) {
  const std::string plain =
      "Hellø 🦙 <b>x</b> a < b && [1, 2] {\"a\": 1} | >> > [TOOL <tool <thin 日本\n\n  "
      "code()\n";
  for (const Family& family : families())
    check({family.name, "plain text", "", plain, plain, "", ""});
  check({"plain", "plain text", "", plain, plain, "", ""});
}

TEST(ReplyReader, CutCallsBecomeTextAndNothingIsLost) {
  for (const Family& family : families()) {
    const ChatFormat format = format_of(family.name);
    for (std::size_t length = 0; length < family.one.size(); ++length) {
      const std::string cut = family.one.substr(0, length);
      if (incomplete_utf8_tail(cut) > 0) continue;
      const Reply reply = read_pieces(format, with_tools(), {cut});
      if (!reply.calls.empty()) {  // complete but for closing marks
        EXPECT_EQ(calls_of(reply), kParis) << family.name << ": " << cut;
        EXPECT_EQ(reply.text, "") << family.name << ": " << cut;
      } else if (format.frame == ReplyFrame::kPlain && reply.started > 0) {
        EXPECT_NE(cut.find(reply.text), std::string::npos) << family.name << ": " << cut;
        EXPECT_NE(reply.text.find("get_weather"), std::string::npos)
            << family.name << ": " << cut << " gave " << reply.text;
      }
      EXPECT_EQ(reply.started, reply.dropped + static_cast<int>(reply.calls.size()));
    }
  }
}

TEST(ReplyReader, WhatAStreamWasToldOfACutCallIsNotTextAgain) {
  for (const Family& family : families()) {
    const ChatFormat format = format_of(family.name);
    for (std::size_t length = 0; length < family.one.size(); ++length) {
      const std::string cut = family.one.substr(0, length);
      if (incomplete_utf8_tail(cut) > 0) continue;
      const Reply whole = read_pieces(format, with_tools(), {cut});
      if (whole.dropped == 0) continue;
      ReplyReader reader(format, with_tools());
      std::vector<ReplyEvent> events = reader.push(cut);
      for (ReplyEvent& event : reader.finish(/*cut=*/true)) events.push_back(std::move(event));
      for (const ReplyEvent& event : events) {
        EXPECT_NE(event.kind, ReplyEvent::Kind::kText) << family.name << ": " << event.text;
        if (event.kind != ReplyEvent::Kind::kToolCallDropped) continue;
        EXPECT_EQ(event.text, whole.text) << family.name << ": " << cut;
      }
    }
  }
}

TEST(ReplyReader, GarbledCallsBecomeTextOrRightCalls) {
  int calls = 0;
  int dropped = 0;
  std::uint64_t seed = 0;
  for (const Family& family : families()) {
    const ChatFormat format = format_of(family.name);
    for (const std::string* whole : {&family.one, &family.two, &family.tricky}) {
      for (int i = 0; i < 60; ++i) {
        const std::string text = garbled(*whole, ++seed);
        const std::string_view view = text;
        const std::size_t half = text.size() / 2;
        // The collector checks the events; in pieces they must add up to the same.
        const Reply reply = read_pieces(format, with_tools(), {view});
        EXPECT_EQ(read_pieces(format, with_tools(), {view.substr(0, half), view.substr(half)}),
                  reply)
            << family.name << ": " << text;
        for (const Call& call : reply.calls) {
          EXPECT_NE(tools().dump().find("\"" + call.name + "\""), std::string::npos) << call.name;
        }
        EXPECT_EQ(reply.started, reply.dropped + static_cast<int>(reply.calls.size()));
        // Nothing vanishes: what is no call is text, but for the headers of addressed messages.
        if (format.frame == ReplyFrame::kPlain && reply.dropped > 0) {
          EXPECT_NE(reply.text, "") << text;
        }
        calls += static_cast<int>(reply.calls.size());
        dropped += reply.dropped;
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
  EXPECT_GT(calls, 1000);
  EXPECT_GT(dropped, 500);
}

TEST(ReplyReader, CallsToUndeclaredToolsAreText) {
  const std::string call = "<tool_call>\n{\"name\": \"rm_rf\", \"arguments\": {}}\n</tool_call>";
  const Reply reply = read_reply(format_of("hermes"), with_tools(), call);
  EXPECT_EQ(reply.text, call);
  EXPECT_EQ(reply.started, 0);
  EXPECT_GE(reply.problems, 1);
  // Without knowledge of the request's tools every name is good; with an empty list none is.
  EXPECT_EQ(calls_of(read_reply(format_of("hermes"), {}, call)), "rm_rf({})");
  const ordered_json none = ordered_json::array();
  ReplyOptions options;
  options.tools = &none;
  EXPECT_EQ(read_reply(format_of("hermes"), options, call).text, call);
}

TEST(ReplyReader, JsonIsNotHeldBackWhereNothingCanBeCalled) {
  const ordered_json none = ordered_json::array();
  for (const char* family : {"llama-3", "hermes"}) {
    ReplyReader reader(format_of(family), {.tools = &none, .prompt = {}, .earlier_calls = 0});
    std::string text;
    for (const char* piece : {"{\"name\"", ": \"Al", "ice"}) {
      for (const ReplyEvent& event : reader.push(piece)) text += event.text;
    }
    EXPECT_EQ(text, "{\"name\": \"Alice") << family;
  }
}

TEST(ReplyReader, Reasoning) {
  const Case cases[] = {
      {"hermes", "opened by the model", "", "<think>\nHm <tool_call>.\n</think>\n\nHi", "Hi",
       "Hm <tool_call>.", ""},
      {"hermes", "opened by the prompt", "assistant\n<think>\n", "Hm.\n</think>\n\nHi", "Hi", "Hm.",
       ""},
      {"hermes", "never closed", "", "<think>\nHm </think", "", "Hm </think", ""},
      {"hermes", "never closed, opened by the prompt", "<think>", "Hm.", "", "Hm.", ""},
      {"hermes", "empty", "", "<think>\n\n</think>\n\nHi", "Hi", "", ""},
      {"hermes", "off", "<think>\n\n</think>\n\n", "Hi <think>", "Hi <think>", "", ""},
      {"hermes", "not at the start", "", "Use <think>x</think>", "Use <think>x</think>", "", ""},
      {"hermes", "cut by a stop marker", "", "<think>Hm<|im_end|>x", "", "Hm", ""},
      {"hermes", "before a call", "",
       "<think>a\n\nb</think>\n<tool_call>{\"name\":\"ping\"}</tool_call>", "", "a\n\nb",
       "ping({})"},
      {"hermes", "opened again by the model", "</think>", "<think>x</think>y", "y", "x", ""},
      {"plain", "generic", "", "<think>x</think>y", "y", "x", ""},
      {"seed-oss", "own tags", "", "<seed:think>x</seed:think>\ny", "y", "x", ""},
      {"mistral", "[THINK]", "", "[THINK]x[/THINK]y", "y", "x", ""},
      {"minimax-m3", "mm:think", "", "<mm:think>x</mm:think>y", "y", "x", ""},
      {"command-r7b", "thinking and response", "",
       "<|START_THINKING|>x<|END_THINKING|><|START_RESPONSE|>y<|END_RESPONSE|>", "y", "x", ""},
      {"command-r7b", "citations", "<|END_THINKING|>",
       "<|START_RESPONSE|>A <co>span</co: 0:[0]>.<|END_RESPONSE|>", "A span.", "", ""},
      {"gemma-4", "channel", "", "<|channel>thought\nx\n<channel|>y", "y", "x", ""},
      {"apertus", "inner", "", "<|inner_prefix|>x<|inner_suffix|>y", "y", "x", ""},
      {"apriel", "plain until the marker", "Here are my reasoning steps:\n",
       "x\n[BEGIN FINAL RESPONSE]\ny\n[END FINAL RESPONSE]", "y\n", "x", ""},
      {"apriel", "a call ends it", "Here are my reasoning steps:\n",
       "x\n<tool_calls>[{\"name\": \"ping\", \"arguments\": {}}]</tool_calls>", "", "x",
       "ping({})"},
      {"hunyuan-3", "suffixed", "<think:os>", "x</think:os>y", "y", "x", ""},
      {"solar", "messages", "", "<|think|>x<|end|><|begin|>assistant<|content|>y<|end|>", "y", "x",
       ""},
      {"granite-3", "response tags", "", "<think>x</think><response>y</response>", "y", "x", ""},
      {"glm-4.5", "closed by the prompt", "</think>", "\ny", "y", "", ""},
      {"deepseek", "opened by the prompt", "<｜Assistant｜><think>\n",
       "x\n</think>\n\ny<｜end▁of▁sentence｜>", "y", "x", ""},
      {"harmony", "channels", "<|start|>assistant",
       "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>y<|"
       "return|>",
       "y", "x", ""},
      {"harmony", "prefilled", "<|start|>assistant<|channel|>analysis<|message|>",
       "x<|end|><|start|>assistant<|channel|>final<|message|>y", "y", "x", ""},
  };
  for (const Case& test : cases) check(test);
}

TEST(ReplyReader, WhatModelsDoInsteadOfWhatTheyShould) {
  const Case cases[] = {
      {"hermes", "no newline, no closing tag", "",
       "<tool_call>{\"name\": \"ping\", \"arguments\": {}}", "", "", "ping({})"},
      {"hermes", "parameters", "",
       "<tool_call>{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}</tool_call>",
       "", "", kParis},
      {"hermes", "single quotes, trailing commas, Python words", "",
       "<tool_call>{'name': 'get_weather', 'arguments': {'city': 'O\\'Hare \"x\"', 'flag': True, "
       "'limit': None,},}</tool_call>",
       "", "", R"x(get_weather({"city":"O'Hare \"x\"","flag":true,"limit":null}))x"},
      {"hermes", "code fence inside", "",
       "<tool_call>\n```json\n{\"name\": \"ping\", \"arguments\": {}}\n```\n</tool_call>", "", "",
       "ping({})"},
      {"hermes", "code fence without tags", "",
       "```json\n{\"name\": \"ping\", \"arguments\": {}}\n```", "", "", "ping({})"},
      {"hermes", "no tags at all", "", "{\"name\": \"ping\", \"arguments\": {}}", "", "",
       "ping({})"},
      {"hermes", "JSON that is no call", "", "{\"name\": \"Bob\", \"age\": 3}",
       "{\"name\": \"Bob\", \"age\": 3}", "", ""},
      {"hermes", "several objects in a block", "",
       "<tool_call>{\"name\": \"ping\", \"arguments\": {}}\n{\"name\": \"ping\", \"arguments\": "
       "{}}</tool_call>",
       "", "", "ping({})\nping({})"},
      {"hermes", "a list in a block", "",
       "<tool_call>[{\"name\": \"ping\", \"arguments\": {}}]</tool_call>", "", "", "ping({})"},
      {"hermes", "arguments before the name", "",
       "<tool_call>{\"arguments\": {\"city\": \"Paris\"}, \"name\": \"get_weather\"}</tool_call>",
       "", "", kParis},
      {"hermes", "arguments as a string", "",
       "<tool_call>{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": "
       "\\\"Paris\\\"}\"}</tool_call>",
       "", "", kParis},
      {"hermes", "OpenAI's shape", "",
       "<tool_call>{\"id\": \"x1\", \"type\": \"function\", \"function\": {\"name\": "
       "\"get_weather\", \"arguments\": {\"city\": \"Paris\"}}}</tool_call>",
       "", "", kParis},
      {"hermes", "big integers and number spelling", "",
       "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"days\": "
       "123456789012345678901234567890, \"x\": 1.50e+3}}</tool_call>",
       "", "", "get_weather({\"days\":123456789012345678901234567890,\"x\":1.50e+3})"},
      {"hermes", "raw newline and a bad escape in a string", "",
       "<tool_call>{\"name\": \"write_file\", \"arguments\": {\"text\": \"a\nb\\d\"}}</tool_call>",
       "", "", R"(write_file({"text":"a\nb\\d"}))"},
      {"hermes", "surrogates", "",
       "<tool_call>{\"name\": \"write_file\", \"arguments\": {\"text\": \"\\ud83e\\udd99 \\ud83e "
       "\\u0041\"}}</tool_call>",
       "", "", "write_file({\"text\":\"🦙 \xEF\xBF\xBD A\"})"},
      {"hermes", "garbage in the tags", "", "<tool_call>nothing</tool_call> ok",
       "<tool_call>nothing</tool_call> ok", "", ""},
      {"hermes", "a good call after a bad one", "",
       "<tool_call>[}<tool_call>{\"name\": \"ping\", \"arguments\": {}}</tool_call>",
       "<tool_call>[}", "", "ping({})"},
      {"hermes", "a call in the middle", "", "a <tool_call>{\"name\": \"ping\"}</tool_call>\nb",
       "a b", "", "ping({})"},
      {"xml-function", "no opening tag", "",
       "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
       "", "", kParis},
      {"xml-function", "JSON instead", "",
       "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}</tool_call>",
       "", "", kParis},
      {"xml-function", "closing tag inside a value", "",
       "<tool_call>\n<function=write_file>\n<parameter=text>\n  <a>\n</parameter> "
       "</x>\n\n</parameter>\n</function>\n</tool_call>",
       "", "", R"(write_file({"text":"  <a>\n</parameter> </x>\n"}))"},
      {"xml-function", "missing closing tags", "",
       "<function=get_weather>\n<parameter=city>\nParis\n<parameter=days>\n3\n</function>\n</"
       "tool_call>",
       "", "", R"(get_weather({"city":"Paris","days":3}))"},
      {"xml-function", "typing", "",
       "<function=get_weather>\n<parameter=city>\n123\n</parameter>\n<parameter=days>\n007\n</"
       "parameter>\n<parameter=flag>\nTrue\n</parameter>\n<parameter=where>\n{'x': "
       "1.0}\n</parameter>\n<parameter=tags>\n[\"a\", "
       "\"b\"]\n</parameter>\n<parameter=limit>\n5\n</parameter>\n<parameter=new>\n{\"a\": "
       "1}\n</parameter>\n</function>",
       "", "",
       R"(get_weather({"city":"123","days":"007","flag":true,"where":{"x":1.0},"tags":["a","b"],"limit":5,"new":{"a":1}}))"},
      {"xml-function", "a union that holds no other type", "",
       "<function=get_weather>\n<parameter=limit>\nall\n</parameter>\n</function>", "", "",
       R"(get_weather({"limit":"all"}))"},
      {"xml-function", "duplicates", "",
       "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=city>\nOslo\n</"
       "parameter>\n</function>",
       "", "", kParis},
      {"xml-function", "no arguments", "",
       "<tool_call>\n<function=ping>\n</function>\n</tool_call>", "", "", "ping({})"},
      {"llama-3", "type and python tag", "",
       "<|python_tag|>{\"type\": \"function\", \"name\": \"get_weather\", \"parameters\": "
       "{\"city\": \"Paris\"}}",
       "", "", kParis},
      {"llama-3", "builtin tool", "", "<|python_tag|>brave_search.call(query=\"a, (b)\")<|eom_id|>",
       "", "", R"x(brave_search({"query":"a, (b)"}))x"},
      {"llama-3", "code", "", "<|python_tag|>print(\"hi\")\nx = 1<|eom_id|>", "", "",
       R"x(code_interpreter({"code":"print(\"hi\")\nx = 1"}))x"},
      {"llama-3", "pythonic", "", "[get_weather(city=\"Paris\")]", "", "", kParis},
      {"llama-3", "a list that is none", "", "[link](url) [1, 2]", "[link](url) [1, 2]", "", ""},
      {"llama-3", "JSON the user asked for", "", "{\"name\": \"Bob\"}", "{\"name\": \"Bob\"}", "",
       ""},
      {"mistral", "list without ids", "",
       "[TOOL_CALLS] [{\"name\": \"ping\", \"arguments\": {}}]</s>", "", "", "ping({})"},
      {"command-r", "directly answer", "",
       "Action: ```json\n[{\"tool_name\": \"directly-answer\", \"parameters\": {}}]```", "", "",
       ""},
      {"kimi-k2", "unclosed section", "",
       "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.ping:3<|tool_call_argument_"
       "begin|>{}",
       "Ok", "", "ping({})"},
      {"glm-4.5", "zero arguments", "", "\n<tool_call>ping\n</tool_call>", "", "", "ping({})"},
      {"glm-4.5", "zero arguments, no newline", "", "<tool_call>ping</tool_call>", "", "",
       "ping({})"},
      {"glm-4.5", "stops at the next role", "", "\nHi<|user|>\nx", "Hi", "", ""},
      {"lfm-2", "Python literals", "",
       "<|tool_call_start|>[get_weather(flag=True, where={'x': (1, 2.5)}, tags=[\"a,]\", 'b'], "
       "limit=None)]<|tool_call_end|>done",
       "done", "",
       R"(get_weather({"flag":true,"where":{"x":[1,2.5]},"tags":["a,]","b"],"limit":null}))"},
      {"olmo-3", "lines", "",
       "<function_calls>\nping()\nget_weather(city=\"Paris\")\n</function_calls>", "", "",
       std::string("ping({})\n") + kParis},
      {"gemma-4", "nested values", "",
       "<|tool_call>call:get_weather{where:{x:1,l:[true,<|\"|>a\"b<|\"|>]},days:-2}<tool_call|>",
       "", "", R"(get_weather({"where":{"x":1,"l":[true,"a\"b"]},"days":-2}))"},
      {"minimax-m3", "nested values", "",
       "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke "
       "name=\"get_weather\">]<]minimax[>[<tags>]<]minimax[>[<item>a]<]minimax[>[</"
       "item>]<]minimax[>[<item>b]<]minimax[>[</item>]<]minimax[>[</"
       "tags>]<]minimax[>[<where>]<]minimax[>[<x>1.5]<]minimax[>[</x>]<]minimax[>[</"
       "where>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
       "", "", R"(get_weather({"tags":["a","b"],"where":{"x":1.5}}))"},
      {"harmony", "preamble", "",
       "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.ping<|message|>{}<|call|>",
       "Let me look.", "", "ping({})"},
      {"harmony", "no markup at all", "", "Just text.", "Just text.", "", ""},
      {"harmony", "noise recipient", "", "<|channel|>commentary to=assistant<|message|>x<|end|>",
       "x", "", ""},
      {"harmony", "broken arguments", "",
       "<|channel|>commentary to=functions.ping<|message|>{oops}<|call|>", "{oops}", "", ""},
      {"functionary-v3.2", "text, then calls", "", "all\nSure >>> x\n>>>ping\n{}", "Sure >>> x\n",
       "", "ping({})"},
      {"functionary-v3.2", "no recipient", "", "Hello there", "Hello there", "", ""},
      {"functionary-v3.1", "code for an undeclared tool", "", "<|python_tag|>x<|eom_id|>",
       "<|python_tag|>x", "", ""},
  };
  for (const Case& test : cases) check(test);
}

TEST(ReplyReader, GenericProtocol) {
  const ChatFormat format = generic_tool_format(format_of("plain"));
  const auto read = [&](std::string_view text) { return read_reply(format, with_tools(), text); };
  EXPECT_EQ(read(R"({"response": "a \"b\"\n🦙 \ud83e\udd99"})").text, "a \"b\"\n🦙 🦙");
  EXPECT_EQ(read(R"({"response": "cut \n)").text, "cut \n");
  EXPECT_EQ(read(R"({"response": ""})").text, "");
  const Reply two = read(R"({"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}},
    {"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}]})");
  EXPECT_EQ(calls_of(two), kParisOslo);
  EXPECT_EQ(two.text, "");
  for (const char* other :
       {"Hi", R"({"answer": 1})", R"({"response": 1})", R"({"tool_calls": {}})", "{"}) {
    EXPECT_EQ(read(other).text, other);
  }
  const Reply thought = read(R"(<think>x</think>{"response": "y"})");
  EXPECT_EQ(thought.reasoning + "|" + thought.text, "x|y");
}

TEST(ReplyReader, PrescribedIdsAreKnownWhenACallBegins) {
  const auto ids = [](std::string_view family, std::string_view text) {
    ReplyReader reader(format_of(family), with_tools());
    std::vector<std::string> all;
    std::vector<ReplyEvent> events = reader.push(text);
    for (ReplyEvent& event : reader.finish()) events.push_back(std::move(event));
    for (const ReplyEvent& event : events) {
      if (event.kind == ReplyEvent::Kind::kToolCallStart ||
          event.kind == ReplyEvent::Kind::kToolCallEnd)
        all.push_back(event.id);
    }
    return all;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(
      ids("kimi-k2",
          "<|tool_call_begin|>functions.ping:7<|tool_call_argument_begin|>{}<|tool_call_end|>"),
      (Ids{"functions.ping:7", "functions.ping:7"}));
  EXPECT_EQ(ids("command-r7b",
                "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"ping\", "
                "\"parameters\": {}}]"),
            (Ids{"0", "0"}));
  // Any id will do: whoever writes the reply makes one.
  EXPECT_EQ(ids("nemotron-nano", R"(<TOOLCALL>[{"name": "ping", "arguments": {}}]</TOOLCALL>)"),
            (Ids{"", "call_1"}));
}

TEST(ReplyReader, Ids) {
  const auto ids = [](std::string_view family, std::string_view text, int earlier = 0) {
    ReplyOptions options = with_tools();
    options.earlier_calls = earlier;
    std::string all;
    for (const Call& call : read_reply(format_of(family), options, text).calls)
      all += call.id + ";";
    return all;
  };
  const std::string two =
      R"([{"name": "ping", "arguments": {}}, {"name": "ping", "arguments": {}, "id": "abcdefgh9"}])";
  EXPECT_EQ(ids("nemotron-nano", "<TOOLCALL>" + two + "</TOOLCALL>"), "call_1;abcdefgh9;");
  EXPECT_EQ(ids("nemotron-nano", "<TOOLCALL>" + two + "</TOOLCALL>", 4), "call_5;abcdefgh9;");
  EXPECT_EQ(ids("mistral", "[TOOL_CALLS]" + two), "call00001;abcdefgh9;");
  EXPECT_EQ(ids("mistral", "[TOOL_CALLS]ping[CALL_ID]short[ARGS]{}"), "call00001;")
      << "templates insist on nine characters";
  EXPECT_EQ(ids("mistral", "[TOOL_CALLS]ping[CALL_ID]abc123def[ARGS]{}"), "abc123def;");
  EXPECT_EQ(
      ids("kimi-k2",
          "<|tool_call_begin|>functions.ping:7<|tool_call_argument_begin|>{}<|tool_call_end|>"),
      "functions.ping:7;");
  EXPECT_EQ(ids("command-r7b",
                "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"ping\", "
                "\"parameters\": {}}]"),
            "0;");
  EXPECT_EQ(
      ids("solar",
          "<|tool_call:begin|>xyz<|tool_call:name|>ping<|tool_call:args|>{}<|tool_call:end|>"),
      "xyz;");
}

TEST(ReplyReader, IsIncremental) {
  ReplyReader reader(format_of("hermes"), with_tools());
  EXPECT_EQ(reader.push("Hello").front().text, "Hello");
  EXPECT_EQ(reader.push(" <").size(), 0U) << "may begin a marker";
  EXPECT_EQ(reader.push("b").front().text, " <b");
  EXPECT_EQ(reader.push("\n<tool_call>\n{\"name\": \"write_file\"").size(), 0U);
  auto events = reader.push(", \"arguments\": {\"text\": \"abc");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, ReplyEvent::Kind::kToolCallStart);
  EXPECT_EQ(events[0].name, "write_file");
  EXPECT_EQ(events[1].text, "{\"text\":\"abc") << "arguments are streamed";
  events = reader.push("def\"}}");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].text, "def\"}");
  EXPECT_EQ(events[1].kind, ReplyEvent::Kind::kToolCallEnd);
  EXPECT_EQ(events[1].text, "{\"text\":\"abcdef\"}");
  EXPECT_EQ(reader.complete_calls(), 1);
  EXPECT_TRUE(reader.finish().empty());
}

TEST(ReplyReader, StopMarkersAndControlTokens) {
  {
    ReplyReader reader(format_of("hermes"), with_tools());
    Collector all;
    all.add(reader.push("Hi <|im_end|> is text", PieceKind::kText));
    all.add(reader.push("<|im_start|>", PieceKind::kControl));
    EXPECT_FALSE(reader.stopped());
    all.add(reader.push("<|im_end|>", PieceKind::kControl));
    EXPECT_TRUE(reader.stopped());
    all.add(reader.push("more"));
    all.add(reader.finish());
    EXPECT_EQ(all.reply.text, "Hi <|im_end|> is text") << "control tokens are never shown";
  }
  const Reply reply =
      read_reply(format_of("hermes"), with_tools(), "Hi \n<|im_end|>\n<|im_start|>user");
  EXPECT_EQ(reply.text, "Hi \n");
  EXPECT_TRUE(reply.stopped);
}

TEST(ReplyReader, InvalidUtf8IsReplaced) {
  const Reply reply = read_reply(format_of("hermes"), with_tools(),
                                 "a\xFF\xE2\x82z<tool_call>{\"name\":\"write_file\",\"arguments\":{"
                                 "\"text\":\"\xC3\"}}</tool_call>");
  EXPECT_EQ(reply.text, "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(calls_of(reply), "write_file({\"text\":\"\xEF\xBF\xBD\"})");
}

TEST(ReplyReader, DeepNestingIsRefused) {
  const std::string deep(100000, '[');
  const std::string text = "<tool_call>{\"name\": \"ping\", \"arguments\": {\"a\": " + deep;
  const Reply reply = read_pieces(format_of("hermes"), with_tools(), {text});
  EXPECT_EQ(reply.text, text);
  EXPECT_EQ(reply.dropped, 1);
}

TEST(ReplyReader, AnEndlessCallIsGivenUp) {
  ReplyReader reader(format_of("hermes"), with_tools());
  Collector all;
  all.add(reader.push("<tool_call>{\"name\": \"write_file\", \"arguments\": {\"text\": \""));
  const std::string piece(1 << 16, 'x');
  for (int i = 0; i < 160 && all.reply.dropped == 0; ++i) all.add(reader.push(piece));
  EXPECT_EQ(all.reply.dropped, 1);
  EXPECT_GT(all.reply.text.size(), std::size_t{8} << 20) << "given as text";
}

}  // namespace
}  // namespace hearth::text::testing
