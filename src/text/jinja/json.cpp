#include "text/jinja/json.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "support/utf8.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {
namespace {

constexpr int kMaxJsonDepth = 200;

Value convert(Interpreter& context, const nlohmann::ordered_json& json, Origin origin, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > kMaxJsonDepth) context.fail("the data is nested too deeply");
  context.work(1);
  switch (json.type()) {
    case Type::boolean:
      return Value::boolean(json.get<bool>(), origin);
    case Type::number_integer:
      return Value::integer(json.get<std::int64_t>(), origin);
    case Type::number_unsigned:
      return context.big(BigInt::from_uint64(json.get<std::uint64_t>()), origin);
    case Type::number_float:
      return Value::real(json.get<double>(), origin);
    case Type::string:
      return context.string(to_valid_utf8(json.get_ref<const std::string&>()), origin);
    case Type::array: {
      const auto list = std::make_shared<List>(context.heap());
      for (const auto& item : json) list->push(convert(context, item, origin, depth + 1));
      return Value::object(Kind::kList, list, origin);
    }
    case Type::object: {
      const auto dict = std::make_shared<Dict>(context.heap());
      for (const auto& [key, value] : json.items()) {
        dict->set(context.string(to_valid_utf8(key), origin),
                  convert(context, value, origin, depth + 1));
      }
      return Value::object(Kind::kDict, dict, origin);
    }
    default:
      return Value::none(origin);
  }
}

class JsonWriter {
 public:
  JsonWriter(Interpreter& context, StringBuilder& builder, Origin punctuation,
             const JsonStyle& style)
      : context_(context), builder_(builder), punctuation_(punctuation), style_(style) {}

  void write(const Value& value, std::size_t level) {
    const Interpreter::Nested nested(context_);
    context_.work(64);
    switch (value.kind()) {
      case Kind::kNone:
        return plain("null");
      case Kind::kBool:
        return plain(value.as_bool() ? "true" : "false");
      case Kind::kInt:
      case Kind::kBigInt:
        return plain(to_repr(context_, value)->bytes);
      case Kind::kFloat:
        return plain(number(value.as_float()));
      case Kind::kString:
        return string(value.str());
      case Kind::kList:
      case Kind::kTuple:
        return list(value.as<List>(), level);
      case Kind::kDict:
        return dict(value.as<Dict>(), level);
      default:
        context_.fail("object of type " + std::string(type_name(value)) +
                      " is not JSON serializable");
    }
  }

 private:
  void plain(std::string_view text) { builder_.append(text, punctuation_); }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void line(std::size_t level) {
    if (!style_.indented) return;
    plain("\n");
    for (std::size_t i = 0; i < level; ++i) plain(style_.indent);
  }

  void list(const List& list, std::size_t level) {
    if (list.items.empty()) return plain("[]");
    plain("[");
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) plain(style_.item_separator);
      line(level + 1);
      write(list.items[i], level + 1);
    }
    line(level);
    plain("]");
  }

  void dict(const Dict& dict, std::size_t level) {
    if (dict.entries().empty()) return plain("{}");
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [this](const auto* a, const auto* b) {
        return compare(context_, a->key, b->key) < 0;
      });
    }
    plain("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) plain(style_.item_separator);
      line(level + 1);
      key(entries[i]->key);
      plain(style_.key_separator);
      write(entries[i]->value, level + 1);
    }
    line(level);
    plain("}");
  }

  void key(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        return string(key.str());
      case Kind::kNone:
        return plain("\"null\"");
      case Kind::kBool:
        return plain(key.as_bool() ? "\"true\"" : "\"false\"");
      case Kind::kFloat:
        return plain("\"" + number(key.as_float()) + "\"");
      case Kind::kInt:
      case Kind::kBigInt:
        return plain("\"" + to_repr(context_, key)->bytes + "\"");
      default:
        context_.fail("keys must be str, int, float, bool or None, not " +
                      std::string(type_name(key)));
    }
  }

  static void unicode_escape(std::string& out, std::uint32_t unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[(unit >> shift) & 15];
  }

  std::string escaped(char32_t c) const {
    switch (c) {
      case U'"':
        return "\\\"";
      case U'\\':
        return "\\\\";
      case U'\n':
        return "\\n";
      case U'\r':
        return "\\r";
      case U'\t':
        return "\\t";
      case U'\b':
        return "\\b";
      case U'\f':
        return "\\f";
      default:
        break;
    }
    std::string out;
    if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c < 0x10000)) {
      unicode_escape(out, c);
    } else if (style_.ensure_ascii && c >= 0x10000) {
      unicode_escape(out, 0xD800 + ((c - 0x10000) >> 10));
      unicode_escape(out, 0xDC00 + ((c - 0x10000) & 0x3FF));
    }
    return out;
  }

  void string(const String& text) {
    context_.work(text.bytes.size());
    plain("\"");
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.bytes.size();) {
      const Utf8Decoded next = decode_utf8(std::string_view(text.bytes).substr(i));
      const std::string replacement = escaped(next.code_point);
      if (!replacement.empty()) {
        builder_.append(text, done, i);
        builder_.append(replacement, text.origin_at(i));
        done = i + next.length;
      }
      i += next.length;
    }
    builder_.append(text, done, text.bytes.size());
    plain("\"");
  }

  Interpreter& context_;
  StringBuilder& builder_;
  Origin punctuation_;
  const JsonStyle& style_;
};

}  // namespace

Value from_json(Interpreter& context, const nlohmann::ordered_json& json, Origin origin) {
  return convert(context, json, origin, 0);
}

StringPtr to_json(Interpreter& context, const Value& value, const JsonStyle& style) {
  StringBuilder builder = context.builder();
  JsonWriter(context, builder, origin_of(context, value), style).write(value, 0);
  return builder.finish();
}

}  // namespace hearth::text::jinja
