#include "generate/grammar/syntax.h"

#include <algorithm>

#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxExpressions = 400'000;
constexpr std::size_t kMaxStates = 1'000'000;  // of all automata: a network has no more nodes

[[noreturn]] void refuse_syntax() {
  throw Error("the grammar or schema is too large", "split it, or leave out what is not needed");
}

}  // namespace

Expression Syntax::add(Node node) {
  if (nodes_.size() >= kMaxExpressions) refuse_syntax();
  nodes_.push_back(std::move(node));
  return static_cast<Expression>(nodes_.size() - 1);
}

Expression Syntax::bytes(std::string_view text) {
  if (text.empty()) return empty();
  Node node{.kind = ExpressionKind::kBytes};
  node.text = text;
  return add(std::move(node));
}

Expression Syntax::markup(std::string_view text) {
  if (text.empty()) return empty();
  Node node{.kind = ExpressionKind::kMarkup};
  node.text = text;
  return add(std::move(node));
}

Expression Syntax::one_of(CodePointSet set) {
  if (set.empty()) return never();
  Node node{.kind = ExpressionKind::kClass};
  node.index = static_cast<std::uint32_t>(sets_.size());
  sets_.push_back(std::move(set));
  return add(std::move(node));
}

Expression Syntax::string_of(Dfa dfa, Spelling spelling) {
  if (dfa.empty()) return never();
  dfa_states_ += dfa.states.size();
  if (dfa_states_ > kMaxStates) refuse_syntax();
  Node node{.kind = ExpressionKind::kDfa, .spelling = spelling};
  node.index = static_cast<std::uint32_t>(dfas_.size());
  dfas_.push_back(std::move(dfa));
  return add(std::move(node));
}

Expression Syntax::sequence(std::vector<Expression> children) {
  if (children.size() == 1) return children[0];
  Node node{.kind = ExpressionKind::kSequence};
  node.children = std::move(children);
  return add(std::move(node));
}

Expression Syntax::choice(std::vector<Expression> children) {
  if (children.size() == 1) return children[0];
  Node node{.kind = ExpressionKind::kChoice};
  node.children = std::move(children);
  return add(std::move(node));
}

Expression Syntax::repeat(Expression child, std::uint32_t minimum, std::uint32_t maximum) {
  if (maximum < minimum) return never();
  if (maximum == 0) return empty();
  if (minimum == 1 && maximum == 1) return child;
  Node node{.kind = ExpressionKind::kRepeat};
  node.minimum = minimum;
  node.maximum = maximum;
  node.children = {child};
  return add(std::move(node));
}

Expression Syntax::until(std::vector<std::string> markers, std::vector<Expression> children,
                         bool may_end) {
  Node node{.kind = ExpressionKind::kUntil};
  node.may_end = may_end;
  node.markers = std::move(markers);
  node.children = std::move(children);
  return add(std::move(node));
}

Rule Syntax::declare(std::string name) {
  rules_.push_back({std::move(name), std::nullopt});
  return static_cast<Rule>(rules_.size() - 1);
}

Expression Syntax::use(Rule rule) {
  Node node{.kind = ExpressionKind::kRule};
  node.index = rule;
  return add(std::move(node));
}

/// Whether an expression can be empty whatever its children are.
bool Syntax::empty_by_itself(const Node& node) const {
  switch (node.kind) {
    case ExpressionKind::kDfa:
      return dfas_[node.index].states[0].accepting;
    case ExpressionKind::kSequence:
      return node.children.empty();
    case ExpressionKind::kRepeat:
      return node.minimum == 0;
    case ExpressionKind::kUntil:
      return node.may_end;
    default:
      return false;
  }
}

std::vector<bool> Syntax::nullable() const {
  // From what is empty by itself to what that makes empty. Long chains of rules are usual (an
  // object's members), so that rounds over everything would take too long.
  std::vector<std::vector<Expression>> users(nodes_.size());
  std::vector<std::size_t> missing(nodes_.size(), 1);  // children that must be empty before it is
  std::vector<bool> known(nodes_.size(), false);
  std::vector<Expression> work;
  for (Expression e = 0; e < nodes_.size(); ++e) {
    const Node& node = nodes_[e];
    if (empty_by_itself(node)) {
      known[e] = true;
      work.push_back(e);
    } else if (node.kind == ExpressionKind::kRule) {
      if (defined(node.index)) users[definition(node.index)].push_back(e);
    } else if (node.kind != ExpressionKind::kUntil) {
      if (node.kind == ExpressionKind::kSequence) missing[e] = node.children.size();
      for (const Expression child : node.children) users[child].push_back(e);
    }
  }
  while (!work.empty()) {
    const Expression e = work.back();
    work.pop_back();
    for (const Expression user : users[e]) {
      if (known[user] || --missing[user] > 0) continue;
      known[user] = true;
      work.push_back(user);
    }
  }
  return known;
}

void Syntax::unfold_left_recursion(Rule rule) {
  const auto is_self = [&](Expression e) {
    return nodes_[e].kind == ExpressionKind::kRule && nodes_[e].index == rule;
  };
  // Alternatives, those of nested choices too.
  std::vector<Expression> alternatives;
  std::vector<Expression> work{definition(rule)};
  while (!work.empty()) {
    const Expression e = work.back();
    work.pop_back();
    if (nodes_[e].kind == ExpressionKind::kChoice) {
      const auto& children = nodes_[e].children;
      work.insert(work.end(), children.rbegin(), children.rend());
    } else {
      alternatives.push_back(e);
    }
  }
  std::vector<Expression> first, more;
  for (const Expression alternative : alternatives) {
    // A sequence, its first element perhaps a sequence again.
    std::vector<Expression> parts{alternative};
    while (!parts.empty() && nodes_[parts[0]].kind == ExpressionKind::kSequence) {
      const std::vector<Expression> inner = nodes_[parts[0]].children;
      parts.erase(parts.begin());
      parts.insert(parts.begin(), inner.begin(), inner.end());
    }
    if (parts.empty() || !is_self(parts[0])) {
      first.push_back(alternative);
      continue;
    }
    parts.erase(parts.begin());
    if (!parts.empty()) more.push_back(sequence(std::move(parts)));
  }
  if (first.size() == alternatives.size()) return;
  define(rule,
         sequence({choice(std::move(first)), repeat(choice(std::move(more)), 0, kUnlimited)}));
}

void Syntax::refuse_left_recursion() const {
  const std::vector<bool> can_be_empty = nullable();
  // Which rules a rule may begin with.
  std::vector<std::vector<Rule>> begins(rules_.size());
  std::vector<Rule> seen_by(nodes_.size(), kUnlimited);
  for (Rule rule = 0; rule < rules_.size(); ++rule) {
    if (!defined(rule)) continue;
    std::vector<Expression> work{definition(rule)};
    while (!work.empty()) {
      const Expression e = work.back();
      work.pop_back();
      if (seen_by[e] == rule) continue;
      seen_by[e] = rule;
      const Node& node = nodes_[e];
      if (node.kind == ExpressionKind::kRule) begins[rule].push_back(node.index);
      if (node.kind == ExpressionKind::kUntil) continue;
      for (const Expression child : node.children) {
        work.push_back(child);
        if (node.kind == ExpressionKind::kSequence && !can_be_empty[child]) break;
      }
    }
  }
  enum class Mark : std::uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(rules_.size(), Mark::kNew);
  struct Visit {
    Rule rule;
    std::size_t next;
  };
  for (Rule start = 0; start < rules_.size(); ++start) {
    if (marks[start] != Mark::kNew) continue;
    std::vector<Visit> path{{start, 0}};
    marks[start] = Mark::kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.next == begins[visit.rule].size()) {
        marks[visit.rule] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const Rule next = begins[visit.rule][visit.next++];
      if (marks[next] == Mark::kOpen) {
        throw Error("the rule '" + printable(rules_[next].name) +
                        "' begins with itself through other rules",
                    "write it with repetition ('*') instead of recursion on the left");
      }
      if (marks[next] == Mark::kDone) continue;
      marks[next] = Mark::kOpen;
      path.push_back({next, 0});
    }
  }
}

void Syntax::remove_left_recursion() {
  for (Rule rule = 0; rule < rules_.size(); ++rule) {
    if (defined(rule)) unfold_left_recursion(rule);
  }
  refuse_left_recursion();
}

}  // namespace hearth::generate::grammar
