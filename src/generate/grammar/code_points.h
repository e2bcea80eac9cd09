// Sets of code points and what they look like in UTF-8: the letters of grammars.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::generate::grammar {

/// Inclusive on both sides.
struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
  bool operator==(const CodePointRange&) const = default;
};

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// A set of code points: disjoint ascending ranges that do not touch. Surrogates are never members:
/// UTF-8 cannot write them.
class CodePointSet {
 public:
  CodePointSet() = default;
  CodePointSet(std::initializer_list<CodePointRange> ranges);
  explicit CodePointSet(std::vector<CodePointRange> ranges);
  [[nodiscard]] static CodePointSet all();

  [[nodiscard]] const std::vector<CodePointRange>& ranges() const& noexcept { return ranges_; }
  [[nodiscard]] std::vector<CodePointRange> ranges() && { return std::move(ranges_); }
  [[nodiscard]] bool empty() const noexcept { return ranges_.empty(); }
  [[nodiscard]] bool contains(char32_t code_point) const noexcept;
  [[nodiscard]] CodePointSet complement() const;
  [[nodiscard]] CodePointSet unite(const CodePointSet& other) const;
  [[nodiscard]] CodePointSet intersect(const CodePointSet& other) const;
  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<CodePointRange> ranges_;
};

/// \d, \w and \s of ECMAScript.
[[nodiscard]] CodePointSet digits();
[[nodiscard]] CodePointSet word_characters();
[[nodiscard]] CodePointSet white_space();
/// All but the line terminators: "." of ECMAScript.
[[nodiscard]] CodePointSet not_line_ends();

/// A set of byte strings of equal length: one range of bytes per place.
struct ByteRanges {
  std::array<std::array<std::uint8_t, 2>, 4> places{};  ///< [first, last]
  int length = 0;
};

/// The UTF-8 forms of a range: every code point is in exactly one of the results.
[[nodiscard]] std::vector<ByteRanges> utf8_ranges(CodePointRange range);

/// The code points of well-formed UTF-8. Throws Error for anything else, naming `what`.
[[nodiscard]] std::u32string code_points_of(std::string_view text, std::string_view what);

}  // namespace hearth::generate::grammar
