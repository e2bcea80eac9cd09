#include "compute/cpu/matmul.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "compute/cpu/access.h"
#include "compute/cpu/panel_queue.h"

namespace hearth::compute::cpu {
namespace {

// Larger batches are cut, so that converted activations stay near the cores.
constexpr std::int64_t kSlabRows = 512;
// Of the second-level cache: expanded panels, and the rows that meet them, take this much each.
constexpr std::int64_t kWideBytes = 320 << 10;
constexpr std::int64_t kRowBytes = 384 << 10;
constexpr std::int64_t kMostWidePanels = 8;
// Blocks of rows are multiples of what kernels take at once: 6 or 8.
constexpr std::int64_t kRowMultiple = 24;
// Rows that there is always room for.
constexpr std::int64_t kLeastRows = 16;

std::size_t bytes_of(PanelFormat format, std::int64_t columns) noexcept {
  return (panel_bytes(format, columns) + 63) / 64 * 64;
}

/// Stores wait in order for their lines, each from far away: they are asked for before the
/// products.
void fetch_outputs(const DotArguments& dot, std::int64_t width) noexcept {
  for (int c = 0; c < dot.count; ++c) {
    for (std::int64_t i = 0; i < width; i += kPanelRows) {
      __builtin_prefetch(dot.out + c * dot.out_stride + i, 1);
    }
  }
}

}  // namespace

std::int64_t padded_stride(std::int64_t bytes) noexcept {
  const std::int64_t stride = round_up(bytes, 64);
  return stride % 1024 == 0 ? stride + 64 : stride;
}

// ---- Weights ------------------------------------------------------------------------------------

void CpuWeight::make_panel(std::int64_t matrix, std::int64_t panel, const KernelTable& kernels,
                           std::byte* to) const noexcept {
  pack_panel(kernels, source(), format_, matrix * rows() + panel * kPanelRows, panel_rows(panel),
             to);
}

const std::byte* CpuWeight::panel(std::int64_t matrix, std::int64_t panel,
                                  const KernelTable& kernels, std::byte* scratch) const noexcept {
  if (memory_.data() != nullptr) {
    return memory_.data() + static_cast<std::size_t>(matrix * panels() + panel) * panel_bytes_;
  }
  make_panel(matrix, panel, kernels, scratch);
  return scratch;
}

void CpuWeight::pack(WeightSlabs& slabs, ThreadTeam& team, const KernelTable& kernels) {
  memory_ = slabs.allocate(packed_bytes());
  const auto grain =
      std::max<std::int64_t>(1, (std::int64_t{1} << 18) / static_cast<std::int64_t>(panel_bytes_));
  team.for_chunks(panels() * matrices(), grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      make_panel(i / panels(), i % panels(), kernels,
                 memory_.data() + static_cast<std::size_t>(i) * panel_bytes_);
    }
  });
}

namespace {

/// Rows from which on expanding panels is worth it: for codes that become weights by one to three
/// instructions the second.
constexpr std::int64_t kManyRows = 33, kManyRowsOfSimple = 97;

bool is_simple(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kQ8_0:
    case PanelFormat::kQ4_0:
    case PanelFormat::kQ4_1:
    case PanelFormat::kIQ4_NL:
    case PanelFormat::kMXFP4:
    case PanelFormat::kQ4_K:
    case PanelFormat::kQ5_K:
    case PanelFormat::kIQ4_XS:
    case PanelFormat::kIQ3_S:
    case PanelFormat::kTernary:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool ReadyPanels::are_many(const KernelTable& kernels, const CpuWeight& weight,
                           std::int64_t rows) noexcept {
  // A panel that must be made takes longer, and has room for itself only, an expanded one more.
  const bool simple = !kernels.tiles && weight.is_packed() && is_simple(weight.format());
  return rows >= (simple ? kManyRowsOfSimple : kManyRows);
}

bool ReadyPanels::expands(const KernelTable& kernels, const CpuWeight& weight,
                          std::int64_t rows) noexcept {
  if (kernels.expand[static_cast<int>(weight.format())] == nullptr) return false;
  // Multiplied as it is, a packed panel of Q4_K is as fast as an expanded one and half as large.
  const bool never = !kernels.tiles && weight.is_packed() && weight.format() == PanelFormat::kQ4_K;
  return !never && are_many(kernels, weight, rows);
}

ReadyPanels::ReadyPanels(const KernelTable& kernels, const CpuWeight& weight, std::int64_t matrix,
                         std::int64_t first, std::int64_t count, std::int64_t rows,
                         std::byte* native, std::byte* wide) noexcept
    : columns_(weight.columns()) {
  if (!expands(kernels, weight, rows)) {
    start_ = weight.panel(matrix, first, kernels, native);
    stride_ = weight.panel_bytes();
    multiply_ = kernels.dot[static_cast<int>(weight.format())];
    if (weight.is_packed()) last_ = weight.panel(matrix, weight.panels() - 1, kernels, native);
    return;
  }
  const ExpandFunction expand = kernels.expand[static_cast<int>(weight.format())];
  const PanelFormat format = wide_format(weight.format());
  start_ = wide;
  stride_ = bytes_of(format, columns_);
  multiply_ = kernels.dot[static_cast<int>(format)];
  multiply_two_ = kernels.dot_two[static_cast<int>(format)];
  for (std::int64_t i = 0; i < count; ++i) {
    expand(weight.panel(matrix, first + i, kernels, native), columns_,
           wide + static_cast<std::size_t>(i) * stride_);
  }
}

void ReadyPanels::fetch_next(std::int64_t index, std::int64_t rows,
                             DotArguments& dot) const noexcept {
  // Fewer rows are waiting for memory as it is, and reads ahead only stand in their way.
  constexpr std::int64_t kLeast = 4, kMost = 24;
  const std::byte* const panel = start_ + static_cast<std::size_t>(index) * stride_;
  const bool any = rows >= kLeast && last_ != nullptr && panel < last_;
  dot.next = any ? panel + stride_ : nullptr;
  dot.next_rows = any ? static_cast<int>(std::min(rows, kMost)) : 0;
}

std::int64_t ReadyPanels::together(const KernelTable& kernels, const CpuWeight& weight,
                                   std::int64_t left, std::int64_t rows) noexcept {
  const auto wide = static_cast<int>(wide_format(weight.format()));
  const bool can = kernels.dot_two[wide] != nullptr && expands(kernels, weight, rows);
  return can ? std::min(left, kPairPanels) : 1;
}

void ReadyPanels::multiply(std::int64_t index, std::int64_t panels,
                           DotArguments dot) const noexcept {
  dot.panel = start_ + static_cast<std::size_t>(index) * stride_;
  dot.panel_stride = stride_;
  dot.columns = columns_;
  if (panels == 2 && dot.count == kPairColumns) return multiply_two_(dot);
  for (std::int64_t i = 0; i < panels; ++i, dot.panel += stride_, dot.out += kPanelRows) {
    multiply_(dot);
  }
}

// ---- Activations --------------------------------------------------------------------------------

void ActivationRows::want(RowFormat format, std::int64_t columns) noexcept {
  switch (format) {
    case RowFormat::kFloat:
      return;
    case RowFormat::kBFloat:
      bfloats.stride = padded_stride(round_up(2 * columns, 64));
      return;
    case RowFormat::kBlocks32:
      blocks32.stride = padded_stride(Row32Layout(columns).bytes);
      return;
    case RowFormat::kBlocks256x32:
    case RowFormat::kBlocks256x16:
      (format == RowFormat::kBlocks256x32 ? parts256.for_32 : parts256.for_16) = true;
      blocks256.stride = padded_stride(parts256.bytes(columns));
      return;
  }
}

void ActivationRows::place(std::byte* space, std::int64_t rows) noexcept {
  for (Part* part : {&blocks32, &blocks256, &bfloats}) {
    part->first = space;
    space += rows * part->stride;
  }
}

void ActivationRows::convert(const KernelTable& kernels, const float* x, std::int64_t columns,
                             std::int64_t row) const noexcept {
  if (blocks32.stride > 0) kernels.quantize32(x, columns, blocks32.first + row * blocks32.stride);
  if (blocks256.stride > 0) {
    kernels.quantize256(x, columns, parts256, blocks256.first + row * blocks256.stride);
  }
  if (bfloats.stride > 0) kernels.to_bfloat(x, columns, bfloats.first + row * bfloats.stride);
}

const ActivationRows::Part& ActivationRows::part(RowFormat format) const noexcept {
  return format == RowFormat::kBlocks32 ? blocks32
         : format == RowFormat::kBFloat ? bfloats
                                        : blocks256;
}

void MatmulEngine::reserve(std::int64_t rows, std::int64_t columns) {
  rows_ = std::max({rows_, kLeastRows, std::min(rows, kSlabRows)});
  columns_ = std::max(columns_, round_up(columns, 256));
  ActivationRows wanted;
  for (const RowFormat format : {RowFormat::kBlocks32, RowFormat::kBlocks256x32,
                                 RowFormat::kBlocks256x16, RowFormat::kBFloat}) {
    if (wanted_[static_cast<std::size_t>(format)]) wanted.want(format, columns_);
  }
  const auto bytes = static_cast<std::size_t>(rows_ * wanted.bytes_per_row());
  if (bytes <= activations_.size()) return;
  activations_ = AccountedPages();
  activations_ = AccountedPages(ledger_, MemoryCategory::kBuffers, bytes);
}

std::int64_t MatmulEngine::wide_panels(const CpuWeight& weight) const noexcept {
  if (kernels_.expand[static_cast<int>(weight.format())] == nullptr) {
    return weight.is_packed() ? kMostWidePanels : 1;
  }
  const auto bytes =
      static_cast<std::int64_t>(bytes_of(wide_format(weight.format()), weight.columns()));
  return std::clamp<std::int64_t>(kWideBytes / bytes, kPairPanels, kMostWidePanels);
}

void MatmulEngine::reserve_weight(const CpuWeight& weight, bool packed) {
  wanted_[static_cast<std::size_t>(row_format(weight.format()))] = true;
  reserve(0, weight.columns());
  std::size_t native = packed ? 0 : bytes_of(weight.format(), weight.columns());
  std::size_t wide = 0;
  if (kernels_.expand[static_cast<int>(weight.format())] != nullptr) {
    wide = bytes_of(wide_format(weight.format()), weight.columns()) *
           static_cast<std::size_t>(wide_panels(weight));
  }
  native = std::max(native, native_bytes_);
  wide = std::max(wide, wide_bytes_);
  if (native == native_bytes_ && wide == wide_bytes_) return;
  native_bytes_ = native;
  wide_bytes_ = wide;
  scratch_ = AccountedPages();
  scratch_ = AccountedPages(ledger_, MemoryCategory::kBuffers,
                            (native + wide) * static_cast<std::size_t>(team_.size()));
}

// ---- Products -----------------------------------------------------------------------------------

/// What one pass over a slab of the batch works on.
struct MatmulEngine::Pass {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t rows = 0;
  std::int64_t first_row = 0;
  std::int64_t columns = 0;
  ActivationRows converted;
};

/// Some panels of a projection by some rows of the slab.
struct MatmulEngine::Unit {
  const Projection& projection;
  std::int64_t panel, panels;
  std::int64_t begin, end;
};

void MatmulEngine::multiply(const Pass& pass, const Unit& unit, int thread) const noexcept {
  const auto& weight = static_cast<const CpuWeight&>(*unit.projection.weight);
  const ReadyPanels ready(kernels_, weight, 0, unit.panel, unit.panels, unit.end - unit.begin,
                          native_scratch(thread), wide_scratch(thread));
  DotArguments dot;
  const std::byte* rows = nullptr;
  if (row_format(weight.format()) == RowFormat::kFloat) {
    rows = reinterpret_cast<const std::byte*>(pass.x);
    dot.row_stride = pass.x_stride * 4;
  } else {
    const ActivationRows::Part& part = pass.converted.part(row_format(weight.format()));
    rows = part.first;
    dot.row_stride = part.stride;
  }
  const Tensor& to = unit.projection.out;
  float* const out = floats_of(to) + pass.first_row * to.strides[0];
  alignas(64) float tile[kDotColumns * kPairPanels * kPanelRows];
  const bool direct = unit.projection.scale == 1.0F && !unit.projection.bias;
  const std::int64_t block = std::max<std::int64_t>(
      kRowMultiple, kRowBytes / dot.row_stride / kRowMultiple * kRowMultiple);
  for (std::int64_t start = unit.begin; start < unit.end; start += block) {
    const std::int64_t stop = std::min(start + block, unit.end);
    std::int64_t panels = 1;
    for (std::int64_t i = 0; i < unit.panels; i += panels) {
      panels = ReadyPanels::together(kernels_, weight, unit.panels - i, unit.end - unit.begin);
      const std::int64_t first = (unit.panel + i) * kPanelRows;
      const std::int64_t width = panels * kPanelRows;
      const std::int64_t count = std::min(width, weight.rows() - first);
      const bool whole = direct && count == width;
      const float* const bias =
          unit.projection.bias ? floats_of(unit.projection.bias) + first : nullptr;
      dot.out_stride = whole ? to.strides[0] : width;
      ready.fetch_next(i, stop - start, dot);
      for (std::int64_t t = start; t < stop; t += dot.count) {
        dot.rows = rows + t * dot.row_stride;
        dot.count = static_cast<int>(ReadyPanels::rows_at_once(panels, stop - t));
        dot.next_row = static_cast<int>(t - unit.begin);
        dot.out = whole ? out + t * to.strides[0] + first : tile;
        if (whole) fetch_outputs(dot, width);
        ready.multiply(i, panels, dot);
        if (whole) continue;
        for (int c = 0; c < dot.count; ++c) {
          float* const row = out + (t + c) * to.strides[0] + first;
          const float* const from = tile + c * width;
          for (std::int64_t r = 0; r < count; ++r) {
            row[r] = unit.projection.scale * from[r] + (bias != nullptr ? bias[r] : 0.0F);
          }
        }
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
  const int threads = team_.size();
  std::int64_t panels = 0;
  std::int64_t bytes = 0;
  std::int64_t grain = kMostWidePanels;
  for (const Projection& projection : projections) {
    const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
    pass.converted.want(row_format(weight.format()), pass.columns);
    panels += weight.panels();
    bytes += weight.panels() * static_cast<std::int64_t>(weight.panel_bytes());
    grain = std::min(grain, wide_panels(weight));
  }
  pass.converted.place(activations_.data(), rows_);
  const bool converts = pass.converted.bytes_per_row() > 0;
  const auto convert = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      pass.converted.convert(kernels_, pass.x + t * pass.x_stride, pass.columns, t);
    }
  };
  const bool alone = threads == 1 || panels * kPanelRows * pass.columns * pass.rows <= kInlineWork;
  const bool convert_here = converts && (alone || pass.rows * pass.columns <= kInlineConvert);
  if (convert_here) convert(0, pass.rows);
  // For few rows, panels of all projections in turn. They are not expanded, and those that must be
  // made have room for one only.
  const bool few =
      std::none_of(projections.begin(), projections.end(), [&](const Projection& projection) {
        return ReadyPanels::are_many(kernels_, static_cast<const CpuWeight&>(*projection.weight),
                                     pass.rows);
      });
  PanelQueue queue(panels, bytes, pass.rows, threads);
  const auto multiply_panels = [&](PanelQueue::Range range, int thread) {
    for (const Projection& projection : projections) {
      const auto& weight = static_cast<const CpuWeight&>(*projection.weight);
      const std::int64_t end = std::min(range.end, weight.panels());
      const std::int64_t at_once = weight.is_packed() ? weight.panels() : 1;
      while (range.begin < end) {
        const std::int64_t count = std::min(at_once, end - range.begin);
        multiply(pass, {projection, range.begin, count, 0, pass.rows}, thread);
        range.begin += count;
      }
      range.begin -= weight.panels();
      range.end -= weight.panels();
      if (range.empty()) return;
    }
  };
  // Else units of work: as many panels as are expanded at once, and some of the rows only where
  // there are few panels.
  const std::int64_t fair = std::max<std::int64_t>(1, panels / (4 * threads));
  grain = std::clamp<std::int64_t>(grain, 1, fair);
  std::int64_t row_grain = pass.rows;
  const auto row_units = [&] { return (pass.rows + row_grain - 1) / row_grain; };
  while (!alone && (panels + grain - 1) / grain * row_units() < 4 * threads &&
         row_grain > 8 * kDotColumns) {
    row_grain = round_up(row_grain / 2, kDotColumns);
  }
  // Unit number `index`: units do not cross projections.
  const auto multiply_unit = [&](std::int64_t index, int thread) {
    const std::int64_t begin = index % row_units() * row_grain;
    const std::int64_t end = std::min(begin + row_grain, pass.rows);
    std::int64_t group = index / row_units();
    for (const Projection& projection : projections) {
      const std::int64_t own = static_cast<const CpuWeight&>(*projection.weight).panels();
      const std::int64_t groups = (own + grain - 1) / grain;
      if (group >= groups) {
        group -= groups;
        continue;
      }
      const std::int64_t first = group * grain;
      const std::int64_t count = std::min(grain, own - first);
      return multiply(pass, {projection, first, count, begin, end}, thread);
    }
  };
  std::int64_t units = 0;
  for (const Projection& projection : projections) {
    units += (static_cast<const CpuWeight&>(*projection.weight).panels() + grain - 1) / grain;
  }
  units *= row_units();
  if (alone) {
    if (converts && !convert_here) convert(0, pass.rows);
    if (few) return multiply_panels({0, panels}, 0);
    for (std::int64_t unit = 0; unit < units; ++unit) multiply_unit(unit, 0);
    return;
  }
  std::atomic<std::int64_t> next_row{convert_here || !converts ? pass.rows : 0};
  std::atomic<std::int64_t> rows_done{next_row.load(std::memory_order_relaxed)};
  std::atomic<std::int64_t> next_unit{0};
  team_.share([&](int thread) noexcept {
    for (;;) {
      const std::int64_t begin = next_row.fetch_add(4, std::memory_order_relaxed);
      if (begin >= pass.rows) break;
      const std::int64_t end = std::min(begin + 4, pass.rows);
      convert(begin, end);
      rows_done.fetch_add(end - begin, std::memory_order_release);
    }
    while (rows_done.load(std::memory_order_acquire) < pass.rows) std::this_thread::yield();
    if (few) {
      for (auto range = queue.take(thread); !range.empty(); range = queue.take(thread)) {
        multiply_panels(range, thread);
      }
      return;
    }
    for (;;) {
      const std::int64_t unit = next_unit.fetch_add(1, std::memory_order_relaxed);
      if (unit >= units) return;
      multiply_unit(unit, thread);
    }
  });
}

void MatmulEngine::run(const Tensor& x, std::span<const Projection> projections) noexcept {
  for (std::int64_t first = 0; first < x.shape[0]; first += rows_) run_slab(x, projections, first);
}

}  // namespace hearth::compute::cpu
