#include "serve/raw_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "serve/http/message.h"

namespace hearth::serve {
namespace {

/// Longer than anything takes, also under sanitizers on a busy machine.
constexpr int kPatience = 60'000;

bool wait_readable(int socket, int patience) {
  pollfd entry{socket, POLLIN, 0};
  return ::poll(&entry, 1, patience) > 0;
}

}  // namespace

std::string RawResponse::header(std::string_view name) const {
  std::size_t at = head.find("\r\n");
  while (at != std::string::npos && at + 2 < head.size()) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string_view line = std::string_view(head).substr(begin, at - begin);
    const std::size_t colon = line.find(": ");
    if (colon != std::string_view::npos && lower_case(line.substr(0, colon)) == name)
      return std::string(line.substr(colon + 2));
  }
  return {};
}

RawClient::RawClient(std::uint16_t port, bool v6)
    : socket_(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in v4_address{};
  v4_address.sin_family = AF_INET;
  v4_address.sin_port = htons(port);
  v4_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6_address{};
  v6_address.sin6_family = AF_INET6;
  v6_address.sin6_port = htons(port);
  v6_address.sin6_addr = in6addr_loopback;
  const auto* address = v6 ? reinterpret_cast<const sockaddr*>(&v6_address)
                           : reinterpret_cast<const sockaddr*>(&v4_address);
  const socklen_t size = v6 ? sizeof(v6_address) : sizeof(v4_address);
  if (!socket_ || ::connect(socket_.get(), address, size) != 0)
    throw std::runtime_error("the test's client cannot connect");
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawClient::fill() {
  char buffer[16384];
  if (!wait_readable(socket_.get(), kPatience)) return false;
  const ssize_t count = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
  if (count <= 0) return false;
  input_.append(buffer, static_cast<std::size_t>(count));
  return true;
}

RawResponse RawClient::receive(bool head_request) {
  RawResponse response;
  std::size_t end = 0;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return response;
  }
  response.head = input_.substr(0, end + 2);
  input_.erase(0, end + 4);
  const int status = std::atoi(response.head.substr(9, 3).c_str());
  const std::string length = response.header("content-length");
  const bool chunked = response.header("transfer-encoding") == "chunked";
  const bool bodyless = head_request || status == 204 || status == 304;
  if (!bodyless && !length.empty()) {
    const std::size_t size = std::strtoul(length.c_str(), nullptr, 10);
    while (input_.size() < size) {
      if (!fill()) return response;
    }
    response.body = input_.substr(0, size);
    input_.erase(0, size);
  } else if (!bodyless && chunked) {
    BodyDecoder decoder({.chunked = true, .length = 0});
    for (;;) {
      std::string_view rest = input_;
      if (decoder.decode(rest, std::size_t{1} << 30, response.body)) return response;
      input_.erase(0, input_.size() - rest.size());
      if (decoder.done()) break;
      if (!fill()) return response;
    }
  } else if (!bodyless) {
    while (fill()) {
    }
    response.body = std::exchange(input_, {});
  }
  response.status = status;
  return response;
}

std::string RawClient::receive_bytes(std::size_t count) {
  while (input_.size() < count && fill()) {
  }
  return input_;
}

bool RawClient::closed_within(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !wait_readable(socket_.get(), static_cast<int>(left.count())))
      return false;
    char buffer[4096];
    if (::recv(socket_.get(), buffer, sizeof(buffer), 0) <= 0) return true;
  }
}

void RawClient::shut_down_writing() { ::shutdown(socket_.get(), SHUT_WR); }

RawResponse RawClient::ask(std::uint16_t port, std::string_view bytes) {
  RawClient client(port);
  client.send(bytes);  // the server may answer before it has all
  return client.receive(bytes.starts_with("HEAD "));
}

std::string request_text(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view more_headers) {
  std::string text(method);
  text += ' ';
  text += target;
  text += " HTTP/1.1\r\nHost: localhost\r\n";
  text += more_headers;
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  text += "\r\n";
  text += body;
  return text;
}

}  // namespace hearth::serve
