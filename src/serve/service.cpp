#include "serve/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <new>
#include <random>

#include "serve/facts_cache.h"
#include "serve/page.h"
#include "serve/page_api.h"
#include "serve/request_failure.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostLoggedBody = 4096;

constexpr std::string_view kRequestIdHeader = "X-Request-Id";
constexpr std::string_view kTimeoutHeader = "x-request-timeout";
constexpr double kLongestDeadline = 3.2e7;  // seconds: a year

/// Adds headers to whatever is answered, and remembers the status.
class RecordingExchange final : public HttpExchange {
 public:
  RecordingExchange(HttpExchange& inner, Headers headers)
      : inner_(inner), headers_(std::move(headers)) {}

  void respond(const HttpResponse& response) override {
    status = response.status;
    inner_.respond(with_headers(response));
  }
  void begin(const HttpResponse& response) override {
    status = response.status;
    inner_.begin(with_headers(response));
  }
  bool write(std::string_view piece) override { return inner_.write(piece); }
  void end() override { inner_.end(); }
  [[nodiscard]] bool begun() const noexcept override { return inner_.begun(); }
  [[nodiscard]] bool gone() const noexcept override { return inner_.gone(); }
  void on_gone(std::function<void()> callback) override { inner_.on_gone(std::move(callback)); }
  bool read_body(std::string& out, std::size_t most) override {
    return inner_.read_body(out, most);
  }

  int status = 0;

 private:
  [[nodiscard]] HttpResponse with_headers(HttpResponse response) const {
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    return response;
  }

  HttpExchange& inner_;
  Headers headers_;
};

std::string request_id() {
  std::random_device device;
  return fmt::format("req_{:08x}{:08x}{:08x}", device(), device(), device());
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

Dialect dialect_for(const HttpRequest& request) {
  return dialect_of(request.path(), !request.header("anthropic-version").empty());
}

/// The headers that name a request.
Headers id_headers(const HttpRequest& request, const std::string& id) {
  Headers headers = {{std::string(kRequestIdHeader), id}};
  if (dialect_for(request) == Dialect::kAnthropic) headers.emplace_back("request-id", id);
  return headers;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string sentence(const Error& error) {
  return error.hint().empty() ? error.what() : fmt::format("{}; {}", error.what(), error.hint());
}

}  // namespace

Service::Service(ModelManager& models, Library& library, ServiceOptions options)
    : options_(std::move(options)),
      security_(options_.security),
      runner_(models, options_.runner),
      facts_(std::make_unique<FactsCache>(models)),
      parts_(std::make_unique<ServiceParts>(ServiceParts{
          options_, models, runner_, metrics_, *facts_, library, [] { return HttpCounters{}; }})) {
  add_openai_routes(router_, *parts_);
  add_ollama_routes(router_, *parts_);
  add_anthropic_routes(router_, *parts_);
  add_llama_server_routes(router_, *parts_);
  add_hearth_routes(router_, *parts_);
}

Service::~Service() = default;

void Service::watch(const HttpServer& server) {
  parts_->http = [&server] { return server.counters(); };
}

HttpResponse Service::error_response(const HttpRequest& request, const RequestError& error,
                                     const ErrorDetails& details) const {
  const Dialect dialect = dialect_for(request);
  HttpResponse response;
  response.status = error_status(dialect, error.status);
  response.body = error_body(dialect, error, details);
  return response;
}

HttpResponse Service::refusal(const HttpRequest& request, const RequestError& error) const {
  const std::string id = request_id();
  HttpResponse response = error_response(request, error, {.request_id = id});
  for (auto& header : id_headers(request, id)) response.headers.push_back(std::move(header));
  return response;
}

HttpResponse Service::problem(const HttpRequest& request, const HttpProblem& what) {
  RequestError error;
  error.status = what.status;
  error.message = what.message;
  HttpResponse response = refusal(request, error);
  if (what.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

/// False when the header says no number of seconds.
bool Service::set_deadline(HttpRequest& request) const {
  std::optional<std::chrono::duration<double>> time = options_.deadline;
  if (const std::string_view asked = request.header(kTimeoutHeader); !asked.empty()) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(asked.data(), asked.data() + asked.size(), seconds);
    if (error != std::errc() || end != asked.data() + asked.size() || !(seconds > 0)) return false;
    if (!time || seconds < time->count()) time.emplace(seconds);
  }
  // More would overflow the clock, and is never.
  if (time && time->count() < kLongestDeadline)
    request.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(*time);
  return true;
}

Admission Service::admit(HttpRequest& request) {
  Admission admission;
  const auto refuse = [&](int status, std::string message, std::string code) {
    RequestError error;
    error.status = status;
    error.message = std::move(message);
    error.code = std::move(code);
    admission.refusal = refusal(request, error);
    for (auto& header : security_.cors_headers(request))
      admission.refusal->headers.push_back(std::move(header));
    log(request, status, 0);
  };
  if (const std::optional<Refusal> refusal = security_.check_origin(request)) {
    refuse(refusal->status, refusal->message, refusal->code);
    return admission;
  }
  if (Security::is_preflight(request)) {
    admission.refusal = HttpResponse{
        .status = 204, .content_type = {}, .body = {}, .headers = security_.cors_headers(request)};
    return admission;
  }
  Match match = router_.match(request.method, request.segments);
  if (match.route == nullptr) {
    const bool method = !match.allowed.empty();
    refuse(method ? 405 : 404,
           method ? fmt::format("{} does not take {}, but {}", printable(request.path()),
                                printable(request.method), joined(match.allowed))
                  : fmt::format("there is nothing at {}", printable(request.path())),
           method ? "method_not_allowed" : "not_found");
    if (method) admission.refusal->headers.emplace_back("Allow", joined(match.allowed));
    return admission;
  }
  if (match.route->access == Access::kKey) {
    if (const auto refusal = security_.check_key(request, request.owner)) {
      refuse(refusal->status, refusal->message, refusal->code);
      admission.refusal->headers.emplace_back("WWW-Authenticate", "Bearer");
      return admission;
    }
  }
  if (!set_deadline(request)) {
    refuse(400, "X-Request-Timeout must be a number of seconds greater than 0", "invalid_value");
    return admission;
  }
  request.captures = std::move(match.captures);
  admission.body_limit = match.route->body_limit;
  admission.streams_body = match.route->streams_body;
  return admission;
}

void Service::handle(const HttpRequest& request, HttpExchange& exchange) {
  const auto start = Clock::now();
  const std::string id = request_id();
  Headers headers = security_.cors_headers(request);
  for (auto& header : id_headers(request, id)) headers.push_back(std::move(header));
  RecordingExchange recording(exchange, std::move(headers));
  const auto fail = [&](const RequestError& error, const ErrorDetails& details = {},
                        std::optional<std::chrono::seconds> retry_after = std::nullopt) {
    if (error.status >= 500) {
      options_.log(fmt::format("{} error id={} path={} message=\"{}\"", utc_now(), id,
                               printable(request.path()), printable(error.message, 1000)));
    }
    if (recording.begun()) return recording.end();
    HttpResponse response = error_response(request, error, details);
    if (retry_after)
      response.headers.emplace_back("Retry-After", fmt::format("{}", retry_after->count()));
    recording.respond(response);
  };
  const Match match = router_.match(request.method, request.segments);
  try {
    match.route->handler(request, recording);
  } catch (const RequestFailure& failure) {
    fail(failure.error(),
         {.request_id = id, .prompt_tokens = failure.prompt_tokens, .context = failure.context},
         failure.retry_after);
  } catch (const RequestError& error) {
    fail(error, {.request_id = id});
  } catch (const Error& error) {
    const bool usage = error.exit_code() == ExitCode::kUsage;
    fail({.status = usage ? 400 : 500, .message = sentence(error), .code = {}, .parameter = {}},
         {.request_id = id});
  } catch (const std::bad_alloc&) {
    fail({.status = 503, .message = "out of memory", .code = {}, .parameter = {}},
         {.request_id = id});
  } catch (const std::exception& error) {
    fail({.status = 500,
          .message = fmt::format("internal error: {}", printable(error.what())),
          .code = {},
          .parameter = {}},
         {.request_id = id});
  }
  const double seconds = seconds_since(start);
  metrics_.answered(match.route->method, match.route->pattern, recording.status, seconds);
  log(request, recording.status, seconds);
}

void Service::log(const HttpRequest& request, int status, double seconds) const {
  std::string line = fmt::format("{} request method={} path={} status={} seconds={:.3f} client={}",
                                 utc_now(), printable(request.method), printable(request.path()),
                                 status, seconds, request.peer);
  if (!request.owner.empty()) line += " key=" + request.owner;
  if (options_.log_prompts && !request.body.empty())
    line += fmt::format(" body=\"{}\"", printable(request.body, kMostLoggedBody));
  options_.log(line);
}

void Service::add_page(PageApi& api) {
  const Handler call = [&api](const HttpRequest& request, HttpExchange& exchange) {
    const std::size_t question = std::min(request.target.find('?'), request.target.size());
    const std::string_view query =
        std::string_view(request.target).substr(std::min(question + 1, request.target.size()));
    PageApiReply reply = api.handle(request.method == "HEAD" ? "GET" : request.method,
                                    request.path(), query, request.body, request.owner);
    exchange.respond({.status = reply.status,
                      .content_type = std::string(PageApiReply::kContentType),
                      .body = std::move(reply.body)});
  };
  RouteGroup routes(router_, "Hearth");
  const auto add = [&](const char* method, const char* pattern, const char* summary) {
    routes.add(method, pattern, summary, call).body_limit = PageApi::kMaxBodyBytes;
  };
  add("GET", "/hearth/models", "Models with what the plan says of them");
  add("GET", "/hearth/status", "Live numbers of the machine and the loaded models");
  add("GET", "/hearth/conversations", "Conversations, newest first, or those with the words of q");
  add("DELETE", "/hearth/conversations", "Delete all conversations");
  add("GET", "/hearth/conversations/{id}", "One conversation");
  add("PUT", "/hearth/conversations/{id}", "Store a conversation");
  add("DELETE", "/hearth/conversations/{id}", "Delete a conversation");
}

Caller caller_of(const HttpRequest& request) {
  return {.owner = request.owner,
          .client = request.owner.empty() ? request.peer : request.owner,
          .priority = 0,
          .deadline = request.deadline};
}

void answer_chat(const ServiceParts& parts, const HttpRequest& request, ChatExchange chat,
                 HttpExchange& exchange) {
  parts.metrics.replied(
      parts.runner.chat(chat.request, caller_of(request), *chat.writer, exchange));
}

void answer_completion(const ServiceParts& parts, const HttpRequest& request,
                       CompletionExchange completion, HttpExchange& exchange) {
  parts.metrics.replied(
      parts.runner.complete(completion.request, caller_of(request), *completion.writer, exchange));
}

}  // namespace hearth::serve
