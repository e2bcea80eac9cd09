#include "text/chat_format.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "shared_dir.h"

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

TEST(ChatFormat, ThinkingSwitchesOfRealTemplates) {
  struct Row {
    const char* file;
    const char* on;
    const char* off;
  };
  const Row rows[] = {
      {"Qwen-Qwen3-0.6B", R"({"enable_thinking":true})", R"({"enable_thinking":false})"},
      {"GLM-4.6", R"({"enable_thinking":true})", R"({"enable_thinking":false})"},
      {"deepseek-ai-DeepSeek-V3.1", R"({"enable_thinking":true,"thinking":true})",
       R"({"enable_thinking":false,"thinking":false})"},
      {"ibm-granite-granite-3.3-2B-Instruct", R"({"thinking":true})", R"({"thinking":false})"},
      {"ByteDance-Seed-OSS", R"({"thinking_budget":-1})", R"({"thinking_budget":0})"},
      {"openai-gpt-oss-120b", R"({"reasoning_effort":"medium"})", R"({"reasoning_effort":"low"})"},
      {"tencent-Hy3", R"({"reasoning_effort":"high"})", R"({"reasoning_effort":"no_think"})"},
      {"upstage-Solar-Open-100B", R"({"reasoning_effort":"high"})",
       R"({"reasoning_effort":"minimal"})"},
      {"MiniMax-M3", R"({"thinking_mode":"enabled"})", R"({"thinking_mode":"disabled"})"},
      {"NVIDIA-Nemotron-Nano-v2", "{}", "{}"},
      {"Qwen3-Coder", "{}", "{}"},
      {"meta-llama-Llama-3.1-8B-Instruct", "{}", "{}"},
  };
  for (const Row& row : rows) {
    const auto path = ::hearth::testing::goldens_dir() / "chat" / (std::string(row.file) + ".json");
    HEARTH_REQUIRE_FILE(path);
    std::ifstream file(path);
    const ChatFormat format =
        detect_chat_format(ordered_json::parse(file)["template"].get<std::string>());
    EXPECT_EQ(thinking_arguments(format, true).dump(), row.on) << row.file;
    EXPECT_EQ(thinking_arguments(format, false).dump(), row.off) << row.file;
  }
}

/// Every generation prompt of the golden cases: what the reference says about switching must be
/// seen at its end.
TEST(ChatFormat, ReasoningStateOfRenderedPrompts) {
  struct Row {
    const char* file;
    const char* test;
    ReasoningState state;
  };
  const Row rows[] = {
      {"Qwen-Qwen3-0.6B", "user_single", ReasoningState::kNotOpened},
      {"Qwen-Qwen3-0.6B", "enable_thinking_false", ReasoningState::kClosed},
      {"Qwen3.5-4B", "user_single", ReasoningState::kOpened},
      {"Qwen3.5-4B", "enable_thinking_false", ReasoningState::kClosed},
      {"GLM-4.7-Flash", "enable_thinking_true", ReasoningState::kOpened},
      {"GLM-4.7-Flash", "enable_thinking_false", ReasoningState::kClosed},
      {"MiniMax-M2", "user_single", ReasoningState::kOpened},
      {"deepseek-ai-DeepSeek-V3.1", "thinking_true", ReasoningState::kOpened},
      {"deepseek-ai-DeepSeek-V3.1", "user_single", ReasoningState::kClosed},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "user_single", ReasoningState::kClosed},
      {"google-gemma-4-31B-it-interleaved", "enable_thinking_false", ReasoningState::kClosed},
      {"tencent-Hy3", "reasoning_effort_high", ReasoningState::kOpened},
      {"Apriel-1.6-15b-Thinker-fixed", "user_single", ReasoningState::kOpened},
      {"poolside-Laguna-XS-2.1", "enable_thinking_true", ReasoningState::kOpened},
      {"meta-llama-Llama-3.1-8B-Instruct", "user_single", ReasoningState::kNotOpened},
  };
  for (const Row& row : rows) {
    const auto path = ::hearth::testing::goldens_dir() / "chat" / (std::string(row.file) + ".json");
    HEARTH_REQUIRE_FILE(path);
    std::ifstream file(path);
    const ordered_json golden = ordered_json::parse(file);
    const ChatFormat format = detect_chat_format(golden["template"].get<std::string>());
    int found = 0;
    for (const ordered_json& test : golden["cases"]) {
      if (test["name"] != row.test) continue;
      ++found;
      EXPECT_EQ(reasoning_state(format, test["expected"].get<std::string>()), row.state)
          << row.file << " " << row.test;
    }
    EXPECT_EQ(found, 1) << row.file << " " << row.test;
  }
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
