// Writers of OpenAI's replies. Internal to the dialects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/chat_request.h"
#include "serve/dialects/openai_parts.h"

namespace hearth::serve {

struct OpenAiReplyOptions {
  bool stream = false;
  bool usage = false;  ///< streams: a last chunk with it
  bool logprobs = false;
  bool legacy_functions = false;  ///< calls are told as "function_call"
};

[[nodiscard]] std::unique_ptr<ReplyWriter> make_openai_chat_writer(
    const OpenAiReplyOptions& options);

/// /v1/completions.
[[nodiscard]] std::unique_ptr<ReplyWriter> make_openai_completion_writer(
    const OpenAiReplyOptions& options);

/// The parsed body of a chat, checked; fills in `options`.
[[nodiscard]] ChatRequest read_openai_chat_request(const Json& body, OpenAiReplyOptions& options);

/// Fills in what GenerationRequest has from members that generation_fields() describes, and
/// sampling.
void read_generation(const Json& body, GenerationRequest& request, BiasKeys bias = BiasKeys::kIds);
[[nodiscard]] std::optional<double> read_keep_alive(const Json& body);

}  // namespace hearth::serve
