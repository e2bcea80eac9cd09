// Writers of Ollama's replies. Internal to the dialects.
#pragma once

#include <memory>

#include "serve/chat_request.h"

namespace hearth::serve {

struct OllamaReplyOptions {
  bool chat = true;  ///< else /api/generate
  bool stream = true;
  bool logprobs = false;
};

[[nodiscard]] std::unique_ptr<ReplyWriter> make_ollama_writer(const OllamaReplyOptions& options);

/// Ollama's messages in the shape of ChatRequest::messages. Throws RequestError.
[[nodiscard]] Json read_ollama_messages(const Json& messages);

}  // namespace hearth::serve
