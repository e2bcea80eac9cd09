#include "serve/dialects/json_body.h"

#include "serve/dialects/dialect_test.h"

namespace hearth::serve {
namespace {

using namespace testing;

RequestError body_refused(const std::string& body) {
  return refusal([&] { return parse_object(body); });
}

TEST(JsonBody, ParsesWhatJsonIs) {
  EXPECT_EQ(parse_object(R"( {"a":[1,{"b":"c,{[\"\\"}]} )")["a"][1]["b"], "c,{[\"\\");
  EXPECT_EQ(parse_json("[1]")[0], 1);
  EXPECT_EQ(parse_object(R"({"a":1,"a":2})")["a"], 2);
}

TEST(JsonBody, RefusesWhatIsNone) {
  for (const char* body : {"", " \n", "{", "{\"a\":}", "{} x", "nul", "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\u12\"}", "{\"a\":01}", "[1]", "3", "\"x\"", "{\"a\":1e999}",
                           "{'a':1}", "{\"a\":\"", "{\"a\":\"\\"}) {
    const RequestError error = body_refused(body);
    EXPECT_EQ(error.status, 400) << body;
    EXPECT_FALSE(error.message.empty()) << body;
  }
}

TEST(JsonBody, RefusesBadUtf8) {
  EXPECT_NE(body_refused("{\"a\":\"\xff\"}").message.find("UTF-8"), std::string::npos);
  EXPECT_NE(body_refused("{\"a\":\"\xed\xa0\x80\"}").message.find("UTF-8"), std::string::npos);
}

TEST(JsonBody, LoneSurrogatesAreReplaced) {
  const auto text = [](const char* escaped) {
    return parse_object("{\"a\":\"" + std::string(escaped) + "\"}")["a"].get<std::string>();
  };
  EXPECT_EQ(text("\\ud83d\\ude00"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(text("x\\ud800y"), "x\xEF\xBF\xBDy");
  EXPECT_EQ(text("\\udc00"), "\xEF\xBF\xBD");
  EXPECT_EQ(text("\\ud800\\ud83d\\ude00"), "\xEF\xBF\xBD\xF0\x9F\x98\x80");
  EXPECT_EQ(text("\\ud800\\n"), "\xEF\xBF\xBD\n");
  EXPECT_EQ(text("\\\\ud800"), "\\ud800");
  EXPECT_EQ(text("\\u0000"), std::string(1, '\0'));
}

TEST(JsonBody, IsBounded) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']') + "}";
  };
  EXPECT_NO_THROW(static_cast<void>(parse_object(nested(95))));
  EXPECT_NE(body_refused(nested(96)).message.find("nested"), std::string::npos);
  EXPECT_NE(body_refused("{\"a\":" + std::string(1000000, '[')).message.find("nested"),
            std::string::npos);
  std::string members = "{\"m0\":0";
  for (int i = 1; i < 1024; ++i) members += ",\"m" + std::to_string(i) + "\":0";
  EXPECT_NO_THROW(static_cast<void>(parse_object(members + "}")));
  EXPECT_NE(body_refused(members + ",\"x\":0}").message.find("members"), std::string::npos);
  const JsonLimits few{.depth = 8, .values = 10, .members = 100};
  EXPECT_NO_THROW(static_cast<void>(parse_json("[1,2,3,4,5]", few)));
  EXPECT_EQ(refusal([&] { return parse_json("[1,2,3,4,5,6,7,8,9,10,11]", few); }).status, 400);
}

TEST(JsonBody, Members) {
  const Json object = Json::parse(R"({"t":true,"i":3,"f":3.0,"h":3.5,"s":"x","l":["a","b"],
      "n":null,"big":18446744073709551615,"huge":1e300})");
  EXPECT_EQ(bool_member(object, "t"), true);
  EXPECT_EQ(integer_member(object, "i"), 3);
  EXPECT_EQ(integer_member(object, "f"), 3);
  EXPECT_EQ(number_member(object, "h"), 3.5);
  EXPECT_EQ(string_member(object, "s"), "x");
  EXPECT_EQ(strings_member(object, "s"), std::vector<std::string>{"x"});
  EXPECT_EQ(strings_member(object, "l"), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(bool_member(object, "n"));
  EXPECT_FALSE(string_member(object, "missing"));
  EXPECT_EQ(find_member(object, "n"), nullptr);
  EXPECT_EQ(refusal([&] { return integer_member(object, "h"); }).parameter, "h");
  EXPECT_EQ(refusal([&] { return integer_member(object, "big"); }).parameter, "big");
  EXPECT_EQ(refusal([&] { return float_member(object, "huge"); }).parameter, "huge");
  EXPECT_EQ(refusal([&] { return bool_member(object, "i"); }).code, "invalid_type");
  EXPECT_EQ(refusal([&] { return strings_member(object, "i"); }).parameter, "i");
}

TEST(JsonBody, Durations) {
  EXPECT_EQ(duration_seconds("5m"), 300.0);
  EXPECT_EQ(duration_seconds("1h30m"), 5400.0);
  EXPECT_EQ(duration_seconds("500ms"), 0.5);
  EXPECT_EQ(duration_seconds("1.5s"), 1.5);
  EXPECT_EQ(duration_seconds("-1s"), -1.0);
  EXPECT_EQ(duration_seconds("0"), 0.0);
  EXPECT_EQ(duration_seconds("2µs"), 2e-6);
  for (const char* wrong :
       {"", "-", "5", "m", "5 m", "5x", "1h-3m", "--1s", "nans", "infs", "1e3s"}) {
    EXPECT_FALSE(duration_seconds(wrong)) << wrong;
  }
}

TEST(JsonBody, Times) {
  EXPECT_EQ(utc_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_time(1735142223), "2024-12-25T15:57:03Z");
  EXPECT_EQ(utc_time(-5), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_time(INT64_MAX), "9999-12-31T23:59:59Z");
}

}  // namespace
}  // namespace hearth::serve
