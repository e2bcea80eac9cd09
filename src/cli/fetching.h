// What `pull` and other commands that may fetch a model have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/terminal.h"
#include "hub/pull.h"

namespace hearth::cli {

/// The network as the environment and the config file (`offline = true`) allow it. Ctrl-C, while an
/// InterruptGuard exists, stops what uses it. Throws Error (exit code 2) for wrong settings.
[[nodiscard]] hub::Network user_network();

/// "1 h 5 min", "3 min 20 s", "45 s".
[[nodiscard]] std::string duration_text(double seconds);

/// Progress of a download on one line of the terminal.
class DownloadLine {
 public:
  explicit DownloadLine(std::string name) : name_(std::move(name)) {}
  void show(const hub::Progress& progress, std::size_t index, std::size_t count);
  void clear() { line_.clear(); }

 private:
  std::string name_;
  ProgressLine line_;
};

/// Fetches `reference` with progress on stderr, under `name` unless that is empty.
[[nodiscard]] hub::PullResult pull_model(const std::string& reference, const std::string& name,
                                         const std::string& sha256);

/// Prints sentences about the store to stderr.
void print_notes(const std::vector<std::string>& notes);

}  // namespace hearth::cli
