// Turns at the processor: passes of several models (and of embedders beside them) run one after
// the other, in the order in which they asked, so that their thread teams never compete for cores.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace hearth::generate {

/// A lock that is given out in the order of asking; std::lock_guard<ComputeTurn> holds it. A turn
/// is one pass: whoever has many gives it back in between.
class ComputeTurn {
 public:
  ComputeTurn() = default;
  ComputeTurn(const ComputeTurn&) = delete;
  ComputeTurn& operator=(const ComputeTurn&) = delete;

  void lock();
  void unlock() noexcept;

  /// How many wait for the turn at this moment.
  [[nodiscard]] int waiting() const noexcept;

 private:
  mutable std::mutex mutex_;
  std::condition_variable next_;
  std::uint64_t asked_ = 0;    // tickets given out
  std::uint64_t serving_ = 0;  // the ticket whose turn it is
};

}  // namespace hearth::generate
