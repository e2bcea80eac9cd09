// What `hearth run` and `hearth up` share.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/config.h"
#include "cli/measurements.h"
#include "cli/settings.h"

namespace CLI {
class App;
}

namespace hearth::cli {

/// The settings' flags of one command, filled by parsing.
struct SettingFlags {
  std::vector<SettingValue> values;
};

/// Adds a flag for every setting, or for those that `wanted` accepts, to `command`.
[[nodiscard]] std::shared_ptr<SettingFlags> add_setting_flags(
    CLI::App& command, const std::function<bool(const Setting&)>& wanted = {});

/// Loads the model and answers `prompt`, or chats when there is none; returns when the command is
/// done. `values` are all layers in order of precedence; `promise` is what was said before about
/// speeds: what was measured is told at the end. Throws Error or QuietExit.
void run_model(const std::filesystem::path& model, const std::optional<std::string>& prompt,
               std::vector<SettingValue> values, std::optional<Promise> promise = {});

/// The text after the options in the help of both commands.
inline constexpr const char* kSettingsHelp =
    "Settings:\n"
    "Every option can also be set in the config file as `name = value` with the long option's name "
    "($XDG_CONFIG_HOME/"
    "hearth/config, by default ~/.config/hearth/config; HEARTH_CONFIG names another), and by an "
    "environment variable: "
    "HEARTH_TOP_K for --top-k. Flags override variables, variables the config file, the config "
    "file the model's own "
    "recommendations (general.sampling.*), and those Hearth's defaults. A switch that is on there "
    "is turned off with "
    "--stats=false.\n"
    "\n"
    "Sampling:\n"
    "By default temp 0.8, top-k 40, top-p 0.95 and min-p 0.05 unless the model recommends "
    "otherwise. --temp 0 always "
    "takes the likeliest token.\n";

}  // namespace hearth::cli
