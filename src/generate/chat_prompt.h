// How a model is talked to: its chat template, and the format in which it replies.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "gguf/file.h"
#include "text/chat_format.h"
#include "text/chat_template.h"
#include "text/prompt.h"

namespace hearth::generate {

/// Immutable; may be used by several threads at once.
class ChatPrompt {
 public:
  /// Nothing when the model has no chat template. `with_tools`: of several templates the one for
  /// tools. Throws jinja::TemplateError when the template is broken.
  [[nodiscard]] static std::optional<ChatPrompt> of(const gguf::Metadata& metadata,
                                                    bool with_tools = false);

  /// With another template than the model's own.
  [[nodiscard]] static ChatPrompt with_template(std::string source, const gguf::Metadata& metadata);

  /// The prompt that asks for the next answer. `messages`: in OpenAI's shape, brought to what the
  /// template can take; `tools`: in OpenAI's shape, or null; `variables`: an object of further
  /// template variables. Throws jinja::TemplateError, and Error for messages that are none.
  [[nodiscard]] text::Prompt render(const nlohmann::ordered_json& messages,
                                    const nlohmann::ordered_json* tools,
                                    const nlohmann::ordered_json& variables,
                                    bool add_generation_prompt = true) const;

  [[nodiscard]] const text::ChatFormat& format() const noexcept { return format_; }
  [[nodiscard]] const text::ChatTemplate& chat_template() const noexcept { return template_; }

 private:
  ChatPrompt(std::string source, std::map<std::string, std::string> special_tokens);

  text::ChatFormat format_;
  text::ChatTemplate template_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace hearth::generate
