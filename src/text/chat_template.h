// Chat templates: the Jinja program a model carries that turns a conversation into its prompt.
// Facts: reference/chat-formats.md.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "gguf/file.h"
#include "text/date_time.h"
#include "text/jinja/error.h"
#include "text/prompt.h"

namespace hearth::text {

namespace jinja {
class Template;
}

/// What is to be rendered. The JSON values are not owned and must outlive the call; null pointers
/// mean "not given".
struct ChatRequest {
  /// Array of messages in the OpenAI shape ({"role": …, "content": …, "tool_calls": …}).
  const nlohmann::ordered_json* messages = nullptr;
  /// Array of tools in the OpenAI shape; the template sees none when not given.
  const nlohmann::ordered_json* tools = nullptr;
  const nlohmann::ordered_json* documents = nullptr;
  /// Object of further variables (enable_thinking, reasoning_effort …).
  const nlohmann::ordered_json* extra = nullptr;
  bool add_generation_prompt = true;
  /// Text of the special tokens by variable name (bos_token, eos_token …). Only these and the
  /// template's own text may become control tokens.
  std::map<std::string, std::string> special_tokens;
  /// The time that strftime_now sees; the computer's when not given.
  std::optional<DateTime> now;
};

/// What a template can do with messages, found out by rendering tiny conversations.
struct TemplateCapabilities {
  bool system_role = true;        // prints a leading system message
  bool later_system = true;       // prints system messages after the first position
  bool developer_role = false;    // knows the role "developer"
  bool string_content = true;     // prints content that is a string
  bool content_parts = false;     // prints content that is a list of parts
  bool consecutive_roles = true;  // accepts two user (or assistant) messages in a row
  bool tool_calls = false;        // prints tool calls of the assistant
  bool object_arguments = true;   // wants arguments as an object rather than as a string
  bool null_content = false;      // copes with content null beside tool calls
  bool any_call_id = true;        // accepts call ids other than nine letters and digits
  bool tools = false;             // prints the declared tools
};

/// A model's chat template. Immutable; may be rendered by several threads at once.
class ChatTemplate {
 public:
  /// Parses `source` and probes its capabilities; `name` is for messages. Throws
  /// jinja::TemplateError.
  ChatTemplate(std::string source, std::string name);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// The prompt for `request`, whose messages go to the template as they are (see
  /// normalize_messages). Throws jinja::TemplateError; jinja::TemplateRaised when the template
  /// refuses the conversation.
  [[nodiscard]] Prompt render(const ChatRequest& request) const;
  /// Renders with exactly the variables in the object `context`, all of them data except `trusted`.
  [[nodiscard]] Prompt render_context(const nlohmann::ordered_json& context,
                                      const std::map<std::string, std::string>& trusted,
                                      const DateTime& now) const;

  [[nodiscard]] const TemplateCapabilities& capabilities() const noexcept { return capabilities_; }
  [[nodiscard]] const std::string& source() const noexcept { return source_; }

 private:
  [[nodiscard]] std::optional<std::string> try_render(
      const nlohmann::ordered_json& messages, const nlohmann::ordered_json* tools = nullptr) const;
  void probe_roles();
  void probe_content();
  void probe_tools();

  std::string source_;
  std::unique_ptr<jinja::Template> template_;
  TemplateCapabilities capabilities_;
};

/// `messages` as a template with these capabilities wants them: arguments parsed or as text, null
/// content replaced, content parts joined to text (or text wrapped into parts), system messages
/// merged where they are refused, consecutive messages of one role merged, the developer role
/// renamed to system, call ids shortened. Unknown members are kept. Throws Error when `messages` is
/// not an array of objects with a role.
[[nodiscard]] nlohmann::ordered_json normalize_messages(const nlohmann::ordered_json& messages,
                                                        const TemplateCapabilities& capabilities);

/// The template of a model: the one named "tool_use" when `with_tools` and there is one, else the
/// default one.
[[nodiscard]] std::optional<std::string> find_chat_template(const gguf::Metadata& metadata,
                                                            bool with_tools);

/// The texts of the special tokens of a model by the names templates use: bos_token, eos_token,
/// unk_token, pad_token, sep_token, cls_token, mask_token. Those the vocabulary lacks are absent.
[[nodiscard]] std::map<std::string, std::string> special_token_texts(
    const gguf::Metadata& metadata);

}  // namespace hearth::text
