// Anthropic's Messages API: /v1/messages, and /v1/models for its clients.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "serve/dialects/exchange.h"
#include "serve/dialects/model_facts.h"

namespace hearth::serve {

/// POST /v1/messages. Throws RequestError.
[[nodiscard]] ChatExchange read_anthropic_messages(std::string_view body);

/// POST /v1/messages/count_tokens: the same without max_tokens. Throws RequestError.
[[nodiscard]] ChatRequest read_anthropic_count(std::string_view body);
[[nodiscard]] std::string anthropic_count(std::int64_t tokens);

/// GET /v1/models, /v1/models/{id}.
[[nodiscard]] std::string anthropic_models(std::span<const ModelFacts> models);
[[nodiscard]] std::string anthropic_model(const ModelFacts& model);

}  // namespace hearth::serve
