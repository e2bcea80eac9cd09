#include "generate/grammar/automaton.h"

#include <algorithm>

#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

/// Places in one state. A state of a very ambiguous grammar loses the others: what it keeps are
/// right continuations, each of which can be completed by itself.
constexpr std::size_t kMaxItems = 4000;
constexpr std::size_t kMaxSeen = 200'000;
/// What a mask, a token or a forced text may cost, in edges that are looked at, of a nanosecond or
/// two each: everybody whom the model serves waits meanwhile, and nobody for longer. Ordinary
/// grammars need half a million at most, once.
constexpr std::size_t kMaxEffort = 40'000'000;
/// In the same unit: each place that is followed and each jump from it; a state, besides its row.
constexpr std::size_t kPlaceEffort = 32, kStateEffort = 64;
/// The absolute limit; Grammar starts afresh long before.
constexpr std::size_t kMaxBytes = std::size_t{512} << 20;
/// A walk of fewer nodes costs less than remembering its result.
constexpr std::size_t kCheapWalk = 3000;

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15U + (hash << 6) + (hash >> 2);
  return hash * 0xFF51AFD7ED558CCDU;
}

/// UTF-8 after a lead byte (Unicode 15, table 3-7): which bytes may come, and how many then follow.
struct Utf8State {
  std::uint8_t first, last;  // of the next byte
  int after;                 // the state after it
};
enum Utf8 : int { kBoundary, kLast, kTwoMore, kThreeMore, kAfterE0, kAfterEd, kAfterF0, kAfterF4 };
constexpr Utf8State kContinuations[] = {
    {0, 0, 0},           {0x80, 0xBF, kBoundary}, {0x80, 0xBF, kLast},    {0x80, 0xBF, kTwoMore},
    {0xA0, 0xBF, kLast}, {0x80, 0x9F, kLast},     {0x90, 0xBF, kTwoMore}, {0x80, 0x8F, kTwoMore}};
constexpr struct {
  std::uint8_t first, last;
  int after;
} kLeads[] = {{0x20, 0x21, kBoundary},  {0x23, 0x5B, kBoundary}, {0x5D, 0x7F, kBoundary},
              {0xC2, 0xDF, kLast},      {0xE0, 0xE0, kAfterE0},  {0xE1, 0xEC, kTwoMore},
              {0xED, 0xED, kAfterEd},   {0xEE, 0xEF, kTwoMore},  {0xF0, 0xF0, kAfterF0},
              {0xF1, 0xF3, kThreeMore}, {0xF4, 0xF4, kAfterF4}};

/// Into an ascending list. Most numbers are larger than all before.
void insert_sorted(std::vector<std::uint32_t>& list, std::uint32_t number) {
  list.insert(std::upper_bound(list.begin(), list.end(), number), number);
}

[[noreturn]] void too_complex() {
  throw Error(
      "the grammar is too complex: it takes too long or too much memory to follow",
      "simplify it: factor out alternatives that begin alike, and let fewer of them contain "
      "the rule that they are part of",
      ExitCode::kUsage);
}

}  // namespace

bool PlaceSet::insert(std::uint64_t key) {
  if (size_ * 2 >= slots_.size()) grow();
  for (std::size_t at = mix(0, key) & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    Slot& slot = slots_[at];
    if (slot.round != round_) {
      slot = {key, round_};
      ++size_;
      return true;
    }
    if (slot.key == key) return false;
  }
}

void PlaceSet::clear() {
  size_ = 0;
  if (++round_ != 0) return;
  std::fill(slots_.begin(), slots_.end(), Slot{});
  round_ = 1;
}

void PlaceSet::grow() {
  std::vector<Slot> old(std::max<std::size_t>(64, slots_.size() * 2));
  old.swap(slots_);
  size_ = 0;
  for (const Slot& slot : old) {
    if (slot.round == round_) insert(slot.key);
  }
}

Automaton::Automaton(const Network& network, const TokenTrie* trie)
    : network_(network), trie_(trie), classes_(network.class_count()) {
  frames_.push_back({});
  states_.push_back({});
  rows_.assign(classes_, kDead);
  add(network.start(), kNoFrame);
  start_ = settle();
}

std::uint32_t Automaton::push(std::uint32_t parent, std::uint32_t place, std::uint32_t count) {
  const std::uint64_t hash = mix(mix(parent, place), count);
  const auto [begin, end] = frames_by_hash_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    const Frame& frame = frames_[at->second];
    if (frame.parent == parent && frame.place == place && frame.count == count) return at->second;
  }
  const auto id = static_cast<std::uint32_t>(frames_.size());
  frames_.push_back({parent, place, count, frames_[parent].depth + 1});
  frames_by_hash_.emplace(hash, id);
  return id;
}

void Automaton::add(Network::NodeId node, std::uint32_t frame) {
  const std::uint32_t height = network_.height(node);
  if (height == kUnlimited || frames_[frame].depth + height > kMaxDepth) return;
  if (!seen_.insert((std::uint64_t{node} << 32) | frame)) return;
  work_.push_back({node, frame});
}

void Automaton::end_frame(std::uint32_t id) {
  if (id == kNoFrame) {
    accepts_ = true;
    return;
  }
  const Frame frame = frames_[id];
  if (frame.count == Frame::kCall) return add(frame.place, frame.parent);
  const Network::Repetition& repeat = network_.repetition(frame.place);
  const std::uint32_t count = frame.count + 1;
  if (count >= repeat.minimum) add(repeat.next, frame.parent);
  // An empty round is one too many.
  if (repeat.nullable &&
      std::binary_search(fresh_repetitions_.begin(), fresh_repetitions_.end(), id))
    return;
  if (count >= repeat.maximum) return;
  const bool counts = repeat.maximum != kUnlimited || count < repeat.minimum;
  const std::uint32_t next = push(frame.parent, frame.place, counts ? count : repeat.minimum);
  if (repeat.nullable) insert_sorted(fresh_repetitions_, next);
  add(repeat.body, next);
}

void Automaton::follow(const Item& item) {
  if (item.node == Network::kEnd) return end_frame(item.frame);
  if (!network_.symbols(item.node).empty()) found_.push_back(item);
  for (const Network::Jump& jump : network_.jumps(item.node)) {
    switch (jump.kind) {
      case Network::Jump::Kind::kGo:
        add(jump.target, item.frame);
        break;
      case Network::Jump::Kind::kCall:
        // Ways that cannot return or begin are not even pushed.
        if (network_.height(jump.next) == kUnlimited) break;
        if (frames_[item.frame].depth + network_.height(jump.next) > kMaxDepth) break;
        add(jump.target, push(item.frame, jump.next, Frame::kCall));
        break;
      case Network::Jump::Kind::kRepeat: {
        const Network::Repetition& repeat = network_.repetition(jump.target);
        const std::uint32_t after = network_.height(repeat.next);
        if (after == kUnlimited || frames_[item.frame].depth + after > kMaxDepth) break;
        if (repeat.minimum == 0) add(repeat.next, item.frame);
        const std::uint32_t frame = push(item.frame, jump.target, 0);
        if (repeat.nullable) insert_sorted(fresh_repetitions_, frame);
        add(repeat.body, frame);
        break;
      }
    }
  }
}

void Automaton::spend(std::size_t effort) {
  effort_ += effort;
  if (effort_ > kMaxEffort) too_complex();
}

Automaton::StateId Automaton::settle() {
  // Also when it fails: others go on with this automaton.
  struct Emptied {
    Automaton& automaton;
    ~Emptied() {
      automaton.work_.clear();
      automaton.found_.clear();
      automaton.seen_.clear();
      automaton.fresh_repetitions_.clear();
      automaton.accepts_ = false;
    }
  } const emptied{*this};
  while (!work_.empty() && found_.size() < kMaxItems && seen_.size() < kMaxSeen) {
    const Item item = work_.back();
    work_.pop_back();
    spend(kPlaceEffort * (1 + network_.jumps(item.node).size()));
    follow(item);
  }
  std::sort(found_.begin(), found_.end());
  return found_.empty() && !accepts_ ? kDead : intern(accepts_);
}

Automaton::StateId Automaton::intern(bool accepting) {
  std::uint64_t hash = accepting ? 1 : 0;
  for (const Item& item : found_) hash = mix(hash, (std::uint64_t{item.node} << 32) | item.frame);
  const auto [begin, end] = states_by_hash_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    const State& state = states_[at->second];
    if (state.accepting == accepting && state.count == found_.size() &&
        std::equal(found_.begin(), found_.end(), items_.begin() + state.first))
      return at->second;
  }
  check_size();
  spend(kStateEffort + classes_);
  const auto id = static_cast<StateId>(states_.size());
  State state;
  state.first = static_cast<std::uint32_t>(items_.size());
  state.count = static_cast<std::uint32_t>(found_.size());
  state.accepting = accepting;
  items_.insert(items_.end(), found_.begin(), found_.end());
  states_.push_back(state);
  rows_.resize(rows_.size() + classes_, kUnknown);
  states_by_hash_.emplace(hash, id);
  return id;
}

void Automaton::check_size() const {
  if (bytes() > kMaxBytes) too_complex();
}

Automaton::StateId Automaton::find_step(StateId state, std::uint16_t symbol_class) {
  const std::uint16_t symbol = network_.symbol_of(symbol_class);
  const State from = states_[state];
  for (std::uint32_t i = 0; i < from.count; ++i) {
    const Item item = items_[from.first + i];
    effort_ += network_.symbols(item.node).size();  // too much is noticed in settle()
    for (const Network::SymbolEdge& edge : network_.symbols(item.node)) {
      if (edge.first <= symbol && symbol <= edge.last) add(edge.target, item.frame);
    }
  }
  const StateId next = settle();
  rows_[state * classes_ + symbol_class] = next;
  return next;
}

Automaton::StateId Automaton::run(StateId state, std::string_view bytes, bool markup) {
  effort_ = 0;
  for (const char c : bytes) {
    if (state == kDead) break;
    state = step(state, static_cast<unsigned char>(c) + (markup ? kMarkupBytes : 0));
  }
  return state;
}

bool Automaton::easy_character(StateId state, int utf8_state, int length) {
  if (state == kDead) return false;
  if (utf8_state == kBoundary) return easy_ahead(state, length - 1);
  const Utf8State& now = kContinuations[utf8_state];
  int last_class = -1;
  StateId last_next = kDead;
  for (int byte = now.first; byte <= now.last; ++byte) {
    const int byte_class = network_.classes()[byte];
    if (byte_class == last_class) continue;
    last_class = byte_class;
    spend(1);
    const StateId next = step(state, byte);
    if (next == last_next && next != kDead) continue;
    if (!easy_character(next, now.after, length)) return false;
    last_next = next;
  }
  return true;
}

/// Whether any `length` easy characters may come.
bool Automaton::easy_ahead(StateId state, int length) {
  if (length <= states_[state].easy) return true;
  if (length >= states_[state].not_easy) return false;
  int last_class = -1;
  bool all = true;
  for (const auto& lead : kLeads) {
    for (int byte = lead.first; all && byte <= lead.last; ++byte) {
      const int byte_class = network_.classes()[byte];
      // A class may span leads of different lengths only when all of them are dead.
      if (byte_class == last_class && lead.after == kBoundary) continue;
      last_class = byte_class;
      spend(1);
      all = easy_character(step(state, byte), lead.after, length);
    }
  }
  if (all) {
    states_[state].easy = static_cast<std::uint8_t>(length);
  } else {
    states_[state].not_easy = static_cast<std::uint8_t>(length);
  }
  return all;
}

void Automaton::walk(StateId state, const TokenTrie::Walk& nodes, int symbol_offset,
                     std::span<std::uint64_t> bits, std::size_t& visited) {
  walk_states_.resize(trie_->max_depth() + 1);
  walk_states_[0] = state;
  for (std::size_t at = 0; at < nodes.size(); ++visited) {
    const TokenTrie::Node& node = nodes[at];
    const StateId next = step(walk_states_[node.depth - 1U], node.byte + symbol_offset);
    if (next == kDead) {
      at = node.skip;
      continue;
    }
    walk_states_[node.depth] = next;
    for (std::uint32_t token = node.token; token != TokenTrie::kNoToken; token = trie_->same(token))
      bits[token / 64] |= std::uint64_t{1} << (token % 64);
    ++at;
  }
}

std::span<const std::uint64_t> Automaton::mask(StateId state, std::vector<std::uint64_t>& own) {
  effort_ = 0;
  if (states_[state].mask >= 0) return masks_[static_cast<std::size_t>(states_[state].mask)];
  own.assign(trie_->words(), 0);
  if (state == kDead) return own;
  // A request's other choices are in the same state: it is tried once.
  if (states_[state].mask == kTooMuch) too_complex();
  states_[state].mask = kTooMuch;
  std::size_t visited = 0;
  if (easy_ahead(state, kEasyLength)) {
    std::copy(trie_->easy().begin(), trie_->easy().end(), own.begin());
    walk(state, trie_->hard(), 0, own, visited);
  } else {
    walk(state, trie_->plain(), 0, own, visited);
  }
  walk(state, trie_->markup(), kMarkupBytes, own, visited);
  if (states_[state].accepting) {
    for (const text::TokenId end : trie_->ends())
      own[static_cast<std::size_t>(end) / 64] |= std::uint64_t{1} << (end % 64);
  }
  states_[state].mask = kNotKept;
  if (visited < kCheapWalk) return own;
  states_[state].mask = static_cast<std::int32_t>(masks_.size());
  masks_.push_back(own);
  return masks_.back();
}

int Automaton::only_symbol(StateId state) const {
  const State& now = states_[state];
  int only = -1;
  for (std::uint32_t i = 0; i < now.count; ++i) {
    for (const Network::SymbolEdge& edge : network_.symbols(items_[now.first + i].node)) {
      // A way that cannot be completed within the limits of depth is none, but may look like one:
      // then there seems to be a choice, and nothing is forced.
      if (edge.first != edge.last || edge.first >= kMarkupBytes) return -1;
      if (only >= 0 && only != edge.first) return -1;
      only = edge.first;
    }
  }
  return only;
}

std::string Automaton::only_text(StateId state, std::size_t limit) {
  effort_ = 0;
  std::string text;
  while (text.size() < limit && !states_[state].accepting) {
    const int symbol = only_symbol(state);
    if (symbol < 0) break;
    const StateId next = step(state, symbol);
    if (next == kDead) break;
    text += static_cast<char>(symbol);
    state = next;
  }
  return text;
}

Automaton::StateId Automaton::move_to(Automaton& other, StateId state) const {
  if (state == kDead) return kDead;
  other.effort_ = 0;
  const State& from = states_[state];
  for (std::uint32_t i = 0; i < from.count; ++i) {
    const Item& item = items_[from.first + i];
    std::vector<std::uint32_t> stack;
    for (std::uint32_t frame = item.frame; frame != kNoFrame; frame = frames_[frame].parent)
      stack.push_back(frame);
    std::uint32_t moved = kNoFrame;
    for (auto frame = stack.rbegin(); frame != stack.rend(); ++frame)
      moved = other.push(moved, frames_[*frame].place, frames_[*frame].count);
    other.found_.push_back({item.node, moved});
  }
  other.accepts_ = from.accepting;
  return other.settle();
}

std::size_t Automaton::bytes() const {
  constexpr std::size_t kHashEntry = 48;
  return rows_.size() * sizeof(StateId) + items_.size() * sizeof(Item) +
         states_.size() * (sizeof(State) + kHashEntry) +
         frames_.size() * (sizeof(Frame) + kHashEntry) +
         masks_.size() * (trie_ != nullptr ? trie_->words() * 8 : 0);
}

}  // namespace hearth::generate::grammar
