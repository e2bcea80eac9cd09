#include "text/jinja/bigint.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace hearth::text::jinja {

BigInt::BigInt(Magnitude magnitude, bool negative)
    : magnitude_(std::move(magnitude)), negative_(negative) {
  while (!magnitude_.empty() && magnitude_.back() == 0) magnitude_.pop_back();
  if (magnitude_.empty()) negative_ = false;
  if (bits() > kMaxBits) throw std::overflow_error("integer too large");
}

BigInt::BigInt(std::int64_t value) {
  *this = from_uint64(value < 0 ? 0 - static_cast<std::uint64_t>(value)
                                : static_cast<std::uint64_t>(value));
  negative_ = value < 0;
}

BigInt BigInt::from_uint64(std::uint64_t value) {
  return BigInt({static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)},
                false);
}

BigInt BigInt::parse(std::string_view digits, unsigned base) {
  // Every digit carries at least one bit, so longer texts (without leading zeros) cannot fit.
  const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size());
  digits.remove_prefix(first);
  if (digits.size() > kMaxBits) throw std::overflow_error("integer too large");
  Magnitude magnitude;
  for (const char c : digits) {
    unsigned digit = 36;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'z') digit = static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'Z') digit = static_cast<unsigned>(c - 'A') + 10;
    if (digit >= base) throw std::invalid_argument("not a digit");
    std::uint64_t carry = digit;
    for (std::uint32_t& limb : magnitude) {
      carry += std::uint64_t{limb} * base;
      limb = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) magnitude.push_back(static_cast<std::uint32_t>(carry));
    if (magnitude.size() * 32 > kMaxBits + 64) throw std::overflow_error("integer too large");
  }
  return BigInt(std::move(magnitude), false);
}

BigInt BigInt::from_double(double value) {
  const bool negative = value < 0;
  int exponent = 0;
  const double fraction =
      std::frexp(std::trunc(std::fabs(value)), &exponent);  // value = fraction * 2^exponent
  if (fraction == 0) return {};
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
  if (exponent <= 53) {
    BigInt result = from_uint64(mantissa >> (53 - exponent));
    result.negative_ = negative && !result.is_zero();
    return result;
  }
  BigInt result =
      from_uint64(mantissa) * power(BigInt(2), static_cast<std::uint64_t>(exponent - 53));
  result.negative_ = negative;
  return result;
}

std::size_t BigInt::bits() const noexcept {
  if (magnitude_.empty()) return 0;
  return magnitude_.size() * 32 - static_cast<std::size_t>(std::countl_zero(magnitude_.back()));
}

bool BigInt::fits_int64() const noexcept {
  if (bits() < 64) return true;
  return bits() == 64 && negative_ && magnitude_[1] == 0x80000000U && magnitude_[0] == 0;
}

std::int64_t BigInt::to_int64() const noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < magnitude_.size() && i < 2; ++i)
    value |= std::uint64_t{magnitude_[i]} << (32 * i);
  return static_cast<std::int64_t>(negative_ ? 0 - value : value);
}

double BigInt::to_double() const noexcept {
  // The top 64 bits with a sticky last bit round correctly when converted; the rest is a power of
  // two.
  const std::size_t size = bits();
  if (size > 1024)
    return negative_ ? -std::numeric_limits<double>::infinity()
                     : std::numeric_limits<double>::infinity();
  const std::size_t shift = size > 64 ? size - 64 : 0;
  std::uint64_t top = 0;
  bool sticky = false;
  for (std::size_t i = 0; i < size; ++i) {
    const bool bit = ((magnitude_[i / 32] >> (i % 32)) & 1) != 0;
    if (i < shift) {
      sticky |= bit;
    } else if (bit) {
      top |= std::uint64_t{1} << (i - shift);
    }
  }
  if (sticky) top |= 1;
  const double value = std::ldexp(static_cast<double>(top), static_cast<int>(shift));
  return negative_ ? -value : value;
}

std::uint32_t BigInt::divide_small(Magnitude& value, std::uint32_t divisor) noexcept {
  std::uint64_t remainder = 0;
  for (std::size_t i = value.size(); i-- > 0;) {
    remainder = (remainder << 32) | value[i];
    value[i] = static_cast<std::uint32_t>(remainder / divisor);
    remainder %= divisor;
  }
  while (!value.empty() && value.back() == 0) value.pop_back();
  return static_cast<std::uint32_t>(remainder);
}

std::string BigInt::to_string(unsigned base) const {
  if (is_zero()) return "0";
  std::string text;
  Magnitude rest = magnitude_;
  while (!rest.empty()) text += "0123456789abcdefghijklmnopqrstuvwxyz"[divide_small(rest, base)];
  if (negative_) text += '-';
  std::reverse(text.begin(), text.end());
  return text;
}

BigInt BigInt::operator-() const {
  BigInt result = *this;
  result.negative_ = !negative_ && !is_zero();
  return result;
}

int BigInt::compare_magnitude(const Magnitude& a, const Magnitude& b) noexcept {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

BigInt::Magnitude BigInt::subtract_magnitude(const Magnitude& a, const Magnitude& b) {
  Magnitude result = a;
  std::int64_t borrow = 0;
  for (std::size_t i = 0; i < result.size(); ++i) {
    std::int64_t value = std::int64_t{result[i]} - borrow - (i < b.size() ? std::int64_t{b[i]} : 0);
    borrow = value < 0 ? 1 : 0;
    if (value < 0) value += std::int64_t{1} << 32;
    result[i] = static_cast<std::uint32_t>(value);
  }
  return result;
}

BigInt operator+(const BigInt& a, const BigInt& b) {
  if (a.negative_ == b.negative_) {
    BigInt::Magnitude sum(std::max(a.magnitude_.size(), b.magnitude_.size()) + 1, 0);
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (i < a.magnitude_.size()) carry += a.magnitude_[i];
      if (i < b.magnitude_.size()) carry += b.magnitude_[i];
      sum[i] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    return BigInt(std::move(sum), a.negative_);
  }
  if (BigInt::compare_magnitude(a.magnitude_, b.magnitude_) >= 0) {
    return BigInt(BigInt::subtract_magnitude(a.magnitude_, b.magnitude_), a.negative_);
  }
  return BigInt(BigInt::subtract_magnitude(b.magnitude_, a.magnitude_), b.negative_);
}

BigInt operator*(const BigInt& a, const BigInt& b) {
  BigInt::Magnitude product(a.magnitude_.size() + b.magnitude_.size(), 0);
  for (std::size_t i = 0; i < a.magnitude_.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < b.magnitude_.size(); ++j) {
      carry += std::uint64_t{a.magnitude_[i]} * b.magnitude_[j] + product[i + j];
      product[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    product[i + b.magnitude_.size()] = static_cast<std::uint32_t>(carry);
  }
  return BigInt(std::move(product), a.negative_ != b.negative_);
}

void BigInt::divide(const BigInt& a, const BigInt& b, BigInt& quotient, BigInt& remainder) {
  // Schoolbook, bit by bit: numbers here are small and rare.
  Magnitude result(a.magnitude_.size(), 0);
  Magnitude rest;
  for (std::size_t i = a.bits(); i-- > 0;) {
    std::uint32_t carry = (a.magnitude_[i / 32] >> (i % 32)) & 1;
    for (std::uint32_t& limb : rest) {
      const std::uint32_t next = limb >> 31;
      limb = (limb << 1) | carry;
      carry = next;
    }
    if (carry != 0) rest.push_back(carry);
    if (compare_magnitude(rest, b.magnitude_) >= 0) {
      rest = subtract_magnitude(rest, b.magnitude_);
      while (!rest.empty() && rest.back() == 0) rest.pop_back();
      result[i / 32] |= std::uint32_t{1} << (i % 32);
    }
  }
  quotient = BigInt(std::move(result), a.negative_ != b.negative_);
  remainder = BigInt(std::move(rest), a.negative_);
  if (!remainder.is_zero() && a.negative_ != b.negative_) {
    quotient = quotient + BigInt(-1);
    remainder = remainder + b;
  }
}

BigInt BigInt::power(const BigInt& base, std::uint64_t exponent) {
  if (base.bits() > 1 && exponent > kMaxBits) throw std::overflow_error("integer too large");
  BigInt result(1);
  BigInt square = base;
  for (std::uint64_t rest = exponent; rest != 0; rest >>= 1) {
    if ((rest & 1) != 0) result = result * square;
    if (rest > 1) square = square * square;
  }
  return result;
}

int BigInt::compare(const BigInt& a, const BigInt& b) noexcept {
  if (a.negative_ != b.negative_) return a.negative_ ? -1 : 1;
  const int order = compare_magnitude(a.magnitude_, b.magnitude_);
  return a.negative_ ? -order : order;
}

}  // namespace hearth::text::jinja
