#include "measure/random_blocks.h"

#include <array>
#include <cstring>

namespace hearth::measure {

using tensor::DType;

namespace {

/// A half-precision number in a block.
struct HalfField {
  std::size_t at;
  float value;
};

/// The scales of the types that keep them as plain halves (places: quant-blocks.md): what makes the
/// root mean square of the values 0.02 when all codes are random. `minimum` shifts their mean to 0.
struct Scales {
  DType dtype;
  HalfField scale;
  HalfField minimum{0, 0};
};
constexpr Scales kScales[] = {
    {DType::kQ4_0, {0, 4.3e-3F}},
    {DType::kQ4_1, {0, 4.3e-3F}, {2, -3.2e-2F}},
    {DType::kQ5_0, {0, 2.2e-3F}},
    {DType::kQ5_1, {0, 2.2e-3F}, {2, -3.4e-2F}},
    {DType::kQ8_0, {0, 2.7e-4F}},
    {DType::kQ2_K, {80, 1.3e-3F}, {82, 1.9e-3F}},
    {DType::kQ3_K, {108, 4.7e-4F}},
    {DType::kQ4_K, {0, 7e-5F}, {2, 5.2e-4F}},
    {DType::kQ5_K, {0, 3.5e-5F}, {2, 5.4e-4F}},
    {DType::kQ6_K, {208, 1.5e-5F}},
    {DType::kIQ2_XXS, {0, 4e-4F}},
    {DType::kIQ2_XS, {0, 4e-4F}},
    {DType::kIQ2_S, {0, 4e-4F}},
    {DType::kIQ3_XXS, {0, 1.5e-4F}},
    {DType::kIQ3_S, {0, 1.5e-4F}},
    {DType::kIQ1_S, {0, 3e-3F}},
    {DType::kIQ4_NL, {0, 2.7e-4F}},
    {DType::kIQ4_XS, {0, 1.5e-5F}},
    {DType::kTQ1_0, {52, 2.5e-2F}},
    {DType::kTQ2_0, {64, 2.5e-2F}},
    {DType::kQ1_0, {0, 2e-2F}},
    {DType::kQ2_0, {0, 1.6e-2F}},
};

const Scales* find_scales(DType dtype) noexcept {
  for (const Scales& scales : kScales) {
    if (scales.dtype == dtype) return &scales;
  }
  return nullptr;
}

/// xorshift64* (Vigna 2016, arXiv:1402.6246).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 0xD1B54A32D192ED03U) {
    if (state_ == 0) state_ = 1;
  }
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DU;
  }

 private:
  std::uint64_t state_;
};

/// Random words of which `keep` are the random bits and `set` are set: numbers of one binary
/// exponent.
void fill_masked(Random& random, std::uint64_t keep, std::uint64_t set, std::span<std::byte> out) {
  std::size_t i = 0;
  for (; i + 8 <= out.size(); i += 8) {
    const std::uint64_t word = (random.next() & keep) | set;
    std::memcpy(out.data() + i, &word, 8);
  }
  const std::uint64_t word = (random.next() & keep) | set;
  std::memcpy(out.data() + i, &word, out.size() - i);
}

constexpr std::uint64_t kAll = ~std::uint64_t{0};
constexpr std::uint64_t repeated16(std::uint64_t bits) { return bits * 0x0001000100010001U; }
constexpr std::uint64_t repeated32(std::uint64_t bits) { return bits * 0x0000000100000001U; }

/// The bytes that are five digits of base 3: ceil(256 v / 243).
constexpr std::array<std::byte, 256> kFiveDigits = [] {
  std::array<std::byte, 256> table{};
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t v = i * 243 / 256;
    table[i] = static_cast<std::byte>((256 * v + 242) / 243);
  }
  return table;
}();

void put_half(std::byte* block, const HalfField& field) {
  const std::uint16_t bits = tensor::half_from_float(field.value);
  std::memcpy(block + field.at, &bits, sizeof bits);
}

/// The scale of IQ1_M, whose nibbles are the top ones of four 16-bit words.
void put_iq1_m_scale(std::byte* block) {
  const std::uint16_t bits = tensor::half_from_float(3e-3F);
  for (std::size_t i = 0; i < 4; ++i) {
    std::byte& top = block[48 + 2 * i + 1];
    top = (top & std::byte{0x0F}) | static_cast<std::byte>(((bits >> (4 * i)) & 15) << 4);
  }
}

void finish_block(DType dtype, const Scales* scales, std::byte* block) {
  switch (dtype) {
    case DType::kTQ1_0:
      for (std::size_t i = 0; i < 52; ++i)
        block[i] = kFiveDigits[static_cast<std::size_t>(block[i])];
      break;
    case DType::kTQ2_0:
      for (std::size_t i = 0; i < 64; ++i) {  // code 3 becomes 2
        const std::byte both = (block[i] >> 1) & block[i] & std::byte{0x55};
        block[i] &= ~both;
      }
      break;
    case DType::kMXFP4:
      block[0] = std::byte{120};  // 2^-7
      return;
    case DType::kNVFP4:
      std::memset(block, 4, 4);  // 4 * 2^-9
      return;
    case DType::kIQ1_M:
      return put_iq1_m_scale(block);
    default:
      break;
  }
  put_half(block, scales->scale);
  if (scales->minimum.value != 0) put_half(block, scales->minimum);
}

}  // namespace

bool has_random_blocks(DType dtype) noexcept {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kMXFP4:
    case DType::kNVFP4:
    case DType::kIQ1_M:
      return true;
    default:
      return find_scales(dtype) != nullptr;
  }
}

void fill_random_blocks(DType dtype, std::uint64_t seed, std::span<std::byte> out) noexcept {
  Random random(seed);
  // Plain numbers: sign and mantissa random, 2^-6 <= |x| < 2^-5.
  if (dtype == DType::kF32) {
    return fill_masked(random, repeated32(0x807FFFFF), repeated32(121U << 23), out);
  }
  if (dtype == DType::kF16) {
    return fill_masked(random, repeated16(0x83FF), repeated16(9U << 10), out);
  }
  if (dtype == DType::kBF16) {
    return fill_masked(random, repeated16(0x807F), repeated16(121U << 7), out);
  }
  fill_masked(random, kAll, 0, out);
  const Scales* const scales = find_scales(dtype);
  const std::size_t block = tensor::info(dtype).block_bytes;
  for (std::size_t i = 0; i + block <= out.size(); i += block) {
    finish_block(dtype, scales, out.data() + i);
  }
}

}  // namespace hearth::measure
