// One HTTP request by libcurl, in the steps that downloads need: it can run alone or among others
// in a multi handle, redirects are followed by hand so that a credential never leaves the host it
// was given for, and the response is judged before its first byte is taken. Internal to the room.
#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "hub/network.h"

namespace hearth::hub {

struct Request {
  std::string url;
  std::string bearer;  ///< for the host of `url` alone
  std::string accept;  ///< of the Accept header; empty: anything
  struct Range {
    std::uint64_t begin = 0, end = 0;  ///< the end is exclusive
  };
  std::optional<Range> range;
};

/// Status and headers of a response; names in lower case, the last of several wins.
struct Response {
  int status = 0;
  std::map<std::string, std::string> headers;

  [[nodiscard]] std::string header(const std::string& name) const;
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;
};

/// What a Content-Range header says; nothing when it is malformed or the total is not told.
struct ContentRange {
  std::uint64_t begin = 0, end = 0, total = 0;  ///< the end is exclusive
};
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view text);

/// How a request ended.
struct Outcome {
  enum class Kind {
    kDone,      ///< 2xx, and everything arrived (or the receiver had enough)
    kRedirect,  ///< run it again: it now asks the next address
    kRetry,     ///< may work later: 408, 429, 5xx, a cut or refused connection, a timeout
    kFailed,    ///< will not work: other statuses, bad addresses, certificates
  };
  Kind kind = Kind::kFailed;
  std::string message;  ///< one sentence, of kRetry and kFailed
  std::string hint;
  Milliseconds retry_after{0};  ///< what the server asked for
  bool unreachable = false;     ///< of kRetry: no connection was made at all
};

class Transfer {
 public:
  /// Takes the body of a 2xx response; false: enough. May throw, which ends the transfer; the
  /// exception comes out of finish().
  using Receiver = std::function<bool(const Response&, std::span<const std::byte>)>;

  Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  /// Sets up a request; handle() may then be performed. `receiver` is called with an empty span
  /// once when the headers of a 2xx response are there, too.
  void prepare(const Network& network, Request request, Receiver receiver);
  [[nodiscard]] CURL* handle() const noexcept { return easy_.get(); }
  /// Judges what curl reported. On kRedirect the request has been set up for the next address.
  [[nodiscard]] Outcome finish(CURLcode code);
  [[nodiscard]] const Response& response() const noexcept { return response_; }
  /// The address that answered last.
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  struct Closer {
    void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  void aim(const std::string& url);
  void take_header(std::string_view line);
  bool deliver(std::span<const std::byte> bytes);
  [[nodiscard]] Outcome redirect();
  [[nodiscard]] Outcome judge_status() const;
  [[nodiscard]] Outcome judge_error(CURLcode code) const;
  [[nodiscard]] std::string host() const;

  std::unique_ptr<CURL, Closer> easy_;
  std::unique_ptr<curl_slist, Closer> headers_;
  const Network* network_ = nullptr;
  Request request_;
  Receiver receiver_;
  std::string url_;
  Response response_;
  std::size_t header_bytes_ = 0;
  int redirects_ = 0;
  bool announced_ = false;  // the receiver knows the headers
  bool enough_ = false;
  std::exception_ptr thrown_;
  char error_[CURL_ERROR_SIZE] = {};
};

/// Scheme, host and port of an address, in lower case with the port filled in; empty when it is not
/// an http or https address.
[[nodiscard]] std::string origin_of(const std::string& url);

/// How long to wait before attempt `failures` + 1: the server's wish, or 0.5 s doubling up to 30 s.
[[nodiscard]] Milliseconds back_off(int failures, Milliseconds retry_after);

/// The longest Retry-After that is waited for.
inline constexpr Milliseconds kLongestWait{15 * 60 * 1000};

/// Seconds or an HTTP date (RFC 9110, 10.2.3); zero when it is neither.
[[nodiscard]] Milliseconds parse_retry_after(const std::string& text, std::time_t now);

/// Runs requests one after another, following redirects and retrying; throws Error when it gives
/// up. Returns the response; its body went to `receiver`, which after a retry gets it from the
/// beginning, announced by an empty span.
Response fetch(const Network& network, const Request& request, const Transfer::Receiver& receiver);

}  // namespace hearth::hub
