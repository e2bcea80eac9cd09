// Tool calls in replies that are sequences of addressed messages (text/formats/framed_replies.cpp
// reads them): gpt-oss's harmony, and Functionary 3.2.
#pragma once

#include <vector>

#include "generate/grammar/grammar.h"
#include "generate/grammar/tool_values.h"

namespace hearth::generate::grammar {

/// Whole replies in `frame` with calls of `tools`, by `rules`; `declared` are all tools of the
/// request, those included that may not be called.
[[nodiscard]] Expression framed_calls(Syntax& syntax, text::ReplyFrame frame, ToolValues& values,
                                      const std::vector<Tool>& tools, const CallRules& rules,
                                      const Json& declared);

/// `answer`, and nothing else but reasoning, as a reply in `frame`.
[[nodiscard]] Expression framed_answer(Syntax& syntax, text::ReplyFrame frame, Expression answer);

}  // namespace hearth::generate::grammar
