#include "serve/page.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hearth::serve {
namespace {

std::string header(const PageAnswer& answer, const std::string& name) {
  const auto found = std::find_if(answer.headers.begin(), answer.headers.end(),
                                  [&](const auto& pair) { return pair.first == name; });
  return found == answer.headers.end() ? std::string() : found->second;
}

/// The page may have been left out (HEARTH_NO_WEB=1, sanitizer builds).
class Page : public ::testing::Test {
 protected:
  void SetUp() override {
    if (page_files().empty()) GTEST_SKIP() << "this program was built without the page";
  }
};

TEST_F(Page, IsServedWithAStrictPolicy) {
  const PageAnswer answer = page_answer("/", "", "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/html; charset=utf-8");
  EXPECT_NE(answer.body.find("<!doctype html>"), std::string_view::npos);
  const std::string policy = header(answer, "Content-Security-Policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(header(answer, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(header(answer, "Cache-Control"), "no-cache");
}

TEST_F(Page, HasNoInlineScriptOrStyleAndNamesNobodyElse) {
  const std::string_view html = page_answer("/", "", "").body;
  EXPECT_EQ(html.find("<style"), std::string_view::npos);
  EXPECT_EQ(html.find("style="), std::string_view::npos);
  EXPECT_EQ(html.find("://"), std::string_view::npos);
  for (std::size_t at = html.find("<script"); at != std::string_view::npos;
       at = html.find("<script", at + 1))
    EXPECT_NE(html.substr(at, html.find('>', at) - at).find(" src=\"/"), std::string_view::npos);
}

TEST_F(Page, AllFilesAreThereBothWays) {
  for (const PageFile& file : page_files()) {
    EXPECT_TRUE(is_page_path(file.path));
    const PageAnswer plain = page_answer(file.path, "identity", "");
    EXPECT_EQ(plain.body.data(), file.bytes.data()) << file.path;
    EXPECT_EQ(header(plain, "Content-Encoding"), "");
    EXPECT_FALSE(file.bytes.empty());
    if (file.gzip.empty()) continue;
    const PageAnswer small = page_answer(file.path, "br;q=1.0, gzip;q=0.8", "");
    EXPECT_EQ(small.body.data(), file.gzip.data());
    EXPECT_EQ(small.body.substr(0, 2), "\x1f\x8b");
    EXPECT_LT(file.gzip.size(), file.bytes.size());
    EXPECT_EQ(header(small, "Content-Encoding"), "gzip");
    EXPECT_EQ(header(small, "Vary"), "Accept-Encoding");
    EXPECT_EQ(page_answer(file.path, "gzip;q=0", "").body.data(), file.bytes.data());
    EXPECT_EQ(page_answer(file.path, "gzip;q=0.000, br", "").body.data(), file.bytes.data());
  }
}

TEST_F(Page, IsNotSentAgainUnchanged) {
  const PageFile& file = page_files().front();
  const std::string etag(file.etag);
  EXPECT_EQ(page_answer(file.path, "", etag).status, 304);
  EXPECT_EQ(page_answer(file.path, "", "\"x\", W/" + etag).status, 304);
  EXPECT_EQ(page_answer(file.path, "", "*").status, 304);
  EXPECT_TRUE(page_answer(file.path, "", etag).body.empty());
  EXPECT_EQ(page_answer(file.path, "", "\"other\"").status, 200);
}

TEST_F(Page, NamesThatChangeAreCachedForGood) {
  int immutable = 0;
  for (const PageFile& file : page_files()) {
    if (!file.immutable) continue;
    ++immutable;
    EXPECT_NE(header(page_answer(file.path, "", ""), "Cache-Control").find("immutable"),
              std::string::npos);
  }
  EXPECT_GE(immutable, 2);
}

TEST_F(Page, HasTheNoticesOfWhatIsInIt) {
  for (const char* package : {"preact ", "marked ", "dompurify ", "highlight.js ", "vite "})
    EXPECT_NE(page_notices().find(package), std::string_view::npos) << package;
  EXPECT_EQ(page_notices().find("typescript "), std::string_view::npos);
}

TEST(PagePaths, OthersAreNotFound) {
  for (const char* path : {"", "/assets/", "/assets/../index.html", "/index.html/", "//",
                           "/nothing", "/notices.txt"}) {
    EXPECT_EQ(page_answer(path, "", "").status, 404) << path;
    EXPECT_FALSE(is_page_path(path)) << path;
  }
  EXPECT_EQ(page_answer("/", "", "").status, 200);
}

}  // namespace
}  // namespace hearth::serve
