#include "serve/http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "support/utf8.h"

namespace hearth::serve {
namespace {

constexpr std::size_t kMaxMethodBytes = 32;
constexpr std::size_t kMaxSegments = 64;
constexpr std::size_t kMaxParameters = 64;
/// Digits of a chunk's size: 2^60 bytes are beyond any limit and well within 64 bits.
constexpr std::size_t kMaxChunkDigits = 15;
constexpr std::size_t kMaxChunkLine = 4096, kMaxTrailerBytes = 8192;

bool is_token_character(char c) noexcept {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

bool is_control(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

int hexadecimal(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

HttpProblem bad(std::string message) { return {400, std::move(message)}; }

/// Takes one line with CR LF off the front; nothing when it ends with a bare LF.
std::optional<std::string_view> take_line(std::string_view& text) noexcept {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || end == 0 || text[end - 1] != '\r') return std::nullopt;
  const std::string_view line = text.substr(0, end - 1);
  text.remove_prefix(end + 1);
  return line;
}

/// Text of a URL: no control characters, valid UTF-8.
bool is_clean(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(), is_control) &&
         find_invalid_utf8(text) == std::string_view::npos;
}

std::optional<HttpProblem> parse_path(std::string_view path, HttpRequest& request) {
  if (!path.starts_with('/')) return bad("the request's path does not begin with a slash");
  path.remove_prefix(1);
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    std::optional<std::string> segment = decode_percent(path.substr(0, slash), false);
    if (!segment) return bad("the request's path has a broken % escape");
    if (!is_clean(*segment)) {
      return bad("the request's path is not valid UTF-8, or has control characters");
    }
    if (*segment == "." || *segment == "..") return bad("the request's path has '.' or '..' in it");
    if (segment->empty() && slash < path.size()) return bad("the request's path has an empty part");
    if (!segment->empty()) request.segments.push_back(std::move(*segment));
    if (request.segments.size() > kMaxSegments) return bad("the request's path has too many parts");
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return std::nullopt;
}

std::optional<HttpProblem> parse_query(std::string_view query, HttpRequest& request) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    std::optional<std::string> name = decode_percent(part.substr(0, equals), true);
    std::optional<std::string> value =
        decode_percent(part.substr(std::min(equals + 1, part.size())), true);
    if (!name || !value) return bad("the request's query has a broken % escape");
    if (!is_clean(*name) || find_invalid_utf8(*value) != std::string::npos) {
      return bad("the request's query is not valid UTF-8");
    }
    if (request.query.size() == kMaxParameters) return bad("the request's query is too long");
    request.query.emplace_back(std::move(*name), std::move(*value));
  }
  return std::nullopt;
}

/// `authority`: of a target that names its host; then it counts instead of the Host header.
std::optional<HttpProblem> parse_target(HttpRequest& request, std::string& authority) {
  std::string_view target = request.target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!same_text(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t end = std::min(target.find_first_of("/?"), target.size());
    authority = target.substr(0, end);
    if (authority.empty()) return bad("the request's target has no host");
    target.remove_prefix(end);
    break;
  }
  if (target == "*" && request.method == "OPTIONS") return std::nullopt;
  if (target.find('#') != std::string_view::npos) return bad("the request's target has a fragment");
  const std::size_t question = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, question);
  const std::string_view query = target.substr(std::min(question + 1, target.size()));
  if (auto problem = parse_path(path.empty() && !authority.empty() ? "/" : path, request))
    return problem;
  return parse_query(query, request);
}

std::optional<HttpProblem> parse_request_line(std::string_view line, const MessageLimits& limits,
                                              HttpRequest& request) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return bad("the request line is malformed");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || method.size() > kMaxMethodBytes) return bad("the method is malformed");
  if (target.empty() ||
      std::any_of(target.begin(), target.end(), [](char c) { return is_control(c) || c == ' '; })) {
    return bad("the request's target is malformed");
  }
  if (target.size() > limits.target_bytes) {
    return HttpProblem{
        414, fmt::format("the request's target is longer than {} bytes", limits.target_bytes)};
  }
  if (!version.starts_with("HTTP/")) return bad("the request line is malformed");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return HttpProblem{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  }
  request.method = method;
  request.target = target;
  request.minor_version = version.back() - '0';
  return std::nullopt;
}

std::optional<HttpProblem> parse_headers(std::string_view text, const MessageLimits& limits,
                                         HttpRequest& request) {
  for (;;) {
    const std::optional<std::string_view> line = take_line(text);
    if (!line) return bad("a header line does not end with CR LF");
    if (line->empty()) return std::nullopt;
    const std::size_t colon = line->find(':');
    if (colon == std::string_view::npos || !is_token(line->substr(0, colon))) {
      return bad("a header line is malformed");
    }
    const std::string_view value = trimmed(line->substr(colon + 1));
    if (std::any_of(value.begin(), value.end(),
                    [](char c) { return is_control(c) && c != '\t'; })) {
      return bad("a header has control characters");
    }
    if (request.headers.size() == limits.headers) {
      return HttpProblem{431, fmt::format("the request has more than {} headers", limits.headers)};
    }
    request.headers.emplace_back(lower_case(line->substr(0, colon)), value);
  }
}

std::size_t count(const HttpRequest& request, std::string_view name) noexcept {
  return static_cast<std::size_t>(
      std::count_if(request.headers.begin(), request.headers.end(),
                    [&](const auto& header) { return header.first == name; }));
}

std::optional<HttpProblem> parse_framing(ParsedHead& head) {
  const HttpRequest& request = head.request;
  const std::size_t lengths = count(request, "content-length");
  const std::size_t codings = count(request, "transfer-encoding");
  if (lengths + codings > 1) return bad("the length of the body is told twice");
  if (codings == 1) {
    if (!same_text(request.header("transfer-encoding"), "chunked")) {
      return HttpProblem{501, "of transfer codings only chunked is known here"};
    }
    if (request.minor_version == 0) return bad("HTTP/1.0 knows no chunked bodies");
    head.framing.chunked = true;
  }
  if (lengths == 1) {
    const std::string_view text = request.header("content-length");
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), head.framing.length);
    if (text.empty() || text.front() == '-' || error != std::errc() ||
        end != text.data() + text.size()) {
      return bad("Content-Length is not a number");
    }
  }
  return std::nullopt;
}

bool has_word(std::string_view list, std::string_view word) noexcept {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (same_text(trimmed(list.substr(0, comma)), word)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<HttpProblem> parse_connection(ParsedHead& head) {
  const HttpRequest& request = head.request;
  const std::string_view connection = request.header("connection");
  head.keep_alive = request.minor_version == 1 ? !has_word(connection, "close")
                                               : has_word(connection, "keep-alive");
  const std::string_view expectation = request.header("expect");
  if (expectation.empty()) return std::nullopt;
  if (!same_text(expectation, "100-continue")) {
    return HttpProblem{417, "of expectations only 100-continue is known here"};
  }
  head.expects_continue = request.minor_version == 1;
  return std::nullopt;
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                       "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     kDays[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                     kMonths[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const noexcept {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::string_view HttpRequest::parameter(std::string_view name) const noexcept {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

std::string_view HttpRequest::capture(std::string_view name) const noexcept {
  for (const auto& [key, value] : captures) {
    if (key == name) return value;
  }
  return {};
}

std::string HttpRequest::path() const {
  std::string text;
  for (const std::string& segment : segments) text += "/" + segment;
  return text.empty() ? "/" : text;
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    case 529:
      return "Overloaded";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

std::optional<std::size_t> find_head_end(std::string_view bytes, std::size_t& searched) noexcept {
  // An end may begin among the last two bytes that were searched before.
  std::size_t at = searched < 2 ? 0 : searched - 2;
  while ((at = bytes.find('\n', at)) != std::string_view::npos) {
    const std::string_view rest = bytes.substr(at + 1);
    if (rest.starts_with("\r\n")) return at + 3;
    if (rest.starts_with('\n')) return at + 2;  // parse_head() refuses it
    ++at;
  }
  searched = bytes.size();
  return std::nullopt;
}

std::optional<HttpProblem> parse_head(std::string_view head, const MessageLimits& limits,
                                      ParsedHead& out) {
  HttpRequest& request = out.request;
  if (head.size() > limits.head_bytes) {
    return HttpProblem{
        431, fmt::format("the request's headers are larger than {} bytes", limits.head_bytes)};
  }
  const std::optional<std::string_view> line = take_line(head);
  if (!line) return bad("the request line does not end with CR LF");
  if (auto problem = parse_request_line(*line, limits, request)) return problem;
  if (auto problem = parse_headers(head, limits, request)) return problem;
  std::string authority;
  if (auto problem = parse_target(request, authority)) return problem;
  const std::size_t hosts = count(request, "host");
  if (hosts > 1 || (hosts == 0 && request.minor_version == 1)) {
    return bad("the request needs one Host header");
  }
  if (!authority.empty()) {
    std::erase_if(request.headers, [](const auto& header) { return header.first == "host"; });
    request.headers.emplace_back("host", authority);
  }
  if (auto problem = parse_framing(out)) return problem;
  return parse_connection(out);
}

std::optional<HttpProblem> BodyDecoder::decode(std::string_view& input, std::size_t room,
                                               std::string& out) {
  while (!input.empty() && state_ != State::kDone) {
    if (state_ != State::kData) {
      if (auto problem = decode_line(input)) return problem;
      continue;
    }
    const std::size_t take =
        static_cast<std::size_t>(std::min<std::uint64_t>({remaining_, input.size(), room}));
    if (take == 0) return std::nullopt;  // no room
    out.append(input.substr(0, take));
    input.remove_prefix(take);
    room -= take;
    remaining_ -= take;
    if (remaining_ == 0) state_ = framing_.chunked ? State::kDataEnd : State::kDone;
  }
  return std::nullopt;
}

std::optional<HttpProblem> BodyDecoder::decode_line(std::string_view& input) {
  const std::size_t end = input.find('\n');
  const std::size_t take = end == std::string_view::npos ? input.size() : end + 1;
  if (line_.size() + take > kMaxChunkLine) return bad("a chunk of the body is malformed");
  line_.append(input.substr(0, take));
  input.remove_prefix(take);
  if (end == std::string_view::npos) return std::nullopt;
  if (!line_.ends_with("\r\n")) return bad("a line of the chunked body does not end with CR LF");
  line_.resize(line_.size() - 2);
  return line_complete();
}

std::optional<HttpProblem> BodyDecoder::line_complete() {
  const std::string line = std::exchange(line_, {});
  if (state_ == State::kDataEnd) {
    if (!line.empty()) return bad("a chunk of the body is longer than it says");
    state_ = State::kSize;
    return std::nullopt;
  }
  if (state_ == State::kTrailer) {
    trailer_bytes_ += line.size() + 2;
    if (trailer_bytes_ > kMaxTrailerBytes) return HttpProblem{431, "the trailers are too long"};
    if (line.empty()) state_ = State::kDone;
    return std::nullopt;
  }
  const std::string_view digits =
      trimmed(std::string_view(line).substr(0, std::min(line.find(';'), line.size())));
  if (digits.empty() || digits.size() > kMaxChunkDigits) return bad("a chunk's size is malformed");
  remaining_ = 0;
  for (const char c : digits) {
    const int value = hexadecimal(c);
    if (value < 0) return bad("a chunk's size is malformed");
    remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(value);
  }
  state_ = remaining_ == 0 ? State::kTrailer : State::kData;
  return std::nullopt;
}

std::string response_head(const HttpResponse& response, std::optional<std::size_t> length,
                          int minor_version, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                                 reason_phrase(response.status), http_date());
  if (!response.content_type.empty())
    head += fmt::format("Content-Type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (length) {
    head += fmt::format("Content-Length: {}\r\n", *length);
  } else if (minor_version == 1) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

std::optional<std::string> decode_percent(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hexadecimal(text[i + 1]), low = hexadecimal(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool same_text(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace hearth::serve
