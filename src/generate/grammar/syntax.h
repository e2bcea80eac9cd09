// A context-free grammar as expressions: what every front end (schemas, GBNF, Lark, tools) writes,
// and network.h compiles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/grammar/dfa.h"

namespace hearth::generate::grammar {

/// An expression of a Syntax.
using Expression = std::uint32_t;
using Rule = std::uint32_t;

inline constexpr std::uint32_t kUnlimited = UINT32_MAX;

/// How a Dfa's letters are written.
enum class Spelling : std::uint8_t {
  kPlain,          ///< as they are
  kJsonCharacter,  ///< as inside a JSON string: what must be escaped is
  kSingleQuoted,   ///< the same between single quotes, as Python writes strings
};

enum class ExpressionKind : std::uint8_t {
  kBytes,     ///< these bytes
  kMarkup,    ///< these bytes, as control tokens or spelled out
  kClass,     ///< one code point of a set
  kDfa,       ///< a string of an automaton
  kSequence,  ///< all children in order
  kChoice,    ///< one child; without children: nothing at all can be said
  kRepeat,    ///< the child `minimum` to `maximum` times
  kRule,      ///< what a rule stands for
  kUntil,     ///< free text up to the first occurrence of one of the markers, then its child
};

class Syntax {
 public:
  struct Node {
    ExpressionKind kind = ExpressionKind::kSequence;
    Spelling spelling = Spelling::kPlain;
    bool may_end = false;                    ///< kUntil
    std::uint32_t minimum = 0, maximum = 0;  ///< kRepeat
    std::uint32_t index = 0;                 ///< kClass, kDfa, kRule
    std::string text = {};                   ///< kBytes, kMarkup
    std::vector<Expression> children = {};
    std::vector<std::string> markers = {};  ///< kUntil, one per child
  };

  [[nodiscard]] Expression bytes(std::string_view text);
  [[nodiscard]] Expression markup(std::string_view text);
  [[nodiscard]] Expression one_of(CodePointSet set);
  /// Throws Error when all automata have too many states.
  [[nodiscard]] Expression string_of(Dfa dfa, Spelling spelling = Spelling::kPlain);
  [[nodiscard]] Expression sequence(std::vector<Expression> children);
  [[nodiscard]] Expression choice(std::vector<Expression> children);
  [[nodiscard]] Expression repeat(Expression child, std::uint32_t minimum, std::uint32_t maximum);
  [[nodiscard]] Expression optional(Expression child) { return repeat(child, 0, 1); }
  [[nodiscard]] Expression empty() { return sequence({}); }
  [[nodiscard]] Expression never() { return choice({}); }
  /// Free text in which marker i, where it first occurs, is followed by child i. `may_end`: or in
  /// which no marker occurs.
  [[nodiscard]] Expression until(std::vector<std::string> markers, std::vector<Expression> children,
                                 bool may_end);

  /// A rule that is defined later.
  [[nodiscard]] Rule declare(std::string name = {});
  void define(Rule rule, Expression expression) { rules_[rule].expression = expression; }
  [[nodiscard]] Expression use(Rule rule);

  void set_root(Expression root) { root_ = root; }
  [[nodiscard]] Expression root() const { return root_; }
  [[nodiscard]] const Node& node(Expression expression) const { return nodes_[expression]; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] std::size_t rules() const { return rules_.size(); }
  [[nodiscard]] Expression definition(Rule rule) const { return *rules_[rule].expression; }
  [[nodiscard]] bool defined(Rule rule) const { return rules_[rule].expression.has_value(); }
  [[nodiscard]] const std::string& rule_name(Rule rule) const { return rules_[rule].name; }
  [[nodiscard]] const CodePointSet& set(std::uint32_t index) const { return sets_[index]; }
  [[nodiscard]] const Dfa& dfa(std::uint32_t index) const { return dfas_[index]; }

  /// What the automata of this grammar cost so far.
  [[nodiscard]] DfaWork& work() { return work_; }

  /// Rewrites rules that begin with themselves (A: A x | y becomes A: y x*). Throws Error naming
  /// the rule where that is not possible: when it begins with itself through another rule.
  void remove_left_recursion();
  /// Of every expression: whether it can be the empty string.
  [[nodiscard]] std::vector<bool> nullable() const;

 private:
  struct RuleEntry {
    std::string name;
    std::optional<Expression> expression;
  };
  [[nodiscard]] Expression add(Node node);
  [[nodiscard]] bool empty_by_itself(const Node& node) const;
  void unfold_left_recursion(Rule rule);
  void refuse_left_recursion() const;

  std::vector<Node> nodes_;
  std::vector<RuleEntry> rules_;
  std::vector<CodePointSet> sets_;
  std::vector<Dfa> dfas_;
  std::size_t dfa_states_ = 0;
  DfaWork work_;
  Expression root_ = 0;
};

}  // namespace hearth::generate::grammar
