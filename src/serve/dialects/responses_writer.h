// The writer of /v1/responses. Internal to the dialects.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "serve/chat_request.h"

namespace hearth::serve {

struct ResponsesReplyOptions {
  bool stream = false;
  bool logprobs = false;
  bool encrypted_reasoning = false;  ///< clients that keep nothing want reasoning to send back
  std::set<std::string, std::less<>> custom_tools;  ///< told as "custom_tool_call"
  Json echo = Json::object();  ///< members of the response that repeat the request
};

[[nodiscard]] std::unique_ptr<ReplyWriter> make_responses_writer(ResponsesReplyOptions options);

/// Reasoning as the opaque text that goes into "encrypted_content", and back ("" when it is not
/// ours). It is encoded, not encrypted: it is the client's own conversation.
[[nodiscard]] std::string seal_reasoning(std::string_view reasoning);
[[nodiscard]] std::string unseal_reasoning(std::string_view sealed);

}  // namespace hearth::serve
