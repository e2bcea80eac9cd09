#include "generate/grammar/numbers.h"

#include <algorithm>
#include <string>

#include "generate/grammar/regex.h"
#include "generate/grammar/regex_syntax.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr int kDigits = 15;
constexpr int kFractionDigits = 6;
constexpr Int128 kMaxDivisor = 5000;

using Kind = RegexNode::Kind;

RegexNode digit(char first, char last) {
  RegexNode node{.kind = Kind::kSet};
  node.set = CodePointSet{{static_cast<char32_t>(first), static_cast<char32_t>(last)}};
  return node;
}
RegexNode letter(char c) { return digit(c, c); }
RegexNode sequence(std::vector<RegexNode> children) {
  RegexNode node{.kind = Kind::kSequence};
  node.children = std::move(children);
  return node;
}
/// Of no children: nothing.
RegexNode choice(std::vector<RegexNode> children) {
  RegexNode node{.kind = Kind::kChoice};
  if (children.empty()) children.push_back({.kind = Kind::kSet});  // the empty set
  node.children = std::move(children);
  return node;
}
RegexNode digits_of(int minimum, int maximum) {
  RegexNode node{.kind = Kind::kRepeat};
  node.minimum = static_cast<std::uint32_t>(minimum);
  node.maximum = static_cast<std::uint32_t>(maximum);
  node.children.push_back(digit('0', '9'));
  return node;
}
RegexNode never() { return choice({}); }
RegexNode text_of(const std::string& text) {
  std::vector<RegexNode> letters;
  for (const char c : text) letters.push_back(letter(c));
  return sequence(std::move(letters));
}

/// Digit strings as long as `bound` that are not below (above) it.
RegexNode same_length(const std::string& bound, bool above) {
  if (bound.find_first_not_of(above ? '0' : '9') == std::string::npos) {
    const int length = static_cast<int>(bound.size());
    return digits_of(length, length);
  }
  RegexNode result = sequence({});
  for (std::size_t i = bound.size(); i-- > 0;) {
    const char c = bound[i];
    std::vector<RegexNode> ways;
    ways.push_back(sequence({letter(c), std::move(result)}));
    const int rest = static_cast<int>(bound.size() - i - 1);
    if (above && c < '9')
      ways.push_back(sequence({digit(static_cast<char>(c + 1), '9'), digits_of(rest, rest)}));
    if (!above && c > '0')
      ways.push_back(sequence({digit('0', static_cast<char>(c - 1)), digits_of(rest, rest)}));
    result = choice(std::move(ways));
  }
  return result;
}

/// Digit strings of one length from `first` to `last`.
RegexNode between(const std::string& first, const std::string& last) {
  std::size_t same = 0;
  while (same < first.size() && first[same] == last[same]) ++same;
  if (same == first.size()) return text_of(first);
  const int rest = static_cast<int>(first.size() - same - 1);
  std::vector<RegexNode> ways;
  ways.push_back(sequence({letter(first[same]), same_length(first.substr(same + 1), true)}));
  if (first[same] + 1 < last[same]) {
    ways.push_back(
        sequence({digit(static_cast<char>(first[same] + 1), static_cast<char>(last[same] - 1)),
                  digits_of(rest, rest)}));
  }
  ways.push_back(sequence({letter(last[same]), same_length(last.substr(same + 1), false)}));
  return sequence({text_of(first.substr(0, same)), choice(std::move(ways))});
}

/// Whole numbers from `first` to `last`, both not negative, without leading zeros.
RegexNode whole_numbers(Int128 first, Int128 last) {
  std::vector<RegexNode> ways;
  Int128 begin = first;
  if (begin == 0 && last >= 0) {
    ways.push_back(letter('0'));
    begin = 1;
  }
  while (begin <= last) {
    const int length = static_cast<int>(to_text(begin).size());
    // All numbers of some lengths at once.
    int full = length - 1;
    while (last >= power_of_ten(full + 1) - 1) ++full;
    if (begin == power_of_ten(length - 1) && full >= length) {
      ways.push_back(sequence({digit('1', '9'), digits_of(length - 1, full - 1)}));
      begin = power_of_ten(full);
      continue;
    }
    const Int128 end = std::min<Int128>(last, power_of_ten(length) - 1);
    ways.push_back(between(to_text(begin), to_text(end)));
    begin = end + 1;
  }
  return choice(std::move(ways));
}

/// The fraction's digits of a decimal that is not negative, as text without trailing zeros.
std::string fraction_of(const Decimal& value) {
  if (value.scale == 0) return {};
  const std::string text = to_text(value.unscaled % power_of_ten(value.scale));
  return std::string(static_cast<std::size_t>(value.scale) - text.size(), '0') + text;
}

/// One to `places` digits of a fraction that is at least (most) `bound`, or beyond it.
RegexNode fraction(const std::string& bound, int places, bool above, bool exclusive) {
  RegexNode zeros{.kind = Kind::kRepeat};
  zeros.maximum = static_cast<std::uint32_t>(std::max(0, places - static_cast<int>(bound.size())));
  zeros.children.push_back(letter('0'));
  const int free = static_cast<int>(zeros.maximum);
  // What may follow digits that are equal to the bound's.
  RegexNode result;
  if (above && exclusive) {
    std::vector<RegexNode> ways;
    for (int lead = 0; lead < free; ++lead) {
      ways.push_back(sequence({text_of(std::string(static_cast<std::size_t>(lead), '0')),
                               digit('1', '9'), digits_of(0, free - lead - 1)}));
    }
    result = choice(std::move(ways));
  } else if (above) {
    result = digits_of(0, free);
  } else if (exclusive) {
    result = never();
  } else {
    result = zeros;
  }
  for (std::size_t i = bound.size(); i-- > 0;) {
    const char c = bound[i];
    const int rest = places - static_cast<int>(i) - 1;
    std::vector<RegexNode> ways;
    ways.push_back(sequence({letter(c), std::move(result)}));
    if (above && c < '9')
      ways.push_back(sequence({digit(static_cast<char>(c + 1), '9'), digits_of(0, rest)}));
    if (!above && c > '0')
      ways.push_back(sequence({digit('0', static_cast<char>(c - 1)), digits_of(0, rest)}));
    // Fewer digits than the bound has are less than it: its last one is not zero.
    if (!above && i > 0) ways.push_back(sequence({}));
    result = choice(std::move(ways));
  }
  return result;
}

RegexNode optional_fraction(int places) {
  std::vector<RegexNode> ways;
  ways.push_back(sequence({}));
  if (places > 0) ways.push_back(sequence({letter('.'), digits_of(1, places)}));
  return choice(std::move(ways));
}

Dfa with_one_digit_or_more(int places, DfaWork& work) {
  return determinise(sequence({whole_numbers(0, power_of_ten(31) - 1), optional_fraction(places)}),
                     work);
}

/// The digits of a bound's fraction, and whether the bound itself is left out. Of more digits than
/// texts have, none is the bound: what is above it is above the digits that are left.
struct FractionBound {
  std::string digits;
  bool exclusive = false;
};
FractionBound fraction_bound(const Bound& bound, int places, bool above) {
  FractionBound result{fraction_of(bound.value), bound.exclusive};
  if (result.digits.size() <= static_cast<std::size_t>(places)) return result;
  result.digits.resize(static_cast<std::size_t>(places));
  while (!result.digits.empty() && result.digits.back() == '0') result.digits.pop_back();
  result.exclusive = above;
  return result;
}

/// Numbers without sign that are at least `bound` (or more), of up to `places` digits of fraction.
Dfa at_least(const Bound& bound, int places, DfaWork& work) {
  const Int128 whole = bound.value.floor();
  const auto [part, exclusive] = fraction_bound(bound, places, true);
  std::vector<RegexNode> ways;
  ways.push_back(
      sequence({whole_numbers(whole + 1, power_of_ten(31) - 1), optional_fraction(places)}));
  if (part.empty() && !exclusive) ways.push_back(text_of(to_text(whole)));
  if (places > 0) {
    // A fraction of zeros only is a match where nothing more than the whole is asked for.
    RegexNode fraction_part = fraction(part, places, true, exclusive);
    ways.push_back(sequence({text_of(to_text(whole) + "."), std::move(fraction_part)}));
  }
  return intersection(determinise(choice(std::move(ways)), work),
                      with_one_digit_or_more(places, work), &work);
}

Dfa at_most(const Bound& bound, int places, DfaWork& work) {
  if (bound.value.unscaled < 0) return {};
  const Int128 whole = bound.value.floor();
  const auto [part, exclusive] = fraction_bound(bound, places, false);
  std::vector<RegexNode> ways;
  if (whole > 0) ways.push_back(sequence({whole_numbers(0, whole - 1), optional_fraction(places)}));
  if (!part.empty() || !exclusive) ways.push_back(text_of(to_text(whole)));
  if (places > 0) {
    RegexNode fraction_part = fraction(part, places, false, exclusive);
    ways.push_back(sequence({text_of(to_text(whole) + "."), std::move(fraction_part)}));
  }
  return intersection(determinise(choice(std::move(ways)), work),
                      with_one_digit_or_more(places, work), &work);
}

/// `texts` behind a minus sign.
Dfa behind_minus(const Dfa& texts) {
  if (texts.empty()) return {};
  Dfa result;
  result.states.push_back({{{U'-', U'-', 1}}, false});
  for (const Dfa::State& state : texts.states) {
    result.states.push_back(state);
    for (Dfa::Edge& edge : result.states.back().edges) ++edge.target;
  }
  return result;
}

/// Texts of `positive`, and of `negative` (which begin with a minus, no other does).
Dfa either(const Dfa& positive, const Dfa& negative) {
  if (negative.empty()) return positive;
  Dfa result;
  if (positive.empty()) return negative;
  result = positive;
  const auto offset = static_cast<std::uint32_t>(result.states.size());
  for (const Dfa::State& state : negative.states) {
    result.states.push_back(state);
    for (Dfa::Edge& edge : result.states.back().edges) edge.target += offset;
  }
  std::vector<Dfa::Edge>& start = result.states[0].edges;
  start.insert(start.begin(), result.states[offset].edges.begin(),
               result.states[offset].edges.end());  // '-' is before the digits
  return result;
}

/// Digits with up to `scale` places after the point whose value × 10^scale is a multiple of
/// `divisor`; with a sign or not.
Dfa multiples_of(Int128 divisor, int scale, DfaWork& work) {
  if (divisor > kMaxDivisor || divisor * (scale + 2) > static_cast<Int128>(kMaxDfaStates / 2)) {
    throw Error("\"multipleOf\" has too many digits to be enforced",
                "use a multiple with fewer digits");
  }
  const auto count = static_cast<std::uint32_t>(divisor);
  // 0: start, 1: after the sign, 2: after a leading zero; then whole digits by remainder; then
  // fractions of 0, 1 … scale digits by remainder.
  const auto whole = [](std::uint32_t remainder) { return 3 + remainder; };
  const auto part = [&](int places, std::uint32_t remainder) {
    return 3 + count * static_cast<std::uint32_t>(places + 1) + remainder;
  };
  work.spend(10 * count * static_cast<std::size_t>(scale + 2));
  Dfa result;
  result.states.resize(3 + count * static_cast<std::size_t>(scale + 2));
  const auto add_digits = [&](std::uint32_t from, std::uint32_t remainder, char32_t first,
                              auto target) {
    for (char32_t c = first; c <= U'9'; ++c)
      result.states[from].edges.push_back({c, c, target((remainder * 10 + (c - U'0')) % count)});
  };
  const auto is_multiple = [&](std::uint32_t remainder, int places) {
    return Int128{remainder} * power_of_ten(scale - places) % divisor == 0;
  };
  result.states[0].edges.push_back({U'-', U'-', 1});
  for (const std::uint32_t from : {0U, 1U}) {
    result.states[from].edges.push_back({U'0', U'0', 2});
    add_digits(from, 0, U'1', whole);
  }
  result.states[2].accepting = true;
  if (scale > 0) result.states[2].edges.push_back({U'.', U'.', part(0, 0)});
  for (std::uint32_t r = 0; r < count; ++r) {
    result.states[whole(r)].accepting = is_multiple(r, 0);
    if (scale > 0) result.states[whole(r)].edges.push_back({U'.', U'.', part(0, r)});
    add_digits(whole(r), r, U'0', whole);
    for (int places = 0; places <= scale; ++places) {
      result.states[part(places, r)].accepting = places > 0 && is_multiple(r, places);
      if (places < scale)
        add_digits(part(places, r), r, U'0', [&](std::uint32_t n) { return part(places + 1, n); });
    }
  }
  return minimal(result, &work);
}

int whole_digits(const Decimal& value) {
  const Int128 whole = value.floor();
  return static_cast<int>(to_text(whole < 0 ? -whole : whole).size());
}

/// How many digits of fraction texts get, so that no text between two doubles is mistaken for one
/// beyond a bound.
int fraction_digits(const NumberLimits& limits) {
  int places = kFractionDigits;
  for (const auto* bound : {&limits.minimum, &limits.maximum}) {
    if (!*bound) continue;
    places = std::max(places, (*bound)->value.scale);
  }
  for (const auto* bound : {&limits.minimum, &limits.maximum}) {
    if (!*bound || !(*bound)->exclusive) continue;
    // A text of 15 digits that is not the bound itself is not read as the bound either: if it were,
    // the bound would have been written with as few digits.
    places = std::min(places, kDigits - whole_digits((*bound)->value));
  }
  return std::max(places, 0);
}

}  // namespace

Dfa integer_texts(const NumberLimits& limits, DfaWork* shared) {
  DfaWork own;
  DfaWork& work = shared != nullptr ? *shared : own;
  Int128 first = -(power_of_ten(kDigits) - 1);
  Int128 last = -first;
  if (limits.minimum) {
    first = limits.minimum->value.ceiling();
    if (limits.minimum->exclusive && limits.minimum->value.is_integer()) ++first;
    if (first >= last) last = first + power_of_ten(6);
  }
  if (limits.maximum) {
    const Int128 given = limits.maximum->value.floor() -
                         (limits.maximum->exclusive && limits.maximum->value.is_integer() ? 1 : 0);
    if (!limits.minimum && given <= first) first = given - power_of_ten(6);
    last = given;
  }
  // Bounds that are there only to have one do not make numbers longer.
  first = std::max(first, -power_of_ten(19));
  last = std::min(last, power_of_ten(19));
  if (first > last) return {};
  Dfa positive, negative;
  if (last >= 0) positive = determinise(whole_numbers(std::max<Int128>(first, 0), last), work);
  if (first < 0)
    negative = behind_minus(determinise(whole_numbers(std::max<Int128>(-last, 1), -first), work));
  Dfa result = either(positive, negative);
  for (const Decimal& multiple : limits.multiples) {
    // v × 10^scale is a multiple of p exactly where v is one of p / gcd(p, 10^scale).
    Int128 divisor = multiple.unscaled;
    Int128 a = divisor, b = power_of_ten(multiple.scale);
    while (b != 0) {
      const Int128 rest = a % b;
      a = b;
      b = rest;
    }
    divisor /= a;
    if (divisor != 1) result = intersection(result, multiples_of(divisor, 0, work), &work);
  }
  return minimal(result, &work);
}

Dfa number_texts(const NumberLimits& limits, DfaWork* shared) {
  if (!limits.minimum && !limits.maximum && limits.multiples.empty()) {
    static const Dfa kAny = compile_pattern(
        "-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?", {Anchoring::kWhole});
    return kAny;
  }
  DfaWork own;
  DfaWork& work = shared != nullptr ? *shared : own;
  const int places = fraction_digits(limits);
  const Bound zero{};
  const Int128 end = power_of_ten(kDigits);
  Bound first = limits.minimum.value_or(Bound{{-end, 0}, true});
  Bound last = limits.maximum.value_or(Bound{{end, 0}, true});
  if (!limits.maximum && first.value >= Decimal{end, 0}) last = {{power_of_ten(30), 0}, false};
  if (!limits.minimum && last.value <= Decimal{-end, 0}) first = {{-power_of_ten(30), 0}, false};
  Dfa positive, negative;
  const Bound low = first.value.unscaled < 0 ? zero : first;
  positive = intersection(at_least(low, places, work), at_most(last, places, work), &work);
  if (first.value.unscaled < 0) {
    const Bound smallest =
        last.value.unscaled > 0 ? zero : Bound{last.value.negated(), last.exclusive};
    const Bound largest{first.value.negated(), first.exclusive};
    negative = behind_minus(
        intersection(at_least(smallest, places, work), at_most(largest, places, work), &work));
  }
  Dfa result = either(positive, negative);
  for (const Decimal& multiple : limits.multiples)
    result = intersection(result, multiples_of(multiple.unscaled, multiple.scale, work), &work);
  return minimal(result, &work);
}

bool ranges_disjoint(const NumberLimits& a, const NumberLimits& b) {
  const auto below = [](const std::optional<Bound>& last, const std::optional<Bound>& first) {
    if (!last || !first) return false;
    return last->value < first->value ||
           (last->value == first->value && (last->exclusive || first->exclusive));
  };
  return below(a.maximum, b.minimum) || below(b.maximum, a.minimum);
}

}  // namespace hearth::generate::grammar
