#include "cli/settings.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>

#include "cli/config.h"
#include "cli/help.h"
#include "cli/suggest.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

SettingValue value(std::string_view name, std::string text, Layer layer) {
  return {find_setting(name), std::move(text), layer, std::string(name)};
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return std::string(error.what()) + (error.hint().empty() ? "" : "; " + error.hint());
  }
  return "no error";
}

TEST(Settings, EveryValueThatIsShownCanBeGiven) {
  const RunOptions defaults;
  for (const Setting& setting : all_settings()) {
    EXPECT_EQ(find_setting(setting.name), &setting);
    EXPECT_NE(setting.flags.find("--" + std::string(setting.name)), std::string_view::npos)
        << setting.name;
    const std::string shown = setting.show(defaults);
    if (shown == "none" || shown == "auto" || setting.kind == SettingKind::kList) continue;
    const std::vector<SettingValue> values = {value(setting.name, shown, Layer::kFlags)};
    EXPECT_EQ(setting.show(apply_settings(defaults, values)), shown) << setting.name;
  }
}

TEST(Settings, LaterLayersOverrideEarlierOnes) {
  const std::vector<SettingValue> values = {
      value("temp", "0.1", Layer::kConfigFile), value("temp", "0.2", Layer::kEnvironment),
      value("top-k", "7", Layer::kConfigFile),  value("stop", "a", Layer::kConfigFile),
      value("stop", "b", Layer::kFlags),        value("stop", "c", Layer::kFlags)};
  const RunOptions options = apply_settings({}, values);
  EXPECT_FLOAT_EQ(options.sampler.temperature, 0.2F);
  EXPECT_EQ(options.sampler.top_k, 7);
  EXPECT_EQ(options.stops, (std::vector<std::string>{"b", "c"}));
}

TEST(Settings, WrongValuesAreNamed) {
  const auto error = [](std::string_view name, const std::string& text) {
    return error_of(
        [&] { (void)apply_settings({}, std::vector{value(name, text, Layer::kFlags)}); });
  };
  EXPECT_EQ(error("temp", "warm"), "temp: 'warm' is not a number");
  EXPECT_EQ(error("temp", "-1"), "temp: temp is -1, but must be a number from 0 up");
  EXPECT_EQ(error("top-k", "1.5"), "top-k: '1.5' is not a whole number");
  EXPECT_EQ(error("max-tokens", "-2"), "max-tokens: '-2' is not a whole number from -1 up");
  EXPECT_EQ(error("logit-bias", "5"), "logit-bias: '5' is not of the form ID=BIAS");
  EXPECT_EQ(error("system", "\xff"), "system: '\\xff' is not valid UTF-8");
  EXPECT_EQ(error("raw", "perhaps"), "raw: 'perhaps' is not true or false");
  EXPECT_EQ(error("think", "deeply"), "think: 'deeply' is not on, off, auto or a number of tokens");
}

TEST(Settings, Thinking) {
  const auto think = [](const std::string& text) {
    return apply_settings({}, std::vector{value("think", text, Layer::kFlags)});
  };
  EXPECT_EQ(think("on").thinking, Thinking::kOn);
  EXPECT_EQ(think("off").thinking, Thinking::kOff);
  EXPECT_EQ(think("0").thinking, Thinking::kOff);
  EXPECT_EQ(think("512").thinking_budget, 512);
  EXPECT_EQ(think("512").thinking, Thinking::kOn);
}

TEST(Config, IsParsed) {
  const Configuration configuration = parse_configuration(
      "# a comment\n\n  temp = 0.5\r\nsystem=\"Two\\nlines \\\"quoted\\\"\"\nmodel = /m/a "
      "b.gguf\nmin_p = 0.1",
      "c");
  EXPECT_EQ(configuration.model, "/m/a b.gguf");
  const RunOptions options = apply_settings({}, configuration.values);
  EXPECT_FLOAT_EQ(options.sampler.temperature, 0.5F);
  EXPECT_FLOAT_EQ(options.sampler.min_p, 0.1F);
  EXPECT_EQ(options.system, "Two\nlines \"quoted\"");
}

TEST(Config, ErrorsNameTheLine) {
  const auto error = [](const char* text) {
    return error_of([&] { (void)parse_configuration(text, "c"); });
  };
  EXPECT_EQ(error("temp = 1\ntepm = 1"), "c line 2: unknown key 'tepm'; did you mean 'temp'?");
  EXPECT_EQ(error("just words"),
            "c line 1: 'just words' is not of the form key = value; see docs/cli.md, or begin "
            "comments with #");
  EXPECT_EQ(error("system = \"open"),
            "c line 1: the closing quote is missing; quoted values know \\n, \\t, \\\" and \\\\");
  EXPECT_NE(error("system = \"a\" b"), "no error");
  EXPECT_NE(error("system = \"\\q\""), "no error");
  EXPECT_NE(error("a\xff = 1"), "no error");
}

TEST(Config, TheHomeFolderIsTheUsersAlsoWithoutHome) {
  std::map<std::string, std::string> before;
  for (const char* name :
       {"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}) {
    if (const char* value = std::getenv(name)) before[name] = value;
    unsetenv(name);
  }
  const passwd* user = getpwuid(geteuid());
  if (user != nullptr) {
    EXPECT_EQ(user_folders().cache, std::filesystem::path(user->pw_dir) / ".cache/hearth");
  } else {
    EXPECT_THROW((void)user_folders(), Error);
  }
  setenv("HOME", "/somewhere", 1);
  EXPECT_EQ(user_folders().cache, "/somewhere/.cache/hearth");
  unsetenv("HOME");
  for (const auto& [name, value] : before) setenv(name.c_str(), value.c_str(), 1);
}

TEST(Suggestion, FindsTheNearestName) {
  const std::vector<std::string> names = {"--temp", "--top-k", "--threads", "run"};
  EXPECT_EQ(suggestion("--tmep", names), "did you mean '--temp'?");
  EXPECT_EQ(suggestion("--thread", names), "did you mean '--threads'?");
  EXPECT_EQ(suggestion("rnu", names), "did you mean 'run'?");
  EXPECT_EQ(suggestion("--zebra", names), "");
}

TEST(Help, IsWrapped) {
  EXPECT_EQ(wrapped("aa bb cc dd", 2, 7), "  aa bb\n  cc dd\n");
  EXPECT_EQ(wrapped("", 2, 7), "");
  EXPECT_EQ(wrapped("longerthanall x", 0, 5), "longerthanall\nx\n");
}

}  // namespace
}  // namespace hearth::cli
