// The kernels that read the codes of pages, written once over the primitives of an instruction set.
//
// Included only by coded_kernels_code.h.
#pragma once

#include <initializer_list>

#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"

namespace hearth::compute::cpu {
namespace {

/// A vector of codes of up to four bits from the packed ones of its block.
template <int kBits, int kIndex>
inline B code_vector(const std::byte* block) {
  if constexpr (kBits == 4) {
    const B both = load_bytes(block + kIndex / 2 * kVector);
    return kIndex % 2 == 0 ? low_nibbles(both) : high_nibbles(both);
  } else if constexpr (kBits == 1) {
    return field<kIndex, 1>(load_bytes(block));
  } else {
    const B low = field<kIndex % 4 * 2, 3>(load_bytes(block + kIndex / 4 * kVector));
    if constexpr (kBits == 2) return low;
    return or_bytes(low, field<kIndex - 2, 4>(load_bytes(block + 2 * kVector)));
  }
}

/// The numbers of codes as dot bytes, repeated to a vector. Those of bytes are not looked at.
template <int kBits>
inline B table_of(const std::int8_t* numbers) {
  std::uint8_t table[16] = {};
  if constexpr (kBits < 8) __builtin_memcpy(table, numbers, sizeof table);
  return add_bytes(load_table(table), bytes_of(kBiasedWeights ? 128 : 0));
}

/// Looks up the numbers of a block's codes. Kept in registers.
#if defined(__AVX512VBMI__)

/// Which entry of a table of 16 an index of six bits means whose bits `places` are the code; the
/// others are of no account.
struct Picks {
  std::uint8_t entries[kVector] = {};
  constexpr explicit Picks(std::initializer_list<int> places) {
    for (int i = 0; i < kVector; ++i) {
      int bit = 0;
      for (const int place : places)
        entries[i] |= static_cast<std::uint8_t>((i >> place & 1) << bit++);
    }
  }
};

template <int kShift>
inline B shifted(B x) {
  return kShift < 0 ? _mm512_slli_epi16(x, kShift < 0 ? -kShift : 0)
                    : _mm512_srli_epi16(x, kShift > 0 ? kShift : 0);
}

// vpermb looks at six bits of an index, whatever is in the other two: with a table for every place
// that codes are found at, most need not be moved.
template <int kBits>
class Decoder {
 public:
  explicit Decoder(const std::int8_t* numbers) {
    const B table = table_of<kBits>(numbers);
    if constexpr (kBits == 2) {
      static constexpr Picks kPicks[] = {Picks{0, 1}, Picks{2, 3}, Picks{4, 5}};
      for (int i = 0; i < 3; ++i) tables_[i] = picked(kPicks[i], table);
    } else if constexpr (kBits == 3) {
      static constexpr Picks kPicks[] = {Picks{0, 1, 2}, Picks{2, 3, 1}, Picks{4, 5, 2},
                                         Picks{4, 5, 3}, Picks{0, 1, 4}, Picks{2, 3, 5}};
      for (int i = 0; i < 6; ++i) tables_[i] = picked(kPicks[i], table);
    } else {
      tables_[0] = table;
    }
  }
  template <int kIndex>
  [[nodiscard]] inline B get(const std::byte* block) const {
    constexpr int kField = kIndex % 4;  // of two bits
    if constexpr (kBits == 8) {
      return load_bytes(block + kIndex * kVector);
    } else if constexpr (kBits == 4) {
      return found(shifted<kIndex % 2 * 4>(load_bytes(block + kIndex / 2 * kVector)), 0);
    } else if constexpr (kBits == 1) {
      return found(shifted<kIndex>(load_bytes(block)), 0);
    } else {
      B codes = load_bytes(block + kIndex / 4 * kVector);
      if constexpr (kField == 3) codes = shifted<2>(codes);
      if constexpr (kBits == 2) return found(codes, kField == 3 ? 2 : kField);
      constexpr int kMove = kIndex == 0 ? -2 : kIndex >= 6 ? 4 : 0;
      const B high = shifted<kMove>(load_bytes(block + 2 * kVector));
      codes = select_bits < kField == 0 ? 0x03 : kField == 1 ? 0x0C : 0x30 > (codes, high);
      return found(codes, kIndex >= 6 ? kField : kIndex);
    }
  }

 private:
  static inline B picked(const Picks& picks, B table) {
    return lookup64(table, load_bytes(picks.entries));
  }
  [[nodiscard]] inline B found(B codes, int table) const { return lookup64(tables_[table], codes); }

  B tables_[kBits == 3 ? 6 : kBits == 2 ? 3 : 1];
};

#else

template <int kBits>
class Decoder {
 public:
  explicit Decoder(const std::int8_t* numbers) : table_(table_of<kBits>(numbers)) {}
  template <int kIndex>
  [[nodiscard]] inline B get(const std::byte* block) const {
    if constexpr (kBits == 8) {
      // They have 128 added.
      const B bytes = load_bytes(block + kIndex * kVector);
      return kBiasedWeights ? bytes : add_bytes(bytes, bytes_of(128));
    } else {
      return lookup(table_, code_vector<kBits, kIndex>(block));
    }
  }

 private:
  B table_;
};

#endif

/// Into the second-level cache, a little at a time: many at once keep the buffers busy that reading
/// itself needs.
template <int kBits>
inline void fetch_block(const std::byte* block) {
  for (int i = 0; i < kBits; ++i) __builtin_prefetch(block + i * kVector, 0, 2);
}

template <int kBits>
inline void expand_blocks(const std::byte* codes, const std::int8_t* numbers, std::int64_t blocks,
                          std::byte* to) {
  const Decoder<kBits> decoder(numbers);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for_each<8>([&]<int kIndex>() __attribute__((always_inline)) {
      store_bytes(to + (8 * b + kIndex) * kVector,
                  decoder.template get<kIndex>(codes + b * kBits * kVector));
    });
  }
}

/// body<bits>() for the bits of a run.
template <class Body>
inline void with_bits(int bits, Body body) {
  switch (bits) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    case 4:
      return body.template operator()<4>();
    default:
      return body.template operator()<8>();
  }
}

inline void expand_codes(const std::byte* codes, int bits, const std::int8_t* numbers,
                         std::int64_t blocks, std::byte* to) {
  with_bits(bits, [&]<int kBits>() { expand_blocks<kBits>(codes, numbers, blocks, to); });
}

}  // namespace
}  // namespace hearth::compute::cpu
