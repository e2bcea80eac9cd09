// Integers beyond 64 bits, as Python has them: enough of them for templates that print large
// numbers. Sizes are bounded (kMaxBits); larger results throw std::overflow_error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text::jinja {

/// An immutable signed integer of any size up to kMaxBits, as sign and magnitude (base 2^32, least
/// significant first).
class BigInt {
 public:
  static constexpr std::size_t kMaxBits = 1 << 14;

  BigInt() = default;
  BigInt(std::int64_t value);  // NOLINT(google-explicit-constructor): an integer is a BigInt
  static BigInt from_uint64(std::uint64_t value);
  /// The digits of `text` in `base` (2..36), without sign, prefix or separators. Throws
  /// std::overflow_error when too large and std::invalid_argument on other characters.
  static BigInt parse(std::string_view digits, unsigned base);
  /// The integer part of a finite double.
  static BigInt from_double(double value);

  [[nodiscard]] bool negative() const noexcept { return negative_; }
  [[nodiscard]] bool is_zero() const noexcept { return magnitude_.empty(); }
  [[nodiscard]] bool is_odd() const noexcept {
    return !magnitude_.empty() && (magnitude_[0] & 1) != 0;
  }
  [[nodiscard]] bool fits_int64() const noexcept;
  /// The value; only when fits_int64().
  [[nodiscard]] std::int64_t to_int64() const noexcept;
  /// Nearest double; infinity when too large.
  [[nodiscard]] double to_double() const noexcept;
  /// Digits in `base` (2..36), with '-' when negative.
  [[nodiscard]] std::string to_string(unsigned base = 10) const;
  [[nodiscard]] std::size_t bits() const noexcept;

  [[nodiscard]] BigInt operator-() const;
  friend BigInt operator+(const BigInt& a, const BigInt& b);
  friend BigInt operator-(const BigInt& a, const BigInt& b) { return a + -b; }
  friend BigInt operator*(const BigInt& a, const BigInt& b);
  /// Python's floor division and modulo (the modulo has the divisor's sign). `b` must not be zero.
  static void divide(const BigInt& a, const BigInt& b, BigInt& quotient, BigInt& remainder);
  [[nodiscard]] static BigInt power(const BigInt& base, std::uint64_t exponent);
  [[nodiscard]] static int compare(const BigInt& a, const BigInt& b) noexcept;

 private:
  using Magnitude = std::vector<std::uint32_t>;
  BigInt(Magnitude magnitude, bool negative);
  static int compare_magnitude(const Magnitude& a, const Magnitude& b) noexcept;
  static Magnitude subtract_magnitude(const Magnitude& a, const Magnitude& b);
  static std::uint32_t divide_small(Magnitude& value, std::uint32_t divisor) noexcept;

  Magnitude magnitude_;
  bool negative_ = false;
};

}  // namespace hearth::text::jinja
