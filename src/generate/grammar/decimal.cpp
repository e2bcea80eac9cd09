#include "generate/grammar/decimal.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr int kMaxDigits = 30;
constexpr int kMaxScale = 17;

}  // namespace

Int128 power_of_ten(int exponent) {
  Int128 power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

std::string to_text(Int128 value) {
  const bool negative = value < 0;
  std::string text;
  do {
    const int digit = static_cast<int>(value % 10);
    text += static_cast<char>('0' + (digit < 0 ? -digit : digit));
    value /= 10;
  } while (value != 0);
  if (negative) text += '-';
  std::reverse(text.begin(), text.end());
  return text;
}

Int128 Decimal::floor() const {
  const Int128 unit = power_of_ten(scale);
  return unscaled / unit - (unscaled % unit < 0 ? 1 : 0);
}

Int128 Decimal::ceiling() const { return -negated().floor(); }

Int128 Decimal::scaled_to(int digits) const { return unscaled * power_of_ten(digits - scale); }

std::strong_ordering operator<=>(const Decimal& a, const Decimal& b) {
  // Integer parts first, so that nothing overflows.
  const Int128 whole_a = a.floor();
  const Int128 whole_b = b.floor();
  if (whole_a != whole_b)
    return whole_a < whole_b ? std::strong_ordering::less : std::strong_ordering::greater;
  const Int128 rest_a =
      (a.unscaled - whole_a * power_of_ten(a.scale)) * power_of_ten(kMaxScale - a.scale);
  const Int128 rest_b =
      (b.unscaled - whole_b * power_of_ten(b.scale)) * power_of_ten(kMaxScale - b.scale);
  if (rest_a == rest_b) return std::strong_ordering::equal;
  return rest_a < rest_b ? std::strong_ordering::less : std::strong_ordering::greater;
}

Decimal decimal_of(const nlohmann::ordered_json& number, const char* keyword) {
  if (!number.is_number())
    throw Error(std::string("\"") + keyword + "\" must be a number", "correct the schema");
  const std::string text = number.dump();
  Decimal result;
  const bool negative = text.starts_with('-');
  std::string digits;
  int scale = 0;
  bool in_fraction = false;
  std::size_t at = negative ? 1 : 0;
  for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
    if (text[at] == '.') {
      in_fraction = true;
    } else {
      digits += text[at];
      scale += in_fraction ? 1 : 0;
    }
  }
  if (at < text.size()) scale -= std::stoi(text.substr(at + 1));
  while (digits.size() > 1 && digits.back() == '0') {
    digits.pop_back();
    --scale;
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits == "0") scale = 0;
  if (static_cast<int>(digits.size()) - scale > kMaxDigits) {
    digits = "1" + std::string(kMaxDigits, '0');
    scale = 0;
  }
  for (; scale < 0; ++scale) digits += '0';
  if (scale > kMaxScale || static_cast<int>(digits.size()) > kMaxDigits + 1) {
    throw Error(std::string("\"") + keyword + "\" has too many digits to be enforced",
                "use at most 17 digits after the point");
  }
  for (const char digit : digits) result.unscaled = result.unscaled * 10 + (digit - '0');
  if (negative) result.unscaled = -result.unscaled;
  result.scale = scale;
  return result;
}

}  // namespace hearth::generate::grammar
