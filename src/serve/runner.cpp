#include "serve/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <random>

#include "generate/grammar/grammar.h"
#include "serve/constraints.h"
#include "serve/reply_channel.h"
#include "serve/request_failure.h"
#include "serve/sampling_changes.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kIdLength = 24;
/// Every token that is sampled takes all of them into account.
constexpr std::size_t kMostBiases = 65536;

bool is_over(const Deadline& deadline) { return deadline && Clock::now() >= *deadline; }

std::string random_id() {
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::random_device device;
  std::uniform_int_distribution<std::size_t> letter(0, kAlphabet.size() - 1);
  std::string id;
  while (id.size() < kIdLength) id += kAlphabet[letter(device)];
  return id;
}

generate::SamplerSettings sampler_of(const ServedModel& model, const SamplingChanges& changes) {
  generate::SamplerSettings settings = model.sampling();
  apply(changes, settings);
  const std::int64_t vocabulary = model.vocabulary();
  for (const auto& [token, bias] : changes.logit_bias) {
    if (token < 0 || token >= vocabulary) {
      throw RequestFailure(
          400,
          fmt::format("logit_bias: token {} is outside the vocabulary of {}", token, vocabulary),
          "invalid_value", "logit_bias");
    }
    settings.logit_bias.emplace_back(token, bias);
  }
  for (const auto& [text, bias] : changes.text_bias) {
    std::vector<text::TokenId> tokens = model.tokenizer().encode(text, {});
    std::sort(tokens.begin(), tokens.end());
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    if (settings.logit_bias.size() + tokens.size() > kMostBiases) {
      throw RequestFailure(
          400, fmt::format("logit_bias: its texts have more than {} tokens", kMostBiases),
          "invalid_value", "logit_bias");
    }
    for (const text::TokenId token : tokens) settings.logit_bias.emplace_back(token, bias);
  }
  return settings;
}

/// Throws when the prompt leaves no room for an answer.
void check_fits(const ServedModel& model, const GenerationRequest& request,
                const std::vector<text::TokenId>& prompt) {
  const auto tokens = static_cast<std::int64_t>(prompt.size());
  const std::int64_t context = model.context(), trained = model.model().spec().context_length;
  if (tokens < context) return;
  const std::string more = tokens < trained
                               ? fmt::format(", or start the server with --ctx {}",
                                             std::min(trained, (tokens / 4096 + 1) * 4096))
                               : std::string();
  RequestFailure failure(
      400,
      fmt::format("the prompt has {} tokens and the context holds {}, answer included; shorten "
                  "it{}",
                  tokens, context, more),
      "context_length_exceeded", request.prompt_field);
  failure.prompt_tokens = tokens;
  failure.context = context;
  throw failure;
}

/// One generation of a request.
struct Choice {
  const std::vector<text::TokenId>* tokens = nullptr;
  std::string echo;  ///< text that comes before the first generated one
};

/// Generates all choices of a request and has them written.
class Reply {
 public:
  Reply(ModelManager::Lease& lease, const GenerationRequest& request, const Caller& caller,
        ReplyWriter& writer, HttpExchange& exchange, const RunnerOptions& options)
      : lease_(lease),
        request_(request),
        caller_(caller),
        writer_(writer),
        exchange_(exchange),
        options_(options),
        channel_(std::make_shared<ReplyChannel>()) {
    if (request.keep_alive_seconds) lease.keep_alive(*request.keep_alive_seconds);
  }
  ~Reply() {
    exchange_.on_gone(nullptr);
    for (const auto id : ids_) scheduler().cancel(id);
  }
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  ReplyRecord run(const std::vector<Choice>& choices, const std::shared_ptr<const ChatTokens>& chat,
                  const std::shared_ptr<const generate::grammar::Grammar>& grammar);

 private:
  [[nodiscard]] generate::Scheduler& scheduler() const { return lease_->scheduler(); }
  void submit(const std::vector<Choice>& choices, const std::shared_ptr<const ChatTokens>& chat,
              const std::shared_ptr<const generate::grammar::Grammar>& grammar);
  generate::GenerateRequest make(const Choice& choice, std::size_t index,
                                 const std::shared_ptr<const ChatTokens>& chat,
                                 const std::shared_ptr<const generate::grammar::Grammar>& grammar);
  void begin(const std::vector<Choice>& choices);
  void on_event(const ChannelEvent& event);
  void on_end(const ChannelEvent& event);
  void write(const std::string& bytes);
  void fail(const RequestFailure& failure);

  ModelManager::Lease& lease_;
  const GenerationRequest& request_;
  const Caller& caller_;
  ReplyWriter& writer_;
  HttpExchange& exchange_;
  const RunnerOptions& options_;
  std::shared_ptr<ReplyChannel> channel_;
  std::vector<generate::Scheduler::RequestId> ids_;
  Clock::time_point start_ = Clock::now();
  std::string collected_;
  ReplyRecord record_;
  std::size_t open_ = 0;                         // choices that go on
  std::vector<std::pair<int, ChoiceEnd>> ends_;  // not told yet
};

generate::GenerateRequest Reply::make(
    const Choice& choice, std::size_t index, const std::shared_ptr<const ChatTokens>& chat,
    const std::shared_ptr<const generate::grammar::Grammar>& grammar) {
  generate::GenerateRequest made;
  made.prompt = *choice.tokens;
  made.sampler = sampler_of(*lease_, request_.sampling);
  // Choices of one request differ, and do so again with the same seed.
  if (made.sampler.seed) *made.sampler.seed += index;
  made.max_tokens = request_.max_tokens >= 0 ? request_.max_tokens : lease_->max_tokens();
  made.stops = request_.stops.empty() ? lease_->defaults().stops : request_.stops;
  made.control_pieces = chat != nullptr;
  made.top_log_probabilities = request_.top_logprobs;
  if (grammar) made.constraint = generate::grammar::constrain(grammar, lease_->token_trie());
  made.adapters = lease_->adapters();
  made.client = caller_.client;
  made.priority = caller_.priority;
  made.deadline = caller_.deadline;
  made.owner = caller_.owner;
  if (chat) made.boundaries = chat->boundaries;
  return made;
}

void Reply::submit(const std::vector<Choice>& choices,
                   const std::shared_ptr<const ChatTokens>& chat,
                   const std::shared_ptr<const generate::grammar::Grammar>& grammar) {
  const text::Tokenizer& tokenizer = lease_->tokenizer();
  try {
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const int index = static_cast<int>(i);
      auto listener = chat ? std::make_shared<ChoiceListener>(channel_, index, tokenizer, chat)
                           : std::make_shared<ChoiceListener>(channel_, index, tokenizer);
      ids_.push_back(scheduler().submit(make(choices[i], i, chat, grammar), std::move(listener)));
    }
  } catch (const generate::QueueFull& full) {
    throw queue_full(full);
  } catch (const Error& error) {
    const bool too_long = error.exit_code() == ExitCode::kDoesNotFit;
    throw RequestFailure(
        400,
        error.hint().empty() ? error.what() : fmt::format("{}; {}", error.what(), error.hint()),
        too_long ? "context_length_exceeded" : "invalid_value",
        too_long ? request_.prompt_field : "");
  }
  open_ = choices.size();
}

/// What is written, or kept until the reply is whole.
void Reply::write(const std::string& bytes) {
  if (request_.stream) {
    exchange_.write(bytes);
  } else {
    collected_ += bytes;
  }
}

void Reply::begin(const std::vector<Choice>& choices) {
  std::int64_t prompt_tokens = 0;
  const std::vector<text::TokenId>* last = nullptr;
  for (const Choice& choice : choices) {  // choices of one prompt share its tokens
    if (choice.tokens != last) prompt_tokens += static_cast<std::int64_t>(choice.tokens->size());
    last = choice.tokens;
  }
  record_.model = lease_.name();
  record_.usage.prompt_tokens = prompt_tokens;
  if (request_.return_tokens) record_.usage.prompt_ids = *choices.front().tokens;
  record_.usage.load_seconds = lease_.load_seconds();
  const ReplyHeader header{.model = request_.model.empty() ? lease_.name() : request_.model,
                           .id = random_id(),
                           .created = static_cast<std::int64_t>(std::time(nullptr)),
                           .prompt_tokens = prompt_tokens,
                           .choices = static_cast<int>(choices.size())};
  const std::string bytes = writer_.begin(header);
  if (request_.stream) {
    exchange_.begin({.status = 200,
                     .content_type = std::string(writer_.content_type()),
                     .body = bytes,
                     .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  } else {
    collected_ = bytes;
  }
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].echo.empty()) continue;
    text::ReplyEvent event;
    event.text = choices[i].echo;
    write(writer_.event(static_cast<int>(i), event, {}));
  }
}

void Reply::fail(const RequestFailure& failure) {
  record_.failed = true;
  if (!request_.stream) throw failure;
  exchange_.write(writer_.fail(failure.error().status, failure.what()));
  exchange_.end();
}

void Reply::on_end(const ChannelEvent& event) {
  --open_;
  const Usage& own = event.end.usage;
  Usage& usage = record_.usage;
  usage.completion_tokens += own.completion_tokens;
  usage.reasoning_tokens += own.reasoning_tokens;
  // Choices run side by side: the longest counts. Of their prompts only the first is computed.
  usage.cached_tokens = event.choice == 0 ? own.cached_tokens : usage.cached_tokens;
  usage.prompt_seconds = std::max(usage.prompt_seconds, own.prompt_seconds);
  usage.generate_seconds = std::max(usage.generate_seconds, own.generate_seconds);
  record_.end = event.end.reason;
  if (event.choice == 0 && request_.return_tokens) usage.reply_ids = event.tokens;
  ends_.emplace_back(event.choice, event.end);
  // A choice that its deadline ended before it began says so only if another one has an answer.
  if (event.end.reason == EndReason::kCancelled && usage.completion_tokens == 0) return;
  for (const auto& [choice, end] : std::exchange(ends_, {})) write(writer_.choice_end(choice, end));
}

void Reply::on_event(const ChannelEvent& event) {
  if (record_.first_token_seconds == 0) record_.first_token_seconds = seconds_since(start_);
  if (event.kind == ChannelEvent::Kind::kEnd) return on_end(event);
  write(writer_.event(event.choice, event.event, event.logprobs));
}

ReplyRecord Reply::run(const std::vector<Choice>& choices,
                       const std::shared_ptr<const ChatTokens>& chat,
                       const std::shared_ptr<const generate::grammar::Grammar>& grammar) {
  submit(choices, chat, grammar);
  exchange_.on_gone([this] {
    for (const auto id : ids_) scheduler().cancel(id);
  });
  begin(choices);
  while (open_ > 0) {
    const std::optional<ChannelEvent> event = channel_->take(options_.keep_alive);
    if (!event) {
      if (request_.stream) exchange_.write(writer_.keep_alive());
    } else if (event->kind == ChannelEvent::Kind::kFailed) {
      fail(event->refused ? RequestFailure(400, event->message, "invalid_value")
                          : RequestFailure(500, event->message));
      return record_;
    } else {
      on_event(*event);
    }
    if (!exchange_.gone()) continue;
    record_.end = EndReason::kCancelled;
    record_.usage.total_seconds = seconds_since(start_);
    if (!request_.stream) throw RequestFailure(499, "the client went away");
    return record_;
  }
  record_.usage.total_seconds = seconds_since(start_) + lease_.load_seconds();
  if (!ends_.empty()) {
    fail(is_over(caller_.deadline)
             ? deadline_passed()
             : RequestFailure(503, "the request was cancelled before its answer began",
                              "cancelled"));
    return record_;
  }
  write(writer_.end(record_.usage));
  if (request_.stream) {
    exchange_.end();
  } else {
    exchange_.respond({.status = 200,
                       .content_type = std::string(writer_.content_type()),
                       .body = std::move(collected_)});
  }
  return record_;
}

/// What "echo" gives back.
std::string prompt_text(const ServedModel& model, const CompletionRequest& request,
                        std::size_t index, const std::vector<text::TokenId>& tokens) {
  if (index < request.prompts.size() && !request.prompts[index].empty())
    return request.prompts[index];
  return model.tokenizer().decode(tokens, {.special = true, .at_start = true});
}

/// The model, loaded. `waiting`: asked while it waits.
ModelManager::Lease lease_for(ModelManager& models, const GenerationRequest& request,
                              const std::function<bool()>& waiting) {
  return models.use({.name = request.model,
                     .kind = ModelKind::kGenerates,
                     .context = request.context,
                     .given_up = waiting});
}

}  // namespace

std::function<bool()> patience(Deadline deadline, const HttpExchange& exchange) {
  return [deadline, &exchange] {
    if (is_over(deadline)) throw deadline_passed();
    return exchange.gone();
  };
}

Runner::Runner(ModelManager& models, const RunnerOptions& options)
    : models_(models), options_(options) {}

ReplyRecord Runner::chat(const ChatRequest& request, const Caller& caller, ReplyWriter& writer,
                         HttpExchange& exchange) {
  ModelManager::Lease lease = lease_for(models_, request, patience(caller.deadline, exchange));
  const auto chat = std::make_shared<const ChatTokens>(chat_tokens(*lease, request));
  check_fits(*lease, request, chat->tokens);
  const auto grammar = lease->constraints().for_chat(request, *chat);
  const std::vector<Choice> choices(static_cast<std::size_t>(std::max(1, request.choices)),
                                    Choice{&chat->tokens, {}});
  return Reply(lease, request, caller, writer, exchange, options_).run(choices, chat, grammar);
}

ReplyRecord Runner::complete(const CompletionRequest& request, const Caller& caller,
                             ReplyWriter& writer, HttpExchange& exchange) {
  ModelManager::Lease lease = lease_for(models_, request, patience(caller.deadline, exchange));
  const auto grammar = lease->constraints().for_completion(request);
  const std::size_t prompts = std::max(request.prompts.size(), request.tokens.size());
  std::vector<std::vector<text::TokenId>> tokens;
  for (std::size_t i = 0; i < prompts; ++i) {
    tokens.push_back(completion_tokens(*lease, request, i));
    check_fits(*lease, request, tokens.back());
  }
  std::vector<Choice> choices;
  for (std::size_t i = 0; i < prompts; ++i) {
    Choice choice{&tokens[i], {}};
    if (request.echo) choice.echo = prompt_text(*lease, request, i, tokens[i]);
    choices.insert(choices.end(), static_cast<std::size_t>(std::max(1, request.choices)), choice);
  }
  return Reply(lease, request, caller, writer, exchange, options_).run(choices, nullptr, grammar);
}

ChatTokens Runner::prompt_of(const ChatRequest& request, const std::function<bool()>& waiting) {
  const ModelManager::Lease lease = lease_for(models_, request, waiting);
  return chat_tokens(*lease, request);
}

}  // namespace hearth::serve
