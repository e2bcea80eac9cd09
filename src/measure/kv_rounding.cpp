#include "measure/kv_rounding.h"

#include <algorithm>
#include <array>

#include "quant/quant.h"
#include "spec/kv_format.h"
#include "support/error.h"

namespace hearth::measure {

using quant::KvCode;
using quant::KvPart;
using tensor::DType;

namespace {

constexpr std::string_view kPlainQ4 = "q4_0";

}  // namespace

void round_to_blocks(DType type, std::span<float> values) noexcept {
  const tensor::DTypeInfo& info = tensor::info(type);
  std::array<std::byte, 256> block;  // the largest has 256 values in 210 bytes
  const std::span<std::byte> bytes = std::span(block).first(info.block_bytes);
  for (; values.size() >= info.block_elements; values = values.subspan(info.block_elements)) {
    const std::span<float> part = values.first(info.block_elements);
    quant::encode_kv(type, part, bytes);
    quant::decode(type, bytes, part);
  }
}

std::vector<std::string> kv_rounding_names() {
  std::vector<std::string> names;
  for (const spec::KvFormatName& each : spec::kv_format_names()) {
    if (each.name == "q4_0r") names.emplace_back(kPlainQ4);
    names.emplace_back(each.name);
  }
  return names;
}

KvRounding::KvRounding(std::string_view name, KvPart part, std::int64_t size)
    : part_(part), size_(size) {
  if (name == kPlainQ4) {
    type_ = DType::kQ4_0;
  } else {
    const spec::KvFormat format = spec::parse_kv_format(name);
    const spec::KvPartFormat& own = part == KvPart::kKeys ? format.keys : format.values;
    type_ = own.type;
    if (own.coded()) {
      if (!quant::can_code(own.code, size)) {
        throw Error("there are no " + std::string(name) + " codes for vectors of " +
                    std::to_string(size));
      }
      coder_.emplace(own.code, size);
      bits_ = quant::coded_bits_per_value(own.code, size);
      return;
    }
  }
  const tensor::DTypeInfo& info = tensor::info(type_);
  if (size % info.block_elements != 0) {
    throw Error("vectors of " + std::to_string(size) + " are no whole blocks of " +
                std::string(name));
  }
  bits_ = 8.0 * info.block_bytes / info.block_elements;
}

void KvRounding::round_pages(std::span<float> cells) const {
  if (!coder_) return round_to_blocks(type_, cells);
  const auto page = static_cast<std::size_t>(quant::kCodedCells * size_);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(quant::coded_page_bytes(coder_->code(), size_)));
  for (std::size_t begin = 0; begin + page <= cells.size(); begin += page) {
    coder_->encode_page(part_, cells.subspan(begin, page), bytes);
    coder_->decode_page(part_, bytes, cells.subspan(begin, page));
  }
}

void KvRounding::round_vector(std::span<const float> x, bool unbiased, std::span<float> out) const {
  if (!coder_) {
    std::copy(x.begin(), x.end(), out.begin());
    return round_to_blocks(type_, out);
  }
  coder_->approximate(x, unbiased ? quant::VectorScale::kUnbiased : quant::VectorScale::kNorm, out);
}

std::optional<KvCode> KvRounding::code() const noexcept {
  return coder_ ? std::optional(coder_->code()) : std::nullopt;
}

}  // namespace hearth::measure
