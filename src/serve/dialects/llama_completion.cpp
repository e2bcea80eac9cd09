// /completion and /infill of llama-server: requests and replies.
#include <utility>

#include "serve/dialects/bodies.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/llama_server.h"
#include "serve/dialects/openai_parts.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "serve/dialects/reply_parts.h"
#include "serve/dialects/sampling_fields.h"

namespace hearth::serve {
namespace {

constexpr Field kControlFields[] = {
    {.name = "model"},
    {.name = "n_predict",
     .types = kInteger,
     .what = "most tokens to generate; -1: no limit",
     .least = -2,
     .most = kMostInt32},
    {.name = "n_probs", .types = kInteger, .least = 0, .most = 20},
    {.name = "return_tokens", .types = kBoolean},
    {.name = "response_format", .types = kObject},
    {.name = "n_cmpl", .types = kInteger, .what = "as n", .least = 1, .most = 128},
    {.name = "id_slot", .types = kInteger, .what = "ignored: any slot will do"},
};
constexpr Field kLlamaPrompt[] = {
    {.name = "prompt",
     .types = kString | kArray,
     .what = "text, ids, both mixed, or several of them",
     .required = true,
     .items = kString | kInteger | kArray},
};
constexpr Field kLlamaExtra[] = {
    {.name = "filename"},
    {.name = "text", .required = true},
};
constexpr Field kLlamaInfill[] = {
    {.name = "input_prefix", .required = true},
    {.name = "input_suffix", .required = true},
    {.name = "input_extra",
     .types = kArray,
     .items = kObject,
     .item_members = kLlamaExtra,
     .most_items = 1024},
    {.name = "prompt", .what = "what the answer begins with"},
};

constexpr auto kAllControls = concat(kSamplingFields, std::to_array(kControlFields));

struct Options {
  bool stream = false;
  bool probabilities = false;
  bool tokens = false;
  bool list = false;  ///< several prompts: an array of results
  std::vector<std::string> prompts;
  Json settings = Json::object();
};

Json probabilities(const std::vector<TokenLogprob>& logprobs) { return logprob_list(logprobs); }

std::string_view stop_type(EndReason reason) {
  switch (reason) {
    case EndReason::kStopText:
      return "word";
    case EndReason::kLength:
    case EndReason::kContext:
      return "limit";
    case EndReason::kCancelled:
      return "none";
    case EndReason::kStop:
    case EndReason::kToolCalls:
      break;
  }
  return "eos";
}

/// One object per result; streams send one per piece, and no [DONE] at the end.
class LlamaWriter : public EventsOrBody {
 public:
  explicit LlamaWriter(Options options)
      : EventsOrBody(Dialect::kLlamaServer, options.stream), options_(std::move(options)) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    choices_.resize(static_cast<std::size_t>(header.choices));
    return {};
  }

  std::string event(int index, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    if (event.kind != text::ReplyEvent::Kind::kText) return {};
    CollectedChoice& choice = choices_.at(static_cast<std::size_t>(index));
    if (!streams()) {
      choice.add(event, logprobs);
      return {};
    }
    Json piece = {{"index", index},          {"content", event.text},
                  {"tokens", Json::array()}, {"stop", false},
                  {"id_slot", -1},           {"tokens_evaluated", header_.prompt_tokens}};
    if (options_.probabilities) piece["completion_probabilities"] = probabilities(logprobs);
    newline_ = newline_ || event.text.find('\n') != std::string::npos;
    return sse(piece);
  }

  std::string choice_end(int index, const ChoiceEnd& end) override {
    choices_.at(static_cast<std::size_t>(index)).end = end;
    return {};
  }

  std::string end(const Usage& usage) override {
    Json results = Json::array();
    std::string bytes;
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      Json whole = result(i, usage);
      if (streams()) {
        bytes += sse(whole);
      } else {
        results.push_back(std::move(whole));
      }
    }
    if (streams()) return bytes;
    return to_line(options_.list || results.size() != 1 ? results : results.front());
  }

 private:
  [[nodiscard]] Json result(std::size_t index, const Usage& usage) const {
    const CollectedChoice& choice = choices_[index];
    const Usage& own = choice.end.usage;
    // Prompts first: choices of one prompt stand together.
    const std::size_t each = choices_.size() / std::max<std::size_t>(options_.prompts.size(), 1);
    const std::size_t prompt = each == 0 ? 0 : index / each;
    Json ids = Json::array();
    if (options_.tokens && index == 0) ids = usage.reply_ids;
    Json json = {{"index", index},
                 {"content", choice.text},
                 {"tokens", std::move(ids)},
                 {"id_slot", -1},
                 {"stop", true},
                 {"model", header_.model},
                 {"tokens_predicted", own.completion_tokens},
                 {"tokens_evaluated", own.prompt_tokens},
                 {"tokens_cached", own.cached_tokens},
                 {"generation_settings", options_.settings},
                 {"prompt", prompt < options_.prompts.size() ? options_.prompts[prompt] : ""},
                 {"has_new_line", newline_ || choice.text.find('\n') != std::string::npos},
                 {"truncated", choice.end.reason == EndReason::kContext},
                 {"stop_type", stop_type(choice.end.reason)},
                 {"stopping_word", choice.end.stop_text},
                 {"timings", llama_timings(own)}};
    if (options_.probabilities && !streams()) {
      json["completion_probabilities"] = probabilities(choice.logprobs);
    }
    return json;
  }

  Options options_;
  ReplyHeader header_;
  std::vector<CollectedChoice> choices_;
  bool newline_ = false;
};

void read_controls(const Json& body, CompletionRequest& request, Options& options) {
  read_generation(body, request, BiasKeys::kIdsAndTexts);
  if (const auto most = integer_member(body, "n_predict"); most) {
    request.max_tokens = *most < 0 ? -1 : *most;
  }
  if (const auto choices = integer_member(body, "n_cmpl"); choices) {
    request.choices = static_cast<int>(*choices);
  }
  const std::int64_t probabilities = integer_member(body, "n_probs").value_or(0);
  if (probabilities > 0) request.top_logprobs = static_cast<int>(probabilities);
  request.return_tokens = bool_member(body, "return_tokens").value_or(false);
  options.stream = request.stream;
  options.probabilities = request.top_logprobs.has_value();
  options.tokens = request.return_tokens;
  // What the request said; what it left to the model is in /props.
  for (const Field& field : kAllControls) {
    const std::string name(field.name);
    if (const Json* value = find_member(body, name.c_str()); value != nullptr) {
      options.settings[name] = *value;
    }
  }
}

}  // namespace

const BodyFields kLlamaCompletionBody = {
    .name = "LlamaCompletionRequest",
    .parts = {kLlamaPrompt, kControlFields, generation_fields(), kSamplingFields}};
const BodyFields kLlamaInfillBody = {
    .name = "LlamaInfillRequest",
    .parts = {kLlamaInfill, kControlFields, generation_fields(), kSamplingFields}};

CompletionExchange read_llama_completion(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaCompletionBody);
  CompletionExchange exchange;
  Options options;
  read_controls(body, exchange.request, options);
  const Json& prompt = body["prompt"];
  options.list = read_mixed_prompts(prompt, "prompt", exchange.request);
  check_choices(exchange.request);
  options.prompts = exchange.request.prompts;
  exchange.writer = std::make_unique<LlamaWriter>(std::move(options));
  return exchange;
}

InfillExchange read_llama_infill(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaInfillBody);
  InfillExchange exchange;
  Options options;
  read_controls(body, exchange.completion.request, options);
  exchange.completion.request.prompts.push_back(text_member(body, "prompt"));
  exchange.completion.request.tokens.emplace_back();
  exchange.completion.request.prompt_field = "input_prefix";
  exchange.prefix = text_member(body, "input_prefix");
  exchange.suffix = text_member(body, "input_suffix");
  if (const Json* extra = find_member(body, "input_extra"); extra != nullptr) {
    for (const Json& file : *extra) {
      exchange.extra.emplace_back(text_member(file, "filename"), text_member(file, "text"));
    }
  }
  options.prompts = exchange.completion.request.prompts;
  exchange.completion.writer = std::make_unique<LlamaWriter>(std::move(options));
  return exchange;
}

}  // namespace hearth::serve
