#include "compute/cpu/matmul.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "compute/cpu/access.h"

namespace hearth::compute::cpu {
namespace {

// Larger batches are cut, so that quantized activations stay near the cores.
constexpr std::int64_t kSlabRows = 512;
// Below this many multiply-adds waking the team costs more than it saves.
constexpr std::int64_t kInlineWork = 1 << 16;
// Quantizing this many values on one thread takes a few microseconds.
constexpr std::int64_t kInlineQuantize = 1 << 14;

std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

}  // namespace

std::int64_t padded_stride(std::int64_t bytes) noexcept {
  const std::int64_t stride = round_up(bytes, 64);
  return stride % 1024 == 0 ? stride + 64 : stride;
}

void CpuWeight::make_panel(std::int64_t matrix, std::int64_t panel, bool biased,
                           std::byte* to) const noexcept {
  pack_panel(source(), format_, biased, matrix * rows() + panel * kPanelRows, panel_rows(panel),
             to);
}

const std::byte* CpuWeight::panel(std::int64_t matrix, std::int64_t panel, bool biased,
                                  std::byte* scratch) const noexcept {
  if (memory_.data() != nullptr) {
    return memory_.data() + static_cast<std::size_t>(matrix * panels() + panel) * panel_bytes_;
  }
  make_panel(matrix, panel, biased, scratch);
  return scratch;
}

void CpuWeight::pack(WeightSlabs& slabs, ThreadTeam& team, bool biased) {
  memory_ = slabs.allocate(packed_bytes());
  const auto grain =
      std::max<std::int64_t>(1, (std::int64_t{1} << 18) / static_cast<std::int64_t>(panel_bytes_));
  team.for_chunks(panels() * matrices(), grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      make_panel(i / panels(), i % panels(), biased,
                 memory_.data() + static_cast<std::size_t>(i) * panel_bytes_);
    }
  });
}

void MatmulEngine::reserve(std::int64_t rows, std::int64_t columns, std::size_t panel_bytes) {
  rows = std::min(rows, kSlabRows);
  if (rows > rows_ || columns > columns_) {
    rows_ = std::max(rows_, rows);
    columns_ = std::max(columns_, round_up(columns, 256));
    stride32_ = padded_stride(Row32Layout(columns_).bytes);
    stride256_ = padded_stride(Row256Layout(columns_).bytes);
    activations_ = AccountedPages();
    activations_ = AccountedPages(ledger_, MemoryCategory::kBuffers,
                                  static_cast<std::size_t>(rows_ * (stride32_ + stride256_)));
  }
  if (panel_bytes > scratch_bytes_) {
    scratch_bytes_ = (panel_bytes + 63) / 64 * 64;
    scratch_ = AccountedPages();
    scratch_ = AccountedPages(ledger_, MemoryCategory::kBuffers,
                              scratch_bytes_ * static_cast<std::size_t>(team_.size()));
  }
}

/// What one pass over a slab of the batch works on.
struct MatmulEngine::Pass {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t rows = 0;
  std::int64_t first_row = 0;
  std::int64_t columns = 0;
  bool blocks32 = false;
  bool blocks256 = false;
  std::byte* rows32 = nullptr;
  std::byte* rows256 = nullptr;
};

void MatmulEngine::quantize(const Pass& pass, std::int64_t begin, std::int64_t end) const noexcept {
  for (std::int64_t t = begin; t < end; ++t) {
    const float* const x = pass.x + t * pass.x_stride;
    if (pass.blocks32) kernels_.quantize32(x, pass.columns, pass.rows32 + t * stride32_);
    if (pass.blocks256) kernels_.quantize256(x, pass.columns, pass.rows256 + t * stride256_);
  }
}

void MatmulEngine::multiply_panel(const Pass& pass, const Projection& projection,
                                  std::int64_t panel, std::int64_t begin, std::int64_t end,
                                  int thread) const noexcept {
  const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
  DotArguments dot;
  dot.panel = weight.panel(0, panel, kernels_.biased_weights, scratch(thread));
  dot.columns = pass.columns;
  const std::byte* rows = nullptr;
  switch (row_format(weight.format())) {
    case RowFormat::kFloat:
      rows = reinterpret_cast<const std::byte*>(pass.x);
      dot.row_stride = pass.x_stride * 4;
      break;
    case RowFormat::kBlocks32:
      rows = pass.rows32;
      dot.row_stride = stride32_;
      break;
    case RowFormat::kBlocks256:
      rows = pass.rows256;
      dot.row_stride = stride256_;
      break;
  }
  alignas(64) float tile[kDotColumns * kPanelRows];
  dot.out = tile;
  const std::int64_t first = panel * kPanelRows;
  const std::int64_t count = weight.panel_rows(panel);
  const float* const bias = projection.bias ? floats_of(projection.bias) + first : nullptr;
  float* const out = floats_of(projection.out) + pass.first_row * projection.out.strides[0] + first;
  const DotFunction multiply = kernels_.dot[static_cast<int>(weight.format())];
  for (std::int64_t t = begin; t < end; t += kDotColumns) {
    dot.rows = rows + t * dot.row_stride;
    dot.count = static_cast<int>(std::min<std::int64_t>(kDotColumns, end - t));
    multiply(dot);
    for (int c = 0; c < dot.count; ++c) {
      float* const to = out + (t + c) * projection.out.strides[0];
      const float* const from = tile + c * kPanelRows;
      for (std::int64_t r = 0; r < count; ++r) {
        to[r] = projection.scale * from[r] + (bias != nullptr ? bias[r] : 0.0F);
      }
    }
  }
}

void MatmulEngine::run_slab(const Tensor& x, std::span<const Projection> projections,
                            std::int64_t first_row) noexcept {
  Pass pass;
  pass.x = floats_of(x) + first_row * x.strides[0];
  pass.x_stride = x.strides[0];
  pass.rows = std::min(rows_, x.shape[0] - first_row);
  pass.first_row = first_row;
  pass.columns = x.shape[1];
  pass.rows32 = activations_.data();
  pass.rows256 = activations_.data() + rows_ * stride32_;
  std::int64_t panels = 0;
  std::int64_t bytes = 0;
  for (const Projection& projection : projections) {
    const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
    const RowFormat format = row_format(weight.format());
    pass.blocks32 |= format == RowFormat::kBlocks32;
    pass.blocks256 |= format == RowFormat::kBlocks256;
    panels += weight.panels();
    bytes += weight.panels() * static_cast<std::int64_t>(weight.panel_bytes());
  }
  // Panel number `index` of all projections together, for rows [begin, end).
  const auto multiply = [&](std::int64_t index, std::int64_t begin, std::int64_t end, int thread) {
    for (const Projection& projection : projections) {
      const std::int64_t own = static_cast<const CpuWeight&>(*projection.weight).panels();
      if (index < own) return multiply_panel(pass, projection, index, begin, end, thread);
      index -= own;
    }
  };
  const int threads = team_.size();
  const bool needs_rows = pass.blocks32 || pass.blocks256;
  const bool quantize_here =
      needs_rows && (threads == 1 || pass.rows * pass.columns <= kInlineQuantize);
  if (quantize_here) quantize(pass, 0, pass.rows);
  if (threads == 1 || panels * kPanelRows * pass.columns * pass.rows <= kInlineWork) {
    if (needs_rows && !quantize_here) quantize(pass, 0, pass.rows);
    for (std::int64_t panel = 0; panel < panels; ++panel) multiply(panel, 0, pass.rows, 0);
    return;
  }
  // Units of work: some panels (about 128 KiB, so that the counter costs nothing and the memory
  // stream stays long) by all rows, or by some rows where there are few panels.
  const std::int64_t fair = std::max<std::int64_t>(1, panels / (4 * threads));
  const std::int64_t grain =
      pass.rows > kDotColumns
          ? 1
          : std::clamp<std::int64_t>((std::int64_t{1} << 17) * panels / bytes, 1, fair);
  const std::int64_t panel_units = (panels + grain - 1) / grain;
  std::int64_t row_grain = pass.rows;
  while (panel_units * ((pass.rows + row_grain - 1) / row_grain) < 4 * threads &&
         row_grain > 8 * kDotColumns) {
    row_grain = round_up(row_grain / 2, kDotColumns);
  }
  const std::int64_t row_units = (pass.rows + row_grain - 1) / row_grain;
  std::atomic<std::int64_t> next_row{quantize_here || !needs_rows ? pass.rows : 0};
  std::atomic<std::int64_t> rows_done{next_row.load(std::memory_order_relaxed)};
  std::atomic<std::int64_t> next_unit{0};
  team_.run([&](int thread) noexcept {
    for (;;) {
      const std::int64_t begin = next_row.fetch_add(4, std::memory_order_relaxed);
      if (begin >= pass.rows) break;
      const std::int64_t end = std::min(begin + 4, pass.rows);
      quantize(pass, begin, end);
      rows_done.fetch_add(end - begin, std::memory_order_release);
    }
    while (rows_done.load(std::memory_order_acquire) < pass.rows) std::this_thread::yield();
    for (;;) {
      const std::int64_t unit = next_unit.fetch_add(1, std::memory_order_relaxed);
      if (unit >= panel_units * row_units) return;
      const std::int64_t first = unit / row_units * grain;
      const std::int64_t begin = unit % row_units * row_grain;
      const std::int64_t end = std::min(begin + row_grain, pass.rows);
      for (std::int64_t panel = first; panel < std::min(first + grain, panels); ++panel)
        multiply(panel, begin, end, thread);
    }
  });
}

void MatmulEngine::run(const Tensor& x, std::span<const Projection> projections) noexcept {
  for (std::int64_t first = 0; first < x.shape[0]; first += rows_) run_slab(x, projections, first);
}

}  // namespace hearth::compute::cpu
