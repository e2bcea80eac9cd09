// Replies of /v1/chat/completions.
#include <utility>

#include "serve/dialects/exchange.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/reply_parts.h"

namespace hearth::serve {
namespace {

using Kind = text::ReplyEvent::Kind;

std::string_view chat_finish(EndReason reason, bool legacy) {
  if (legacy && reason == EndReason::kToolCalls) return "function_call";
  return finish_reason(reason);
}

Json logprobs_object(const std::vector<TokenLogprob>& logprobs) {
  return {{"content", logprob_list(logprobs)}, {"refusal", nullptr}};
}

/// A stream of chunks.
class ChatStream : public EventsOrBody {
 public:
  explicit ChatStream(const OpenAiReplyOptions& options)
      : EventsOrBody(Dialect::kOpenAi, true), options_(options) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    std::string bytes;
    for (int i = 0; i < header_.choices; ++i) {
      bytes += chunk(i, {{"role", "assistant"}, {"content", ""}});
    }
    return bytes;
  }

  std::string event(int choice, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    switch (event.kind) {
      case Kind::kText:
        return chunk(choice, {{"content", event.text}}, nullptr, logprobs);
      case Kind::kReasoning:
        return chunk(choice, {{"reasoning_content", event.text}});
      case Kind::kToolCallStart:
        return call_start(choice, event);
      case Kind::kToolCallArguments:
        return call_arguments(choice, event);
      case Kind::kToolCallEnd:      // all was said
      case Kind::kToolCallDropped:  // cannot be taken back; finish_reason will not be "tool_calls",
                                    // and of a reply that was cut all was said
      case Kind::kProblem:
        break;
    }
    return {};
  }

  std::string choice_end(int choice, const ChoiceEnd& end) override {
    return chunk(choice, Json::object(), chat_finish(end.reason, options_.legacy_functions));
  }

  std::string end(const Usage& usage) override {
    std::string bytes;
    if (options_.usage) {
      Json last = frame();
      last["choices"] = Json::array();
      last["usage"] = openai_usage(usage);
      last["timings"] = llama_timings(usage);
      bytes = sse(last);
    }
    return bytes + "data: [DONE]\n\n";
  }

 private:
  Json frame() const {
    return {{"id", "chatcmpl-" + header_.id},
            {"object", "chat.completion.chunk"},
            {"created", header_.created},
            {"model", header_.model},
            {"system_fingerprint", "fp_hearth"}};
  }

  std::string chunk(int index, Json delta, Json finish = nullptr,
                    const std::vector<TokenLogprob>& logprobs = {}) const {
    Json choice = {{"index", index}, {"delta", std::move(delta)}};
    choice["logprobs"] =
        options_.logprobs && !logprobs.empty() ? logprobs_object(logprobs) : Json();
    choice["finish_reason"] = std::move(finish);
    Json json = frame();
    json["choices"] = Json::array({std::move(choice)});
    if (options_.usage) json["usage"] = nullptr;
    return sse(json);
  }

  std::string call_start(int choice, const text::ReplyEvent& event) const {
    Json function = {{"name", event.name}, {"arguments", ""}};
    if (options_.legacy_functions) return chunk(choice, {{"function_call", std::move(function)}});
    Json call = {{"index", event.index},
                 {"id", call_id(event, header_.id, choice)},
                 {"type", "function"},
                 {"function", std::move(function)}};
    return chunk(choice, {{"tool_calls", Json::array({std::move(call)})}});
  }

  std::string call_arguments(int choice, const text::ReplyEvent& event) const {
    Json function = {{"arguments", event.text}};
    if (options_.legacy_functions) return chunk(choice, {{"function_call", std::move(function)}});
    Json call = {{"index", event.index}, {"function", std::move(function)}};
    return chunk(choice, {{"tool_calls", Json::array({std::move(call)})}});
  }

  OpenAiReplyOptions options_;
  ReplyHeader header_;
};

/// One body at the end.
class ChatBody : public EventsOrBody {
 public:
  explicit ChatBody(const OpenAiReplyOptions& options)
      : EventsOrBody(Dialect::kOpenAi, false), options_(options) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    choices_.resize(static_cast<std::size_t>(header.choices));
    return {};
  }
  std::string event(int choice, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    choices_.at(static_cast<std::size_t>(choice)).add(event, logprobs);
    return {};
  }
  std::string choice_end(int choice, const ChoiceEnd& end) override {
    choices_.at(static_cast<std::size_t>(choice)).end = end;
    return {};
  }

  std::string end(const Usage& usage) override {
    Json choices = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      const CollectedChoice& choice = choices_[i];
      choices.push_back(
          {{"index", i},
           {"message", message(choice, static_cast<int>(i))},
           {"logprobs", options_.logprobs ? logprobs_object(choice.logprobs) : Json()},
           {"finish_reason", chat_finish(choice.end.reason, options_.legacy_functions)}});
    }
    return to_line({{"id", "chatcmpl-" + header_.id},
                    {"object", "chat.completion"},
                    {"created", header_.created},
                    {"model", header_.model},
                    {"system_fingerprint", "fp_hearth"},
                    {"choices", std::move(choices)},
                    {"usage", openai_usage(usage)},
                    {"timings", llama_timings(usage)}});
  }

 private:
  Json message(const CollectedChoice& choice, int index) const {
    const bool called = !choice.calls.empty();
    Json result = {{"role", "assistant"}};
    result["content"] = called && choice.text.empty() ? Json() : Json(choice.text);
    result["refusal"] = nullptr;
    result["annotations"] = Json::array();
    if (!choice.reasoning.empty()) result["reasoning_content"] = choice.reasoning;
    if (!called) return result;
    if (options_.legacy_functions) {
      const CollectedCall& call = choice.calls.front();
      result["function_call"] = {{"name", call.name}, {"arguments", call.arguments}};
      return result;
    }
    Json calls = Json::array();
    for (const CollectedCall& call : choice.calls) {
      calls.push_back({{"id", call_id(call, header_.id, index)},
                       {"type", "function"},
                       {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    result["tool_calls"] = std::move(calls);
    return result;
  }

  OpenAiReplyOptions options_;
  ReplyHeader header_;
  std::vector<CollectedChoice> choices_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_openai_chat_writer(const OpenAiReplyOptions& options) {
  if (options.stream) return std::make_unique<ChatStream>(options);
  return std::make_unique<ChatBody>(options);
}

}  // namespace hearth::serve
