#include "serve/constraints.h"

#include "serve/request_failure.h"

namespace hearth::serve {

std::shared_ptr<const generate::grammar::Grammar> Constraints::for_chat(const ChatRequest& request,
                                                                        const ChatTokens& prompt) {
  const bool required = !prompt.tools.empty() && request.tool_choice.mode == ToolMode::kRequired;
  if (request.format.kind == OutputFormat::Kind::kText && !required) return nullptr;
  throw RequestFailure(501, "structured output is not in this build", "not_implemented");
}

std::shared_ptr<const generate::grammar::Grammar> Constraints::for_completion(
    const CompletionRequest& request) {
  if (request.format.kind == OutputFormat::Kind::kText) return nullptr;
  throw RequestFailure(501, "structured output is not in this build", "not_implemented");
}

}  // namespace hearth::serve
