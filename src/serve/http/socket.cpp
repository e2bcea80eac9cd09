#include "serve/http/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "support/error.h"

namespace hearth::serve {
namespace {

constexpr std::uint16_t kOllamaPort = 11434;
/// A free port of one family may be taken in the other.
constexpr int kPortTries = 8;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

std::optional<Address> numeric_address(const std::string& host, std::uint16_t port) {
  Address address;
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size = sizeof(sockaddr_in);
    return address;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size = sizeof(sockaddr_in6);
    return address;
  }
  return std::nullopt;
}

std::uint16_t port_of(const Address& address) {
  if (address.storage.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
}

std::string text_of(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr, text,
              sizeof(text));
  } else {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr, text,
              sizeof(text));
  }
  return text;
}

[[noreturn]] void fail(const std::string& host, std::uint16_t port, int error) {
  if (error == EADDRINUSE) {
    throw Error(fmt::format("port {} is in use", port),
                port == kOllamaPort
                    ? "11434 is Ollama's port: stop Ollama (or the other Hearth), or "
                      "choose another one with --port"
                    : "stop the other program, or choose another port with --port");
  }
  if (error == EACCES || error == EPERM) {
    throw Error(fmt::format("this user may not listen on port {}", port),
                "choose one above 1023 with --port");
  }
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) {
    throw Error(fmt::format("this machine has no address {}", printable(host)),
                "give one of its own with --host, or 0.0.0.0 for all");
  }
  throw Error(
      fmt::format("cannot listen on {} port {}: {}", printable(host), port, std::strerror(error)));
}

/// The error is returned through `error` instead of thrown: some may be passed over.
std::optional<Listener> try_listen(const std::string& host, std::uint16_t& port, int backlog,
                                   int& error) {
  std::optional<Address> address = numeric_address(host, port);
  if (!address) {
    throw Error(fmt::format("'{}' is no IP address", printable(host)),
                "give --host localhost, an address of this machine, or 0.0.0.0 for all",
                ExitCode::kUsage);
  }
  Descriptor socket(
      ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  auto* generic = reinterpret_cast<sockaddr*>(&address->storage);
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (address->storage.ss_family == AF_INET6 &&
       ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
      ::bind(socket.get(), generic, address->size) != 0 || ::listen(socket.get(), backlog) != 0 ||
      ::getsockname(socket.get(), generic, &address->size) != 0) {
    error = errno;
    return std::nullopt;
  }
  port = port_of(*address);
  const bool v6 = address->storage.ss_family == AF_INET6;
  const std::string text = text_of(*address);
  return Listener{std::move(socket),
                  v6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port)};
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::vector<Listener> listen_on(const std::string& host, std::uint16_t& port, int backlog) {
  const bool both = host == "localhost";
  const std::uint16_t wanted = port;
  int error = 0;
  for (int attempt = 0; attempt < kPortTries; ++attempt) {
    port = wanted;
    std::vector<Listener> listeners;
    for (const std::string& address :
         both ? std::vector<std::string>{"127.0.0.1", "::1"} : std::vector<std::string>{host}) {
      error = 0;
      std::optional<Listener> listener = try_listen(address, port, backlog, error);
      if (listener) {
        listeners.push_back(std::move(*listener));
        continue;
      }
      const bool missing = error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
      if (!both || !missing) break;
      error = 0;
    }
    if (error == 0 && !listeners.empty()) return listeners;
    if (error == 0) error = EADDRNOTAVAIL;
    if (wanted != 0 || error != EADDRINUSE) break;
  }
  fail(host, port, error);
}

Descriptor accept_from(const Descriptor& listener, std::string& peer) {
  Address address;
  address.size = sizeof(address.storage);
  Descriptor socket(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&address.storage),
                              &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) return socket;
  peer = text_of(address);
  // Tokens are small packets that must not wait for one another.
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return socket;
}

void want_descriptors(std::size_t count) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count) return;
  limit.rlim_cur =
      limit.rlim_max == RLIM_INFINITY ? count : std::min<rlim_t>(count, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace hearth::serve
