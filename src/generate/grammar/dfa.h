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
/// Strings of `minimum` to `maximum` code points.
[[nodiscard]] Dfa strings_of_length(std::uint64_t minimum, std::optional<std::uint64_t> maximum);
/// Exactly these strings.
[[nodiscard]] Dfa exactly(std::span<const std::u32string> words);
[[nodiscard]] Dfa intersection(const Dfa& a, const Dfa& b);
[[nodiscard]] Dfa complement(const Dfa& a);
/// `a` without what is in `b`.
[[nodiscard]] Dfa difference(const Dfa& a, const Dfa& b);
/// Whether no string is in both.
[[nodiscard]] bool disjoint(const Dfa& a, const Dfa& b);
/// The smallest automaton for the same set; states from which nothing is accepted are gone.
[[nodiscard]] Dfa minimal(const Dfa& a);

}  // namespace hearth::generate::grammar
