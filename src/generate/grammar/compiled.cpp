#include "generate/grammar/compiled.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <string>
#include <type_traits>
#include <unordered_map>

#include "generate/grammar/tool_frames.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

/// States and masks of one automaton; then a new one is begun.
constexpr std::size_t kAutomatonBytes = std::size_t{96} << 20;
/// The same where all grammars together hold more than GrammarCache::kMaxBytes.
constexpr std::size_t kLeastAutomatonBytes = std::size_t{8} << 20;
constexpr std::size_t kMaxAutomata = 4;  // vocabularies that one grammar serves at a time
constexpr std::size_t kForcedBytes = 256;
constexpr std::uint32_t kMaxSpaceAfterReasoning = 4;

class GrammarConstraint final : public TokenConstraint {
 public:
  GrammarConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
      : grammar_(std::move(grammar)),
        trie_(std::move(trie)),
        shared_(grammar_->automaton(trie_)),
        state_(shared_->automaton.start()) {}

  std::span<const std::uint64_t> allowed() override {
    const auto mask = use([this](Automaton& automaton) { return automaton.mask(state_, own_); });
    if (std::all_of(mask.begin(), mask.end(), [](std::uint64_t word) { return word == 0; }))
      throw Error("the model's vocabulary has no token for what the grammar asks for here",
                  "use a grammar whose characters the model can write", ExitCode::kUsage);
    return mask;
  }

  void accept(text::TokenId token) override {
    if (trie_->tokenizer().ends_generation(token)) return;
    const std::string_view bytes = trie_->bytes(token);
    const bool markup = !bytes.empty() && trie_->is_markup(token);
    if (bytes.empty()) return;
    const Automaton::StateId next =
        use([&](Automaton& automaton) { return automaton.run(state_, bytes, markup); });
    if (next != Automaton::kDead) {
      state_ = next;
    } else if (!markup) {
      throw Error("the token '" + printable(bytes) + "' is not what the grammar allows here",
                  "choose among the allowed tokens");
    }
    leave_full_automaton();
  }

  std::vector<text::TokenId> forced() override {
    const std::string text =
        use([this](Automaton& automaton) { return automaton.only_text(state_, kForcedBytes); });
    // The last token might have become another one together with what follows: it is left to the
    // model.
    if (text.size() < 2) return {};
    std::vector<text::TokenId> tokens = tokens_of(text, {});
    // SentencePiece puts a space before a text, but not behind a line's end.
    if (tokens.empty()) tokens = tokens_of(text, "\n");
    if (!tokens.empty()) tokens.pop_back();
    return tokens;
  }

  bool may_end() const override {
    const std::scoped_lock lock(shared_->mutex);
    return shared_->automaton.accepting(state_);
  }

 private:
  /// The tokens of exactly the bytes of `text`, as it is tokenized behind `before`; empty when
  /// there are none.
  std::vector<text::TokenId> tokens_of(std::string_view text, std::string before) const {
    std::vector<text::TokenId> tokens = trie_->tokenizer().encode(before.append(text), {});
    std::string bytes;
    auto first = tokens.end();  // of `text`, from the end of which it is found
    while (first != tokens.begin() && bytes.size() < text.size()) {
      const text::TokenId token = *--first;
      if (trie_->bytes(token).empty() || trie_->is_markup(token)) return {};
      bytes.insert(0, trie_->bytes(token));
    }
    if (bytes != text) return {};
    tokens.erase(tokens.begin(), first);
    return tokens;
  }

  /// What `step` gives for the automaton. One that was too much for it is nobody's any more: what
  /// was learned in vain is not kept.
  template <class Step>
  std::invoke_result_t<Step, Automaton&> use(Step step) const {
    try {
      const std::scoped_lock lock(shared_->mutex);
      const auto result = step(shared_->automaton);
      shared_->held.set(shared_->automaton.bytes());
      return result;
    } catch (...) {
      grammar_->forget(*shared_);
      throw;
    }
  }

  void leave_full_automaton() {
    const std::size_t limit =
        HeldBytes::of_all() > GrammarCache::kMaxBytes ? kLeastAutomatonBytes : kAutomatonBytes;
    {
      const std::scoped_lock lock(shared_->mutex);
      if (shared_->automaton.bytes() < limit) return;
    }
    std::shared_ptr<SharedAutomaton> next = grammar_->automaton(trie_, shared_.get());
    if (next == shared_) return;
    const std::scoped_lock both(shared_->mutex, next->mutex);
    state_ = shared_->automaton.move_to(next->automaton, state_);
    std::swap(shared_, next);
    // `next`, the old one, goes when its last user has left, after the locks.
  }

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<SharedAutomaton> shared_;
  Automaton::StateId state_;
  std::vector<std::uint64_t> own_;
};

std::atomic<std::size_t>& bytes_of_all() {
  static std::atomic<std::size_t> bytes{0};
  return bytes;
}

/// Whole texts may cost more than tokens.
Automaton::StateId run_text(Automaton& automaton, std::string_view text) {
  Automaton::StateId state = automaton.start();
  for (std::size_t i = 0; i < text.size(); ++i)
    state = automaton.run(state, text.substr(i, 1), /*markup=*/false);
  return state;
}

}  // namespace

void HeldBytes::set(std::size_t bytes) {
  bytes_of_all() += bytes - bytes_;  // modulo 2^64 where it became less
  bytes_ = bytes;
}

std::size_t HeldBytes::of_all() { return bytes_of_all(); }

void Grammar::forget(const SharedAutomaton& automaton) const {
  const std::scoped_lock lock(mutex_);
  std::erase_if(automata_, [&](const auto& known) { return known.get() == &automaton; });
}

std::shared_ptr<SharedAutomaton> Grammar::automaton(const std::shared_ptr<const TokenTrie>& trie,
                                                    const SharedAutomaton* full) const {
  const std::scoped_lock lock(mutex_);
  std::erase_if(automata_, [&](const auto& known) { return known.get() == full; });
  for (const std::shared_ptr<SharedAutomaton>& known : automata_) {
    if (known->trie == trie) return known;
  }
  if (automata_.size() == kMaxAutomata) automata_.erase(automata_.begin());
  automata_.push_back(std::make_shared<SharedAutomaton>(network_, trie));
  return automata_.back();
}

GrammarSize Grammar::size() const {
  const std::scoped_lock lock(mutex_);
  GrammarSize size;
  size.nodes = network_.size();
  size.bytes = network_.bytes();
  for (const std::shared_ptr<SharedAutomaton>& known : automata_) {
    const std::scoped_lock automaton_lock(known->mutex);
    size.states += known->automaton.states();
    size.bytes += known->automaton.bytes();
  }
  return size;
}

std::shared_ptr<const Grammar> finish(Syntax syntax, const Options& options,
                                      const std::vector<ReasoningEnd>& ends) {
  if (options.frame != text::ReplyFrame::kPlain)
    syntax.set_root(framed_answer(syntax, options.frame, syntax.root()));
  if (options.reasoning && options.reasoning->state != text::ReasoningState::kClosed) {
    const Reasoning& reasoning = *options.reasoning;
    const Expression constrained = shared(syntax, syntax.root());
    const Expression space = syntax.repeat(
        syntax.one_of({{U'\n', U'\n'}, {U'\r', U'\r'}, {U' ', U' '}}), 0, kMaxSpaceAfterReasoning);
    const Expression frame = syntax.optional(syntax.markup(reasoning.frame_after));
    const Expression answer = shared(syntax, syntax.sequence({space, frame, constrained}));
    std::vector<std::string> markers{reasoning.markers.close};
    std::vector<Expression> rests{answer};
    for (const ReasoningEnd& end : ends) {
      markers.push_back(end.marker);
      rests.push_back(end.rest);
    }
    for (const std::string& stop : reasoning.stops) {
      markers.push_back(stop);
      rests.push_back(syntax.never());
    }
    Expression thought = syntax.until(std::move(markers), std::move(rests), false);
    if (reasoning.state == text::ReasoningState::kNotOpened) {
      // Some models say that they do not think with the closing marker alone.
      thought = syntax.choice(
          {constrained, syntax.sequence({space, syntax.markup(reasoning.markers.open), thought}),
           syntax.sequence({space, syntax.markup(reasoning.markers.close), answer})});
    }
    syntax.set_root(thought);
  }
  return std::make_shared<const Grammar>(syntax);
}

std::optional<Reasoning> reasoning_of(const text::ChatFormat& format, std::string_view prompt) {
  std::size_t index = 0;
  const text::ReasoningState state = text::reasoning_state(format, prompt, &index);
  if (state == text::ReasoningState::kClosed) return std::nullopt;
  if (state == text::ReasoningState::kNotOpened) {
    const auto expected =
        std::find_if(format.reasoning.begin(), format.reasoning.end(),
                     [](const text::ReasoningMarkers& markers) { return markers.expected; });
    if (expected == format.reasoning.end()) return std::nullopt;
    index = static_cast<std::size_t>(expected - format.reasoning.begin());
  }
  return Reasoning{format.reasoning[index], state, format.after_reasoning, format.stops};
}

Options options_for(const text::ChatFormat& format, std::string_view prompt) {
  return {.reasoning = reasoning_of(format, prompt), .frame = format.frame};
}

std::unique_ptr<TokenConstraint> constrain(std::shared_ptr<const Grammar> grammar,
                                           std::shared_ptr<const TokenTrie> trie) {
  return std::make_unique<GrammarConstraint>(std::move(grammar), std::move(trie));
}

std::string key_of(const Options& options) {
  std::string key;
  const auto add = [&key](const std::string& part) { (key += part) += '\0'; };
  const auto add_number = [&add](auto number) { add(std::to_string(static_cast<int>(number))); };
  add_number(options.white_space);
  add_number(options.frame);
  add_number(options.reasoning.has_value());
  if (!options.reasoning) return key;
  const Reasoning& reasoning = *options.reasoning;
  add_number(reasoning.state);
  add(reasoning.markers.open);
  add(reasoning.markers.close);
  add(reasoning.frame_after);
  add_number(reasoning.stops.size());
  for (const std::string& stop : reasoning.stops) add(stop);
  return key;
}

bool matches(const Grammar& grammar, std::string_view text) {
  Automaton automaton(grammar.network(), nullptr);
  return automaton.accepting(run_text(automaton, text));
}

bool matches_prefix(const Grammar& grammar, std::string_view text) {
  Automaton automaton(grammar.network(), nullptr);
  return run_text(automaton, text) != Automaton::kDead;
}

GrammarSize size(const Grammar& grammar) { return grammar.size(); }

struct GrammarCache::Impl {
  std::mutex mutex;
  std::size_t capacity, max_bytes;
  std::list<std::pair<std::string, std::shared_ptr<const Grammar>>> entries;  // latest first
  std::unordered_map<std::string_view, decltype(entries)::iterator> by_key;

  /// Lets go of what is least recently used, and by nobody now, while all grammars hold too much.
  void make_room() {
    for (auto entry = entries.end(); HeldBytes::of_all() > max_bytes && entry != entries.begin();) {
      --entry;
      if (entry->second.use_count() > 1) continue;
      by_key.erase(entry->first);
      entry = entries.erase(entry);
    }
  }
};

GrammarCache::GrammarCache(std::size_t capacity, std::size_t max_bytes)
    : impl_(std::make_unique<Impl>()) {
  impl_->capacity = std::max<std::size_t>(1, capacity);
  impl_->max_bytes = max_bytes;
}
GrammarCache::~GrammarCache() = default;

std::shared_ptr<const Grammar> GrammarCache::find(const std::string& key) {
  const std::scoped_lock lock(impl_->mutex);
  const auto found = impl_->by_key.find(key);
  if (found == impl_->by_key.end()) return nullptr;
  impl_->entries.splice(impl_->entries.begin(), impl_->entries, found->second);
  auto grammar = found->second->second;
  impl_->make_room();
  return grammar;
}

void GrammarCache::put(const std::string& key, std::shared_ptr<const Grammar> grammar) {
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->by_key.contains(key)) return;
  if (impl_->entries.size() == impl_->capacity) {
    impl_->by_key.erase(impl_->entries.back().first);
    impl_->entries.pop_back();
  }
  impl_->make_room();
  impl_->entries.emplace_front(key, std::move(grammar));
  impl_->by_key.emplace(impl_->entries.front().first, impl_->entries.begin());
}

}  // namespace hearth::generate::grammar
