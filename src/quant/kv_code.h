// Codes of compressed keys and values: TurboQuant (Zandieh et al. 2025, arXiv:2504.19874) with an
// unbiased factor per vector, and simpler ones beside it. kv_coder.h has the tables, the rotation,
// the format of a coded page, and plain encoders and decoders.
//
// A vector of one head is turned by a randomised Hadamard rotation R (Rx)_j, which makes its
// coordinates look Gaussian whatever channels stick out, and each coordinate is coded on its own.
// A decoded vector is x^ = R^T (f c(codes)) with whole numbers c of eight bits and one factor f,
// so that attention multiplies bytes: scores are f (Rq . c), and values are summed in rotated space
// and turned back once. Where keys share a large component, the mean of a page's keys is taken off
// first and stored; a query adds its product with it to the scores of the page.
//
// Latent keys (KvCode::value_part) consist of two parts, value and the rest: both are rotated and
// scaled for themselves, so that the rotated value is the first part of the rotated key.
#pragma once

#include <cstdint>

namespace hearth::quant {

enum class KvPart : std::uint8_t { kKeys, kValues };

/// How coded pages of keys or values are written.
struct KvCode {
  enum class Kind : std::uint8_t {
    kNone,
    kLloydMax,  // rotated, Lloyd-Max codes, one correcting factor per vector (kv-cache.md 3.2)
    kResidual,  // one bit less of them and the signs of a projected residual (kv-cache.md 3.3)
    kInt4,      // rotated, then as Q4_0: a half-precision scale per 32 values
    kInt8,      // rotated, then bytes with one scale per vector
  };
  Kind kind = Kind::kNone;
  /// Twice the bits per value: 2 .. 8 (1 to 4 bits) for kLloydMax, 4, 6 or 8 for kResidual, which
  /// counts the sign. kInt4 and kInt8 do not look at it.
  std::uint8_t half_bits = 0;
  bool centred = false;  // a mean per page and head is taken off (keys)
  /// Of keys whose first part is the value (latent attention): the size of the value, a multiple of
  /// 16; else 0.
  std::uint16_t value_part = 0;
  std::uint64_t seed = 0;  // of the rotation's signs
  bool operator==(const KvCode&) const = default;
};

/// Cells of a coded page, which is that of one head.
inline constexpr std::int64_t kCodedCells = 64;
/// Largest size of a vector.
inline constexpr std::int64_t kMostCodedSize = 1024;
/// Whether there are pages of this code for vectors of `size` values.
[[nodiscard]] bool can_code(const KvCode& code, std::int64_t size) noexcept;

/// Bytes of a coded page of one head; 0 where there are none (can_code).
[[nodiscard]] std::int64_t coded_page_bytes(const KvCode& code, std::int64_t size) noexcept;
/// Bits per value with everything counted.
[[nodiscard]] double coded_bits_per_value(const KvCode& code, std::int64_t size) noexcept;

}  // namespace hearth::quant
