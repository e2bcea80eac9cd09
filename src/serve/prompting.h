// From messages to the tokens of a prompt.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "serve/chat_request.h"
#include "serve/served_model.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace hearth::serve {

struct ChatTokens {
  std::string text;  ///< of the whole prompt
  std::vector<text::TokenId> tokens;
  /// See generate::GenerateRequest::boundaries.
  std::vector<std::int64_t> boundaries;
  text::ChatFormat format;  ///< in which the reply comes
  std::optional<int> reasoning_budget;
  Json tools = Json::array();  ///< whose calls are read in the reply; empty: none are
  int earlier_calls = 0;

  [[nodiscard]] std::int64_t count() const noexcept {
    return static_cast<std::int64_t>(tokens.size());
  }
};

/// Renders a chat by the model's template. Models without one get the messages' texts, one
/// paragraph each: they go on with a text. Templates that know no tools get them told in words.
/// Throws RequestFailure (400) when the template refuses the conversation.
[[nodiscard]] ChatTokens chat_tokens(const ServedModel& model, const ChatRequest& request);

/// The tokens of prompt number `index`. Throws RequestFailure: empty, ids outside the vocabulary,
/// a suffix for a model that cannot fill in.
[[nodiscard]] std::vector<text::TokenId> completion_tokens(const ServedModel& model,
                                                           const CompletionRequest& request,
                                                           std::size_t index);

/// The tokens of texts and ids in turn; special ones are added before the first piece, if that is a
/// text. Throws RequestFailure: ids outside the vocabulary, in `parameter`.
[[nodiscard]] std::vector<text::TokenId> mixed_tokens(const text::Tokenizer& tokenizer,
                                                      std::span<const PromptPart> parts,
                                                      const text::EncodeOptions& options,
                                                      const char* parameter);

/// What stands around a gap in a file, and other files beside it (name, text).
struct Gap {
  std::string prefix, suffix;
  std::string beginning;  ///< of what fills the gap
  std::vector<std::pair<std::string, std::string>> files = {};
};
/// The prompt that asks for what fills the gap, by the model's own tokens. Throws RequestFailure
/// (501) for models without them.
[[nodiscard]] std::vector<text::TokenId> fill_in_tokens(const ServedModel& model, const Gap& gap);

/// Whether the model has the tokens for filling in the middle.
[[nodiscard]] bool can_fill_in(const text::Tokenizer& tokenizer) noexcept;

}  // namespace hearth::serve
