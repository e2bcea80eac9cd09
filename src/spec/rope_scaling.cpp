#include "spec/rope_scaling.h"

#include <charconv>
#include <cstdio>

#include "support/error.h"

namespace hearth::spec {
namespace {

constexpr double kMostFactor = 1024;
constexpr std::int64_t kMostOriginal = std::int64_t{1} << 30;

[[noreturn]] void refuse(std::string_view text) {
  throw Error("'" + printable(text) + "' is no scaling of positions",
              "use none, linear:FACTOR or yarn:FACTOR with a factor from 1 to 1024, and :ORIGINAL "
              "behind it for another trained context than the file's",
              ExitCode::kUsage);
}

/// All of `text` as a number in [low, high].
template <class Number>
bool parse(std::string_view text, Number low, Number high, Number& value) {
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end && value >= low && value <= high;
}

}  // namespace

std::string_view RopeScaling::type() const noexcept {
  switch (kind) {
    case Kind::kLinear:
      return "linear";
    case Kind::kYarn:
      return "yarn";
    case Kind::kNone:
      break;
  }
  return "none";
}

std::string RopeScaling::name() const {
  std::string text(type());
  if (kind == Kind::kNone) return text;
  char number[32];
  std::snprintf(number, sizeof number, ":%.10g", factor);
  text += number;
  if (original > 0) text += ":" + std::to_string(original);
  return text;
}

RopeScaling parse_rope_scaling(std::string_view text) {
  if (text == "none") return {};
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "linear" && kind != "yarn")) refuse(text);
  RopeScaling scaling;
  scaling.kind = kind == "yarn" ? RopeScaling::Kind::kYarn : RopeScaling::Kind::kLinear;
  std::string_view rest = text.substr(colon + 1);
  const std::size_t second = rest.find(':');
  if (!parse(rest.substr(0, second), 1.0, kMostFactor, scaling.factor)) refuse(text);
  if (second != std::string_view::npos &&
      !parse(rest.substr(second + 1), std::int64_t{1}, kMostOriginal, scaling.original)) {
    refuse(text);
  }
  return scaling;
}

}  // namespace hearth::spec
