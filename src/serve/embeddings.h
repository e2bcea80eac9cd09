// Vectors and scores of texts, for all routes that want them.
#pragma once

#include <string>
#include <vector>

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
[[nodiscard]] RerankReply rerank(ModelManager& models, const std::string& model,
                                 const std::string& query,
                                 const std::vector<std::string>& documents,
                                 const std::function<bool()>& given_up);

}  // namespace hearth::serve
