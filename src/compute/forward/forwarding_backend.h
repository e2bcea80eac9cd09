// A backend that passes everything on to another one: the base of backends that watch.
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
  kEncodePages,
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

/// Passes everything on to `inner`. Derived backends override what they want to see, or begin() and
/// end(), which stand around every operation. Memory and weights are those of `inner`.
class ForwardingBackend : public Backend {
 public:
  /// `inner` must outlive this.
  explicit ForwardingBackend(Backend& inner) : inner_(inner) {}
  [[nodiscard]] std::string_view name() const noexcept override { return inner_.name(); }

  std::unique_ptr<Buffer> allocate(std::size_t bytes, MemoryCategory category) override;
  [[nodiscard]] std::size_t allocated(MemoryCategory category) const noexcept override;
  void write(const Tensor& to, const void* host) noexcept override;
  void read(const Tensor& from, void* host) noexcept override;
  void copy(const Tensor& from, const Tensor& to) noexcept override;
  std::unique_ptr<Weight> load_weight(const WeightSource& source, unsigned use,
                                      Residency residency) override;
  [[nodiscard]] std::size_t resident_bytes(const WeightSource& source, unsigned use,
                                           Residency residency) const noexcept override;
  void reserve(std::int64_t rows, std::int64_t columns) override;
  void reserve_weight(const WeightSource& source, unsigned use, Residency residency) override;
  void submit() noexcept override;
  [[nodiscard]] std::optional<std::string> finish() noexcept override;
  void get_rows(const Weight& table, const Tensor& ids, float scale,
                const Tensor& out) noexcept override;
  void matmul(const Tensor& x, std::span<const Projection> projections) noexcept override;
  void norm(const NormArguments& arguments) noexcept override;
  void rope_table(const RopeAngles& angles, const Tensor& positions, const Tensor& factors,
                  const Tensor& table) noexcept override;
  void rope(RopePairing pairing, const Tensor& table, const Tensor& x,
            bool inverse) noexcept override;
  void store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                const Tensor& pool) noexcept override;
  void encode_pages(const EncodePagesArguments& arguments) noexcept override;
  void attend(const AttendArguments& arguments) noexcept override;
  void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept override;
  void activate_xielu(const Xielu& xielu, const Tensor& x, const Tensor& out) noexcept override;
  void activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                      const Tensor& out) noexcept override;
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept override;
  void scale(const Tensor& x, float factor, const Tensor& out) noexcept override;
  void scale_rows(const Tensor& x, const Tensor& factors) noexcept override;
  void clamp(const Tensor& x, float limit) noexcept override;
  void softcap(const Tensor& x, float cap) noexcept override;
  void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept override;
  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept override;
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept override;
  void match_norm(const Tensor& x, const Tensor& like) noexcept override;
  void keep_largest(const Tensor& x, float multiplier) noexcept override;
  void route(const RouteArguments& arguments) noexcept override;
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept override;
  void transposed_matmul(const TransposedArguments& arguments) noexcept override;
  void attend_selected(const SelectedAttendArguments& arguments) noexcept override;
  void select_cells(const SelectCellsArguments& arguments) noexcept override;
  void select_blocks(const SelectBlocksArguments& arguments) noexcept override;
  void compress(const CompressArguments& arguments) noexcept override;
  void convolve(const ConvolveArguments& arguments) noexcept override;
  void delta_scan(const DeltaScanArguments& arguments) noexcept override;
  void selective_scan(const SelectiveScanArguments& arguments) noexcept override;
  void state_space_scan(const StateSpaceScanArguments& arguments) noexcept override;
  void rwkv_scan(const RwkvScanArguments& arguments) noexcept override;
  void hyper_weights(const HyperWeightsArguments& arguments) noexcept override;

 protected:
  [[nodiscard]] Backend& inner() const noexcept { return inner_; }
  /// Before and after an operation was passed on, by the calling thread.
  virtual void begin(Operation /*operation*/) noexcept {}
  virtual void end(Operation /*operation*/) noexcept {}

 private:
  template <class Run>
  void forward(Operation operation, Run run) noexcept {
    begin(operation);
    run();
    end(operation);
  }

  Backend& inner_;
};

}  // namespace hearth::compute
