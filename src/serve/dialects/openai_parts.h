// Pieces of OpenAI's request bodies that other dialects have too: messages, tools, formats,
// sampling. Internal to the dialects. All throw RequestError with the parameter's path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_request.h"

namespace hearth::serve {

/// Messages in the shape of ChatRequest::messages.
[[nodiscard]] Json read_openai_messages(const Json& messages);

/// The text of a content: a string, or parts whose texts are joined by newlines. Images, sound and
/// files are refused. `path` is the content's.
[[nodiscard]] std::string content_text(const Json& content, std::string_view path);

/// A message in the shape of ChatRequest::messages.
[[nodiscard]] Json make_message(std::string_view role, std::string text);
/// A call in the shape of ChatRequest::messages. Empty arguments become {}.
[[nodiscard]] Json make_call(std::string id, std::string name, std::string arguments);
/// A tool in the shape of ChatRequest::tools. `function` has a name; throws when it is no name
/// that a tool may have. `path` is the function's.
[[nodiscard]] Json make_tool(Json function, std::string_view path);

/// Fills in what tool messages leave out: the name of the call that they answer.
void name_tool_results(Json& messages);

/// `tools`: [{"type": "function", "function": {…}}]; null when there are none.
[[nodiscard]] Json read_openai_tools(const Json& tools);

/// `choice` as OpenAI has it, in its nested and its flat form ({"type": "function", "name"}).
[[nodiscard]] ToolChoice read_tool_choice(const Json& choice, const Json& tools);

/// Throws unless every one of `choice.functions` is a tool.
void check_tool_choice(const ToolChoice& choice, const Json& tools, std::string_view path);

/// "response_format" in all its forms. `path` is its path.
[[nodiscard]] OutputFormat read_response_format(const Json& format, std::string_view path);

/// "grammar" and "json_schema" of llama-server; "response_format" wins over neither: two of them
/// are refused.
[[nodiscard]] OutputFormat read_output_format(const Json& body);

/// What a bias may be given for: llama-server knows texts, too, whose tokens all get it.
enum class BiasKeys : std::uint8_t { kIds, kIdsAndTexts };

/// The members that sampling_fields() describes, and logit_bias.
[[nodiscard]] SamplingChanges read_sampling(const Json& body, BiasKeys bias = BiasKeys::kIds);

/// {"15043": -100} or [[15043, -1.5], [29871, false]]; with texts also {"no": false} and
/// [["no", -1]].
void read_logit_bias(const Json& bias, BiasKeys keys, SamplingChanges& changes);

/// Applies an effort ("none", "minimal", … "max") to thinking and to the template's variable.
void apply_effort(ChatRequest& request, std::string_view effort);

/// The seed of a request: -1 asks for a random one.
[[nodiscard]] std::optional<std::uint64_t> read_seed(const Json& body);

}  // namespace hearth::serve
