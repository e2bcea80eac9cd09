// Replies of /api/chat and /api/generate: lines of JSON, or one body.
#include <utility>

#include "serve/dialects/json_body.h"
#include "serve/dialects/ollama.h"
#include "serve/dialects/ollama_writers.h"
#include "serve/dialects/reply_parts.h"

namespace hearth::serve {
namespace {

using Kind = text::ReplyEvent::Kind;

/// Both forms: a collected reply is a stream of which only the last line is sent, with everything
/// in it.
class OllamaWriter : public ReplyWriter {
 public:
  explicit OllamaWriter(const OllamaReplyOptions& options) : options_(options) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    return {};
  }

  std::string event(int choice, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    if (choice != 0) return {};  // Ollama knows one choice only
    if (!options_.stream) {
      collected_.add(event, logprobs);
      return {};
    }
    CollectedChoice piece;
    piece.add(event, logprobs);
    if (piece.text.empty() && piece.reasoning.empty() && piece.calls.empty() &&
        piece.logprobs.empty()) {
      return {};
    }
    Json line = reply(piece);
    line["done"] = false;
    add_logprobs(line, piece);
    return to_line(line) + "\n";
  }

  std::string choice_end(int choice, const ChoiceEnd& end) override {
    if (choice == 0) collected_.end = end;
    return {};
  }

  std::string end(const Usage& usage) override {
    Json last = reply(collected_);
    last["done"] = true;
    const bool cut = finish_reason(collected_.end.reason) == "length";
    last["done_reason"] = cut ? "length" : "stop";
    if (!options_.chat && !usage.prompt_ids.empty()) {
      Json ids = usage.prompt_ids;
      for (const std::int32_t id : usage.reply_ids) ids.push_back(id);
      last["context"] = std::move(ids);
    }
    last["total_duration"] = nanoseconds(usage.total_seconds);
    last["load_duration"] = nanoseconds(usage.load_seconds);
    last["prompt_eval_count"] = usage.prompt_tokens;
    last["prompt_eval_duration"] = nanoseconds(usage.prompt_seconds);
    last["eval_count"] = usage.completion_tokens;
    last["eval_duration"] = nanoseconds(usage.generate_seconds);
    if (!options_.stream) add_logprobs(last, collected_);
    return to_line(last) + (options_.stream ? "\n" : "");
  }

  std::string fail(int status, std::string_view message) override {
    return failure(Dialect::kOllama, status, message) + (options_.stream ? "\n" : "");
  }
  std::string_view content_type() const override {
    return options_.stream ? kLinesType : kJsonType;
  }

 private:
  [[nodiscard]] Json reply(const CollectedChoice& choice) const {
    Json json = {{"model", header_.model}, {"created_at", utc_time(header_.created)}};
    if (!options_.chat) {
      json["response"] = choice.text;
      if (!choice.reasoning.empty()) json["thinking"] = choice.reasoning;
      return json;
    }
    Json message = {{"role", "assistant"}, {"content", choice.text}};
    if (!choice.reasoning.empty()) message["thinking"] = choice.reasoning;
    for (const CollectedCall& call : choice.calls) {
      Json entry = {{"id", call_id(call, header_.id, 0)}};
      entry["function"] = {{"index", call.index},
                           {"name", call.name},
                           {"arguments", arguments_object(call.arguments)}};
      message["tool_calls"].push_back(std::move(entry));
    }
    json["message"] = std::move(message);
    return json;
  }

  void add_logprobs(Json& line, const CollectedChoice& choice) const {
    if (options_.logprobs && !choice.logprobs.empty()) {
      line["logprobs"] = logprob_list(choice.logprobs);
    }
  }

  OllamaReplyOptions options_;
  ReplyHeader header_;
  CollectedChoice collected_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_ollama_writer(const OllamaReplyOptions& options) {
  return std::make_unique<OllamaWriter>(options);
}

std::string ollama_loaded(const LoadExchange& exchange, std::string_view model,
                          std::int64_t created) {
  Json reply = {{"model", model}, {"created_at", utc_time(created)}};
  if (exchange.chat) {
    reply["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    reply["response"] = "";
  }
  reply["done"] = true;
  reply["done_reason"] = exchange.unload ? "unload" : "load";
  return to_line(reply) + "\n";
}

}  // namespace hearth::serve
