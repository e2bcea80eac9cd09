#include "serve/router.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace hearth::serve {
namespace {

Route route(const char* method, const char* pattern) {
  return {.method = method, .pattern = pattern, .handler = {}, .summary = {}, .tag = {}};
}

class RouterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& [method, pattern] :
         {std::pair("GET", "/"), std::pair("GET", "/v1/models"),
          std::pair("GET", "/v1/models/{model...}"), std::pair("DELETE", "/v1/models/{model...}"),
          std::pair("POST", "/v1/responses"), std::pair("GET", "/v1/responses/{id}"),
          std::pair("GET", "/v1/responses/{id}/input_items"),
          std::pair("GET", "/v1/responses/count"), std::pair("HEAD", "/api/blobs/{digest}"),
          std::pair("POST", "/api/blobs/{digest}")})
      router.add(route(method, pattern));
  }
  std::string found(const char* method, const std::vector<std::string>& segments) {
    last = router.match(method, segments);
    return last.route == nullptr ? "" : last.route->pattern;
  }
  Router router;
  Match last;
};

TEST_F(RouterTest, FindsRoutes) {
  EXPECT_EQ(found("GET", {}), "/");
  EXPECT_EQ(found("GET", {"v1", "models"}), "/v1/models");
  EXPECT_EQ(found("GET", {"v1", "models", "org", "name:tag"}), "/v1/models/{model...}");
  EXPECT_EQ(last.captures.front().second, "org/name:tag");
  EXPECT_EQ(found("GET", {"v1", "responses", "count"}), "/v1/responses/count");
  EXPECT_EQ(found("GET", {"v1", "responses", "x"}), "/v1/responses/{id}");
  EXPECT_EQ(found("GET", {"v1", "responses", "x", "input_items"}),
            "/v1/responses/{id}/input_items");
  EXPECT_EQ(found("HEAD", {"v1", "models"}), "/v1/models");
  EXPECT_EQ(found("HEAD", {"api", "blobs", "x"}), "/api/blobs/{digest}");
  EXPECT_EQ(last.route->method, "HEAD");
}

TEST_F(RouterTest, TellsWrongMethodsFromUnknownPaths) {
  EXPECT_EQ(found("PUT", {"v1", "models", "x"}), "");
  EXPECT_EQ(last.allowed, (std::vector<std::string>{"GET", "DELETE"}));
  EXPECT_EQ(found("GET", {"v2"}), "");
  EXPECT_TRUE(last.allowed.empty());
  EXPECT_EQ(found("GET", {"v1", "responses", "x", "y"}), "");
  // A slash that belongs to a name is no separator.
  EXPECT_EQ(found("GET", {"v1/models"}), "");
}

TEST_F(RouterTest, RefusesASecondRoute) {
  EXPECT_THROW(router.add(route("GET", "/v1/models")), std::logic_error);
}

}  // namespace
}  // namespace hearth::serve
