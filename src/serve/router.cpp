#include "serve/router.h"

#include <algorithm>
#include <stdexcept>

namespace hearth::serve {
namespace {

std::vector<std::string> split(std::string_view pattern) {
  std::vector<std::string> parts;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const std::size_t slash = std::min(pattern.find('/'), pattern.size());
    if (slash > 0) parts.emplace_back(pattern.substr(0, slash));
    pattern.remove_prefix(slash);
  }
  return parts;
}

bool is_capture(const std::string& part) { return part.front() == '{'; }
bool is_rest(const std::string& part) { return part.ends_with("...}"); }

/// How specific a match is: higher wins. 0: none.
int fit(const std::vector<std::string>& pattern, const std::vector<std::string>& segments,
        std::vector<std::pair<std::string, std::string>>& captures) {
  captures.clear();
  int score = 1;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (i >= segments.size()) return 0;
    const std::string& part = pattern[i];
    if (!is_capture(part)) {
      if (part != segments[i]) return 0;
      score += 4;
      continue;
    }
    if (!is_rest(part)) {
      captures.emplace_back(part.substr(1, part.size() - 2), segments[i]);
      score += 2;
      continue;
    }
    // A rest takes as many segments as what follows it leaves.
    const std::size_t after = pattern.size() - i - 1;
    if (segments.size() < i + 1 + after) return 0;
    std::string value;
    for (std::size_t s = i; s + after < segments.size(); ++s)
      value += (s > i ? "/" : "") + segments[s];
    captures.emplace_back(part.substr(1, part.size() - 5), std::move(value));
    for (std::size_t a = 0; a < after; ++a) {
      if (pattern[i + 1 + a] != segments[segments.size() - after + a]) return 0;
      score += 4;
    }
    return score + 1;
  }
  return segments.size() == pattern.size() ? score : 0;
}

}  // namespace

Route& Router::add(Route route) {
  for (const Route& other : routes_) {
    if (other.method == route.method && other.pattern == route.pattern) {
      throw std::logic_error("two routes " + route.method + " " + route.pattern);
    }
  }
  patterns_.push_back(split(route.pattern));
  return routes_.emplace_back(std::move(route));
}

Route& RouteGroup::add(std::string_view method, std::string_view pattern, std::string_view summary,
                       Handler handler) {
  return router_.add({.method = std::string(method),
                      .pattern = std::string(pattern),
                      .handler = std::move(handler),
                      .summary = std::string(summary),
                      .tag = tag_});
}

Match Router::match(std::string_view method, const std::vector<std::string>& segments) const {
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  Match best;
  int best_score = 0;
  std::vector<std::pair<std::string, std::string>> captures;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const int score = fit(patterns_[i], segments, captures);
    if (score == 0) continue;
    // A HEAD route of its own wins over GET.
    const bool exact = routes_[i].method == method;
    if (!exact && routes_[i].method != wanted) {
      if (std::find(best.allowed.begin(), best.allowed.end(), routes_[i].method) ==
          best.allowed.end())
        best.allowed.push_back(routes_[i].method);
      continue;
    }
    const int ranked = score * 2 + (exact ? 1 : 0);
    if (ranked <= best_score) continue;
    best_score = ranked;
    best.route = &routes_[i];
    best.captures = captures;
  }
  if (best.route != nullptr) best.allowed.clear();
  return best;
}

}  // namespace hearth::serve
