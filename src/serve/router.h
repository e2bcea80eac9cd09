// The table of routes: who answers which path, and what the OpenAPI document says about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/exchange.h"
#include "serve/http/message.h"

namespace hearth::serve {

inline constexpr std::size_t kDefaultBodyLimit = std::size_t{32} << 20;

/// Runs on a worker thread and may block. Throws RequestFailure (or Error, which becomes 500; with
/// ExitCode::kUsage 400) before the answer has begun.
using Handler = std::function<void(const HttpRequest&, HttpExchange&)>;

enum class Access : std::uint8_t {
  kKey,   ///< needs the API key, where one is set
  kOpen,  ///< anybody: health, the page's files
};

struct Route {
  std::string method;   ///< "GET" answers HEAD, too
  std::string pattern;  ///< "/v1/models/{model...}": {x} is a segment, {x...} one or more
  Handler handler;
  /// For the OpenAPI document.
  std::string summary;
  std::string tag;  ///< "OpenAI", "Ollama", "Anthropic", "llama-server", "Hearth"
  /// The request body's name in the dialects' tables of fields, where those do not know the path.
  std::string body_schema = {};
  /// What comes back: "application/json", "text/event-stream".
  std::vector<std::string> produces = {"application/json"};
  Access access = Access::kKey;
  std::size_t body_limit = kDefaultBodyLimit;
  bool streams_body = false;  ///< the handler calls read_body()
};

/// What a path and a method lead to.
struct Match {
  const Route* route = nullptr;                               ///< null: none
  std::vector<std::pair<std::string, std::string>> captures;  ///< rest captures joined by slashes
  std::vector<std::string> allowed;  ///< methods of the path, when only the method is wrong
};

class Router {
 public:
  /// The route, to change what is not part of its pattern; good until the next one is added. Throws
  /// std::logic_error for a second route of the same method and pattern.
  Route& add(Route route);
  /// Literal segments win over {x}, those over {x...}.
  [[nodiscard]] Match match(std::string_view method,
                            const std::vector<std::string>& segments) const;
  [[nodiscard]] const std::vector<Route>& routes() const noexcept { return routes_; }

 private:
  std::vector<Route> routes_;
  std::vector<std::vector<std::string>> patterns_;  // split, like routes_
};

/// Adds routes of one API.
class RouteGroup {
 public:
  RouteGroup(Router& router, std::string_view tag) : router_(router), tag_(tag) {}

  /// The route, to change what is not usual about it; good until the next one is added.
  Route& add(std::string_view method, std::string_view pattern, std::string_view summary,
             Handler handler);

 private:
  Router& router_;
  std::string tag_;
};

}  // namespace hearth::serve
