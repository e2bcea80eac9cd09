#include "serve/http/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "serve/request_failure.h"

namespace hearth::serve {
namespace {

/// False when the time is over first.
bool wait_for(int socket, Transfer::Need need, Clock::time_point until) {
  const bool reads = need == Transfer::Need::kReadable;
  pollfd entry{socket, static_cast<short>(reads ? POLLIN : POLLOUT), 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    const int ready = ::poll(&entry, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0;
  }
}

}  // namespace

Transfer Connection::receive(std::span<char> buffer) {
  if (tls) return tls->receive(buffer);
  for (;;) {
    const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (count > 0) return {.count = static_cast<std::size_t>(count)};
    if (count < 0 && errno == EINTR) continue;
    const bool later = count < 0 && errno == EAGAIN;
    return {.need = later ? Transfer::Need::kReadable : Transfer::Need::kEnd};
  }
}

Transfer Connection::transmit(std::string_view bytes) {
  if (tls) return tls->send(bytes);
  for (;;) {
    const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return {.count = static_cast<std::size_t>(count)};
    if (errno == EINTR) continue;
    return {.need = errno == EAGAIN ? Transfer::Need::kWritable : Transfer::Need::kEnd};
  }
}

void Connection::shut_down_sending() noexcept {
  if (tls) tls->finish();
  ::shutdown(socket.get(), SHUT_WR);
}

void Connection::tell_gone() {
  const std::lock_guard lock(gone_mutex);
  gone.store(true);
  if (gone_callback) std::exchange(gone_callback, nullptr)();
}

void Connection::reset(Clock::time_point now) {
  state = State::kIdle;
  since = progress = now;
  searched = 0;
  head = {};
  decoder.reset();
  admission = {};
  body_received = 0;
  close_after = false;
}

bool ConnectionExchange::may_keep_alive(const HttpResponse& response) const noexcept {
  return connection_.head.keep_alive && !response.close && !stopping_.load() &&
         connection_.decoder->done();
}

bool ConnectionExchange::send(std::string_view bytes) {
  // Whoever takes a little now and then would hold a worker for ever.
  const auto until = Clock::now() + limits_.write_stall +
                     std::chrono::milliseconds(1000 * bytes.size() / limits_.write_rate);
  while (!bytes.empty() && !failed_) {
    const Transfer sent = connection_.transmit(bytes);
    bytes.remove_prefix(sent.count);
    if (sent.need == Transfer::Need::kNothing) continue;
    failed_ =
        sent.need == Transfer::Need::kEnd || !wait_for(connection_.socket.get(), sent.need, until);
  }
  if (failed_) connection_.gone.store(true);
  return !failed_;
}

void ConnectionExchange::respond(const HttpResponse& response) {
  begun_ = ended_ = true;
  keep_alive_ = may_keep_alive(response);
  const bool without_length = has_no_body(response.status);
  std::string bytes =
      response_head(response, without_length ? std::nullopt : std::optional(response.body.size()),
                    without_length ? 0 : 1, keep_alive_);
  if (!head_only() && !without_length) bytes += response.body;
  send(bytes);
}

void ConnectionExchange::begin(const HttpResponse& response) {
  begun_ = true;
  const int version = connection_.head.request.minor_version;
  chunked_ = version == 1;
  keep_alive_ = may_keep_alive(response) && chunked_;
  send(response_head(response, std::nullopt, version, keep_alive_));
  write(response.body);
}

bool ConnectionExchange::write(std::string_view piece) {
  if (gone()) return false;
  if (piece.empty() || head_only()) return true;
  if (!chunked_) return send(piece);
  std::string bytes = fmt::format("{:x}\r\n", piece.size());
  bytes += piece;
  bytes += "\r\n";
  return send(bytes);
}

void ConnectionExchange::end() {
  if (ended_) return;
  ended_ = true;
  if (chunked_ && !head_only()) send("0\r\n\r\n");
}

void ConnectionExchange::on_gone(std::function<void()> callback) {
  const std::lock_guard lock(connection_.gone_mutex);
  if (callback && gone()) return callback();
  connection_.gone_callback = std::move(callback);
}

void ConnectionExchange::receive_body() {
  // The client may have closed its side only: it is told, but the connection is not used again.
  const auto broken = [](int status, const char* message) {
    throw RequestFailure(status, message);
  };
  if (body_begin_ == Clock::time_point()) body_begin_ = Clock::now();
  if (connection_.head.expects_continue && !continued_) {
    continued_ = true;
    send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  std::string& input = connection_.input;
  input.resize(kReceiveBytes);
  // A record of TLS may come byte by byte, none of which counts before the last one has come.
  const auto until = Clock::now() + limits_.body_stall;
  Transfer received;
  while ((received = connection_.receive(input)).count == 0) {
    if (received.need == Transfer::Need::kEnd) {
      input.clear();
      broken(400, "the client broke off in the middle of its request");
    }
    if (wait_for(connection_.socket.get(), received.need, until)) continue;
    input.clear();
    broken(408, "the request's body stopped coming");
  }
  input.resize(received.count);
  connection_.body_received += input.size();
  const auto elapsed = Clock::now() - body_begin_;
  if (elapsed > limits_.body_grace &&
      static_cast<double>(connection_.body_received) <
          std::chrono::duration<double>(elapsed).count() * static_cast<double>(limits_.body_rate)) {
    broken(408, "the request's body comes too slowly");
  }
}

bool ConnectionExchange::read_body(std::string& out, std::size_t most) {
  out.clear();
  BodyDecoder& decoder = *connection_.decoder;
  while (out.empty() && !decoder.done()) {
    if (connection_.input.empty()) receive_body();
    std::string_view input = connection_.input;
    std::optional<HttpProblem> problem = decoder.decode(input, most, out);
    connection_.input.erase(0, connection_.input.size() - input.size());
    body_read_ += out.size();
    if (!problem && body_read_ > connection_.admission.body_limit) {
      problem =
          HttpProblem{413, fmt::format("the body is larger than the {} bytes that are allowed",
                                       connection_.admission.body_limit)};
    }
    if (problem) throw RequestFailure(problem->status, problem->message);
  }
  return !out.empty();
}

}  // namespace hearth::serve
