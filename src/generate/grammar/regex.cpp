#include "generate/grammar/regex.h"

#include <algorithm>
#include <map>

#include "generate/grammar/compiled.h"
#include "generate/grammar/regex_syntax.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxNfaStates = 60'000;

[[noreturn]] void refuse_regex() {
  throw Error("the regular expression needs too many states",
              "use smaller repetition counts, or fewer alternatives");
}

/// Thompson's automaton (1968). A state has one way out with a set, or up to two without.
struct Nfa {
  enum class Kind : std::uint8_t { kSplit, kSet, kBegin, kEnd, kAccept };
  struct State {
    Kind kind = Kind::kSplit;
    std::uint32_t next = 0, other = 0;
    const CodePointSet* set = nullptr;
  };
  std::vector<State> states;
  DfaWork& work;

  std::uint32_t add(State state) {
    if (states.size() >= kMaxNfaStates) refuse_regex();
    work.spend(1);
    states.push_back(state);
    return static_cast<std::uint32_t>(states.size() - 1);
  }
  std::uint32_t split(std::uint32_t a, std::uint32_t b) {
    return add({Kind::kSplit, a, b, nullptr});
  }

  /// The state where `node` begins that is followed by `next`.
  std::uint32_t build(const RegexNode& node, std::uint32_t next) {
    switch (node.kind) {
      case RegexNode::Kind::kSet:
        return add({Kind::kSet, next, next, &node.set});
      case RegexNode::Kind::kBegin:
        return add({Kind::kBegin, next, next, nullptr});
      case RegexNode::Kind::kEnd:
        return add({Kind::kEnd, next, next, nullptr});
      case RegexNode::Kind::kSequence:
        for (auto child = node.children.rbegin(); child != node.children.rend(); ++child)
          next = build(*child, next);
        return next;
      case RegexNode::Kind::kChoice: {
        std::uint32_t start = build(node.children.back(), next);
        for (std::size_t i = node.children.size() - 1; i-- > 0;)
          start = split(build(node.children[i], next), start);
        return start;
      }
      case RegexNode::Kind::kRepeat:
        break;
    }
    return build_repeat(node, next);
  }

  std::uint32_t build_repeat(const RegexNode& node, std::uint32_t next) {
    const RegexNode& child = node.children[0];
    if (node.maximum == UINT32_MAX) {
      const std::uint32_t loop = split(0, next);
      const std::uint32_t body = build(child, loop);
      states[loop].next = body;
      next = loop;
    } else {
      const std::uint32_t out = next;
      for (std::uint32_t i = node.minimum; i < node.maximum; ++i)
        next = split(build(child, next), out);
    }
    for (std::uint32_t i = 0; i < node.minimum; ++i) next = build(child, next);
    return next;
  }
};

/// The subset construction.
class Determiniser {
 public:
  Determiniser(const Nfa& nfa, DfaWork& work) : nfa_(nfa), work_(work) {}

  Dfa run(std::uint32_t start) {
    seen_.assign(nfa_.states.size(), 0);
    number(closure({start}, true, false), true);
    for (std::size_t i = 0; i < sets_.size(); ++i) {
      const std::vector<std::uint32_t> set = sets_[i];
      dfa_.states[i].edges = edges_of(set);
    }
    return minimal(dfa_, &work_);
  }

 private:
  /// What can be reached without a letter; `at_begin`, `at_end`: whether the anchors hold.
  std::vector<std::uint32_t> closure(std::vector<std::uint32_t> open, bool at_begin, bool at_end) {
    ++round_;
    std::vector<std::uint32_t> result;
    while (!open.empty()) {
      const std::uint32_t state = open.back();
      open.pop_back();
      if (seen_[state] == round_) continue;
      seen_[state] = round_;
      work_.spend(1);
      const Nfa::State& s = nfa_.states[state];
      if (s.kind == Nfa::Kind::kSplit) {
        open.push_back(s.next);
        open.push_back(s.other);
      } else if (s.kind == Nfa::Kind::kBegin) {
        if (at_begin) open.push_back(s.next);
      } else {
        result.push_back(state);
        if (s.kind == Nfa::Kind::kEnd && at_end) open.push_back(s.next);
      }
    }
    std::sort(result.begin(), result.end());
    return result;
  }

  std::uint32_t number(std::vector<std::uint32_t> set, bool at_begin) {
    const auto found = numbers_.find(set);
    if (found != numbers_.end() && !at_begin) return found->second;
    const auto id = static_cast<std::uint32_t>(sets_.size());
    if (id >= kMaxDfaStates) refuse_regex();
    Dfa::State state;
    for (const std::uint32_t s : closure(set, at_begin, true))
      state.accepting |= nfa_.states[s].kind == Nfa::Kind::kAccept;
    dfa_.states.push_back(std::move(state));
    sets_.push_back(set);
    // At the beginning "^" holds; the same set later is another state.
    if (!at_begin) numbers_.emplace(std::move(set), id);
    return id;
  }

  std::vector<Dfa::Edge> edges_of(const std::vector<std::uint32_t>& set) {
    std::vector<char32_t> cuts;
    for (const std::uint32_t s : set) {
      if (nfa_.states[s].kind != Nfa::Kind::kSet) continue;
      for (const CodePointRange& range : nfa_.states[s].set->ranges()) {
        cuts.push_back(range.first);
        cuts.push_back(range.last + 1);
      }
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::vector<Dfa::Edge> edges;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      std::vector<std::uint32_t> targets;
      work_.spend(set.size());
      for (const std::uint32_t s : set) {
        if (nfa_.states[s].kind == Nfa::Kind::kSet && nfa_.states[s].set->contains(cuts[i]))
          targets.push_back(nfa_.states[s].next);
      }
      if (targets.empty()) continue;
      const std::uint32_t target = number(closure(std::move(targets), false, false), false);
      if (!edges.empty() && edges.back().target == target && edges.back().last + 1 == cuts[i]) {
        edges.back().last = cuts[i + 1] - 1;
      } else {
        edges.push_back({cuts[i], cuts[i + 1] - 1, target});
      }
    }
    edge_count_ += edges.size();
    if (edge_count_ > kMaxDfaEdges) refuse_regex();
    return edges;
  }

  const Nfa& nfa_;
  DfaWork& work_;
  std::vector<std::uint32_t> seen_;
  std::uint32_t round_ = 0;
  std::size_t edge_count_ = 0;
  std::map<std::vector<std::uint32_t>, std::uint32_t> numbers_;
  std::vector<std::vector<std::uint32_t>> sets_;
  Dfa dfa_;
};

}  // namespace

Dfa determinise(const RegexNode& node, DfaWork& work) {
  Nfa nfa{{}, work};
  const std::uint32_t accept = nfa.add({Nfa::Kind::kAccept, 0, 0, nullptr});
  return Determiniser(nfa, work).run(nfa.build(node, accept));
}

Dfa compile_pattern(std::string_view pattern, const RegexOptions& options) {
  RegexNode tree = parse_regex(pattern, options);
  DfaWork own;
  DfaWork& work = options.work != nullptr ? *options.work : own;
  if (options.anchoring == Anchoring::kWhole) return determinise(tree, work);
  RegexNode any_text{.kind = RegexNode::Kind::kRepeat};
  any_text.maximum = UINT32_MAX;
  any_text.children.push_back({.kind = RegexNode::Kind::kSet});
  any_text.children[0].set = CodePointSet::all();
  RegexNode found{.kind = RegexNode::Kind::kSequence};
  found.children = {any_text, std::move(tree), any_text};
  return determinise(found, work);
}

std::string literal_pattern(std::string_view text) {
  static constexpr std::string_view kSyntax = "^$\\.*+?()[]{}|/";
  std::string pattern;
  for (const char c : text) {
    if (kSyntax.find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

std::shared_ptr<const Grammar> compile_regex(std::string_view pattern, const Options& options) {
  Syntax syntax;
  syntax.set_root(syntax.string_of(compile_pattern(pattern, {.anchoring = Anchoring::kWhole})));
  return finish(std::move(syntax), options);
}

}  // namespace hearth::generate::grammar
