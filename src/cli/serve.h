// The server, for commands that end in serving.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "cli/settings.h"

namespace hearth::cli {

inline constexpr std::uint16_t kDefaultPort = 11434;

/// What `hearth serve MODEL --port PORT` does: returns when the server was told to end. `values`
/// are all layers in order of precedence; those that servers have no use for are left out. Throws
/// Error.
void serve_model(const std::filesystem::path& model, std::uint16_t port,
                 std::vector<SettingValue> values);

}  // namespace hearth::cli
