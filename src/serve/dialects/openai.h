// OpenAI's API: chat completions, completions, embeddings, models.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/dialects/exchange.h"
#include "serve/dialects/model_facts.h"

namespace hearth::serve {

/// POST /v1/chat/completions. Throws RequestError.
[[nodiscard]] ChatExchange read_openai_chat(std::string_view body);

/// POST /v1/completions. With `echo` the first text event of every choice must be the prompt.
/// Throws RequestError.
[[nodiscard]] CompletionExchange read_openai_completion(std::string_view body);

/// What to embed: /v1/embeddings, /api/embed, /api/embeddings, /embedding.
struct EmbeddingRequest {
  std::string model;
  /// One entry per input: text, or ids when `tokens[i]` is not empty.
  std::vector<std::string> inputs;
  std::vector<std::vector<std::int32_t>> tokens;
  std::optional<std::int64_t> dimensions;  ///< vectors are cut to as many and normalized again
  bool base64 = false;
  bool truncate = false;  ///< inputs longer than the context are cut instead of refused
  std::optional<double> keep_alive_seconds;
};

/// POST /v1/embeddings. Throws RequestError.
[[nodiscard]] EmbeddingRequest read_openai_embeddings(std::string_view body);
[[nodiscard]] std::string openai_embeddings(const EmbeddingRequest& request, std::string_view model,
                                            std::span<const std::vector<float>> vectors,
                                            const Usage& usage);

/// `vector` cut to its first `dimensions` values and brought back to length 1. Throws RequestError
/// when it has fewer.
[[nodiscard]] std::vector<float> shorten(std::vector<float> vector, std::int64_t dimensions);

/// GET /v1/models, GET /v1/models/{id}.
[[nodiscard]] std::string openai_models(std::span<const ModelFacts> models);
[[nodiscard]] std::string openai_model(const ModelFacts& model);

/// POST /v1/responses. Stateless: what needs stored responses (previous_response_id, conversation,
/// item references, background) is refused. Throws RequestError.
[[nodiscard]] ChatExchange read_openai_responses(std::string_view body);

/// The answer to POST /v1/responses/input_tokens and /v1/chat/completions/input_tokens, whose
/// bodies are those of a response and of a chat.
[[nodiscard]] std::string openai_input_tokens(std::int64_t tokens);

}  // namespace hearth::serve
