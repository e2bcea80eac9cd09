// TLS for the server's connections (OpenSSL): the certificate, and one connection's encryption over
// a socket that does not block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

struct ssl_st;
struct ssl_ctx_st;

namespace hearth::serve {

/// What came of moving bytes over a socket that does not block.
struct Transfer {
  enum class Need : std::uint8_t {
    kNothing,   ///< `count` bytes went over
    kReadable,  ///< none did: try again when the socket is readable
    kWritable,  ///< none did: try again when it is writable
    kEnd,       ///< none did, and none will: it was closed, or is broken
  };
  std::size_t count = 0;
  Need need = Need::kNothing;
};

/// A certificate with its key. May be used by any number of connections.
class TlsContext {
 public:
  /// PEM files: the certificate with those that vouch for it, and its key (without a passphrase).
  /// Throws Error when they cannot be read or do not belong together.
  TlsContext(const std::filesystem::path& certificate, const std::filesystem::path& key);

  [[nodiscard]] ssl_ctx_st* get() const noexcept { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
};

/// One connection's encryption. One thread at a time.
class TlsStream {
 public:
  /// `socket` must outlive it, and stays the caller's.
  TlsStream(const TlsContext& context, int socket);

  /// Goes on with the handshake; kNothing: it is done.
  [[nodiscard]] Transfer::Need handshake();
  /// The handshake failed because the client speaks plain HTTP.
  [[nodiscard]] bool was_plain_http() const noexcept { return plain_http_; }

  [[nodiscard]] Transfer receive(std::span<char> buffer);
  /// `bytes` must not be empty, and after kWritable must begin as before.
  [[nodiscard]] Transfer send(std::string_view bytes);
  /// Tells the client that nothing more comes, if that can be done at once.
  void finish() noexcept;

 private:
  [[nodiscard]] Transfer::Need need_after(int result);

  struct Free {
    void operator()(ssl_st* stream) const noexcept;
  };
  std::unique_ptr<ssl_st, Free> stream_;
  bool plain_http_ = false;
  bool broken_ = false;  // nothing may be sent, not even that it ends
};

}  // namespace hearth::serve
