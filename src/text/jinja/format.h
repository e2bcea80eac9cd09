// Values as text, as Python prints them: str(), repr(), the % operator, str.format() and format
// specifications.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

/// repr(float): the shortest text that reads back equal.
[[nodiscard]] std::string float_repr(double value);

/// str(value).
[[nodiscard]] StringPtr to_str(Interpreter& context, const Value& value);
/// repr(value).
[[nodiscard]] StringPtr to_repr(Interpreter& context, const Value& value);
/// ascii(value): repr with non-ASCII characters escaped.
[[nodiscard]] StringPtr to_ascii(Interpreter& context, const Value& value);
/// kData if any part of `value` came from data.
[[nodiscard]] Origin origin_of(Interpreter& context, const Value& value);

/// text % values.
[[nodiscard]] Value percent_format(Interpreter& context, const String& text, const Value& values);
/// text.format(...) and text.format_map(...).
[[nodiscard]] Value brace_format(Interpreter& context, const String& text,
                                 const Arguments& arguments);
/// format(value, specification).
[[nodiscard]] Value format_value(Interpreter& context, const Value& value,
                                 std::string_view specification);

/// [[fill]align][sign][z][#][0][width][grouping][.precision][type]
struct FormatSpec {
  std::string fill = " ";
  char align = 0;
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  std::size_t width = 0;
  char grouping = 0;
  int precision = -1;
  char type = 0;
};
/// The digits of a number by `spec` (type, precision, grouping, sign), not yet padded.
[[nodiscard]] std::string format_number(Interpreter& context, const Value& number,
                                        const FormatSpec& spec);
/// Appends `text` padded to spec.width.
void append_padded(StringBuilder& builder, const String& text, const FormatSpec& spec,
                   char default_align, Origin fill_origin);

}  // namespace hearth::text::jinja
