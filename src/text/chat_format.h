// How a model family writes its replies: plain data, found from the chat template. ReplyReader
// reads by it. Facts: reference/chat-formats.md, parts 2 and 3.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

/// The kinds of markup that hold tool calls; one reader each, in text/formats/.
enum class CallKind : std::uint8_t {
  kJson,      ///< JSON objects {"name", "arguments"}, one, several or in a list, between markers
  kMarked,    ///< a marker, the name, a marker, the arguments as JSON
  kElements,  ///< tags: <function=NAME><parameter=KEY>value</parameter></function> and its
              ///< relatives
  kNestedElements,  ///< tags named after the parameters, nested for objects and lists (MiniMax M3)
  kPython,          ///< Python calls: [f(a=1, b="x"), g()]
  kGeneric,  ///< {"tool_calls": […]} or {"response": "text"}, for templates that know no tools
  kCode,     ///< everything up to the end is code for one tool
};

/// One way to write calls. Which fields count depends on `kind`; empty fields are not part of the
/// syntax.
struct CallSyntax {
  CallKind kind = CallKind::kJson;
  /// Text that begins a block of calls; empty: a block begins only where the answer begins, without
  /// any marker.
  std::string open;
  /// Text that ends a block; it may be missing in a reply.
  std::string close;

  /// kJson: objects are {NAME: {arguments}}.
  bool name_is_key = false;

  /// kMarked: open [prefix] [id id_end] name name_end [id_open id arguments_open] arguments close.
  std::string prefix;
  std::string id_end;
  std::vector<std::string> name_ends;  ///< alternatives; the name also ends at "{"
  std::string id_open;
  std::string arguments_open;
  bool name_in_id = false;  ///< the name field is an id "functions.NAME:INDEX"
  std::string quote_token;  ///< opens and closes strings in the arguments

  /// kElements: open (call_open name name_end (key_open key key_end value_open value value_close)*
  /// call_close)* close.
  std::string call_open, name_end, call_close, key_open, key_end, value_open, value_close;
  bool newline_around_values =
      false;  ///< one newline after value_open and before value_close is markup
  bool string_attribute =
      false;  ///< key_open…key_end holds ` string="true"` or `"false"`: it decides the type
  bool cdata = false;           ///< values may stand in <![CDATA[ … ]]>
  bool bare_call_open = false;  ///< call_open alone begins a block too: models forget `open`

  /// kPython: calls stand on lines of their own, without a list around them.
  bool on_lines = false;

  /// kNestedElements: what stands before every tag.
  std::string tag_marker;

  /// kCode: the tool that takes the code as its argument "code".
  std::string code_tool;
};

struct ReasoningMarkers {
  std::string open;
  std::string close;
  /// The family writes them. False: generic ones that the template never speaks of; they are read
  /// should they come, but a reply that is constrained leaves no room for them.
  bool expected = true;
};

/// Markup without meaning for the reader of an answer: dropped, up to and with `close` if that is
/// not empty.
struct IgnoredMarkup {
  std::string open;
  std::string close;
};

/// A template variable that switches thinking, and its values as JSON text.
struct ThinkingArgument {
  std::string name;
  std::string on;
  std::string off;
  bool budget = false;  ///< takes a number of tokens
};

/// How the whole reply is laid out.
enum class ReplyFrame : std::uint8_t {
  kPlain,       ///< text with markers in it
  kHarmony,     ///< gpt-oss: messages with channels and recipients
  kRecipients,  ///< Functionary v3.2: recipient, newline, content, chained by ">>>"
};

/// Ids of calls that come without one.
enum class IdStyle : std::uint8_t {
  kNumbered,           ///< call_1, call_2 …
  kNineAlphanumerics,  ///< call00001 … (Mistral's templates insist on nine)
  kCounter,            ///< 0, 1 … (Cohere)
  kKimi,               ///< functions.NAME:INDEX
};

struct ChatFormat {
  std::string name = "plain";  ///< for messages and logs
  ReplyFrame frame = ReplyFrame::kPlain;
  std::vector<CallSyntax> calls;
  std::vector<ReasoningMarkers> reasoning;
  std::vector<IgnoredMarkup> ignored;
  /// Text of the frame that may stand between the reasoning and what follows it.
  std::string after_reasoning;
  std::vector<std::string> stops;
  std::vector<ThinkingArgument> thinking;
  IdStyle ids = IdStyle::kNumbered;
  /// Calls that mean "answer directly" and are not reported (Cohere Command-R).
  std::string no_call_tool;
  bool trim_start = false;  ///< white space at the start of the answer belongs to the frame
  bool calls_end_reasoning = false;  ///< a call may follow the reasoning without its closing marker
  bool template_knows_tools = false;
};

/// The format that a chat template stands for. Never fails: an unknown template is plain text with
/// <think> blocks.
[[nodiscard]] ChatFormat detect_chat_format(std::string_view template_source);

/// Whether the template has the model think, always or when it is told to.
[[nodiscard]] bool can_think(const ChatFormat& format) noexcept;

/// `base` for a request with tools whose template knows none (template_knows_tools is false): the
/// prompt lists the tools, and the answer is constrained to {"tool_calls": [{"name", "arguments"},
/// …]} or {"response": "text"}. Anything else is still text.
[[nodiscard]] ChatFormat generic_tool_format(ChatFormat base);

enum class ReasoningState : std::uint8_t {
  kNotOpened,  ///< the model opens it itself, or not at all
  kOpened,     ///< the prompt ends inside the reasoning
  kClosed,     ///< the prompt ends after an empty block: thinking is off
};

/// Where a rendered prompt leaves the reasoning; `markers`, if not null, receives the index in
/// format.reasoning.
[[nodiscard]] ReasoningState reasoning_state(const ChatFormat& format, std::string_view prompt,
                                             std::size_t* markers = nullptr);

/// Template variables that turn thinking on or off; `budget` in tokens where the template takes
/// one. Empty when the template has no switch.
[[nodiscard]] nlohmann::ordered_json thinking_arguments(const ChatFormat& format, bool on,
                                                        std::optional<int> budget = std::nullopt);

}  // namespace hearth::text
