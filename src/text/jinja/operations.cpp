#include "text/jinja/operations.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "support/utf8.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

std::string quoted_type(const Value& value) { return "'" + std::string(type_name(value)) + "'"; }

std::string_view symbol_of(Arithmetic operation) {
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<std::size_t>(operation)];
}

[[noreturn]] void fail_operands(Interpreter& context, Arithmetic operation, const Value& a,
                                const Value& b) {
  context.fail("unsupported operand types for " + std::string(symbol_of(operation)) + ": " +
               quoted_type(a) + " and " + quoted_type(b));
}

double floor_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

double floor_quotient(double a, double b) {
  double quotient = (a - floor_modulo(a, b)) / b;
  if (quotient != 0) {
    const double floored = std::floor(quotient);
    quotient = quotient - floored > 0.5 ? floored + 1 : floored;
  } else {
    quotient = std::copysign(0.0, a / b);
  }
  return quotient;
}

Value float_arithmetic(Interpreter& context, Arithmetic operation, double a, double b,
                       Origin origin) {
  const bool divides = operation == Arithmetic::kDivide || operation == Arithmetic::kFloorDivide ||
                       operation == Arithmetic::kModulo;
  if (divides && b == 0) context.fail("division by zero");
  double result = 0;
  switch (operation) {
    case Arithmetic::kAdd:
      result = a + b;
      break;
    case Arithmetic::kSubtract:
      result = a - b;
      break;
    case Arithmetic::kMultiply:
      result = a * b;
      break;
    case Arithmetic::kDivide:
      result = a / b;
      break;
    case Arithmetic::kFloorDivide:
      result = floor_quotient(a, b);
      break;
    case Arithmetic::kModulo:
      result = floor_modulo(a, b);
      break;
    case Arithmetic::kPower:
      if (a == 0 && b < 0) context.fail("0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::trunc(b)) {
        context.fail("complex numbers are not supported");
      }
      result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        context.fail("numerical result out of range");
      break;
  }
  return Value::real(result, origin);
}

/// int / int, correctly rounded when both fit a double exactly.
Value true_divide(Interpreter& context, const BigInt& a, const BigInt& b, Origin origin) {
  if (b.is_zero()) context.fail("division by zero");
  const double quotient = a.to_double() / b.to_double();
  if (!std::isfinite(quotient)) context.fail("integer division result too large for a float");
  return Value::real(quotient, origin);
}

Value big_arithmetic(Interpreter& context, Arithmetic operation, const BigInt& a, const BigInt& b,
                     Origin origin) {
  context.work(a.bits() + b.bits());
  BigInt quotient;
  BigInt remainder;
  switch (operation) {
    case Arithmetic::kAdd:
      return context.big(a + b, origin);
    case Arithmetic::kSubtract:
      return context.big(a - b, origin);
    case Arithmetic::kMultiply:
      context.work(a.bits() * b.bits() / 64);
      return context.big(a * b, origin);
    case Arithmetic::kDivide:
      return true_divide(context, a, b, origin);
    case Arithmetic::kFloorDivide:
    case Arithmetic::kModulo:
      if (b.is_zero()) context.fail("integer division or modulo by zero");
      context.work(a.bits() * (1 + b.bits() / 32));
      BigInt::divide(a, b, quotient, remainder);
      return context.big(operation == Arithmetic::kModulo ? remainder : quotient, origin);
    case Arithmetic::kPower:
      if (b.negative())
        return float_arithmetic(context, operation, a.to_double(), b.to_double(), origin);
      if (!b.fits_int64()) {
        if (a.bits() > 1) context.fail("integer too large");
        return context.big(a.negative() && !b.is_odd() ? -a : a, origin);
      }
      context.work(BigInt::kMaxBits);
      return context.big(BigInt::power(a, static_cast<std::uint64_t>(b.to_int64())), origin);
  }
  return {};
}

Value int_arithmetic(Interpreter& context, Arithmetic operation, const Value& a, const Value& b) {
  const Origin origin = either(a.origin(), b.origin());
  if (!a.is(Kind::kBigInt) && !b.is(Kind::kBigInt)) {
    const std::int64_t x = a.as_int();
    const std::int64_t y = b.as_int();
    std::int64_t result = 0;
    switch (operation) {
      case Arithmetic::kAdd:
        if (!__builtin_add_overflow(x, y, &result)) return Value::integer(result, origin);
        break;
      case Arithmetic::kSubtract:
        if (!__builtin_sub_overflow(x, y, &result)) return Value::integer(result, origin);
        break;
      case Arithmetic::kMultiply:
        if (!__builtin_mul_overflow(x, y, &result)) return Value::integer(result, origin);
        break;
      case Arithmetic::kFloorDivide:
      case Arithmetic::kModulo:
        if (y != 0 && y != -1) {
          std::int64_t quotient = x / y;
          std::int64_t remainder = x % y;
          if (remainder != 0 && (remainder < 0) != (y < 0)) {
            --quotient;
            remainder += y;
          }
          return Value::integer(operation == Arithmetic::kModulo ? remainder : quotient, origin);
        }
        break;
      default:
        break;
    }
  }
  return big_arithmetic(context, operation, to_big(a), to_big(b), origin);
}

Value concatenate_strings(Interpreter& context, const Value& a, const Value& b) {
  StringBuilder builder = context.builder();
  // Markup is contagious: the plain side is escaped.
  const bool markup = a.str().markup || b.str().markup;
  builder.append(markup ? *escape(context, a) : a.str());
  builder.append(markup ? *escape(context, b) : b.str());
  context.work(builder.size());
  return Value::string(builder.finish(markup));
}

Value concatenate_lists(Interpreter& context, const Value& a, const Value& b) {
  const auto& left = a.as<List>().items;
  const auto& right = b.as<List>().items;
  context.require_elements(left.size() + right.size());
  context.work(64 * (left.size() + right.size()));
  std::vector<Value> items;
  items.reserve(left.size() + right.size());
  items.insert(items.end(), left.begin(), left.end());
  items.insert(items.end(), right.begin(), right.end());
  Value result =
      a.is(Kind::kList) ? context.list(std::move(items)) : context.tuple(std::move(items));
  result.set_origin(either(a.origin(), b.origin()));
  return result;
}

Value repeat(Interpreter& context, const Value& sequence, const Value& count) {
  if (count.is(Kind::kBigInt) && !count.as<BigIntObject>().value.negative())
    context.fail("the repetition is too long");
  const std::int64_t times =
      count.is(Kind::kBigInt) ? 0 : std::max<std::int64_t>(0, count.as_int());
  if (sequence.is_string()) {
    StringBuilder builder = context.builder();
    builder.append_repeated(sequence.str(), static_cast<std::size_t>(times));
    context.work(builder.size());
    return Value::string(builder.finish(sequence.str().markup));
  }
  const auto& source = sequence.as<List>().items;
  std::vector<Value> items;
  if (!source.empty() && times > 0) {
    const auto total = static_cast<std::uint64_t>(times) > (1U << 30)
                           ? (std::size_t{1} << 40)
                           : source.size() * static_cast<std::size_t>(times);
    context.require_elements(total);
    context.work(64 * total);
    items.reserve(total);
    for (std::int64_t i = 0; i < times; ++i)
      items.insert(items.end(), source.begin(), source.end());
  }
  Value result =
      sequence.is(Kind::kList) ? context.list(std::move(items)) : context.tuple(std::move(items));
  result.set_origin(sequence.origin());
  return result;
}

int compare_numbers(const Value& a, const Value& b) {
  if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
    if (!a.is(Kind::kBigInt) && !b.is(Kind::kBigInt))
      return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
    return BigInt::compare(to_big(a), to_big(b));
  }
  const double x = to_double(a);
  const double y = to_double(b);
  if (std::isnan(x) || std::isnan(y)) return 2;
  const bool mixed = !a.is(Kind::kFloat) || !b.is(Kind::kFloat);
  constexpr double kExact = 9007199254740992.0;  // 2^53: below it, integers are exact as doubles
  if (mixed && std::isfinite(x) && std::isfinite(y) && std::fabs(x) >= kExact &&
      std::fabs(y) >= kExact) {
    return BigInt::compare(a.is(Kind::kFloat) ? BigInt::from_double(x) : to_big(a),
                           b.is(Kind::kFloat) ? BigInt::from_double(y) : to_big(b));
  }
  return x < y ? -1 : x > y;
}

}  // namespace

BigInt to_big(const Value& integral) {
  return integral.is(Kind::kBigInt) ? integral.as<BigIntObject>().value : BigInt(integral.as_int());
}

double to_double(const Value& number) {
  if (number.is(Kind::kFloat)) return number.as_float();
  return number.is(Kind::kBigInt) ? number.as<BigIntObject>().value.to_double()
                                  : static_cast<double>(number.as_int());
}

std::int64_t to_index(Interpreter& context, const Value& value, std::string_view what) {
  context.require_defined(value);
  if (value.is(Kind::kInt) || value.is(Kind::kBool)) return value.as_int();
  if (value.is(Kind::kBigInt)) {
    return value.as<BigIntObject>().value.negative() ? std::numeric_limits<std::int64_t>::min() / 2
                                                     : std::numeric_limits<std::int64_t>::max() / 2;
  }
  context.fail(std::string(what) + " must be an integer, not " + quoted_type(value));
}

Value arithmetic(Interpreter& context, Arithmetic operation, const Value& a, const Value& b) {
  // "text" % undefined prints nothing for it, as str() does; everything else needs values.
  const bool formats = operation == Arithmetic::kModulo && a.is_string();
  context.require_defined(a);
  if (!formats) context.require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) return int_arithmetic(context, operation, a, b);
    return float_arithmetic(context, operation, to_double(a), to_double(b),
                            either(a.origin(), b.origin()));
  }
  if (formats) return percent_format(context, a.str(), b);
  if (operation == Arithmetic::kAdd) {
    if (a.is_string() && b.is_string()) return concatenate_strings(context, a, b);
    if (a.is_sequence() && a.kind() == b.kind()) return concatenate_lists(context, a, b);
  }
  if (operation == Arithmetic::kMultiply) {
    if ((a.is_string() || a.is_sequence()) && b.is_integral()) return repeat(context, a, b);
    if ((b.is_string() || b.is_sequence()) && a.is_integral()) return repeat(context, b, a);
  }
  fail_operands(context, operation, a, b);
}

Value negate(Interpreter& context, const Value& value) {
  context.require_defined(value);
  if (value.is(Kind::kFloat)) return Value::real(-value.as_float(), value.origin());
  if (value.is_integral()) return context.big(-to_big(value), value.origin());
  context.fail("bad operand type for unary -: " + quoted_type(value));
}

Value positive(Interpreter& context, const Value& value) {
  context.require_defined(value);
  if (value.is(Kind::kBool)) return Value::integer(value.as_int(), value.origin());
  if (value.is_number()) return value;
  context.fail("bad operand type for unary +: " + quoted_type(value));
}

bool equal(Interpreter& context, const Value& a, const Value& b) {
  const Interpreter::Nested nested(context);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      context.work(a.str().bytes.size());
      return a.str().bytes == b.str().bytes;
    case Kind::kBytes:
      return a.as<Bytes>().bytes == b.as<Bytes>().bytes;
    case Kind::kList:
    case Kind::kTuple: {
      const List& x = a.as<List>();
      const List& y = b.as<List>();
      if (&x == &y) return true;
      if (x.items.size() != y.items.size()) return false;
      for (std::size_t i = 0; i < x.items.size(); ++i) {
        context.work(64);
        if (!equal(context, x.items[i], y.items[i])) return false;
      }
      return true;
    }
    case Kind::kDict: {
      const Dict& x = a.as<Dict>();
      const Dict& y = b.as<Dict>();
      if (&x == &y) return true;
      if (x.entries().size() != y.entries().size()) return false;
      for (const Dict::Entry& entry : x.entries()) {
        context.work(64);
        const Value* other = y.find(entry.key);
        if (other == nullptr || !equal(context, entry.value, *other)) return false;
      }
      return true;
    }
    case Kind::kRange: {
      const Range& x = a.as<Range>();
      const Range& y = b.as<Range>();
      return x.length == y.length &&
             (x.length == 0 || (x.start == y.start && (x.length == 1 || x.step == y.step)));
    }
    default:
      return a.identity() == b.identity();
  }
}

int compare(Interpreter& context, const Value& a, const Value& b, std::string_view symbol) {
  const Interpreter::Nested nested(context);
  context.require_defined(a);
  context.require_defined(b);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.is_string() && b.is_string()) {
    // The order of UTF-8 bytes is that of code points.
    context.work(a.str().bytes.size());
    const int order = a.str().bytes.compare(b.str().bytes);
    return order < 0 ? -1 : order > 0;
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const List& x = a.as<List>();
    const List& y = b.as<List>();
    for (std::size_t i = 0; i < x.items.size() && i < y.items.size(); ++i) {
      context.work(64);
      if (!equal(context, x.items[i], y.items[i]))
        return compare(context, x.items[i], y.items[i], symbol);
    }
    return x.items.size() < y.items.size() ? -1 : x.items.size() > y.items.size();
  }
  context.fail("'" + std::string(symbol) + "' not supported between instances of " +
               quoted_type(a) + " and " + quoted_type(b));
}

bool contains(Interpreter& context, const Value& container, const Value& item) {
  if (container.is_string()) {
    context.require_defined(item);
    if (!item.is_string())
      context.fail("'in <string>' requires string as left operand, not " + quoted_type(item));
    context.work(container.str().bytes.size());
    return find_text(container.str().bytes, item.str().bytes) != std::string_view::npos;
  }
  if (container.is(Kind::kDict)) return container.as<Dict>().find(item) != nullptr;
  if (container.is(Kind::kView) && container.as<View>().what == View::What::kKeys) {
    return container.as<View>().dict.as<Dict>().find(item) != nullptr;
  }
  if (container.is(Kind::kRange) && item.is_integral()) {
    const Range& range = container.as<Range>();
    if (item.is(Kind::kBigInt) || range.length == 0) return false;
    const std::int64_t value = item.as_int();
    const std::int64_t last = range.at(range.length - 1);
    const bool inside = range.step > 0 ? value >= range.start && value <= last
                                       : value <= range.start && value >= last;
    return inside && (value - range.start) % range.step == 0;
  }
  Iterator iterator = context.iterate(container);
  Value element;
  while (iterator.next(context, element)) {
    if (equal(context, element, item)) return true;
  }
  return false;
}

bool parse_int(Interpreter& context, std::string_view text, std::int64_t base, Value& out) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const std::int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      text.remove_prefix(2);
      if (text.starts_with('_')) text.remove_prefix(1);
    } else if (base == 0 && text.find_first_not_of("0_") != std::string_view::npos) {
      return false;
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || text.empty() || text.front() == '_' || text.back() == '_')
    return false;
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_') {
      if (text[i + 1] == '_') return false;
      continue;
    }
    digits += text[i];
  }
  context.work(digits.size() * 16);
  try {
    const BigInt number = BigInt::parse(digits, static_cast<unsigned>(base));
    out = context.big(negative ? -number : number, Origin::kTemplate);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

bool parse_float(std::string_view text, double& out) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  if (text.empty() || text.front() == '_' || text.back() == '_') return false;
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
      continue;
    }
    const auto digit = [&text](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    if (!digit(i - 1) || !digit(i + 1)) return false;
  }
  const bool negative = plain[0] == '-';
  if (negative || plain[0] == '+') plain.erase(0, 1);
  if (plain.empty() || plain[0] == '-' || plain[0] == '+') return false;
  const auto result = std::from_chars(plain.data(), plain.data() + plain.size(), out);
  if (result.ptr != plain.data() + plain.size() || result.ec == std::errc::invalid_argument)
    return false;
  if (plain.find('(') != std::string::npos) return false;  // from_chars takes nan(...)
  if (result.ec == std::errc::result_out_of_range) out = std::strtod(plain.c_str(), nullptr);
  if (negative) out = -out;
  return true;
}

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) noexcept {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // memmem is linear in the worst case too; std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

StringPtr escape(Interpreter& context, const Value& value) {
  const StringPtr text = to_str(context, value);
  if (value.is_string() && text->markup) return text;
  context.work(text->bytes.size());
  StringBuilder builder = context.builder();
  std::size_t done = 0;
  for (std::size_t i = 0; i < text->bytes.size(); ++i) {
    std::string_view entity;
    switch (text->bytes[i]) {
      case '&':
        entity = "&amp;";
        break;
      case '<':
        entity = "&lt;";
        break;
      case '>':
        entity = "&gt;";
        break;
      case '\'':
        entity = "&#39;";
        break;
      case '"':
        entity = "&#34;";
        break;
      default:
        continue;
    }
    builder.append(*text, done, i);
    builder.append(entity, text->origin_at(i));
    done = i + 1;
  }
  builder.append(*text, done, text->bytes.size());
  return builder.finish(true);
}

}  // namespace hearth::text::jinja
