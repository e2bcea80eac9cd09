// Structured output: what a reply may be, compiled from a JSON Schema, a regular expression, a
// grammar or the tools of a request, and enforced token by token. See docs/structured-output.md.
//
//   auto trie = build_token_trie(tokenizer);               // once per tokenizer
//   auto grammar = compile_json_schema(schema);            // once per schema; shared by requests
//   request.constraint = constrain(grammar, trie);         // once per generation
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/token_constraint.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace hearth::generate::grammar {

/// A compiled grammar: immutable, thread-safe, independent of any vocabulary. What is learned of it
/// while it is used (states, token masks) is kept with it and shared by all its generations.
class Grammar;

/// The vocabulary of a tokenizer as a trie over bytes: immutable, thread-safe.
class TokenTrie;

/// White space between the tokens of JSON. Never unbounded, so that no model can run on in it.
enum class WhiteSpace : std::uint8_t {
  kNone,      ///< compact: {"a":1,"b":[1,2]}
  kFlexible,  ///< none, one space, or a new line with up to 24 spaces or tabs, at every place where
              ///< people put them
};

/// Reasoning that the model writes before what is constrained.
struct Reasoning {
  text::ReasoningMarkers markers;
  /// kNotOpened: the model may open it first, or go straight to the answer. kOpened: it is in it.
  /// kClosed: none comes. What follows it is constrained; nothing stands in between.
  text::ReasoningState state = text::ReasoningState::kNotOpened;
  std::string frame_after = {};         ///< text::ChatFormat::after_reasoning
  std::vector<std::string> stops = {};  ///< texts that would end the reply inside the reasoning
};

struct Options {
  WhiteSpace white_space = WhiteSpace::kFlexible;
  /// Free text up to its closing marker and some white space come before the constrained text.
  std::optional<Reasoning> reasoning = {};
  /// Where the answer stands in the reply. Tool calls bring their own frame.
  text::ReplyFrame frame = text::ReplyFrame::kPlain;
};

/// The reasoning of a reply to `prompt` (text::reasoning_state); nothing when the prompt closed it,
/// or did not open it in a family that does not reason.
[[nodiscard]] std::optional<Reasoning> reasoning_of(const text::ChatFormat& format,
                                                    std::string_view prompt);
/// What a constrained reply to `prompt` is like besides its constraint.
[[nodiscard]] Options options_for(const text::ChatFormat& format, std::string_view prompt);

/// Equal for options that compile a source to the same grammar, different for others: the
/// beginning of a key for GrammarCache.
[[nodiscard]] std::string key_of(const Options& options);

/// All compilers throw Error when the source is broken, asks for what cannot be enforced (the
/// keyword is named), can never be fulfilled, or exceeds the limits of size.

/// JSON texts that are valid for `schema` (JSON Schema 2020-12; the subset is in the docs). Texts
/// are a subset of all valid ones: properties come in the order of their declaration, undeclared
/// ones only where the schema gives them a schema or declares none, numbers and white space are of
/// bounded length.
[[nodiscard]] std::shared_ptr<const Grammar> compile_json_schema(
    const nlohmann::ordered_json& schema, const Options& options = {});

/// Any JSON object.
[[nodiscard]] std::shared_ptr<const Grammar> json_object(const Options& options = {});

/// Texts that match all of `pattern`, an ECMAScript regular expression without look-around, back
/// references and word boundaries ("^" and "$" are allowed where they make sense).
[[nodiscard]] std::shared_ptr<const Grammar> compile_regex(std::string_view pattern,
                                                           const Options& options = {});

/// A grammar in GBNF ("root ::= …").
[[nodiscard]] std::shared_ptr<const Grammar> compile_gbnf(std::string_view source,
                                                          const Options& options = {});

/// A grammar in EBNF as Lark writes it ("start: …").
[[nodiscard]] std::shared_ptr<const Grammar> compile_lark(std::string_view source,
                                                          const Options& options = {});

/// GBNF or Lark's EBNF, told apart by what follows the first name: "::=", or anything else.
[[nodiscard]] std::shared_ptr<const Grammar> compile_grammar(std::string_view source,
                                                             const Options& options = {});

/// Which calls a reply must or may hold.
struct CallRules {
  /// The reply is at least one call and nothing else. False: text, in which every call that is
  /// begun is a right one.
  bool required = true;
  bool parallel = true;                ///< several calls
  std::vector<std::string> functions;  ///< only these may be called; empty: all tools
};

/// Replies with calls of `tools` (an array in OpenAI's shape, or of bare function objects) in the
/// family's own syntax, their arguments valid for the tool's "parameters" (a JSON Schema; missing:
/// no arguments). Throws Error for a format without calls, for schemas that cannot be kept to, and
/// for names in `rules` that no tool has.
[[nodiscard]] std::shared_ptr<const Grammar> for_tools(const text::ChatFormat& format,
                                                       const nlohmann::ordered_json& tools,
                                                       const CallRules& rules,
                                                       const Options& options = {});

/// Takes some 100 ms for 150,000 tokens. `tokenizer` must outlive the trie.
[[nodiscard]] std::shared_ptr<const TokenTrie> build_token_trie(const text::Tokenizer& tokenizer);

/// One generation under `grammar`, at its beginning. The constraint's allowed() throws Error when
/// the vocabulary has no token for any text that may come next; accept() throws Error for a token
/// that was not allowed.
[[nodiscard]] std::unique_ptr<TokenConstraint> constrain(std::shared_ptr<const Grammar> grammar,
                                                         std::shared_ptr<const TokenTrie> trie);

/// Whether `text` as a whole is what the grammar allows; `markup` are texts in it that stand for
/// control tokens (markers of a chat format match both as such and spelled out).
[[nodiscard]] bool matches(const Grammar& grammar, std::string_view text);
/// Whether `text` can be continued to something the grammar allows.
[[nodiscard]] bool matches_prefix(const Grammar& grammar, std::string_view text);

/// What a grammar takes, for logs and tests.
struct GrammarSize {
  std::size_t nodes = 0;   ///< of the compiled network
  std::size_t states = 0;  ///< that were met so far
  std::size_t bytes = 0;   ///< of states and masks
};
[[nodiscard]] GrammarSize size(const Grammar& grammar);

/// Compiled grammars by their source, so that requests with the same schema share one. Thread-safe;
/// the least recently used one goes first. While all grammars of the process, with what was learned
/// of them, hold more than `max_bytes`, those that nobody uses go.
class GrammarCache {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  explicit GrammarCache(std::size_t capacity = 32, std::size_t max_bytes = kMaxBytes);
  ~GrammarCache();
  GrammarCache(const GrammarCache&) = delete;
  GrammarCache& operator=(const GrammarCache&) = delete;

  /// The grammar under `key` (the kind, the options and the whole source), else what `compile`
  /// gives. `compile` may throw; nothing is kept then.
  template <class Compile>
  [[nodiscard]] std::shared_ptr<const Grammar> get(const std::string& key, Compile compile) {
    if (auto found = find(key)) return found;
    std::shared_ptr<const Grammar> made = compile();
    put(key, made);
    return made;
  }

 private:
  [[nodiscard]] std::shared_ptr<const Grammar> find(const std::string& key);
  void put(const std::string& key, std::shared_ptr<const Grammar> grammar);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::generate::grammar
