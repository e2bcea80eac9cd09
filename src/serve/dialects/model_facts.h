// What clients are told about models: plain data that the server fills in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/chat_request.h"

namespace hearth::serve {

/// A model in the store.
struct ModelFacts {
  std::string name;           ///< as clients address it
  std::int64_t modified = 0;  ///< Unix seconds
  std::uint64_t size = 0;     ///< bytes of its files
  std::string sha256;         ///< 64 hex digits; empty: not known
  std::string family;         ///< general.architecture
  std::uint64_t parameters = 0;
  std::string quantization;        ///< "Q4_K_M"
  std::int64_t context = 0;        ///< tokens it was trained for; 0: not known
  std::int64_t embedding = 0;      ///< width; 0: not known
  std::int64_t vocabulary = 0;     ///< tokens; 0: not known
  std::int64_t serve_context = 0;  ///< tokens of the running instance; 0: not loaded
  /// "completion", "tools", "insert", "vision", "embedding", "thinking".
  std::vector<std::string> capabilities;
  std::string parent;
};

/// A model that is loaded.
struct LoadedModelFacts {
  ModelFacts model;
  std::uint64_t memory = 0;         ///< bytes in use
  std::uint64_t device_memory = 0;  ///< of them on a GPU
  /// Unix seconds when it will be unloaded; nothing: never.
  std::optional<std::int64_t> expires;
};

/// All about one model: Ollama's show, llama-server's props.
struct ModelDetails {
  ModelFacts facts;
  std::string license, chat_template, system;
  std::string source;  ///< what the Modelfile's FROM says
  /// Recommended settings; a name may repeat ("stop").
  std::vector<std::pair<std::string, std::string>> parameters;
  Json messages = Json::array();  ///< what conversations begin with
  std::vector<std::string> adapters;
  Json metadata = Json::object();  ///< every key of the GGUF file
  /// Of every tensor: {"name", "type", "shape"}; null: not asked for.
  Json tensors;
};

}  // namespace hearth::serve
