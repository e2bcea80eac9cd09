#include "generate/grammar/dfa.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

// What a step of these operations costs, in steps of the subset construction (regex.cpp).
constexpr std::size_t kProductSteps = 2;
constexpr std::size_t kRefinementSteps = 8;     // per state
constexpr std::size_t kEdgesPerRefinement = 4;  // per step

[[noreturn]] void refuse_states() {
  throw Error("the pattern or its combination with other limits needs too many states",
              "use a simpler pattern, or smaller lengths and repetitions");
}

void check_size(std::size_t states, std::size_t edges) {
  if (states > kMaxDfaStates || edges > kMaxDfaEdges) refuse_states();
}

/// Joins neighbouring edges with one target.
void add_edge(std::vector<Dfa::Edge>& edges, Dfa::Edge edge) {
  if (!edges.empty() && edges.back().target == edge.target && edges.back().last + 1 == edge.first) {
    edges.back().last = edge.last;
  } else {
    edges.push_back(edge);
  }
}

std::vector<bool> states_that_accept_something(const Dfa& a) {
  std::vector<std::vector<std::uint32_t>> sources(a.states.size());
  std::vector<std::uint32_t> work;
  std::vector<bool> useful(a.states.size(), false);
  for (std::uint32_t state = 0; state < a.states.size(); ++state) {
    for (const Dfa::Edge& edge : a.states[state].edges) sources[edge.target].push_back(state);
    if (!a.states[state].accepting) continue;
    useful[state] = true;
    work.push_back(state);
  }
  while (!work.empty()) {
    const std::uint32_t state = work.back();
    work.pop_back();
    for (const std::uint32_t source : sources[state]) {
      if (useful[source]) continue;
      useful[source] = true;
      work.push_back(source);
    }
  }
  return useful;
}

/// Without states that accept nothing or cannot be reached.
Dfa trimmed(const Dfa& a) {
  if (a.states.empty()) return {};
  const std::vector<bool> useful = states_that_accept_something(a);
  if (!useful[0]) return {};
  constexpr std::uint32_t kNew = UINT32_MAX;
  std::vector<std::uint32_t> number(a.states.size(), kNew);
  std::vector<std::uint32_t> order{0};
  number[0] = 0;
  Dfa result;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Dfa::State state;
    state.accepting = a.states[order[i]].accepting;
    for (const Dfa::Edge& edge : a.states[order[i]].edges) {
      if (!useful[edge.target]) continue;
      if (number[edge.target] == kNew) {
        number[edge.target] = static_cast<std::uint32_t>(order.size());
        order.push_back(edge.target);
      }
      add_edge(state.edges, {edge.first, edge.last, number[edge.target]});
    }
    result.states.push_back(std::move(state));
  }
  return result;
}

}  // namespace

void DfaWork::spend(std::size_t steps) {
  done_ += std::min(steps, kMost + 1);
  if (done_ > kMost) {
    throw Error("the patterns and limits of the grammar or schema take too much work",
                "use fewer or simpler ones, and smaller repetition counts");
  }
}

bool Dfa::accepts(std::u32string_view text) const {
  if (states.empty()) return false;
  std::uint32_t at = 0;
  for (const char32_t c : text) {
    const auto& edges = states[at].edges;
    const auto after = std::upper_bound(edges.begin(), edges.end(), c,
                                        [](char32_t v, const Edge& e) { return v < e.first; });
    if (after == edges.begin() || c > std::prev(after)->last) return false;
    at = std::prev(after)->target;
  }
  return states[at].accepting;
}

Dfa any_string() {
  Dfa result;
  result.states.push_back({{}, true});
  for (const CodePointRange& range : CodePointSet::all().ranges())
    result.states[0].edges.push_back({range.first, range.last, 0});
  return result;
}

Dfa strings_of_length(std::uint64_t minimum, std::optional<std::uint64_t> maximum) {
  if (maximum && *maximum < minimum) return {};
  const std::uint64_t steps = maximum.value_or(minimum);
  if (steps >= kMaxDfaStates) refuse_states();
  Dfa result;
  for (std::uint64_t length = 0; length <= steps; ++length) {
    Dfa::State state;
    state.accepting = length >= minimum;
    const bool last = length == steps;
    if (!last || !maximum) {
      const auto target = static_cast<std::uint32_t>(last ? length : length + 1);
      for (const CodePointRange& range : CodePointSet::all().ranges())
        state.edges.push_back({range.first, range.last, target});
    }
    result.states.push_back(std::move(state));
  }
  return result;
}

Dfa exactly(std::span<const std::u32string> words) {
  std::vector<std::map<char32_t, std::uint32_t>> trie(1);
  std::vector<bool> accepting(1, false);
  for (const std::u32string& word : words) {
    std::uint32_t at = 0;
    for (const char32_t c : word) {
      const auto [found, is_new] = trie[at].emplace(c, static_cast<std::uint32_t>(trie.size()));
      at = found->second;
      if (!is_new) continue;
      check_size(trie.size(), 0);
      trie.emplace_back();
      accepting.push_back(false);
    }
    accepting[at] = true;
  }
  Dfa result;
  for (std::size_t i = 0; i < trie.size(); ++i) {
    Dfa::State state;
    state.accepting = accepting[i];
    for (const auto& [c, target] : trie[i]) state.edges.push_back({c, c, target});
    result.states.push_back(std::move(state));
  }
  return trimmed(result);
}

Dfa intersection(const Dfa& a, const Dfa& b, DfaWork* work) {
  if (a.empty() || b.empty()) return {};
  DfaWork own;
  if (work == nullptr) work = &own;
  std::unordered_map<std::uint64_t, std::uint32_t> numbers;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  const auto number = [&](std::uint32_t x, std::uint32_t y) {
    const auto [found, is_new] =
        numbers.emplace((std::uint64_t{x} << 32) | y, static_cast<std::uint32_t>(pairs.size()));
    if (is_new) pairs.emplace_back(x, y);
    return found->second;
  };
  number(0, 0);
  Dfa result;
  std::size_t edges = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto [x, y] = pairs[i];
    const Dfa::State& left = a.states[x];
    const Dfa::State& right = b.states[y];
    work->spend(kProductSteps * (1 + left.edges.size() + right.edges.size()));
    Dfa::State state;
    state.accepting = left.accepting && right.accepting;
    for (std::size_t l = 0, r = 0; l < left.edges.size() && r < right.edges.size();) {
      const Dfa::Edge& p = left.edges[l];
      const Dfa::Edge& q = right.edges[r];
      const char32_t first = std::max(p.first, q.first);
      const char32_t last = std::min(p.last, q.last);
      if (first <= last) add_edge(state.edges, {first, last, number(p.target, q.target)});
      p.last < q.last ? ++l : ++r;
    }
    edges += state.edges.size();
    check_size(pairs.size(), edges);
    result.states.push_back(std::move(state));
  }
  return trimmed(result);
}

Dfa complement(const Dfa& a, DfaWork* work) {
  DfaWork own;
  if (work == nullptr) work = &own;
  Dfa result = a;
  if (result.states.empty()) return any_string();
  const auto rest = static_cast<std::uint32_t>(result.states.size());
  result.states.push_back(any_string().states[0]);
  for (Dfa::Edge& edge : result.states.back().edges) edge.target = rest;
  result.states.back().accepting = false;
  for (Dfa::State& state : result.states) {
    work->spend(kProductSteps * (2 + state.edges.size()));
    state.accepting = !state.accepting;
    std::vector<CodePointRange> covered;
    for (const Dfa::Edge& edge : state.edges) covered.push_back({edge.first, edge.last});
    for (const CodePointRange& gap : CodePointSet(std::move(covered)).complement().ranges())
      state.edges.push_back({gap.first, gap.last, rest});
    std::sort(state.edges.begin(), state.edges.end(),
              [](const Dfa::Edge& x, const Dfa::Edge& y) { return x.first < y.first; });
  }
  return trimmed(result);
}

Dfa difference(const Dfa& a, const Dfa& b, DfaWork* work) {
  return intersection(a, complement(b, work), work);
}

bool disjoint(const Dfa& a, const Dfa& b, DfaWork* work) {
  return intersection(a, b, work).empty();
}

Dfa minimal(const Dfa& a, DfaWork* work) {
  // Moore's partition refinement: states are told apart by what they accept, then by where their
  // letters lead, until nothing changes. Good enough for the sizes that are allowed.
  Dfa result = trimmed(a);
  constexpr std::size_t kWorthIt = 300;  // beyond, it takes longer than it saves
  if (result.states.size() < 3 || result.states.size() > kWorthIt) return result;
  DfaWork own;
  if (work == nullptr) work = &own;
  std::size_t round = 0;  // steps that one takes
  for (const Dfa::State& state : result.states)
    round += kRefinementSteps + state.edges.size() / kEdgesPerRefinement;
  std::vector<std::uint32_t> block(result.states.size());
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = result.states[i].accepting ? 1 : 0;
  std::size_t blocks = 0;
  while (true) {
    work->spend(round);
    std::map<std::vector<std::uint64_t>, std::uint32_t> signatures;
    std::vector<std::uint32_t> refined(block.size());
    for (std::size_t i = 0; i < block.size(); ++i) {
      std::vector<Dfa::Edge> edges;
      for (const Dfa::Edge& edge : result.states[i].edges)
        add_edge(edges, {edge.first, edge.last, block[edge.target]});
      std::vector<std::uint64_t> signature{block[i]};
      for (const Dfa::Edge& edge : edges) {
        signature.push_back((std::uint64_t{edge.first} << 32) | edge.last);
        signature.push_back(edge.target);
      }
      refined[i] =
          signatures.emplace(std::move(signature), static_cast<std::uint32_t>(signatures.size()))
              .first->second;
    }
    block = std::move(refined);
    if (signatures.size() == blocks) {
      Dfa merged;
      merged.states.resize(blocks);
      std::vector<bool> done(blocks, false);
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (done[block[i]]) continue;
        done[block[i]] = true;
        merged.states[block[i]].accepting = result.states[i].accepting;
        for (const Dfa::Edge& edge : result.states[i].edges)
          add_edge(merged.states[block[i]].edges, {edge.first, edge.last, block[edge.target]});
      }
      return merged;  // state 0 met first, so its block is 0
    }
    blocks = signatures.size();
    if (blocks == result.states.size()) return result;
  }
}

}  // namespace hearth::generate::grammar
