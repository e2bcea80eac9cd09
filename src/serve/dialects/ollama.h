// Ollama's API: /api/*.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/dialects/exchange.h"
#include "serve/dialects/model_facts.h"
#include "serve/dialects/openai.h"
#include "serve/model_extras.h"

namespace hearth::serve {

/// POST /api/chat. Without messages: a LoadExchange. Throws RequestError.
[[nodiscard]] OllamaExchange read_ollama_chat(std::string_view body);

/// POST /api/generate. A chat of one message; a completion when it is raw or fills in the middle;
/// without a prompt a LoadExchange. Throws RequestError.
[[nodiscard]] OllamaExchange read_ollama_generate(std::string_view body);

/// The answer to a LoadExchange: a line when it was to stream, else a body (the same text).
[[nodiscard]] std::string ollama_loaded(const LoadExchange& exchange, std::string_view model,
                                        std::int64_t created);

/// POST /api/embed. Throws RequestError.
[[nodiscard]] EmbeddingRequest read_ollama_embed(std::string_view body);
[[nodiscard]] std::string ollama_embed(std::string_view model,
                                       std::span<const std::vector<float>> vectors,
                                       const Usage& usage);
/// POST /api/embeddings (old: one prompt). Throws RequestError.
[[nodiscard]] EmbeddingRequest read_ollama_embeddings(std::string_view body);
[[nodiscard]] std::string ollama_embeddings(std::span<const float> vector);

/// GET /api/tags (newest first), /api/ps, /api/version.
[[nodiscard]] std::string ollama_tags(std::span<const ModelFacts> models);
[[nodiscard]] std::string ollama_ps(std::span<const LoadedModelFacts> models);
[[nodiscard]] std::string ollama_version(std::string_view version);

/// POST /api/show.
struct OllamaShow {
  std::string model;
  bool verbose = false;  ///< with long arrays of the metadata and the tensors
};
[[nodiscard]] OllamaShow read_ollama_show(std::string_view body);
[[nodiscard]] std::string ollama_show(const ModelDetails& details, bool verbose);

/// Settings by Ollama's names: "options" of requests, "parameters" of models.
struct OllamaOptions {
  SamplingChanges sampling;
  std::int64_t max_tokens = -1;
  std::vector<std::string> stops;
  std::optional<std::int64_t> context;
};
[[nodiscard]] OllamaOptions read_ollama_options(const Json& options);
/// The same settings with the types that they should have: Modelfiles know texts only. Throws
/// RequestError for values that no setting can have.
[[nodiscard]] Json typed_ollama_parameters(const Json& parameters);

/// The settings of a stored model one by one, as Modelfiles have them; a name may repeat ("stop").
[[nodiscard]] std::vector<std::pair<std::string, std::string>> ollama_parameter_lines(
    const std::string& parameters);

/// What a stored model's texts mean. What cannot be read, for whatever reason, is left out and
/// named in `problems`: the store has it from strangers, and a model without it is still a model.
[[nodiscard]] ModelDefaults read_extras(const ModelExtras& extras);

/// POST /api/create.
struct OllamaCreate {
  std::string model, from;
  /// File name to digest ("sha256:…"), of blobs that were sent before.
  std::map<std::string, std::string> files, adapters;
  std::string chat_template, system;
  std::vector<std::string> license;
  Json parameters = Json::object();  ///< typed_ollama_parameters()
  Json messages = Json::array();     ///< as they were sent
  std::string quantize;
  bool stream = true;
};
[[nodiscard]] OllamaCreate read_ollama_create(std::string_view body);

/// POST /api/copy, DELETE /api/delete.
struct OllamaCopy {
  std::string source, destination;
};
[[nodiscard]] OllamaCopy read_ollama_copy(std::string_view body);
[[nodiscard]] std::string read_ollama_delete(std::string_view body);

/// POST /api/pull and /api/push.
struct OllamaPull {
  std::string model;
  bool insecure = false;
  bool stream = true;
};
[[nodiscard]] OllamaPull read_ollama_pull(std::string_view body);

/// Lines of pull, push and create; each ends with a newline.
[[nodiscard]] std::string ollama_status(std::string_view status);
[[nodiscard]] std::string ollama_progress(std::string_view status, std::string_view digest,
                                          std::uint64_t total, std::uint64_t completed);
[[nodiscard]] std::string ollama_error_line(std::string_view message);

/// The 64 hex digits of "sha256:…" or "sha256-…" in lower case. Nothing when it is none.
[[nodiscard]] std::optional<std::string> sha256_of_digest(std::string_view digest);

}  // namespace hearth::serve
