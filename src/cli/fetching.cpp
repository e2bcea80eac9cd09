#include "cli/fetching.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/model_choice.h"
#include "cli/models.h"
#include "cli/said.h"
#include "cli/words.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::cli {

hub::Network user_network() {
  hub::Network network = hub::network_from_environment(&InterruptGuard::flag());
  // The environment is stronger than the config file, also when it says no.
  const char* const variable = std::getenv("HEARTH_OFFLINE");
  const bool decided = variable != nullptr && *variable != '\0';
  if (!decided && read_configuration().offline)
    network.offline = "offline = true is in the config file";
  return network;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

void DownloadLine::show(const hub::Progress& progress, std::size_t index, std::size_t count) {
  const std::string part = count > 1 ? fmt::format(" ({} of {})", index + 1, count) : "";
  if (progress.total == 0) {
    line_.show(fmt::format("{}{}  {}", name_, part, size_text(progress.done)));
    return;
  }
  const double fraction = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  if (progress.stage == hub::Progress::Stage::kVerifying) {
    line_.show(fmt::format("{}{}  checking {:.0f} %", name_, part, 100 * fraction));
    return;
  }
  std::string text = fmt::format("{}{}  {} of {}, {:.0f} %", name_, part, size_text(progress.done),
                                 size_text(progress.total), 100 * fraction);
  if (progress.rate > 0) {
    text += fmt::format(
        ", {:.1f} MB/s, {} left", progress.rate / 1e6,
        duration_text(static_cast<double>(progress.total - progress.done) / progress.rate));
  }
  line_.show(text);
}

hub::PullResult pull_model(const std::string& reference, const std::string& name,
                           const std::string& sha256) {
  const InterruptGuard guard(/*second_ends=*/true);
  const hub::Network network = user_network();
  hub::PullOptions options;
  options.resolve = planned_choice();
  options.name = name;
  options.sha256 = sha256;
  DownloadLine line(printable(reference));
  std::uint64_t announced = 0;
  options.approve = [&](const hub::RemoteModel& model) {
    for (const hub::RemoteFile& file : model.files) announced += file.size;
    fmt::print(stderr, "Fetching {}{}.\n", printable(model.reference, 300),
               announced > 0 ? fmt::format(" ({})", size_text(announced)) : "");
    return true;
  };
  options.on_progress = [&](const hub::Progress& progress, std::size_t index, std::size_t count) {
    line.show(progress, index, count);
  };
  options.on_note = [&](std::string_view note) {
    line.clear();
    tell(note);
  };
  const auto start = std::chrono::steady_clock::now();
  hub::PullResult result = hub::pull(model_store(), network, reference, options);
  line.clear();
  const double seconds = seconds_since(start);
  if (!result.manifest.files.front().adopted.empty()) {
    fmt::print(stderr, "The file stays where it is; the store has a link to it.\n");
  } else if (result.already_there) {
    fmt::print(stderr, "It is there already.\n");
  } else {
    fmt::print(stderr, "{} in {}, checked. To chat: hearth run {}\n",
               size_text(result.manifest.size()), duration_text(seconds), result.manifest.name);
  }
  return result;
}

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) tell(note);
}

}  // namespace hearth::cli
