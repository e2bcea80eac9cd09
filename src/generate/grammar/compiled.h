// Grammar itself: the network of a grammar, and the automata that ran it so far.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "generate/grammar/automaton.h"
#include "generate/grammar/grammar.h"
#include "generate/grammar/network.h"
#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// What something holds, as a part of what all grammars of this process hold.
class HeldBytes {
 public:
  HeldBytes() = default;
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;
  ~HeldBytes() { set(0); }
  void set(std::size_t bytes);
  [[nodiscard]] static std::size_t of_all();

 private:
  std::size_t bytes_ = 0;
};

/// An automaton and who may use it now.
struct SharedAutomaton {
  SharedAutomaton(const Network& network, std::shared_ptr<const TokenTrie> of)
      : trie(std::move(of)), automaton(network, trie.get()) {}
  std::mutex mutex;
  std::shared_ptr<const TokenTrie> trie;
  Automaton automaton;  ///< guarded by `mutex`
  HeldBytes held;       ///< guarded by `mutex`
};

class Grammar {
 public:
  explicit Grammar(const Syntax& syntax) : network_(syntax) { held_.set(network_.bytes()); }

  [[nodiscard]] const Network& network() const { return network_; }
  /// The automaton for a vocabulary: the one in use, or a new one when that has grown too large
  /// (`full`: for its user; then it is not given again).
  [[nodiscard]] std::shared_ptr<SharedAutomaton> automaton(
      const std::shared_ptr<const TokenTrie>& trie, const SharedAutomaton* full = nullptr) const;
  /// Gives `automaton` to nobody any more.
  void forget(const SharedAutomaton& automaton) const;
  [[nodiscard]] GrammarSize size() const;

 private:
  Network network_;
  HeldBytes held_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<SharedAutomaton>> automata_;  // guarded; the latest last
};

/// A marker that ends the reasoning as its closing one does, and what comes behind it.
struct ReasoningEnd {
  std::string marker;
  Expression rest = 0;
};

/// `syntax` in its frame and behind the reasoning, compiled.
[[nodiscard]] std::shared_ptr<const Grammar> finish(Syntax syntax, const Options& options,
                                                    const std::vector<ReasoningEnd>& ends = {});

}  // namespace hearth::generate::grammar
