// Filters about HTML and URLs, which chat templates meet rarely, and pprint.
#include <algorithm>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/strings.h"

namespace hearth::text::jinja {
namespace {

Value filter_escape(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "escape", arguments, {});
  return Value::string(escape(context, input));
}

StringPtr as_plain(Interpreter& context, const Value& input) {
  StringBuilder builder = context.builder();
  builder.append(*to_str(context, input));
  return builder.finish();
}

Value filter_forceescape(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "forceescape", arguments, {});
  return Value::string(escape(context, Value::string(as_plain(context, input))));
}

Value filter_safe(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "safe", arguments, {});
  StringBuilder builder = context.builder();
  builder.append(*to_str(context, input));
  return Value::string(builder.finish(true));
}

/// The character an entity like "&amp;" stands for, with the entity's length; length 0 when it is
/// none.
std::pair<std::string, std::size_t> entity_at(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kNamed[] = {
      {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", "\u00A0"},
  };
  const std::size_t end = text.substr(0, 12).find(';');
  if (end == std::string_view::npos || end < 2) return {{}, 0};
  const std::string_view body = text.substr(1, end - 1);
  for (const auto& [name, character] : kNamed) {
    if (body == name) return {std::string(character), end + 1};
  }
  if (body[0] != '#') return {{}, 0};
  const bool hex = body.size() > 1 && (body[1] | 0x20) == 'x';
  const std::string digits(body.substr(hex ? 2 : 1));
  const char* allowed = hex ? "0123456789abcdefABCDEF" : "0123456789";
  if (digits.empty() || digits.find_first_not_of(allowed) != std::string::npos) return {{}, 0};
  std::string character;
  append_utf8(character, static_cast<char32_t>(
                             std::min(std::stoul(digits, nullptr, hex ? 16 : 10), 0x110000UL)));
  return {character, end + 1};
}

Value filter_striptags(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "striptags", arguments, {});
  const StringPtr text = to_str(context, input);
  const std::string& bytes = text->bytes;
  context.work(bytes.size());
  const auto remove = [&context](const String& source, std::string_view open,
                                 std::string_view close) {
    StringBuilder kept = context.builder();
    std::size_t done = 0;
    while (true) {
      const std::size_t begin = find_text(source.bytes, open, done);
      const std::size_t end =
          begin == std::string_view::npos ? begin : find_text(source.bytes, close, begin);
      if (end == std::string_view::npos) break;
      kept.append(source, done, begin);
      done = end + close.size();
    }
    kept.append(source, done, source.bytes.size());
    return kept.finish();
  };
  const StringPtr bare = remove(*remove(*text, "<!--", "-->"), "<", ">");
  StringBuilder builder = context.builder();
  bool first = true;
  for (const Piece& word : split_space(context, *bare, -1)) {
    if (!std::exchange(first, false)) builder.append(" ", bare->origin_at(word.begin - 1));
    for (std::size_t i = word.begin; i < word.end;) {
      const std::size_t mark = std::min(bare->bytes.find('&', i), word.end);
      builder.append(*bare, i, mark);
      i = mark;
      if (i == word.end) break;
      const auto [character, length] =
          entity_at(std::string_view(bare->bytes).substr(i, word.end - i));
      builder.append(length == 0 ? "&" : character, bare->origin_at(i));
      i += std::max<std::size_t>(length, 1);
    }
  }
  return Value::string(builder.finish());
}

/// Percent-encodes; `query` turns spaces into '+' and encodes '/' too.
void append_quoted(Interpreter& context, StringBuilder& builder, const Value& value, bool query) {
  const StringPtr text = to_str(context, value);
  context.work(4 * text->bytes.size());
  for (std::size_t i = 0; i < text->bytes.size(); ++i) {
    const char c = text->bytes[i];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    const Origin origin = text->origin_at(i);
    if (plain) {
      builder.append({&c, 1}, origin);
    } else if (c == ' ' && query) {
      builder.append("+", origin);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      const char code[] = {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
      builder.append({code, 3}, origin);
    }
  }
}

Value filter_urlencode(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "urlencode", arguments, {});
  StringBuilder builder = context.builder();
  const bool iterable =
      !input.is_string() && (context.has_length(input) || input.is(Kind::kGenerator));
  if (!iterable) {
    append_quoted(context, builder, input, false);
    return Value::string(builder.finish());
  }
  Arguments none;
  const Value pairs = input.is(Kind::kDict) ? find_filter("items")(context, input, none) : input;
  Iterator iterator = context.iterate(pairs);
  Value item;
  for (bool first = true; iterator.next(context, item); first = false) {
    const std::vector<Value> pair = context.to_vector(item);
    if (pair.size() != 2) context.fail("urlencode needs pairs of names and values");
    if (!first) builder.append("&", Origin::kTemplate);
    append_quoted(context, builder, pair[0], true);
    builder.append("=", Origin::kTemplate);
    append_quoted(context, builder, pair[1], true);
  }
  return Value::string(builder.finish());
}

Value filter_urlize(Interpreter& context, const Value& input, Arguments& arguments) {
  // Links the words that are web addresses.
  const Bound bound(context, "urlize", arguments,
                    {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"});
  const std::int64_t limit = bound.has(0) && !bound[0].is_none() ? bound.integer(0, 0) : -1;
  const StringPtr text = escape(context, input);
  context.work(text->bytes.size());
  std::string attributes =
      bound.flag(1, false) ? " rel=\"nofollow noopener\"" : " rel=\"noopener\"";
  if (const StringPtr target = bound.string(2))
    attributes += " target=\"" + escape(context, bound[2])->bytes + "\"";
  StringBuilder builder = context.builder();
  std::size_t done = 0;
  for (const Piece& word : split_space(context, *text, -1)) {
    builder.append(*text, done, word.begin);
    done = word.end;
    std::size_t end = word.end;
    while (end > word.begin &&
           std::string_view(".,:;!?)").find(text->bytes[end - 1]) != std::string_view::npos)
      --end;
    const std::string url = text->bytes.substr(word.begin, end - word.begin);
    const bool complete = url.starts_with("http://") || url.starts_with("https://");
    if (!complete && !url.starts_with("www.")) {
      builder.append(*text, word.begin, word.end);
      continue;
    }
    const Origin origin = text->origin_at(word.begin);
    builder.append(
        "<a href=\"" + (complete ? "" : std::string("https://")) + url + "\"" + attributes + ">",
        origin);
    const std::size_t length = text->index_of(end) - text->index_of(word.begin);
    const bool cut = limit >= 0 && length > static_cast<std::size_t>(limit);
    const std::size_t shown_end =
        cut ? text->offset_of(text->index_of(word.begin) + static_cast<std::size_t>(limit)) : end;
    builder.append(*text, word.begin, shown_end);
    builder.append(cut ? "...</a>" : "</a>", origin);
    builder.append(*text, end, word.end);
  }
  builder.append(*text, done, text->bytes.size());
  return Value::string(builder.finish(context.autoescape()));
}

Value filter_xmlattr(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "xmlattr", arguments, {"autospace"});
  context.require_defined(input);
  if (!input.is(Kind::kDict))
    context.fail("xmlattr needs a mapping, not '" + std::string(type_name(input)) + "'");
  StringBuilder builder = context.builder();
  bool first = true;
  for (const Dict::Entry& entry : input.as<Dict>().entries()) {
    if (entry.value.is_none() || entry.value.is_undefined()) continue;
    if (!entry.key.is_string()) context.fail("the names of attributes must be strings");
    if (entry.key.str().bytes.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      context.fail("invalid character in attribute name " + to_repr(context, entry.key)->bytes);
    }
    if (!first || bound.flag(0, true)) builder.append(" ", Origin::kTemplate);
    first = false;
    builder.append(*escape(context, entry.key));
    builder.append("=\"", Origin::kTemplate);
    builder.append(*escape(context, entry.value));
    builder.append("\"", Origin::kTemplate);
  }
  return Value::string(builder.finish(context.autoescape()));
}

/// Python's pprint for the cases of dicts, lists and tuples: one line when it fits in 80 columns,
/// else one element per line; dicts are sorted by key.
class PrettyPrinter {
 public:
  PrettyPrinter(Interpreter& context, StringBuilder& builder, Origin punctuation)
      : context_(context), builder_(builder), punctuation_(punctuation) {}

  void write(const Value& value, std::size_t indent, std::size_t allowance) {
    const Interpreter::Nested nested(context_);
    const Value sorted = sort_dicts(value);
    const StringPtr line = to_repr(context_, sorted);
    const bool breaks = value.is(Kind::kDict) || value.is_sequence();
    if (!breaks || context_.length(value) == 0 || line->length() + indent + allowance <= 80) {
      builder_.append(*line);
      return;
    }
    if (value.is(Kind::kDict)) {
      const auto& entries = sorted.as<Dict>().entries();
      plain("{");
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i > 0) plain(",\n" + std::string(indent + 1, ' '));
        const StringPtr key = to_repr(context_, entries[i].key);
        builder_.append(*key);
        plain(": ");
        write(entries[i].value, indent + 3 + key->length(),
              i + 1 == entries.size() ? allowance + 1 : 1);
      }
      plain("}");
      return;
    }
    const auto& items = value.as<List>().items;
    const std::string_view close = value.is(Kind::kList) ? "]" : items.size() == 1 ? ",)" : ")";
    plain(value.is(Kind::kList) ? "[" : "(");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) plain(",\n" + std::string(indent + 1, ' '));
      write(items[i], indent + 1, i + 1 == items.size() ? allowance + close.size() : 1);
    }
    plain(close);
  }

 private:
  void plain(std::string_view text) { builder_.append(text, punctuation_); }

  Value sort_dicts(const Value& value) {
    const Interpreter::Nested nested(context_);
    if (value.is_sequence()) {
      std::vector<Value> items;
      for (const Value& item : value.as<List>().items) items.push_back(sort_dicts(item));
      return value.is(Kind::kList) ? context_.list(std::move(items))
                                   : context_.tuple(std::move(items));
    }
    if (!value.is(Kind::kDict)) return value;
    Arguments case_sensitive;
    case_sensitive.positional.push_back(Value::boolean(true));
    const auto dict = std::make_shared<Dict>(context_.heap());
    const Value pairs = find_filter("dictsort")(context_, value, case_sensitive);
    for (const Value& pair : pairs.as<List>().items) {
      dict->set(pair.as<List>().items[0], sort_dicts(pair.as<List>().items[1]));
    }
    return Value::object(Kind::kDict, dict);
  }

  Interpreter& context_;
  StringBuilder& builder_;
  Origin punctuation_;
};

Value filter_pprint(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "pprint", arguments, {});
  StringBuilder builder = context.builder();
  PrettyPrinter(context, builder, origin_of(context, input)).write(input, 0, 0);
  return Value::string(builder.finish());
}

constexpr NamedFunction<FilterFunction> kMarkupFilters[] = {
    {"e", filter_escape},      {"escape", filter_escape},       {"forceescape", filter_forceescape},
    {"safe", filter_safe},     {"striptags", filter_striptags}, {"urlencode", filter_urlencode},
    {"urlize", filter_urlize}, {"xmlattr", filter_xmlattr},     {"pprint", filter_pprint},
};

}  // namespace

FilterFunction find_markup_filter(std::string_view name) noexcept {
  return find_named(kMarkupFilters, name);
}

}  // namespace hearth::text::jinja
