#include "generate/grammar/code_points.h"

#include <algorithm>
#include <string>

#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr char32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

/// Sorts, joins what touches, leaves surrogates out.
std::vector<CodePointRange> normalised(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> parts;
  for (const CodePointRange& range : ranges) {
    const char32_t last = std::min(range.last, kLastCodePoint);
    if (range.first > last) continue;
    if (range.first < kFirstSurrogate)
      parts.push_back({range.first, std::min<char32_t>(last, kFirstSurrogate - 1)});
    if (last > kLastSurrogate)
      parts.push_back({std::max<char32_t>(range.first, kLastSurrogate + 1), last});
  }
  std::sort(parts.begin(), parts.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  std::vector<CodePointRange> joined;
  for (const CodePointRange& part : parts) {
    if (!joined.empty() && part.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, part.last);
    } else {
      joined.push_back(part);
    }
  }
  return joined;
}

struct Utf8Bytes {
  std::array<std::uint8_t, 4> bytes{};
  int length = 0;
};

Utf8Bytes encode(char32_t code_point) {
  std::string text;
  append_utf8(text, code_point);
  Utf8Bytes result;
  for (const char c : text) result.bytes[result.length++] = static_cast<std::uint8_t>(c);
  return result;
}

/// Splits so that in every result each place varies independently: where the last bits do not run
/// through their whole range, the range is cut at the next multiple of 64 (4096, 262144).
void split(char32_t first, char32_t last, std::vector<ByteRanges>& out) {
  static constexpr char32_t kLengthEnds[] = {0x7F, 0x7FF, 0xFFFF};
  for (const char32_t end : kLengthEnds) {
    if (first <= end && last > end) {
      split(first, end, out);
      split(end + 1, last, out);
      return;
    }
  }
  for (int bits = 6; bits <= 18; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if (last <= 0x7F || (first & ~low) == (last & ~low)) continue;
    if ((first & low) != 0) {
      split(first, first | low, out);
      split((first | low) + 1, last, out);
      return;
    }
    if ((last & low) != low) {
      split(first, (last & ~low) - 1, out);
      split(last & ~low, last, out);
      return;
    }
  }
  const Utf8Bytes from = encode(first);
  const Utf8Bytes to = encode(last);
  ByteRanges ranges;
  ranges.length = from.length;
  for (int i = 0; i < from.length; ++i) ranges.places[i] = {from.bytes[i], to.bytes[i]};
  out.push_back(ranges);
}

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<CodePointRange> ranges)
    : ranges_(normalised(std::vector<CodePointRange>(ranges))) {}

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges)
    : ranges_(normalised(std::move(ranges))) {}

CodePointSet CodePointSet::all() { return CodePointSet({{0, kLastCodePoint}}); }

bool CodePointSet::contains(char32_t code_point) const noexcept {
  const auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), code_point,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != ranges_.begin() && code_point <= std::prev(after)->last;
}

CodePointSet CodePointSet::complement() const {
  std::vector<CodePointRange> gaps;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) gaps.push_back({next, kLastCodePoint});
  return CodePointSet(std::move(gaps));
}

CodePointSet CodePointSet::unite(const CodePointSet& other) const {
  std::vector<CodePointRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(std::move(both));
}

CodePointSet CodePointSet::intersect(const CodePointSet& other) const {
  std::vector<CodePointRange> common;
  for (std::size_t a = 0, b = 0; a < ranges_.size() && b < other.ranges_.size();) {
    const CodePointRange& left = ranges_[a];
    const CodePointRange& right = other.ranges_[b];
    const CodePointRange part{std::max(left.first, right.first), std::min(left.last, right.last)};
    if (part.first <= part.last) common.push_back(part);
    left.last < right.last ? ++a : ++b;
  }
  return CodePointSet(std::move(common));
}

CodePointSet digits() { return {{U'0', U'9'}}; }

CodePointSet word_characters() { return {{U'0', U'9'}, {U'A', U'Z'}, {U'_', U'_'}, {U'a', U'z'}}; }

CodePointSet white_space() {
  return {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

CodePointSet not_line_ends() {
  return CodePointSet({{0x0A, 0x0A}, {0x0D, 0x0D}, {0x2028, 0x2029}}).complement();
}

std::vector<ByteRanges> utf8_ranges(CodePointRange range) {
  std::vector<ByteRanges> result;
  for (const CodePointRange& part : CodePointSet({range}).ranges())
    split(part.first, part.last, result);
  return result;
}

std::u32string code_points_of(std::string_view text, std::string_view what) {
  std::u32string result;
  while (!text.empty()) {
    const Utf8Decoded decoded = decode_utf8(text);
    if (!decoded.valid) throw Error(std::string(what) + " is not valid UTF-8", "send it as UTF-8");
    result += decoded.code_point;
    text.remove_prefix(decoded.length);
  }
  return result;
}

}  // namespace hearth::generate::grammar
