// llama-server's own routes: /completion, /infill, /tokenize, /rerank, /props, /slots and others.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/dialects/exchange.h"
#include "serve/dialects/model_facts.h"
#include "serve/dialects/openai.h"

namespace hearth::serve {

/// POST /completion and /completions. Throws RequestError.
[[nodiscard]] CompletionExchange read_llama_completion(std::string_view body);

/// POST /infill: what stands around a gap. The model's own tokens are put around the parts by the
/// server; a model without them is a RequestError 501 there. Throws RequestError.
struct InfillExchange {
  CompletionExchange completion;  ///< its prompt is the request's "prompt"; its suffix is empty
  std::string prefix, suffix;
  std::vector<std::pair<std::string, std::string>> extra;  ///< file names and texts
};
[[nodiscard]] InfillExchange read_llama_infill(std::string_view body);

/// POST /tokenize. Throws RequestError.
struct TokenizeRequest {
  std::string model;
  std::vector<PromptPart> content;
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
};
[[nodiscard]] TokenizeRequest read_llama_tokenize(std::string_view body);
/// `pieces`: the tokens' bytes, when they were asked for; else empty.
[[nodiscard]] std::string llama_tokens(std::span<const std::int32_t> ids,
                                       std::span<const std::string> pieces);

/// POST /detokenize. Throws RequestError.
struct DetokenizeRequest {
  std::string model;
  std::vector<std::int32_t> tokens;
};
[[nodiscard]] DetokenizeRequest read_llama_detokenize(std::string_view body);
[[nodiscard]] std::string llama_content(std::string_view text);

/// POST /apply-template: the body is a chat's, except that nothing is generated. Throws
/// RequestError.
[[nodiscard]] ChatRequest read_llama_template(std::string_view body);
[[nodiscard]] std::string llama_prompt(std::string_view prompt);

/// POST /rerank, /reranking, /v1/rerank, /v1/reranking. Throws RequestError.
struct RerankRequest {
  std::string model, query;
  std::vector<std::string> documents;
  std::size_t top = 0;        ///< results; at most as many as documents
  bool texts_form = false;    ///< "texts" instead of "documents": Text Embeddings Inference's form
  bool return_texts = false;  ///< documents are repeated in the answer
  bool truncate = false;      ///< documents that are too long are cut, not refused
};
[[nodiscard]] RerankRequest read_llama_rerank(std::string_view body);
/// `scores`: one per document. Sorted best first, equals in the order of documents.
[[nodiscard]] std::string llama_rerank(const RerankRequest& request, std::string_view model,
                                       std::span<const float> scores, const Usage& usage);

/// POST /embedding, /embeddings: "content" or "input". Throws RequestError.
[[nodiscard]] EmbeddingRequest read_llama_embedding(std::string_view body);
[[nodiscard]] std::string llama_embeddings(std::span<const std::vector<float>> vectors);

/// GET /health.
[[nodiscard]] std::string llama_health();

/// GET /props.
struct ServerFacts {
  ModelDetails model;
  int slots = 1;
  std::string bos_token, eos_token, build;
  SamplingChanges sampling;  ///< the defaults
  bool sleeping = false;     ///< no model is loaded
};
[[nodiscard]] std::string llama_props(const ServerFacts& facts);

/// GET /slots: one per sequence that can generate at once. Nothing of what is said.
struct SlotFacts {
  std::int64_t context = 0;
  std::int64_t task = -1;  ///< of the request it works on; -1: none
  bool reads = false;      ///< its prompt
  std::int64_t prompt_tokens = 0;
  std::int64_t evaluated = 0;  ///< tokens of prompt and reply that are in its memory
  std::int64_t generated = 0;
  std::int64_t remaining = -1;  ///< tokens it may still generate; -1: no limit
  bool speculative = false;
};
[[nodiscard]] std::string llama_slots(std::span<const SlotFacts> slots);

/// GET /lora-adapters.
struct AdapterFacts {
  std::string path;
  float scale = 1;
};
[[nodiscard]] std::string llama_adapters(std::span<const AdapterFacts> adapters);

}  // namespace hearth::serve
