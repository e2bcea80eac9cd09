// What a request demands of the form of its reply, as a constraint on its tokens.
#pragma once

#include <memory>

#include "generate/grammar/grammar.h"
#include "generate/token_constraint.h"
#include "serve/chat_request.h"
#include "serve/prompting.h"
#include "serve/served_model.h"

namespace hearth::serve {

/// Compiles formats and tools to grammars, and keeps those that were used. Thread-safe.
class Constraints {
 public:
  /// Null when anything may be said. Throws RequestFailure (400) when the schema or grammar cannot
  /// be enforced.
  [[nodiscard]] std::shared_ptr<const generate::grammar::Grammar> for_chat(
      const ChatRequest& request, const ChatTokens& prompt);
  [[nodiscard]] std::shared_ptr<const generate::grammar::Grammar> for_completion(
      const CompletionRequest& request);

 private:
  std::shared_ptr<const generate::grammar::Grammar> of_format(
      const OutputFormat& format, const generate::grammar::Options& options);
  generate::grammar::GrammarCache cache_;
};

}  // namespace hearth::serve
