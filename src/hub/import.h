// Adopting models that other programs fetched: they stay where they are, and the store gets links.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/store.h"

namespace hearth::hub {

enum class ImportKind {
  kOllama,       ///< manifests/ and blobs/ (reference/http-apis.md, section 2)
  kLmStudio,     ///< PUBLISHER/REPOSITORY/*.gguf
  kHuggingFace,  ///< models--ORG--REPO/snapshots/COMMIT/… (the hub cache)
  kFolder,       ///< any .gguf files, in any depth
};

struct ImportPlace {
  ImportKind kind = ImportKind::kFolder;
  std::filesystem::path folder;
};

/// Where those programs keep their models, by their variables (OLLAMA_MODELS, HF_HOME,
/// HF_HUB_CACHE) and habits; only folders that exist.
[[nodiscard]] std::vector<ImportPlace> usual_places(std::optional<ImportKind> kind);

/// What `folder` looks like.
[[nodiscard]] ImportKind recognize(const std::filesystem::path& folder);

/// The models in a place that could be adopted. Files that are no whole models (other formats,
/// projectors, incomplete splits, truncated files) are left out, each with a sentence in `skipped`.
[[nodiscard]] std::vector<Manifest> find_models(const ImportPlace& place,
                                                std::vector<std::string>& skipped);

struct ImportResult {
  std::vector<Manifest> adopted;
  std::vector<std::string> known;    ///< names of those that the store has already
  std::vector<std::string> skipped;  ///< sentences
};

/// Adopts everything found in `places`. A name that is taken by another model gets a number behind
/// it. Throws Error when the store cannot be written.
[[nodiscard]] ImportResult import_models(const Store& store,
                                         const std::vector<ImportPlace>& places);

/// Adopts one file (any part of a split model: all of it), under `name` unless that is empty.
/// Throws Error when it is not a whole GGUF.
Manifest adopt_file(const Store& store, const std::filesystem::path& file, const std::string& name);

}  // namespace hearth::hub
