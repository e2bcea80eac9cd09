#include "compute/cpu/coded_pages.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "compute/cpu/access.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/kv_layout.h"
#include "tensor/dtype.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kCells = quant::kCodedCells;
constexpr std::int64_t kPanels = kCells / kPanelRows;
constexpr std::int64_t kBlockCells = 8;  // coordinates of keys that a block of codes has

template <class T>
void put(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}
template <class T>
T get(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Of kInt4, whose numbers are -8 .. 7.
constexpr std::int8_t kNibbles[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

}  // namespace

const CodedKernels& coded_kernels_of(const KernelTable& kernels) noexcept {
  [[maybe_unused]] const std::string_view name = kernels.name;
#if defined(__x86_64__)
#if !defined(HEARTH_NO_AVX512BF16)
  if (name == "avx512bf16" || name == "amx") return coded_kernels_avx512bf16();
#endif
#if !defined(HEARTH_NO_AVX512VNNI)
  if (name == "avx512vnni") return coded_kernels_avx512vnni();
#endif
  if (name == "avx2" || name == "avxvnni") return coded_kernels_avx2();
#elif defined(__aarch64__)
  if (name != "portable") return coded_kernels_neon();
#endif
  return coded_kernels_portable();
}

PageCoder::PageCoder(const KvCode& code, std::int64_t size) : coder_(code, size) {
  for (const quant::Rotation::Stage& stage : coder_.rotation().stages()) {
    stages_.push_back({stage.first, stage.size, stage.factors.data()});
    if (stage.first < layout().part_begin[1]) ++first_stages_;
  }
}

const std::int8_t* PageCoder::numbers(const quant::CodeRun& run) const noexcept {
  if (coder_.code().kind == KvCode::Kind::kInt8) return nullptr;
  if (coder_.code().kind == KvCode::Kind::kInt4) return kNibbles;
  return coder_.table(run).numbers.data();
}

void PageCoder::factors(const CodedKernels& kernels, const std::byte* page, int row,
                        float* to) const noexcept {
  const quant::CodedPageLayout& l = layout();
  if (l.half_factors) {
    kernels.half_factors(page + l.factors + 2 * row * kCells, to);
  } else {
    kernels.factors(page + l.factors + row * kCells, get<float>(page + l.largest + 4 * row),
                    quant::factor_steps().data(), to);
  }
}

float PageCoder::mean_unit(const std::byte* page, int part) const noexcept {
  return get<float>(page + layout().mean_units + 4 * part);
}

const PageCoder& CoderCache::of(const KvCode& code, std::int64_t size) {
  for (const auto& page_coder : coders_) {
    if (page_coder->coder().code() == code && page_coder->layout().size == size) {
      return *page_coder;
    }
  }
  coders_.push_back(std::make_unique<PageCoder>(code, size));
  return *coders_.back();
}

struct PageEncoder::Job {
  const EncodePagesArguments* a;
  const PageCoder* coder;
  KvLayout raw_layout;
  std::int64_t panel_floats;  // of sixteen cells

  [[nodiscard]] const quant::CodedPageLayout& layout() const noexcept { return coder->layout(); }
  [[nodiscard]] int part_of(const quant::CodeRun& run) const noexcept {
    return run.first >= layout().part_begin[1] ? 1 : 0;
  }
};

/// The cells of a raw page in lanes: [4 panels][padded][16].
void PageEncoder::load(const Job& job, const std::byte* raw, float* cells) const noexcept {
  const Tensor& pool = job.a->raw;
  const std::int64_t size = pool.shape[3];
  const PanelFormat format = panel_format_of(pool);
  const bool keys = job.a->part == KvPart::kKeys;
  for (std::int64_t panel = 0; panel < kPanels; ++panel) {
    float* const to = cells + panel * job.panel_floats;
    if (job.raw_layout == KvLayout::kRows) {
      const std::byte* lanes[kPanelRows];
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        lanes[lane] = raw + pool_bytes(pool, (panel * kPanelRows + lane) * pool.strides[2]);
      }
      kernels_.keys_to_panel(lanes, format, size, to);
    } else if (job.raw_layout == KvLayout::kPairs && keys) {
      kernels_.pair_attention->to_floats(
          raw + panel * 4 * kPanelRows,
          pool.dtype == DType::kF16 ? PairFormat::kF16 : PairFormat::kBF16, (size + 1) / 2, to);
    } else if (job.raw_layout == KvLayout::kPairs) {
      coded_.load_value_pairs(raw, format, size, panel, to);
    } else if (keys) {
      coded_.load_key_panel(raw + pool_bytes(pool, panel * kPanelRows * size), format, size, to);
    } else {
      coded_.load_value_panel(raw, format, size, panel, to);
    }
    std::fill(to + size * kPanelRows, to + job.panel_floats, 0.0F);
    coded_.make_finite(to, size);
  }
}

void PageEncoder::take_mean(const Job& job, float* cells, std::byte* coded) const noexcept {
  const quant::CodedPageLayout& l = job.layout();
  float mean[kMaxHeadSize];
  coded_.mean_lanes(cells, job.panel_floats, l.padded, mean);
  for (int part = 0; part < l.parts; ++part) {
    const std::int64_t first = l.part_begin[static_cast<std::size_t>(part)];
    const std::int64_t end = l.part_begin[static_cast<std::size_t>(part) + 1];
    float most = 0;
    for (std::int64_t i = first; i < end; ++i) most = std::max(most, std::abs(mean[i]));
    const float unit = most / 127;
    put(coded + l.mean_units + 4 * part, unit);
    for (std::int64_t i = first; i < end; ++i) {
      const int number = quant::nearest_number(mean[i], unit, -127, 127);
      put(coded + l.mean + i, static_cast<std::int8_t>(number));
      mean[i] = unit * static_cast<float>(number);
    }
  }
  for (std::int64_t panel = 0; panel < kPanels; ++panel) {
    coded_.subtract_mean(cells + panel * job.panel_floats, l.padded, mean);
  }
}

namespace {

/// Writes a row of factors as bytes relative to the largest; with `up` what they mean is not below
/// them, and is what `factors` hold afterwards.
void put_factors(const quant::CodedPageLayout& l, std::byte* coded, int row, float* factors,
                 bool up) noexcept {
  const auto& steps = quant::factor_steps();
  const float largest = *std::max_element(factors, factors + kCells);
  put(coded + l.largest + 4 * row, largest);
  for (std::int64_t cell = 0; cell < kCells; ++cell) {
    std::uint8_t byte =
        largest > 0 ? quant::factor_byte(factors[cell] / largest) : std::uint8_t{255};
    if (up && factors[cell] > 0) {
      byte = std::min<std::uint8_t>(byte, 254);
      while (byte > 0 && largest * steps[byte] < factors[cell]) --byte;
    }
    coded[l.factors + row * kCells + cell] = std::byte{byte};
    if (up) factors[cell] = largest * steps[byte];
  }
}

}  // namespace

void PageEncoder::code_levels(const Job& job, const float* cells, std::byte* bytes,
                              std::byte* coded) const noexcept {
  const quant::CodedPageLayout& l = job.layout();
  for (int part = 0; part < l.parts; ++part) {
    const std::int64_t first = l.part_begin[static_cast<std::size_t>(part)];
    const std::int64_t end = l.part_begin[static_cast<std::size_t>(part) + 1];
    const auto count = static_cast<float>(std::min(end, l.size) - first);
    float factors[kCells];
    for (std::int64_t panel = 0; panel < kPanels; ++panel) {
      const float* const x = cells + panel * job.panel_floats;
      float squares[kPanelRows] = {};
      float products[kPanelRows] = {};
      float to_unit[kPanelRows];
      coded_.squares(x + first * kPanelRows, end - first, squares);
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        to_unit[lane] = squares[lane] > 0 ? std::sqrt(count / squares[lane]) : 0.0F;
      }
      for (const quant::CodeRun& run : l.all_runs()) {
        if (job.part_of(run) != part) continue;
        const quant::CodeTable& table = job.coder->coder().table(run);
        coded_.code({.x = x + run.first * kPanelRows,
                     .count = run.count,
                     .to_unit = to_unit,
                     .bits = run.bits,
                     .numbers = table.numbers.data(),
                     .boundaries = table.boundaries.data(),
                     .to = bytes + run.first * kCells + panel * 4 * kPanelRows,
                     .product = products});
      }
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        factors[panel * kPanelRows + lane] =
            squares[lane] > 0 ? squares[lane] / products[lane] : 0.0F;
      }
    }
    put_factors(l, coded, part, factors, false);
  }
}

void PageEncoder::code_integers(const Job& job, const float* cells, std::byte* bytes,
                                std::byte* coded) const noexcept {
  const quant::CodedPageLayout& l = job.layout();
  const KvCode::Kind kind = job.a->code.kind;
  for (const quant::CodeRun& run : l.all_runs()) {
    float factors[kCells];
    float low = 0;
    float high = 0;
    for (std::int64_t panel = 0; panel < kPanels; ++panel) {
      float extremes[2][kPanelRows];
      coded_.extremes(cells + panel * job.panel_floats + run.first * kPanelRows, run.count,
                      extremes[0], extremes[1]);
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        const float both[2] = {extremes[0][lane], extremes[1][lane]};
        const quant::IntegerScale scale = quant::integer_scale(kind, both, 2);
        factors[panel * kPanelRows + lane] = scale.factor;
        low = static_cast<float>(scale.low);
        high = static_cast<float>(scale.high);
      }
    }
    if (l.half_factors) {
      for (std::int64_t cell = 0; cell < kCells; ++cell) {
        put(coded + l.factors + 2 * (run.factor * kCells + cell),
            tensor::half_from_float(factors[cell]));
      }
    } else {
      put_factors(l, coded, run.factor, factors, true);
    }
    for (float& factor : factors) factor = std::abs(factor) > 1e-37F ? 1 / factor : 0.0F;
    for (std::int64_t panel = 0; panel < kPanels; ++panel) {
      coded_.round({.x = cells + panel * job.panel_floats + run.first * kPanelRows,
                    .count = run.count,
                    .inverse = factors + panel * kPanelRows,
                    .low = low,
                    .high = high,
                    .zero = run.bits == 8 ? 128.0F : 8.0F,
                    .to = bytes + run.first * kCells + panel * 4 * kPanelRows});
    }
  }
}

void PageEncoder::encode(const Job& job, const std::byte* raw, std::byte* coded,
                         int thread) noexcept {
  const quant::CodedPageLayout& l = job.layout();
  float* const cells = memory_.workspace(thread);
  auto* bytes = reinterpret_cast<std::byte*>(cells + kPanels * job.panel_floats);
  load(job, raw, cells);
  for (std::int64_t panel = 0; panel < kPanels; ++panel) {
    coded_.turn_lanes(job.coder->rotation(), cells + panel * job.panel_floats);
  }
  // Nothing of the page is left as it was, so that equal pages are equal bytes.
  std::memset(coded + l.factors, 0, static_cast<std::size_t>(l.bytes - l.factors));
  if (l.centred) take_mean(job, cells, coded);
  const bool integers =
      job.a->code.kind == KvCode::Kind::kInt4 || job.a->code.kind == KvCode::Kind::kInt8;
  if (integers) {
    code_integers(job, cells, bytes, coded);
  } else {
    code_levels(job, cells, bytes, coded);
  }
  if (job.a->part == KvPart::kValues) {
    std::byte* const turned = bytes + l.padded * kCells;
    coded_.turn_bytes(bytes, l.padded / kPanelRows, turned);
    bytes = turned;
  }
  for (const quant::CodeRun& run : l.all_runs()) {
    coded_.pack(bytes + run.first * kCells, run.bits, run.count / kBlockCells, coded + run.offset);
  }
}

/// For codes that are only there for comparison. Takes memory.
void PageEncoder::encode_plainly(const Job& job, const std::byte* raw, std::byte* coded) noexcept {
  const std::int64_t size = job.layout().size;
  std::vector<float> lanes(static_cast<std::size_t>(kPanels * job.panel_floats));
  std::vector<float> cells(static_cast<std::size_t>(kCells * size));
  load(job, raw, lanes.data());
  for (std::int64_t cell = 0; cell < kCells; ++cell) {
    for (std::int64_t i = 0; i < size; ++i) {
      cells[static_cast<std::size_t>(cell * size + i)] = lanes[static_cast<std::size_t>(
          cell / kPanelRows * job.panel_floats + i * kPanelRows + cell % kPanelRows)];
    }
  }
  job.coder->coder().encode_page(job.a->part, cells,
                                 {coded, static_cast<std::size_t>(job.layout().bytes)});
}

void PageEncoder::run(const EncodePagesArguments& a) noexcept {
  Job job{&a, &coders_.of(a.code, a.raw.shape[3]), kv_layout(a.raw, a.part, kernels_), 0};
  job.panel_floats = job.layout().padded * kPanelRows;
  const std::int64_t heads = a.raw.shape[1];
  const std::int64_t units = a.pairs.shape[0] * heads;
  team_.for_chunks(units, 1, [&](std::int64_t begin, std::int64_t end, int thread) noexcept {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int32_t* const pair = ints_of(a.pairs) + unit / heads * a.pairs.strides[0];
      const std::int64_t head = unit % heads;
      const std::byte* const raw =
          bytes_of(a.raw) + pool_bytes(a.raw, pair[0] * a.raw.strides[0] + head * a.raw.strides[1]);
      std::byte* const coded =
          bytes_of(a.coded) + pair[1] * a.coded.strides[0] + head * a.coded.strides[1];
      if (job.coder->direct()) {
        encode(job, raw, coded, thread);
      } else {
        encode_plainly(job, raw, coded);
      }
    }
  });
}

}  // namespace hearth::compute::cpu
