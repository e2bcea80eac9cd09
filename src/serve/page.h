// The web page's files, compiled into the program (cmake/web.cmake), as HTTP answers.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::serve {

/// One built file. The bytes live as long as the program.
struct PageFile {
  std::string_view path;          ///< "/", "/assets/index-1a2b.js"
  std::string_view content_type;  ///< with its charset
  std::string_view etag;          ///< with its quotes
  std::string_view bytes;
  std::string_view gzip;   ///< the same, compressed; empty when that is no smaller
  bool immutable = false;  ///< its name changes with its contents
};

/// All files; empty when Hearth was built with HEARTH_NO_WEB=1.
[[nodiscard]] std::span<const PageFile> page_files() noexcept;

/// The notices of the npm packages whose code is in the page, for `hearth licenses`.
[[nodiscard]] std::string_view page_notices() noexcept;

/// What an HTTP server sends. `body` lives as long as the program.
struct PageAnswer {
  int status = 200;
  std::string_view content_type;
  std::string_view body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< others: caching, security
};

/// The answer to GET (and, without its body, HEAD) of a page's path. `accept_encoding` and
/// `if_none_match` are the request's headers, empty when it has none. status 404 when the path is
/// none of the page's. In a program without the page, "/" is a plain page that says so.
[[nodiscard]] PageAnswer page_answer(std::string_view path, std::string_view accept_encoding,
                                     std::string_view if_none_match);

/// True when page_answer() knows the path.
[[nodiscard]] bool is_page_path(std::string_view path) noexcept;

}  // namespace hearth::serve
