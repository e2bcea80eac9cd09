#include "serve/dialects/json_body.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>

#include "serve/dialects/fields.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

std::optional<unsigned> hex4(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return std::nullopt;
  unsigned value = 0;
  const char* end = text.data() + at + 4;
  const auto [stop, error] = std::from_chars(text.data() + at, end, value, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

/// JSON text with U+FFFD for every escape of a lone surrogate. There are escapes in strings only.
std::string without_lone_surrogates(std::string_view text) {
  const auto in = [](std::optional<unsigned> unit, unsigned from) {
    return unit && *unit >= from && *unit < from + 0x400;
  };
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  for (;;) {
    const std::size_t escape = std::min(text.find('\\', at), text.size());
    out.append(text, at, escape - at);
    at = escape;
    if (at == text.size()) return out;
    std::size_t taken = 2;
    const std::optional<unsigned> first =
        text.substr(at, 2) == "\\u" ? hex4(text, at + 2) : std::nullopt;
    if (in(first, 0xD800) && text.substr(at + 6, 2) == "\\u" && in(hex4(text, at + 8), 0xDC00)) {
      taken = 12;
    } else if (in(first, 0xD800) || in(first, 0xDC00)) {
      out += "\\ufffd";
      at += 6;
      continue;
    }
    taken = std::min(taken, text.size() - at);
    out.append(text, at, taken);
    at += taken;
  }
}

/// Objects keep their order and are searched from the start: many members would cost their square.
void check_limits(std::string_view body, const JsonLimits& limits) {
  switch (json_excess(body, limits)) {
    case JsonExcess::kNone:
      return;
    case JsonExcess::kDepth:
      refuse("The body is nested deeper than " + std::to_string(limits.depth) + " levels", "");
    case JsonExcess::kValues:
      refuse("The body has more than " + std::to_string(limits.values) + " values", "");
    case JsonExcess::kMembers:
      refuse("An object in the body has more than " + std::to_string(limits.members) + " members",
             "");
  }
}

[[noreturn]] void refuse_type(const char* name, const char* type) {
  refuse(std::string(name) + " must be " + type, name, "invalid_type");
}

}  // namespace

void refuse(std::string message, std::string parameter, std::string code) {
  throw RequestError{.status = 400,
                     .message = std::move(message),
                     .code = std::move(code),
                     .parameter = std::move(parameter)};
}

std::string indexed(std::string_view path, std::size_t index) {
  return std::string(path) + "[" + std::to_string(index) + "]";
}

Json parse_json(std::string_view body, const JsonLimits& limits) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    refuse("The request has no body", "", "invalid_json");
  }
  const std::size_t bad = find_invalid_utf8(body);
  if (bad != std::string_view::npos) {
    refuse("The body is not valid UTF-8 (at byte " + std::to_string(bad) + ")", "", "invalid_json");
  }
  check_limits(body, limits);
  const std::string text = without_lone_surrogates(body);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    refuse("The body is not valid JSON (at byte " + std::to_string(error.byte) + ")", "",
           "invalid_json");
  } catch (const Json::exception&) {  // 1e999
    refuse("The body has a number that is too large", "", "invalid_json");
  }
}

Json parse_object(std::string_view body, const JsonLimits& limits) {
  Json json = parse_json(body, limits);
  if (!json.is_object()) refuse("The body must be a JSON object", "", "invalid_type");
  return json;
}

const Json* find_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<bool> bool_member(const Json& object, const char* name) {
  const Json* value = find_member(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse_type(name, "true or false");
  return value->get<bool>();
}

std::optional<std::int64_t> integer_member(const Json& object, const char* name) {
  const Json* value = find_member(object, name);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> integer = as_integer(*value);
  if (!integer) refuse_type(name, "an integer");
  return integer;
}

std::optional<double> number_member(const Json& object, const char* name) {
  const Json* value = find_member(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) refuse_type(name, "a number");
  return value->get<double>();
}

std::optional<float> float_member(const Json& object, const char* name) {
  const std::optional<double> value = number_member(object, name);
  if (!value) return std::nullopt;
  if (!(std::abs(*value) <= std::numeric_limits<float>::max())) {
    refuse(std::string(name) + " is too large", name);
  }
  return static_cast<float>(*value);
}

std::optional<std::string> string_member(const Json& object, const char* name) {
  const Json* value = find_member(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse_type(name, "a string");
  return value->get<std::string>();
}

std::string text_member(const Json& object, const char* name) {
  return string_member(object, name).value_or(std::string());
}

std::vector<std::string> strings_member(const Json& object, const char* name) {
  const Json* value = find_member(object, name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) refuse_type(name, "a string or an array of strings");
  std::vector<std::string> strings;
  for (const Json& each : *value) {
    if (!each.is_string()) refuse_type(name, "a string or an array of strings");
    strings.push_back(each.get<std::string>());
  }
  return strings;
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<double> duration_seconds(std::string_view text) {
  double sign = 1;
  if (text.starts_with('-') || text.starts_with('+')) {
    if (text.front() == '-') sign = -1;
    text.remove_prefix(1);
  }
  if (text.empty()) return std::nullopt;
  if (text == "0") return 0.0;
  // Two-letter units first: "ms" is not minutes.
  constexpr std::array<std::pair<std::string_view, double>, 8> kUnits = {{{"ns", 1e-9},
                                                                          {"us", 1e-6},
                                                                          {"µs", 1e-6},
                                                                          {"μs", 1e-6},
                                                                          {"ms", 1e-3},
                                                                          {"s", 1},
                                                                          {"m", 60},
                                                                          {"h", 3600}}};
  double seconds = 0;
  while (!text.empty()) {
    double value = 0;
    const auto [stop, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc() || !(value >= 0) || !std::isfinite(value) || text.front() == '-') {
      return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    double unit = 0;
    for (const auto& [name, length] : kUnits) {
      if (!text.starts_with(name)) continue;
      unit = length;
      text.remove_prefix(name.size());
      break;
    }
    if (unit == 0) return std::nullopt;
    seconds += value * unit;
  }
  return sign * seconds;
}

std::string utc_time(std::int64_t unix_seconds) {
  // Years with four digits: what clients can read.
  constexpr std::int64_t kLast = 253402300799;  // 9999-12-31T23:59:59Z
  const std::int64_t within = std::min(std::max<std::int64_t>(unix_seconds, 0), kLast);
  const std::chrono::sys_seconds time{std::chrono::seconds{within}};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  std::string text;
  const auto digits = [&text](std::int64_t value, std::size_t width, char after) {
    const std::string number = std::to_string(value);
    if (number.size() < width) text.append(width - number.size(), '0');
    text += number;
    text += after;
  };
  digits(static_cast<int>(date.year()), 4, '-');
  digits(static_cast<unsigned>(date.month()), 2, '-');
  digits(static_cast<unsigned>(date.day()), 2, 'T');
  digits(clock.hours().count(), 2, ':');
  digits(clock.minutes().count(), 2, ':');
  digits(clock.seconds().count(), 2, 'Z');
  return text;
}

}  // namespace hearth::serve
