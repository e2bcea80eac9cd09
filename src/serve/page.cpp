#include "serve/page.h"

#include <algorithm>

namespace hearth::serve {
namespace {

/// The page runs its own scripts and nothing else, asks nobody but this server, and cannot be put
/// into another page. What it shows as HTML goes through a sanitiser, or the browser refuses it
/// (trusted types). Content Security Policy Level 3, Trusted Types: W3C working drafts.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify";

constexpr std::string_view kNoPage =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hearth</title>"
    "<h1>Hearth is running</h1>"
    "<p>This program was built without the web page (HEARTH_NO_WEB=1). "
    "Its interfaces are all here: see <a href=\"/openapi.json\">/openapi.json</a>.</p></html>\n";

const PageFile* find_file(std::string_view path) noexcept {
  const auto files = page_files();
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const PageFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Calls `use` with every member of a list with commas.
template <class Use>
void for_each_member(std::string_view list, Use use) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    use(trimmed(list.substr(0, comma)));
    list.remove_prefix(std::min(list.size(), comma + 1));
  }
}

/// RFC 9110, section 12.5.3: "gzip" with a weight other than 0.
bool accepts_gzip(std::string_view accept_encoding) {
  bool accepted = false;
  for_each_member(accept_encoding, [&](std::string_view member) {
    const std::size_t semicolon = std::min(member.find(';'), member.size());
    if (trimmed(member.substr(0, semicolon)) != "gzip") return;
    const std::string_view weight = trimmed(member.substr(std::min(member.size(), semicolon + 1)));
    accepted = weight.find_first_of("123456789") != std::string_view::npos || weight.empty();
  });
  return accepted;
}

/// RFC 9110, section 13.1.2: weak comparison with every tag of the list.
bool matches(std::string_view if_none_match, std::string_view etag) {
  bool found = trimmed(if_none_match) == "*";
  for_each_member(if_none_match, [&](std::string_view member) {
    if (member.substr(0, 2) == "W/") member.remove_prefix(2);
    found = found || member == etag;
  });
  return found;
}

void add_security(PageAnswer& answer) {
  answer.headers.emplace_back("Content-Security-Policy", kPolicy);
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  answer.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  answer.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
}

}  // namespace

bool is_page_path(std::string_view path) noexcept {
  return path == "/" || find_file(path) != nullptr;
}

PageAnswer page_answer(std::string_view path, std::string_view accept_encoding,
                       std::string_view if_none_match) {
  PageAnswer answer;
  const PageFile* const file = find_file(path);
  if (file == nullptr) {
    if (path == "/") {
      answer.content_type = "text/html; charset=utf-8";
      answer.body = kNoPage;
      add_security(answer);
    } else {
      answer.status = 404;
    }
    return answer;
  }
  answer.content_type = file->content_type;
  answer.headers.emplace_back("ETag", file->etag);
  answer.headers.emplace_back("Vary", "Accept-Encoding");
  // A name that changes with its contents never needs to be asked for again.
  answer.headers.emplace_back("Cache-Control",
                              file->immutable ? "public, max-age=31536000, immutable" : "no-cache");
  add_security(answer);
  if (matches(if_none_match, file->etag)) {
    answer.status = 304;
    return answer;
  }
  if (!file->gzip.empty() && accepts_gzip(accept_encoding)) {
    answer.headers.emplace_back("Content-Encoding", "gzip");
    answer.body = file->gzip;
  } else {
    answer.body = file->bytes;
  }
  return answer;
}

}  // namespace hearth::serve
