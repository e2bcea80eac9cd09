#include "hub/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>

namespace hearth::testing {
namespace {

bool send_all(int connection, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(connection, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

SeenRequest parse(const std::string& head) {
  SeenRequest request;
  std::size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  const std::size_t space = first.find(' ');
  request.method = first.substr(0, space);
  request.path = first.substr(space + 1, first.rfind(' ') - space - 1);
  while (line_end + 2 < head.size()) {
    const std::size_t begin = line_end + 2;
    line_end = head.find("\r\n", begin);
    if (line_end == std::string::npos || line_end == begin) break;
    const std::string line = head.substr(begin, line_end - begin);
    const std::size_t colon = line.find(':');
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(std::tolower(c)); });
    request.headers[name] = line.substr(std::min(line.size(), colon + 2));
  }
  unsigned long long from = 0, to = 0;
  if (std::sscanf(request.header("range").c_str(), "bytes=%llu-%llu", &from, &to) == 2)
    request.range = {from, to};
  return request;
}

}  // namespace

std::string SeenRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

FakeServer::FakeServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no loopback server");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_connections(); });
}

FakeServer::~FakeServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = released_ = true;
    for (const int connection : connections_) ::shutdown(connection, SHUT_RDWR);
    changed_.notify_all();
  }
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  for (std::thread& thread : threads_) thread.join();
}

std::string FakeServer::url(const std::string& host) const {
  return "http://" + host + ":" + std::to_string(port_);
}

std::vector<SeenRequest> FakeServer::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

bool FakeServer::wait_for_stall() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::minutes(1), [this] { return stalled_ > 0; });
}

void FakeServer::release() {
  const std::lock_guard lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

void FakeServer::accept_connections() {
  for (;;) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      ::close(connection);
      return;
    }
    connections_.push_back(connection);
    threads_.emplace_back([this, connection] { serve(connection); });
  }
}

void FakeServer::serve(int connection) {
  std::string pending;
  for (;;) {
    std::size_t end = 0;
    while ((end = pending.find("\r\n\r\n")) == std::string::npos) {
      char buffer[4096];
      const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      pending.append(buffer, static_cast<std::size_t>(got));
    }
    if (end == std::string::npos) break;
    const SeenRequest request = parse(pending.substr(0, end + 4));
    pending.erase(0, end + 4);
    if (!answer(connection, request)) break;
  }
  const std::lock_guard lock(mutex_);
  connections_.erase(std::find(connections_.begin(), connections_.end(), connection));
  ::close(connection);
}

bool FakeServer::answer(int connection, const SeenRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(request);
  }
  const Reply reply = handler_(request);
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " X\r\n";
  for (const std::string& line : reply.headers) head += line + "\r\n";
  head += reply.tell_length ? "Content-Length: " + std::to_string(reply.body.size()) + "\r\n"
                            : std::string("Connection: close\r\n");
  head += "\r\n";
  if (!send_all(connection, head.data(), head.size())) return false;
  const std::size_t first = std::min({reply.body.size(), reply.cut_after, reply.stall_after});
  if (!send_all(connection, reply.body.data(), first)) return false;
  if (reply.stall_after < reply.body.size()) {
    std::unique_lock lock(mutex_);
    ++stalled_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
    if (stopping_) return false;
  }
  if (reply.cut_after < reply.body.size()) return false;
  return send_all(connection, reply.body.data() + first, reply.body.size() - first) &&
         reply.tell_length;
}

Reply ranged(const SeenRequest& request, const std::string& body) {
  Reply reply;
  reply.headers = {"Accept-Ranges: bytes", "ETag: \"v1\""};
  if (!request.range || request.range->first >= body.size()) {
    reply.body = body;
    return reply;
  }
  const std::uint64_t last = std::min<std::uint64_t>(request.range->second, body.size() - 1);
  reply.status = 206;
  reply.body = body.substr(request.range->first, last - request.range->first + 1);
  reply.headers.push_back("Content-Range: bytes " + std::to_string(request.range->first) + "-" +
                          std::to_string(last) + "/" + std::to_string(body.size()));
  return reply;
}

Reply redirect(const std::string& location, int status) {
  Reply reply;
  reply.status = status;
  reply.headers = {"Location: " + location};
  reply.body = "moved";
  return reply;
}

}  // namespace hearth::testing
