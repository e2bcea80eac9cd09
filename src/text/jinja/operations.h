// Python's operators on values.
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

enum class Arithmetic : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};

/// a + b and so on, with Python's rules for numbers, strings, lists and tuples. Fails through
/// `context`.
[[nodiscard]] Value arithmetic(Interpreter& context, Arithmetic operation, const Value& a,
                               const Value& b);
[[nodiscard]] Value negate(Interpreter& context, const Value& value);
/// +x: bool becomes int.
[[nodiscard]] Value positive(Interpreter& context, const Value& value);

[[nodiscard]] bool equal(Interpreter& context, const Value& a, const Value& b);
/// a < b, a == b, a > b as -1, 0, 1 (2 when unordered: NaN). Fails when the types cannot be
/// ordered.
[[nodiscard]] int compare(Interpreter& context, const Value& a, const Value& b,
                          std::string_view symbol = "<");
/// item in container.
[[nodiscard]] bool contains(Interpreter& context, const Value& container, const Value& item);

[[nodiscard]] BigInt to_big(const Value& integral);
/// float(value) of a number.
[[nodiscard]] double to_double(const Value& number);
/// A list index or count: an int (or bool) that fits; otherwise fails naming `what`.
[[nodiscard]] std::int64_t to_index(Interpreter& context, const Value& value,
                                    std::string_view what);
/// int(text, base) and float(text); false when malformed.
[[nodiscard]] bool parse_int(Interpreter& context, std::string_view text, std::int64_t base,
                             Value& out);
[[nodiscard]] bool parse_float(std::string_view text, double& out);

/// Offset of `needle` in `text` at or after `from`, or npos; in linear time.
[[nodiscard]] std::size_t find_text(std::string_view text, std::string_view needle,
                                    std::size_t from = 0) noexcept;

/// Markup escaping (&, <, >, ', "), keeping origins. Markup stays as it is.
[[nodiscard]] StringPtr escape(Interpreter& context, const Value& value);

}  // namespace hearth::text::jinja
