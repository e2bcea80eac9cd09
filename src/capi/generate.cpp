// hearth_generate(): a request to the model's scheduler, whose events are handed to the caller's
// callback on the caller's thread.

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "capi/handles.h"
#include "generate/scheduler.h"
#include "text/reply_reader.h"

namespace hearth::capi {
namespace {

using Json = nlohmann::ordered_json;

struct TextPiece {
  std::string text;
  bool control = false;
};

/// The events of one generation, from the scheduler's thread to the caller's.
class Events final : public generate::Listener {
 public:
  using Event = std::variant<TextPiece, generate::GenerateResult, Error>;

  generate::Verdict piece(const generate::GeneratedPiece& piece) override {
    push(TextPiece{std::string(piece.piece.text), piece.piece.control});
    return {};
  }
  void finished(const generate::GenerateResult& result) override { push(result); }
  void failed(const Error& error) override { push(error); }

  /// The next event, or nothing when there is none for a while.
  std::optional<Event> wait() {
    constexpr std::chrono::milliseconds kPatience{50};
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, kPatience, [this] { return !events_.empty(); }))
      return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  void push(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    arrived_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Event> events_;
};

Json parsed(const char* text, const char* what) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    throw Error(std::string(what) + " is not JSON", "see hearth/hearth.h", ExitCode::kUsage);
  return json;
}

/// What a reply is read with: chats have markup, completions do not.
class ReplySink {
 public:
  ReplySink(hearth_piece piece, void* user, std::optional<text::ReplyReader> reader)
      : piece_(piece), user_(user), reader_(std::move(reader)) {}

  /// False when the caller wants no more, or the reply is over.
  bool push(const TextPiece& piece) {
    if (!reader_.has_value()) return give(HEARTH_TEXT, piece.text);
    using text::PieceKind;
    return give(
               reader_->push(piece.text, piece.control ? PieceKind::kControl : PieceKind::kText)) &&
           !reader_->stopped();
  }
  bool finish() { return !reader_.has_value() || give(reader_->finish()); }
  /// The caller's callback ended it.
  [[nodiscard]] bool refused() const noexcept { return refused_; }

 private:
  bool give(hearth_piece_kind kind, const std::string& text) {
    if (text.empty() || piece_ == nullptr || refused_) return !refused_;
    refused_ = piece_(kind, text.data(), text.size(), user_) != 0;
    return !refused_;
  }
  bool give(const std::vector<text::ReplyEvent>& events) {
    for (const text::ReplyEvent& event : events) {
      using Kind = text::ReplyEvent::Kind;
      if (event.kind == Kind::kText) (void)give(HEARTH_TEXT, event.text);
      if (event.kind == Kind::kReasoning) (void)give(HEARTH_REASONING, event.text);
      if (event.kind == Kind::kToolCallEnd) {
        const Json arguments = Json::parse(event.text, nullptr, false);
        const Json call = {{"id", event.id},
                           {"name", event.name},
                           {"arguments", arguments.is_discarded() ? Json::object() : arguments}};
        (void)give(HEARTH_TOOL_CALL, call.dump());
      }
    }
    return !refused_;
  }

  hearth_piece piece_;
  void* user_;
  std::optional<text::ReplyReader> reader_;
  bool refused_ = false;
};

generate::SamplerSettings sampling(const hearth_model& model, const hearth_request& request) {
  generate::SamplerSettings settings = model.model->sampling();
  if (!std::isnan(request.temperature)) settings.temperature = request.temperature;
  if (!std::isnan(request.top_p)) settings.top_p = request.top_p;
  if (!std::isnan(request.min_p)) settings.min_p = request.min_p;
  if (request.top_k >= 0) settings.top_k = request.top_k;
  if (request.has_seed != 0) settings.seed = request.seed;
  generate::validate(settings);
  return settings;
}

std::unique_ptr<generate::TokenConstraint> constraint(hearth_model& model, const char* schema,
                                                      const text::ChatFormat* format,
                                                      const std::string& prompt) {
  namespace grammar = generate::grammar;
  std::call_once(model.trie_once,
                 [&] { model.trie = grammar::build_token_trie(model.model->tokenizer()); });
  grammar::Options options;
  if (format != nullptr) options = grammar::options_for(*format, prompt);
  const auto compiled = model.grammars.get(grammar::key_of(options) + schema, [&] {
    const Json json = parsed(schema, "json_schema");
    return json.is_object() && json.empty() ? grammar::json_object(options)
                                            : grammar::compile_json_schema(json, options);
  });
  return grammar::constrain(compiled, model.trie);
}

struct Prepared {
  generate::GenerateRequest request;
  std::optional<text::ReplyReader> reader;
  Json tools;
};

/// `prepared.tools` must stay where it is: the reader refers to it.
void prepare(hearth_model& model, const hearth_request& request, Prepared& prepared) {
  if ((request.prompt == nullptr) == (request.messages == nullptr)) {
    throw Error("a request has either a prompt or messages", "set one of the two",
                ExitCode::kUsage);
  }
  if (model.model->kind() != serve::ModelKind::kGenerates) {
    throw Error("this model makes vectors, not text", "use hearth_embed()", ExitCode::kUsage);
  }
  generate::GenerateRequest& wanted = prepared.request;
  wanted.sampler = sampling(model, request);
  wanted.max_tokens = request.max_tokens;
  for (const char* const* stop = request.stops; stop != nullptr && *stop != nullptr; ++stop)
    wanted.stops.emplace_back(*stop);

  text::Prompt prompt;
  const text::ChatFormat* format = nullptr;
  if (request.messages != nullptr) {
    if (!model.chat.has_value()) {
      throw Error("this model has no chat template", "give a prompt instead of messages",
                  ExitCode::kUsage);
    }
    if (request.tools != nullptr) prepared.tools = parsed(request.tools, "tools");
    prompt =
        model.chat->render(parsed(request.messages, "messages"),
                           prepared.tools.is_null() ? nullptr : &prepared.tools, Json::object());
    format = &model.chat->format();
    wanted.control_pieces = true;
    const std::string text = prompt.str();
    prepared.reader.emplace(*format, text::ReplyOptions{&prepared.tools, text});
  } else {
    prompt.append(request.prompt, text::Origin::kData);
  }
  wanted.prompt = generate::prompt_tokens(model.model->tokenizer(), prompt);
  if (request.json_schema != nullptr)
    wanted.constraint = constraint(model, request.json_schema, format, prompt.str());
}

hearth_finish finish_of(generate::FinishReason reason) noexcept {
  switch (reason) {
    case generate::FinishReason::kLength:
      return HEARTH_FINISH_LENGTH;
    case generate::FinishReason::kContext:
      return HEARTH_FINISH_CONTEXT;
    case generate::FinishReason::kCancelled:
      return HEARTH_FINISH_CANCELLED;
    case generate::FinishReason::kStop:
    case generate::FinishReason::kStopText:
      break;
  }
  return HEARTH_FINISH_STOP;
}

hearth_status run(hearth_model& model, const hearth_request& request, hearth_piece piece,
                  void* user, hearth_result* result) {
  Prepared prepared;
  prepare(model, request, prepared);
  ReplySink sink(piece, user, std::move(prepared.reader));
  const auto events = std::make_shared<Events>();
  generate::Scheduler& scheduler = model.model->scheduler();
  const generate::Scheduler::RequestId id = scheduler.submit(std::move(prepared.request), events);
  bool ended = false;      // nothing more is passed on
  bool cancelled = false;  // by the caller
  for (;;) {
    if (!cancelled && request.cancel != nullptr && request.cancel->cancelled) {
      cancelled = ended = true;
      scheduler.cancel(id);
    }
    std::optional<Events::Event> event = events->wait();
    if (!event.has_value()) continue;
    if (const auto* text = std::get_if<TextPiece>(&*event)) {
      if (ended || sink.push(*text)) continue;
      ended = true;
      cancelled = sink.refused();
      scheduler.cancel(id);
      continue;
    }
    if (const auto* error = std::get_if<Error>(&*event)) throw *error;
    const auto& done = std::get<generate::GenerateResult>(*event);
    if (!cancelled && !sink.finish()) cancelled = true;
    if (result != nullptr) {
      // A reply that ended by itself (a marker of the chat format) was stopped, not cancelled.
      const bool by_itself = ended && !cancelled;
      *result = {cancelled   ? HEARTH_FINISH_CANCELLED
                 : by_itself ? HEARTH_FINISH_STOP
                             : finish_of(done.finish),
                 done.prompt_tokens,
                 done.reused_tokens,
                 done.generated_tokens,
                 done.prompt_seconds,
                 done.generate_seconds,
                 done.seed};
    }
    return cancelled ? HEARTH_CANCELLED : HEARTH_OK;
  }
}

}  // namespace
}  // namespace hearth::capi

hearth_cancel* hearth_cancel_new(void) { return new (std::nothrow) hearth_cancel; }

void hearth_cancel_now(hearth_cancel* cancel) {
  if (cancel != nullptr) cancel->cancelled = true;
}

void hearth_cancel_reset(hearth_cancel* cancel) {
  if (cancel != nullptr) cancel->cancelled = false;
}

void hearth_cancel_free(hearth_cancel* cancel) { delete cancel; }

hearth_request hearth_request_default(void) {
  hearth_request request{};
  request.size = sizeof request;
  request.max_tokens = -1;
  request.temperature = request.top_p = request.min_p = NAN;
  request.top_k = -1;
  return request;
}

hearth_status hearth_generate(hearth_model* model, const hearth_request* request,
                              hearth_piece piece, void* user, hearth_result* result,
                              hearth_error** error) {
  return hearth::capi::guarded(error, [&] {
    hearth::capi::require(model, "model");
    hearth::capi::require(request, "request");
    hearth_request known = hearth_request_default();
    std::memcpy(&known, request, std::min(request->size, sizeof known));
    return hearth::capi::run(*model, known, piece, user, result);
  });
}
