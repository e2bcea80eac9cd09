#include "text/jinja/strings.h"

#include <algorithm>

#include "support/utf8.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

std::size_t previous_character(std::string_view text, std::size_t end) {
  std::size_t start = end - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

Value map_characters(Interpreter& context, const String& text,
                     const std::function<std::string(char32_t, std::size_t)>& map) {
  context.work(8 * text.bytes.size());
  StringBuilder builder = context.builder();
  std::size_t run = 0;
  std::string part;
  for (std::size_t i = 0; i < text.bytes.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text.bytes).substr(i));
    part += map(next.code_point, i);
    i += next.length;
    if (i >= text.runs[run].end || part.size() > 4096) {
      builder.append(part, text.runs[run].origin);
      part.clear();
      if (i >= text.runs[run].end) ++run;
    }
  }
  return Value::string(builder.finish(text.markup));
}

Value upper(Interpreter& context, const String& text) {
  return map_characters(context, text, [](char32_t c, std::size_t) { return to_upper(c); });
}

namespace {

std::string lower_at(const String& text, char32_t c, std::size_t offset) {
  return to_lower(c, c == 0x3A3 && is_final_sigma(text.bytes, offset));
}

}  // namespace

Value lower(Interpreter& context, const String& text) {
  return map_characters(context, text,
                        [&text](char32_t c, std::size_t at) { return lower_at(text, c, at); });
}

Value capitalize(Interpreter& context, const String& text) {
  return map_characters(context, text, [&text](char32_t c, std::size_t at) {
    return at == 0 ? to_title(c) : lower_at(text, c, at);
  });
}

Piece strip(const String& text, const String* characters, bool left, bool right) {
  const std::string_view bytes = text.bytes;
  const auto stripped = [characters](std::string_view character) {
    if (characters == nullptr) return is_space(decode_utf8(character).code_point);
    return characters->bytes.find(character) != std::string::npos;
  };
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  while (left && begin < end) {
    const std::size_t length = decode_utf8(bytes.substr(begin)).length;
    if (!stripped(bytes.substr(begin, length))) break;
    begin += length;
  }
  while (right && end > begin) {
    const std::size_t start = previous_character(bytes, end);
    if (!stripped(bytes.substr(start, end - start))) break;
    end = start;
  }
  return {begin, end};
}

Value replace(Interpreter& context, const String& text, const String& old, const String& with,
              std::int64_t count, bool markup) {
  context.work(text.bytes.size());
  StringBuilder builder = context.builder();
  std::size_t done = 0;
  std::size_t at = 0;
  while (count != 0) {
    const std::size_t found = find_text(text.bytes, old.bytes, at);
    if (found == std::string_view::npos) break;
    context.work(1);
    builder.append(text, done, found);
    builder.append(with);
    done = found + old.bytes.size();
    at = done;
    if (old.bytes.empty()) {
      if (done >= text.bytes.size()) break;
      at = done + decode_utf8(std::string_view(text.bytes).substr(done)).length;
    }
    --count;
  }
  builder.append(text, done, text.bytes.size());
  context.work(builder.size());
  return Value::string(builder.finish(markup));
}

std::vector<Piece> split_lines(Interpreter& context, const String& text, bool keep_ends) {
  context.work(text.bytes.size());
  std::vector<Piece> lines;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.bytes.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text.bytes).substr(i));
    if (!is_line_end(next.code_point)) {
      i += next.length;
      continue;
    }
    std::size_t end = i + next.length;
    if (next.code_point == U'\r' && end < text.bytes.size() && text.bytes[end] == '\n') ++end;
    lines.push_back({begin, keep_ends ? end : i});
    begin = i = end;
  }
  if (begin < text.bytes.size()) lines.push_back({begin, text.bytes.size()});
  return lines;
}

std::vector<Piece> split_space(Interpreter& context, const String& text, std::int64_t limit) {
  context.work(text.bytes.size());
  const std::string_view bytes = text.bytes;
  std::vector<Piece> words;
  std::size_t i = 0;
  const auto skip = [&](bool space) {
    while (i < bytes.size()) {
      const Utf8Decoded next = decode_utf8(bytes.substr(i));
      if (is_space(next.code_point) != space) return;
      i += next.length;
    }
  };
  while (true) {
    skip(true);
    if (i == bytes.size()) return words;
    const std::size_t begin = i;
    if (limit >= 0 && static_cast<std::int64_t>(words.size()) >= limit) {
      words.push_back({begin, bytes.size()});
      return words;
    }
    skip(false);
    words.push_back({begin, i});
  }
}

Value center(Interpreter& context, const String& text, std::int64_t width, const String* fill,
             char align) {
  const auto length = static_cast<std::int64_t>(text.length());
  const String space(nullptr, " ", text.origin_at(text.bytes.size()));
  const String& padding = fill == nullptr ? space : *fill;
  if (padding.length() != 1) context.fail("the fill character must be exactly one character long");
  const std::int64_t missing = std::max<std::int64_t>(0, width - length);
  std::int64_t left = align == '<' ? 0 : missing;
  // Python's rounding: an odd remainder goes left when the width is odd too.
  if (align == '^') left = missing / 2 + (missing & width & 1);
  StringBuilder builder = context.builder();
  builder.append_repeated(padding, static_cast<std::size_t>(left));
  builder.append(text);
  builder.append_repeated(padding, static_cast<std::size_t>(missing - left));
  context.work(builder.size());
  return Value::string(builder.finish(text.markup));
}

Value join(Interpreter& context, const String& separator, const std::vector<Value>& items) {
  StringBuilder builder = context.builder();
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) builder.append(separator);
    builder.append(separator.markup ? *escape(context, items[i]) : *to_str(context, items[i]));
    context.work(64);
  }
  context.work(builder.size());
  return Value::string(builder.finish(separator.markup));
}

}  // namespace hearth::text::jinja
