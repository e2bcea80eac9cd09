// Which model file a name means, and which one to take when none is named.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/store.h"

namespace hearth::cli {

/// The local store ($XDG_DATA_HOME/hearth).
[[nodiscard]] hub::Store model_store();

/// The usable models of the store, files put there by hand included, sorted by name; of a split
/// model its first part.
[[nodiscard]] std::vector<std::filesystem::path> stored_models();

/// A path, or a model in the store: its name, with or without .gguf, what it was pulled as (a
/// catalog name, hf:…, ollama:…), or the beginning of exactly one name, in capitals or not. What
/// exists as a path is a path. Throws Error when nothing or several models are meant, or the one
/// that is cannot be used.
[[nodiscard]] std::filesystem::path resolve_model(const std::string& name);

/// The models of the store that `name` can mean, as in resolve_model(); never files elsewhere: for
/// names that strangers send.
[[nodiscard]] std::vector<hub::StoredModel> models_meant(
    const std::vector<hub::StoredModel>& models, const std::string& name);

struct ChosenModel {
  std::filesystem::path path;
  std::string reason;  ///< why this one, for a line on stderr; empty when it is the only one or was
                       ///< asked for
};

/// For `hearth up`: `configured` (HEARTH_MODEL or the config file) if given; else the store's only
/// model, else the one used last, else the newest file. Throws Error saying what to do when there
/// is none.
[[nodiscard]] ChosenModel choose_model(const std::optional<std::string>& configured);

/// Remembers the model that `hearth up` used last. Failure to write is ignored: it is a
/// convenience.
void remember_model(const std::filesystem::path& path);

}  // namespace hearth::cli
