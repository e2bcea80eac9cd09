#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/error.h"

namespace hearth::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments|tojson "
    "}}</call>{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

/// Refuses system messages and wants user and assistant in turn.
constexpr const char* kStrict =
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% "
    "endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}";

/// Concatenates arguments as text, and reads content parts.
constexpr const char* kTextual =
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% elif m.content is not "
    "none %}"
    "{% for p in m.content %}{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{% endif %}"
    "{% for c in m.tool_calls or [] %}{% if c.id|length != 9 %}{{ raise_exception('nine') }}{% "
    "endif %}"
    "{{ c.function.name ~ ':' ~ c.function.arguments }}{% endfor %}{% endfor %}";

std::string render(const ChatTemplate& chat, const Json& messages) {
  ChatRequest request;
  const Json normalized = normalize_messages(messages, chat.capabilities());
  request.messages = &normalized;
  request.add_generation_prompt = false;
  return chat.render(request).str();
}

TEST(ChatTemplate, RendersARequest) {
  const ChatTemplate chat(
      "{{ bos_token }}{{ messages[0].content }}|{{ tools is none }}|{{ enable_thinking }}|{{ "
      "strftime_now('%Y') }}"
      "{% if add_generation_prompt %}>{% endif %}",
      "test");
  const Json messages = Json::array({Json{{"role", "user"}, {"content", "<s>"}}});
  const Json extra = {{"enable_thinking", false}, {"bos_token", "forged"}};
  ChatRequest request;
  request.messages = &messages;
  request.extra = &extra;
  request.special_tokens = {{"bos_token", "<s>"}};
  request.now = DateTime{2031, 1, 2};
  const Prompt prompt = chat.render(request);
  EXPECT_EQ(prompt.str(), "<s><s>|True|False|2031>");
  ASSERT_GE(prompt.spans.size(), 2U);
  EXPECT_EQ(prompt.spans[0].text, "<s>");
  EXPECT_EQ(prompt.spans[0].origin, Origin::kTemplate);
  EXPECT_EQ(prompt.spans[1].text, "<s>");
  EXPECT_EQ(prompt.spans[1].origin, Origin::kData);
}

TEST(ChatTemplate, FindsOutCapabilities) {
  const TemplateCapabilities chatml = ChatTemplate(kChatMl, "chatml").capabilities();
  EXPECT_TRUE(chatml.system_role);
  EXPECT_TRUE(chatml.later_system);
  EXPECT_FALSE(chatml.developer_role);
  EXPECT_FALSE(chatml.content_parts);
  EXPECT_TRUE(chatml.consecutive_roles);
  EXPECT_TRUE(chatml.tool_calls);
  EXPECT_TRUE(chatml.object_arguments);
  EXPECT_FALSE(chatml.null_content);
  EXPECT_TRUE(chatml.any_call_id);
  EXPECT_FALSE(chatml.tools);
  const TemplateCapabilities strict = ChatTemplate(kStrict, "strict").capabilities();
  EXPECT_FALSE(strict.system_role);
  EXPECT_FALSE(strict.consecutive_roles);
  EXPECT_FALSE(strict.tool_calls);
  const TemplateCapabilities textual = ChatTemplate(kTextual, "textual").capabilities();
  EXPECT_TRUE(textual.content_parts);
  EXPECT_FALSE(textual.object_arguments);
  EXPECT_TRUE(textual.null_content);
  EXPECT_FALSE(textual.any_call_id);
}

TEST(ChatTemplate, ArgumentsTakeTheFormTheTemplateWants) {
  const auto messages = [](Json arguments) {
    const Json call = {{"id", "call_1"},
                       {"type", "function"},
                       {"function", {{"name", "f"}, {"arguments", std::move(arguments)}}}};
    return Json::array(
        {Json{{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array({call})}}});
  };
  const ChatTemplate chatml(kChatMl, "chatml");
  const std::string frame = "<|im_start|>assistant\n<call>f ";
  EXPECT_EQ(render(chatml, messages("{\"b\": 1, \"a\": [2]}")),
            frame + "{\"b\": 1, \"a\": [2]}</call><|im_end|>\n");
  EXPECT_EQ(render(chatml, messages("{not json")), frame + "\"{not json\"</call><|im_end|>\n");
  const ChatTemplate textual(kTextual, "textual");
  EXPECT_EQ(render(textual, messages({{"a", 1}})), "f:{\"a\":1}");
  EXPECT_EQ(render(textual, messages("{\"a\": 1}")), "f:{\"a\": 1}");
}

TEST(ChatTemplate, ContentTakesTheFormTheTemplateWants) {
  const Json text = {{"type", "text"}, {"text", "A"}};
  const Json image = {{"type", "image_url"}, {"image_url", {{"url", "x"}}}};
  const Json mixed =
      Json::array({Json{{"role", "user"}, {"content", Json::array({text, image, text})}}});
  EXPECT_EQ(render(ChatTemplate(kChatMl, "chatml"), mixed), "<|im_start|>user\nAA<|im_end|>\n");
  EXPECT_EQ(render(ChatTemplate(kTextual, "textual"), mixed), "A<image>A");
}

TEST(ChatTemplate, RolesAreMergedForStrictTemplates) {
  const Json messages =
      Json::parse(R"([{"role": "developer", "content": "S"}, {"role": "user", "content": "A"},
    {"role": "user", "content": "B"}, {"role": "assistant", "content": "C"}])");
  EXPECT_EQ(render(ChatTemplate(kStrict, "strict"), messages), "<user>S\n\nA\n\nB<assistant>C");
  EXPECT_EQ(render(ChatTemplate(kChatMl, "chatml"), messages),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>user\nB<|"
            "im_end|>\n"
            "<|im_start|>assistant\nC<|im_end|>\n");
}

TEST(ChatTemplate, CallIdsAreShortenedConsistently) {
  TemplateCapabilities capabilities;
  capabilities.any_call_id = false;
  const Json messages = Json::parse(
      R"([{"role": "assistant", "content": "", "tool_calls": [{"id": "call_abcdefgh", "function": {"name": "f", "arguments": {}}}]},
    {"role": "tool", "tool_call_id": "call_abcdefgh", "content": "r"}, {"role": "tool", "tool_call_id": "abcDEF123", "content": "r"}])");
  const Json result = normalize_messages(messages, capabilities);
  const std::string id = result[0]["tool_calls"][0]["id"].get<std::string>();
  EXPECT_EQ(id.size(), 9U);
  EXPECT_EQ(result[1]["tool_call_id"], id);
  EXPECT_EQ(result[2]["tool_call_id"], "abcDEF123");
}

TEST(ChatTemplate, DeepAndLargeArgumentsStayText) {
  TemplateCapabilities capabilities;
  capabilities.object_arguments = true;
  const auto normalized = [&](const std::string& arguments) {
    Json call = {{"function", {{"name", "f"}, {"arguments", arguments}}}};
    Json entry = {{"role", "assistant"}, {"content", ""}};
    entry["tool_calls"] = Json::array({std::move(call)});
    const Json result = normalize_messages(Json::array({std::move(entry)}), capabilities);
    return result[0]["tool_calls"][0]["function"]["arguments"];
  };
  EXPECT_TRUE(normalized(R"({"a": [[1]]})").is_object());
  constexpr std::size_t kDepth = 1'000'000;
  const std::string deep = R"({"a": )" + std::string(kDepth, '[') + std::string(kDepth, ']') + "}";
  EXPECT_EQ(normalized(deep), deep);
  // Members are searched one by one: tens of thousands would take minutes.
  const auto object_of = [](int members) {
    std::string object = "{\"k\":1";
    for (int i = 1; i < members; ++i) object += ",\"k" + std::to_string(i) + "\":1";
    return object + "}";
  };
  EXPECT_TRUE(normalized(object_of(1024)).is_object());
  for (const std::string& large : {object_of(1025), "{\"a\":[" + object_of(1025) + "]}"})
    EXPECT_EQ(normalized(large), large);
}

TEST(ChatTemplate, BadMessagesAreRefused) {
  EXPECT_THROW((void)normalize_messages(Json::object(), {}), Error);
  EXPECT_THROW((void)normalize_messages(Json::array({1}), {}), Error);
  EXPECT_THROW((void)normalize_messages(Json::array({Json{{"content", "x"}}}), {}), Error);
}

}  // namespace
}  // namespace hearth::text
