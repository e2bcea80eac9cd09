#include "text/pre_tokenizer.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <string>

#include "support/error.h"
#include "text/pre_tokenizer_table.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

using Kind = SplitStep::Kind;
using Lengths = std::vector<std::uint32_t>;

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
using Code = std::unique_ptr<pcre2_code, CodeDeleter>;
using MatchData = std::unique_ptr<pcre2_match_data, MatchDataDeleter>;
using MatchContext = std::unique_ptr<pcre2_match_context, MatchContextDeleter>;

constexpr std::string_view kWhiteSpaceClass =
    R"(\x{09}-\x{0D}\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kContractions =
    R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]))";
/// Backtracking steps and memory (KiB) the interpreter may use where the compiled matcher runs out
/// of stack.
constexpr std::uint32_t kMatchLimit = 50'000'000;
constexpr std::uint32_t kHeapLimit = 512 * 1024;

struct Range {
  char32_t first;
  char32_t last;
};

/// The code points that Unicode 15.0 added (DerivedAge.txt). PCRE2 10.42 knows Unicode 14 and takes
/// them for unassigned.
constexpr Range kAddedByUnicode15[] = {
    {0x0CF3, 0x0CF3},   {0x0ECE, 0x0ECE},   {0x10EFD, 0x10EFF}, {0x1123F, 0x11241},
    {0x11B00, 0x11B09}, {0x11F00, 0x11F10}, {0x11F12, 0x11F3A}, {0x11F3E, 0x11F59},
    {0x1342F, 0x1342F}, {0x13439, 0x13455}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155},
    {0x1D2C0, 0x1D2D3}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F},
    {0x1E4D0, 0x1E4F9}, {0x1F6DC, 0x1F6DC}, {0x1F774, 0x1F776}, {0x1F77B, 0x1F77F},
    {0x1F7D9, 0x1F7D9}, {0x1FA75, 0x1FA77}, {0x1FA87, 0x1FA88}, {0x1FAAD, 0x1FAAF},
    {0x1FABB, 0x1FABD}, {0x1FABF, 0x1FABF}, {0x1FACE, 0x1FACF}, {0x1FADA, 0x1FADB},
    {0x1FAE8, 0x1FAE8}, {0x1FAF7, 0x1FAF8}, {0x31350, 0x323AF},
};

bool is_new(char32_t code_point) {
  if (code_point < kAddedByUnicode15[0].first) return false;
  const auto* range = std::upper_bound(
      std::begin(kAddedByUnicode15), std::end(kAddedByUnicode15), code_point,
      [](char32_t value, const Range& candidate) { return value < candidate.first; });
  return range != std::begin(kAddedByUnicode15) && code_point <= (range - 1)->last;
}

/// An older code point that no pattern names and that has the category of the new `code_point`.
char32_t older_equivalent(char32_t code_point) {
  if (code_point >= 0x31350 && code_point <= 0x323AF) return 0x20000;  // a Han ideograph
  switch (category_group(code_point)) {
    case CategoryGroup::kLetter:
      return to_lower(code_point) != code_point ? 0x1D400 : 0x10000;  // Lu, Lo
    case CategoryGroup::kMark:
      return 0x101FD;
    case CategoryGroup::kNumber:
      return is_decimal_digit(code_point) ? 0x104A0 : 0x10107;
    case CategoryGroup::kPunctuation:
      return 0x10100;
    case CategoryGroup::kSymbol:
      return 0x10137;
    case CategoryGroup::kOther:
      return 0x110BD;
    default:
      return code_point;
  }
}

/// Replaces the abbreviations of the table (see there).
std::string expand(std::string_view pattern) {
  std::string expanded;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view pair = pattern.substr(i, 2);
    if (pair == R"(\s)" || pair == R"(\S)") {
      if (!in_class) expanded += pair == R"(\S)" ? "[^" : "[";
      expanded += kWhiteSpaceClass;
      if (!in_class) expanded += ']';
      ++i;
    } else if (pair == "%c") {
      expanded += kContractions;
      ++i;
    } else if (pattern[i] == '\\') {
      expanded += pair;
      ++i;
    } else {
      if (pattern[i] == '[') in_class = true;
      if (pattern[i] == ']') in_class = false;
      expanded += pattern[i];
    }
  }
  return expanded;
}

Code compile(std::string_view pattern) {
  const std::u32string source = decode_lenient(expand(pattern));
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR32>(source.data()), source.size(),
                          PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF, &error, &offset,
                          nullptr));
  if (code == nullptr) {
    throw Error("internal error: pre-tokenizer pattern does not compile at character " +
                std::to_string(offset));
  }
  // Without a just-in-time compiler (it may be refused by the system) matching is interpreted.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

/// Everything one call of split() needs besides the immutable patterns.
struct Matcher {
  MatchData data{pcre2_match_data_create(16, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};

  Matcher() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimit);
  }

  /// Finds the first match at or after `start`; false when there is none.
  bool find(const pcre2_code* code, std::u32string_view text, std::size_t start, std::size_t& from,
            std::size_t& to) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR32>(text.data());
    int result = pcre2_match(code, subject, text.size(), start, 0, data.get(), context.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT || result == PCRE2_ERROR_MATCHLIMIT) {
      result =
          pcre2_match(code, subject, text.size(), start, PCRE2_NO_JIT, data.get(), context.get());
    }
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result < 0) {
      throw Error("the text cannot be cut into words: a pattern needs too much memory on it",
                  "split the text into smaller parts");
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    from = bounds[0];
    to = bounds[1];
    return true;
  }
};

void append_piece(Lengths& out, std::size_t length) {
  if (length > 0) out.push_back(static_cast<std::uint32_t>(length));
}

void split_by_pattern(const pcre2_code* code, const Matcher& matcher, std::u32string_view piece,
                      Lengths& out) {
  std::size_t done = 0;
  std::size_t from = 0;
  std::size_t to = 0;
  while (done < piece.size() && matcher.find(code, piece, done, from, to) && to > from) {
    append_piece(out, from - done);
    append_piece(out, to - from);
    done = to;
  }
  append_piece(out, piece.size() - done);
}

bool is_line_end(char32_t code_point) { return code_point == U'\r' || code_point == U'\n'; }

/// The length of the chunk that Jais 2's white-space alternatives take from `left` characters of
/// white space at the end of which (`at_end`) the text ends or a word begins. Each takes n
/// characters that no word character follows.
std::size_t white_space_chunk(std::size_t left, bool at_end) {
  const std::size_t usable = at_end ? left : left - 1;
  for (std::size_t size = 512; size >= 2; size /= 2) {
    if (usable >= size) return size;
  }
  return 1;
}

/// Cuts `piece` by a pattern that begins with the usual alternatives and treats runs of white space
/// without line ends itself: the pattern alone would look for a line end from every chunk on.
void split_with_chunked_spaces(const pcre2_code* code, const Matcher& matcher,
                               std::u32string_view piece, Lengths& out) {
  std::size_t done = 0;
  while (done < piece.size()) {
    std::size_t run_end = done;
    while (run_end < piece.size() && is_white_space(piece[run_end]) &&
           !is_line_end(piece[run_end])) {
      ++run_end;
    }
    const bool at_end = run_end == piece.size();
    const bool plain_run = at_end || !is_line_end(piece[run_end]);
    while (plain_run && run_end - done >= 2) {
      const std::size_t size = white_space_chunk(run_end - done, at_end);
      append_piece(out, size);
      done += size;
    }
    if (done == piece.size()) break;
    std::size_t from = 0;
    std::size_t to = 0;
    if (!matcher.find(code, piece, done, from, to) || to <= from) break;
    append_piece(out, from - done);
    append_piece(out, to - from);
    done = to;
  }
  append_piece(out, piece.size() - done);
}

/// Cuts a run of `count` digits into groups of three from the right.
void append_groups(Lengths& out, std::size_t attached, std::size_t count) {
  const std::size_t first = count % 3 == 0 ? 3 : count % 3;
  append_piece(out, attached + first);
  for (std::size_t left = count - first; left > 0; left -= 3) append_piece(out, 3);
}

void split_number_groups(std::u32string_view piece, Lengths& out) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t begin = i;
    while (i < piece.size() && category_group(piece[i]) == CategoryGroup::kNumber) ++i;
    if (i == begin) {
      ++i;
      continue;
    }
    append_groups(out, begin - done, i - begin);
    done = i;
  }
  append_piece(out, piece.size() - done);
}

/// Decimal digits in groups of three from the right: ASCII ones always, all ones unless a word
/// character follows.
void split_digit_groups(std::u32string_view piece, bool ascii_only, Lengths& out) {
  const auto is_digit = [&](char32_t c) {
    return ascii_only ? c >= U'0' && c <= U'9' : is_decimal_digit(c);
  };
  std::size_t done = 0;
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t begin = i;
    while (i < piece.size() && is_digit(piece[i])) ++i;
    if (i == begin) {
      ++i;
      continue;
    }
    if (!ascii_only && i < piece.size() && is_word_character(piece[i])) continue;
    append_piece(out, begin - done);
    append_groups(out, 0, i - begin);
    done = i;
  }
  append_piece(out, piece.size() - done);
}

}  // namespace

struct PreTokenizer::Impl {
  const PreTokenizerEntry* entry = nullptr;
  std::vector<Code> codes;  // one per step; null for steps without a pattern

  void run(std::size_t step, const Matcher& matcher, std::u32string_view piece,
           Lengths& out) const {
    switch (entry->steps[step].kind) {
      case Kind::kPattern:
        return split_by_pattern(codes[step].get(), matcher, piece, out);
      case Kind::kPatternWithChunkedSpaces:
        return split_with_chunked_spaces(codes[step].get(), matcher, piece, out);
      case Kind::kNumberGroups:
        return split_number_groups(piece, out);
      case Kind::kDigitGroupsBeforeBoundary:
        return split_digit_groups(piece, false, out);
      case Kind::kDigitGroups:
        return split_digit_groups(piece, true, out);
    }
  }
};

PreTokenizer::PreTokenizer(std::string_view name) : impl_(std::make_unique<Impl>()) {
  const auto table = pre_tokenizer_table();
  const auto entry = std::find_if(table.begin(), table.end(), [&](const PreTokenizerEntry& known) {
    return known.name == name;
  });
  if (entry == table.end()) {
    std::string hint = "known are:";
    for (const PreTokenizerEntry& each : table) {
      hint.append(hint.back() == ':' ? " " : ", ").append(each.name);
    }
    throw Error(fmt::format("unknown pre-tokenizer \"{}\" (tokenizer.ggml.pre)", printable(name)),
                hint);
  }
  impl_->entry = &*entry;
  for (const SplitStep& step : entry->steps) {
    impl_->codes.push_back(step.pattern.empty() ? Code() : compile(step.pattern));
  }
}

PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

const PreTokenizerTraits& PreTokenizer::traits() const noexcept { return impl_->entry->traits; }

std::vector<std::uint32_t> PreTokenizer::split(std::u32string_view text) const {
  if (text.size() > UINT32_MAX) throw Error("the text is too long to be tokenized");
  std::vector<char32_t> replaced;
  if (std::any_of(text.begin(), text.end(), is_new)) {
    replaced.assign(text.begin(), text.end());
    for (char32_t& code_point : replaced) {
      if (is_new(code_point)) code_point = older_equivalent(code_point);
    }
    text = {replaced.data(), replaced.size()};
  }
  Lengths lengths;
  append_piece(lengths, text.size());
  const Matcher matcher;
  Lengths next;
  for (std::size_t step = 0; step < impl_->codes.size(); ++step) {
    next.clear();
    std::size_t at = 0;
    for (const std::uint32_t length : lengths) {
      impl_->run(step, matcher, text.substr(at, length), next);
      at += length;
    }
    lengths.swap(next);
  }
  return lengths;
}

std::vector<std::string_view> PreTokenizer::names() {
  std::vector<std::string_view> names;
  for (const PreTokenizerEntry& entry : pre_tokenizer_table()) names.push_back(entry.name);
  return names;
}

}  // namespace hearth::text
