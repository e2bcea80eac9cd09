// Filters on text.
#include <algorithm>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/operations.h"
#include "text/jinja/strings.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

/// The same text without the markup flag (Python's str(markup)).
StringPtr plain(Interpreter& context, const Value& value) {
  const StringPtr text = to_str(context, value);
  if (!text->markup) return text;
  StringBuilder builder = context.builder();
  builder.append(*text);
  return builder.finish();
}

Value filter_upper(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "upper", arguments, {});
  return upper(context, *to_str(context, input));
}

Value filter_lower(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "lower", arguments, {});
  return lower(context, *to_str(context, input));
}

Value filter_capitalize(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "capitalize", arguments, {});
  return capitalize(context, *to_str(context, input));
}

Value filter_title(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "title", arguments, {});
  const StringPtr text = to_str(context, input);
  bool start = true;
  StringBuilder builder = context.builder();
  // Markup or not, the result is put together from its words and is plain.
  builder.append(map_characters(context, *text, [&](char32_t c, std::size_t at) {
                   const bool separator =
                       is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
                   const bool first = std::exchange(start, separator);
                   if (first) return to_upper(c);
                   return to_lower(c, c == 0x3A3 && is_final_sigma(text->bytes, at));
                 }).str());
  return Value::string(builder.finish());
}

Value filter_trim(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "trim", arguments, {"chars"});
  const StringPtr text = to_str(context, input);
  const StringPtr characters = bound.string(0);
  context.work(text->bytes.size() *
               (characters == nullptr ? 1 : 1 + characters->bytes.size() / 16));
  const Piece piece = strip(*text, characters.get(), true, true);
  return context.substring(*text, piece.begin, piece.end, text->markup);
}

Value filter_string(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "string", arguments, {});
  return Value::string(to_str(context, input));
}

Value filter_replace(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "replace", arguments, {"old", "new", "count"}, 2);
  const std::int64_t count = bound.has(2) && !bound[2].is_none() ? bound.integer(2, -1) : -1;
  if (!context.autoescape()) {
    return replace(context, *plain(context, input), *to_str(context, bound[0]),
                   *to_str(context, bound[1]), count, false);
  }
  const auto is_markup = [](const Value& value) { return value.is_string() && value.str().markup; };
  const bool escapes = is_markup(bound[0]) || (is_markup(bound[1]) && !is_markup(input));
  const StringPtr text = escapes ? escape(context, input) : to_str(context, input);
  const StringPtr old = text->markup ? escape(context, bound[0]) : to_str(context, bound[0]);
  const StringPtr with = text->markup ? escape(context, bound[1]) : to_str(context, bound[1]);
  return replace(context, *text, *old, *with, count, text->markup);
}

Value filter_format(Interpreter& context, const Value& input, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keyword.empty()) {
    context.fail("can't handle positional and keyword arguments at the same time");
  }
  const StringPtr text = to_str(context, input);
  if (arguments.keyword.empty())
    return percent_format(context, *text, context.tuple(arguments.positional));
  const auto named = std::make_shared<Dict>(context.heap());
  for (const auto& [name, value] : arguments.keyword)
    named->set(context.string(name, Origin::kTemplate), value);
  return percent_format(context, *text, Value::object(Kind::kDict, named));
}

Value filter_center(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "center", arguments, {"width"});
  return center(context, *to_str(context, input), bound.integer(0, 80), nullptr, '^');
}

Value filter_indent(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "indent", arguments, {"width", "first", "blank"});
  StringPtr indention;
  if (bound.has(0) && bound[0].is_string()) {
    indention = bound[0].string_ptr();
  } else {
    StringBuilder spaces = context.builder();
    spaces.append_repeated(
        String(nullptr, " ", Origin::kTemplate),
        static_cast<std::size_t>(std::max<std::int64_t>(0, bound.integer(0, 4))));
    indention = spaces.finish();
  }
  const bool first = bound.flag(1, false);
  const bool blank = bound.flag(2, false);
  context.require_defined(input);
  if (!input.is_string())
    context.fail("indent needs a string, not '" + std::string(type_name(input)) + "'");
  // A line end added to the text lets its last line count as a line even when it is empty.
  StringBuilder ended = context.builder();
  ended.append(input.str());
  ended.append("\n", Origin::kTemplate);
  const StringPtr text = ended.finish();
  StringBuilder builder = context.builder();
  const std::vector<Piece> lines = split_lines(context, *text, false);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool empty = lines[i].begin == lines[i].end;
    if (i > 0) builder.append("\n", text->origin_at(lines[i].begin - 1));
    if (i == 0 ? first : blank || !empty) builder.append(*indention);
    builder.append(*text, lines[i].begin, lines[i].end);
  }
  context.work(builder.size());
  return Value::string(builder.finish(input.str().markup));
}

Value filter_truncate(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::int64_t length = bound.integer(0, 255);
  const std::int64_t leeway = bound.has(3) && !bound[3].is_none() ? bound.integer(3, 5) : 5;
  const StringPtr text = to_str(context, input);
  const StringPtr end = bound.has(2) ? to_str(context, bound[2])
                                     : context.string("...", Origin::kTemplate).string_ptr();
  const auto end_length = static_cast<std::int64_t>(end->length());
  if (length < end_length)
    context.fail("expected length >= " + std::to_string(end_length) + ", got " +
                 std::to_string(length));
  if (leeway < 0) context.fail("expected leeway >= 0, got " + std::to_string(leeway));
  // length() + leeway may overflow when both come from the template; compare by subtraction.
  if (static_cast<std::int64_t>(text->length()) - length <= leeway) return Value::string(text);
  std::size_t cut = text->offset_of(static_cast<std::size_t>(length - end_length));
  if (!bound.flag(1, false)) {
    const std::size_t space = cut == 0 ? std::string::npos : text->bytes.rfind(' ', cut - 1);
    if (space != std::string::npos) cut = space;
  }
  StringBuilder builder = context.builder();
  builder.append(*text, 0, cut);
  builder.append(text->markup ? *escape(context, Value::string(end)) : *end);
  return Value::string(builder.finish(text->markup));
}

Value filter_wordcount(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "wordcount", arguments, {});
  const StringPtr text = to_str(context, input);
  context.work(text->bytes.size());
  std::int64_t count = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text->bytes.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text->bytes).substr(i));
    const bool word = is_word(next.code_point);
    count += word && !inside ? 1 : 0;
    inside = word;
    i += next.length;
  }
  return Value::integer(count);
}

/// Breaks one line into pieces of at most `width` characters, as Python's textwrap does.
class Wrapper {
 public:
  Wrapper(const String& text, std::size_t width, bool break_words, bool break_hyphens)
      : text_(text), width_(width), break_words_(break_words), break_hyphens_(break_hyphens) {}

  std::vector<Piece> wrap(Piece line) {
    split(line);
    std::vector<Piece> lines;
    std::size_t i = 0;
    while (i < chunks_.size()) {
      if (!lines.empty() && blank(chunks_[i])) ++i;
      std::size_t used = 0;
      const std::size_t first = i;
      while (i < chunks_.size() && used + length(chunks_[i]) <= width_)
        used += length(chunks_[i++]);
      std::size_t end = i > first ? chunks_[i - 1].end : 0;
      if (i < chunks_.size() && length(chunks_[i]) > width_) {
        // A chunk longer than a line: cut it, or let it stand alone.
        if (break_words_) {
          const std::size_t room = width_ > used ? width_ - used : 1;
          const std::size_t cut = advance(chunks_[i].begin, room);
          end = cut;
          const std::size_t begin = i > first ? chunks_[first].begin : chunks_[i].begin;
          chunks_[i].begin = cut;
          push(lines, {begin, end});
          continue;
        }
        if (i == first) end = chunks_[i++].end;
      }
      if (i > first) push(lines, {chunks_[first].begin, end});
    }
    return lines;
  }

 private:
  std::size_t length(Piece piece) const {
    return text_.index_of(piece.end) - text_.index_of(piece.begin);
  }
  bool blank(Piece piece) const {
    return is_space(decode_utf8(std::string_view(text_.bytes).substr(piece.begin)).code_point);
  }

  std::size_t advance(std::size_t offset, std::size_t characters) const {
    for (; characters > 0; --characters)
      offset += decode_utf8(std::string_view(text_.bytes).substr(offset)).length;
    return offset;
  }

  void push(std::vector<Piece>& lines, Piece line) const {
    while (line.end > line.begin) {
      std::size_t start = line.end - 1;
      while (start > line.begin && (static_cast<unsigned char>(text_.bytes[start]) & 0xC0) == 0x80)
        --start;
      if (!is_space(decode_utf8(std::string_view(text_.bytes).substr(start)).code_point)) break;
      line.end = start;
    }
    if (line.end > line.begin) lines.push_back(line);
  }

  /// Words, runs of white space, and the parts of hyphenated words.
  void split(Piece line) {
    chunks_.clear();
    const std::string_view bytes = text_.bytes;
    std::size_t begin = line.begin;
    bool space = false;
    char32_t previous = 0;
    for (std::size_t i = line.begin; i < line.end;) {
      const Utf8Decoded next = decode_utf8(bytes.substr(i));
      const bool now_space = is_space(next.code_point);
      const bool hyphen = break_hyphens_ && next.code_point == U'-' && is_alpha(previous) &&
                          i + 1 < line.end && is_alpha(decode_utf8(bytes.substr(i + 1)).code_point);
      if (i > begin && now_space != space) {
        chunks_.push_back({begin, i});
        begin = i;
      }
      space = now_space;
      previous = next.code_point;
      i += next.length;
      if (hyphen) {
        chunks_.push_back({begin, i});
        begin = i;
      }
    }
    if (begin < line.end) chunks_.push_back({begin, line.end});
  }

  const String& text_;
  std::size_t width_;
  bool break_words_, break_hyphens_;
  std::vector<Piece> chunks_;
};

Value filter_wordwrap(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "wordwrap", arguments,
                    {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const std::int64_t width = bound.integer(0, 79);
  if (width <= 0) context.fail("invalid width " + std::to_string(width) + " (must be > 0)");
  context.require_defined(input);
  if (!input.is_string())
    context.fail("wordwrap needs a string, not '" + std::string(type_name(input)) + "'");
  const String& text = input.str();
  StringPtr wrap = bound.string(2);
  if (wrap == nullptr) wrap = context.string("\n", Origin::kTemplate).string_ptr();
  Wrapper wrapper(text, static_cast<std::size_t>(width), bound.flag(1, true), bound.flag(3, true));
  StringBuilder builder = context.builder();
  bool first = true;
  for (const Piece& line : split_lines(context, text, false)) {
    // Lengths count from the start of the text when it is not ASCII.
    context.work((line.end - line.begin) * (text.ascii() ? 1 : 1 + text.bytes.size() / 8));
    if (!first) builder.append(*wrap);
    first = false;
    const std::vector<Piece> wrapped = wrapper.wrap(line);
    for (std::size_t i = 0; i < wrapped.size(); ++i) {
      if (i > 0) builder.append(*wrap);
      builder.append(text, wrapped[i].begin, wrapped[i].end);
    }
  }
  return Value::string(builder.finish());
}

Value filter_tojson(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "tojson", arguments,
                    {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound.has(1) && !bound[1].is_none()) {
    style.indented = true;
    style.item_separator = ",";
    if (bound[1].is_string()) {
      style.indent = bound[1].str().bytes;
    } else {
      const std::int64_t spaces = bound.integer(1, 0);
      if (spaces > 1000) context.fail("the indentation is too large");
      style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(0, spaces)), ' ');
    }
  }
  if (bound.has(2) && !bound[2].is_none()) {
    const std::vector<Value> separators = context.to_vector(bound[2]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      context.fail("separators must be a pair of strings");
    }
    style.item_separator = separators[0].str().bytes;
    style.key_separator = separators[1].str().bytes;
  }
  return Value::string(to_json(context, input, style));
}

constexpr NamedFunction<FilterFunction> kTextFilters[] = {
    {"upper", filter_upper},       {"lower", filter_lower},       {"capitalize", filter_capitalize},
    {"title", filter_title},       {"trim", filter_trim},         {"string", filter_string},
    {"replace", filter_replace},   {"format", filter_format},     {"center", filter_center},
    {"indent", filter_indent},     {"truncate", filter_truncate}, {"wordcount", filter_wordcount},
    {"wordwrap", filter_wordwrap}, {"tojson", filter_tojson},
};

}  // namespace

FilterFunction find_text_filter(std::string_view name) noexcept {
  return find_named(kTextFilters, name);
}

}  // namespace hearth::text::jinja
