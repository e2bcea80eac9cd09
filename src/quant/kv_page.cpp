// Pages of the codes of kv_coder.h, plainly.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "quant/bytes.h"
#include "quant/kv_coder.h"
#include "tensor/dtype.h"

namespace hearth::quant {
namespace {

constexpr auto kCells = static_cast<std::size_t>(kCodedCells);

unsigned get_code(const std::byte* codes, int bits, const CodePlace& place) noexcept {
  const unsigned low = std::to_integer<unsigned>(codes[place.byte]) >> place.shift;
  if (bits != 3) return low & ((1U << bits) - 1);
  const unsigned high = std::to_integer<unsigned>(codes[place.high_byte]) >> place.high_shift;
  return (low & 3U) | (high & 1U) << 2;
}

/// The bits must be zero before.
void put_code(std::byte* codes, int bits, const CodePlace& place, unsigned code) noexcept {
  const unsigned low = bits == 3 ? code & 3U : code;
  codes[place.byte] |= static_cast<std::byte>(low << place.shift);
  if (bits == 3) codes[place.high_byte] |= static_cast<std::byte>(code >> 2 << place.high_shift);
}

float factor_at(const CodedPageLayout& layout, const std::byte* page, int row,
                std::int64_t cell) noexcept {
  return load<float>(page + layout.largest + 4 * row) *
         factor_steps()[std::to_integer<std::size_t>(
             page[layout.factors + row * kCodedCells + cell])];
}

/// Writes a row of factors; what is read back is near them, or with `up` not below.
void put_factors(const CodedPageLayout& layout, std::byte* page, int row,
                 const std::array<float, kCells>& factors, bool up = false) noexcept {
  const float largest = *std::max_element(factors.begin(), factors.end());
  store(page + layout.largest + 4 * row, largest);
  for (std::size_t cell = 0; cell < kCells; ++cell) {
    std::uint8_t byte = largest > 0 ? factor_byte(factors[cell] / largest) : std::uint8_t{255};
    if (up && factors[cell] > 0) {
      byte = std::min<std::uint8_t>(byte, 254);
      while (byte > 0 && largest * factor_steps()[byte] < factors[cell]) --byte;
    }
    page[layout.factors + row * kCodedCells + static_cast<std::int64_t>(cell)] = std::byte{byte};
  }
}

}  // namespace

void KvCoder::take_mean(float* cells, std::byte* page) const noexcept {
  const std::int64_t padded = layout_.padded;
  for (int part = 0; part < layout_.parts; ++part) {
    const std::int64_t first = layout_.part_begin[static_cast<std::size_t>(part)];
    float mean[kMostCodedSize] = {};
    float most = 0;
    for (std::int64_t i = first; i < part_end(part); ++i) {
      double sum = 0;
      for (std::int64_t cell = 0; cell < kCodedCells; ++cell) sum += cells[cell * padded + i];
      mean[i] = static_cast<float>(sum / kCodedCells);
      most = std::max(most, std::abs(mean[i]));
    }
    const float unit = most / 127;
    store(page + layout_.mean_units + 4 * part, unit);
    for (std::int64_t i = first; i < part_end(part); ++i) {
      const int number = nearest_number(mean[i], unit, -127, 127);
      store(page + layout_.mean + i, static_cast<std::int8_t>(number));
      for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
        cells[cell * padded + i] -= unit * static_cast<float>(number);
      }
    }
  }
}

void KvCoder::encode_levels(KvPart kv, const float* cells, std::byte* page) const noexcept {
  const bool residual = code_.kind == KvCode::Kind::kResidual;
  const std::int64_t padded = layout_.padded;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(kCodedCells * padded));
  std::array<float, kCells> factors;
  for (int part = 0; part < layout_.parts; ++part) {
    const VectorScale scale = residual ? VectorScale::kNorm : VectorScale::kUnbiased;
    for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
      factors[static_cast<std::size_t>(cell)] =
          code_part(part, cells + cell * padded, scale, codes.data() + cell * padded);
    }
    const int row = residual ? 2 * part : part;
    put_factors(layout_, page, row, factors);
    if (!residual) continue;
    for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
      float rest[kMostCodedSize] = {};
      float projected[kMostCodedSize];
      numbers_of(part, codes.data() + cell * padded, factor_at(layout_, page, row, cell), rest);
      for (std::int64_t i = 0; i < padded; ++i) rest[i] = cells[cell * padded + i] - rest[i];
      factors[static_cast<std::size_t>(cell)] = project(part, rest, projected);
      for (std::int64_t i = layout_.part_begin[static_cast<std::size_t>(part)]; i < part_end(part);
           ++i) {
        put_code(page + layout_.signs, 1, code_place(kv, 1, cell, i), projected[i] > 0 ? 1 : 0);
      }
    }
    put_factors(layout_, page, row + 1, factors);
  }
  for (const CodeRun& run : layout_.all_runs()) {
    for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        put_code(page + run.offset, run.bits, code_place(kv, run.bits, cell, i),
                 codes[static_cast<std::size_t>(cell * padded + run.first + i)]);
      }
    }
  }
}

void KvCoder::encode_integers(KvPart kv, const float* cells, std::byte* page) const noexcept {
  for (const CodeRun& run : layout_.all_runs()) {
    IntegerScale scale;
    std::array<float, kCells> factors;
    for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
      scale = integer_scale(code_.kind, cells + cell * layout_.padded + run.first, run.count);
      factors[static_cast<std::size_t>(cell)] = scale.factor;
      if (layout_.half_factors) {
        store(page + layout_.factors + 2 * (run.factor * kCodedCells + cell),
              tensor::half_from_float(scale.factor));
      }
    }
    if (!layout_.half_factors) {
      // A smaller factor would cut the largest numbers off.
      put_factors(layout_, page, run.factor, factors, true);
      for (std::size_t cell = 0; cell < kCells; ++cell) {
        factors[cell] = factor_at(layout_, page, run.factor, static_cast<std::int64_t>(cell));
      }
    }
    const int zero = run.bits == 8 ? 128 : 8;
    for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        const int number =
            nearest_number(cells[cell * layout_.padded + run.first + i],
                           factors[static_cast<std::size_t>(cell)], scale.low, scale.high);
        put_code(page + run.offset, run.bits, code_place(kv, run.bits, cell, i),
                 static_cast<unsigned>(number + zero));
      }
    }
  }
}

void KvCoder::encode_page(KvPart part, std::span<const float> cells,
                          std::span<std::byte> page) const noexcept {
  assert(static_cast<std::int64_t>(cells.size()) == kCodedCells * layout_.size);
  assert(static_cast<std::int64_t>(page.size()) == layout_.bytes);
  std::fill(page.begin(), page.end(), std::byte{0});
  std::vector<float> turned(static_cast<std::size_t>(kCodedCells * layout_.padded));
  for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
    float* const row = turned.data() + cell * layout_.padded;
    std::transform(cells.data() + cell * layout_.size, cells.data() + (cell + 1) * layout_.size,
                   row, made_finite);
    rotation_.turn(row);
  }
  if (layout_.centred) take_mean(turned.data(), page.data());
  if (code_.kind == KvCode::Kind::kInt4 || code_.kind == KvCode::Kind::kInt8) {
    encode_integers(part, turned.data(), page.data());
  } else {
    encode_levels(part, turned.data(), page.data());
  }
}

void KvCoder::decode_rotated(KvPart kv, const std::byte* page, std::int64_t cell,
                             float* out) const noexcept {
  const bool integers = code_.kind == KvCode::Kind::kInt4 || code_.kind == KvCode::Kind::kInt8;
  for (const CodeRun& run : layout_.all_runs()) {
    const int zero = run.bits == 8 ? 128 : 8;
    const float factor =
        layout_.half_factors
            ? load_half(page + layout_.factors + 2 * (run.factor * kCodedCells + cell))
            : factor_at(layout_, page, run.factor, cell);
    for (std::int64_t i = 0; i < run.count; ++i) {
      const unsigned code =
          get_code(page + run.offset, run.bits, code_place(kv, run.bits, cell, i));
      const int number = integers ? static_cast<int>(code) - zero : table(run).numbers[code];
      out[run.first + i] = factor * static_cast<float>(number);
    }
  }
  for (int part = 0; part < layout_.parts; ++part) {
    if (code_.kind == KvCode::Kind::kResidual) {
      float signs[kMostCodedSize];
      for (std::int64_t i = 0; i < layout_.padded; ++i) {
        signs[i] =
            get_code(page + layout_.signs, 1, code_place(kv, 1, cell, i)) != 0 ? 1.0F : -1.0F;
      }
      add_signs(part, signs, factor_at(layout_, page, 2 * part + 1, cell), out);
    }
    if (!layout_.centred) continue;
    const auto unit = load<float>(page + layout_.mean_units + 4 * part);
    for (std::int64_t i = layout_.part_begin[static_cast<std::size_t>(part)]; i < part_end(part);
         ++i) {
      out[i] += unit * static_cast<float>(load<std::int8_t>(page + layout_.mean + i));
    }
  }
  // Padding is coded, too, but stands for nothing.
  std::fill(out + layout_.size, out + layout_.padded, 0.0F);
}

void KvCoder::decode_cell(KvPart part, std::span<const std::byte> page, std::int64_t cell,
                          float* out) const noexcept {
  assert(static_cast<std::int64_t>(page.size()) == layout_.bytes);
  decode_rotated(part, page.data(), cell, out);
  rotation_.turn_back(out);
}

void KvCoder::decode_page(KvPart part, std::span<const std::byte> page,
                          std::span<float> cells) const noexcept {
  assert(static_cast<std::int64_t>(cells.size()) == kCodedCells * layout_.size);
  float row[kMostCodedSize];
  for (std::int64_t cell = 0; cell < kCodedCells; ++cell) {
    decode_cell(part, page, cell, row);
    std::copy_n(row, layout_.size, cells.data() + cell * layout_.size);
  }
}

}  // namespace hearth::quant
