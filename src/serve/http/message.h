// HTTP messages as plain data, and the bounded parser of what clients send (RFC 9110, RFC 9112).
// Nothing here knows sockets.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::serve {

/// Nothing: never.
using Deadline = std::optional<std::chrono::steady_clock::time_point>;
using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  ///< "GET"
  std::string target;  ///< as it was sent
  /// The path's segments, decoded: valid UTF-8 without control characters, never "." or "..". A
  /// segment may hold a slash that was sent as %2F. "/" is no segment.
  std::vector<std::string> segments;
  std::vector<std::pair<std::string, std::string>> query;  ///< decoded, in order
  Headers headers;                                         ///< names in lower case
  int minor_version = 1;                                   ///< HTTP/1.x
  std::string body;                                        ///< empty for routes that stream it

  // Filled in by the application:
  std::vector<std::pair<std::string, std::string>> captures;  ///< what {name} in a route matched
  std::string owner;  ///< name of the API key; whose conversations and prefixes are meant
  std::string peer;   ///< the client's address
  /// When the answer is of no use any more.
  Deadline deadline = {};

  /// The header's value; empty when there is none. `name` in lower case.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
  /// The first query parameter of that name; empty when there is none.
  [[nodiscard]] std::string_view parameter(std::string_view name) const noexcept;
  [[nodiscard]] std::string_view capture(std::string_view name) const noexcept;
  /// "/v1/models/x": the segments with slashes before them; "/" when there is none.
  [[nodiscard]] std::string path() const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers = {};
  bool close = false;  ///< the connection afterwards
};

/// "Not Found".
[[nodiscard]] std::string_view reason_phrase(int status) noexcept;

/// What a client sent cannot be accepted.
struct HttpProblem {
  int status = 400;
  std::string message;  ///< one sentence
};

struct MessageLimits {
  std::size_t head_bytes = std::size_t{64} << 10;  ///< request line and headers
  std::size_t headers = 128;
  std::size_t target_bytes = std::size_t{8} << 10;
};

/// How the length of a body is told.
struct BodyFraming {
  bool chunked = false;
  std::uint64_t length = 0;  ///< when not chunked
  [[nodiscard]] bool empty() const noexcept { return !chunked && length == 0; }
};

struct ParsedHead {
  HttpRequest request;
  BodyFraming framing;
  bool keep_alive = true;
  bool expects_continue = false;
};

/// Offset just after the empty line that ends a request's head in `bytes`; nothing while it is
/// incomplete. `searched`: bytes known to hold no end, updated.
[[nodiscard]] std::optional<std::size_t> find_head_end(std::string_view bytes,
                                                       std::size_t& searched) noexcept;

/// Parses a head with its empty line. Returns the problem when it is not acceptable: bad syntax,
/// too large, an unknown transfer coding, contradictory lengths (request smuggling), a path that
/// tries to leave the root.
[[nodiscard]] std::optional<HttpProblem> parse_head(std::string_view head,
                                                    const MessageLimits& limits, ParsedHead& out);

/// Takes the framing off a body's bytes as they come.
class BodyDecoder {
 public:
  explicit BodyDecoder(const BodyFraming& framing) noexcept : framing_(framing) {
    remaining_ = framing.length;
    state_ = framing.chunked ? State::kSize : State::kData;
    if (framing.empty()) state_ = State::kDone;
  }

  /// Takes framed bytes off the front of `input` (advancing it) and appends at most `room` bytes of
  /// the body to `out`. Returns the problem of a malformed chunk.
  [[nodiscard]] std::optional<HttpProblem> decode(std::string_view& input, std::size_t room,
                                                  std::string& out);
  [[nodiscard]] bool done() const noexcept { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t { kSize, kData, kDataEnd, kTrailer, kDone };
  [[nodiscard]] std::optional<HttpProblem> decode_line(std::string_view& input);
  [[nodiscard]] std::optional<HttpProblem> line_complete();

  BodyFraming framing_;
  State state_;
  std::uint64_t remaining_ = 0;  // bytes of the chunk or body
  std::string line_;             // of a chunk's size or a trailer, while incomplete
  std::size_t trailer_bytes_ = 0;
};

/// Answers of this status have neither a body nor a length (RFC 9110, 8.6).
[[nodiscard]] constexpr bool has_no_body(int status) { return status == 204 || status == 304; }

/// The head of a response. `length`: nothing means a chunked body (or, to HTTP/1.0, one that ends
/// with the connection).
[[nodiscard]] std::string response_head(const HttpResponse& response,
                                        std::optional<std::size_t> length, int minor_version,
                                        bool keep_alive);

/// %XX decoded; '+' is a space when `plus_is_space`. Nothing when an escape is broken.
[[nodiscard]] std::optional<std::string> decode_percent(std::string_view text, bool plus_is_space);
/// ASCII only.
[[nodiscard]] std::string lower_case(std::string_view text);
/// Equal but for ASCII case.
[[nodiscard]] bool same_text(std::string_view a, std::string_view b) noexcept;

}  // namespace hearth::serve
