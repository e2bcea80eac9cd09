#include "compute/forward/forwarding_backend.h"

namespace hearth::compute {
namespace {

constexpr std::array<std::string_view, kOperations> kNames = {"write",
                                                              "get_rows",
                                                              "matmul",
                                                              "norm",
                                                              "rope_table",
                                                              "rope",
                                                              "store_kv",
                                                              "encode_pages",
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

}  // namespace

std::string_view operation_name(Operation operation) noexcept {
  return kNames[static_cast<std::size_t>(operation)];
}

std::unique_ptr<Buffer> ForwardingBackend::allocate(std::size_t bytes, MemoryCategory category) {
  return inner_.allocate(bytes, category);
}

std::size_t ForwardingBackend::allocated(MemoryCategory category) const noexcept {
  return inner_.allocated(category);
}

void ForwardingBackend::write(const Tensor& to, const void* host) noexcept {
  forward(Operation::kUpload, [&] { inner_.write(to, host); });
}

void ForwardingBackend::read(const Tensor& from, void* host) noexcept { inner_.read(from, host); }

void ForwardingBackend::copy(const Tensor& from, const Tensor& to) noexcept {
  inner_.copy(from, to);
}

std::unique_ptr<Weight> ForwardingBackend::load_weight(const WeightSource& source, unsigned use,
                                                       Residency residency) {
  return inner_.load_weight(source, use, residency);
}

std::size_t ForwardingBackend::resident_bytes(const WeightSource& source, unsigned use,
                                              Residency residency) const noexcept {
  return inner_.resident_bytes(source, use, residency);
}

void ForwardingBackend::reserve(std::int64_t rows, std::int64_t columns) {
  inner_.reserve(rows, columns);
}

void ForwardingBackend::reserve_weight(const WeightSource& source, unsigned use,
                                       Residency residency) {
  inner_.reserve_weight(source, use, residency);
}

void ForwardingBackend::submit() noexcept { inner_.submit(); }

std::optional<std::string> ForwardingBackend::finish() noexcept { return inner_.finish(); }

void ForwardingBackend::get_rows(const Weight& table, const Tensor& ids, float scale,
                                 const Tensor& out) noexcept {
  forward(Operation::kGetRows, [&] { inner_.get_rows(table, ids, scale, out); });
}

void ForwardingBackend::matmul(const Tensor& x, std::span<const Projection> projections) noexcept {
  forward(Operation::kMatmul, [&] { inner_.matmul(x, projections); });
}

void ForwardingBackend::norm(const NormArguments& arguments) noexcept {
  forward(Operation::kNorm, [&] { inner_.norm(arguments); });
}

void ForwardingBackend::rope_table(const RopeAngles& angles, const Tensor& positions,
                                   const Tensor& factors, const Tensor& table) noexcept {
  forward(Operation::kRopeTable, [&] { inner_.rope_table(angles, positions, factors, table); });
}

void ForwardingBackend::rope(RopePairing pairing, const Tensor& table, const Tensor& x,
                             bool inverse) noexcept {
  forward(Operation::kRope, [&] { inner_.rope(pairing, table, x, inverse); });
}

void ForwardingBackend::store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                                 const Tensor& pool) noexcept {
  forward(Operation::kStoreKv, [&] { inner_.store_kv(part, values, rows, pool); });
}

void ForwardingBackend::encode_pages(const EncodePagesArguments& arguments) noexcept {
  forward(Operation::kEncodePages, [&] { inner_.encode_pages(arguments); });
}

void ForwardingBackend::attend(const AttendArguments& arguments) noexcept {
  forward(Operation::kAttend, [&] { inner_.attend(arguments); });
}

void ForwardingBackend::activate(Activation activation, const Tensor& x,
                                 const Tensor& out) noexcept {
  forward(Operation::kActivate, [&] { inner_.activate(activation, x, out); });
}

void ForwardingBackend::activate_xielu(const Xielu& xielu, const Tensor& x,
                                       const Tensor& out) noexcept {
  forward(Operation::kActivateXielu, [&] { inner_.activate_xielu(xielu, x, out); });
}

void ForwardingBackend::activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                                       const Tensor& out) noexcept {
  forward(Operation::kActivateGated, [&] { inner_.activate_gated(gating, gate, up, out); });
}

void ForwardingBackend::add(const Tensor& a, const Tensor& b, float factor,
                            const Tensor& out) noexcept {
  forward(Operation::kAdd, [&] { inner_.add(a, b, factor, out); });
}

void ForwardingBackend::scale(const Tensor& x, float factor, const Tensor& out) noexcept {
  forward(Operation::kScale, [&] { inner_.scale(x, factor, out); });
}

void ForwardingBackend::scale_rows(const Tensor& x, const Tensor& factors) noexcept {
  forward(Operation::kScaleRows, [&] { inner_.scale_rows(x, factors); });
}

void ForwardingBackend::clamp(const Tensor& x, float limit) noexcept {
  forward(Operation::kClamp, [&] { inner_.clamp(x, limit); });
}

void ForwardingBackend::softcap(const Tensor& x, float cap) noexcept {
  forward(Operation::kSoftcap, [&] { inner_.softcap(x, cap); });
}

void ForwardingBackend::gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept {
  forward(Operation::kGather, [&] { inner_.gather(x, rows, out); });
}

void ForwardingBackend::multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept {
  forward(Operation::kMultiply, [&] { inner_.multiply(a, b, out); });
}

void ForwardingBackend::mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
                            const Tensor& out) noexcept {
  forward(Operation::kMix, [&] { inner_.mix(coefficients, x, accumulate, out); });
}

void ForwardingBackend::match_norm(const Tensor& x, const Tensor& like) noexcept {
  forward(Operation::kMatchNorm, [&] { inner_.match_norm(x, like); });
}

void ForwardingBackend::keep_largest(const Tensor& x, float multiplier) noexcept {
  forward(Operation::kKeepLargest, [&] { inner_.keep_largest(x, multiplier); });
}

void ForwardingBackend::route(const RouteArguments& arguments) noexcept {
  forward(Operation::kRoute, [&] { inner_.route(arguments); });
}

void ForwardingBackend::grouped_matmul(const Tensor& x, const Tensor& ids,
                                       std::span<const GroupedProjection> projections) noexcept {
  forward(Operation::kGroupedMatmul, [&] { inner_.grouped_matmul(x, ids, projections); });
}

void ForwardingBackend::transposed_matmul(const TransposedArguments& arguments) noexcept {
  forward(Operation::kTransposedMatmul, [&] { inner_.transposed_matmul(arguments); });
}

void ForwardingBackend::attend_selected(const SelectedAttendArguments& arguments) noexcept {
  forward(Operation::kAttendSelected, [&] { inner_.attend_selected(arguments); });
}

void ForwardingBackend::select_cells(const SelectCellsArguments& arguments) noexcept {
  forward(Operation::kSelectCells, [&] { inner_.select_cells(arguments); });
}

void ForwardingBackend::select_blocks(const SelectBlocksArguments& arguments) noexcept {
  forward(Operation::kSelectBlocks, [&] { inner_.select_blocks(arguments); });
}

void ForwardingBackend::compress(const CompressArguments& arguments) noexcept {
  forward(Operation::kCompress, [&] { inner_.compress(arguments); });
}

void ForwardingBackend::convolve(const ConvolveArguments& arguments) noexcept {
  forward(Operation::kConvolve, [&] { inner_.convolve(arguments); });
}

void ForwardingBackend::delta_scan(const DeltaScanArguments& arguments) noexcept {
  forward(Operation::kDeltaScan, [&] { inner_.delta_scan(arguments); });
}

void ForwardingBackend::selective_scan(const SelectiveScanArguments& arguments) noexcept {
  forward(Operation::kSelectiveScan, [&] { inner_.selective_scan(arguments); });
}

void ForwardingBackend::state_space_scan(const StateSpaceScanArguments& arguments) noexcept {
  forward(Operation::kStateSpaceScan, [&] { inner_.state_space_scan(arguments); });
}

void ForwardingBackend::rwkv_scan(const RwkvScanArguments& arguments) noexcept {
  forward(Operation::kRwkvScan, [&] { inner_.rwkv_scan(arguments); });
}

void ForwardingBackend::hyper_weights(const HyperWeightsArguments& arguments) noexcept {
  forward(Operation::kHyperWeights, [&] { inner_.hyper_weights(arguments); });
}

}  // namespace hearth::compute
