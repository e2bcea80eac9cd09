#include "generate/chat_prompt.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace hearth::generate {

std::optional<ChatPrompt> ChatPrompt::of(const gguf::Metadata& metadata, bool with_tools) {
  std::optional<std::string> source = text::find_chat_template(metadata, with_tools);
  if (!source.has_value()) return std::nullopt;
  return with_template(std::move(*source), metadata);
}

ChatPrompt ChatPrompt::with_template(std::string source, const gguf::Metadata& metadata) {
  return {std::move(source), text::special_token_texts(metadata)};
}

ChatPrompt::ChatPrompt(std::string source, std::map<std::string, std::string> special_tokens)
    : format_(text::detect_chat_format(source)),
      template_(std::move(source), "the model's chat template"),
      special_tokens_(std::move(special_tokens)) {}

text::Prompt ChatPrompt::render(const nlohmann::ordered_json& messages,
                                const nlohmann::ordered_json* tools,
                                const nlohmann::ordered_json& variables,
                                bool add_generation_prompt) const {
  const nlohmann::ordered_json normalized =
      text::normalize_messages(messages, template_.capabilities());
  text::ChatRequest request;
  request.messages = &normalized;
  request.tools = tools;
  request.extra = &variables;
  request.special_tokens = special_tokens_;
  request.add_generation_prompt = add_generation_prompt;
  return template_.render(request);
}

}  // namespace hearth::generate
