// A small HTTP server on the loopback interface that answers as a test says, down to the byte: it
// can cut connections, stall, lie about ranges and headers.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace hearth::testing {

struct SeenRequest {
  std::string method, path;                    ///< the path with its query
  std::map<std::string, std::string> headers;  ///< names in lower case
  /// The range of a `Range: bytes=A-B` header, B inclusive.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> range;

  [[nodiscard]] std::string header(const std::string& name) const;
};

struct Reply {
  static constexpr std::size_t kEverything = std::numeric_limits<std::size_t>::max();

  int status = 200;
  std::vector<std::string> headers;  ///< lines; Content-Length is added
  std::string body;
  std::size_t cut_after = kEverything;    ///< bytes of the body, then the connection is closed
  std::size_t stall_after = kEverything;  ///< bytes of the body, then nothing until release()
  bool tell_length = true;
};

class FakeServer {
 public:
  using Handler = std::function<Reply(const SeenRequest&)>;

  explicit FakeServer(Handler handler);
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;
  ~FakeServer();

  /// "http://127.0.0.1:PORT", or under another name of the same machine.
  [[nodiscard]] std::string url(const std::string& host = "127.0.0.1") const;
  [[nodiscard]] std::vector<SeenRequest> seen() const;
  /// Waits until a reply has stalled. False after a minute.
  [[nodiscard]] bool wait_for_stall();
  /// Lets stalled replies go on.
  void release();

 private:
  void accept_connections();
  void serve(int connection);
  [[nodiscard]] bool answer(int connection, const SeenRequest& request);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SeenRequest> seen_;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
  int stalled_ = 0;
  bool released_ = false, stopping_ = false;
  std::thread acceptor_;
};

/// `body`, or the range of it that was asked for.
[[nodiscard]] Reply ranged(const SeenRequest& request, const std::string& body);
[[nodiscard]] Reply redirect(const std::string& location, int status = 302);

}  // namespace hearth::testing
