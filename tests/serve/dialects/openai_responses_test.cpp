#include "serve/dialects/dialect_test.h"
#include "serve/dialects/openai.h"

namespace hearth::serve {
namespace {

using namespace testing;

ChatExchange responses_read(const char* changes = "{}") {
  Json body = Json::parse(R"({"model":"m","input":"hi"})");
  body.update(Json::parse(changes));
  return read_openai_responses(body.dump());
}
ChatRequest responses_request(const char* changes) { return responses_read(changes).request; }
RequestError responses_refused(const char* changes) {
  return refusal([&] { return responses_read(changes); });
}

TEST(ResponsesRequest, Settings) {
  const ChatRequest plain = responses_request("{}");
  EXPECT_EQ(plain.messages, Json::parse(R"([{"role":"user","content":"hi"}])"));
  EXPECT_EQ(plain.max_tokens, -1);
  const ChatRequest r =
      responses_request(R"({"instructions":"be","max_output_tokens":9,"temperature":0.5,
      "top_p":0.25,"stream":true,"reasoning":{"effort":"high","summary":"auto"},"store":false,
      "include":["message.output_text.logprobs"],"top_logprobs":2,
      "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"null"}}}})");
  EXPECT_EQ(r.messages[0], Json::parse(R"({"role":"system","content":"be"})"));
  EXPECT_EQ(r.max_tokens, 9);
  EXPECT_EQ(r.sampling.temperature, 0.5F);
  EXPECT_EQ(r.sampling.top_p, 0.25F);
  EXPECT_TRUE(r.stream);
  EXPECT_EQ(r.template_variables["reasoning_effort"], "high");
  EXPECT_EQ(r.top_logprobs, 2);
  EXPECT_EQ(r.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(r.format.schema, Json({{"type", "null"}}));
}

TEST(ResponsesRequest, ItemsBecomeMessages) {
  EXPECT_EQ(responses_request(R"({"input":[
      {"role":"developer","content":"d"},
      {"type":"message","role":"user","content":[{"type":"input_text","text":"q"}]},
      {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]}]},
      {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"},
      {"type":"custom_tool_call","call_id":"c2","name":"p","input":"text"},
      {"type":"function_call_output","call_id":"c1","output":"r1"},
      {"type":"custom_tool_call_output","call_id":"c2","output":[{"type":"input_text","text":"r2"}]},
      {"type":"reasoning","id":"rs_2","summary":[{"type":"summary_text","text":"s"}]},
      {"type":"function_call","call_id":"c3","name":"f","arguments":""}]})")
                .messages,
            Json::parse(R"([
      {"role":"system","content":"d"},
      {"role":"user","content":"q"},
      {"role":"assistant","content":"a","reasoning_content":"hm","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
        {"id":"c2","type":"function","function":{"name":"p","arguments":"{\"input\":\"text\"}"}}]},
      {"role":"tool","content":"r1","tool_call_id":"c1","name":"f"},
      {"role":"tool","content":"r2","tool_call_id":"c2","name":"p"},
      {"role":"assistant","content":"","reasoning_content":"s","tool_calls":[
        {"id":"c3","type":"function","function":{"name":"f","arguments":"{}"}}]}])"));
}

TEST(ResponsesRequest, Tools) {
  const ChatRequest r =
      responses_request(R"({"tools":[{"type":"function","name":"f","description":"d",
      "parameters":{"type":"object"},"strict":true},{"type":"custom","name":"p","description":"e",
      "format":{"type":"grammar","syntax":"lark","definition":"start: X"}}],
      "tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":false})");
  EXPECT_EQ(r.tools[0], Json::parse(R"({"type":"function","function":{"name":"f",
      "description":"d","parameters":{"type":"object"},"strict":true}})"));
  EXPECT_EQ(r.tools[1]["function"]["parameters"]["required"], Json::parse(R"(["input"])"));
  EXPECT_EQ(r.tools[1]["function"]["description"], "e\nThe input follows this grammar:\nstart: X");
  EXPECT_EQ(r.tool_choice.mode, ToolMode::kRequired);
  EXPECT_EQ(r.tool_choice.functions, std::vector<std::string>{"f"});
  EXPECT_FALSE(r.tool_choice.parallel);
  EXPECT_EQ(responses_refused(R"({"tools":[{"type":"web_search"}]})").parameter, "tools[0].type");
  EXPECT_EQ(responses_refused(R"({"tools":[{"type":"function"}]})").parameter, "tools[0].name");
}

TEST(ResponsesRequest, WhatIsNotSupportedIsSaid) {
  EXPECT_EQ(responses_refused(R"({"input":null})").parameter, "input");
  EXPECT_EQ(responses_refused(R"({"input":[]})").parameter, "input");
  EXPECT_EQ(responses_refused(R"({"previous_response_id":"resp_1"})").parameter,
            "previous_response_id");
  EXPECT_EQ(responses_refused(R"({"conversation":"c"})").parameter, "conversation");
  EXPECT_EQ(responses_refused(R"({"background":true})").parameter, "background");
  EXPECT_EQ(responses_refused(R"({"prompt":{"id":"p"}})").parameter, "prompt");
  EXPECT_EQ(responses_refused(R"({"input":[{"type":"item_reference","id":"x"}]})").parameter,
            "input[0]");
  EXPECT_EQ(responses_refused(R"({"input":[{"type":"function_call","name":"f"}]})").parameter,
            "input[0].call_id");
  EXPECT_EQ(responses_refused(R"({"input":[{"role":"user","content":[{"type":"input_image"}]}]})")
                .parameter,
            "input[0].content[0]");
  EXPECT_EQ(responses_refused(R"({"text":{"format":{"type":"xml"}}})").parameter,
            "text.format.type");
}

// --- replies ---

std::vector<text::ReplyEvent> responses_rich_reply() {
  std::vector<text::ReplyEvent> events = {reasoning_event("h"), reasoning_event("m"),
                                          text_event("Hel"), text_event("lo")};
  for (const auto& event : whole_call(0, "f", R"({"a":1})", "")) events.push_back(event);
  return events;
}

std::vector<std::string> responses_names(const std::vector<SseEvent>& events) {
  std::vector<std::string> result;
  int sequence = 0;
  for (const SseEvent& event : events) {
    EXPECT_EQ(event.data["type"], event.name);
    EXPECT_EQ(event.data["sequence_number"], sequence++);
    result.push_back(event.name.substr(std::string_view("response.").size()));
  }
  return result;
}

TEST(ResponsesReply, StreamHasTheRightOrder) {
  const auto writer = responses_read(R"({"stream":true})").writer;
  const auto events =
      read_sse(write_reply(*writer, responses_rich_reply(), {EndReason::kToolCalls, ""}));
  const std::vector<std::string> expected = {"created",
                                             "in_progress",
                                             "output_item.added",
                                             "content_part.added",
                                             "reasoning_text.delta",
                                             "reasoning_text.delta",
                                             "reasoning_text.done",
                                             "content_part.done",
                                             "output_item.done",
                                             "output_item.added",
                                             "content_part.added",
                                             "output_text.delta",
                                             "output_text.delta",
                                             "output_text.done",
                                             "content_part.done",
                                             "output_item.done",
                                             "output_item.added",
                                             "function_call_arguments.delta",
                                             "function_call_arguments.delta",
                                             "function_call_arguments.done",
                                             "output_item.done",
                                             "completed"};
  ASSERT_EQ(responses_names(events), expected);
  // Every event of an item says which one it is.
  for (std::size_t i = 2; i < 21; ++i) {
    const int item = i < 9 ? 0 : (i < 16 ? 1 : 2);
    EXPECT_EQ(events[i].data["output_index"], item) << i;
  }
  EXPECT_EQ(events[9].data["item"], Json::parse(R"({"type":"message",
      "id":"msg_AbCdEfGhIjKlMnOpQrStUvWx1","status":"in_progress","role":"assistant",
      "content":[]})"));
  EXPECT_EQ(events[11].data["item_id"], "msg_AbCdEfGhIjKlMnOpQrStUvWx1");
  EXPECT_EQ(events[11].data["content_index"], 0);
  EXPECT_EQ(events[11].data["delta"], "Hel");
  EXPECT_EQ(events[13].data["text"], "Hello");
  EXPECT_EQ(events[16].data["item"], Json::parse(R"({"type":"function_call",
      "id":"fc_AbCdEfGhIjKlMnOpQrStUvWx2","call_id":"AbCdE0000","name":"f","arguments":"",
      "status":"in_progress"})"));
  EXPECT_EQ(events[19].data["arguments"], R"({"a":1})");
  EXPECT_EQ(events[20].data["item"]["status"], "completed");
  const Json& response = events[21].data["response"];
  EXPECT_EQ(response["status"], "completed");
  ASSERT_EQ(response["output"].size(), 3U);
  EXPECT_EQ(response["output"][1], events[15].data["item"]);
  EXPECT_EQ(response["output"][2], events[20].data["item"]);
  EXPECT_EQ(response["usage"]["total_tokens"], 21);
  EXPECT_EQ(events[0].data["response"]["status"], "in_progress");
  EXPECT_TRUE(events[0].data["response"]["usage"].is_null());
}

TEST(ResponsesReply, Collected) {
  const auto writer = responses_read(R"({"metadata":{"k":"v"},"temperature":0.5})").writer;
  EXPECT_EQ(writer->content_type(), "application/json");
  const Json response =
      Json::parse(write_reply(*writer, responses_rich_reply(), {EndReason::kToolCalls, ""}));
  EXPECT_EQ(response["id"], "resp_AbCdEfGhIjKlMnOpQrStUvWx");
  EXPECT_EQ(response["object"], "response");
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["metadata"], Json::parse(R"({"k":"v"})"));
  EXPECT_EQ(response["temperature"], 0.5);
  EXPECT_EQ(response["tool_choice"], "auto");
  EXPECT_EQ(response["text"], Json::parse(R"({"format":{"type":"text"}})"));
  EXPECT_EQ(response["output"], Json::parse(R"([
      {"type":"reasoning","id":"rs_AbCdEfGhIjKlMnOpQrStUvWx0","summary":[],
       "content":[{"type":"reasoning_text","text":"hm"}],"status":"completed"},
      {"type":"message","id":"msg_AbCdEfGhIjKlMnOpQrStUvWx1","status":"completed",
       "role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],
       "logprobs":[]}]},
      {"type":"function_call","id":"fc_AbCdEfGhIjKlMnOpQrStUvWx2","call_id":"AbCdE0000","name":"f",
       "arguments":"{\"a\":1}","status":"completed"}])"));
  EXPECT_EQ(response["usage"], Json::parse(R"({"input_tokens":9,"input_tokens_details":
      {"cached_tokens":4},"output_tokens":12,"output_tokens_details":{"reasoning_tokens":3},
      "total_tokens":21})"));
}

TEST(ResponsesReply, IncompleteAndFailed) {
  const auto writer = responses_read(R"({"stream":true})").writer;
  const auto events = read_sse(write_reply(*writer, {text_event("a")}, {EndReason::kLength, ""}));
  EXPECT_EQ(events.back().name, "response.incomplete");
  const Json& response = events.back().data["response"];
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(response["output"][0]["status"], "incomplete");

  const auto broken = responses_read(R"({"stream":true})").writer;
  static_cast<void>(broken->begin(header()));
  const auto failed = read_sse(broken->fail(500, "it broke"));
  EXPECT_EQ(failed[0].name, "response.failed");
  EXPECT_EQ(failed[0].data["sequence_number"], 2);
  EXPECT_EQ(failed[0].data["response"]["error"]["message"], "it broke");
}

TEST(ResponsesReply, AnAnswerThatSaysNothingHasAnEmptyMessage) {
  for (const bool reasons : {false, true}) {
    std::vector<text::ReplyEvent> reply;
    if (reasons) reply.push_back(reasoning_event("deep"));
    const auto events = read_sse(write_reply(*responses_read(R"({"stream":true})").writer, reply));
    std::vector<std::string> last = responses_names(events);
    last.erase(last.begin(), last.end() - 6);
    EXPECT_EQ(last, (std::vector<std::string>{"output_item.added", "content_part.added",
                                              "output_text.done", "content_part.done",
                                              "output_item.done", "completed"}));
    const Json collected = Json::parse(write_reply(*responses_read().writer, reply));
    EXPECT_EQ(collected["output"], events.back().data["response"]["output"]);
    const Json& message = collected["output"].back();
    EXPECT_EQ(message["type"], "message");
    EXPECT_EQ(message["content"][0]["text"], "");
  }
  const Json cut = Json::parse(
      write_reply(*responses_read().writer, {reasoning_event("deep")}, {EndReason::kLength, ""}));
  EXPECT_EQ(cut["output"].size(), 1U);
}

TEST(ResponsesReply, CustomTools) {
  const auto writer =
      responses_read(R"({"stream":true,"tools":[{"type":"custom","name":"p"}]})").writer;
  const auto events = read_sse(write_reply(*writer, whole_call(0, "p", R"({"input":"a\nb"})", "x"),
                                           {EndReason::kToolCalls, ""}));
  ASSERT_EQ(responses_names(events),
            (std::vector<std::string>{"created", "in_progress", "output_item.added",
                                      "custom_tool_call_input.delta", "custom_tool_call_input.done",
                                      "output_item.done", "completed"}));
  EXPECT_EQ(events[3].data["delta"], "a\nb");
  EXPECT_EQ(events[5].data["item"]["type"], "custom_tool_call");
  EXPECT_EQ(events[5].data["item"]["input"], "a\nb");
}

TEST(ResponsesReply, ReasoningComesBackSealed) {
  const auto writer = responses_read(R"({"include":["reasoning.encrypted_content"]})").writer;
  Json item =
      Json::parse(write_reply(*writer, {reasoning_event("deep"), text_event("a")}))["output"][0];
  ASSERT_TRUE(item["encrypted_content"].is_string());
  item.erase("content");
  const Json body = {{"input",
                      {{{"role", "user"}, {"content", "q"}},
                       item,
                       {{"role", "assistant"}, {"content", "a"}},
                       {{"role", "user"}, {"content", "r"}}}}};
  EXPECT_EQ(responses_request(body.dump().c_str()).messages[1]["reasoning_content"], "deep");
}

TEST(ResponsesReply, Logprobs) {
  const auto writer =
      responses_read(R"({"stream":true,"include":["message.output_text.logprobs"]})").writer;
  static_cast<void>(writer->begin(header()));
  std::string bytes = writer->event(0, text_event("a"), {{.token = "a", .logprob = -1, .top = {}}});
  bytes += writer->choice_end(0, {});
  const auto events = read_sse(bytes);
  EXPECT_EQ(events[2].data["logprobs"][0]["token"], "a");
  EXPECT_EQ(events[3].data["logprobs"].size(), 1U);
  EXPECT_EQ(events[5].data["item"]["content"][0]["logprobs"].size(), 1U);
}

TEST(ResponsesReply, DroppedCalls) {
  const std::vector<text::ReplyEvent> reply = {call_event(Kind::kToolCallStart, 0, "f", ""),
                                               call_event(Kind::kToolCallArguments, 0, "", "{"),
                                               call_event(Kind::kToolCallDropped, 0, "", ""),
                                               text_event("<call>{")};
  const Json response = Json::parse(write_reply(*responses_read().writer, reply));
  ASSERT_EQ(response["output"].size(), 1U);
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "<call>{");
  const auto events = read_sse(write_reply(*responses_read(R"({"stream":true})").writer, reply));
  EXPECT_EQ(events.back().data["response"]["output"][0]["status"], "incomplete");
}

TEST(ResponsesReply, CutCallsAreNotToldAgain) {
  const std::vector<text::ReplyEvent> reply = cut_call();
  const Json response = Json::parse(write_reply(*responses_read().writer, reply));
  ASSERT_EQ(response["output"].size(), 1U);
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "<call>{");
  const std::string stream = write_reply(*responses_read(R"({"stream":true})").writer, reply);
  EXPECT_EQ(stream.find("<call>"), std::string::npos);
  EXPECT_EQ(read_sse(stream).back().data["response"]["output"][0]["arguments"], "{");
}

}  // namespace
}  // namespace hearth::serve
