// Which model file a name means, and which one to take when none is named.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hearth::cli {

/// The GGUF files of the local store ($XDG_DATA_HOME/hearth/models), sorted by name; of a split
/// model its first part.
[[nodiscard]] std::vector<std::filesystem::path> stored_models();

/// A path, or the name of a model in the store: its file name, with or without .gguf, or the
/// beginning of exactly one. What exists as a path is a path. Throws Error when nothing or several
/// models are meant.
[[nodiscard]] std::filesystem::path resolve_model(const std::string& name);

struct ChosenModel {
  std::filesystem::path path;
  std::string reason;  ///< why this one, for a line on stderr; empty when it is the only one or was
                       ///< asked for
};

/// For `hearth up`: `configured` (HEARTH_MODEL or the config file) if given; else the store's only
/// model, else the one used last, else the newest file. Throws Error saying what to do when there
/// is none.
[[nodiscard]] ChosenModel choose_model(const std::optional<std::string>& configured);

/// Remembers the model that was used last. Failure to write is ignored: it is a convenience.
void remember_model(const std::filesystem::path& path);

}  // namespace hearth::cli
