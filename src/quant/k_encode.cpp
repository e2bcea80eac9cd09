// Q3_K and Q6_K: a scale per 16 values. (Q2_K, Q4_K, Q5_K: k_affine_encode.cpp.)
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/encode_two_level.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {}  // namespace

void encode_q3_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  using Levels = IntegerLevels<-4, 3>;
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 110) {
    std::memset(to, 0, 110);
    if (!block.load(from + b * kSuperBlock, kSuperBlock, weights, b * kSuperBlock,
                    Spread::kTwiceBlock)) {
      continue;
    }
    TwoLevelSearch<Levels, 16, 16, -32, 31> search(block, {2.2F, 0.12F, 22}, 1e-3F);
    const auto best = search.best({-32, 31, -31, 30, -30, 29, -28.5F, 27, -27, 25.5F, -24, 22.5F});
    store(to + 108, best.scale.bits);
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    for (int sub = 0; sub < 16; ++sub) {
      const int stored = best.parts_scales[sub] + 32;
      or_bits(bytes[96 + sub % 8], sub < 8 ? stored & 15 : (stored & 15) << 4);
      or_bits(bytes[104 + sub % 4], (stored >> 4) << (2 * (sub / 4)));
      int codes[16];
      codes_for<Levels>(block.x + 16 * sub, 16,
                        best.scale.value * static_cast<float>(best.parts_scales[sub]), codes);
      std::uint8_t* quants = bytes + 32 + 32 * (sub / 8) + 16 * (sub & 1);
      std::uint8_t* mask = bytes + 16 * (sub & 1);
      for (int i = 0; i < 16; ++i) {
        or_bits(quants[i], (codes[i] & 3) << (2 * ((sub / 2) & 3)));
        or_bits(mask[i], (codes[i] >> 2) << (sub / 2));
      }
    }
  }
}

void encode_q6_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  using Levels = IntegerLevels<-32, 31>;
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 210) {
    std::memset(to, 0, 210);
    if (!block.load(from + b * kSuperBlock, kSuperBlock, weights, b * kSuperBlock, Spread::kNone)) {
      continue;
    }
    TwoLevelSearch<Levels, 16, 16, -128, 127> search(block, {27.0F, 0.5F, 14}, 1.6e-5F);
    const auto best = search.best({-128, 127, -125.5F, 123, -119, 116, -111, 104});
    store(to + 208, best.scale.bits);
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    for (int sub = 0; sub < 16; ++sub) {
      bytes[192 + sub] = static_cast<std::uint8_t>(best.parts_scales[sub]);
      int codes[16];
      codes_for<Levels>(block.x + 16 * sub, 16,
                        best.scale.value * static_cast<float>(best.parts_scales[sub]), codes);
      const int half = sub / 8;
      const int group = (sub / 2) & 3;
      const int lane = 16 * (sub & 1);
      std::uint8_t* low = bytes + 64 * half + 32 * (group & 1) + lane;
      std::uint8_t* high = bytes + 128 + 32 * half + lane;
      for (int i = 0; i < 16; ++i) {
        or_bits(low[i], (codes[i] & 15) << (4 * (group / 2)));
        or_bits(high[i], (codes[i] >> 4) << (2 * group));
      }
    }
  }
}

}  // namespace hearth::quant
