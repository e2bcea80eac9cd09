#include <utf8proc.h>

#include <algorithm>
#include <optional>
#include <string>

#include "generate/grammar/regex_syntax.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr int kMaxRegexNesting = 200;
constexpr std::uint32_t kMaxRegexCount = 100'000;
constexpr std::size_t kMaxPattern = 20'000;

using Kind = RegexNode::Kind;

CodePointSet with_both_cases(const CodePointSet& set) {
  std::vector<CodePointRange> ranges = set.ranges();
  for (char32_t c = U'a'; c <= U'z'; ++c) {
    const char32_t upper = c - U'a' + U'A';
    if (set.contains(c)) ranges.push_back({upper, upper});
    if (set.contains(upper)) ranges.push_back({c, c});
  }
  return CodePointSet(std::move(ranges));
}

class Parser {
 public:
  Parser(std::string_view pattern, const RegexOptions& options)
      : pattern_(pattern), options_(options) {
    if (pattern.size() > kMaxPattern) fail("it is too long");
    text_ = code_points_of(pattern, "the regular expression");
  }

  RegexNode parse() {
    RegexNode node = parse_choice(0);
    if (!at_end()) fail("a ')' has no '('");
    return node;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw Error("the regular expression '" + printable(pattern_, 80) + "' cannot be used: " + why,
                "use classes, groups, alternatives, repetitions and the anchors ^ and $");
  }
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] char32_t peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : char32_t{0};
  }
  [[nodiscard]] bool next_is(std::u32string_view wanted) const {
    return std::u32string_view(text_).substr(at_).starts_with(wanted);
  }
  bool take(char32_t c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  RegexNode parse_choice(int nesting) {
    if (nesting > kMaxRegexNesting) fail("it is nested too deeply");
    std::vector<RegexNode> alternatives;
    alternatives.push_back(parse_sequence(nesting));
    while (take(U'|')) alternatives.push_back(parse_sequence(nesting));
    if (alternatives.size() == 1) return std::move(alternatives[0]);
    RegexNode node{.kind = Kind::kChoice};
    node.children = std::move(alternatives);
    return node;
  }

  RegexNode parse_sequence(int nesting) {
    RegexNode node{.kind = Kind::kSequence};
    while (!at_end() && peek() != U'|' && peek() != U')')
      node.children.push_back(parse_quantified(nesting));
    return node;
  }

  RegexNode parse_quantified(int nesting) {
    RegexNode atom = parse_atom(nesting);
    std::uint32_t minimum = 0, maximum = UINT32_MAX;
    if (take(U'+')) {
      minimum = 1;
    } else if (take(U'?')) {
      maximum = 1;
    } else if (!take(U'*') && !take_counts(minimum, maximum)) {
      return atom;
    }
    if (atom.kind == Kind::kBegin || atom.kind == Kind::kEnd) fail("an anchor is repeated");
    take(U'?');  // which match is taken first does not matter
    if (peek() == U'*' || peek() == U'+' || peek() == U'?' || peek() == U'{')
      fail("a quantifier follows another one");
    RegexNode repeat{.kind = Kind::kRepeat};
    repeat.minimum = minimum;
    repeat.maximum = maximum;
    repeat.children.push_back(std::move(atom));
    return repeat;
  }

  bool take_counts(std::uint32_t& minimum, std::uint32_t& maximum) {
    if (peek() != U'{') return false;
    std::size_t at = at_ + 1;
    const auto number = [&]() -> std::optional<std::uint32_t> {
      const std::size_t begin = at;
      std::uint64_t value = 0;
      for (; at < text_.size() && text_[at] >= U'0' && text_[at] <= U'9'; ++at)
        value = std::min<std::uint64_t>(value * 10 + (text_[at] - U'0'), kMaxRegexCount + 1);
      if (at == begin) return std::nullopt;
      if (value > kMaxRegexCount) fail("a repetition count is too large");
      return static_cast<std::uint32_t>(value);
    };
    const std::optional<std::uint32_t> first = number();
    if (!first) fail("'{' without a count must be written '\\{'");
    minimum = maximum = *first;
    if (at < text_.size() && text_[at] == U',') {
      ++at;
      maximum = number().value_or(UINT32_MAX);
    }
    if (at >= text_.size() || text_[at] != U'}') fail("a repetition count is not closed");
    if (maximum < minimum) fail("a repetition's maximum is below its minimum");
    at_ = at + 1;
    return true;
  }

  RegexNode set_node(CodePointSet set) const {
    RegexNode node{.kind = Kind::kSet};
    node.set = options_.ignore_case ? with_both_cases(set) : std::move(set);
    return node;
  }

  RegexNode parse_atom(int nesting) {
    const char32_t c = text_[at_++];
    switch (c) {
      case U'^':
        return {.kind = Kind::kBegin};
      case U'$':
        return {.kind = Kind::kEnd};
      case U'.':
        return set_node(options_.dot_matches_all ? CodePointSet::all() : not_line_ends());
      case U'(':
        return parse_group(nesting);
      case U'[':
        return set_node(parse_class());
      case U'\\':
        return set_node(parse_escape(false));
      case U'*':
      case U'+':
      case U'?':
      case U'{':
        fail("a quantifier has nothing to repeat");
      default:
        return set_node({{c, c}});
    }
  }

  RegexNode parse_group(int nesting) {
    if (next_is(U"?:")) {
      at_ += 2;
    } else if (next_is(U"?=") || next_is(U"?!") || next_is(U"?<=") || next_is(U"?<!")) {
      fail("look-around is not supported");
    } else if (next_is(U"?<") || next_is(U"?P<")) {
      while (!at_end() && peek() != U'>') ++at_;
      if (!take(U'>')) fail("a group's name is not closed");
    } else if (peek() == U'?') {
      fail("this kind of group is not supported");
    }
    RegexNode node = parse_choice(nesting + 1);
    if (!take(U')')) fail("a '(' is not closed");
    // A group is one thing for a quantifier, even when it holds only a repetition.
    RegexNode group{.kind = Kind::kSequence};
    group.children.push_back(std::move(node));
    return group;
  }

  std::uint32_t hex(std::size_t digit_count) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < digit_count; ++i) {
      const char32_t c = at_end() ? U' ' : text_[at_++];
      if (c >= U'0' && c <= U'9') {
        value = value * 16 + (c - U'0');
      } else if ((c | 32) >= U'a' && (c | 32) <= U'f') {
        value = value * 16 + ((c | 32) - U'a' + 10);
      } else {
        fail("an escape lacks hexadecimal digits");
      }
    }
    return value;
  }

  char32_t unicode_escape() {
    if (take(U'{')) {
      std::uint32_t value = 0;
      while (!at_end() && peek() != U'}' && value <= kLastCodePoint) value = value * 16 + hex(1);
      if (!take(U'}') || value > kLastCodePoint) fail("an escape '\\u{…}' is not a code point");
      return value;
    }
    const std::uint32_t value = hex(4);
    if (value >= 0xD800 && value < 0xDC00 && next_is(U"\\u")) {
      at_ += 2;
      const std::uint32_t low = hex(4);
      if (low < 0xDC00 || low > 0xDFFF) fail("a surrogate is alone");
      return 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
    if (value >= 0xD800 && value <= 0xDFFF) fail("a surrogate is alone");
    return value;
  }

  CodePointSet property(bool negated) {
    if (!take(U'{')) fail("'\\p' needs a name in braces");
    std::string name;
    while (!at_end() && peek() != U'}') append_utf8(name, text_[at_++]);
    if (!take(U'}')) fail("'\\p{' is not closed");
    const CodePointSet set = unicode_class(name);
    return negated ? set.complement() : set;
  }

  CodePointSet parse_escape(bool in_class) {
    if (at_end()) fail("it ends with a backslash");
    const char32_t c = text_[at_++];
    const auto one = [](char32_t value) { return CodePointSet{{value, value}}; };
    switch (c) {
      case U'd':
        return digits();
      case U'D':
        return digits().complement();
      case U'w':
        return word_characters();
      case U'W':
        return word_characters().complement();
      case U's':
        return white_space();
      case U'S':
        return white_space().complement();
      case U'p':
      case U'P':
        return property(c == U'P');
      case U't':
        return one(0x09);
      case U'n':
        return one(0x0A);
      case U'v':
        return one(0x0B);
      case U'f':
        return one(0x0C);
      case U'r':
        return one(0x0D);
      case U'0':
        if (digits().contains(peek())) fail("octal escapes are not supported");
        return one(0);
      case U'x':
        return one(hex(2));
      case U'u':
        return one(unicode_escape());
      case U'c': {
        const char32_t letter = at_end() ? U' ' : text_[at_++];
        if ((letter | 32) < U'a' || (letter | 32) > U'z') fail("'\\c' needs a letter");
        return one(letter & 31);
      }
      case U'b':
        if (in_class) return one(0x08);
        fail("word boundaries are not supported");
      case U'B':
        fail("word boundaries are not supported");
      default:
        break;
    }
    if (c >= U'1' && c <= U'9') fail("back references are not supported");
    if (word_characters().contains(c)) fail("an escape is not known");
    return one(c);
  }

  CodePointSet parse_class() {
    const bool negated = take(U'^');
    CodePointSet set;
    std::vector<CodePointRange> ranges;
    while (true) {
      if (at_end()) fail("a '[' is not closed");
      if (take(U']')) break;
      const CodePointSet from = class_member();
      const bool is_range = peek() == U'-' && peek(1) != U']' && at_ + 1 < text_.size();
      if (!is_range) {
        ranges.insert(ranges.end(), from.ranges().begin(), from.ranges().end());
        continue;
      }
      ++at_;
      const CodePointSet to = class_member();
      if (!is_one(from) || !is_one(to)) fail("a range in a class needs single characters");
      const CodePointRange range{from.ranges()[0].first, to.ranges()[0].first};
      if (range.last < range.first) fail("a range in a class is in the wrong order");
      ranges.push_back(range);
    }
    set = CodePointSet(std::move(ranges));
    if (options_.ignore_case) set = with_both_cases(set);
    return negated ? set.complement() : set;
  }

  CodePointSet class_member() {
    const char32_t c = text_[at_++];
    if (c != U'\\') return {{c, c}};
    return parse_escape(true);
  }

  static bool is_one(const CodePointSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  }

  std::string_view pattern_;
  const RegexOptions& options_;
  std::u32string text_;
  std::size_t at_ = 0;
};

struct CategoryName {
  std::string_view name;
  std::string_view categories;  // of two letters each; of one: a whole group
};
constexpr CategoryName kCategoryNames[] = {{"Letter", "L"},
                                           {"Uppercase_Letter", "Lu"},
                                           {"Lowercase_Letter", "Ll"},
                                           {"Titlecase_Letter", "Lt"},
                                           {"Modifier_Letter", "Lm"},
                                           {"Other_Letter", "Lo"},
                                           {"Mark", "M"},
                                           {"Number", "N"},
                                           {"Decimal_Number", "Nd"},
                                           {"Punctuation", "P"},
                                           {"Symbol", "S"},
                                           {"Separator", "Z"},
                                           {"Space_Separator", "Zs"},
                                           {"Other", "C"}};

}  // namespace

CodePointSet unicode_class(std::string_view name) {
  static constexpr std::string_view kProperty[] = {"General_Category=", "gc="};
  std::string_view wanted = name;
  for (const std::string_view prefix : kProperty) {
    if (wanted.starts_with(prefix)) wanted.remove_prefix(prefix.size());
  }
  for (const CategoryName& known : kCategoryNames) {
    if (wanted == known.name) wanted = known.categories;
  }
  if (wanted == "Any") return CodePointSet::all();
  std::vector<CodePointRange> ranges;
  for (char32_t c = 0; c <= kLastCodePoint; ++c) {
    if (c == 0xD800) c = 0xE000;
    const char* category = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
    const bool is_member = wanted.size() == 1 ? category[0] == wanted[0]
                           : wanted == "LC"
                               ? category[0] == 'L' && category[1] != 'm' && category[1] != 'o'
                               : wanted == category;
    if (!is_member) continue;
    if (!ranges.empty() && ranges.back().last + 1 == c) {
      ranges.back().last = c;
    } else {
      ranges.push_back({c, c});
    }
  }
  if (ranges.empty()) {
    throw Error("the class '\\p{" + printable(name, 40) + "}' is not supported",
                "use a general category, such as \\p{L}, \\p{Lu} or \\p{Nd}");
  }
  return CodePointSet(std::move(ranges));
}

RegexNode parse_regex(std::string_view pattern, const RegexOptions& options) {
  return Parser(pattern, options).parse();
}

}  // namespace hearth::generate::grammar
