// Deterministic automata over code points: regular sets of strings that can be intersected,
// complemented and counted in, before they become part of a grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/grammar/code_points.h"

namespace hearth::generate::grammar {

/// No operation makes more states than this; it throws Error instead.
inline constexpr std::size_t kMaxDfaStates = 20'000;
inline constexpr std::size_t kMaxDfaEdges = 400'000;

/// What all automata of one source may cost together, in states and edges looked at: a source of
/// many patterns, each small enough, must not take minutes.
class DfaWork {
 public:
  /// One to three seconds.
  static constexpr std::size_t kMost = 60'000'000;
  /// Throws Error when no more is allowed.
  void spend(std::size_t steps);

 private:
  std::size_t done_ = 0;
};

struct Dfa {
  struct Edge {
    char32_t first = 0, last = 0;
    std::uint32_t target = 0;
    bool operator==(const Edge&) const = default;
  };
  struct State {
    std::vector<Edge> edges;  ///< ascending and disjoint; what no edge covers is refused
    bool accepting = false;
  };
  std::vector<State> states;  ///< the first one is where it begins; none: the empty set

  [[nodiscard]] bool accepts(std::u32string_view text) const;
  [[nodiscard]] bool empty() const { return states.empty(); }
};

/// Every string.
[[nodiscard]] Dfa any_string();
// Operations count what they do in `work`; null: it is theirs alone.

/// Strings of `minimum` to `maximum` code points.
[[nodiscard]] Dfa strings_of_length(std::uint64_t minimum, std::optional<std::uint64_t> maximum);
/// Exactly these strings.
[[nodiscard]] Dfa exactly(std::span<const std::u32string> words);
[[nodiscard]] Dfa intersection(const Dfa& a, const Dfa& b, DfaWork* work = nullptr);
[[nodiscard]] Dfa complement(const Dfa& a, DfaWork* work = nullptr);
/// `a` without what is in `b`.
[[nodiscard]] Dfa difference(const Dfa& a, const Dfa& b, DfaWork* work = nullptr);
/// Whether no string is in both.
[[nodiscard]] bool disjoint(const Dfa& a, const Dfa& b, DfaWork* work = nullptr);
/// The smallest automaton for the same set; states from which nothing is accepted are gone.
[[nodiscard]] Dfa minimal(const Dfa& a, DfaWork* work = nullptr);

}  // namespace hearth::generate::grammar
