// Filters on numbers.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {
namespace {

Value filter_abs(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "abs", arguments, {});
  context.require_defined(input);
  if (input.is(Kind::kFloat)) return Value::real(std::fabs(input.as_float()), input.origin());
  if (!input.is_integral())
    context.fail("bad operand type for abs(): '" + std::string(type_name(input)) + "'");
  const BigInt value = to_big(input);
  return context.big(value.negative() ? -value : value, input.origin());
}

Value filter_int(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "int", arguments, {"default", "base"});
  const Value fallback = bound.has(0) ? bound[0] : Value::integer(0);
  context.require_defined(input);
  if (input.is_string()) {
    Value number;
    double real = 0;
    if (!parse_int(context, input.str().bytes, bound.integer(1, 10), number)) {
      if (!parse_float(input.str().bytes, real) || !std::isfinite(real)) return fallback;
      number = context.big(BigInt::from_double(real), Origin::kTemplate);
    }
    number.set_origin(origin_of(context, input));
    return number;
  }
  if (input.is(Kind::kFloat)) {
    if (!std::isfinite(input.as_float())) return fallback;
    return context.big(BigInt::from_double(input.as_float()), input.origin());
  }
  return input.is_integral() ? positive(context, input) : fallback;
}

Value filter_float(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "float", arguments, {"default"});
  context.require_defined(input);
  double number = 0;
  if (input.is_string() && parse_float(input.str().bytes, number)) {
    return Value::real(number, origin_of(context, input));
  }
  if (input.is_number()) {
    number = to_double(input);
    if (std::isinf(number) && !input.is(Kind::kFloat))
      context.fail("int too large to convert to float");
    return Value::real(number, input.origin());
  }
  return bound.has(0) ? bound[0] : Value::real(0.0);
}

/// round(value, digits) of a float: correctly rounded, ties of the exact binary value to even.
double round_float(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / unit) * unit;
  }
  char buffer[1024];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(digits), value);
  return std::strtod(buffer, nullptr);
}

Value round_integer(Interpreter& context, const Value& input, std::int64_t digits) {
  if (digits >= 0) return positive(context, input);
  if (digits < -4000) return Value::integer(0, input.origin());
  const BigInt unit = BigInt::power(BigInt(10), static_cast<std::uint64_t>(-digits));
  BigInt quotient;
  BigInt rest;
  BigInt::divide(to_big(input), unit, quotient, rest);
  const int order = BigInt::compare(rest + rest, unit);
  if (order > 0 || (order == 0 && quotient.is_odd())) quotient = quotient + BigInt(1);
  return context.big(quotient * unit, input.origin());
}

Value filter_round(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "round", arguments, {"precision", "method"});
  const std::int64_t digits = bound.integer(0, 0);
  const StringPtr method = bound.string(1);
  const std::string name = method == nullptr ? "common" : method->bytes;
  if (name != "common" && name != "ceil" && name != "floor")
    context.fail("method must be common, ceil or floor");
  context.require_defined(input);
  if (!input.is_number())
    context.fail("round needs a number, not '" + std::string(type_name(input)) + "'");
  if (name == "common") {
    if (!input.is(Kind::kFloat)) return round_integer(context, input, digits);
    return Value::real(round_float(input.as_float(), digits), input.origin());
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = to_double(input) * unit;
  if (!std::isfinite(scaled) || unit == 0)
    context.fail("cannot convert a float infinity or NaN to an integer");
  return Value::real((name == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit,
                     input.origin());
}

Value filter_filesizeformat(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "filesizeformat", arguments, {"binary"});
  const bool binary = bound.flag(0, false);
  Arguments none;
  const double bytes = to_double(filter_float(context, input, none));
  const double base = binary ? 1024 : 1000;
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  constexpr const char* kBinaryUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  const Origin origin = origin_of(context, input);
  if (bytes == 1) return context.string("1 Byte", origin);
  char text[512];
  if (bytes < base) {
    std::snprintf(text, sizeof text, "%.0f Bytes", std::trunc(bytes));
    return context.string(text, origin);
  }
  double unit = base;
  std::size_t i = 0;
  while (i + 1 < std::size(kUnits) && bytes >= unit * base) {
    unit *= base;
    ++i;
  }
  std::snprintf(text, sizeof text, "%.1f %s", bytes / unit, binary ? kBinaryUnits[i] : kUnits[i]);
  return context.string(text, origin);
}

constexpr NamedFunction<FilterFunction> kNumberFilters[] = {
    {"abs", filter_abs},
    {"int", filter_int},
    {"float", filter_float},
    {"round", filter_round},
    {"filesizeformat", filter_filesizeformat},
};

}  // namespace

FilterFunction find_number_filter(std::string_view name) noexcept {
  return find_named(kNumberFilters, name);
}

}  // namespace hearth::text::jinja
