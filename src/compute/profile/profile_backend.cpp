#include "compute/profile/profile_backend.h"

#include <chrono>
#include <utility>

namespace hearth::compute {
namespace {

constexpr std::array<std::string_view, kOperations> kNames = {"write",
                                                              "get_rows",
                                                              "matmul",
                                                              "norm",
                                                              "rope_table",
                                                              "rope",
                                                              "store_kv",
                                                              "attend",
                                                              "activate",
                                                              "activate_xielu",
                                                              "activate_gated",
                                                              "add",
                                                              "scale",
                                                              "scale_rows",
                                                              "clamp",
                                                              "softcap",
                                                              "gather",
                                                              "multiply",
                                                              "mix",
                                                              "match_norm",
                                                              "keep_largest",
                                                              "route",
                                                              "grouped_matmul",
                                                              "transposed_matmul",
                                                              "attend_selected",
                                                              "select_cells",
                                                              "select_blocks",
                                                              "compress",
                                                              "convolve",
                                                              "delta_scan",
                                                              "selective_scan",
                                                              "state_space_scan",
                                                              "rwkv_scan",
                                                              "hyper_weights"};

class Profiler final : public ProfileBackend {
 public:
  explicit Profiler(Backend& inner) : inner_(inner) {}
  [[nodiscard]] std::string_view name() const noexcept override { return inner_.name(); }
  [[nodiscard]] const Profile& profile() const noexcept override { return profile_; }
  void reset_profile() noexcept override { profile_ = {}; }

  std::unique_ptr<Buffer> allocate(std::size_t bytes, MemoryCategory category) override {
    return inner_.allocate(bytes, category);
  }
  [[nodiscard]] std::size_t allocated(MemoryCategory category) const noexcept override {
    return inner_.allocated(category);
  }
  void write(const Tensor& to, const void* host) noexcept override {
    timed(Operation::kUpload, [&] { inner_.write(to, host); });
  }
  void read(const Tensor& from, void* host) noexcept override { inner_.read(from, host); }
  void copy(const Tensor& from, const Tensor& to) noexcept override { inner_.copy(from, to); }
  std::unique_ptr<Weight> load_weight(const WeightSource& source, unsigned use,
                                      Residency residency) override {
    return inner_.load_weight(source, use, residency);
  }
  [[nodiscard]] std::size_t resident_bytes(const WeightSource& source, unsigned use,
                                           Residency residency) const noexcept override {
    return inner_.resident_bytes(source, use, residency);
  }
  void reserve(std::int64_t rows, std::int64_t columns) override { inner_.reserve(rows, columns); }
  void reserve_weight(const WeightSource& source, unsigned use, Residency residency) override {
    inner_.reserve_weight(source, use, residency);
  }
  void submit() noexcept override { inner_.submit(); }
  [[nodiscard]] std::optional<std::string> finish() noexcept override {
    std::optional<std::string> result = inner_.finish();
    return failure_ ? std::exchange(failure_, std::nullopt) : std::move(result);
  }

  void get_rows(const Weight& table, const Tensor& ids, float scale,
                const Tensor& out) noexcept override {
    timed(Operation::kGetRows, [&] { inner_.get_rows(table, ids, scale, out); });
  }
  void matmul(const Tensor& x, std::span<const Projection> projections) noexcept override {
    timed(Operation::kMatmul, [&] { inner_.matmul(x, projections); });
  }
  void norm(const NormArguments& arguments) noexcept override {
    timed(Operation::kNorm, [&] { inner_.norm(arguments); });
  }
  void rope_table(const RopeAngles& angles, const Tensor& positions, const Tensor& factors,
                  const Tensor& table) noexcept override {
    timed(Operation::kRopeTable, [&] { inner_.rope_table(angles, positions, factors, table); });
  }
  void rope(RopePairing pairing, const Tensor& table, const Tensor& x,
            bool inverse) noexcept override {
    timed(Operation::kRope, [&] { inner_.rope(pairing, table, x, inverse); });
  }
  void store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                const Tensor& pool) noexcept override {
    timed(Operation::kStoreKv, [&] { inner_.store_kv(part, values, rows, pool); });
  }
  void attend(const AttendArguments& arguments) noexcept override {
    timed(Operation::kAttend, [&] { inner_.attend(arguments); });
  }
  void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept override {
    timed(Operation::kActivate, [&] { inner_.activate(activation, x, out); });
  }
  void activate_xielu(const Xielu& xielu, const Tensor& x, const Tensor& out) noexcept override {
    timed(Operation::kActivateXielu, [&] { inner_.activate_xielu(xielu, x, out); });
  }
  void activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                      const Tensor& out) noexcept override {
    timed(Operation::kActivateGated, [&] { inner_.activate_gated(gating, gate, up, out); });
  }
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept override {
    timed(Operation::kAdd, [&] { inner_.add(a, b, factor, out); });
  }
  void scale(const Tensor& x, float factor, const Tensor& out) noexcept override {
    timed(Operation::kScale, [&] { inner_.scale(x, factor, out); });
  }
  void scale_rows(const Tensor& x, const Tensor& factors) noexcept override {
    timed(Operation::kScaleRows, [&] { inner_.scale_rows(x, factors); });
  }
  void clamp(const Tensor& x, float limit) noexcept override {
    timed(Operation::kClamp, [&] { inner_.clamp(x, limit); });
  }
  void softcap(const Tensor& x, float cap) noexcept override {
    timed(Operation::kSoftcap, [&] { inner_.softcap(x, cap); });
  }
  void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept override {
    timed(Operation::kGather, [&] { inner_.gather(x, rows, out); });
  }
  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept override {
    timed(Operation::kMultiply, [&] { inner_.multiply(a, b, out); });
  }
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept override {
    timed(Operation::kMix, [&] { inner_.mix(coefficients, x, accumulate, out); });
  }
  void match_norm(const Tensor& x, const Tensor& like) noexcept override {
    timed(Operation::kMatchNorm, [&] { inner_.match_norm(x, like); });
  }
  void keep_largest(const Tensor& x, float multiplier) noexcept override {
    timed(Operation::kKeepLargest, [&] { inner_.keep_largest(x, multiplier); });
  }
  void route(const RouteArguments& arguments) noexcept override {
    timed(Operation::kRoute, [&] { inner_.route(arguments); });
  }
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept override {
    timed(Operation::kGroupedMatmul, [&] { inner_.grouped_matmul(x, ids, projections); });
  }
  void transposed_matmul(const TransposedArguments& arguments) noexcept override {
    timed(Operation::kTransposedMatmul, [&] { inner_.transposed_matmul(arguments); });
  }
  void attend_selected(const SelectedAttendArguments& arguments) noexcept override {
    timed(Operation::kAttendSelected, [&] { inner_.attend_selected(arguments); });
  }
  void select_cells(const SelectCellsArguments& arguments) noexcept override {
    timed(Operation::kSelectCells, [&] { inner_.select_cells(arguments); });
  }
  void select_blocks(const SelectBlocksArguments& arguments) noexcept override {
    timed(Operation::kSelectBlocks, [&] { inner_.select_blocks(arguments); });
  }
  void compress(const CompressArguments& arguments) noexcept override {
    timed(Operation::kCompress, [&] { inner_.compress(arguments); });
  }
  void convolve(const ConvolveArguments& arguments) noexcept override {
    timed(Operation::kConvolve, [&] { inner_.convolve(arguments); });
  }
  void delta_scan(const DeltaScanArguments& arguments) noexcept override {
    timed(Operation::kDeltaScan, [&] { inner_.delta_scan(arguments); });
  }
  void selective_scan(const SelectiveScanArguments& arguments) noexcept override {
    timed(Operation::kSelectiveScan, [&] { inner_.selective_scan(arguments); });
  }
  void state_space_scan(const StateSpaceScanArguments& arguments) noexcept override {
    timed(Operation::kStateSpaceScan, [&] { inner_.state_space_scan(arguments); });
  }
  void rwkv_scan(const RwkvScanArguments& arguments) noexcept override {
    timed(Operation::kRwkvScan, [&] { inner_.rwkv_scan(arguments); });
  }
  void hyper_weights(const HyperWeightsArguments& arguments) noexcept override {
    timed(Operation::kHyperWeights, [&] { inner_.hyper_weights(arguments); });
  }

 private:
  template <class Run>
  void timed(Operation operation, Run run) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    run();
    inner_.submit();
    if (std::optional<std::string> failure = inner_.finish(); failure && !failure_) {
      failure_ = std::move(failure);
    }
    OperationProfile& entry = profile_[static_cast<std::size_t>(operation)];
    ++entry.calls;
    entry.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  }

  Backend& inner_;
  Profile profile_{};
  std::optional<std::string> failure_;
};

}  // namespace

std::string_view operation_name(Operation operation) noexcept {
  return kNames[static_cast<std::size_t>(operation)];
}

std::unique_ptr<ProfileBackend> make_profile_backend(Backend& inner) {
  return std::make_unique<Profiler>(inner);
}

}  // namespace hearth::compute
