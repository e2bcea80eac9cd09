// The machine that runs a Network: its states are sets of places in the network, each with a stack;
// they are found when they are first needed, and kept, so that most steps are one look-up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "generate/grammar/network.h"
#include "generate/grammar/token_trie.h"

namespace hearth::generate::grammar {

/// A set of numbers that is emptied at no cost.
class PlaceSet {
 public:
  /// False when it was there.
  bool insert(std::uint64_t key);
  void clear();
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t round = 0;
  };
  void grow();
  std::vector<Slot> slots_;
  std::uint32_t round_ = 1;
  std::size_t size_ = 0;
};

/// Not thread-safe: Grammar guards it.
class Automaton {
 public:
  using StateId = std::uint32_t;
  /// Nothing can come any more.
  static constexpr StateId kDead = 0;

  /// Both must outlive it; `trie` may be null when no masks are asked for.
  Automaton(const Network& network, const TokenTrie* trie);

  [[nodiscard]] StateId start() const { return start_; }
  [[nodiscard]] bool accepting(StateId state) const { return states_[state].accepting; }
  /// Throws Error, as all that steps does, when the grammar is so ambiguous, or tells so many texts
  /// apart, that it exceeds the limits of effort and memory. The automaton stays usable.
  [[nodiscard]] StateId step(StateId state, int symbol) {
    const StateId next = rows_[state * classes_ + network_.classes()[symbol]];
    return next != kUnknown ? next : find_step(state, network_.classes()[symbol]);
  }
  /// Through all bytes of a token, as markup or not.
  [[nodiscard]] StateId run(StateId state, std::string_view bytes, bool markup);

  /// The tokens that may come next, one bit each; the ends of generation where the text may end.
  /// Kept for a while when it was expensive; `own` is room for the others. Valid until the next
  /// call with the same `own`.
  [[nodiscard]] std::span<const std::uint64_t> mask(StateId state, std::vector<std::uint64_t>& own);

  /// Text that must come next, as far as it is the only one; at most `limit` bytes.
  [[nodiscard]] std::string only_text(StateId state, std::size_t limit);

  /// The same place in `other`, a younger automaton of the same network.
  [[nodiscard]] StateId move_to(Automaton& other, StateId state) const;

  [[nodiscard]] std::size_t states() const { return states_.size(); }
  [[nodiscard]] std::size_t bytes() const;

 private:
  static constexpr StateId kUnknown = UINT32_MAX;
  static constexpr std::uint32_t kNoFrame = 0;
  static constexpr std::int32_t kNotKept = -1, kTooMuch = -2;  // instead of a mask

  /// One frame of a stack; stacks share their lower parts. Equal stacks are one.
  struct Frame {
    std::uint32_t parent = 0;
    std::uint32_t place = 0;  // of a call: where it returns; of a repetition: its index
    std::uint32_t count = kCall;
    std::uint32_t depth = 0;
    static constexpr std::uint32_t kCall = UINT32_MAX;
  };
  struct Item {
    Network::NodeId node = 0;
    std::uint32_t frame = 0;
    auto operator<=>(const Item&) const = default;
  };
  struct State {
    std::uint32_t first = 0, count = 0;  // in items_
    bool accepting = false;
    std::uint8_t easy = 0;         // so many easy code points are known to be possible
    std::uint8_t not_easy = 255;   // so many are known not to be
    std::int32_t mask = kNotKept;  // in masks_
  };

  std::uint32_t push(std::uint32_t parent, std::uint32_t place, std::uint32_t count);
  /// The only byte that may come next; -1 when there are several.
  [[nodiscard]] int only_symbol(StateId state) const;
  StateId find_step(StateId state, std::uint16_t symbol_class);
  void add(Network::NodeId node, std::uint32_t frame);
  void follow(const Item& item);
  void end_frame(std::uint32_t frame);
  StateId settle();
  StateId intern(bool accepting);
  void check_size() const;
  /// Throws Error when there was enough.
  void spend(std::size_t effort);
  bool easy_ahead(StateId state, int length);
  bool easy_character(StateId state, int utf8_state, int length);
  void walk(StateId state, const TokenTrie::Walk& nodes, int symbol_offset,
            std::span<std::uint64_t> bits, std::size_t& visited);

  const Network& network_;
  const TokenTrie* trie_;
  std::size_t classes_;
  StateId start_ = kDead;
  std::vector<State> states_;
  std::vector<Item> items_;
  std::vector<StateId> rows_;
  std::unordered_multimap<std::uint64_t, StateId> states_by_hash_;
  std::vector<Frame> frames_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> frames_by_hash_;
  std::vector<std::vector<std::uint64_t>> masks_;
  std::vector<StateId> walk_states_;

  // While a state is being found: the places to follow, those that were seen, those that have
  // symbols.
  std::vector<Item> work_, found_;
  std::size_t effort_ = 0;  // since a mask, a token or a text was asked for
  PlaceSet seen_;
  std::vector<std::uint32_t> fresh_repetitions_;  // frames without a symbol in them yet
  bool accepts_ = false;
};

}  // namespace hearth::generate::grammar
