// /v1/completions: the request and its replies.
#include <algorithm>
#include <utility>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "serve/dialects/reply_parts.h"
#include "serve/dialects/sampling_fields.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

constexpr Field kCompletionFields[] = {
    {.name = "model"},
    {.name = "prompt",
     .types = kString | kArray,
     .what = "text, ids, or several of them",
     .required = true,
     .items = kString | kInteger | kArray},
    {.name = "suffix", .what = "text after what is to be filled in"},
    {.name = "echo", .types = kBoolean},
    {.name = "best_of", .types = kInteger, .least = 1, .most = 128},
    {.name = "logprobs", .types = kInteger, .least = 0, .most = 20},
    {.name = "response_format", .types = kObject},
};

/// OpenAI's default, which clients of this route know.
constexpr std::int64_t kDefaultTokens = 16;

/// Log-probabilities as /v1/completions has them: parallel lists.
struct LogprobLists {
  Json tokens = Json::array();
  Json values = Json::array();
  Json top = Json::array();
  Json offsets = Json::array();

  /// `offset`: code points of the text before these tokens; advanced.
  void add(const std::vector<TokenLogprob>& logprobs, std::int64_t& offset) {
    for (const TokenLogprob& token : logprobs) {
      const std::string text = to_valid_utf8(token.token);
      Json likeliest = Json::object();
      for (const auto& [other, logprob] : token.top) {
        likeliest[to_valid_utf8(other)] = finite_logprob(logprob);
      }
      offsets.push_back(offset);
      offset += std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
      });
      tokens.push_back(text);
      values.push_back(finite_logprob(token.logprob));
      top.push_back(std::move(likeliest));
    }
  }
  [[nodiscard]] Json to_json() const {
    return {{"tokens", tokens},
            {"token_logprobs", values},
            {"top_logprobs", top},
            {"text_offset", offsets}};
  }
};

std::int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

/// What both forms have in common.
class CompletionWriter : public EventsOrBody {
 public:
  explicit CompletionWriter(const OpenAiReplyOptions& options)
      : EventsOrBody(Dialect::kOpenAi, options.stream), options_(options) {}

 protected:
  [[nodiscard]] Json frame() const {
    return {{"id", "cmpl-" + header_.id},
            {"object", "text_completion"},
            {"created", header_.created},
            {"model", header_.model},
            {"system_fingerprint", "fp_hearth"}};
  }
  static Json choice(int index, std::string text, Json logprobs, Json finish) {
    return {{"text", std::move(text)},
            {"index", index},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }
  /// Events that are text; a completion has nothing else.
  static bool is_text(const text::ReplyEvent& event) {
    return event.kind == text::ReplyEvent::Kind::kText;
  }

  OpenAiReplyOptions options_;
  ReplyHeader header_;
};

class CompletionStream : public CompletionWriter {
 public:
  using CompletionWriter::CompletionWriter;

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    offsets_.resize(static_cast<std::size_t>(header.choices));
    return {};
  }
  std::string event(int index, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    if (!is_text(event)) return {};
    std::int64_t& offset = offsets_.at(static_cast<std::size_t>(index));
    Json lists;
    if (options_.logprobs && !logprobs.empty()) {
      LogprobLists pieces;
      pieces.add(logprobs, offset);
      lists = pieces.to_json();
    } else {
      offset += code_points(event.text);
    }
    return chunk(choice(index, event.text, std::move(lists), nullptr));
  }
  std::string choice_end(int index, const ChoiceEnd& end) override {
    return chunk(choice(index, "", nullptr, finish_reason(end.reason)));
  }
  std::string end(const Usage& usage) override {
    std::string bytes;
    if (options_.usage) {
      Json last = frame();
      last["choices"] = Json::array();
      last["usage"] = openai_usage(usage);
      bytes = sse(last);
    }
    return bytes + "data: [DONE]\n\n";
  }

 private:
  [[nodiscard]] std::string chunk(Json choice) const {
    Json json = frame();
    json["choices"] = Json::array({std::move(choice)});
    if (options_.usage) json["usage"] = nullptr;
    return sse(json);
  }
  std::vector<std::int64_t> offsets_;
};

class CompletionBody : public CompletionWriter {
 public:
  using CompletionWriter::CompletionWriter;

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    choices_.resize(static_cast<std::size_t>(header.choices));
    return {};
  }
  std::string event(int index, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    if (!is_text(event)) return {};
    Choice& choice = choices_.at(static_cast<std::size_t>(index));
    choice.text += event.text;
    if (logprobs.empty()) {
      choice.offset += code_points(event.text);
    } else {
      choice.logprobs.add(logprobs, choice.offset);
    }
    return {};
  }
  std::string choice_end(int index, const ChoiceEnd& end) override {
    choices_.at(static_cast<std::size_t>(index)).finish = finish_reason(end.reason);
    return {};
  }
  std::string end(const Usage& usage) override {
    Json reply = frame();
    reply["choices"] = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      const Choice& each = choices_[i];
      reply["choices"].push_back(choice(static_cast<int>(i), each.text,
                                        options_.logprobs ? each.logprobs.to_json() : Json(),
                                        each.finish));
    }
    reply["usage"] = openai_usage(usage);
    reply["timings"] = llama_timings(usage);
    return to_line(reply);
  }

 private:
  struct Choice {
    std::string text;
    LogprobLists logprobs;
    std::int64_t offset = 0;
    std::string_view finish = "stop";
  };
  std::vector<Choice> choices_;
};

}  // namespace

const BodyFields kOpenAiCompletionBody = {
    .name = "CreateCompletionRequest",
    .parts = {kCompletionFields, generation_fields(), kSamplingFields}};

std::unique_ptr<ReplyWriter> make_openai_completion_writer(const OpenAiReplyOptions& options) {
  if (options.stream) return std::make_unique<CompletionStream>(options);
  return std::make_unique<CompletionBody>(options);
}

CompletionExchange read_openai_completion(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOpenAiCompletionBody);
  CompletionExchange exchange;
  CompletionRequest& request = exchange.request;
  read_generation(body, request);
  if (find_member(body, "max_tokens") == nullptr) request.max_tokens = kDefaultTokens;
  read_prompts(body["prompt"], "prompt", request.prompts, request.tokens);
  check_choices(request);
  request.suffix = text_member(body, "suffix");
  request.echo = bool_member(body, "echo").value_or(false);
  if (const auto best = integer_member(body, "best_of"); best && *best > request.choices) {
    refuse("best_of larger than n is not supported", "best_of", "unsupported_value");
  }
  if (const auto logprobs = integer_member(body, "logprobs"); logprobs) {
    request.top_logprobs = static_cast<int>(*logprobs);
    if (request.echo) {
      refuse("logprobs cannot be combined with echo: those of the prompt are not known", "logprobs",
             "unsupported_value");
    }
  }
  OpenAiReplyOptions options;
  options.stream = request.stream;
  options.usage = request.stream_usage;
  options.logprobs = request.top_logprobs.has_value();
  exchange.writer = make_openai_completion_writer(options);
  return exchange;
}

}  // namespace hearth::serve
