#include "serve/dialects/dialect_test.h"
#include "serve/dialects/openai.h"

namespace hearth::serve {
namespace {

using namespace testing;

ChatExchange chat_read(const Json& changes) {
  Json body = {{"model", "m"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  for (const auto& [name, value] : changes.items()) body[name] = value;
  return read_openai_chat(body.dump());
}
ChatRequest chat_request(const Json& changes) { return chat_read(changes).request; }
RequestError chat_refused(const Json& changes) {
  return refusal([&] { return chat_read(changes); });
}
Json messages(const Json& list) { return chat_request({{"messages", list}}).messages; }

const Json kTools = {
    {{"type", "function"},
     {"function",
      {{"name", "weather"}, {"description", "d"}, {"parameters", {{"type", "object"}}}}}},
    {{"type", "function"}, {"function", {{"name", "time"}}}}};

TEST(OpenAiChatRequest, DefaultsAreNoChange) {
  const ChatRequest r = chat_request(Json::object());
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.max_tokens, -1);
  EXPECT_EQ(r.choices, 1);
  EXPECT_FALSE(r.stream);
  EXPECT_FALSE(r.stream_usage);
  EXPECT_FALSE(r.top_logprobs);
  EXPECT_FALSE(r.thinking);
  EXPECT_FALSE(r.continue_last);
  EXPECT_TRUE(r.tools.is_null());
  EXPECT_TRUE(r.tool_choice.parallel);
  EXPECT_EQ(r.tool_choice.mode, ToolMode::kAuto);
  EXPECT_EQ(r.format.kind, OutputFormat::Kind::kText);
  EXPECT_FALSE(r.sampling.temperature);
  EXPECT_FALSE(r.sampling.seed);
  EXPECT_EQ(r.messages, Json::parse(R"([{"role":"user","content":"hi"}])"));
}

TEST(OpenAiChatRequest, ReadsEverySetting) {
  const ChatRequest r = chat_request(Json::parse(R"({
      "temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "typical_p": 0.75, "top_k": 7,
      "repeat_penalty": 1.5, "repeat_last_n": 32, "frequency_penalty": -1, "presence_penalty": 2,
      "mirostat": 2, "mirostat_tau": 4, "mirostat_eta": 0.5, "seed": 42, "dry_multiplier": 0.5,
      "dry_base": 2, "dry_allowed_length": 3, "dry_penalty_last_n": -1,
      "dry_sequence_breakers": ["x"], "xtc_probability": 0.5, "xtc_threshold": 0.25,
      "logit_bias": {"5": -100, "7": 1.5}, "max_tokens": 5, "max_completion_tokens": 6, "n": 3,
      "stop": ["a", "", "b"], "stream": true, "stream_options": {"include_usage": true},
      "logprobs": true, "top_logprobs": 4, "keep_alive": "5m", "unknown": {"x": [1]}})"));
  EXPECT_EQ(r.sampling.temperature, 0.5F);
  EXPECT_EQ(r.sampling.top_p, 0.25F);
  EXPECT_EQ(r.sampling.min_p, 0.125F);
  EXPECT_EQ(r.sampling.typical, 0.75F);
  EXPECT_EQ(r.sampling.top_k, 7);
  EXPECT_EQ(r.sampling.repeat_penalty, 1.5F);
  EXPECT_EQ(r.sampling.repeat_last_n, 32);
  EXPECT_EQ(r.sampling.frequency_penalty, -1.0F);
  EXPECT_EQ(r.sampling.presence_penalty, 2.0F);
  EXPECT_EQ(r.sampling.mirostat, 2);
  EXPECT_EQ(r.sampling.mirostat_tau, 4.0F);
  EXPECT_EQ(r.sampling.mirostat_eta, 0.5F);
  EXPECT_EQ(r.sampling.seed, 42U);
  EXPECT_EQ(r.sampling.dry_multiplier, 0.5F);
  EXPECT_EQ(r.sampling.dry_base, 2.0F);
  EXPECT_EQ(r.sampling.dry_allowed_length, 3);
  EXPECT_EQ(r.sampling.dry_last_n, -1);
  EXPECT_EQ(r.sampling.dry_breakers, std::vector<std::string>{"x"});
  EXPECT_EQ(r.sampling.xtc_probability, 0.5F);
  EXPECT_EQ(r.sampling.xtc_threshold, 0.25F);
  const std::vector<std::pair<std::int32_t, float>> bias = {{5, -100.0F}, {7, 1.5F}};
  EXPECT_EQ(r.sampling.logit_bias, bias);
  EXPECT_EQ(r.max_tokens, 6);
  EXPECT_EQ(r.choices, 3);
  EXPECT_EQ(r.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(r.stream);
  EXPECT_TRUE(r.stream_usage);
  EXPECT_EQ(r.top_logprobs, 4);
  EXPECT_EQ(r.keep_alive_seconds, 300.0);
}

TEST(OpenAiChatRequest, NullIsAbsent) {
  const ChatRequest r =
      chat_request(Json::parse(R"({"temperature": null, "stop": null, "tools": null,
      "tool_choice": null, "response_format": null, "stream": null, "n": null, "seed": null,
      "logit_bias": null, "stream_options": null, "functions": null, "max_tokens": null})"));
  EXPECT_FALSE(r.sampling.temperature);
  EXPECT_TRUE(r.stops.empty());
  EXPECT_EQ(r.choices, 1);
}

TEST(OpenAiChatRequest, SmallPrint) {
  EXPECT_EQ(chat_request({{"stop", "x"}}).stops, std::vector<std::string>{"x"});
  EXPECT_FALSE(chat_request({{"seed", -1}}).sampling.seed);
  EXPECT_EQ(chat_request({{"top_k", -1}}).sampling.top_k, 0);
  EXPECT_EQ(chat_request({{"max_tokens", 3.0}}).max_tokens, 3);
  EXPECT_EQ(chat_request({{"logprobs", true}}).top_logprobs, 0);
  EXPECT_FALSE(chat_request({{"logprobs", false}, {"top_logprobs", 0}}).top_logprobs);
  EXPECT_EQ(chat_refused({{"top_logprobs", 2}}).parameter, "top_logprobs");
  const auto bias = chat_request({{"logit_bias", Json::parse("[[3, -1.5], [4, false]]")}});
  EXPECT_EQ(bias.sampling.logit_bias[0].second, -1.5F);
  EXPECT_EQ(bias.sampling.logit_bias[1].second, -INFINITY);
  EXPECT_EQ(chat_refused({{"logit_bias", {{"hello", 1}}}}).parameter, "logit_bias");
  EXPECT_EQ(chat_refused({{"logit_bias", Json::parse(R"([["a", 1]])")}}).parameter,
            "logit_bias[0][0]");
  EXPECT_EQ(chat_refused({{"keep_alive", "soon"}}).parameter, "keep_alive");
  EXPECT_EQ(chat_refused({{"keep_alive", Json::array()}}).parameter, "keep_alive");
}

TEST(OpenAiChatRequest, MessagesAreNormalized) {
  EXPECT_EQ(messages(Json::parse(R"([
      {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "user", "content": "q", "name": "Ann"},
      {"role": "assistant", "content": null, "reasoning": "hm", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"a\": 1}"}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": ""}},
        {"id": "c3", "type": "custom", "custom": {"name": "patch", "input": "x\"y"}},
        {"id": "c4", "function": {"name": "weather", "arguments": {"a": 2}}}]},
      {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "r"}]},
      {"role": "tool", "tool_call_id": "c2", "content": "s", "name": "own"},
      {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
      {"role": "user", "content": null}])")),
            Json::parse(R"([
      {"role": "system", "content": "a\nb"},
      {"role": "user", "content": "q", "name": "Ann"},
      {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"a\": 1}"}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        {"id": "c3", "type": "function", "function": {"name": "patch", "arguments": "{\"input\":\"x\\\"y\"}"}},
        {"id": "c4", "type": "function", "function": {"name": "weather", "arguments": "{\"a\":2}"}}]},
      {"role": "tool", "content": "r", "tool_call_id": "c1", "name": "weather"},
      {"role": "tool", "content": "s", "name": "own", "tool_call_id": "c2"},
      {"role": "assistant", "content": "no"},
      {"role": "user", "content": ""}])"));
}

TEST(OpenAiChatRequest, DeprecatedFunctionMessages) {
  EXPECT_EQ(messages(Json::parse(R"([
      {"role": "user", "content": "q"},
      {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
      {"role": "function", "name": "f", "content": "r"}])")),
            Json::parse(R"([
      {"role": "user", "content": "q"},
      {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call_legacy1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "tool", "content": "r", "name": "f", "tool_call_id": "call_legacy1"}])"));
}

TEST(OpenAiChatRequest, WrongMessagesNameTheirPlace) {
  const auto path = [](const char* list) {
    return chat_refused({{"messages", Json::parse(list)}}).parameter;
  };
  EXPECT_EQ(path("[]"), "messages");
  EXPECT_EQ(path("[1]"), "messages[0]");
  EXPECT_EQ(path(R"([{"content": "x"}])"), "messages[0].role");
  EXPECT_EQ(path(R"([{"role": 3}])"), "messages[0].role");
  EXPECT_EQ(path(R"([{"role": "robot", "content": "x"}])"), "messages[0].role");
  EXPECT_EQ(path(R"([{"role": "user", "content": 3}])"), "messages[0].content");
  EXPECT_EQ(path(R"([{"role": "user", "content": [{"type": "text"}]}])"),
            "messages[0].content[0].text");
  EXPECT_EQ(path(R"([{"role": "user", "content": [7]}])"), "messages[0].content[0].type");
  EXPECT_EQ(path(R"([{"role": "tool", "content": "x"}])"), "messages[0].tool_call_id");
  EXPECT_EQ(path(R"([{"role": "assistant", "tool_calls": [{"id": "x"}]}])"),
            "messages[0].tool_calls[0].function");
  EXPECT_EQ(path(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])"),
            "messages[0].tool_calls[0].function.name");
  for (const char* part :
       {R"({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})",
        R"({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})",
        R"({"type": "file", "file": {"file_id": "f"}})"}) {
    const Json message = {{"role", "user"}, {"content", Json::array({Json::parse(part)})}};
    const RequestError error = chat_refused({{"messages", Json::array({message})}});
    EXPECT_EQ(error.parameter, "messages[0].content[0]");
    EXPECT_EQ(error.code, "unsupported_content");
    EXPECT_EQ(error.status, 400);
  }
}

TEST(OpenAiChatRequest, Tools) {
  const ChatRequest r = chat_request({{"tools", kTools}, {"parallel_tool_calls", false}});
  EXPECT_EQ(r.tools[0], kTools[0]);
  EXPECT_EQ(r.tools[1]["function"]["parameters"],
            Json::parse(R"({"type":"object","properties":{}})"));
  EXPECT_FALSE(r.tool_choice.parallel);
  EXPECT_TRUE(chat_request({{"tools", Json::array()}}).tools.is_null());
  EXPECT_EQ(chat_refused({{"tools", {{{"type", "custom"}}}}}).parameter, "tools[0].type");
  EXPECT_EQ(chat_refused({{"tools", {{{"type", "function"}}}}}).parameter, "tools[0].function");
  EXPECT_EQ(chat_refused({{"tools", Json::parse(R"([{"function": {"name": "a b"}}])")}}).parameter,
            "tools[0].function.name");
  EXPECT_EQ(
      chat_refused({{"tools", Json::parse(R"([{"function": {"name": "a", "parameters": 1}}])")}})
          .parameter,
      "tools[0].function.parameters");
}

TEST(OpenAiChatRequest, ToolChoice) {
  const auto choice = [](const Json& value) {
    return chat_request({{"tools", kTools}, {"tool_choice", value}}).tool_choice;
  };
  EXPECT_EQ(choice("none").mode, ToolMode::kNone);
  EXPECT_EQ(choice("auto").mode, ToolMode::kAuto);
  EXPECT_EQ(choice("required").mode, ToolMode::kRequired);
  const ToolChoice one = choice(Json::parse(R"({"type":"function","function":{"name":"time"}})"));
  EXPECT_EQ(one.mode, ToolMode::kRequired);
  EXPECT_EQ(one.functions, std::vector<std::string>{"time"});
  const ToolChoice some = choice(Json::parse(R"({"type":"allowed_tools","allowed_tools":{
      "mode":"required","tools":[{"type":"function","function":{"name":"weather"}}]}})"));
  EXPECT_EQ(some.mode, ToolMode::kRequired);
  EXPECT_EQ(some.functions, std::vector<std::string>{"weather"});
  EXPECT_EQ(choice(Json::parse(R"({"type":"allowed_tools","allowed_tools":{
      "mode":"auto","tools":[]}})"))
                .mode,
            ToolMode::kNone);

  const auto wrong = [](const char* value) {
    return chat_refused({{"tools", kTools}, {"tool_choice", Json::parse(value)}}).parameter;
  };
  EXPECT_EQ(wrong(R"("always")"), "tool_choice");
  EXPECT_EQ(wrong(R"({"type":"function","function":{"name":"other"}})"), "tool_choice");
  EXPECT_EQ(wrong(R"({"type":"function"})"), "tool_choice.function.name");
  EXPECT_EQ(wrong(R"({"type":"mcp"})"), "tool_choice.type");
  EXPECT_EQ(wrong(R"({"type":"allowed_tools","allowed_tools":{"mode":"auto"}})"),
            "tool_choice.allowed_tools.tools");
  EXPECT_EQ(chat_refused({{"tool_choice", "required"}}).parameter, "tool_choice");
}

TEST(OpenAiChatRequest, Formats) {
  const auto format = [](const char* value) {
    return chat_request({{"response_format", Json::parse(value)}}).format;
  };
  EXPECT_EQ(format(R"({"type":"text"})").kind, OutputFormat::Kind::kText);
  EXPECT_EQ(format(R"({"type":"json_object"})").kind, OutputFormat::Kind::kJsonObject);
  for (
      const char* form :
      {R"({"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"null"}}})",
       R"({"type":"json_object","schema":{"type":"null"}})",
       R"({"type":"json_schema","schema":{"type":"null"}})"}) {
    EXPECT_EQ(format(form).kind, OutputFormat::Kind::kJsonSchema) << form;
    EXPECT_EQ(format(form).schema, Json({{"type", "null"}})) << form;
  }
  EXPECT_EQ(format(R"({"type":"regex","value":"a+"})").kind, OutputFormat::Kind::kRegex);
  EXPECT_EQ(format(R"({"type":"regex","value":"a+"})").grammar, "a+");
  EXPECT_EQ(chat_request({{"grammar", "root ::= \"a\""}}).format.kind,
            OutputFormat::Kind::kGrammar);
  EXPECT_EQ(chat_request({{"grammar", ""}}).format.kind, OutputFormat::Kind::kText);
  EXPECT_EQ(chat_request({{"json_schema", {{"type", "null"}}}}).format.kind,
            OutputFormat::Kind::kJsonSchema);

  const auto wrong = [](const char* value) {
    return chat_refused({{"response_format", Json::parse(value)}}).parameter;
  };
  EXPECT_EQ(wrong(R"({"type":"xml"})"), "response_format.type");
  EXPECT_EQ(wrong(R"({"type":3})"), "response_format.type");
  EXPECT_EQ(wrong(R"({"type":"json_schema"})"), "response_format.schema");
  EXPECT_EQ(wrong(R"({"type":"json_schema","json_schema":{"name":"x"}})"),
            "response_format.json_schema.schema");
  EXPECT_EQ(chat_refused({{"grammar", "x"}, {"json_schema", {{"type", "null"}}}}).parameter,
            "grammar");
}

TEST(OpenAiChatRequest, Thinking) {
  EXPECT_EQ(chat_request({{"reasoning_effort", "none"}}).thinking, false);
  EXPECT_TRUE(chat_request({{"reasoning_effort", "none"}}).template_variables.empty());
  const ChatRequest low = chat_request({{"reasoning_effort", "minimal"}});
  EXPECT_EQ(low.thinking, true);
  EXPECT_EQ(low.template_variables["reasoning_effort"], "low");
  EXPECT_EQ(
      chat_request({{"reasoning", {{"effort", "high"}}}}).template_variables["reasoning_effort"],
      "high");
  EXPECT_EQ(chat_request({{"reasoning", {{"max_tokens", 12}}}}).thinking_budget, 12);
  EXPECT_EQ(chat_request({{"enable_thinking", false}}).thinking, false);
  EXPECT_EQ(chat_request({{"thinking_budget", 9}}).thinking_budget, 9);
  const ChatRequest both = chat_request(Json::parse(
      R"({"reasoning_effort":"low","chat_template_kwargs":{"reasoning_effort":"max","a":[1]}})"));
  EXPECT_EQ(both.template_variables, Json::parse(R"({"reasoning_effort":"max","a":[1]})"));
  EXPECT_EQ(chat_refused({{"reasoning_effort", "huge"}}).parameter, "reasoning_effort");
}

TEST(OpenAiChatRequest, LastAssistantMessageIsContinued) {
  const auto last = [](const char* message) {
    return chat_request({{"messages", Json::array({{{"role", "user"}, {"content", "q"}},
                                                   Json::parse(message)})}})
        .continue_last;
  };
  EXPECT_TRUE(last(R"({"role":"assistant","content":"The"})"));
  EXPECT_FALSE(last(R"({"role":"assistant","content":""})"));
  EXPECT_FALSE(last(R"({"role":"assistant","content":"x","tool_calls":[
      {"id":"a","function":{"name":"f"}}]})"));
  EXPECT_FALSE(last(R"({"role":"user","content":"q"})"));
}

// --- replies ---

std::vector<text::ReplyEvent> chat_rich_reply() {
  std::vector<text::ReplyEvent> events = {reasoning_event("hm"), text_event("Hel"),
                                          text_event("lo")};
  for (const auto& event : whole_call(0, "weather", R"({"a":"b"})", "")) events.push_back(event);
  for (const auto& event : whole_call(1, "time", "{}", "")) events.push_back(event);
  return events;
}

TEST(OpenAiChatReply, StreamHasTheRightOrder) {
  const auto writer =
      chat_read({{"stream", true}, {"stream_options", {{"include_usage", true}}}}).writer;
  EXPECT_EQ(writer->content_type(), "text/event-stream");
  const auto events =
      read_sse(write_reply(*writer, chat_rich_reply(), {EndReason::kToolCalls, ""}));
  ASSERT_EQ(events.size(), 13U);
  const auto delta = [&](std::size_t i) { return events[i].data["choices"][0]["delta"]; };
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const Json& chunk = events[i].data;
    EXPECT_EQ(chunk["id"], "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx");
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_EQ(chunk["created"], 1735142223);
    EXPECT_EQ(chunk["model"], "m");
    if (i + 2 < events.size()) {
      EXPECT_TRUE(chunk["usage"].is_null());
      EXPECT_EQ(chunk["choices"][0]["finish_reason"], i == 10 ? Json("tool_calls") : Json());
    }
  }
  EXPECT_EQ(delta(0), Json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(delta(1), Json::parse(R"({"reasoning_content":"hm"})"));
  EXPECT_EQ(delta(2), Json::parse(R"({"content":"Hel"})"));
  EXPECT_EQ(delta(3), Json::parse(R"({"content":"lo"})"));
  EXPECT_EQ(delta(4), Json::parse(R"({"tool_calls":[{"index":0,"id":"AbCdE0000","type":"function",
      "function":{"name":"weather","arguments":""}}]})"));
  EXPECT_EQ(delta(5),
            Json::parse(R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]})"));
  EXPECT_EQ(delta(7)["tool_calls"][0]["id"], "AbCdE0001");
  EXPECT_EQ(delta(10), Json::object());
  const Json& last = events[11].data;
  EXPECT_EQ(last["choices"], Json::array());
  EXPECT_EQ(last["usage"]["prompt_tokens"], 9);
  EXPECT_EQ(last["usage"]["completion_tokens"], 12);
  EXPECT_EQ(last["usage"]["total_tokens"], 21);
  EXPECT_EQ(last["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
  EXPECT_EQ(last["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
  EXPECT_EQ(last["timings"]["prompt_n"], 5);
  EXPECT_EQ(last["timings"]["predicted_per_second"], 6.0);
  EXPECT_EQ(events[12].data, "[DONE]");
}

TEST(OpenAiChatReply, StreamWithoutUsage) {
  const auto writer = chat_read({{"stream", true}}).writer;
  const auto events = read_sse(write_reply(*writer, {text_event("a")}));
  ASSERT_EQ(events.size(), 4U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_FALSE(events[i].data.contains("usage"));
  EXPECT_EQ(events[2].data["choices"][0]["finish_reason"], "stop");
}

TEST(OpenAiChatReply, StreamsInterleaveChoices) {
  const auto writer = chat_read({{"stream", true}, {"n", 2}}).writer;
  std::string bytes = writer->begin(header(2));
  bytes += writer->event(1, text_event("b"), {});
  bytes += writer->event(0, text_event("a"), {});
  bytes += writer->choice_end(0, {EndReason::kLength, ""});
  bytes += writer->choice_end(1, {EndReason::kStopText, "x"});
  bytes += writer->end(usage());
  const auto events = read_sse(bytes);
  std::vector<int> order;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    order.push_back(events[i].data["choices"][0]["index"].get<int>());
  }
  EXPECT_EQ(order, (std::vector<int>{0, 1, 1, 0, 0, 1}));
  EXPECT_EQ(events[4].data["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events[5].data["choices"][0]["finish_reason"], "stop");
}

TEST(OpenAiChatReply, StreamFailureAndPing) {
  const auto writer = chat_read({{"stream", true}}).writer;
  static_cast<void>(writer->begin(header()));
  const auto events = read_sse(writer->fail(500, "it broke"));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].data["error"]["message"], "it broke");
  EXPECT_EQ(events[0].data["error"]["type"], "server_error");
  EXPECT_EQ(writer->keep_alive(), ": ping\n\n");
}

TEST(OpenAiChatReply, Collected) {
  const auto writer = chat_read(Json::object()).writer;
  EXPECT_EQ(writer->content_type(), "application/json");
  EXPECT_EQ(writer->begin(header()), "");
  for (const auto& event : chat_rich_reply()) EXPECT_EQ(writer->event(0, event, {}), "");
  EXPECT_EQ(writer->choice_end(0, {EndReason::kToolCalls, ""}), "");
  EXPECT_EQ(writer->keep_alive(), "");
  Json reply = Json::parse(writer->end(usage()));
  EXPECT_EQ(reply["object"], "chat.completion");
  EXPECT_EQ(reply["choices"], Json::parse(R"([{"index":0,"message":{"role":"assistant",
      "content":"Hello","refusal":null,"annotations":[],"reasoning_content":"hm","tool_calls":[
      {"id":"AbCdE0000","type":"function","function":{"name":"weather","arguments":"{\"a\":\"b\"}"}},
      {"id":"AbCdE0001","type":"function","function":{"name":"time","arguments":"{}"}}]},
      "logprobs":null,"finish_reason":"tool_calls"}])"));
  EXPECT_EQ(reply["usage"]["total_tokens"], 21);
}

TEST(OpenAiChatReply, CollectedLeavesOutDroppedCalls) {
  const auto writer = chat_read(Json::object()).writer;
  const Json reply = Json::parse(
      write_reply(*writer, {call_event(Kind::kToolCallStart, 0, "weather", ""),
                            call_event(Kind::kToolCallArguments, 0, "", "{"),
                            call_event(Kind::kToolCallDropped, 0, "", ""), text_event("<call>{")}));
  EXPECT_EQ(reply["choices"][0]["message"]["content"], "<call>{");
  EXPECT_FALSE(reply["choices"][0]["message"].contains("tool_calls"));
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "stop");
}

TEST(OpenAiChatReply, CutCallsAreNotToldAgain) {
  const std::vector<text::ReplyEvent> reply = cut_call();
  const Json body = Json::parse(write_reply(*chat_read(Json::object()).writer, reply));
  EXPECT_EQ(body["choices"][0]["message"]["content"], "<call>{");
  const std::string stream = write_reply(*chat_read({{"stream", true}}).writer, reply);
  EXPECT_NE(stream.find("tool_calls"), std::string::npos);
  EXPECT_EQ(stream.find("<call>"), std::string::npos);
}

TEST(OpenAiChatReply, ContentIsNullBesideCallsOnly) {
  const Json reply =
      Json::parse(write_reply(*chat_read(Json::object()).writer, whole_call(0, "f", "{}", "x"),
                              {EndReason::kToolCalls, ""}));
  EXPECT_TRUE(reply["choices"][0]["message"]["content"].is_null());
  const Json empty = Json::parse(write_reply(*chat_read(Json::object()).writer, {}));
  EXPECT_EQ(empty["choices"][0]["message"]["content"], "");
}

TEST(OpenAiChatReply, Logprobs) {
  const std::vector<TokenLogprob> some = {
      {.token = "H\xC3", .logprob = -0.5F, .top = {{"H", -0.5F}, {"J", -INFINITY}}}};
  for (const bool stream : {false, true}) {
    const auto writer =
        chat_read({{"stream", stream}, {"logprobs", true}, {"top_logprobs", 2}}).writer;
    std::string bytes = writer->begin(header());
    bytes += writer->event(0, reasoning_event("r"), some);
    bytes += writer->event(0, text_event("H"), some);
    bytes += writer->choice_end(0, {});
    bytes += writer->end(usage());
    const Json choice =
        stream ? read_sse(bytes)[2].data["choices"][0] : Json::parse(bytes)["choices"][0];
    EXPECT_EQ(choice["logprobs"], Json::parse(R"({"content":[{"token":"H�","logprob":-0.5,
        "bytes":[72,195],"top_logprobs":[{"token":"H","logprob":-0.5,"bytes":[72]},
        {"token":"J","logprob":-9999.0,"bytes":[74]}]}],"refusal":null})"))
        << stream;
  }
}

TEST(OpenAiChatReply, DeprecatedFunctions) {
  const Json functions = Json::parse(R"([{"name":"f","parameters":{"type":"object"}}])");
  ChatExchange exchange = chat_read({{"functions", functions}, {"function_call", {{"name", "f"}}}});
  EXPECT_EQ(exchange.request.tools[0]["function"]["name"], "f");
  EXPECT_EQ(exchange.request.tool_choice.functions, std::vector<std::string>{"f"});
  EXPECT_FALSE(exchange.request.tool_choice.parallel);
  const Json reply = Json::parse(
      write_reply(*exchange.writer, whole_call(0, "f", "{}", "x"), {EndReason::kToolCalls, ""}));
  EXPECT_EQ(reply["choices"][0]["message"]["function_call"],
            Json::parse(R"({"name":"f","arguments":"{}"})"));
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "function_call");

  const auto stream = chat_read({{"functions", functions}, {"stream", true}}).writer;
  const auto events =
      read_sse(write_reply(*stream, whole_call(0, "f", "{}", "x"), {EndReason::kToolCalls, ""}));
  EXPECT_EQ(events[1].data["choices"][0]["delta"],
            Json::parse(R"({"function_call":{"name":"f","arguments":""}})"));
  EXPECT_EQ(events[4].data["choices"][0]["finish_reason"], "function_call");
}

}  // namespace
}  // namespace hearth::serve
