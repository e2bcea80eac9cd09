#include "serve/dialects/anthropic.h"

#include "serve/dialects/dialect_test.h"

namespace hearth::serve {
namespace {

using namespace testing;

ChatExchange anthropic_read(const char* changes = "{}") {
  Json body =
      Json::parse(R"({"model":"m","max_tokens":64,"messages":[{"role":"user","content":"hi"}]})");
  body.update(Json::parse(changes));
  return read_anthropic_messages(body.dump());
}
ChatRequest anthropic_request(const char* changes) { return anthropic_read(changes).request; }
RequestError anthropic_refused(const char* changes) {
  return refusal([&] { return anthropic_read(changes); });
}

TEST(AnthropicRequest, Defaults) {
  const ChatRequest r = anthropic_request("{}");
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.max_tokens, 64);
  EXPECT_FALSE(r.stream);
  EXPECT_EQ(r.thinking, false);
  EXPECT_EQ(r.messages, Json::parse(R"([{"role":"user","content":"hi"}])"));
  EXPECT_TRUE(r.tools.is_null());
}

TEST(AnthropicRequest, Settings) {
  const ChatRequest r =
      anthropic_request(R"({"temperature":0.5,"top_p":0.25,"top_k":7,"stream":true,
      "stop_sequences":["a",""],"metadata":{"user_id":"u"},"service_tier":"auto"})");
  EXPECT_EQ(r.sampling.temperature, 0.5F);
  EXPECT_EQ(r.sampling.top_p, 0.25F);
  EXPECT_EQ(r.sampling.top_k, 7);
  EXPECT_EQ(r.stops, std::vector<std::string>{"a"});
  EXPECT_TRUE(r.stream);
  EXPECT_EQ(anthropic_refused(R"({"max_tokens":null})").parameter, "max_tokens");
  EXPECT_EQ(anthropic_refused(R"({"max_tokens":0})").parameter, "max_tokens");
  EXPECT_EQ(anthropic_refused(R"({"messages":[]})").parameter, "messages");
  EXPECT_EQ(anthropic_refused(R"({"messages":[{"role":"user","content":[]}]})").parameter,
            "messages[0].content");
  EXPECT_EQ(anthropic_refused(R"({"messages":[{"role":"user"}]})").parameter,
            "messages[0].content");
  EXPECT_EQ(anthropic_refused(R"({"messages":[{"role":"robot","content":"x"}]})").parameter,
            "messages[0].role");
  EXPECT_EQ(anthropic_refused(R"({"mcp_servers":[{}]})").parameter, "mcp_servers");
}

TEST(AnthropicRequest, BlocksBecomeOpenAisMessages) {
  EXPECT_EQ(anthropic_request(R"({
      "system":[{"type":"text","text":"s1","cache_control":{"type":"ephemeral"}},
                {"type":"text","text":"s2"}],
      "messages":[
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"user","content":"c"},
      {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"x"},
        {"type":"redacted_thinking","data":"zz"},{"type":"text","text":"t"},
        {"type":"tool_use","id":"t1","name":"f","input":{"k":"v"}},
        {"type":"tool_use","id":"t2","name":"g"}]},
      {"role":"user","content":[
        {"type":"tool_result","tool_use_id":"t1","content":"r1"},
        {"type":"tool_result","tool_use_id":"t2","is_error":true,
         "content":[{"type":"text","text":"r"},{"type":"text","text":"2"}]},
        {"type":"text","text":"go on"},
        {"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"D"}}]}
      ]})")
                .messages,
            Json::parse(R"([
      {"role":"system","content":"s1\ns2"},
      {"role":"user","content":"a\nb\nc"},
      {"role":"assistant","content":"t","reasoning_content":"hm","tool_calls":[
        {"id":"t1","type":"function","function":{"name":"f","arguments":"{\"k\":\"v\"}"}},
        {"id":"t2","type":"function","function":{"name":"g","arguments":"{}"}}]},
      {"role":"tool","content":"r1","tool_call_id":"t1","name":"f"},
      {"role":"tool","content":"r\n2","tool_call_id":"t2","name":"g"},
      {"role":"user","content":"go on\nT\nD"}])"));
}

TEST(AnthropicRequest, WhatIsNotSupportedIsSaid) {
  const auto block = [](const char* json) {
    Json body = {{"messages", {{{"role", "user"}, {"content", Json::array({Json::parse(json)})}}}}};
    return anthropic_refused(body.dump().c_str());
  };
  EXPECT_EQ(block(R"({"type":"image","source":{"type":"base64","data":""}})").code,
            "unsupported_content");
  EXPECT_EQ(block(R"({"type":"document","source":{"type":"base64"}})").parameter,
            "messages[0].content[0]");
  EXPECT_EQ(block(R"({"type":"text"})").parameter, "messages[0].content[0].text");
  EXPECT_EQ(block(R"({"text":"x"})").parameter, "messages[0].content[0].type");
  EXPECT_EQ(block(R"({"type":"tool_result"})").parameter, "messages[0].content[0].tool_use_id");
  EXPECT_EQ(
      block(R"({"type":"tool_result","tool_use_id":"x","content":[{"type":"image"}]})").parameter,
      "messages[0].content[0].content[0]");
  EXPECT_EQ(anthropic_refused(R"({"tools":[{"type":"web_search_20250305","name":"web_search"}]})")
                .parameter,
            "tools[0].type");
  EXPECT_EQ(anthropic_refused(R"({"messages":[{"role":"assistant","content":[
      {"type":"tool_use","id":"a","name":"b","input":[]}]}]})")
                .parameter,
            "messages[0].content[0].input");
}

TEST(AnthropicRequest, Tools) {
  const char* tools = R"("tools":[{"name":"f","description":"d","input_schema":{"type":"object"},
      "cache_control":{"type":"ephemeral"}},{"type":"custom","name":"g"}])";
  const auto with = [tools](const std::string& choice) {
    return anthropic_request(
        ("{" + std::string(tools) + ",\"tool_choice\":" + choice + "}").c_str());
  };
  const ChatRequest r = with(R"({"type":"auto","disable_parallel_tool_use":true})");
  EXPECT_EQ(r.tools, Json::parse(R"([
      {"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}},
      {"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{}}}}])"));
  EXPECT_EQ(r.tool_choice.mode, ToolMode::kAuto);
  EXPECT_FALSE(r.tool_choice.parallel);
  EXPECT_EQ(with(R"({"type":"any"})").tool_choice.mode, ToolMode::kRequired);
  EXPECT_EQ(with(R"({"type":"none"})").tool_choice.mode, ToolMode::kNone);
  const ChatRequest one = with(R"({"type":"tool","name":"g"})");
  EXPECT_EQ(one.tool_choice.mode, ToolMode::kRequired);
  EXPECT_EQ(one.tool_choice.functions, std::vector<std::string>{"g"});
  EXPECT_EQ(anthropic_refused(R"({"tool_choice":{"type":"any"}})").parameter, "tool_choice");
  EXPECT_EQ(anthropic_refused(R"({"tool_choice":{"type":"tool","name":"x"}})").parameter,
            "tool_choice");
  EXPECT_EQ(anthropic_refused(R"({"tool_choice":{"type":"tool"}})").parameter, "tool_choice.name");
  EXPECT_EQ(anthropic_refused(R"({"tool_choice":{"type":"maybe"}})").parameter, "tool_choice.type");
}

TEST(AnthropicRequest, ThinkingAndFormat) {
  const ChatRequest on =
      anthropic_request(R"({"thinking":{"type":"enabled","budget_tokens":2048}})");
  EXPECT_EQ(on.thinking, true);
  EXPECT_EQ(on.thinking_budget, 2048);
  EXPECT_EQ(anthropic_request(R"({"thinking":{"type":"disabled"}})").thinking, false);
  const ChatRequest adaptive =
      anthropic_request(R"({"thinking":{"type":"adaptive"},"output_config":{"effort":"high",
      "format":{"type":"json_schema","schema":{"type":"object"}}}})");
  EXPECT_EQ(adaptive.thinking, true);
  EXPECT_FALSE(adaptive.thinking_budget);
  EXPECT_EQ(adaptive.template_variables["reasoning_effort"], "high");
  EXPECT_EQ(adaptive.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(anthropic_refused(R"({"thinking":{"type":"maybe"}})").parameter, "thinking.type");
  EXPECT_EQ(anthropic_refused(R"({"output_config":{"format":{"type":"json_schema"}}})").parameter,
            "output_config.format.schema");
}

TEST(AnthropicRequest, Prefill) {
  const char* prefill = R"({"messages":[{"role":"user","content":"q"},
      {"role":"assistant","content":"The answer:"}]})";
  EXPECT_TRUE(anthropic_request(prefill).continue_last);
  EXPECT_EQ(anthropic_refused(R"({"messages":[{"role":"user","content":"q"},
      {"role":"assistant","content":"The "}]})")
                .parameter,
            "messages");
}

TEST(AnthropicRequest, CountNeedsNoLength) {
  EXPECT_EQ(read_anthropic_count(R"({"model":"m","messages":[{"role":"user","content":"x"}]})")
                .messages.size(),
            1U);
  EXPECT_EQ(anthropic_count(5), R"({"input_tokens":5})");
}

// --- replies ---

std::vector<std::string> anthropic_names(const std::vector<SseEvent>& events) {
  std::vector<std::string> result;
  for (const SseEvent& event : events) {
    EXPECT_EQ(event.data["type"], event.name);
    result.push_back(event.name);
  }
  return result;
}

TEST(AnthropicReply, StreamHasTheRightOrder) {
  const auto writer = anthropic_read(R"({"stream":true})").writer;
  EXPECT_EQ(writer->content_type(), "text/event-stream");
  std::vector<text::ReplyEvent> reply = {reasoning_event("h"), reasoning_event("m"),
                                         text_event("Hi"), text_event("")};
  for (const auto& event : whole_call(0, "f", R"({"a":1})", "")) reply.push_back(event);
  for (const auto& event : whole_call(1, "g", "{}", "")) reply.push_back(event);
  const auto events = read_sse(write_reply(*writer, reply, {EndReason::kToolCalls, ""}));
  const std::vector<std::string> expected = {
      "message_start",       "content_block_start", "content_block_delta", "content_block_delta",
      "content_block_delta", "content_block_stop",  "content_block_start", "content_block_delta",
      "content_block_stop",  "content_block_start", "content_block_delta", "content_block_delta",
      "content_block_stop",  "content_block_start", "content_block_delta", "content_block_delta",
      "content_block_stop",  "message_delta",       "message_stop"};
  ASSERT_EQ(anthropic_names(events), expected);
  EXPECT_EQ(events[0].data["message"], Json::parse(R"({"id":"msg_AbCdEfGhIjKlMnOpQrStUvWx",
      "type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,
      "stop_sequence":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":0,
      "cache_read_input_tokens":0,"output_tokens":1}})"));
  const std::vector<int> indices = {0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  for (std::size_t i = 0; i < indices.size(); ++i) {
    EXPECT_EQ(events[i + 1].data["index"], indices[i]);
  }
  EXPECT_EQ(events[1].data["content_block"],
            Json::parse(R"({"type":"thinking","thinking":"","signature":""})"));
  EXPECT_EQ(events[2].data["delta"], Json::parse(R"({"type":"thinking_delta","thinking":"h"})"));
  EXPECT_EQ(events[4].data["delta"]["type"], "signature_delta");
  EXPECT_EQ(events[6].data["content_block"], Json::parse(R"({"type":"text","text":""})"));
  EXPECT_EQ(events[7].data["delta"], Json::parse(R"({"type":"text_delta","text":"Hi"})"));
  EXPECT_EQ(events[9].data["content_block"],
            Json::parse(R"({"type":"tool_use","id":"AbCdE0000","name":"f","input":{}})"));
  EXPECT_EQ(events[10].data["delta"],
            Json::parse(R"({"type":"input_json_delta","partial_json":"{\"a"})"));
  EXPECT_EQ(events[17].data, Json::parse(R"({"type":"message_delta","delta":
      {"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":5,
      "cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":12}})"));
}

TEST(AnthropicReply, Collected) {
  const auto writer = anthropic_read().writer;
  std::vector<text::ReplyEvent> reply = {reasoning_event("h"), text_event("H"), text_event("i")};
  for (const auto& event : whole_call(0, "f", R"({"a":1})", "id1")) reply.push_back(event);
  const Json message = Json::parse(write_reply(*writer, reply, {EndReason::kToolCalls, ""}));
  EXPECT_EQ(message, Json::parse(R"({"id":"msg_AbCdEfGhIjKlMnOpQrStUvWx","type":"message",
      "role":"assistant","model":"m","content":[
      {"type":"thinking","thinking":"h","signature":"aGVhcnRo"},{"type":"text","text":"Hi"},
      {"type":"tool_use","id":"id1","name":"f","input":{"a":1}}],"stop_reason":"tool_use",
      "stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,
      "cache_read_input_tokens":4,"output_tokens":12}})"));
}

TEST(AnthropicReply, DroppedCalls) {
  const std::vector<text::ReplyEvent> reply = {call_event(Kind::kToolCallStart, 0, "f", ""),
                                               call_event(Kind::kToolCallArguments, 0, "", "{"),
                                               call_event(Kind::kToolCallDropped, 0, "", ""),
                                               text_event("<call>{")};
  const Json message = Json::parse(write_reply(*anthropic_read().writer, reply));
  EXPECT_EQ(message["content"], Json::parse(R"([{"type":"text","text":"<call>{"}])"));
  const auto events = read_sse(write_reply(*anthropic_read(R"({"stream":true})").writer, reply));
  EXPECT_EQ(
      anthropic_names(events),
      (std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                "content_block_stop", "content_block_start", "content_block_delta",
                                "content_block_stop", "message_delta", "message_stop"}));
}

TEST(AnthropicReply, CutCallsAreNotToldAgain) {
  const std::vector<text::ReplyEvent> reply = cut_call();
  const Json message = Json::parse(write_reply(*anthropic_read().writer, reply));
  EXPECT_EQ(message["content"], Json::parse(R"([{"type":"text","text":"<call>{"}])"));
  const auto events = read_sse(write_reply(*anthropic_read(R"({"stream":true})").writer, reply));
  EXPECT_EQ(anthropic_names(events),
            (std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                      "content_block_stop", "message_delta", "message_stop"}));
}

TEST(AnthropicReply, StopReasons) {
  const auto stop = [](ChoiceEnd end) {
    return Json::parse(write_reply(*anthropic_read().writer, {text_event("a")}, std::move(end)));
  };
  EXPECT_EQ(stop({EndReason::kStop, ""})["stop_reason"], "end_turn");
  EXPECT_EQ(stop({EndReason::kStopText, "X"})["stop_reason"], "stop_sequence");
  EXPECT_EQ(stop({EndReason::kStopText, "X"})["stop_sequence"], "X");
  EXPECT_EQ(stop({EndReason::kLength, ""})["stop_reason"], "max_tokens");
  EXPECT_EQ(stop({EndReason::kContext, ""})["stop_reason"], "model_context_window_exceeded");
  EXPECT_EQ(stop({EndReason::kCancelled, ""})["stop_reason"], "max_tokens");
}

TEST(AnthropicReply, FailureAndPing) {
  const auto writer = anthropic_read(R"({"stream":true})").writer;
  EXPECT_EQ(writer->keep_alive(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  const auto events = read_sse(writer->fail(503, "busy"));
  EXPECT_EQ(events[0].name, "error");
  EXPECT_EQ(
      events[0].data,
      Json::parse(R"({"type":"error","error":{"type":"overloaded_error","message":"busy"}})"));
  EXPECT_EQ(anthropic_read().writer->keep_alive(), "");
}

TEST(AnthropicModels, List) {
  ModelFacts model;
  model.name = "a";
  model.modified = 0;
  const std::vector<ModelFacts> models = {model};
  EXPECT_EQ(Json::parse(anthropic_models(models)), Json::parse(R"({"data":[{"type":"model",
      "id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,
      "first_id":"a","last_id":"a"})"));
  EXPECT_TRUE(Json::parse(anthropic_models({}))["first_id"].is_null());
}

}  // namespace
}  // namespace hearth::serve
