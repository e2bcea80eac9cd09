#include "cli/this_machine.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <system_error>

#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace hearth::cli {

std::filesystem::path machine_cache_file() { return user_folders().cache / "machine.json"; }

measure::ProbeOptions probe_options() {
  measure::ProbeOptions options;
  options.folders.push_back(user_folders().data);
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    options.folders.emplace_back(home);
  }
  std::error_code gone;
  if (auto here = std::filesystem::current_path(gone); !gone) options.folders.push_back(here);
  return options;
}

measure::ProbedMachine this_machine(bool refresh) {
  const InterruptGuard guard(/*second_ends=*/true);
  measure::ProbedMachine probed;
  {
    ProgressLine line;
    measure::ProbeOptions options = probe_options();
    options.stop = &InterruptGuard::flag();
    options.progress = [&line](std::string_view what) { line.show(std::string(what)); };
    probed = measure::cached_or_probed(machine_cache_file(), options, refresh);
  }
  for (const std::string& remark : probed.remarks) fmt::print(stderr, "hearth: {}\n", remark);
  return probed;
}

}  // namespace hearth::cli
