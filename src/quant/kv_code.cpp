#include "quant/kv_code.h"

#include <algorithm>
#include <cassert>

#include "quant/kv_coder.h"

namespace hearth::quant {
namespace {

constexpr std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

void add_run(CodedPageLayout& layout, std::int64_t first, std::int64_t end, int bits, int factor) {
  if (first >= end) return;
  layout.runs[static_cast<std::size_t>(layout.run_count++)] = {first, end - first, bits, factor,
                                                               layout.bytes};
  layout.bytes += (end - first) * kCodedCells * bits / 8;
}

/// The runs of one part.
void add_runs(CodedPageLayout& layout, const KvCode& code, int part) {
  constexpr std::int64_t kInt4Block = 32;
  const std::int64_t first = layout.part_begin[static_cast<std::size_t>(part)];
  const std::int64_t end = layout.part_begin[static_cast<std::size_t>(part) + 1];
  switch (code.kind) {
    case KvCode::Kind::kInt4:
      for (std::int64_t block = first; block < end; block += kInt4Block) {
        add_run(layout, block, std::min(block + kInt4Block, end), 4, layout.factor_rows++);
      }
      break;
    case KvCode::Kind::kInt8:
      add_run(layout, first, end, 8, layout.factor_rows++);
      break;
    case KvCode::Kind::kResidual:
      add_run(layout, first, end, code.half_bits / 2 - 1, layout.factor_rows);
      layout.factor_rows += 2;  // and that of the residual
      break;
    default: {
      const int bits = code.half_bits / 2;
      const std::int64_t richer = code.half_bits % 2 == 0 ? 0 : (end - first) / 2 / 16 * 16;
      add_run(layout, first, first + richer, bits + 1, layout.factor_rows);
      add_run(layout, first + richer, end, bits, layout.factor_rows++);
    }
  }
}

}  // namespace

bool can_code(const KvCode& code, std::int64_t size) noexcept {
  if (size < 1 || size > kMostCodedSize) return false;
  if (code.value_part % 16 != 0 || code.value_part > size) return false;
  switch (code.kind) {
    case KvCode::Kind::kNone:
      return false;
    case KvCode::Kind::kLloydMax:
      return code.half_bits >= 2 && code.half_bits <= 8;
    case KvCode::Kind::kResidual:
      return code.half_bits >= 4 && code.half_bits <= 8 && code.half_bits % 2 == 0;
    case KvCode::Kind::kInt4:
    case KvCode::Kind::kInt8:
      return true;
  }
  return false;
}

CodedPageLayout coded_page_layout(const KvCode& code, std::int64_t size) noexcept {
  assert(can_code(code, size));
  CodedPageLayout layout;
  layout.size = size;
  layout.padded = round_up(size, 16);
  layout.centred = code.centred;
  layout.half_factors = code.kind == KvCode::Kind::kInt4;
  const bool two = code.value_part > 0 && code.value_part < size;
  layout.parts = two ? 2 : 1;
  layout.part_begin = {0, two ? code.value_part : layout.padded, layout.padded};
  for (int part = 0; part < layout.parts; ++part) add_runs(layout, code, part);
  layout.signs = layout.bytes;
  if (code.kind == KvCode::Kind::kResidual) layout.bytes += layout.padded * kCodedCells / 8;
  layout.factors = layout.bytes;
  layout.bytes += layout.factor_rows * kCodedCells * (layout.half_factors ? 2 : 1);
  layout.mean = layout.bytes;
  if (layout.centred) layout.bytes += layout.padded;
  layout.largest = layout.bytes;
  if (!layout.half_factors) layout.bytes += layout.factor_rows * 4;
  layout.mean_units = layout.bytes;
  if (layout.centred) layout.bytes += layout.parts * 4;
  layout.bytes = round_up(layout.bytes, 8);
  return layout;
}

std::int64_t coded_page_bytes(const KvCode& code, std::int64_t size) noexcept {
  return can_code(code, size) ? coded_page_layout(code, size).bytes : 0;
}

double coded_bits_per_value(const KvCode& code, std::int64_t size) noexcept {
  return 8.0 * static_cast<double>(coded_page_bytes(code, size)) /
         static_cast<double>(std::max<std::int64_t>(size, 1) * kCodedCells);
}

CodePlace code_place(KvPart part, int bits, std::int64_t cell, std::int64_t i) noexcept {
  constexpr std::int64_t kLanes = 16, kVector = 64;
  std::int64_t block, vector, lane;
  if (part == KvPart::kKeys) {
    block = i / 8;
    vector = 4 * (i % 8 / 4) + cell / kLanes;
    lane = cell % kLanes * 4 + i % 4;
  } else {
    block = i / kLanes * 2 + cell / 32;
    vector = cell % 32 / 4;
    lane = i % kLanes * 4 + cell % 4;
  }
  const std::int64_t base = block * kVector * bits + lane;
  const auto shift = static_cast<int>(vector);
  switch (bits) {
    case 8:
      return {base + vector * kVector, 0, 0, 0};
    case 4:
      return {base + vector / 2 * kVector, shift % 2 * 4, 0, 0};
    case 1:
      return {base, shift, 0, 0};
    default:  // 3 bits: two and then one
      return {base + vector / 4 * kVector, shift % 4 * 2, base + 2 * kVector, shift};
  }
}

}  // namespace hearth::quant
