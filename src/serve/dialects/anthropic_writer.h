// The writer of Anthropic's replies. Internal to the dialects.
#pragma once

#include <memory>

#include "serve/chat_request.h"

namespace hearth::serve {

[[nodiscard]] std::unique_ptr<ReplyWriter> make_anthropic_writer(bool stream);

}  // namespace hearth::serve
