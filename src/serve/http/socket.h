// Sockets: owned descriptors, and listening on addresses.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hearth::serve {

/// A descriptor that is closed at the end. Move-only.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] explicit operator bool() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

struct Listener {
  Descriptor socket;
  std::string address;  ///< "127.0.0.1:11434"
};

/// Listens on a numeric address, or on both loopback addresses for "localhost" (one of them, where
/// the machine lacks the other). `port` 0 becomes a free one. Non-blocking. Throws Error.
[[nodiscard]] std::vector<Listener> listen_on(const std::string& host, std::uint16_t& port,
                                              int backlog);

/// A connection that waits at `listener`, non-blocking; an empty descriptor when there is none,
/// with `errno` as accept left it. `peer` receives the client's address.
[[nodiscard]] Descriptor accept_from(const Descriptor& listener, std::string& peer);

/// Lets this process have `count` descriptors open, as far as its hard limit allows.
void want_descriptors(std::size_t count) noexcept;

}  // namespace hearth::serve
