// HTTPS: handshakes, requests and streams over the server's own connections, and clients that do
// not keep to it.
#include "serve/http/tls.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "serve/served_fixture.h"
#include "shared_dir.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* what) const noexcept { Free(what); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>>;
using Stream = std::unique_ptr<SSL, Freed<SSL, SSL_free>>;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// A key, and a certificate of "localhost" that it vouches for itself.
void make_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  const Key made(EVP_EC_gen("P-256"));
  const Certificate x509(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_set_pubkey(x509.get(), made.get());
  X509_NAME* name = X509_get_subject_name(x509.get());
  const unsigned char host[] = "localhost";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0);
  X509_set_issuer_name(x509.get(), name);
  ASSERT_GT(X509_sign(x509.get(), made.get(), EVP_sha256()), 0);
  const File certificate_file(std::fopen(certificate.c_str(), "w"), std::fclose);
  PEM_write_X509(certificate_file.get(), x509.get());
  const File key_file(std::fopen(key.c_str(), "w"), std::fclose);
  PEM_write_PrivateKey(key_file.get(), made.get(), nullptr, nullptr, 0, nullptr, nullptr);
}

/// A client that trusts the one certificate. Uses a RawClient's socket.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, const std::filesystem::path& certificate)
      : raw_(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_load_verify_locations(context_.get(), certificate.c_str(), nullptr);
    stream_.reset(SSL_new(context_.get()));
    SSL_set1_host(stream_.get(), "localhost");
    SSL_set_fd(stream_.get(), raw_.descriptor());
  }
  [[nodiscard]] bool connect() { return SSL_connect(stream_.get()) == 1; }
  void send(const std::string& bytes) {
    EXPECT_EQ(SSL_write(stream_.get(), bytes.data(), static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }
  /// Sends the records of `bytes` one byte after the other, as long as nothing comes back: true
  /// when something did before a thousand were sent.
  [[nodiscard]] bool trickle(const std::string& bytes) {
    BIO* records = BIO_new(BIO_s_mem());
    SSL_set0_wbio(stream_.get(), records);
    send(bytes);
    for (int i = 0; i < 1000; ++i) {
      char byte = 0;
      EXPECT_EQ(BIO_read(records, &byte, 1), 1);
      if (!raw_.send({&byte, 1})) return false;
      pollfd entry{raw_.descriptor(), POLLIN, 0};
      if (::poll(&entry, 1, 10) > 0) return true;
    }
    return false;
  }
  /// All that comes until `mark` does, or the server ends the connection.
  [[nodiscard]] std::string receive_until(std::string_view mark) {
    std::string all;
    char buffer[4096];
    while (all.find(mark) == std::string::npos) {
      const int count = SSL_read(stream_.get(), buffer, sizeof(buffer));
      if (count <= 0) break;
      all.append(buffer, static_cast<std::size_t>(count));
    }
    return all;
  }
  /// Whether the server has said that it ends.
  [[nodiscard]] bool was_closed() const {
    return (SSL_get_shutdown(stream_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }
  [[nodiscard]] int version() const { return SSL_version(stream_.get()); }
  [[nodiscard]] SSL_CTX* context() const { return context_.get(); }
  [[nodiscard]] SSL* stream() const { return stream_.get(); }

 private:
  RawClient raw_;
  Context context_;
  Stream stream_;
};

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override { make_certificate(certificate(), key()); }
  [[nodiscard]] std::filesystem::path certificate() const { return folder / "cert.pem"; }
  [[nodiscard]] std::filesystem::path key() const { return folder / "key.pem"; }
  void start(HttpLimits limits = {}, bool with_model = false) {
    TestServer::Options options = TestServer::small();
    options.http = limits;
    options.tls = std::make_shared<TlsContext>(certificate(), key());
    server.emplace(std::move(options));
    if (with_model)
      server->directory.add("stories", testing::shared_dir() / "models" / "stories260K.gguf");
    server->start();
  }
  [[nodiscard]] TlsClient client() const { return {server->port(), certificate()}; }

  testing::TemporaryFolder folder;
  std::optional<TestServer> server;
};

TEST_F(TlsTest, AnswersRequestAfterRequest) {
  start();
  TlsClient each = client();
  ASSERT_TRUE(each.connect());
  EXPECT_GE(each.version(), TLS1_2_VERSION);
  for (int i = 0; i < 3; ++i) {
    each.send(request_text("GET", "/health", {}));
    const std::string answer = each.receive_until(R"({"status":"ok"})");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  }
  each.send(request_text("GET", "/health", {}, "Connection: close\r\n"));
  EXPECT_NE(each.receive_until("never").find("200 OK"), std::string::npos);
  EXPECT_TRUE(each.was_closed());
}

TEST_F(TlsTest, TakesBodiesLargerThanARecord) {
  start();
  TlsClient each = client();
  ASSERT_TRUE(each.connect());
  const std::string body = R"({"model":"none","prompt":")" + std::string(3 << 20, 'x') + "\"}";
  each.send(request_text("POST", "/v1/completions", body));
  EXPECT_TRUE(each.receive_until("model_not_found").starts_with("HTTP/1.1 404"));
  // A handler reads this one itself; its bytes have another hash than its name says.
  const std::string blob(2 << 20, 'y');
  each.send(request_text("POST", "/api/blobs/sha256:" + std::string(64, '0'), blob,
                         "Expect: 100-continue\r\n"));
  const std::string answer = each.receive_until("digest mismatch");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 100")) << answer;
  EXPECT_NE(answer.find("HTTP/1.1 400"), std::string::npos) << answer;
}

/// Bytes of a record that never becomes whole are no progress.
TEST_F(TlsTest, BodiesWhoseRecordsTrickleEndInTime) {
  HttpLimits limits;
  limits.body_stall = milliseconds(300);
  start(limits);
  TlsClient each = client();
  ASSERT_TRUE(each.connect());
  each.send("POST /api/blobs/sha256:" + std::string(64, '0') +
            " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(each.receive_until("\r\n\r\n").starts_with("HTTP/1.1 100"));
  EXPECT_TRUE(each.trickle(std::string(9000, 'x')));
  EXPECT_TRUE(each.receive_until("\r\n\r\n").starts_with("HTTP/1.1 408"));
}

TEST_F(TlsTest, StreamsAndNoticesHangUps) {
  HEARTH_REQUIRE_FILE(testing::shared_dir() / "models" / "stories260K.gguf");
  start({}, /*with_model=*/true);
  const Json body = {{"model", "stories"},
                     {"prompt", "Once"},
                     {"max_tokens", 16},
                     {"stream", true},
                     {"temperature", 0}};
  TlsClient whole = client();
  ASSERT_TRUE(whole.connect());
  whole.send(request_text("POST", "/v1/completions", body.dump()));
  EXPECT_GT(event_data(whole.receive_until("[DONE]")).size(), 3U);
  {
    Json longer = body;
    longer["max_tokens"] = 250;
    TlsClient hanging = client();
    ASSERT_TRUE(hanging.connect());
    hanging.send(request_text("POST", "/v1/completions", longer.dump()));
    EXPECT_FALSE(hanging.receive_until("data:").empty());
  }
  while (server->http().counters().handling > 0) std::this_thread::yield();
  EXPECT_EQ(server->models().loaded().front().users, 0U);
}

TEST_F(TlsTest, HandshakesThatDoNotComeEndWithTheHeadsDeadline) {
  HttpLimits limits;
  limits.head_deadline = milliseconds(100);
  start(limits);
  RawClient silent(server->port());
  EXPECT_TRUE(silent.closed_within(std::chrono::seconds(30)));
  RawClient slow(server->port());
  slow.send("\x16\x03\x01");  // the first bytes of one
  EXPECT_TRUE(slow.closed_within(std::chrono::seconds(30)));
  TlsClient each = client();
  EXPECT_TRUE(each.connect());
}

TEST_F(TlsTest, TellsClientsThatSpeakPlainHttp) {
  start();
  const RawResponse response = server->get("/health");
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(response.body.find("https://"), std::string::npos);
  RawClient noise(server->port());
  noise.send(std::string(5000, '\xA7'));
  EXPECT_TRUE(noise.closed_within(std::chrono::seconds(30)));
  TlsClient each = client();
  EXPECT_TRUE(each.connect());
}

/// An end with bytes that nobody has read is a reset, which may take the answer away.
TEST_F(TlsTest, PlainHttpIsAnsweredBeforeTheConnectionEnds) {
  start();
  RawClient client(server->port());
  client.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + std::string(200'000, 'x'));
  EXPECT_EQ(client.receive().status, 400);
  char byte = 0;
  EXPECT_EQ(::recv(client.descriptor(), &byte, 1, 0), 0) << std::strerror(errno);
}

TEST_F(TlsTest, RefusesOldVersions) {
  start();
  TlsClient old = client();
  SSL_set_min_proto_version(old.stream(), TLS1_VERSION);
  SSL_set_max_proto_version(old.stream(), TLS1_1_VERSION);
  EXPECT_FALSE(old.connect());
}

TEST_F(TlsTest, StopsWithConnectionsInEveryState) {
  start();
  RawClient silent(server->port());
  TlsClient idle = client();
  ASSERT_TRUE(idle.connect());
  while (server->http().counters().connections < 2) std::this_thread::yield();
  server->http().stop(milliseconds(0));
  EXPECT_EQ(server->http().counters().connections, 0);
}

TEST_F(TlsTest, ManyClientsAtOnce) {
  start();
  std::vector<std::thread> clients;
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int k = 0; k < 4; ++k) {
        TlsClient each = client();
        if (!each.connect()) continue;
        each.send(request_text("GET", "/v1/models", {}));
        if (each.receive_until("\"data\"").starts_with("HTTP/1.1 200")) ++answered;
      }
    });
  }
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(answered.load(), 32);
}

TEST_F(TlsTest, FilesThatDoNotFitAreRefused) {
  EXPECT_THROW(TlsContext(folder / "absent.pem", key()), Error);
  EXPECT_THROW(TlsContext(certificate(), folder / "absent.pem"), Error);
  EXPECT_THROW(TlsContext(key(), key()), Error);
  make_certificate(folder / "other.pem", folder / "other-key.pem");
  EXPECT_THROW(TlsContext(certificate(), folder / "other-key.pem"), Error);
}

}  // namespace
}  // namespace hearth::serve
