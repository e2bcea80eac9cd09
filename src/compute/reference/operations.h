// The larger operations of the reference backend, one file per family: see compute/backend.h.
#pragma once

#include "compute/backend.h"

namespace hearth::compute::reference {

// elementwise.cpp
void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept;
void mix(const Tensor& coefficients, const Tensor& x, bool accumulate, const Tensor& out) noexcept;
void match_norm(const Tensor& x, const Tensor& like) noexcept;
void keep_largest(const Tensor& x, float multiplier) noexcept;
void hyper_weights(const HyperWeightsArguments& a) noexcept;

// experts.cpp
void route(const RouteArguments& a) noexcept;
void grouped_matmul(const Tensor& x, const Tensor& ids,
                    std::span<const GroupedProjection> projections) noexcept;

// selection.cpp
void transposed_matmul(const TransposedArguments& a) noexcept;
void attend_selected(const SelectedAttendArguments& a) noexcept;
void select_cells(const SelectCellsArguments& a) noexcept;
void select_blocks(const SelectBlocksArguments& a) noexcept;
void compress(const CompressArguments& a) noexcept;

// coded_pages.cpp
void encode_pages(const EncodePagesArguments& a) noexcept;

// recurrent.cpp
void convolve(const ConvolveArguments& a) noexcept;
void delta_scan(const DeltaScanArguments& a) noexcept;
void selective_scan(const SelectiveScanArguments& a) noexcept;
void state_space_scan(const StateSpaceScanArguments& a) noexcept;
void rwkv_scan(const RwkvScanArguments& a) noexcept;

}  // namespace hearth::compute::reference
