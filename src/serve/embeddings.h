// Vectors and scores of texts, for all routes that want them.
#pragma once

#include <string>
#include <vector>

#include "serve/dialects/llama_server.h"
#include "serve/dialects/openai.h"
#include "serve/models.h"

namespace hearth::serve {

struct EmbeddingReply {
  std::string model;
  std::vector<std::vector<float>> vectors;  ///< one per input
  Usage usage;
};

/// Throws RequestFailure: 400 for an empty or too long text.
[[nodiscard]] EmbeddingReply embed(ModelManager& models, const EmbeddingRequest& request,
                                   const std::function<bool()>& given_up);

struct RerankReply {
  std::string model;
  std::vector<float> scores;  ///< one per document
  Usage usage;
};
/// Throws RequestFailure: 400 for a document that is too long with its query, unless it may be cut.
[[nodiscard]] RerankReply rerank(ModelManager& models, const RerankRequest& request,
                                 const std::function<bool()>& given_up);

}  // namespace hearth::serve
