// Algorithms on strings with provenance, shared by methods and filters. All of them keep origins.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

/// A part of a string, in bytes.
struct Piece {
  std::size_t begin;
  std::size_t end;
};

/// Every character of `text` replaced by what `map` returns for it (given the character and its
/// byte offset).
[[nodiscard]] Value map_characters(Interpreter& context, const String& text,
                                   const std::function<std::string(char32_t, std::size_t)>& map);
[[nodiscard]] Value upper(Interpreter& context, const String& text);
[[nodiscard]] Value lower(Interpreter& context, const String& text);
[[nodiscard]] Value capitalize(Interpreter& context, const String& text);
/// The part without leading and/or trailing characters of `characters` (white space when null).
[[nodiscard]] Piece strip(const String& text, const String* characters, bool left, bool right);
[[nodiscard]] Value replace(Interpreter& context, const String& text, const String& old,
                            const String& with, std::int64_t count, bool markup);
/// str.splitlines.
[[nodiscard]] std::vector<Piece> split_lines(Interpreter& context, const String& text,
                                             bool keep_ends);
/// str.split() without separator.
[[nodiscard]] std::vector<Piece> split_space(Interpreter& context, const String& text,
                                             std::int64_t limit);
[[nodiscard]] Value center(Interpreter& context, const String& text, std::int64_t width,
                           const String* fill, char align);
/// The items as strings with `separator` between them.
[[nodiscard]] Value join(Interpreter& context, const String& separator,
                         const std::vector<Value>& items);

}  // namespace hearth::text::jinja
