// Reading a model's reply as it is generated: text, reasoning and tool calls, as events.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_format.h"

namespace hearth::text {

/// One thing that became known about the reply. All texts are well-formed UTF-8.
struct ReplyEvent {
  enum class Kind : std::uint8_t {
    kText,               ///< `text`: more of the answer
    kReasoning,          ///< `text`: more of the reasoning
    kToolCallStart,      ///< `index`, `name`: a call to a declared tool begins; `id` where the
                         ///< format prescribes it or the model has written it before the name
    kToolCallArguments,  ///< `index`, `text`: more of the JSON text of its arguments
    kToolCallEnd,        ///< `index`, `id`, `name`, `text`: the whole arguments (the deltas in one;
                         ///< strict JSON, compact)
    kToolCallDropped,    ///< `index`: the call that had begun is malformed; its markup follows as
                         ///< kText. Or the reply was cut in it: then `text` is the markup
    kProblem,  ///< `text`: one sentence about markup that was not as it should be; nothing to show
               ///< a user
  };
  Kind kind = Kind::kText;
  int index = -1;
  std::string text;
  std::string name;
  std::string id;

  bool operator==(const ReplyEvent&) const = default;
};

/// How a piece of the reply was generated. It matters only for stop markers, which a model may also
/// spell out as text, and for control tokens that are no markup of the format, which are never
/// shown.
enum class PieceKind : std::uint8_t {
  kUnknown,  ///< not known: every marker counts
  kText,     ///< ordinary tokens: stop markers in it are text
  kControl,  ///< the text of one control token
};

struct ReplyOptions {
  /// The request's tools: an array in OpenAI's shape (or the bare function objects, or null). Calls
  /// to tools that are not in it are given as text; with null every name is accepted and values are
  /// typed by their looks. It must outlive the reader.
  const nlohmann::ordered_json* tools = nullptr;
  /// The end of the rendered prompt (all of it will do): whether it opened the reasoning, a message
  /// or a recipient.
  std::string_view prompt;
  /// How many calls the conversation already holds: generated ids continue from there, so that they
  /// stay unique.
  int earlier_calls = 0;
};

/// Reads one reply. push() and finish() return what became known; how the text is cut into pieces
/// changes only how the deltas are cut, never what they add up to. Malformed or unfinished markup
/// is given as text, so no word is lost; white space next to markup is dropped. A call is bounded
/// to 8 MiB of markup.
class ReplyReader {
 public:
  ReplyReader(ChatFormat format, const ReplyOptions& options);
  ~ReplyReader();
  ReplyReader(ReplyReader&&) noexcept;
  ReplyReader& operator=(ReplyReader&&) noexcept;

  /// `piece` may be any bytes; ill-formed UTF-8 becomes U+FFFD.
  [[nodiscard]] std::vector<ReplyEvent> push(std::string_view piece,
                                             PieceKind kind = PieceKind::kUnknown);
  /// The reply is over: what was held back. Later pushes are ignored. `cut`: the model had not
  /// ended it.
  [[nodiscard]] std::vector<ReplyEvent> finish(bool cut = false);

  /// A stop marker was read: the rest of what was pushed is ignored, and generation should end.
  [[nodiscard]] bool stopped() const noexcept;
  /// Number of complete calls so far; finish_reason is "tool_calls" when it is not 0.
  [[nodiscard]] int complete_calls() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::text
