// Ctrl-C while a command works: it sets a flag instead of ending the program.
#pragma once

#include <atomic>
#include <csignal>

namespace hearth::cli {

/// While one exists, SIGINT sets flag(). A second SIGINT before clear() was called ends the program
/// as usual when `second_ends` is true (a pass may take long). At most one at a time.
class InterruptGuard {
 public:
  explicit InterruptGuard(bool second_ends);
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  [[nodiscard]] static const std::atomic<bool>& flag() noexcept;
  [[nodiscard]] static bool interrupted() noexcept { return flag().load(); }
  static void clear() noexcept;

 private:
  struct sigaction previous_ {};
};

}  // namespace hearth::cli
