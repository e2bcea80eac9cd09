// How every family writes calls, for tests that feed them to readers, whole and broken.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "text/chat_format.h"

namespace hearth::text::testing {

using nlohmann::ordered_json;

inline const ordered_json& tools() {
  static const auto parsed = ordered_json::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}, "flag": {"type": "boolean"},
      "where": {"$ref": "#/$defs/place"}, "tags": {"type": "array", "items": {"type": "string"}},
      "limit": {"type": ["integer", "string", "null"]}}, "$defs": {"place": {"anyOf": [{"type": "object",
      "properties": {"x": {"type": "number"}}}, {"type": "null"}]}}}}},
    {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "write_file", "parameters": {"type": "object", "properties": {
      "path": {"type": "string"}, "text": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "code_interpreter"}},
    {"type": "function", "function": {"name": "brave_search"}}
  ])");
  return parsed;
}

/// Templates reduced to what tells them apart.
inline ChatFormat format_of(std::string_view family) {
  struct Snippet {
    std::string_view family, source;
  };
  static constexpr Snippet kSnippets[] = {
      {"hermes", "<tool_call> <|im_end|>"},
      {"xml-function", "<function= <parameter= <|im_end|>"},
      {"llama-3", "<|start_header_id|> ipython <|python_tag|> <|eot_id|> <|eom_id|>"},
      {"llama-4", "<|header_start|> <|eot|>"},
      {"mistral", "[INST] [TOOL_CALLS]"},
      {"functionary-v3.1", "<function= <|eom_id|>"},
      {"functionary-v3.2", ">>>all <|eot_id|>"},
      {"firefunction", "functools <|eot_id|>"},
      {"deepseek", "<｜tool▁sep｜><｜end▁of▁sentence｜>"},
      {"deepseek-dsml", "｜DSML｜ <｜end▁of▁sentence｜>"},
      {"command-r7b", "<|START_ACTION|> <|END_OF_TURN_TOKEN|>"},
      {"command-r", "<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|>"},
      {"harmony", "<|start|> <|channel|> <|message|>"},
      {"glm-4.5", "[gMASK] <arg_key> <|observation|>"},
      {"glm-4", "[gMASK]"},
      {"hunyuan-3", "set HYTK = ':os' <tool_sep{}>"},
      {"kimi-k2", "<|tool_call_begin|> <|im_end|>"},
      {"minimax-m2", "<minimax:tool_call> [e~["},
      {"minimax-m3", "]<]minimax[>[ [e~["},
      {"lfm-2", "<|tool_call_start|> <|im_end|>"},
      {"gemma-4", "<|tool_call> <turn|>"},
      {"function-gemma", "<start_function_call> <end_of_turn>"},
      {"granite-3", "<|start_of_role|> <|end_of_text|>"},
      {"phi-4-mini", "<|tool|> <|end|>"},
      {"nemotron-nano", "<TOOLCALL> <SPECIAL_12>"},
      {"seed-oss", "<seed:tool_call> <seed:eos>"},
      {"apertus", "<|tools_prefix|> <|assistant_end|>"},
      {"apriel", "[BEGIN FINAL RESPONSE] <|end|>"},
      {"gigachat-3", "<|role_sep|>"},
      {"gigachat-3.1", "<|role_sep|> <|function_call|>"},
      {"solar", "<|tool_call:begin|> <|end|>"},
      {"minicpm-5", "<param name= <|im_end|>"},
      {"olmo-3", "<function_calls> <|im_end|>"},
      {"plain", ""},
  };
  for (const Snippet& snippet : kSnippets) {
    if (snippet.family != family) continue;
    ChatFormat format = detect_chat_format(snippet.source);
    EXPECT_EQ(format.name, family);
    return format;
  }
  ADD_FAILURE() << "no such family in this test: " << family;
  return {};
}

/// How each family writes the same three things: one call, two calls, and the tricky strings.
struct Family {
  const char* name;
  std::string one, two, tricky;
};

inline std::vector<Family> families() {
  const std::string paris = R"({"name": "get_weather", "arguments": {"city": "Paris"}})";
  const std::string oslo = R"({"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}})";
  const std::string args =
      R"({"path": "a \"b\".txt", "text": "}]</tool_call>[/TOOL_CALLS]{\"x\": '🦙'}\n<think>"})";
  const std::string raw_path = "a \"b\".txt";
  const std::string raw_text = "}]</tool_call>[/TOOL_CALLS]{\"x\": '🦙'}\n<think>";
  const std::string tricky = R"({"name": "write_file", "arguments": )" + args + "}";
  const auto list = [&](const std::string& open, const std::string& close) {
    return std::vector<std::string>{open + "[" + paris + "]" + close,
                                    open + "[" + paris + ", " + oslo + "]" + close,
                                    open + "[" + tricky + "]" + close};
  };
  // name, arguments -> one call, by a template with N and A in it
  const auto calls = [&](const std::string& pattern, const std::string& open = "",
                         const std::string& close = "") {
    const auto fill = [&](const std::string& name, const std::string& arguments) {
      std::string call = pattern;
      call.replace(call.find("%N"), 2, name);
      call.replace(call.find("%A"), 2, arguments);
      return call;
    };
    const std::string first = fill("get_weather", R"({"city": "Paris"})");
    return std::vector<std::string>{
        open + first + close,
        open + first + fill("get_weather", R"({"city": "Oslo", "days": 3})") + close,
        open + fill("write_file", args) + close};
  };
  // the same for tags: call pattern with %N and %P, parameter pattern with %K and %V
  const auto tags = [&](const std::string& pattern, const std::string& parameter,
                        const std::string& open = "", const std::string& close = "") {
    const auto fill = [&](const std::string& name,
                          std::vector<std::pair<std::string, std::string>> values) {
      std::string inner;
      for (const auto& [key, value] : values) {
        std::string one = parameter;
        one.replace(one.find("%V"), 2, value);
        for (std::size_t at = one.find("%K"); at != std::string::npos; at = one.find("%K"))
          one.replace(at, 2, key);
        const std::size_t typed = one.find("%T");
        if (typed != std::string::npos) one.replace(typed, 2, key == "days" ? "false" : "true");
        inner += one;
      }
      std::string call = pattern;
      call.replace(call.find("%N"), 2, name);
      call.replace(call.find("%P"), 2, inner);
      return call;
    };
    const std::string first = fill("get_weather", {{"city", "Paris"}});
    return std::vector<std::string>{
        open + first + close,
        open + first + fill("get_weather", {{"city", "Oslo"}, {"days", "3"}}) + close,
        open + fill("write_file", {{"path", raw_path}, {"text", raw_text}}) + close};
  };
  std::vector<Family> all;
  const auto add = [&](const char* name, const std::vector<std::string>& texts) {
    all.push_back({name, texts[0], texts[1], texts[2]});
  };
  add("hermes", calls("<tool_call>\n{\"name\": \"%N\", \"arguments\": %A}\n</tool_call>\n"));
  add("xml-function", tags("<tool_call>\n<function=%N>\n%P</function>\n</tool_call>\n",
                           "<parameter=%K>\n%V\n</parameter>\n"));
  add("llama-3", calls("{\"name\": \"%N\", \"parameters\": %A};"));
  add("mistral", list("[TOOL_CALLS]", ""));
  add("mistral", calls("[TOOL_CALLS]%N[ARGS]%A"));
  add("mistral", calls("[TOOL_CALLS]%N[CALL_ID]abc123def[ARGS]%A"));
  add("functionary-v3.1", calls("<function=%N>%A</function>"));
  add("firefunction", list(" functools", ""));
  add("deepseek",
      calls("<｜tool▁call▁begin｜>function<｜tool▁sep｜>%N\n```json\n%A\n```<｜tool▁call▁end｜>\n",
            "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"));
  add("deepseek", calls("<｜tool▁call▁begin｜>%N<｜tool▁sep｜>%A<｜tool▁call▁end｜>",
                        "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"));
  add("deepseek-dsml", tags("<｜DSML｜invoke name=\"%N\">\n%P</｜DSML｜invoke>\n",
                            "<｜DSML｜parameter name=\"%K\" string=\"%T\">%V</｜DSML｜parameter>\n",
                            "\n\n<｜DSML｜function_calls>\n", "</｜DSML｜function_calls>"));
  add("deepseek-dsml", tags("<｜DSML｜invoke name=\"%N\">\n%P</｜DSML｜invoke>\n",
                            "<｜DSML｜parameter name=\"%K\" string=\"%T\">%V</｜DSML｜parameter>\n",
                            "\n\n<｜DSML｜tool_calls>\n", "</｜DSML｜tool_calls>"));
  add("glm-4.5", tags("\n<tool_call>%N\n%P</tool_call>",
                      "<arg_key>%K</arg_key>\n<arg_value>%V</arg_value>\n"));
  add("hunyuan-3", tags("<tool_call:os>%N<tool_sep:os>\n%P</tool_call:os>\n",
                        "<arg_key:os>%K</arg_key:os>\n<arg_value:os>%V</arg_value:os>\n",
                        "<tool_calls:os>\n", "</tool_calls:os>"));
  add("kimi-k2",
      calls("<|tool_call_begin|>functions.%N:0<|tool_call_argument_begin|>%A<|tool_call_end|>",
            "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"));
  add("minimax-m2",
      tags("<invoke name=\"%N\">\n%P</invoke>\n", "<parameter name=\"%K\">%V</parameter>\n",
           "<minimax:tool_call>\n", "</minimax:tool_call>"));
  const std::string m = "]<]minimax[>[";
  add("minimax-m3", tags(m + "<invoke name=\"%N\">%P" + m + "</invoke>\n",
                         m + "<%K>%V" + m + "</%K>", m + "<tool_call>\n", m + "</tool_call>"));
  add("granite-3", list("<|tool_call|>", ""));
  add("granite-3", list("<tool_call>", ""));
  add("phi-4-mini", list("<|tool_call|>", "<|/tool_call|>"));
  add("nemotron-nano", list("<TOOLCALL>", "</TOOLCALL>"));
  add("seed-oss", tags("<seed:tool_call>\n<function=%N>\n%P</function>\n</seed:tool_call>\n",
                       "<parameter=%K>%V</parameter>\n"));
  add("apriel", list("<tool_calls>", "</tool_calls>"));
  add("gigachat-3.1", calls("<|function_call|>{\"name\": \"%N\", \"arguments\": %A}"));
  add("gigachat-3",
      calls("<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"%N\", \"arguments\": %A}"));
  add("solar",
      calls("<|tool_call:begin|>call1<|tool_call:name|>%N<|tool_call:args|>%A<|tool_call:end|>",
            "<|begin|>assistant<|tool_calls|>", "<|calls|>"));
  add("minicpm-5",
      tags("<function name=\"%N\">%P</function>\n", "<param name=\"%K\"><![CDATA[%V]]></param>"));
  add("harmony",
      {"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": "
       "\"Paris\"}<|call|>",
       "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": "
       "\"Paris\"}<|end|>"
       "<|start|>assistant to=functions.get_weather<|channel|>analysis<|message|>{\"city\": "
       "\"Oslo\", \"days\": 3}",
       "<|channel|>commentary to=functions.write_file json<|message|>" + args});
  add("functionary-v3.2",
      {"get_weather\n{\"city\": \"Paris\"}",
       "get_weather\n{\"city\": \"Paris\"}>>>get_weather\n{\"city\": \"Oslo\", \"days\": 3}",
       "write_file\n" + args});
  const std::string python_args =
      R"((path="a \"b\".txt", text='}]</tool_call>[/TOOL_CALLS]{"x": \'🦙\'}\n<think>'))";
  for (const auto& [name, open, close] :
       {std::tuple{"lfm-2", "<|tool_call_start|>", "<|tool_call_end|>"},
        std::tuple{"llama-4", "", ""},
        std::tuple{"olmo-3", "<function_calls>", "</function_calls>"}}) {
    const std::string begin = std::string(open) + "[";
    const std::string end = std::string("]") + close;
    add(name, {begin + "get_weather(city='Paris')" + end,
               begin + "get_weather(city=\"Paris\"), get_weather(city='Oslo', days=3)" + end,
               begin + "write_file" + python_args + end});
  }
  const std::string q = "<|\"|>";
  add("gemma-4", {"<|tool_call>call:get_weather{city:" + q + "Paris" + q + "}<tool_call|>",
                  "<|tool_call>call:get_weather{city:" + q + "Paris" + q +
                      "}<tool_call|><|tool_call>call:get_weather{city:" + q + "Oslo" + q +
                      ",days:3}<tool_call|>",
                  "<|tool_call>call:write_file{path:" + q + raw_path + q + ",text:" + q + raw_text +
                      q + "}<tool_call|>"});
  const std::string e = "<escape>";
  add("function-gemma",
      {"<start_function_call>call:get_weather{city:" + e + "Paris" + e + "}<end_function_call>",
       "<start_function_call>call:get_weather{city:" + e + "Paris" + e +
           "}<end_function_call><start_function_call>call:get_weather{city:" + e + "Oslo" + e +
           ",days:3}<end_function_call>",
       "<start_function_call>call:write_file{path:" + e + raw_path + e + ",text:" + e + raw_text +
           e + "}<end_function_call>"});
  const auto cohere = [&](const std::string& name, const std::string& arguments) {
    return "    {\"tool_call_id\": \"0\", \"tool_name\": \"" + name +
           "\", \"parameters\": " + arguments + "}";
  };
  for (const auto& [name, open, close] :
       {std::tuple{"command-r7b", "<|START_ACTION|>[\n", "\n]<|END_ACTION|>"},
        std::tuple{"command-r", "Action: ```json\n[\n", "\n]```"}}) {
    add(name, {open + cohere("get_weather", R"({"city": "Paris"})") + close,
               open + cohere("get_weather", R"({"city": "Paris"})") + ",\n" +
                   cohere("get_weather", R"({"city": "Oslo", "days": 3})") + close,
               open + cohere("write_file", args) + close});
  }
  add("apertus",
      {R"(<|tools_prefix|>[{"get_weather": {"city": "Paris"}}]<|tools_suffix|>)",
       R"(<|tools_prefix|>[{"get_weather": {"city": "Paris"}}, {"get_weather": {"city": "Oslo", "days": 3}}]<|tools_suffix|>)",
       "<|tools_prefix|>[{\"write_file\": " + args + "}]<|tools_suffix|>"});
  add("glm-4", {"get_weather\n{\"city\": \"Paris\"}", "", "write_file\n" + args});
  return all;
}

/// `text` after a few accidents: pieces lost, doubled, moved, or replaced by markup of any family
/// and other bytes.
inline std::string garbled(std::string text, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t count) {
    return static_cast<std::size_t>(random() % std::max<std::size_t>(1, count));
  };
  static const std::vector<Family> kFamilies = families();
  for (std::size_t accidents = 1 + below(3); accidents > 0; --accidents) {
    const std::size_t at = below(text.size() + 1);
    const std::size_t length = std::min(text.size() - at, 1 + below(12));
    switch (below(6)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(below(text.size() + 1), text.substr(at, length));
        break;
      case 2:
        text.resize(at);
        break;
      case 3: {
        const std::string& other = kFamilies[below(kFamilies.size())].one;
        text.insert(at, other.substr(0, 1 + below(other.size())));
        break;
      }
      case 4:
        text.insert(at, 1, "{}[]<>\"'\\:,|\n\xFF"[below(14)]);
        break;
      default:
        text.replace(at, length, length, static_cast<char>(1 + below(255)));
        break;
    }
  }
  return text;
}

}  // namespace hearth::text::testing
