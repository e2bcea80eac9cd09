// Who waits for what only one can use at a time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>

namespace hearth::serve {

/// Turns in the order of asking. Whoever gives up leaves the line; nobody behind notices.
class WaitingLine {
 public:
  /// `most` may wait besides the one whose turn it is.
  explicit WaitingLine(std::size_t most) : most_(most) {}
  WaitingLine(const WaitingLine&) = delete;
  WaitingLine& operator=(const WaitingLine&) = delete;

  /// A turn, until it is destroyed. Must not outlive the line.
  class [[nodiscard]] Turn {
   public:
    explicit Turn(WaitingLine& line, std::list<char>::iterator place)
        : line_(line), place_(place) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { line_.leave(place_); }

   private:
    WaitingLine& line_;
    std::list<char>::iterator place_;
  };

  /// Waits for the turn and calls `check` a few times a second meanwhile; what that throws passes
  /// through, and the place is given up; it may be empty. Throws generate::QueueFull when too many
  /// wait.
  Turn wait(const std::function<void()>& check);

 private:
  void leave(std::list<char>::iterator place) noexcept;

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable left_;
  std::list<char> places_;  // the first one has the turn
};

}  // namespace hearth::serve
