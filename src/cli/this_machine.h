// The machine that Hearth runs on, for the commands that plan with it.
#pragma once

#include <filesystem>

#include "measure/probe.h"

namespace hearth::cli {

/// $XDG_CACHE_HOME/hearth/machine.json
[[nodiscard]] std::filesystem::path machine_cache_file();

/// What is measured for this user: the disks of the model store, the home folder and the current
/// folder.
[[nodiscard]] measure::ProbeOptions probe_options();

/// The machine from the cache, in milliseconds, or probed, in about ten seconds with a progress
/// line on terminals. Remarks are printed on stderr. Ctrl-C ends it: Error (kInterrupted).
[[nodiscard]] measure::ProbedMachine this_machine(bool refresh = false);

}  // namespace hearth::cli
