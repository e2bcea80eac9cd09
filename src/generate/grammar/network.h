// A Syntax as a network of nodes with edges over symbols: what runs. Rules are calls, counted
// repetitions are counters on the stack, everything else is edges.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// Symbols are bytes of ordinary tokens, 0 to 255, and bytes of tokens that are markup of the
/// conversation, 256 to 511. Only markers and free text can be written with the latter.
inline constexpr int kSymbols = 512;
inline constexpr int kMarkupBytes = 256;

/// Frames on the stack of rules and repetitions: deeper texts are not possible.
inline constexpr std::uint32_t kMaxDepth = 600;

class Network {
 public:
  using NodeId = std::uint32_t;
  /// The end of a rule, of the body of a repetition, or of the text: what is on the stack says.
  static constexpr NodeId kEnd = 0;

  struct SymbolEdge {
    std::uint16_t first = 0, last = 0;
    NodeId target = 0;
  };
  /// A move without a symbol.
  struct Jump {
    enum class Kind : std::uint8_t {
      kGo,      ///< to `target`
      kCall,    ///< to `target`; at its end to `next`
      kRepeat,  ///< into repetition `target`
    };
    Kind kind = Kind::kGo;
    std::uint32_t target = 0;
    NodeId next = 0;
  };
  struct Repetition {
    NodeId body = 0, next = 0;
    std::uint32_t minimum = 0, maximum = 0;
    bool nullable = false;  ///< the body can be empty; `minimum` is then 0
  };

  /// Throws Error when no text at all fulfils the grammar within the limits of depth, or it is too
  /// large.
  explicit Network(const Syntax& syntax);

  [[nodiscard]] NodeId start() const { return start_; }
  [[nodiscard]] std::size_t size() const { return symbol_begin_.size() - 1; }
  [[nodiscard]] std::span<const SymbolEdge> symbols(NodeId node) const {
    return std::span(symbols_).subspan(symbol_begin_[node],
                                       symbol_begin_[node + 1] - symbol_begin_[node]);
  }
  [[nodiscard]] std::span<const Jump> jumps(NodeId node) const {
    return std::span(jumps_).subspan(jump_begin_[node], jump_begin_[node + 1] - jump_begin_[node]);
  }
  [[nodiscard]] const Repetition& repetition(std::uint32_t index) const {
    return repetitions_[index];
  }
  /// Frames that must at least fit on the stack to get from here to the end of the rule or body:
  /// where they do not fit, the way is closed. kUnlimited: there is no way.
  [[nodiscard]] std::uint32_t height(NodeId node) const { return heights_[node]; }
  /// Symbols that no edge tells apart have one class.
  [[nodiscard]] const std::array<std::uint16_t, kSymbols>& classes() const { return classes_; }
  [[nodiscard]] std::size_t class_count() const { return class_count_; }
  /// A symbol of a class.
  [[nodiscard]] std::uint16_t symbol_of(std::size_t symbol_class) const {
    return representatives_[symbol_class];
  }
  [[nodiscard]] std::size_t bytes() const;

 private:
  friend class NetworkBuilder;
  void find_heights();
  void find_classes();

  NodeId start_ = 0;
  std::vector<std::uint32_t> symbol_begin_, jump_begin_;
  std::vector<SymbolEdge> symbols_;
  std::vector<Jump> jumps_;
  std::vector<Repetition> repetitions_;
  std::vector<std::uint32_t> heights_;
  std::array<std::uint16_t, kSymbols> classes_{};
  std::vector<std::uint16_t> representatives_;
  std::size_t class_count_ = 0;
};

}  // namespace hearth::generate::grammar
