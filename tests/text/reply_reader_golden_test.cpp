// The rendered chat templates as an oracle: every assistant turn in them, read back, must give the
// message it was made of.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "shared_dir.h"
#include "text/reply_collect.h"

namespace hearth::text::testing {
namespace {

using nlohmann::ordered_json;

/// Where assistant turns stand in what a template renders.
struct GoldenFamily {
  const char* file;
  const char* format;  ///< expected name of the detected format
  const char* header;  ///< begins an assistant turn
  const char* end;     ///< ends it
  int least_calls;  ///< calls that must have been read back over all cases, so that the test cannot
                    ///< pass idly
  int least_reasoning = 0;
};

const GoldenFamily kFamilies[] = {
    {"Apertus-8B-Instruct", "apertus", "<|assistant_start|>",
     "<|tools_suffix|> | <|assistant_end|> | <|user_start|>", 8},
    {"Apriel-1.6-15b-Thinker-fixed", "apriel", "\n<|begin_assistant|>\n", "<|end|>", 15},
    {"unsloth-Apriel-1.5", "apriel", "<|assistant|>\n", "<|end|>", 15},
    {"Bielik-11B-v3.0-Instruct", "hermes", "<|im_start|>assistant\n", "<|im_end|>", 15, 1},
    {"ByteDance-Seed-OSS", "seed-oss", "<seed:bos>assistant\n", "<seed:eos>", 14, 1},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b", "<|CHATBOT_TOKEN|>",
     "<|END_OF_TURN_TOKEN|>", 15},
    {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r", "<|CHATBOT_TOKEN|>",
     "<|END_OF_TURN_TOKEN|> | <|START_OF_TURN_TOKEN|>", 1},
    {"GLM-4.6", "glm-4.5", "<|assistant|>", "<|observation|> | <|system|>", 15, 1},
    {"GLM-4.7-Flash", "glm-4.5", "<|assistant|>", "<|observation|> | <|system|>", 15, 1},
    {"GigaChat3-10B-A1.8B", "gigachat-3", "assistant<|role_sep|>\n",
     "<|message_sep|>\n\nfunction result", 10},
    {"GigaChat3.1-10B-A1.8B", "gigachat-3.1", "assistant<|role_sep|>\n", "<|message_sep|>", 10},
    {"Kimi-K2-Thinking", "kimi-k2", "<|im_assistant|>assistant<|im_middle|>", "<|im_end|>", 15, 1},
    {"LFM2.5-8B-A1B", "lfm-2", "<|im_start|>assistant\n", "<|im_end|>", 10},
    {"MiniMax-M2", "minimax-m2", "]~b]ai\n", "[e~[", 15, 1},
    {"MiniMax-M3", "minimax-m3", "]~b]ai\n", "[e~[", 15, 1},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", "[/INST] | [/TOOL_RESULTS]", "</s>", 10},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "[/INST] | [/TOOL_RESULTS]", "</s>",
     10},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral", "[/INST] | [/TOOL_RESULTS]", "</s>", 8},
    {"unsloth-mistral-Devstral-Small-2507", "mistral", "[/INST] | [/TOOL_RESULTS]", "</s>", 10},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "xml-function", "<|im_start|>assistant\n", "<|im_end|>",
     15, 1},
    {"NVIDIA-Nemotron-Nano-v2", "nemotron-nano", "<SPECIAL_11>Assistant\n", "\n<SPECIAL_12>", 12},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes", "<|im_start|>assistant\n",
     "<|im_end|>", 12},
    {"Qwen-QwQ-32B", "hermes", "<|im_start|>assistant\n", "<|im_end|>", 15},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes", "<|im_start|>assistant\n", "<|im_end|>", 15},
    {"Qwen-Qwen3-0.6B", "hermes", "<|im_start|>assistant\n", "<|im_end|>", 15, 1},
    {"Qwen3-Coder", "xml-function", "<|im_start|>assistant\n", "<|im_end|>", 15},
    {"Qwen3.5-4B", "xml-function", "<|im_start|>assistant\n", "<|im_end|>", 15, 1},
    {"Reka-Edge", "hermes", "assistant:", "<sep>", 15},
    {"StepFun3.5-Flash", "xml-function", "<|im_start|>assistant\n", "<|im_end|>", 15, 1},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek",
     "<｜Assistant｜> | <｜tool▁outputs▁end｜>", "<｜end▁of▁sentence｜>", 5},
    {"deepseek-ai-DeepSeek-V3.1", "deepseek", "<｜Assistant｜> | <｜tool▁output▁end｜>",
     "<｜end▁of▁sentence｜>", 8},
    {"deepseek-ai-DeepSeek-V3.2", "deepseek-dsml", "<｜Assistant｜> | </function_results>",
     "<｜end▁of▁sentence｜>", 8},
    {"deepseek-ai-DeepSeek-V4", "deepseek-dsml", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", 12},
    {"deepseek-ai-DeepSeek-V4-Flash-0731", "deepseek-dsml", "<｜Assistant｜>",
     "<｜end▁of▁sentence｜>", 12},
    {"fireworks-ai-llama-3-firefunction-v2", "firefunction", "assistant<|end_header_id|>\n\n",
     "<|eot_id|>", 1},
    {"google-gemma-4-31B-it-interleaved", "gemma-4", "<|turn>model\n", "<turn|>", 15, 1},
    {"meetkai-functionary-medium-v3.1", "functionary-v3.1", "assistant<|end_header_id|>\n\n", "<|e",
     10},
    {"meetkai-functionary-medium-v3.2", "functionary-v3.2", "assistant<|end_header_id|>\n\n>>>",
     "<|eot_id|>", 6},
    {"meta-llama-Llama-3.1-8B-Instruct", "llama-3", "assistant<|end_header_id|>\n\n", "<|eot_id|>",
     10},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama-3", "assistant<|end_header_id|>\n\n", "<|eot_id|>",
     10},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama-3", "assistant<|end_header_id|>\n\n", "<|eot_id|>",
     10},
    {"openai-gpt-oss-120b", "harmony", "<|start|>assistant",
     "<|start|>functions. | <|start|>user | <|start|>developer", 10},
    {"openbmb-MiniCPM5-1B", "minicpm-5", "<|im_start|>assistant\n", "<|im_end|>", 15, 1},
    {"poolside-Laguna-XS-2.1", "laguna", "<assistant>\n", "</assistant>", 15, 1},
    {"tencent-Hy3", "hunyuan-3", "<｜hy_Assistant:opensource｜>", "<｜hy_eos:opensource｜>", 15},
    {"upstage-Solar-Open-100B", "solar", "<|begin|>assistant",
     "<|begin|>tool | <|begin|>user | <|begin|>system", 10},
};

/// Position and length of the first of `texts` (alternatives apart by a bar surrounded by spaces).
std::pair<std::size_t, std::size_t> find_any(const std::string& prompt, std::string_view texts,
                                             std::size_t from) {
  std::pair<std::size_t, std::size_t> first{std::string::npos, 0};
  for (std::size_t at = 0; at <= texts.size();) {
    const std::size_t bar = std::min(texts.find(" | ", at), texts.size());
    const std::string_view text = texts.substr(at, bar - at);
    const std::size_t found = prompt.find(text, from);
    if (found < first.first) first = {found, text.size()};
    at = bar + 3;
  }
  return first;
}

/// The assistant turns of a rendered prompt, in order; the last may be the empty one that the model
/// is to write.
std::vector<std::string> assistant_turns(const std::string& prompt, const GoldenFamily& family,
                                         std::size_t from) {
  std::vector<std::string> turns;
  const bool several_messages =
      std::string_view(family.format) == "harmony";  // a turn may hold more than one header
  for (auto header = find_any(prompt, family.header, from); header.first != std::string::npos;) {
    const std::size_t start = header.first + header.second;
    std::size_t end = std::min(find_any(prompt, family.end, start).first, prompt.size());
    header = find_any(prompt, family.header, several_messages ? end : start);
    if (!several_messages) end = std::min(end, header.first);
    const std::string turn = prompt.substr(start, end - start);
    const bool no_turn = turn.starts_with("[TOOL_RESULTS]") ||
                         turn.starts_with("<｜tool▁output▁begin｜>") ||
                         (turn.empty() && std::string_view(family.format) == "deepseek");
    if (!no_turn) turns.push_back(turn);
  }
  return turns;
}

ordered_json without_nulls(const ordered_json& value) {
  if (!value.is_object()) return value;
  ordered_json kept = ordered_json::object();
  for (const auto& [key, member] : value.items()) {
    if (!member.is_null()) kept[key] = without_nulls(member);
  }
  return kept;
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text.substr(std::min(text.find_first_not_of(" \n\r\t"), text.size()));
}

class ReplyReaderGolden : public ::testing::TestWithParam<GoldenFamily> {};

struct Counts {
  int turns = 0, calls = 0, reasoning = 0;
};

void check_message(const GoldenFamily& family, const ChatFormat& format,
                   const ordered_json& message, const ordered_json& tools, const std::string& turn,
                   Counts& counts) {
  SCOPED_TRACE("turn: " + turn);
  ReplyOptions options;
  if (tools.is_array() && !tools.empty() && !tools[0].contains("parameter_definitions"))
    options.tools = &tools;
  if (format.name == "apriel" && turn.find("[BEGIN FINAL") != std::string::npos) {
    options.prompt =
        "Here are my reasoning steps:\n";  // it stands in the generation prompt, not in the history
  }
  // Given arguments as a string, Gemma 4's template puts braces around their braces.
  if (format.name == "gemma-4" && turn.find("{{") != std::string::npos) return;
  const Reply reply = read_reply(format, options, turn);
  ++counts.turns;
  const ordered_json calls = message.value("tool_calls", ordered_json::array());
  const bool one_call_only =
      format.name == "harmony" || format.name == "gigachat-3" || format.name == "gigachat-3.1";
  const std::size_t expected_calls =
      one_call_only ? std::min<std::size_t>(1, calls.size()) : calls.size();
  ASSERT_EQ(reply.calls.size(), expected_calls) << reply;
  for (std::size_t i = 0; i < expected_calls; ++i) {
    const ordered_json& function = calls[i]["function"];
    ordered_json wanted = function["arguments"];
    if (wanted.is_string()) wanted = ordered_json::parse(wanted.get<std::string>());
    EXPECT_EQ(reply.calls[i].name, function["name"].get<std::string>());
    // Key order is the template's business (Gemma sorts); MiniMax M3 omits null members.
    const nlohmann::json got = nlohmann::json::parse(reply.calls[i].arguments);
    if (format.name == "minimax-m3") wanted = without_nulls(wanted);
    EXPECT_EQ(got, nlohmann::json(wanted)) << reply.calls[i].arguments;
    ++counts.calls;
  }
  const ordered_json& content = message.contains("content") ? message["content"] : ordered_json();
  const bool shows_content = expected_calls == 0 || turn.find("Let me check.") != std::string::npos;
  const bool reasoning_unclosed =
      turn.starts_with("<think>") && turn.find("</think>") == std::string::npos;
  if (content.is_string() && shows_content && !reasoning_unclosed &&
      content.get<std::string>().find("think>") == std::string::npos) {
    // gpt-oss: the template puts text beside a call on the analysis channel.
    const bool as_reasoning = format.name == "harmony" && expected_calls > 0;
    EXPECT_EQ(trimmed(as_reasoning ? reply.reasoning : reply.text),
              trimmed(content.get<std::string>()))
        << family.file;
  }
  if (expected_calls > 0 && !shows_content && content.is_string()) {
    EXPECT_EQ(trimmed(reply.text), "");
  }
  if (!message.contains("reasoning_content")) return;
  const std::string reasoning = message["reasoning_content"].get<std::string>();
  if (turn.find(reasoning) == std::string::npos || reasoning == content)
    return;  // templates drop old reasoning
  EXPECT_EQ(trimmed(reply.reasoning), reasoning);
  ++counts.reasoning;
}

TEST_P(ReplyReaderGolden, GivesBackWhatTheTemplateRendered) {
  const GoldenFamily& family = GetParam();
  const auto path =
      ::hearth::testing::goldens_dir() / "chat" / (std::string(family.file) + ".json");
  HEARTH_REQUIRE_FILE(path);
  std::ifstream file(path);
  const ordered_json golden = ordered_json::parse(file);
  const ChatFormat format = detect_chat_format(golden["template"].get<std::string>());
  ASSERT_EQ(format.name, family.format);

  Counts counts;
  for (const ordered_json& test : golden["cases"]) {
    const char* key = test.contains("expected_mutable") ? "expected_mutable" : "expected";
    if (!test.contains(key) || !test[key].is_string()) continue;
    const ordered_json& context = test["context"];
    SCOPED_TRACE(test["name"].get<std::string>());
    std::vector<ordered_json> messages;
    std::string first_user;
    for (const ordered_json& message : context["messages"]) {
      if (message["role"] == "assistant") messages.push_back(message);
      if (message["role"] == "user" && first_user.empty() && message["content"].is_string())
        first_user = message["content"];
    }
    if (messages.empty() || first_user.empty() || context["messages"][0]["role"] == "assistant")
      continue;
    const std::string prompt = test[key].get<std::string>();
    const std::size_t from = std::min(prompt.find(first_user), prompt.size());
    const std::vector<std::string> turns = assistant_turns(prompt, family, from);
    // Templates merge turns or leave them out; the least counts see to it that enough is checked.
    const std::size_t to_write = context.value("add_generation_prompt", false) ? 1 : 0;
    const bool unwritten_turn_is_empty =
        format.name == "deepseek" && messages.size() < 3 && turns.size() == messages.size();
    if (turns.size() != messages.size() + to_write && !unwritten_turn_is_empty) continue;
    const ordered_json tools = context.value("tools", ordered_json());
    for (std::size_t i = 0; i < messages.size(); ++i)
      check_message(family, format, messages[i], tools, turns[i], counts);
  }
  RecordProperty("calls", counts.calls);
  EXPECT_GE(counts.calls, family.least_calls);
  EXPECT_GE(counts.reasoning, family.least_reasoning);
  std::printf("%s: %d turns, %d calls, %d with reasoning\n", family.file, counts.turns,
              counts.calls, counts.reasoning);
}

INSTANTIATE_TEST_SUITE_P(Templates, ReplyReaderGolden, ::testing::ValuesIn(kFamilies),
                         [](const auto& entry) {
                           std::string name = entry.param.file;
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace hearth::text::testing
