// Where Hearth keeps its files, and what the config file and the HEARTH_* variables say.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/settings.h"

namespace hearth::cli {

/// Folders by the XDG base directory specification; relative paths in the variables are ignored, as
/// it demands.
struct UserFolders {
  std::filesystem::path config;  ///< $XDG_CONFIG_HOME/hearth, default ~/.config/hearth
  std::filesystem::path state;   ///< $XDG_STATE_HOME/hearth, default ~/.local/state/hearth
  std::filesystem::path data;    ///< $XDG_DATA_HOME/hearth, default ~/.local/share/hearth
  std::filesystem::path cache;   ///< $XDG_CACHE_HOME/hearth, default ~/.cache/hearth
};
[[nodiscard]] UserFolders user_folders();
/// HOME, else what the system knows of the user. Throws Error (exit code 2) when neither does.
[[nodiscard]] std::filesystem::path home_folder();

/// What is set outside the command line.
struct Configuration {
  std::vector<SettingValue> values;  ///< config file, then environment
  std::optional<std::string> model;  ///< `model` or HEARTH_MODEL: what `hearth up` uses
  bool offline = false;  ///< `offline = true` in the config file (HEARTH_OFFLINE: hub/network.h)
};

/// Reads the config file (HEARTH_CONFIG, else `config` in the config folder; it need not exist) and
/// the environment. Throws Error (exit code 2) naming file and line of what is wrong.
[[nodiscard]] Configuration read_configuration();

/// Parses a config file: lines `key = value`, empty lines and lines beginning with #. A value may
/// stand in double quotes, with \n, \t, \" and \\ in it. `source` is for messages.
[[nodiscard]] Configuration parse_configuration(std::string_view text, std::string_view source);

}  // namespace hearth::cli
