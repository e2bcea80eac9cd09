// The chat on a terminal.
#pragma once

#include <vector>

#include "cli/engine.h"
#include "cli/settings.h"

namespace hearth::cli {

/// Talks with the person at the terminal until /quit, Ctrl-D or the end of the input. `values`: the
/// settings of all layers.
void chat_on_terminal(Engine& engine, std::vector<SettingValue> values);

}  // namespace hearth::cli
