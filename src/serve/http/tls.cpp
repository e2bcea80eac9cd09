#include "serve/http/tls.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <limits>
#include <string>
#include <system_error>

#include "support/error.h"

namespace hearth::serve {
namespace {

int socket_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

bool must_wait(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int write_socket(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(socket_of(bio), data, size, MSG_NOSIGNAL);
  if (sent < 0 && must_wait(errno)) BIO_set_retry_write(bio);
  *written = sent > 0 ? static_cast<std::size_t>(sent) : 0;
  return sent > 0 ? 1 : 0;
}

int read_socket(BIO* bio, char* data, std::size_t size, std::size_t* read) {
  BIO_clear_retry_flags(bio);
  const ssize_t received = ::recv(socket_of(bio), data, size, 0);
  if (received < 0 && must_wait(errno)) BIO_set_retry_read(bio);
  *read = received > 0 ? static_cast<std::size_t>(received) : 0;
  return received > 0 ? 1 : 0;
}

long control_socket(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/// OpenSSL's own sockets write without MSG_NOSIGNAL: a client that is gone would end the program.
const BIO_METHOD* socket_method() {
  static const std::unique_ptr<BIO_METHOD, void (*)(BIO_METHOD*)> method = [] {
    std::unique_ptr<BIO_METHOD, void (*)(BIO_METHOD*)> made(
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"), BIO_meth_free);
    BIO_meth_set_write_ex(made.get(), write_socket);
    BIO_meth_set_read_ex(made.get(), read_socket);
    BIO_meth_set_ctrl(made.get(), control_socket);
    return made;
  }();
  return method.get();
}

std::string last_reason() {
  // The first error is the cause: a file that cannot be opened is the system's.
  const unsigned long error = ERR_peek_error();
  if (ERR_SYSTEM_ERROR(error)) return std::generic_category().message(ERR_GET_REASON(error));
  const char* reason = ERR_reason_error_string(error);
  return reason == nullptr ? "no reason is known" : reason;
}

/// Nobody is there to be asked for a passphrase.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return 0; }

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }

TlsContext::TlsContext(const std::filesystem::path& certificate, const std::filesystem::path& key)
    : context_(SSL_CTX_new(TLS_server_method())) {
  SSL_CTX* context = context_.get();
  if (context == nullptr) throw Error("TLS cannot be set up: " + last_reason());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(
      context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    throw Error(fmt::format("the certificate {} cannot be used: {}",
                            printable(certificate.string(), 300), last_reason()),
                "give a PEM file with the certificate and those that vouch for it",
                ExitCode::kUsage);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    throw Error(
        fmt::format("the key {} cannot be used: {}", printable(key.string(), 300), last_reason()),
        "give the PEM file of the certificate's own key, without a passphrase", ExitCode::kUsage);
  }
}

void TlsStream::Free::operator()(ssl_st* stream) const noexcept { SSL_free(stream); }

TlsStream::TlsStream(const TlsContext& context, int socket) : stream_(SSL_new(context.get())) {
  BIO* bio = stream_ ? BIO_new(socket_method()) : nullptr;
  if (bio == nullptr) throw Error("there is no memory for another encrypted connection");
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
  BIO_set_init(bio, 1);
  SSL_set_bio(stream_.get(), bio, bio);  // which owns it
  SSL_set_accept_state(stream_.get());
}

Transfer::Need TlsStream::need_after(int result) {
  switch (SSL_get_error(stream_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Transfer::Need::kReadable;
    case SSL_ERROR_WANT_WRITE:
      return Transfer::Need::kWritable;
    case SSL_ERROR_ZERO_RETURN:
      return Transfer::Need::kEnd;
    default:
      broken_ = true;
      plain_http_ = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST;
      return Transfer::Need::kEnd;
  }
}

Transfer::Need TlsStream::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(stream_.get());
  return result == 1 ? Transfer::Need::kNothing : need_after(result);
}

Transfer TlsStream::receive(std::span<char> buffer) {
  ERR_clear_error();
  std::size_t count = 0;
  const int result = SSL_read_ex(stream_.get(), buffer.data(), buffer.size(), &count);
  return result == 1 ? Transfer{.count = count} : Transfer{.need = need_after(result)};
}

Transfer TlsStream::send(std::string_view bytes) {
  ERR_clear_error();
  std::size_t count = 0;
  const int result = SSL_write_ex(stream_.get(), bytes.data(), bytes.size(), &count);
  return result == 1 ? Transfer{.count = count} : Transfer{.need = need_after(result)};
}

void TlsStream::finish() noexcept {
  if (broken_ || !SSL_is_init_finished(stream_.get())) return;
  ERR_clear_error();
  SSL_shutdown(stream_.get());
}

}  // namespace hearth::serve
