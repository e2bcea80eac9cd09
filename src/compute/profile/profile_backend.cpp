#include "compute/profile/profile_backend.h"

#include <chrono>
#include <utility>

#include "support/elapsed.h"

namespace hearth::compute {
namespace {

class Profiler final : public ProfileBackend {
 public:
  using ProfileBackend::ProfileBackend;
  [[nodiscard]] const Profile& profile() const noexcept override { return profile_; }
  void reset_profile() noexcept override { profile_ = {}; }

  [[nodiscard]] std::optional<std::string> finish() noexcept override {
    std::optional<std::string> result = inner().finish();
    return failure_ ? std::exchange(failure_, std::nullopt) : std::move(result);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void begin(Operation /*operation*/) noexcept override { begin_ = Clock::now(); }
  void end(Operation operation) noexcept override {
    inner().submit();
    if (std::optional<std::string> failure = inner().finish(); failure && !failure_) {
      failure_ = std::move(failure);
    }
    OperationProfile& entry = profile_[static_cast<std::size_t>(operation)];
    ++entry.calls;
    entry.seconds += seconds_since(begin_);
  }

  Profile profile_{};
  Clock::time_point begin_;
  std::optional<std::string> failure_;
};

}  // namespace

std::unique_ptr<ProfileBackend> make_profile_backend(Backend& inner) {
  return std::make_unique<Profiler>(inner);
}

}  // namespace hearth::compute
