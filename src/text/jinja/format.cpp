#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "support/utf8.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {
namespace {

constexpr std::size_t kMaxWidth = 1U << 20;
constexpr int kMaxPrecision = 4096;

std::string printf_double(char type, bool alternate, int precision, double value) {
  const char pattern[] = {'%',
                          alternate ? '#' : '.',
                          alternate ? '.' : '*',
                          alternate ? '*' : type,
                          alternate ? type : '\0',
                          '\0'};
  std::string out(static_cast<std::size_t>(precision) + 400, '\0');
  const int length = std::snprintf(out.data(), out.size(), pattern, precision, value);
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::string group_digits(const std::string& digits, char separator, std::size_t every) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) out += separator;
    out += digits[i];
  }
  return out;
}

/// Groups the digits before the point or exponent; `width` zero-fills within the grouping (format
/// "010,").
std::string apply_grouping(const std::string& number, const FormatSpec& spec, std::size_t width) {
  const std::size_t end = std::min(number.find_first_of(".e%"), number.size());
  const std::string rest = number.substr(end);
  const std::size_t every =
      spec.type == 'x' || spec.type == 'X' || spec.type == 'b' || spec.type == 'o' ? 4 : 3;
  std::string digits = number.substr(0, end);
  std::string grouped = group_digits(digits, spec.grouping, every);
  while (grouped.size() + rest.size() < width) {
    digits.insert(digits.begin(), '0');
    grouped = group_digits(digits, spec.grouping, every);
  }
  return grouped + rest;
}

std::string sign_of(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

/// %g as Python's 'g' and '' (which keeps ".0") do it.
std::string format_float_digits(Interpreter& context, double value, const FormatSpec& spec) {
  const char type = spec.type;
  const bool upper = type == 'E' || type == 'F' || type == 'G';
  if (!std::isfinite(value)) {
    const std::string name = std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return type == '%' ? name + "%" : name;
  }
  if (spec.precision > kMaxPrecision) context.fail("precision too big");
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  if (type == '%') return printf_double('f', spec.alternate, precision, value * 100) + "%";
  if (type == 'e' || type == 'E' || type == 'f' || type == 'F') {
    return printf_double(type, spec.alternate, precision, value);
  }
  if (type == 0 && spec.precision < 0) return float_repr(value);
  std::string text =
      printf_double(type == 'G' ? 'G' : 'g', spec.alternate, std::max(precision, 1), value);
  if (type == 0 && text.find_first_of(".e") == std::string::npos) {
    // Without a type at least one digit follows the point, unless that exceeds the precision: then
    // scientific.
    if (static_cast<int>(text.size()) >= precision && precision > 0 && text.size() > 1) {
      return printf_double('e', false, std::max(precision - 1, 0), value);
    }
    text += ".0";
  }
  return text;
}

FormatSpec parse_spec(Interpreter& context, std::string_view text) {
  FormatSpec spec;
  bool filled = false;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    const std::size_t first = decode_utf8(text).length;
    if (text.size() > first && is_align(text[first])) {
      spec.fill = text.substr(0, first);
      filled = true;
      spec.align = text[first];
      text.remove_prefix(first + 1);
    } else if (is_align(text[0])) {
      spec.align = text[0];
      text.remove_prefix(1);
    }
  }
  const auto take = [&text](std::string_view choices) -> char {
    if (text.empty() || choices.find(text[0]) == std::string_view::npos) return 0;
    const char c = text[0];
    text.remove_prefix(1);
    return c;
  };
  const auto take_number = [&]() -> std::size_t {
    std::size_t value = 0;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      value = std::min<std::size_t>(value * 10 + static_cast<std::size_t>(text[0] - '0'), 1U << 30);
      text.remove_prefix(1);
    }
    return value;
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  take("z");
  spec.alternate = take("#") != 0;
  if (!text.empty() && text[0] == '0') {
    spec.zero = true;
    if (!filled) spec.fill = "0";
    if (spec.align == 0) spec.align = '=';
  }
  spec.width = take_number();
  spec.grouping = take(",_");
  if (take(".") != 0) {
    if (text.empty() || text[0] < '0' || text[0] > '9')
      context.fail("format specifier missing precision");
    spec.precision = static_cast<int>(take_number());
  }
  if (text.size() > 1) context.fail("invalid format specifier");
  if (!text.empty()) spec.type = text[0];
  if (spec.width > kMaxWidth) context.fail("the format width is too large");
  return spec;
}

std::string format_int_digits(Interpreter& context, const BigInt& number, const FormatSpec& spec,
                              std::string& prefix) {
  context.work(BigInt::kMaxBits);
  const unsigned base = spec.type == 'x' || spec.type == 'X' ? 16
                        : spec.type == 'o'                   ? 8
                        : spec.type == 'b'                   ? 2
                                                             : 10;
  std::string digits = (number.negative() ? -number : number).to_string(base);
  if (spec.type == 'X') {
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return static_cast<char>(c >= 'a' ? c - 32 : c); });
  }
  if (spec.alternate && base != 10) prefix += std::string("0") + spec.type;
  return digits;
}

}  // namespace

std::string format_number(Interpreter& context, const Value& number, const FormatSpec& spec) {
  static constexpr std::string_view kIntTypes = "bdnoxX";
  const bool as_int = number.is_integral() &&
                      (spec.type == 0 || kIntTypes.find(spec.type) != std::string_view::npos);
  std::string prefix;
  std::string digits;
  if (as_int) {
    if (spec.precision >= 0) context.fail("precision not allowed in integer format specifier");
    const BigInt value = to_big(number);
    prefix = sign_of(value.negative(), spec.sign);
    digits = format_int_digits(context, value, spec, prefix);
  } else {
    if (spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) == std::string_view::npos) {
      context.fail("unknown format code '" + std::string(1, spec.type) + "' for object of type '" +
                   std::string(type_name(number)) + "'");
    }
    const double value = to_double(number);
    prefix = sign_of(std::signbit(value) && !std::isnan(value), spec.sign);
    digits = format_float_digits(context, std::fabs(value), spec);
  }
  if (spec.grouping != 0) {
    const bool fills = spec.align == '=' && spec.fill == "0" && spec.width > prefix.size();
    digits = apply_grouping(digits, spec, fills ? spec.width - prefix.size() : 0);
  }
  const std::size_t size = prefix.size() + digits.size();
  if (spec.align == '=' && size < spec.width) {
    for (std::size_t i = size; i < spec.width; ++i) prefix += spec.fill;
  }
  return prefix + digits;
}

void append_padded(StringBuilder& builder, const String& text, const FormatSpec& spec,
                   char default_align, Origin fill_origin) {
  const std::size_t length = text.length();
  const std::size_t missing = spec.width > length ? spec.width - length : 0;
  const char align = spec.align == 0 ? default_align : spec.align;
  const std::size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const auto fill = [&](std::size_t count) {
    std::string padding;
    for (std::size_t i = 0; i < count; ++i) padding += spec.fill;
    builder.append(padding, fill_origin);
  };
  fill(before);
  builder.append(text);
  fill(missing - before);
}

Value format_value(Interpreter& context, const Value& value, std::string_view specification) {
  if (specification.empty()) return Value::string(to_str(context, value));
  const FormatSpec spec = parse_spec(context, specification);
  context.work(spec.width);
  StringBuilder builder = context.builder();
  if (value.is_string()) {
    if ((spec.type != 0 && spec.type != 's') || (spec.align == '=' && !spec.zero) ||
        spec.grouping != 0) {
      context.fail("invalid format specifier '" + std::string(specification) +
                   "' for object of type 'str'");
    }
    const StringPtr text = to_str(context, value);
    const std::size_t end = spec.precision < 0
                                ? text->bytes.size()
                                : text->offset_of(static_cast<std::size_t>(spec.precision));
    const Value shown = context.substring(*text, 0, end, false);
    append_padded(builder, shown.str(), spec, '<', Origin::kTemplate);
  } else if (value.is_number()) {
    if (spec.type == 'c') {
      std::string character;
      append_utf8(character, static_cast<char32_t>(to_index(context, value, "a character code")));
      append_padded(builder, String(nullptr, character, value.origin()), spec, '<',
                    Origin::kTemplate);
    } else {
      const String digits(nullptr, format_number(context, value, spec), value.origin());
      append_padded(builder, digits, spec, '>', Origin::kTemplate);
    }
  } else {
    context.require_defined(value);
    context.fail("unsupported format string passed to " + std::string(type_name(value)) +
                 ".__format__");
  }
  return Value::string(builder.finish());
}

namespace {

/// The % operator.
class PercentFormatter {
 public:
  PercentFormatter(Interpreter& context, const String& text, const Value& values)
      : context_(context), text_(text), values_(values), builder_(context.builder()) {}

  Value run() {
    const std::string& bytes = text_.bytes;
    for (std::size_t i = 0; i < bytes.size();) {
      const std::size_t mark = std::min(bytes.find('%', i), bytes.size());
      builder_.append(text_, i, mark);
      i = mark;
      if (i == bytes.size()) break;
      conversion_origin_ = text_.origin_at(i);
      ++i;
      conversion(i);
    }
    const bool tuple = values_.is(Kind::kTuple);
    const bool mapping = values_.is(Kind::kDict) || values_.is(Kind::kList);
    if (!named_ && ((tuple && used_ < values_.as<List>().items.size()) ||
                    (!tuple && !mapping && used_ == 0))) {
      context_.fail("not all arguments converted during string formatting");
    }
    return Value::string(builder_.finish(text_.markup));
  }

 private:
  char at(std::size_t i) const {
    if (i >= text_.bytes.size()) context_.fail("incomplete format");
    return text_.bytes[i];
  }

  Value next_argument() {
    if (values_.is(Kind::kTuple)) {
      const auto& items = values_.as<List>().items;
      if (used_ >= items.size()) context_.fail("not enough arguments for format string");
      return items[used_++];
    }
    if (used_++ > 0) context_.fail("not enough arguments for format string");
    return values_;
  }

  std::size_t number(std::size_t& i, bool& left) {
    if (at(i) == '*') {
      ++i;
      std::int64_t value = to_index(context_, next_argument(), "a width");
      if (value < 0) {
        left = true;
        value = -value;
      }
      return static_cast<std::size_t>(value);
    }
    std::size_t value = 0;
    while (at(i) >= '0' && at(i) <= '9') {
      value = std::min<std::size_t>(value * 10 + static_cast<std::size_t>(at(i++) - '0'), 1U << 30);
    }
    return value;
  }

  void conversion(std::size_t& i) {
    Value argument;
    bool has_argument = false;
    if (at(i) == '(') {
      const std::size_t close = text_.bytes.find(')', i);
      if (close == std::string::npos) context_.fail("incomplete format key");
      if (!values_.is(Kind::kDict)) context_.fail("format requires a mapping");
      const std::string key = text_.bytes.substr(i + 1, close - i - 1);
      const Value* found = values_.as<Dict>().find(key);
      if (found == nullptr) context_.fail("the format names a missing key '" + key + "'");
      argument = *found;
      has_argument = named_ = true;
      i = close + 1;
    }
    FormatSpec spec;
    bool left = false;
    for (; std::string_view("-+ #0").find(at(i)) != std::string_view::npos; ++i) {
      const char flag = at(i);
      left |= flag == '-';
      spec.zero |= flag == '0';
      spec.alternate |= flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = number(i, left);
    if (at(i) == '.') {
      ++i;
      bool negative = false;
      spec.precision = static_cast<int>(std::min<std::size_t>(number(i, negative), kMaxWidth));
    }
    while (at(i) == 'l' || at(i) == 'h' || at(i) == 'L') ++i;
    const char type = at(i++);
    if (type == '%') return builder_.append("%", conversion_origin_);
    if (spec.width > kMaxWidth) context_.fail("the format width is too large");
    context_.work(spec.width);
    if (!has_argument) argument = next_argument();
    if (left) spec.align = '<';
    convert(type, argument, spec);
  }

  void convert(char type, const Value& argument, FormatSpec spec) {
    if (type == 's' || type == 'r' || type == 'a') {
      StringPtr text =
          type == 's'   ? (text_.markup ? escape(context_, argument) : to_str(context_, argument))
          : type == 'r' ? to_repr(context_, argument)
                        : to_ascii(context_, argument);
      const std::size_t end = spec.precision < 0
                                  ? text->bytes.size()
                                  : text->offset_of(static_cast<std::size_t>(spec.precision));
      const Value shown = context_.substring(*text, 0, end, false);
      return append_padded(builder_, shown.str(), spec, '>', conversion_origin_);
    }
    if (type == 'c') {
      if (argument.is_string() && argument.str().length() == 1) {
        return append_padded(builder_, argument.str(), spec, '>', conversion_origin_);
      }
      const std::int64_t code = to_index(context_, argument, "%c");
      if (code < 0 || code > 0x10FFFF) context_.fail("%c is out of range");
      std::string character;
      append_utf8(character, static_cast<char32_t>(code));
      return append_padded(builder_, String(nullptr, character, argument.origin()), spec, '>',
                           conversion_origin_);
    }
    context_.require_defined(argument);
    const bool as_int = std::string_view("diuoxX").find(type) != std::string_view::npos;
    const bool as_float = std::string_view("eEfFgG").find(type) != std::string_view::npos;
    if (!as_int && !as_float)
      context_.fail("unsupported format character '" + printable({&type, 1}) + "'");
    if (!argument.is_number() ||
        ((type == 'o' || type == 'x' || type == 'X') && argument.is(Kind::kFloat))) {
      context_.fail("%" + std::string(1, type) + " format: a number is required, not " +
                    std::string(type_name(argument)));
    }
    std::string text;
    if (as_int) {
      text = integer_text(type, argument, spec);
    } else {
      spec.type = type;
      FormatSpec digits = spec;
      digits.width = 0;
      text = format_number(context_, argument, digits);
    }
    if (spec.zero && spec.align != '<' && text.size() < spec.width) {
      std::size_t digits_begin = text.find_first_not_of("+- ");
      if (spec.alternate && (type == 'x' || type == 'X' || type == 'o')) digits_begin += 2;
      text.insert(digits_begin, spec.width - text.size(), '0');
    }
    append_padded(builder_, String(nullptr, text, argument.origin()), spec, '>',
                  conversion_origin_);
  }

  std::string integer_text(char type, const Value& argument, FormatSpec spec) {
    const bool finite = !argument.is(Kind::kFloat) || std::isfinite(argument.as_float());
    if (!finite) context_.fail("cannot convert a float infinity or NaN to an integer");
    const BigInt value =
        argument.is(Kind::kFloat) ? BigInt::from_double(argument.as_float()) : to_big(argument);
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    const int precision = std::min(spec.precision, kMaxPrecision);
    std::string prefix = sign_of(value.negative(), spec.sign);
    std::string digits = format_int_digits(context_, value, spec, prefix);
    while (static_cast<int>(digits.size()) < precision) digits.insert(digits.begin(), '0');
    return prefix + digits;
  }

  Interpreter& context_;
  const String& text_;
  const Value& values_;
  StringBuilder builder_;
  Origin conversion_origin_ = Origin::kTemplate;
  std::size_t used_ = 0;
  bool named_ = false;
};

/// str.format.
class BraceFormatter {
 public:
  BraceFormatter(Interpreter& context, const Arguments& arguments)
      : context_(context), arguments_(arguments) {}

  void run(const String& text, StringBuilder& builder, int depth) {
    if (depth > 2) context_.fail("max string recursion exceeded");
    const std::string& bytes = text.bytes;
    for (std::size_t i = 0; i < bytes.size();) {
      const std::size_t brace = std::min(bytes.find_first_of("{}", i), bytes.size());
      builder.append(text, i, brace);
      i = brace;
      if (i == bytes.size()) return;
      if (i + 1 < bytes.size() && bytes[i + 1] == bytes[i]) {
        builder.append(text, i, i + 1);
        i += 2;
        continue;
      }
      if (bytes[i] == '}') context_.fail("single '}' encountered in format string");
      const std::size_t end = field_end(bytes, i + 1);
      field(text, i + 1, end, builder, depth);
      i = end + 1;
    }
  }

 private:
  std::size_t field_end(const std::string& bytes, std::size_t i) const {
    int nesting = 1;
    for (; i < bytes.size(); ++i) {
      if (bytes[i] == '{') ++nesting;
      if (bytes[i] == '}' && --nesting == 0) return i;
    }
    context_.fail("expected '}' before end of string");
  }

  void field(const String& text, std::size_t begin, std::size_t end, StringBuilder& builder,
             int depth) {
    const std::string_view whole = std::string_view(text.bytes).substr(begin, end - begin);
    std::size_t name_end = 0;
    while (name_end < whole.size() && whole[name_end] != '!' && whole[name_end] != ':') {
      if (whole[name_end] == '[') name_end = std::min(whole.find(']', name_end), whole.size() - 1);
      ++name_end;
    }
    Value value = lookup(whole.substr(0, name_end));
    std::size_t rest = name_end;
    if (rest < whole.size() && whole[rest] == '!') {
      const char conversion = rest + 1 < whole.size() ? whole[rest + 1] : '\0';
      if (conversion == 'r') {
        value = Value::string(to_repr(context_, value));
      } else if (conversion == 's') {
        value = Value::string(to_str(context_, value));
      } else if (conversion == 'a') {
        value = Value::string(to_ascii(context_, value));
      } else {
        context_.fail("unknown conversion specifier in format string");
      }
      rest += 2;
      if (rest < whole.size() && whole[rest] != ':')
        context_.fail("expected ':' after conversion specifier");
    }
    std::string specification;
    if (rest < whole.size()) {
      const Value raw = context_.substring(text, begin + rest + 1, end, false);
      StringBuilder nested = context_.builder();
      run(raw.str(), nested, depth + 1);
      specification = nested.bytes();
    }
    const Value shown = format_value(context_, value, specification);
    builder.append(escape_ ? *escape(context_, shown) : shown.str());
  }

  Value lookup(std::string_view name) {
    const std::size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string first(name.substr(0, end));
    Value value;
    if (first.empty() || first.find_first_not_of("0123456789") == std::string::npos) {
      const std::size_t index = first.empty() ? automatic_++ : number(first);
      (first.empty() ? uses_automatic_ : uses_manual_) = true;
      if (uses_automatic_ && uses_manual_) {
        context_.fail("cannot mix manual field specification and automatic field numbering");
      }
      if (index >= arguments_.positional.size()) {
        context_.fail("replacement index " + std::to_string(index) +
                      " out of range for positional args tuple");
      }
      value = arguments_.positional[index];
    } else {
      const auto& keywords = arguments_.keyword;
      const auto found = std::find_if(keywords.begin(), keywords.end(),
                                      [&first](const auto& entry) { return entry.first == first; });
      if (found == keywords.end()) context_.fail("the format names a missing key '" + first + "'");
      value = found->second;
    }
    for (std::size_t i = end; i < name.size();) {
      if (name[i] == '.') {
        const std::size_t stop = std::min(name.find_first_of(".[", i + 1), name.size());
        value = context_.get_attribute(value, name.substr(i + 1, stop - i - 1));
        i = stop;
      } else {
        const std::size_t close = name[i] == '[' ? name.find(']', i) : std::string_view::npos;
        if (close == std::string_view::npos) context_.fail("missing ']' in format string");
        const std::string key(name.substr(i + 1, close - i - 1));
        const bool index = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
        value =
            context_.get_item(value, index ? Value::integer(static_cast<std::int64_t>(number(key)))
                                           : context_.string(key, Origin::kTemplate));
        i = close + 1;
      }
    }
    return value;
  }

  std::size_t number(const std::string& digits) const {
    if (digits.size() > 9) context_.fail("too many decimal digits in format string");
    return static_cast<std::size_t>(std::stoul(digits));
  }

 public:
  bool escape_ = false;

 private:
  Interpreter& context_;
  const Arguments& arguments_;
  std::size_t automatic_ = 0;
  bool uses_automatic_ = false, uses_manual_ = false;
};

}  // namespace

Value percent_format(Interpreter& context, const String& text, const Value& values) {
  return PercentFormatter(context, text, values).run();
}

Value brace_format(Interpreter& context, const String& text, const Arguments& arguments) {
  StringBuilder builder = context.builder();
  BraceFormatter formatter(context, arguments);
  formatter.escape_ = text.markup;
  formatter.run(text, builder, 0);
  return Value::string(builder.finish(text.markup));
}

}  // namespace hearth::text::jinja
