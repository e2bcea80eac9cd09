// The profiling decorator: passes everything on to another backend and measures how long each kind
// of operation takes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "compute/forward/forwarding_backend.h"

namespace hearth::compute {

struct OperationProfile {
  std::uint64_t calls = 0;
  double seconds = 0;  // of wall time, by the calling thread
};
using Profile = std::array<OperationProfile, kOperations>;

class ProfileBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  [[nodiscard]] virtual const Profile& profile() const noexcept = 0;
  virtual void reset_profile() noexcept = 0;
};

/// Every operation is submitted and waited for before the next begins, so that its time is its own:
/// on backends that record operations this costs their overlap. Memory and weights are those of
/// `inner`, which must outlive the decorator. Failures that finish() reports are kept for the
/// caller's finish().
[[nodiscard]] std::unique_ptr<ProfileBackend> make_profile_backend(Backend& inner);

}  // namespace hearth::compute
