// Methods of str.
#include <algorithm>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/strings.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

/// An argument that must be a string; escaped when `self` is markup.
StringPtr text_argument(Interpreter& context, const Value& self, const Value& argument,
                        std::string_view method) {
  context.require_defined(argument);
  if (!argument.is_string()) {
    context.fail(std::string(method) + "() needs a string, not '" +
                 std::string(type_name(argument)) + "'");
  }
  return self.str().markup ? escape(context, argument) : argument.string_ptr();
}

Value part(Interpreter& context, const Value& self, Piece piece) {
  return context.substring(self.str(), piece.begin, piece.end, self.str().markup);
}

Value parts(Interpreter& context, const Value& self, const std::vector<Piece>& pieces) {
  const auto list = std::make_shared<List>(context.heap());
  for (const Piece& piece : pieces) list->push(part(context, self, piece));
  return Value::object(Kind::kList, list);
}

Value method_upper(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "upper", arguments, {});
  return upper(context, self.str());
}

Value method_lower(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "lower", arguments, {});
  return lower(context, self.str());
}

Value method_casefold(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "casefold", arguments, {});
  return map_characters(context, self.str(), [](char32_t c, std::size_t) { return fold_case(c); });
}

Value method_capitalize(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "capitalize", arguments, {});
  return capitalize(context, self.str());
}

Value method_swapcase(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "swapcase", arguments, {});
  const String& text = self.str();
  return map_characters(context, text, [&text](char32_t c, std::size_t at) {
    if (is_upper(c)) return to_lower(c, c == 0x3A3 && is_final_sigma(text.bytes, at));
    if (is_lower(c)) return to_upper(c);
    std::string same;
    append_utf8(same, c);
    return same;
  });
}

Value method_title(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "title", arguments, {});
  const String& text = self.str();
  bool inside = false;
  return map_characters(context, text, [&text, &inside](char32_t c, std::size_t at) {
    std::string mapped =
        inside ? to_lower(c, c == 0x3A3 && is_final_sigma(text.bytes, at)) : to_title(c);
    inside = is_cased(c);
    return mapped;
  });
}

template <bool left, bool right>
Value method_strip(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "strip", arguments, {"chars"});
  const StringPtr characters = bound.string(0);
  context.work(self.str().bytes.size() *
               (characters == nullptr ? 1 : 1 + characters->bytes.size() / 16));
  return part(context, self, strip(self.str(), characters.get(), left, right));
}

Value method_split(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "split", arguments, {"sep", "maxsplit"});
  const StringPtr separator = bound.string(0);
  const std::int64_t limit = bound.integer(1, -1);
  if (separator == nullptr) return parts(context, self, split_space(context, self.str(), limit));
  if (separator->bytes.empty()) context.fail("empty separator");
  const std::string& bytes = self.str().bytes;
  context.work(bytes.size());
  std::vector<Piece> pieces;
  std::size_t begin = 0;
  while (limit < 0 || static_cast<std::int64_t>(pieces.size()) < limit) {
    const std::size_t found = find_text(bytes, separator->bytes, begin);
    if (found == kNowhere) break;
    pieces.push_back({begin, found});
    begin = found + separator->bytes.size();
  }
  pieces.push_back({begin, bytes.size()});
  return parts(context, self, pieces);
}

/// Offset of the last `needle` that ends at or before `end`.
std::size_t find_last(std::string_view bytes, std::string_view needle, std::size_t begin,
                      std::size_t end) {
  if (end < begin || needle.size() > end - begin) return kNowhere;
  const std::size_t found = bytes.substr(0, end).rfind(needle);
  return found == kNowhere || found < begin ? kNowhere : found;
}

Value method_rsplit(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "rsplit", arguments, {"sep", "maxsplit"});
  const StringPtr separator = bound.string(0);
  const std::int64_t limit = bound.integer(1, -1);
  const String& text = self.str();
  context.work(text.bytes.size() * (separator == nullptr ? 1 : 1 + separator->bytes.size() / 16));
  if (separator != nullptr && separator->bytes.empty()) context.fail("empty separator");
  std::vector<Piece> pieces;
  if (separator == nullptr) {
    std::vector<Piece> words = split_space(context, text, -1);
    if (limit >= 0 && words.size() > static_cast<std::size_t>(limit)) {
      // What is left of the last `limit` words stays together.
      const std::size_t joined = words.size() - static_cast<std::size_t>(limit);
      const std::size_t begin = strip(text, nullptr, false, false).begin;
      words[joined - 1].begin = begin;
      words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(joined - 1));
      if (limit == 0) words[0].end = strip(text, nullptr, false, true).end;
    }
    return parts(context, self, words);
  }
  std::size_t end = text.bytes.size();
  while (limit < 0 || static_cast<std::int64_t>(pieces.size()) < limit) {
    const std::size_t found = find_last(text.bytes, separator->bytes, 0, end);
    if (found == kNowhere) break;
    pieces.push_back({found + separator->bytes.size(), end});
    end = found;
  }
  pieces.push_back({0, end});
  std::reverse(pieces.begin(), pieces.end());
  return parts(context, self, pieces);
}

Value method_splitlines(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "splitlines", arguments, {"keepends"});
  return parts(context, self, split_lines(context, self.str(), bound.flag(0, false)));
}

template <bool last>
Value method_partition(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "partition", arguments, {"sep"}, 1);
  const StringPtr separator = text_argument(context, self, bound[0], "partition");
  const String& text = self.str();
  if (separator->bytes.empty()) context.fail("empty separator");
  context.work(text.bytes.size() * (1 + separator->bytes.size() / 16));
  const std::size_t size = text.bytes.size();
  const std::size_t found = last ? find_last(text.bytes, separator->bytes, 0, size)
                                 : find_text(text.bytes, separator->bytes);
  if (found == kNowhere) {
    const Value empty = context.substring(text, 0, 0, text.markup);
    return last ? context.tuple({empty, empty, self}) : context.tuple({self, empty, empty});
  }
  const std::size_t after = found + separator->bytes.size();
  return context.tuple({part(context, self, {0, found}), part(context, self, {found, after}),
                        part(context, self, {after, size})});
}

/// The byte range that optional start and end arguments (at `index`) select.
bool selected_range(Interpreter& context, const String& text, const Bound& bound, std::size_t index,
                    Piece& range) {
  const auto size = static_cast<std::int64_t>(text.length());
  const auto position = [&](std::size_t at, std::int64_t fallback) {
    if (!bound.has(at) || bound[at].is_none()) return fallback;
    const std::int64_t value = to_index(context, bound[at], "a slice index");
    return value < 0 ? std::max<std::int64_t>(0, value + size) : value;
  };
  const std::int64_t start = position(index, 0);
  const std::int64_t end = std::min(position(index + 1, size), size);
  if (start > size || start > end) return false;
  range = {text.offset_of(static_cast<std::size_t>(start)),
           text.offset_of(static_cast<std::size_t>(end))};
  return true;
}

template <bool last, bool must_exist>
Value method_find(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "find", arguments, {"sub", "start", "end"}, 1);
  const String& text = self.str();
  const StringPtr needle = bound.string(0);
  if (needle == nullptr) context.fail("find() needs a string, not None");
  context.work(text.bytes.size() * (last ? 1 + needle->bytes.size() / 16 : 1));
  Piece range{};
  std::size_t found = kNowhere;
  if (selected_range(context, text, bound, 1, range)) {
    const std::string_view whole = std::string_view(text.bytes).substr(0, range.end);
    found = last ? find_last(whole, needle->bytes, range.begin, range.end)
                 : find_text(whole, needle->bytes, range.begin);
  }
  if (found != kNowhere) return Value::integer(static_cast<std::int64_t>(text.index_of(found)));
  if (must_exist) context.fail("substring not found");
  return Value::integer(-1);
}

Value method_count(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "count", arguments, {"sub", "start", "end"}, 1);
  const String& text = self.str();
  const StringPtr needle = bound.string(0);
  if (needle == nullptr) context.fail("count() needs a string, not None");
  Piece range{};
  if (!selected_range(context, text, bound, 1, range)) return Value::integer(0);
  context.work(text.bytes.size());
  if (needle->bytes.empty()) {
    return Value::integer(
        static_cast<std::int64_t>(text.index_of(range.end) - text.index_of(range.begin)) + 1);
  }
  std::int64_t count = 0;
  const std::string_view whole = std::string_view(text.bytes).substr(0, range.end);
  for (std::size_t at = find_text(whole, needle->bytes, range.begin); at != kNowhere;
       at = find_text(whole, needle->bytes, at + needle->bytes.size())) {
    ++count;
  }
  return Value::integer(count);
}

template <bool at_end>
Value method_starts(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, at_end ? "endswith" : "startswith", arguments,
                    {"prefix", "start", "end"}, 1);
  context.require_defined(bound[0]);
  Piece range{};
  const bool valid = selected_range(context, self.str(), bound, 1, range);
  const std::string_view text =
      valid ? std::string_view(self.str().bytes).substr(range.begin, range.end - range.begin)
            : std::string_view();
  const std::vector<Value> affixes =
      bound[0].is(Kind::kTuple) ? bound[0].as<List>().items : std::vector<Value>{bound[0]};
  for (const Value& affix : affixes) {
    if (!affix.is_string()) {
      context.fail("startswith and endswith need a string or a tuple of strings, not '" +
                   std::string(type_name(affix)) + "'");
    }
    const std::string& wanted = affix.str().bytes;
    if (valid && (at_end ? text.ends_with(wanted) : text.starts_with(wanted)))
      return Value::boolean(true);
  }
  return Value::boolean(false);
}

Value method_replace(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "replace", arguments, {"old", "new", "count"}, 2);
  const StringPtr old = text_argument(context, self, bound[0], "replace");
  const StringPtr with = text_argument(context, self, bound[1], "replace");
  return replace(context, self.str(), *old, *with, bound.integer(2, -1), self.str().markup);
}

template <bool prefix>
Value method_remove(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "removeprefix", arguments, {"affix"}, 1);
  const StringPtr affix = text_argument(context, self, bound[0], "removeprefix");
  const std::string_view bytes = self.str().bytes;
  const std::size_t size = affix->bytes.size();
  if (prefix && bytes.starts_with(affix->bytes)) return part(context, self, {size, bytes.size()});
  if (!prefix && bytes.ends_with(affix->bytes))
    return part(context, self, {0, bytes.size() - size});
  return self;
}

Value method_join(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "join", arguments, {"iterable"}, 1);
  const std::vector<Value> items = context.to_vector(bound[0]);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string() && !self.str().markup) {
      context.fail("sequence item " + std::to_string(i) + ": expected str instance, " +
                   std::string(type_name(items[i])) + " found");
    }
  }
  return join(context, self.str(), items);
}

template <char align>
Value method_pad(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "center", arguments, {"width", "fillchar"}, 1);
  const StringPtr fill = bound.string(1);
  return center(context, self.str(), bound.integer(0, 0), fill.get(), align);
}

Value method_zfill(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "zfill", arguments, {"width"}, 1);
  const String& text = self.str();
  const std::int64_t missing = bound.integer(0, 0) - static_cast<std::int64_t>(text.length());
  if (missing <= 0) return self;
  const std::size_t sign = text.bytes.starts_with('-') || text.bytes.starts_with('+') ? 1 : 0;
  StringBuilder builder = context.builder();
  builder.append(text, 0, sign);
  builder.append_repeated(String(nullptr, "0", text.origin_at(0)),
                          static_cast<std::size_t>(missing));
  builder.append(text, sign, text.bytes.size());
  return Value::string(builder.finish(text.markup));
}

Value method_expandtabs(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "expandtabs", arguments, {"tabsize"});
  const std::int64_t size = bound.integer(0, 8);
  if (size > 1024) context.fail("the tab size is too large");
  std::int64_t column = 0;
  return map_characters(context, self.str(), [size, &column](char32_t c, std::size_t) {
    if (c == U'\t') {
      const std::int64_t count = size > 0 ? size - column % size : 0;
      column += count;
      return std::string(static_cast<std::size_t>(count), ' ');
    }
    column = c == U'\n' || c == U'\r' ? 0 : column + 1;
    std::string same;
    append_utf8(same, c);
    return same;
  });
}

Value method_format(Interpreter& context, const Value& self, Arguments& arguments) {
  return brace_format(context, self.str(), arguments);
}

Value method_format_map(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "format_map", arguments, {"mapping"}, 1);
  if (!bound[0].is(Kind::kDict)) context.fail("format_map() needs a mapping");
  Arguments fields;
  for (const Dict::Entry& entry : bound[0].as<Dict>().entries()) {
    if (entry.key.is_string()) fields.keyword.emplace_back(entry.key.str().bytes, entry.value);
  }
  return brace_format(context, self.str(), fields);
}

Value method_encode(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "encode", arguments, {"encoding", "errors"});
  if (const StringPtr encoding = bound.string(0)) {
    std::string name = encoding->bytes;
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    const bool ascii = name == "ascii" || name == "us-ascii";
    if (!ascii && name != "utf-8" && name != "utf8") context.fail("unknown encoding: " + name);
    if (ascii && !self.str().ascii()) context.fail("the text has characters outside ASCII");
  }
  return Value::object(Kind::kBytes, std::make_shared<Bytes>(&context.heap(), self.str().bytes));
}

Value method_translate(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "translate", arguments, {"table"}, 1);
  if (!bound[0].is(Kind::kDict)) context.fail("translate() needs a mapping from character codes");
  const Dict& table = bound[0].as<Dict>();
  const String& text = self.str();
  StringBuilder builder = context.builder();
  for (std::size_t i = 0; i < text.bytes.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text.bytes).substr(i));
    context.work(64);
    const Value* found = table.find(Value::integer(static_cast<std::int64_t>(next.code_point)));
    if (found == nullptr) {
      builder.append(text, i, i + next.length);
    } else if (found->is_string()) {
      builder.append(found->str());
    } else if (!found->is_none()) {
      std::string mapped;
      append_utf8(mapped,
                  static_cast<char32_t>(to_index(context, *found, "a character code") & 0x1FFFFF));
      builder.append(mapped, found->origin());
    }
    i += next.length;
  }
  return Value::string(builder.finish(text.markup));
}

constexpr NamedFunction<MethodFunction> kMethods[] = {
    {"capitalize", method_capitalize},
    {"casefold", method_casefold},
    {"center", method_pad<'^'>},
    {"count", method_count},
    {"encode", method_encode},
    {"endswith", method_starts<true>},
    {"expandtabs", method_expandtabs},
    {"find", method_find<false, false>},
    {"format", method_format},
    {"format_map", method_format_map},
    {"index", method_find<false, true>},
    {"join", method_join},
    {"ljust", method_pad<'<'>},
    {"lower", method_lower},
    {"lstrip", method_strip<true, false>},
    {"partition", method_partition<false>},
    {"removeprefix", method_remove<true>},
    {"removesuffix", method_remove<false>},
    {"replace", method_replace},
    {"rfind", method_find<true, false>},
    {"rindex", method_find<true, true>},
    {"rjust", method_pad<'>'>},
    {"rpartition", method_partition<true>},
    {"rsplit", method_rsplit},
    {"rstrip", method_strip<false, true>},
    {"split", method_split},
    {"splitlines", method_splitlines},
    {"startswith", method_starts<false>},
    {"strip", method_strip<true, true>},
    {"swapcase", method_swapcase},
    {"title", method_title},
    {"translate", method_translate},
    {"upper", method_upper},
    {"zfill", method_zfill},
};

}  // namespace

MethodFunction find_string_method(std::string_view name) noexcept {
  const MethodFunction method = find_named(kMethods, name);
  return method != nullptr ? method : find_string_property_method(name);
}

}  // namespace hearth::text::jinja
