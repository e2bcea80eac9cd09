// Exact decimal numbers, for the bounds of schemas.
#pragma once

#include <compare>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hearth::generate::grammar {

__extension__ using Int128 = __int128;

/// unscaled × 10^-scale, without trailing zeros in the fraction; at most 30 digits in all.
struct Decimal {
  Int128 unscaled = 0;
  int scale = 0;  ///< 0 to 17

  [[nodiscard]] bool is_integer() const { return scale == 0; }
  [[nodiscard]] Int128 floor() const;
  [[nodiscard]] Int128 ceiling() const;
  [[nodiscard]] Decimal negated() const { return {-unscaled, scale}; }
  /// Multiplied by 10^digits; digits >= scale.
  [[nodiscard]] Int128 scaled_to(int digits) const;
};

[[nodiscard]] std::strong_ordering operator<=>(const Decimal& a, const Decimal& b);
[[nodiscard]] inline bool operator==(const Decimal& a, const Decimal& b) {
  return a.unscaled == b.unscaled && a.scale == b.scale;
}

[[nodiscard]] Int128 power_of_ten(int exponent);
[[nodiscard]] std::string to_text(Int128 value);

/// The value of a JSON number as it is written shortest. Numbers beyond ±10^30 become ±10^30.
/// Throws Error, naming `keyword`, for other values and for more than 17 digits of fraction.
[[nodiscard]] Decimal decimal_of(const nlohmann::ordered_json& number, const char* keyword);

}  // namespace hearth::generate::grammar
