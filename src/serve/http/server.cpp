#include "serve/http/server.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <thread>
#include <unordered_map>

#include "serve/http/connection.h"
#include "serve/http/tls.h"
#include "serve/http/workers.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using State = Connection::State;
using std::chrono::milliseconds;

constexpr milliseconds kTick{200};
/// How long, and how much of, a refused request is still read, so that the client gets to see the
/// answer instead of a reset connection.
constexpr milliseconds kDrainStall{3000}, kDrainDeadline{60'000};
constexpr std::size_t kDrainBytes = std::size_t{256} << 20;
/// Of one connection, before others have their turn.
constexpr int kReceivesAtOnce = 16;
/// Descriptors for everything else: models, the store, sockets that are being refused.
constexpr std::size_t kOtherDescriptors = 512;

}  // namespace

struct HttpServer::Impl {
  Impl(HttpApplication& served, const HttpLimits& given)
      : application(served),
        limits(given),
        epoll(::epoll_create1(EPOLL_CLOEXEC)),
        wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        buffer(kReceiveBytes) {
    if (!epoll || !wake) throw Error("the server cannot watch connections (epoll)");
    want_descriptors(limits.connections + kOtherDescriptors);
    watch(EPOLL_CTL_ADD, wake.get(), EPOLLIN);
  }

  void watch(int operation, int descriptor, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = descriptor;
    ::epoll_ctl(epoll.get(), operation, descriptor, &event);
  }
  void ring() const noexcept {
    const std::uint64_t one = 1;
    // It cannot fail but for a full counter, and then it rings anyway.
    [[maybe_unused]] const ssize_t written = ::write(wake.get(), &one, sizeof(one));
  }

  void run();
  void on_event(const epoll_event& event);
  void accept_all(const Descriptor& listener);
  bool make_room();
  [[nodiscard]] bool encrypt(Connection& connection);
  void on_readable(Connection& connection);
  bool shake_hands(Connection& connection);
  void discard(Connection& connection);
  void received(Connection& connection, std::string_view bytes);
  void advance(Connection& connection);
  void step(Connection& connection);
  bool read_head(Connection& connection);
  bool read_body(Connection& connection);
  void dispatch(Connection& connection);
  void handle(Connection& connection);
  void handled(Connection& connection, bool reusable);
  void refuse(Connection& connection, const HttpProblem& problem);
  void answer(Connection& connection, const HttpResponse& response);
  void flush(Connection& connection);
  void after_answer(Connection& connection, bool reusable);
  void close(Connection& connection);
  void release_body(Connection& connection);
  void collect_handled();
  void check_deadlines();
  void check_body(Connection& connection, Clock::time_point now);
  void begin_stop();

  HttpApplication& application;
  HttpLimits limits;
  std::shared_ptr<const TlsContext> tls;  // null: plain
  Descriptor epoll, wake;
  std::vector<Listener> listeners;
  std::vector<std::string> addresses;
  std::unordered_map<int, std::unique_ptr<Connection>> connections;  // by descriptor
  std::vector<std::unique_ptr<Connection>> closed;  // callers may still look at them
  std::vector<char> buffer;
  std::size_t body_bytes = 0;  // held by all requests
  bool accepting = false;
  Clock::time_point tick;

  std::thread thread;
  std::atomic<bool> stopping{false}, impatient{false};
  bool stop_begun = false, told_all = false;
  std::mutex mutex;
  std::condition_variable changed;
  struct Handled {
    Connection* connection;
    bool reusable;
  };
  std::vector<Handled> done;  // handled requests, for the server's thread

  std::atomic<std::int64_t> open{0}, handling{0}, accepted{0}, requests{0}, refused{0};
  std::unique_ptr<Workers> workers;  // last: its threads use the rest
};

void HttpServer::Impl::run() {
  for (const Listener& listener : listeners) watch(EPOLL_CTL_ADD, listener.socket.get(), EPOLLIN);
  accepting = true;
  tick = Clock::now();
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()),
                                   static_cast<int>(kTick.count()));
    for (int i = 0; i < count; ++i) on_event(events[static_cast<std::size_t>(i)]);
    collect_handled();
    if (Clock::now() - tick >= kTick) check_deadlines();
    if (stopping.load()) begin_stop();
    closed.clear();
    if (!stopping.load()) continue;
    if (connections.empty()) return;
  }
}

void HttpServer::Impl::on_event(const epoll_event& event) {
  const int descriptor = event.data.fd;
  if (descriptor == wake.get()) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t read = ::read(descriptor, &count, sizeof(count));
    return;
  }
  for (const Listener& listener : listeners) {
    if (listener.socket.get() == descriptor) return accept_all(listener.socket);
  }
  const auto found = connections.find(descriptor);
  if (found == connections.end()) return;  // closed by an event before this one
  Connection& connection = *found->second;
  switch (connection.state) {
    case State::kHandling:
      connection.tell_gone();
      break;
    case State::kFlushing:
      if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) return close(connection);
      flush(connection);
      break;
    default:
      on_readable(connection);
  }
}

void HttpServer::Impl::accept_all(const Descriptor& listener) {
  for (;;) {
    std::string peer;
    Descriptor socket = accept_from(listener, peer);
    if (!socket) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if ((errno == EMFILE || errno == ENFILE) && make_room()) return;
      // Nothing can be closed, or there is no memory: look again at the next tick instead of at
      // once and for ever.
      for (const Listener& each : listeners) watch(EPOLL_CTL_DEL, each.socket.get(), 0);
      accepting = false;
      return;
    }
    ++accepted;
    auto connection = std::make_unique<Connection>();
    const bool full = connections.size() >= limits.connections && !make_room();
    connection->socket = std::move(socket);
    connection->peer = std::move(peer);
    connection->reset(Clock::now());
    if (tls && !encrypt(*connection)) continue;
    Connection& added = *connection;
    const int descriptor = added.socket.get();
    connections.emplace(descriptor, std::move(connection));
    open.store(static_cast<std::int64_t>(connections.size()));
    watch(EPOLL_CTL_ADD, descriptor, EPOLLIN);
    if (!full) continue;
    ++refused;
    if (added.tls) {  // an answer would have to wait for its handshake
      close(added);
      continue;
    }
    added.head.keep_alive = false;
    answer(added, application.problem(added.head.request,
                                      {503, "too many connections are open; try again later"}));
    if (connections.size() > 2 * limits.connections) return;
  }
}

/// Closes the connection that has been idle for longest; false when none is.
bool HttpServer::Impl::make_room() {
  Connection* oldest = nullptr;
  for (const auto& [descriptor, connection] : connections) {
    const State state = connection->state;
    const bool idle =
        state == State::kIdle || state == State::kDraining || state == State::kHandshake;
    if (idle && (oldest == nullptr || connection->since < oldest->since)) oldest = connection.get();
  }
  if (oldest == nullptr) return false;
  close(*oldest);
  return true;
}

/// False when there is no memory for it.
bool HttpServer::Impl::encrypt(Connection& connection) {
  try {
    connection.tls = std::make_unique<TlsStream>(*tls, connection.socket.get());
  } catch (const Error&) {
    return false;
  }
  connection.state = State::kHandshake;
  return true;
}

void HttpServer::Impl::on_readable(Connection& connection) {
  if (connection.state == State::kDraining) return discard(connection);
  if (connection.state == State::kHandshake && !shake_hands(connection)) return;
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    const Transfer transfer = connection.receive(buffer);
    if (transfer.need == Transfer::Need::kEnd) return close(connection);
    if (transfer.count == 0) return;
    received(connection, std::string_view(buffer.data(), transfer.count));
    const State state = connection.state;
    if (state == State::kHandling || state == State::kFlushing || state == State::kClosed) return;
    if (state == State::kDraining) return;
    // A record of TLS is smaller than the buffer, and there may be another one.
    if (transfer.count < buffer.size() && !connection.tls) return;
  }
}

/// True when the handshake is done.
bool HttpServer::Impl::shake_hands(Connection& connection) {
  const Transfer::Need need = connection.tls->handshake();
  if (need == Transfer::Need::kNothing) {
    watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLIN);
    connection.reset(Clock::now());
    return true;
  }
  if (need == Transfer::Need::kEnd) {
    if (!connection.tls->was_plain_http()) {
      close(connection);
      return false;
    }
    connection.tls.reset();
    connection.head.keep_alive = false;
    answer(connection, {.status = 400,
                        .content_type = "text/plain",
                        .body = "this server speaks HTTPS: write https:// in its address\n"});
    return false;
  }
  watch(EPOLL_CTL_MOD, connection.socket.get(),
        need == Transfer::Need::kWritable ? EPOLLOUT : EPOLLIN);
  return false;
}

/// Nothing is decrypted any more: what comes is only taken so that the client sees the answer.
void HttpServer::Impl::discard(Connection& connection) {
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    const ssize_t count = ::recv(connection.socket.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (count <= 0) return close(connection);
    connection.progress = Clock::now();
    connection.body_received += static_cast<std::size_t>(count);
    if (connection.body_received > kDrainBytes) return close(connection);
  }
}

void HttpServer::Impl::received(Connection& connection, std::string_view bytes) {
  connection.progress = Clock::now();
  if (connection.state == State::kBody) connection.body_received += bytes.size();
  connection.input += bytes;
  advance(connection);
}

/// Goes on with what was received, request by request: a client may send many at once.
void HttpServer::Impl::advance(Connection& connection) {
  if (connection.advancing) return;  // from an answer below
  connection.advancing = true;
  do {
    step(connection);
  } while (connection.state == State::kIdle && !connection.input.empty());
  connection.advancing = false;
}

void HttpServer::Impl::step(Connection& connection) {
  if (connection.state == State::kIdle) {
    // Empty lines before a request are to be passed over (RFC 9112, section 2.2).
    connection.input.erase(
        0, std::min(connection.input.find_first_not_of("\r\n"), connection.input.size()));
    if (connection.input.empty()) return;
    connection.state = State::kHead;
    connection.since = connection.progress = Clock::now();
  }
  if (connection.state == State::kHead && !read_head(connection)) return;
  if (connection.state == State::kBody && !read_body(connection)) return;
  if (connection.state == State::kBody) dispatch(connection);
}

/// True when the head is whole and accepted.
bool HttpServer::Impl::read_head(Connection& connection) {
  const std::optional<std::size_t> end = find_head_end(connection.input, connection.searched);
  if (!end && connection.input.size() <= limits.message.head_bytes) return false;
  connection.head = {};
  const std::string_view bytes = connection.input;
  std::optional<HttpProblem> problem =
      parse_head(bytes.substr(0, end.value_or(bytes.size())), limits.message, connection.head);
  connection.head.request.peer = connection.peer;
  if (problem || !end) {
    connection.head.keep_alive = false;
    refuse(connection, problem.value_or(HttpProblem{}));
    return false;
  }
  connection.input.erase(0, *end);
  ++requests;
  const BodyFraming& framing = connection.head.framing;
  connection.admission = application.admit(connection.head.request);
  connection.decoder.emplace(framing);
  if (connection.admission.refusal) {
    connection.head.keep_alive = connection.head.keep_alive && framing.empty();
    answer(connection, *connection.admission.refusal);
    return false;
  }
  if (!framing.chunked && framing.length > connection.admission.body_limit) {
    connection.head.keep_alive = false;
    refuse(connection, {413, fmt::format("the body is {} bytes long; {} are allowed",
                                         framing.length, connection.admission.body_limit)});
    return false;
  }
  connection.state = State::kBody;
  connection.since = connection.progress = Clock::now();
  connection.body_received = connection.input.size();
  if (connection.head.expects_continue && !framing.empty() && connection.input.empty() &&
      !connection.admission.streams_body) {
    // So short that it always fits into an empty socket buffer.
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    if (connection.transmit(kContinue).count != kContinue.size()) {
      close(connection);
      return false;
    }
  }
  return true;
}

/// True when the body is whole (or the handler reads it).
bool HttpServer::Impl::read_body(Connection& connection) {
  if (connection.admission.streams_body) return true;
  std::string& body = connection.head.request.body;
  const std::size_t limit = connection.admission.body_limit;
  const std::size_t before = body.size();
  std::string_view input = connection.input;
  // One byte more than allowed tells that there are too many.
  std::optional<HttpProblem> problem = connection.decoder->decode(input, limit + 1 - before, body);
  connection.input.erase(0, connection.input.size() - input.size());
  body_bytes += body.size() - before;
  connection.body_held += body.size() - before;
  if (!problem && body.size() > limit)
    problem = HttpProblem{413, fmt::format("the body is larger than the {} bytes allowed", limit)};
  if (!problem && body_bytes > limits.body_bytes)
    problem = HttpProblem{503, "too many large requests come in at once; try again later"};
  if (problem) {
    connection.head.keep_alive = false;
    refuse(connection, *problem);
    return false;
  }
  return connection.decoder->done();
}

void HttpServer::Impl::dispatch(Connection& connection) {
  connection.state = State::kHandling;
  // A handler that streams the body reads the socket itself; for others a hang-up is watched.
  if (connection.admission.streams_body) {
    watch(EPOLL_CTL_DEL, connection.socket.get(), 0);
  } else {
    watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLRDHUP | EPOLLONESHOT);
  }
  ++handling;
  if (workers->run([this, &connection] { handle(connection); })) return;
  --handling;
  if (connection.admission.streams_body) watch(EPOLL_CTL_ADD, connection.socket.get(), EPOLLIN);
  connection.head.keep_alive = false;
  refuse(connection, {503, "too many requests are being worked on; try again later"});
}

/// On a worker thread.
void HttpServer::Impl::handle(Connection& connection) {
  ConnectionExchange exchange(connection, limits, stopping);
  application.handle(connection.head.request, exchange);
  exchange.on_gone(nullptr);
  if (!exchange.begun()) {
    exchange.respond(
        application.problem(connection.head.request, {500, "the request was not answered"}));
  }
  exchange.end();
  {
    const std::lock_guard lock(mutex);
    done.push_back({&connection, exchange.reusable()});
    --handling;
    // Under the lock: stop() must not see 0 before the entry is there.
    changed.notify_all();
  }
  ring();
}

void HttpServer::Impl::collect_handled() {
  std::vector<Handled> finished;
  {
    const std::lock_guard lock(mutex);
    finished.swap(done);
  }
  for (const Handled& each : finished) {
    Connection& connection = *each.connection;
    watch(connection.admission.streams_body ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
          connection.socket.get(), EPOLLIN);
    after_answer(connection, each.reusable && !connection.gone.load());
  }
}

void HttpServer::Impl::refuse(Connection& connection, const HttpProblem& problem) {
  answer(connection, application.problem(connection.head.request, problem));
}

/// The server's own answer, without a worker.
void HttpServer::Impl::answer(Connection& connection, const HttpResponse& response) {
  if (response.status >= 400) ++refused;
  connection.close_after = response.close || !connection.head.keep_alive || stopping.load();
  const bool without_body = has_no_body(response.status);
  connection.output =
      response_head(response, without_body ? std::nullopt : std::optional(response.body.size()),
                    without_body ? 0 : 1, !connection.close_after);
  if (connection.head.request.method != "HEAD" && !without_body) connection.output += response.body;
  connection.state = State::kFlushing;
  connection.since = Clock::now();
  flush(connection);
}

void HttpServer::Impl::flush(Connection& connection) {
  while (!connection.output.empty()) {
    const Transfer sent = connection.transmit(connection.output);
    if (sent.need == Transfer::Need::kEnd) return close(connection);
    connection.output.erase(0, sent.count);
    if (sent.need == Transfer::Need::kWritable)
      return watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLOUT);
    if (sent.need == Transfer::Need::kReadable)
      return watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLIN);
  }
  watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLIN);
  after_answer(connection, !connection.close_after);
}

void HttpServer::Impl::after_answer(Connection& connection, bool reusable) {
  release_body(connection);
  if (reusable && !stopping.load()) {
    connection.reset(Clock::now());
    return advance(connection);
  }
  if (connection.gone.load()) return close(connection);
  connection.shut_down_sending();
  connection.state = State::kDraining;
  connection.since = connection.progress = Clock::now();
  connection.body_received = 0;
  connection.input = {};
}

void HttpServer::Impl::release_body(Connection& connection) {
  body_bytes -= connection.body_held;
  connection.body_held = 0;
  connection.head.request.body = {};
}

void HttpServer::Impl::close(Connection& connection) {
  if (connection.state == State::kClosed) return;
  release_body(connection);
  if (connection.tls && connection.state == State::kIdle) connection.tls->finish();
  connection.state = State::kClosed;
  connection.input = {};
  const auto found = connections.find(connection.socket.get());
  closed.push_back(std::move(found->second));
  connections.erase(found);
  connection.socket = Descriptor();  // which takes it out of the epoll set
  open.store(static_cast<std::int64_t>(connections.size()));
}

void HttpServer::Impl::check_deadlines() {
  const Clock::time_point now = tick = Clock::now();
  if (!accepting && !stopping.load()) {
    for (const Listener& listener : listeners) watch(EPOLL_CTL_ADD, listener.socket.get(), EPOLLIN);
    accepting = true;
  }
  std::vector<Connection*> all;  // closing one changes the map
  all.reserve(connections.size());
  for (const auto& [descriptor, connection] : connections) all.push_back(connection.get());
  for (Connection* connection : all) {
    const auto age = now - connection->since;
    switch (connection->state) {
      case State::kHandshake:
        if (age > limits.head_deadline) close(*connection);
        break;
      case State::kIdle:
        if (age > limits.idle_deadline) close(*connection);
        break;
      case State::kHead:
        if (age < limits.head_deadline) break;
        connection->head.keep_alive = false;
        refuse(*connection, {408, "the request's headers did not come in time"});
        break;
      case State::kBody:
        check_body(*connection, now);
        break;
      case State::kFlushing:
        if (age > limits.write_stall) close(*connection);
        break;
      case State::kDraining:
        if (now - connection->progress > kDrainStall || age > kDrainDeadline) close(*connection);
        break;
      case State::kHandling:
      case State::kClosed:
        break;
    }
  }
}

void HttpServer::Impl::check_body(Connection& connection, Clock::time_point now) {
  const auto age = now - connection.since;
  const bool stalled = now - connection.progress > limits.body_stall;
  const bool slow = age > limits.body_grace && static_cast<double>(connection.body_received) <
                                                   std::chrono::duration<double>(age).count() *
                                                       static_cast<double>(limits.body_rate);
  if (!stalled && !slow) return;
  connection.head.keep_alive = false;
  refuse(connection, {408, "the request's body did not come in time"});
}

/// Closes what nobody works on; with `impatient` tells the rest that their clients are gone.
void HttpServer::Impl::begin_stop() {
  if (!stop_begun) {
    for (const Listener& listener : listeners) watch(EPOLL_CTL_DEL, listener.socket.get(), 0);
    listeners.clear();
    accepting = false;
    stop_begun = true;
  }
  const bool hurry = impatient.load() && !std::exchange(told_all, impatient.load());
  std::vector<Connection*> waiting;
  for (const auto& [descriptor, connection] : connections) {
    const State state = connection->state;
    if (state == State::kHandling) {
      if (!hurry) continue;
      connection->tell_gone();
      ::shutdown(connection->socket.get(), SHUT_RDWR);  // wakes a worker that waits for the client
    } else if (impatient.load() || state == State::kHandshake || state == State::kIdle ||
               state == State::kHead || state == State::kBody) {
      waiting.push_back(connection.get());
    }
  }
  for (Connection* connection : waiting) close(*connection);
}

HttpServer::HttpServer(HttpApplication& application, const HttpLimits& limits)
    : impl_(std::make_unique<Impl>(application, limits)) {
  impl_->workers = std::make_unique<Workers>(limits.workers);
}

HttpServer::~HttpServer() { stop(milliseconds(0)); }

std::uint16_t HttpServer::listen(const std::string& host, std::uint16_t port) {
  std::vector<Listener> added = listen_on(host, port, impl_->limits.backlog);
  for (Listener& listener : added) {
    impl_->addresses.push_back(listener.address);
    impl_->listeners.push_back(std::move(listener));
  }
  return port;
}

void HttpServer::use_tls(std::shared_ptr<const TlsContext> context) {
  impl_->tls = std::move(context);
}

const std::vector<std::string>& HttpServer::addresses() const noexcept { return impl_->addresses; }

void HttpServer::start() {
  impl_->thread = std::thread([this] { impl_->run(); });
}

void HttpServer::stop(milliseconds patience, const std::function<void()>& cut,
                      milliseconds last_words) {
  Impl& impl = *impl_;
  impl.stopping.store(true);
  impl.ring();
  const auto all_end = [&](milliseconds within) {
    std::unique_lock lock(impl.mutex);
    return impl.changed.wait_for(lock, within, [&] { return impl.handling.load() == 0; });
  };
  if (!all_end(patience) && cut) {
    cut();
    all_end(last_words);
  }
  impl.impatient.store(true);
  impl.ring();
  if (impl.thread.joinable()) impl.thread.join();
}

HttpCounters HttpServer::counters() const {
  const Impl& impl = *impl_;
  return {.connections = impl.open.load(),
          .handling = impl.handling.load(),
          .accepted = impl.accepted.load(),
          .requests = impl.requests.load(),
          .refused = impl.refused.load()};
}

}  // namespace hearth::serve
