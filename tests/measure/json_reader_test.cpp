#include "measure/json_reader.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace hearth::measure {
namespace {

constexpr JsonRules kStrict{.noun = "the list", .hint = "look it up", .max_bytes = 200};

/// What reading `text` says is wrong with it; "" when nothing is.
std::string trouble(std::string_view text, const JsonRules& rules,
                    const std::function<void(JsonReader&)>& read,
                    const std::string& source = "'f.json'") {
  try {
    const nlohmann::json json = parse_json(text, source, rules);
    JsonReader reader(json, source, "", rules);
    read(reader);
    reader.finish();
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), rules.hint);
    return error.what();
  }
  return "";
}

void read_nothing(JsonReader&) {}

TEST(JsonReader, AbsentKeysKeepTheirDefaults) {
  EXPECT_EQ(trouble("{}", kStrict,
                    [](JsonReader& reader) {
                      EXPECT_EQ(reader.text("a", "b"), "b");
                      EXPECT_EQ(reader.number("a", 1.5, 2, 3), 1.5);
                      EXPECT_EQ(reader.integer("a", 7, 0, 1), 7);
                      EXPECT_TRUE(reader.flag("a", true));
                      EXPECT_TRUE(reader.texts("a").empty());
                      EXPECT_EQ(reader.list("a"), nullptr);
                      EXPECT_EQ(reader.object("a"), nullptr);
                      reader.inside("a", [](JsonReader&) { ADD_FAILURE(); });
                      reader.each("a", [](JsonReader&) { ADD_FAILURE(); });
                    }),
            "");
}

TEST(JsonReader, OnlyDataFilesHaveRemarksAndNulls) {
  const auto read = [](JsonReader& reader) { (void)reader.number("a", 0, 0, 1); };
  const std::string_view text = R"({"a": null, "_a": "unknown"})";
  EXPECT_EQ(trouble(text, kDataFile, read), "");
  EXPECT_EQ(trouble(text, kStrict, read), "'f.json': a must be a number, not null");
  EXPECT_EQ(trouble(R"({"_a": 1})", kStrict, read), "'f.json': the list has an unknown key '_a'");
}

TEST(JsonReader, PlacesAreNamedAtEveryDepth) {
  const auto read = [](JsonReader& reader) {
    reader.inside("o", [](JsonReader& object) {
      object.each("l", [](JsonReader& entry) { (void)entry.integer("n", 0, 1, 9); });
      object.each_member("m",
                         [](const std::string&, JsonReader& member) { (void)member.texts("t"); });
      object.each_number("w", 0, 1, [](const std::string&, double) {});
      object.each_text("s", [](const std::string&, const std::string&) {});
    });
  };
  EXPECT_EQ(trouble(R"({"o": {"l": [{"n": 1}, {"n": 10}]}})", kStrict, read),
            "'f.json': o.l[1].n must be a whole number from 1 to 9");
  EXPECT_EQ(trouble(R"({"o": {"l": [{"x": 1}]}})", kStrict, read),
            "'f.json': o.l[0] has an unknown key 'x'");
  EXPECT_EQ(trouble(R"({"o": {"m": {"a": {"t": ["", 1]}}}})", kStrict, read),
            "'f.json': o.m.a.t[1] must be a text, not a number");
  EXPECT_EQ(trouble(R"({"o": {"w": {"a": 2}}})", kStrict, read),
            "'f.json': o.w.a is 2, not between 0 and 1");
  EXPECT_EQ(trouble(R"({"o": {"s": {"a": 2}}})", kStrict, read),
            "'f.json': o.s.a must be a text, not a number");
  EXPECT_EQ(trouble(R"({"o": {"m": {"a\nb": 1}}})", kStrict, read),
            "'f.json': o.m.a\\x0ab must be an object, not a number");
}

TEST(JsonReader, FilesAreBounded) {
  EXPECT_EQ(trouble(std::string(201, ' '), kStrict, read_nothing),
            "'f.json' is too large: more than 200 bytes");
  EXPECT_EQ(trouble("{\"a\": \"\xff\"}", kStrict, read_nothing), "'f.json' is not UTF-8");
  EXPECT_EQ(trouble(std::string(50, '['), kStrict, read_nothing), "'f.json' is nested too deeply");
  EXPECT_EQ(trouble("{", kStrict, read_nothing, ""), "the list is not valid JSON");
  EXPECT_EQ(trouble("3", kStrict, read_nothing, ""), "the list must be an object, not a number");
  constexpr JsonRules kFew{.max_entries = 2, .max_text = 3};
  const auto read = [](JsonReader& reader) {
    (void)reader.text("t");
    (void)reader.list("l");
    (void)reader.object("o");
  };
  EXPECT_EQ(trouble(R"({"t": "long"})", kFew, read), "'f.json': t is longer than 3 bytes");
  EXPECT_EQ(trouble(R"({"l": [1, 2, 3]})", kFew, read), "'f.json': l has more than 2 entries");
  EXPECT_EQ(trouble(R"({"o": {"a": 1, "b": 1, "c": 1}})", kFew, read),
            "'f.json': o has more than 2 members");
  EXPECT_EQ(trouble(R"({"l": [1, 2], "o": {"a": 1, "b": 1}, "t": "abc"})", kFew, read), "");
}

TEST(JsonReader, NumbersOutOfAnyRangeAreRefused) {
  const auto read = [](JsonReader& reader) {
    (void)reader.integer("i", 0, 0, std::int64_t{1} << 40);
    (void)reader.number("d", 0, 0, 1);
  };
  for (const char* text : {"-1", "1.5", "18446744073709551615", "1e30", "-1e300"}) {
    EXPECT_EQ(trouble(std::string(R"({"i": )") + text + "}", kStrict, read),
              "'f.json': i must be a whole number from 0 to 1099511627776")
        << text;
  }
  EXPECT_EQ(trouble(R"({"i": 1e3, "d": 1})", kStrict, read), "");
  EXPECT_EQ(trouble(R"({"d": 1e999})", kStrict, read), "'f.json' is not valid JSON");
}

}  // namespace
}  // namespace hearth::measure
