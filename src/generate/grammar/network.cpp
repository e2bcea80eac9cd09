#include "generate/grammar/network.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxNodes = 1'000'000;
constexpr std::size_t kMaxEdges = 3'000'000;
constexpr std::uint32_t kSmallRepetition = 3;
constexpr int kMaxExpressionNesting = 2000;  // of expressions; rules are no nesting

}  // namespace

/// Writes the nodes of expressions: build(expression, from, to) makes the ways from one to another.
class NetworkBuilder {
 public:
  using NodeId = Network::NodeId;
  using Jump = Network::Jump;

  NetworkBuilder(const Syntax& syntax, Network& network)
      : syntax_(syntax), network_(network), nullable_(syntax.nullable()) {}

  void run() {
    add_node();  // kEnd
    rule_starts_.assign(syntax_.rules(), Network::kEnd);
    network_.start_ = add_node();
    build(syntax_.root(), network_.start_, Network::kEnd, 0);
    while (!waiting_.empty()) {
      const Rule rule = waiting_.front();
      waiting_.pop_front();
      build(syntax_.definition(rule), rule_starts_[rule], Network::kEnd, 0);
    }
    flatten();
  }

 private:
  NodeId add_node() {
    if (nodes_.size() >= kMaxNodes) too_large();
    nodes_.emplace_back();
    return static_cast<NodeId>(nodes_.size() - 1);
  }
  [[noreturn]] static void too_large() {
    throw Error("the grammar or schema is too large",
                "leave out what is not needed, or use simpler patterns");
  }
  void count_edge() {
    if (++edges_ > kMaxEdges) too_large();
  }
  void add_symbols(NodeId from, int first, int last, NodeId to) {
    count_edge();
    nodes_[from].symbols.push_back(
        {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last), to});
  }
  void add_jump(NodeId from, Jump jump) {
    count_edge();
    nodes_[from].jumps.push_back(jump);
  }
  void go(NodeId from, NodeId to) { add_jump(from, {Jump::Kind::kGo, to, 0}); }

  void build(Expression expression, NodeId from, NodeId to, int nesting) {
    if (nesting > kMaxExpressionNesting) too_large();
    const Syntax::Node& node = syntax_.node(expression);
    switch (node.kind) {
      case ExpressionKind::kBytes:
      case ExpressionKind::kMarkup:
        return build_text(node, from, to);
      case ExpressionKind::kClass:
        for (const CodePointRange& range : syntax_.set(node.index).ranges())
          add_code_points(from, range, to);
        return;
      case ExpressionKind::kDfa:
        return build_dfa(syntax_.dfa(node.index), node.spelling, from, to);
      case ExpressionKind::kSequence:
        return build_sequence(node, from, to, nesting);
      case ExpressionKind::kChoice:
        for (const Expression child : node.children) build(child, from, to, nesting + 1);
        return;
      case ExpressionKind::kRepeat:
        return build_repeat(node, from, to, nesting);
      case ExpressionKind::kRule:
        return build_call(node.index, from, to);
      case ExpressionKind::kUntil:
        return build_until(node, from, to, nesting);
    }
  }

  void build_text(const Syntax::Node& node, NodeId from, NodeId to) {
    for (std::size_t i = 0; i < node.text.size(); ++i) {
      const NodeId next = i + 1 == node.text.size() ? to : add_node();
      const int byte = static_cast<unsigned char>(node.text[i]);
      add_symbols(from, byte, byte, next);
      if (node.kind == ExpressionKind::kMarkup)
        add_symbols(from, byte + kMarkupBytes, byte + kMarkupBytes, next);
      from = next;
    }
  }

  /// A node whose only edge leads over these bytes to `to`. The ends of characters are shared.
  NodeId before(NodeId to, std::array<std::uint8_t, 2> place) {
    const std::uint64_t key = (std::uint64_t{to} << 16) | (std::uint64_t{place[0]} << 8) | place[1];
    const auto [found, is_new] = befores_.emplace(key, 0);
    if (is_new) {
      const NodeId node = add_node();
      add_symbols(node, place[0], place[1], to);
      found->second = node;
    }
    return found->second;
  }

  void add_code_points(NodeId from, CodePointRange range, NodeId to) {
    for (const ByteRanges& bytes : utf8_ranges(range)) {
      NodeId target = to;
      for (int i = bytes.length - 1; i > 0; --i) target = before(target, bytes.places[i]);
      add_symbols(from, bytes.places[0][0], bytes.places[0][1], target);
    }
  }

  void build_dfa(const Dfa& dfa, Spelling spelling, NodeId from, NodeId to) {
    std::vector<NodeId> at(dfa.states.size());
    for (NodeId& node : at) node = add_node();
    go(from, at[0]);
    for (std::size_t i = 0; i < at.size(); ++i) {
      if (dfa.states[i].accepting) go(at[i], to);
      for (const Dfa::Edge& edge : dfa.states[i].edges) {
        if (spelling == Spelling::kPlain) {
          add_code_points(at[i], {edge.first, edge.last}, at[edge.target]);
        } else {
          add_escaped(at[i], {edge.first, edge.last}, at[edge.target],
                      spelling == Spelling::kSingleQuoted ? '\'' : '"');
        }
      }
    }
  }

  /// The characters as a JSON string spells them (RFC 8259, section 7): the short escape where
  /// there is one, \u00XX for other control characters, and nothing else escaped; `quote` is what
  /// ends the string.
  void add_escaped(NodeId from, CodePointRange range, NodeId to, char quote) {
    const auto end = static_cast<char32_t>(quote);
    const CodePointSet direct = CodePointSet({{0, 0x1F}, {end, end}, {U'\\', U'\\'}}).complement();
    const CodePointSet wanted({range});
    for (const CodePointRange& part : wanted.intersect(direct).ranges())
      add_code_points(from, part, to);
    NodeId escape = Network::kEnd;
    const auto after_backslash = [&] {
      if (escape == Network::kEnd) {
        escape = add_node();
        add_symbols(from, '\\', '\\', escape);
      }
      return escape;
    };
    const char with_letters[][2] = {{quote, quote}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                    {'\n', 'n'},    {'\r', 'r'},  {'\t', 't'}};
    for (const auto& [character, letter] : with_letters) {
      if (wanted.contains(static_cast<char32_t>(character)))
        add_symbols(after_backslash(), letter, letter, to);
    }
    static constexpr std::string_view kHex = "0123456789abcdef";
    for (char32_t c = range.first; c <= std::min<char32_t>(range.last, 0x1F); ++c) {
      const bool has_short = c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t';
      if (has_short) continue;
      const std::string text{'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
      NodeId at = after_backslash();
      for (std::size_t i = 0; i < text.size(); ++i) {
        const NodeId next = i + 1 == text.size() ? to : add_node();
        add_symbols(at, text[i], text[i], next);
        at = next;
      }
    }
  }

  void build_sequence(const Syntax::Node& node, NodeId from, NodeId to, int nesting) {
    if (node.children.empty()) return go(from, to);
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const NodeId next = i + 1 == node.children.size() ? to : add_node();
      build(node.children[i], from, next, nesting + 1);
      from = next;
    }
  }

  void build_repeat(const Syntax::Node& node, NodeId from, NodeId to, int nesting) {
    const Expression child = node.children[0];
    const bool nullable = nullable_[child];
    const std::uint32_t minimum = nullable ? 0 : node.minimum;
    const bool small = minimum <= kSmallRepetition &&
                       (node.maximum <= kSmallRepetition || node.maximum == kUnlimited);
    // Copies of large bodies inside each other would multiply.
    if (small && (is_small(child) || (minimum == 0 && node.maximum == 1) ||
                  (minimum <= 1 && node.maximum == kUnlimited && is_call(child)))) {
      return build_copies(child, minimum, node.maximum, from, to, nesting);
    }
    if (minimum == 0 && node.maximum == kUnlimited)
      return build_copies(child, 0, kUnlimited, from, to, nesting);
    Network::Repetition repetition;
    repetition.body = add_node();
    repetition.next = to;
    repetition.minimum = minimum;
    repetition.maximum = node.maximum;
    repetition.nullable = nullable;
    add_jump(from,
             {Jump::Kind::kRepeat, static_cast<std::uint32_t>(network_.repetitions_.size()), 0});
    network_.repetitions_.push_back(repetition);
    build(child, repetition.body, Network::kEnd, nesting + 1);
  }

  void build_copies(Expression child, std::uint32_t minimum, std::uint32_t maximum, NodeId from,
                    NodeId to, int nesting) {
    for (std::uint32_t i = 0; i < minimum; ++i) {
      const NodeId next = add_node();
      build(child, from, next, nesting + 1);
      from = next;
    }
    if (maximum == kUnlimited) {
      const NodeId loop = add_node();
      go(from, loop);
      const NodeId body = add_node();  // kept apart: the child may have edges back to its start
      go(loop, body);
      build(child, body, loop, nesting + 1);
      return go(loop, to);
    }
    go(from, to);
    for (std::uint32_t i = minimum; i < maximum; ++i) {
      const NodeId begin = add_node();
      go(from, begin);
      const NodeId next = i + 1 == maximum ? to : add_node();
      build(child, begin, next, nesting + 1);
      if (next != to) go(next, to);
      from = next;
    }
  }

  [[nodiscard]] bool is_call(Expression e) const {
    return syntax_.node(e).kind == ExpressionKind::kRule;
  }
  [[nodiscard]] bool is_small(Expression e) const {
    const Syntax::Node& node = syntax_.node(e);
    if (node.kind == ExpressionKind::kBytes) return node.text.size() <= 4;
    return node.kind == ExpressionKind::kClass || node.kind == ExpressionKind::kRule;
  }

  void build_call(Rule rule, NodeId from, NodeId to) {
    if (!syntax_.defined(rule)) {
      throw Error("the rule '" + printable(syntax_.rule_name(rule)) + "' is used but not defined",
                  "define it, or check its spelling");
    }
    if (rule_starts_[rule] == Network::kEnd) {
      rule_starts_[rule] = add_node();
      waiting_.push_back(rule);
    }
    // At the end of a rule a call needs no way back.
    if (to == Network::kEnd) return go(from, rule_starts_[rule]);
    add_jump(from, {Jump::Kind::kCall, rule_starts_[rule], to});
  }

  /// Aho and Corasick's automaton (1975) over the markers; text runs through it until one is whole.
  void build_until(const Syntax::Node& node, NodeId from, NodeId to, int nesting) {
    struct Place {
      std::array<std::int32_t, 256> next;
      std::int32_t marker = -1;
      std::size_t fallback = 0;
    };
    std::vector<Place> places(1);
    places[0].next.fill(-1);
    for (std::size_t m = 0; m < node.markers.size(); ++m) {
      std::size_t at = 0;
      for (const char c : node.markers[m]) {
        std::int32_t& next = places[at].next[static_cast<unsigned char>(c)];
        if (next < 0) {
          next = static_cast<std::int32_t>(places.size());
          at = places.size();
          places.emplace_back();
          places.back().next.fill(-1);
        } else {
          at = static_cast<std::size_t>(next);
        }
      }
      if (places[at].marker < 0) places[at].marker = static_cast<std::int32_t>(m);
    }
    std::deque<std::size_t> order{0};
    while (!order.empty()) {
      const std::size_t at = order.front();
      order.pop_front();
      const std::size_t fallback = places[at].fallback;
      if (places[at].marker < 0 && at != 0) places[at].marker = places[fallback].marker;
      for (int byte = 0; byte < 256; ++byte) {
        std::int32_t& next = places[at].next[byte];
        const std::int32_t other = at == 0 ? 0 : places[fallback].next[byte];
        if (next < 0) {
          next = other;
        } else {
          places[static_cast<std::size_t>(next)].fallback = static_cast<std::size_t>(other);
          order.push_back(static_cast<std::size_t>(next));
        }
      }
    }
    std::vector<NodeId> at(places.size());
    for (NodeId& n : at) n = add_node();
    go(from, at[0]);
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i].marker >= 0) {
        build(node.children[static_cast<std::size_t>(places[i].marker)], at[i], to, nesting + 1);
        continue;
      }
      if (node.may_end) go(at[i], to);
      for (int first = 0; first < 256;) {
        int last = first;
        while (last + 1 < 256 && places[i].next[last + 1] == places[i].next[first]) ++last;
        const NodeId target = at[static_cast<std::size_t>(places[i].next[first])];
        add_symbols(at[i], first, last, target);
        add_symbols(at[i], first + kMarkupBytes, last + kMarkupBytes, target);
        first = last + 1;
      }
    }
  }

  void flatten() {
    for (BuiltNode& node : nodes_) {
      network_.symbol_begin_.push_back(static_cast<std::uint32_t>(network_.symbols_.size()));
      network_.jump_begin_.push_back(static_cast<std::uint32_t>(network_.jumps_.size()));
      network_.symbols_.insert(network_.symbols_.end(), node.symbols.begin(), node.symbols.end());
      network_.jumps_.insert(network_.jumps_.end(), node.jumps.begin(), node.jumps.end());
      node = {};
    }
    network_.symbol_begin_.push_back(static_cast<std::uint32_t>(network_.symbols_.size()));
    network_.jump_begin_.push_back(static_cast<std::uint32_t>(network_.jumps_.size()));
  }

  struct BuiltNode {
    std::vector<Network::SymbolEdge> symbols;
    std::vector<Jump> jumps;
  };
  const Syntax& syntax_;
  Network& network_;
  std::vector<bool> nullable_;
  std::vector<BuiltNode> nodes_;
  std::vector<NodeId> rule_starts_;
  std::deque<Rule> waiting_;
  std::unordered_map<std::uint64_t, NodeId> befores_;
  std::size_t edges_ = 0;
};

Network::Network(const Syntax& syntax) {
  NetworkBuilder(syntax, *this).run();
  find_heights();
  if (heights_[start_] > kMaxDepth) {
    throw Error("no text can fulfil the grammar or schema",
                "look for conditions that contradict each other, or recursion without an end");
  }
  find_classes();
}

void Network::find_heights() {
  // Knuth's generalisation of Dijkstra's algorithm (1977): nodes are settled in the order of their
  // heights; a call's height is known when its rule and what follows it are.
  struct Use {
    NodeId from;
    std::uint32_t other;  // the second condition: a node, or kUnlimited for none
    bool frame;           // the settled node runs on a frame of its own
  };
  const std::size_t count = size();
  std::vector<std::uint32_t> use_begin(count + 1, 0);
  std::vector<Use> uses;
  const auto visit_uses = [&](auto visit) {
    for (NodeId node = 0; node < count; ++node) {
      for (const SymbolEdge& edge : symbols(node)) visit(edge.target, Use{node, kUnlimited, false});
      for (const Jump& jump : jumps(node)) {
        if (jump.kind == Jump::Kind::kGo) visit(jump.target, Use{node, kUnlimited, false});
        if (jump.kind == Jump::Kind::kCall) {
          visit(jump.target, Use{node, jump.next, true});
          visit(jump.next, Use{node, jump.target, false});
        }
        if (jump.kind == Jump::Kind::kRepeat) {
          const Repetition& repeat = repetitions_[jump.target];
          if (repeat.minimum == 0) {
            visit(repeat.next, Use{node, kUnlimited, false});
          } else {
            visit(repeat.body, Use{node, repeat.next, true});
            visit(repeat.next, Use{node, repeat.body, false});
          }
        }
      }
    }
  };
  visit_uses([&](NodeId target, const Use&) { ++use_begin[target + 1]; });
  for (std::size_t i = 0; i < count; ++i) use_begin[i + 1] += use_begin[i];
  uses.resize(use_begin[count]);
  std::vector<std::uint32_t> fill(use_begin.begin(), use_begin.end() - 1);
  visit_uses([&](NodeId target, const Use& use) { uses[fill[target]++] = use; });

  heights_.assign(count, kUnlimited);
  std::vector<std::vector<NodeId>> levels(kMaxDepth + 2);
  heights_[kEnd] = 0;
  levels[0].push_back(kEnd);
  std::vector<bool> settled(count, false);
  for (std::uint32_t level = 0; level <= kMaxDepth; ++level) {
    for (std::size_t i = 0; i < levels[level].size(); ++i) {
      const NodeId node = levels[level][i];
      if (settled[node]) continue;
      settled[node] = true;
      for (std::uint32_t u = use_begin[node]; u < use_begin[node + 1]; ++u) {
        const Use& use = uses[u];
        std::uint32_t height = level + (use.frame ? 1 : 0);
        if (use.other != kUnlimited) {
          if (!settled[use.other]) continue;  // comes again when the other one is
          height = std::max(height, heights_[use.other] + (use.frame ? 0 : 1));
        }
        if (height >= heights_[use.from] || height > kMaxDepth) continue;
        heights_[use.from] = height;
        levels[height].push_back(use.from);
      }
    }
  }
}

void Network::find_classes() {
  std::array<bool, kSymbols + 1> begins{};
  begins[0] = begins[kMarkupBytes] = true;
  for (const SymbolEdge& edge : symbols_) begins[edge.first] = begins[edge.last + 1] = true;
  for (int symbol = 0; symbol < kSymbols; ++symbol) {
    if (begins[symbol]) representatives_.push_back(static_cast<std::uint16_t>(symbol));
    classes_[symbol] = static_cast<std::uint16_t>(representatives_.size() - 1);
  }
  class_count_ = representatives_.size();
}

std::size_t Network::bytes() const {
  return symbols_.size() * sizeof(SymbolEdge) + jumps_.size() * sizeof(Jump) +
         repetitions_.size() * sizeof(Repetition) +
         (symbol_begin_.size() + jump_begin_.size() + heights_.size()) * sizeof(std::uint32_t);
}

}  // namespace hearth::generate::grammar
