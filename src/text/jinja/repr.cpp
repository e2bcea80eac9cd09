#include <charconv>
#include <cmath>

#include "support/utf8.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

/// Writes repr() of values. `punctuation` is the origin of brackets, quotes and escapes.
class ReprWriter {
 public:
  ReprWriter(Interpreter& context, StringBuilder& builder, Origin punctuation, bool ascii)
      : context_(context), builder_(builder), punctuation_(punctuation), ascii_(ascii) {}

  void write(const Value& value) {
    const Interpreter::Nested nested(context_);
    context_.work(64);
    switch (value.kind()) {
      case Kind::kUndefined:
        plain("Undefined");
        break;
      case Kind::kString:
        string(value.str());
        break;
      case Kind::kBytes:
        bytes(value.as<Bytes>().bytes);
        break;
      case Kind::kList:
        sequence("[", value.as<List>().items, "]");
        break;
      case Kind::kTuple:
        sequence("(", value.as<List>().items, value.as<List>().items.size() == 1 ? ",)" : ")");
        break;
      case Kind::kDict:
        dict(value.as<Dict>());
        break;
      case Kind::kNamespace:
        plain("<Namespace ");
        dict(*value.as<Namespace>().attributes);
        plain(">");
        break;
      case Kind::kView:
        plain(std::string(type_name(value)) + "(");
        sequence("[", context_.to_vector(value), "]");
        plain(")");
        break;
      default:
        plain(scalar(value));
    }
  }

 private:
  void plain(std::string_view text) { builder_.append(text, punctuation_); }

  std::string scalar(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "None";
      case Kind::kBool:
        return value.as_bool() ? "True" : "False";
      case Kind::kInt:
        return std::to_string(value.as_int());
      case Kind::kBigInt:
        context_.work(BigInt::kMaxBits);
        return value.as<BigIntObject>().value.to_string();
      case Kind::kFloat:
        return float_repr(value.as_float());
      case Kind::kRange: {
        const Range& range = value.as<Range>();
        const std::string bounds = std::to_string(range.start) + ", " + std::to_string(range.stop);
        return "range(" + bounds +
               (range.step == 1 ? ")" : ", " + std::to_string(range.step) + ")");
      }
      case Kind::kMacro:
        return "<Macro '" + value.as<Macro>().info->name + "'>";
      case Kind::kLoop: {
        Loop& loop = value.as<Loop>();
        return "<LoopContext " + std::to_string(loop.index0 + 1) + "/" +
               std::to_string(loop.length(context_)) + ">";
      }
      case Kind::kFunction:
        return "<function " + value.as<Function>().name + ">";
      default:
        return "<" + std::string(type_name(value)) + " object>";
    }
  }

  void sequence(std::string_view open, const std::vector<Value>& items, std::string_view close) {
    plain(open);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) plain(", ");
      write(items[i]);
    }
    plain(close);
  }

  void dict(const Dict& dict) {
    plain("{");
    bool first = true;
    for (const Dict::Entry& entry : dict.entries()) {
      if (!first) plain(", ");
      first = false;
      write(entry.key);
      plain(": ");
      write(entry.value);
    }
    plain("}");
  }

  static void hex(std::string& out, char letter, std::uint32_t value, int digits) {
    out += '\\';
    out += letter;
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
      out += "0123456789abcdef"[(value >> shift) & 15];
  }

  void string(const String& text) {
    context_.work(text.bytes.size());
    if (text.markup) plain("Markup(");
    const bool has_single = text.bytes.find('\'') != std::string::npos;
    const char quote = has_single && text.bytes.find('"') == std::string::npos ? '"' : '\'';
    plain({&quote, 1});
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.bytes.size();) {
      const Utf8Decoded next = decode_utf8(std::string_view(text.bytes).substr(i));
      const std::string escaped = escape_character(next.code_point, quote);
      if (!escaped.empty()) {
        builder_.append(text, done, i);
        builder_.append(escaped, text.origin_at(i));
        done = i + next.length;
      }
      i += next.length;
    }
    builder_.append(text, done, text.bytes.size());
    plain({&quote, 1});
    if (text.markup) plain(")");
  }

  /// Empty when `c` is printed as it is.
  std::string escape_character(char32_t c, char quote) const {
    if (c == static_cast<unsigned char>(quote) || c == U'\\') return {'\\', static_cast<char>(c)};
    if (c == U'\n') return "\\n";
    if (c == U'\r') return "\\r";
    if (c == U'\t') return "\\t";
    if (ascii_ ? c >= 0x20 && c < 0x7F : is_printable(c)) return {};
    std::string out;
    if (c < 0x100) {
      hex(out, 'x', c, 2);
    } else if (c < 0x10000) {
      hex(out, 'u', c, 4);
    } else {
      hex(out, 'U', c, 8);
    }
    return out;
  }

  void bytes(const std::string& content) {
    std::string out = "b'";
    for (const char c : content) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '\'' || c == '\\') {
        out += '\\';
        out += c;
      } else if (c == '\n') {
        out += "\\n";
      } else if (c == '\r') {
        out += "\\r";
      } else if (c == '\t') {
        out += "\\t";
      } else if (byte >= 0x20 && byte < 0x7F) {
        out += c;
      } else {
        hex(out, 'x', byte, 2);
      }
    }
    plain(out + "'");
  }

  Interpreter& context_;
  StringBuilder& builder_;
  Origin punctuation_;
  bool ascii_;
};

StringPtr repr(Interpreter& context, const Value& value, bool ascii) {
  StringBuilder builder = context.builder();
  ReprWriter(context, builder, origin_of(context, value), ascii).write(value);
  return builder.finish();
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<std::size_t>(result.ptr - buffer));
  std::string sign;
  if (text.starts_with('-')) {
    sign = "-";
    text.remove_prefix(1);
  }
  const std::size_t mark = text.find('e');
  std::string digits(text.substr(0, mark));
  std::erase(digits, '.');
  int exponent = 0;
  const char* exponent_begin = text.data() + mark + (text[mark + 1] == '+' ? 2 : 1);
  std::from_chars(exponent_begin, text.data() + text.size(), exponent);
  // Python switches to scientific notation below 1e-4 and from 1e16 on.
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const std::string size = std::to_string(exponent < 0 ? -exponent : exponent);
    return out + (exponent < 0 ? "e-" : "e+") + (size.size() < 2 ? "0" : "") + size;
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

Origin origin_of(Interpreter& context, const Value& value) {
  const Interpreter::Nested nested(context);
  context.work(64);
  if (value.origin() == Origin::kData) return Origin::kData;
  switch (value.kind()) {
    case Kind::kString:
      for (const String::Run& run : value.str().runs) {
        if (run.origin == Origin::kData) return Origin::kData;
      }
      return Origin::kTemplate;
    case Kind::kList:
    case Kind::kTuple:
      for (const Value& item : value.as<List>().items) {
        if (origin_of(context, item) == Origin::kData) return Origin::kData;
      }
      return Origin::kTemplate;
    case Kind::kDict:
      for (const Dict::Entry& entry : value.as<Dict>().entries()) {
        if (origin_of(context, entry.key) == Origin::kData) return Origin::kData;
        if (origin_of(context, entry.value) == Origin::kData) return Origin::kData;
      }
      return Origin::kTemplate;
    case Kind::kView:
      return origin_of(context, value.as<View>().dict);
    case Kind::kNamespace:
    case Kind::kBytes:
      return Origin::kData;
    default:
      return Origin::kTemplate;
  }
}

StringPtr to_str(Interpreter& context, const Value& value) {
  if (value.is_string()) return value.string_ptr();
  if (value.is_undefined()) return context.builder().finish();
  return repr(context, value, false);
}

StringPtr to_repr(Interpreter& context, const Value& value) { return repr(context, value, false); }
StringPtr to_ascii(Interpreter& context, const Value& value) { return repr(context, value, true); }

}  // namespace hearth::text::jinja
