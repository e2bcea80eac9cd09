// The profiling decorator: passes everything on to another backend and measures how long each kind
// of operation takes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "compute/backend.h"

namespace hearth::compute {

/// The operations of Backend; kUpload is write().
enum class Operation : std::uint8_t {
  kUpload,
  kGetRows,
  kMatmul,
  kNorm,
  kRopeTable,
  kRope,
  kStoreKv,
  kAttend,
  kActivate,
  kActivateXielu,
  kActivateGated,
  kAdd,
  kScale,
  kScaleRows,
  kClamp,
  kSoftcap,
  kGather,
  kMultiply,
  kMix,
  kMatchNorm,
  kKeepLargest,
  kRoute,
  kGroupedMatmul,
  kTransposedMatmul,
  kAttendSelected,
  kSelectCells,
  kSelectBlocks,
  kCompress,
  kConvolve,
  kDeltaScan,
  kSelectiveScan,
  kStateSpaceScan,
  kRwkvScan,
  kHyperWeights,
};
inline constexpr std::size_t kOperations = static_cast<std::size_t>(Operation::kHyperWeights) + 1;

/// The name of the operation in Backend.
[[nodiscard]] std::string_view operation_name(Operation operation) noexcept;

struct OperationProfile {
  std::uint64_t calls = 0;
  double seconds = 0;  // of wall time, by the calling thread
};
using Profile = std::array<OperationProfile, kOperations>;

class ProfileBackend : public Backend {
 public:
  [[nodiscard]] virtual const Profile& profile() const noexcept = 0;
  virtual void reset_profile() noexcept = 0;
};

/// Every operation is submitted and waited for before the next begins, so that its time is its own:
/// on backends that record operations this costs their overlap. Memory and weights are those of
/// `inner`, which must outlive the decorator. Failures that finish() reports are kept for the
/// caller's finish().
[[nodiscard]] std::unique_ptr<ProfileBackend> make_profile_backend(Backend& inner);

}  // namespace hearth::compute
