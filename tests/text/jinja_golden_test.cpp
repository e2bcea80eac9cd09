// The conformance set and the chat templates of goldens/chat.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "text/chat_template.h"
#include "text/jinja/template.h"

namespace hearth::text {
namespace {

using Json = nlohmann::ordered_json;

Json read_json(const std::filesystem::path& path) { return Json::parse(read_file(path)); }

std::filesystem::path chat_dir() { return hearth::testing::goldens_dir() / "chat"; }

/// Renders a case and compares; says what differs. True when as expected.
bool check(const Json& golden, const std::string& source,
           std::map<std::string, std::string> trusted, const DateTime& now) {
  const std::string name = golden["name"].get<std::string>();
  const bool mutable_result = golden.contains("expected_mutable");
  const bool must_fail = golden.contains("error") && !mutable_result;
  std::string text;
  std::string raised;
  try {
    const jinja::Template parsed(source, name);
    text = parsed.render(golden["context"], trusted, now).str();
  } catch (const jinja::TemplateRaised& error) {
    raised = error.message();
    if (must_fail && (!golden.contains("message") || golden["message"] == raised)) return true;
    ADD_FAILURE() << name << ": raised '" << raised << "'";
    return false;
  } catch (const jinja::TemplateError& error) {
    if (must_fail && !(golden.contains("message") && golden["message"].is_string())) return true;
    ADD_FAILURE() << name << ": " << error.what();
    return false;
  }
  if (must_fail) {
    ADD_FAILURE() << name << ": should fail, gave " << text;
    return false;
  }
  const std::string expected =
      golden[mutable_result ? "expected_mutable" : "expected"].get<std::string>();
  EXPECT_EQ(text, expected) << name;
  return text == expected;
}

TEST(JinjaGolden, Conformance) {
  const auto path = chat_dir() / "jinja_conformance.json";
  HEARTH_REQUIRE_FILE(path);
  const DateTime now = DateTime::parse("2026-07-26T00:00:00");
  std::size_t good = 0;
  const Json cases = read_json(path);
  for (const Json& golden : cases)
    good += check(golden, golden["template"].get<std::string>(), {}, now) ? 1 : 0;
  EXPECT_EQ(good, cases.size());
}

class TemplateGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(TemplateGolden, EveryCase) {
  const Json file = read_json(chat_dir() / GetParam());
  const std::string source = file["template"].get<std::string>();
  std::map<std::string, std::string> trusted;
  for (const char* name : {"bos_token", "eos_token"}) {
    if (file[name].is_string()) trusted.emplace(name, file[name].get<std::string>());
  }
  const DateTime now = DateTime::parse(file["now"].get<std::string>());
  std::size_t good = 0;
  for (const Json& golden : file["cases"]) good += check(golden, source, trusted, now) ? 1 : 0;
  EXPECT_EQ(good, file["cases"].size());
}

std::vector<std::string> golden_templates() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(chat_dir(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".json") && name != "jinja_conformance.json") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(0, info.param.size() - 5);
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Chat, TemplateGolden, ::testing::ValuesIn(golden_templates()), test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TemplateGolden);

}  // namespace
}  // namespace hearth::text
