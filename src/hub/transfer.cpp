#include "hub/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <new>
#include <utility>

#include "support/ascii.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr int kUnreachableAttempts = 3;
constexpr std::size_t kMaxResponseHeaderBytes = std::size_t{1} << 18;
constexpr long kConnectSeconds = 30;
constexpr long kSlowestBytes = 100;  // per second, for kSlowSeconds: then the connection is dead
constexpr long kSlowSeconds = 60;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.front()) <= 32) text.remove_prefix(1);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= 32) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

struct UrlCloser {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlCloser>;

std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string result = text;
  curl_free(text);
  return result;
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (const CURLcode code = curl_easy_setopt(easy, option, value); code != CURLE_OK) {
    throw Error(fmt::format("libcurl refuses option {}: {}", static_cast<int>(option),
                            curl_easy_strerror(code)),
                "update libcurl to 7.85 or newer");
  }
}

bool is_loopback(const std::string& origin) {
  return origin.starts_with("http://127.") || origin.starts_with("http://localhost:") ||
         origin.starts_with("http://[::1]:");
}

}  // namespace

std::string Response::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

std::optional<std::uint64_t> Response::content_length() const {
  return number(header("content-length"));
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return std::nullopt;
  text = trimmed(text.substr(kUnit.size()));
  const std::size_t dash = text.find('-'), slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash)
    return std::nullopt;
  const auto begin = number(text.substr(0, dash));
  const auto last = number(text.substr(dash + 1, slash - dash - 1));
  const auto total = number(text.substr(slash + 1));
  if (!begin || !last || !total || *last < *begin || *last >= *total) return std::nullopt;
  return ContentRange{*begin, *last + 1, *total};
}

std::string origin_of(const std::string& url) {
  const UrlHandle parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = part_of(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return {};
  std::string origin = fmt::format("{}://{}:{}", scheme, part_of(parsed.get(), CURLUPART_HOST),
                                   part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT));
  return ascii_lower(origin);
}

Milliseconds back_off(int failures, Milliseconds retry_after) {
  constexpr int kFirst = 500, kLongest = 30000;
  const int doubled = failures >= 7 ? kLongest : kFirst << std::max(0, failures - 1);
  return std::max(Milliseconds(std::min(doubled, kLongest)), retry_after);
}

Milliseconds parse_retry_after(const std::string& text, std::time_t now) {
  constexpr std::uint64_t kMost = 365 * 24 * 3600;
  if (const auto seconds = number(trimmed(text)))
    return Milliseconds(static_cast<std::int64_t>(std::min(*seconds, kMost)) * 1000);
  const std::time_t date = text.empty() ? -1 : curl_getdate(text.c_str(), nullptr);
  if (date <= now) return Milliseconds(0);
  return Milliseconds(std::min<std::int64_t>(date - now, kMost) * 1000);
}

Transfer::Transfer() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) throw Error("libcurl cannot be started");
  });
  easy_.reset(curl_easy_init());
  if (!easy_) throw std::bad_alloc();
}

Transfer::~Transfer() = default;

void Transfer::prepare(const Network& network, Request request, Receiver receiver) {
  require_online(network, "fetching " + printable(request.url, 300));
  network_ = &network;
  request_ = std::move(request);
  receiver_ = std::move(receiver);
  redirects_ = 0;
  aim(request_.url);
}

void Transfer::aim(const std::string& url) {
  CURL* const easy = easy_.get();
  curl_easy_reset(easy);
  url_ = url;
  response_ = {};
  header_bytes_ = 0;
  announced_ = enough_ = false;
  thrown_ = nullptr;
  error_[0] = '\0';
  set(easy, CURLOPT_URL, url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // Several connections carry more than one, and HTTP/2 would put all ranges into one.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_USERAGENT, "hearth/0.1");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(easy, CURLOPT_LOW_SPEED_LIMIT, kSlowestBytes);
  set(easy, CURLOPT_LOW_SPEED_TIME, kSlowSeconds);
  // Only a wish: libcurl 7.88 refuses it after a failed attempt, whose buffer it keeps.
  (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1L << 18);
  set(easy, CURLOPT_ERRORBUFFER, error_);
  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_WRITEDATA, this);
  set(easy, CURLOPT_PRIVATE, this);
  std::string range;
  if (request_.range) {
    range = fmt::format("{}-{}", request_.range->begin, request_.range->end - 1);
    set(easy, CURLOPT_RANGE, range.c_str());
  }
  curl_slist* list = nullptr;
  const auto add = [&](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list, line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    list = longer;
    (void)headers_.release();
    headers_.reset(list);
  };
  headers_.reset();
  if (!request_.accept.empty()) add("Accept: " + request_.accept);
  const std::string origin = origin_of(url);
  // In the clear a credential is told to everyone on the way; only this machine may have it so.
  const bool confidential = origin.starts_with("https://") || is_loopback(origin);
  if (!request_.bearer.empty() && confidential && origin == origin_of(request_.url))
    add("Authorization: Bearer " + request_.bearer);
  if (list != nullptr) set(easy, CURLOPT_HTTPHEADER, list);
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  try {
    transfer.header_bytes_ += bytes;
    if (transfer.header_bytes_ > kMaxResponseHeaderBytes) return 0;
    transfer.take_header({data, bytes});
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return 0;
  }
  return bytes;
}

void Transfer::take_header(std::string_view line) {
  line = trimmed(line);
  if (line.starts_with("HTTP/")) {  // a new response: after a proxy's, or 100 Continue
    response_ = {};
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      response_.status = static_cast<int>(number(trimmed(line.substr(space + 1, 3))).value_or(0));
    }
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  response_.headers[ascii_lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  const int status = transfer.response_.status;
  if (status < 200 || status >= 300) return bytes;  // the page of an error or a redirect
  return transfer.deliver({reinterpret_cast<const std::byte*>(data), bytes}) ? bytes : 0;
}

bool Transfer::deliver(std::span<const std::byte> bytes) {
  try {
    if (!announced_) {
      announced_ = true;
      enough_ = !receiver_(response_, {});
    }
    if (!enough_ && !bytes.empty()) enough_ = !receiver_(response_, bytes);
  } catch (...) {
    thrown_ = std::current_exception();
    return false;
  }
  return !enough_;
}

Outcome Transfer::finish(CURLcode code) {
  const int status = response_.status;
  const bool good = status >= 200 && status < 300;
  // A response without a body still has headers to judge.
  if (code == CURLE_OK && good && !announced_) (void)deliver({});
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  if (enough_) return {Outcome::Kind::kDone, {}, {}, {}};
  if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && !good)) return judge_error(code);
  if (good) return {Outcome::Kind::kDone, {}, {}, {}};
  constexpr std::array kRedirects = {301, 302, 303, 307, 308};
  if (std::find(kRedirects.begin(), kRedirects.end(), status) != kRedirects.end())
    return redirect();
  return judge_status();
}

std::string Transfer::host() const {
  const std::string origin = origin_of(url_);
  return printable(origin.empty() ? url_ : origin.substr(origin.find("://") + 3));
}

Outcome Transfer::redirect() {
  const std::string location = response_.header("location");
  const UrlHandle parsed(curl_url());
  const bool resolved =
      parsed && !location.empty() &&
      curl_url_set(parsed.get(), CURLUPART_URL, url_.c_str(), 0) == CURLUE_OK &&
      curl_url_set(parsed.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) == CURLUE_OK;
  const std::string next = resolved ? part_of(parsed.get(), CURLUPART_URL) : std::string();
  const std::string origin = origin_of(next);
  if (origin.empty() || !part_of(parsed.get(), CURLUPART_USER).empty()) {
    return {Outcome::Kind::kFailed,
            fmt::format("{} redirects to '{}', which is no address to fetch from", host(),
                        printable(location)),
            "",
            {}};
  }
  if (url_.starts_with("https:") && !origin.starts_with("https:")) {
    return {Outcome::Kind::kFailed,
            fmt::format("{} redirects from https to plain http, which anyone could change", host()),
            "ask whoever runs it",
            {}};
  }
  if (++redirects_ > kMaxRedirects) {
    return {Outcome::Kind::kFailed,
            fmt::format("{} redirects more than {} times", host(), kMaxRedirects),
            "",
            {}};
  }
  aim(next);
  return {Outcome::Kind::kRedirect, {}, {}, {}};
}

Outcome Transfer::judge_status() const {
  const int status = response_.status;
  const std::string detail = response_.header("x-error-message");
  const std::string said = detail.empty() ? std::string() : fmt::format(" ({})", printable(detail));
  const auto outcome = [&](Outcome::Kind kind, const std::string& what, const std::string& hint) {
    return Outcome{kind, fmt::format("{} {}{}", host(), what, said), hint, {}, false};
  };
  if (status == 408 || status == 429 || status >= 500) {
    Outcome result = outcome(Outcome::Kind::kRetry,
                             status == 429 ? "answers that there were too many requests (429)"
                                           : fmt::format("has trouble (status {})", status),
                             "try again later; what was fetched is kept");
    result.retry_after = parse_retry_after(response_.header("retry-after"), network_->date());
    return result;
  }
  if (status == 401 || status == 403) {
    return outcome(Outcome::Kind::kFailed, fmt::format("refuses access (status {})", status),
                   request_.bearer.empty()
                       ? "if it is gated, accept its licence on the site and set HF_TOKEN to a "
                         "token of yours"
                       : "check that the licence was accepted on the site and the token is valid");
  }
  if (status == 404 || status == 410)
    return outcome(Outcome::Kind::kFailed, fmt::format("has no such file (status {})", status),
                   "check the name");
  return outcome(Outcome::Kind::kFailed, fmt::format("answers with status {}", status), "");
}

Outcome Transfer::judge_error(CURLcode code) const {
  const std::string why = printable(error_[0] != '\0' ? error_ : curl_easy_strerror(code), 200);
  const auto outcome = [&](Outcome::Kind kind, const std::string& hint) {
    return Outcome{kind, fmt::format("fetching from {} failed: {}", host(), why), hint, {}, false};
  };
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return outcome(Outcome::Kind::kFailed, "check the address");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return outcome(Outcome::Kind::kFailed,
                     "the certificate is not trusted here; check the clock, the proxy and the "
                     "ca-certificates package");
    case CURLE_COULDNT_RESOLVE_PROXY:
      return outcome(Outcome::Kind::kFailed, "correct https_proxy or unset it");
    case CURLE_WRITE_ERROR:  // headers without end
      return outcome(Outcome::Kind::kFailed, "");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: {
      Outcome result = outcome(Outcome::Kind::kRetry,
                               "check the connection and try again; what was fetched is kept");
      result.unreachable = true;
      return result;
    }
    default:
      return outcome(Outcome::Kind::kRetry,
                     "check the connection and try again; what was fetched is kept");
  }
}

Response fetch(const Network& network, const Request& request, const Transfer::Receiver& receiver) {
  Transfer transfer;
  for (int failures = 0;;) {
    throw_if_cancelled(network);
    transfer.prepare(network, request, receiver);
    Outcome outcome;
    do {
      // Ctrl-C must not wait for a server that says nothing.
      CURL* const easy = transfer.handle();
      set(easy, CURLOPT_NOPROGRESS, 0L);
      set(easy, CURLOPT_XFERINFODATA, &network);
      const curl_xferinfo_callback stop = [](void* data, curl_off_t, curl_off_t, curl_off_t,
                                             curl_off_t) {
        return static_cast<const Network*>(data)->cancelled() ? 1 : 0;
      };
      set(easy, CURLOPT_XFERINFOFUNCTION, stop);
      const CURLcode code = curl_easy_perform(easy);
      throw_if_cancelled(network);
      outcome = transfer.finish(code);
    } while (outcome.kind == Outcome::Kind::kRedirect);
    if (outcome.kind == Outcome::Kind::kDone) return transfer.response();
    // Without any network nobody wants to wait a minute for that to be said.
    const int attempts =
        outcome.unreachable ? std::min(kUnreachableAttempts, network.attempts) : network.attempts;
    if (outcome.kind == Outcome::Kind::kFailed || ++failures >= attempts ||
        outcome.retry_after > kLongestWait) {
      throw Error(outcome.message, outcome.hint);
    }
    network.sleep(back_off(failures, outcome.retry_after));
  }
}

}  // namespace hearth::hub
