// What all dialects (OpenAI, Ollama, Anthropic) translate requests to, and replies from: plain
// data. A dialect knows JSON of the wire; nobody else does.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/session.h"
#include "text/reply_reader.h"

namespace hearth::serve {

using Json = nlohmann::ordered_json;

/// Sampling settings that a request names; the others are the model's and Hearth's defaults.
struct SamplingChanges {
  std::optional<float> temperature, top_p, min_p, typical;
  std::optional<float> repeat_penalty, frequency_penalty, presence_penalty;
  std::optional<std::int32_t> top_k, repeat_last_n, mirostat;
  std::optional<float> mirostat_tau, mirostat_eta;
  std::optional<float> dry_multiplier, dry_base, xtc_probability, xtc_threshold;
  std::optional<std::int32_t> dry_allowed_length, dry_last_n;
  std::optional<std::vector<std::string>> dry_breakers;
  std::optional<std::uint64_t> seed;
  std::vector<std::pair<std::int32_t, float>> logit_bias;
  std::vector<std::pair<std::string, float>> text_bias;  ///< of every token of a text
};

enum class ToolMode : std::uint8_t { kAuto, kNone, kRequired };

struct ToolChoice {
  ToolMode mode = ToolMode::kAuto;
  std::vector<std::string> functions;  ///< only these may be called; empty: all
  bool parallel = true;
};

/// How the answer's text is constrained.
struct OutputFormat {
  enum class Kind : std::uint8_t { kText, kJsonObject, kJsonSchema, kGrammar, kRegex };
  Kind kind = Kind::kText;
  Json schema;                            ///< kJsonSchema
  std::string grammar;                    ///< kGrammar (GBNF or Lark-like), kRegex
  std::string field = "response_format";  ///< the parameter that asked for it, for errors
};

/// What is common to chats and completions.
struct GenerationRequest {
  std::string model;  ///< as the client named it; empty: the only or first one
  SamplingChanges sampling;
  std::int64_t max_tokens = -1;
  std::vector<std::string> stops;
  int choices = 1;                  ///< n
  std::optional<int> top_logprobs;  ///< nothing: no log-probabilities
  OutputFormat format;
  bool stream = false;
  bool stream_usage = false;                 ///< OpenAI: a last chunk with the usage
  std::optional<double> keep_alive_seconds;  ///< after the reply; negative: for ever
  std::optional<std::int64_t> context;       ///< Ollama's num_ctx
  bool return_tokens = false;                ///< Usage::prompt_ids and reply_ids are wanted
  std::string prompt_field = "prompt";       ///< the parameter that has the prompt, for errors
};

struct ChatRequest : GenerationRequest {
  /// In OpenAI's shape, as templates read them: content is a string (text parts are joined),
  /// tool calls have arguments as JSON text, reasoning is in "reasoning_content".
  Json messages = Json::array();
  Json tools;  ///< array of {"type": "function", "function": {...}}, or null
  ToolChoice tool_choice;
  std::optional<bool> thinking;
  bool must_think = false;  ///< refused (400) where the model cannot
  std::optional<int> thinking_budget;
  Json template_variables = Json::object();  ///< chat_template_kwargs
  bool continue_last = false;  ///< the last message is the beginning of the answer (prefill)
  /// Ids that stand before the rendered prompt: Ollama's "context".
  std::vector<std::int32_t> earlier_tokens;
};

/// A piece of a prompt that mixes texts and ids: text, or ids when `ids` is not empty.
struct PromptPart {
  std::string text;
  std::vector<std::int32_t> ids = {};
};

struct CompletionRequest : GenerationRequest {
  /// One entry per prompt: text, or ids when `tokens[i]` is not empty.
  std::vector<std::string> prompts;
  std::vector<std::vector<std::int32_t>> tokens;
  /// Pieces that a prompt consists of instead. Shorter than `prompts`, or empty entries: of those
  /// that do not.
  std::vector<std::vector<PromptPart>> parts;
  std::string suffix;  ///< fill in the middle, when the model knows how
  bool echo = false;
};

struct TokenLogprob {
  std::string token;  ///< its bytes, perhaps not UTF-8 by themselves
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;
};

/// Counts and times of one reply (all choices together).
struct Usage {
  std::int64_t prompt_tokens = 0, cached_tokens = 0;
  std::int64_t completion_tokens = 0, reasoning_tokens = 0;
  double load_seconds = 0, prompt_seconds = 0, generate_seconds = 0, total_seconds = 0;
  /// Of the first choice, when GenerationRequest::return_tokens.
  std::vector<std::int32_t> prompt_ids, reply_ids;
};

/// Why a choice ended, as dialects tell it.
enum class EndReason : std::uint8_t { kStop, kStopText, kLength, kContext, kToolCalls, kCancelled };

struct ChoiceEnd {
  EndReason reason = EndReason::kStop;
  std::string stop_text;
  Usage usage = {};  ///< tokens and seconds of this choice alone
};

/// Facts that a reply's writer needs from the start.
struct ReplyHeader {
  std::string model;         ///< the name the client used, or the model's
  std::string id;            ///< 24 random alphanumerics; dialects put their prefix before it
  std::int64_t created = 0;  ///< Unix seconds
  std::int64_t prompt_tokens = 0;
  int choices = 1;
};

/// Writes one reply in a dialect: as a stream of events, or, collected, as one JSON body. Called
/// from one thread, begin first, end last.
class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;
  /// Each returns the bytes to send now; for collected replies empty until end().
  [[nodiscard]] virtual std::string begin(const ReplyHeader& header) = 0;
  [[nodiscard]] virtual std::string event(int choice, const text::ReplyEvent& event,
                                          const std::vector<TokenLogprob>& logprobs) = 0;
  [[nodiscard]] virtual std::string choice_end(int choice, const ChoiceEnd& end) = 0;
  [[nodiscard]] virtual std::string end(const Usage& usage) = 0;
  /// The reply fails after begin(): the dialect's error event.
  [[nodiscard]] virtual std::string fail(int status, std::string_view message) = 0;
  /// Sent while nothing else is (a long prompt): a comment, or nothing.
  [[nodiscard]] virtual std::string keep_alive() { return {}; }
  [[nodiscard]] virtual std::string_view content_type() const = 0;
};

/// A request that cannot be served, with its HTTP status. `code` and `parameter` as in OpenAI's
/// errors; every dialect has its own body for it.
struct RequestError {
  int status = 400;
  std::string message;
  std::string code;
  std::string parameter;
};

}  // namespace hearth::serve
