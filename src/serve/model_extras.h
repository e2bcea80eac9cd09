// What a model was given beside its file: by POST /api/create, or by the registry that it came
// from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/manifest.h"
#include "hub/store.h"
#include "serve/chat_request.h"

namespace hearth::serve {

/// As texts, so that two of them can be compared: equal ones make the same of a file.
struct ModelExtras {
  std::string chat_template;  ///< instead of the file's own; empty, or no Jinja: the file's
  std::string system;         ///< the system message of conversations that have none
  std::string parameters;     ///< JSON object of settings by Ollama's names; may be empty
  std::string messages;       ///< JSON array (Ollama's messages) that conversations begin with;
                              ///< may be empty
  std::string license;        ///< only shown
  std::vector<std::filesystem::path> adapters;

  bool operator==(const ModelExtras& other) const;
};

/// What a model does unless a request says otherwise, beside its settings of sampling.
struct ModelDefaults {
  std::string chat_template;      ///< instead of the file's own; empty: that one
  std::string system;             ///< the system message of conversations that have none
  Json messages = Json::array();  ///< what conversations begin with, as in ChatRequest
  SamplingChanges sampling;
  std::vector<std::string> stops;  ///< of requests that name none
  std::int64_t max_tokens = -1;
  std::optional<std::int64_t> context;
  std::vector<std::filesystem::path> adapters;
  std::vector<std::string> problems;  ///< what could not be read, one sentence each
};

[[nodiscard]] ModelExtras extras_of(const hub::Manifest& manifest, const hub::Store& store);

/// Templates of Ollama's registry are programs for Go's text/template, which is not run here.
[[nodiscard]] bool is_go_template(std::string_view source) noexcept;

}  // namespace hearth::serve
