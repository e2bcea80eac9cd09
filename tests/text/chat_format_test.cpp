#include "text/chat_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hearth::text {
namespace {

using nlohmann::ordered_json;

TEST(ChatFormat, ThinkingSwitchesAreFoundInTheTemplate) {
  const auto arguments = [](std::string_view source, bool on,
                            std::optional<int> budget = std::nullopt) {
    return thinking_arguments(detect_chat_format(source), on, budget).dump();
  };
  EXPECT_EQ(
      arguments("{% if enable_thinking is defined and not enable_thinking %}x{% endif %}", false),
      R"({"enable_thinking":false})");
  EXPECT_EQ(
      arguments("{% if not thinking is defined %}{% set thinking = false %}{% endif %}", true),
      R"({"thinking":true})");
  EXPECT_EQ(arguments("{{ '0' if thinking_budget == 0 }}", true), R"({"thinking_budget":-1})");
  EXPECT_EQ(arguments("{{ '0' if thinking_budget == 0 }}", true, 512),
            R"({"thinking_budget":512})");
  EXPECT_EQ(arguments("{{ '0' if thinking_budget == 0 }}", false, 512), R"({"thinking_budget":0})");
  EXPECT_EQ(arguments("{% if reasoning_effort not in ['high', 'no_think'] %}{% endif %}", false),
            R"({"reasoning_effort":"no_think"})");
  EXPECT_EQ(arguments("{%- if thinking_mode == 'enabled' %}{% endif %}", false),
            R"({"thinking_mode":"disabled"})");
}

TEST(ChatFormat, WordsThatAreNoVariablesAreNoSwitches) {
  const auto none = [](std::string_view source) {
    return thinking_arguments(detect_chat_format(source), true).empty();
  };
  EXPECT_TRUE(
      none("enable_thinking {# enable_thinking #} {{ 'enable_thinking' }} {{ message.thinking }}"));
  EXPECT_TRUE(none("{% set ns = namespace(enable_thinking=true) %}"));
  EXPECT_TRUE(none("{{ \"a \\\" enable_thinking\" }} {"));
  EXPECT_TRUE(none(""));
}

TEST(ChatFormat, ReasoningStateFollowsTheEndOfThePrompt) {
  const ChatFormat format = detect_chat_format("<tool_call>");
  EXPECT_EQ(reasoning_state(format, "x<think>\n"), ReasoningState::kOpened);
  EXPECT_EQ(reasoning_state(format, "x<think>\n\n</think>\n\n"), ReasoningState::kClosed);
  EXPECT_EQ(reasoning_state(format, "<think> assistant\n"), ReasoningState::kNotOpened);
  EXPECT_EQ(reasoning_state(format, ""), ReasoningState::kNotOpened);
  std::size_t markers = 9;
  EXPECT_EQ(reasoning_state(detect_chat_format("[INST]"), "[/INST]<think>", &markers),
            ReasoningState::kOpened);
  EXPECT_EQ(markers, 1U);
}

TEST(ChatFormat, StopsComeFromTheTemplate) {
  EXPECT_EQ(detect_chat_format("x <|im_end|> y").stops, std::vector<std::string>{"<|im_end|>"});
  EXPECT_TRUE(detect_chat_format("{{ messages }}").stops.empty());
  EXPECT_TRUE(detect_chat_format("{% if tools %}{% endif %}").template_knows_tools);
  EXPECT_FALSE(detect_chat_format("tools {{ messages }}").template_knows_tools);
}

}  // namespace
}  // namespace hearth::text
