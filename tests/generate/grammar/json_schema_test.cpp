// Which texts schemas allow, keyword by keyword: decided by feeding bytes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "generate/grammar/grammar.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

using Json = nlohmann::ordered_json;

struct Texts {
  std::vector<std::string> right, wrong;
};

void check(const std::string& schema, const Texts& texts) {
  SCOPED_TRACE(schema);
  const auto grammar = compile_json_schema(Json::parse(schema));
  for (const std::string& text : texts.right) EXPECT_TRUE(matches(*grammar, text)) << text;
  for (const std::string& text : texts.wrong) EXPECT_FALSE(matches(*grammar, text)) << text;
}

void check_refused(const std::string& schema, const std::string& named) {
  SCOPED_TRACE(schema);
  try {
    (void)compile_json_schema(Json::parse(schema));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(JsonSchema, Types) {
  check(R"({"type":"null"})", {{"null"}, {"", "nul", "nulll", "0", "\"null\""}});
  check(R"({"type":"boolean"})", {{"true", "false"}, {"True", "1", "truefalse"}});
  check(R"({"type":"integer"})",
        {{"0", "-1", "120", "999999999999999"}, {"-0", "01", "1.0", "1e3", "+1", "", "-"}});
  check(R"({"type":"number"})",
        {{"0", "-1", "1.5", "-0.25", "1e10", "2E-3"}, {"1.", ".5", "01", "1e", "0x1", "1e999"}});
  check(R"({"type":"string"})",
        {{"\"\"", "\"a\"", "\"\\n\"", "\"\\u00e9\"", "\"\\ud83d\\ude00\"", "\"é😀\"", "\"\\/\""},
         {"\"", "a", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\xff\"", "\"\"\""}});
  check(R"({"type":["string","null"]})", {{"null", "\"x\""}, {"1", "true"}});
  check(R"({"type":"string","nullable":true})", {{"null", "\"x\""}, {"1"}});
  check("true", {{"1", "null", "[1, {\"a\":[]}]", "{\"a\": {}}"}, {"", "[1,]", "{a:1}"}});
  check("{}", {{"\"x\"", "[]"}, {"]"}});
}

TEST(JsonSchema, WhiteSpaceIsBounded) {
  check(R"({"type":"array","items":{"type":"integer"}})",
        {{"[]", "[ ]", "[1,2]", "[1, 2]", "[\n  1,\n  2\n]"},
         {" []", "[] ", "[1  ,2]", "[1,  2]", "[\n\n1]", "[1 ,2]",
          "[\n                          1]"}});
  const auto compact = compile_json_schema(Json::parse(R"({"properties":{"a":{},"b":{}}})"),
                                           {.white_space = WhiteSpace::kNone, .reasoning = {}});
  EXPECT_TRUE(matches(*compact, R"({"a":1,"b":[1,2]})"));
  EXPECT_FALSE(matches(*compact, R"({"a": 1})"));
}

TEST(JsonSchema, Objects) {
  check(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
            "required":["a"]})",
        {{R"({"a":1})", R"({"a": 1, "b": "x"})", "{\n  \"a\": 1\n}"},
         {"{}", R"({"b":"x"})", R"({"b":"x","a":1})", R"({"a":1,"c":2})", R"({"a":"1"})",
          R"({"a":1,})", R"({"a":1 "b":"x"})"}});
  check(R"({"type":"object"})", {{"{}", R"({"x":[1]})"}, {"[]", "{x:1}"}});
  check(R"({"type":"object","additionalProperties":false})", {{"{}"}, {R"({"a":1})"}});
  check(R"({"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}})",
        {{"{}", R"({"a":"x"})", R"({"a":[],"b":1})", R"({"b":1,"c":2})"},
         {R"({"b":"x"})", R"({"b":1,"a":"x"})", R"({"\u0061":"x"})"}});
  check(R"({"type":"object","required":["x"],"properties":{"y":{}}})",
        {{R"({"x":1})", R"({"y":1,"x":null})"}, {"{}", R"({"y":1})"}});
  check(R"({"type":"object","patternProperties":{"^n_":{"type":"integer"},"^s_":{"type":"string"}},
            "additionalProperties":false})",
        {{"{}", R"({"n_a":1,"s_b":"x"})"}, {R"({"n_a":"x"})", R"({"b":1})"}});
  check(R"({"type":"object","propertyNames":{"pattern":"^[a-z]{1,3}$"}})",
        {{"{}", R"({"ab":1})"}, {R"({"abcd":1})", R"({"A":1})"}});
  check(R"({"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},
            "c":{"type":"null"}},"minProperties":1,"maxProperties":2})",
        {{R"({"a":null})", R"({"a":null,"c":null})", R"({"b":null,"c":null})"},
         {"{}", R"({"a":null,"b":null,"c":null})"}});
  check(R"({"type":"object","properties":{"a":false,"b":true}})",
        {{"{}", R"({"b":1})"}, {R"({"a":1})"}});
  check(R"({"type":"object","properties":{"quote\"d":{"type":"null"},"é\n":{"type":"null"}}})",
        {{R"({"quote\"d":null,"é\n":null})"}, {}});
}

TEST(JsonSchema, Arrays) {
  check(R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":3})",
        {{"[true]", "[true,false,true]"}, {"[]", "[true,true,true,true]", "[1]"}});
  check(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
        {{"[]", "[1]", "[1,\"x\"]"}, {"[\"x\"]", "[1,\"x\",1]"}});
  check(
      R"({"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":2})",
      {{"[1,null]", "[1,null,null]"}, {"[1]", "[]", "[1,1]"}});
  check(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}],"maxItems":1})",
        {{"[]", "[1]"}, {"[1,null]", "[null]"}});
  check(R"({"type":"array","items":{"enum":["a","b","c"]},"uniqueItems":true,"minItems":2})",
        {{R"(["a","b"])", R"(["c","a","b"])"}, {R"(["a"])", R"(["a","a"])", R"(["a","b","a"])"}});
  check(R"({"type":"array","minItems":1000,"maxItems":1000,"items":{"type":"null"}})",
        {{}, {"[null]"}});
}

TEST(JsonSchema, EnumAndConst) {
  check(R"({"enum":["a",1,null,{"x":[1,2]},"é\"\n"]})",
        {{"\"a\"", "1", "null", R"({"x": [1, 2]})", "\"é\\\"\\n\""}, {"\"b\"", "2", "{}"}});
  check(R"({"type":"string","enum":["a",1]})", {{"\"a\""}, {"1"}});
  check(R"({"enum":["a","bb","ccc"],"minLength":2})", {{"\"bb\"", "\"ccc\""}, {"\"a\""}});
  check(R"({"const":false})", {{"false"}, {"true"}});
  // Equal whatever the order of members and the form of numbers.
  check(R"({"allOf":[{"enum":[1,{"a":1,"b":[2]},"x"]},{"enum":["y",1.0,{"b":[2.0],"a":1}]}]})",
        {{"1", R"({"a": 1, "b": [2]})"}, {R"("x")", R"("y")"}});
  check(R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}],"minimum":3})", {{"3"}, {"1", "2", "4"}});
}

TEST(JsonSchema, Strings) {
  check(R"({"type":"string","minLength":2,"maxLength":3})",
        {{"\"ab\"", "\"abc\"", "\"\\n\\n\"", "\"é😀\"", "\"\\ud83d\\ude00x\""},
         {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\""}});
  check(R"({"type":"string","pattern":"^[a-z]+$"})", {{"\"abc\""}, {"\"\"", "\"aB\"", "\"a1\""}});
  check(R"({"type":"string","pattern":"b"})", {{"\"b\"", "\"abc\"", "\"\\nb\""}, {"\"ac\""}});
  check(R"({"type":"string","pattern":"^[\"\\\\]$"})", {{R"("\"")", R"("\\")"}, {R"("\/")"}});
  check(R"({"type":"string","pattern":"^a*$","minLength":2,"maxLength":4})",
        {{"\"aa\"", "\"aaaa\""}, {"\"a\"", "\"aaaaa\"", "\"ab\""}});
  check(R"({"allOf":[{"type":"string","pattern":"a"},{"pattern":"b"}]})",
        {{"\"ab\"", "\"b a\""}, {"\"a\"", "\"b\""}});
}

TEST(JsonSchema, Formats) {
  check(R"({"type":"string","format":"date"})",
        {{"\"2024-02-29\"", "\"2023-12-31\"", "\"2000-02-29\""},
         {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-13-01\"", "\"20230101\""}});
  check(R"({"type":"string","format":"time"})",
        {{"\"12:34:56Z\"", "\"23:59:59.123+05:30\""}, {"\"24:00:00Z\"", "\"12:34\""}});
  check(R"({"type":"string","format":"date-time"})",
        {{"\"2024-02-29T12:34:56Z\""}, {"\"2024-02-29 12:34:56Z\""}});
  check(R"({"type":"string","format":"uuid"})",
        {{"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567e89b12d3a456426614174000\""}});
  check(R"({"type":"string","format":"email"})",
        {{"\"a.b@example.com\""}, {"\"a@b\"", "\"@x.de\""}});
  check(R"({"type":"string","format":"ipv4"})",
        {{"\"192.168.0.255\""}, {"\"256.1.1.1\"", "\"01.1.1.1\""}});
  check(R"({"type":"string","format":"ipv6"})",
        {{"\"::\"", "\"::1\"", "\"fe80::1:2\"", "\"1:2:3:4:5:6:7:8\""},
         {"\"1:2:3\"", "\"1::2::3\""}});
  check(R"({"type":"string","format":"uri"})",
        {{"\"https://example.com/a?b=c#d\""}, {"\"example.com\"", "\"https:// x\""}});
  check(R"({"type":"string","format":"hostname"})",
        {{"\"a-b.example.com\""}, {"\"-a\"", "\"a_b\""}});
  check(R"({"type":"string","format":"duration"})",
        {{"\"P1Y2M3D\"", "\"PT1H\"", "\"P2W\"", "\"P1DT12H30M\""}, {"\"P\"", "\"PT\"", "\"1D\""}});
}

TEST(JsonSchema, IntegersWithBounds) {
  check(R"({"type":"integer","minimum":3,"maximum":120})",
        {{"3", "9", "10", "99", "100", "120"}, {"2", "121", "130", "-3", "03"}});
  check(R"({"type":"integer","minimum":-15,"exclusiveMaximum":7})",
        {{"-15", "-9", "-1", "0", "6"}, {"-16", "7", "-0", "10"}});
  check(R"({"type":"integer","exclusiveMinimum":0})", {{"1", "100"}, {"0", "-1"}});
  check(R"({"type":"integer","minimum":0.5,"maximum":2.5})", {{"1", "2"}, {"0", "3"}});
  check(R"({"type":"integer","multipleOf":7,"minimum":-30,"maximum":30})",
        {{"-28", "0", "7", "28"}, {"1", "-29", "35"}});
  check(R"({"type":"integer","multipleOf":2.5,"maximum":20})",
        {{"5", "10", "0", "-15"}, {"2", "25"}});
  check(R"({"type":"integer","format":"int32"})",
        {{"2147483647", "-2147483648"}, {"2147483648", "-2147483649"}});
  check(R"({"type":"integer","minimum":1000000000000000000})",
        {{"1000000000000000000"}, {"999999999999999999"}});
}

TEST(JsonSchema, NumbersWithBounds) {
  check(R"({"type":"number","minimum":0,"maximum":1})",
        {{"0", "1", "0.5", "0.0", "1.0", "0.999999", "1.00"},
         {"-0.1", "1.1", "1.000001", "2", "1e0"}});
  check(R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1})",
        {{"0.5", "0.000001", "0.999999"}, {"0", "0.0", "1", "1.0"}});
  check(R"({"type":"number","minimum":-2.5,"maximum":-1.25})",
        {{"-2.5", "-2.50", "-1.25", "-2", "-1.3", "-2.499"}, {"-2.51", "-1.2", "-1", "0", "-3"}});
  check(R"({"type":"number","minimum":-1.5,"maximum":10})",
        {{"-1.5", "-0.3", "0", "9.99", "10", "10.0", "-1"}, {"-1.6", "10.01", "11", "-2"}});
  check(R"({"type":"number","minimum":100})", {{"100", "100.5", "99999"}, {"99.9", "-100"}});
  check(R"({"type":"number","multipleOf":0.25})",
        {{"0.25", "1.5", "2", "-0.75"}, {"0.3", "0.125"}});
  check(R"({"type":"number","multipleOf":0.01,"minimum":0})", {{"19.99", "3.5", "0"}, {"0.001"}});
}

TEST(JsonSchema, Combinations) {
  check(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
        {{"12", "\"a\""}, {"\"ab\"", "null"}});
  check(R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},
             "required":["k","x"]},{"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
        {{R"({"k":"a","x":1})", R"({"k":"b"})"}, {R"({"k":"a"})", R"({"k":"c"})"}});
  check(R"({"oneOf":[{"type":"integer","maximum":5},{"type":"integer","minimum":6}]})",
        {{"5", "6"}, {"x"}});
  check(R"({"oneOf":[{"required":["a"],"properties":{"a":{}},"additionalProperties":false},
             {"required":["b"],"properties":{"b":{}},"additionalProperties":false}],"type":"object"})",
        {{R"({"a":1})", R"({"b":1})"}, {"{}", R"({"a":1,"b":1})"}});
  check(R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},
             {"properties":{"a":{"minimum":5},"b":{"type":"null"}}}]})",
        {{R"({"a":5})", R"({"a":7,"b":null})"}, {R"({"a":4})", "{}"}});
  check(R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},
             {"properties":{"b":{}}}],"type":"object"})",
        {{"{}", R"({"a":1})"}, {R"({"b":1})", R"({"a":1,"b":1})"}});
  check(R"({"type":"object","properties":{"a":{"type":"integer"}},"unevaluatedProperties":false})",
        {{R"({"a":1})"}, {R"({"b":1})"}});
}

TEST(JsonSchema, ReferencesAndRecursion) {
  check(R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{
             "v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},
             "required":["v","next"]}}})",
        {{R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
         {R"({"v":1})", R"({"v":1,"next":{"v":2}})"}});
  check(R"({"type":"array","items":{"$ref":"#"}})", {{"[]", "[[],[[]]]"}, {"[1]", "[[]"}});
  check(R"({"definitions":{"a/b~c %":{"type":"null"}},"$ref":"#/definitions/a~1b~0c%20%25"})",
        {{"null"}, {"1"}});
  check(
      R"({"$defs":{"x":{"$anchor":"here","type":"null"}},"items":{"$ref":"#here"},"type":"array"})",
      {{"[null]"}, {"[1]"}});
  // As deep as it may get, and no deeper; what is begun can always be ended.
  const auto grammar = compile_json_schema(Json::parse(R"({"type":"array","items":{"$ref":"#"}})"));
  const std::string deep(5000, '[');
  std::size_t depth = 0;
  while (depth < deep.size() && matches_prefix(*grammar, deep.substr(0, depth + 1))) ++depth;
  EXPECT_GT(depth, 64U);
  EXPECT_LT(depth, 1000U);
  EXPECT_TRUE(matches(*grammar, std::string(depth, '[') + std::string(depth, ']')));
}

TEST(JsonSchema, WhatCannotBeEnforcedIsRefused) {
  check_refused(R"({"not":{"type":"null"}})", "not");
  check_refused(R"({"if":{},"then":{}})", "if");
  check_refused(R"({"type":"array","contains":{}})", "contains");
  check_refused(R"({"type":"object","properties":{"a":{"minLenght":3}}})", "minLenght");
  check_refused(R"({"type":"object","dependentRequired":{}})", "dependentRequired");
  check_refused(R"({"type":"string","format":"iri"})", "iri");
  check_refused(R"({"type":"array","uniqueItems":true,"items":{"type":"integer"}})", "uniqueItems");
  check_refused(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "oneOf");
  check_refused(R"({"$ref":"#/$defs/missing"})", "missing");
  check_refused(R"({"$ref":"#"})", "itself");
  check_refused(R"({"type":"string","pattern":"(?=a)b"})", "look-around");
  check_refused(R"({"type":"strin"})", "type");
  check_refused(R"({"type":"object","minProperties":3})", "minProperties");
  check_refused(R"({"type":"array","items":{"$ref":"#"},"minItems":1})", "no text");
  check_refused(R"({"type":"integer","minimum":5,"maximum":4})", "no text");
  check_refused("[]", "schema");
  check_refused(R"({"type":"object","properties":[]})", "properties");
  check_refused(R"({"type":"string","pattern":"((a{1,100}){1,100}){1,100}"})", "states");
}

TEST(JsonSchema, AnnotationsAreFine) {
  check(R"({"title":"T","description":"d","default":1,"examples":[1],"$comment":"c","x-order":1,
            "$schema":"https://json-schema.org/draft/2020-12/schema","deprecated":true,
            "type":"integer"})",
        {{"1"}, {"\"1\""}});
}

TEST(JsonObject, AnyObject) {
  const auto grammar = json_object();
  EXPECT_TRUE(matches(*grammar, R"({"a": [1, 2.5e3, "x", {"b": null}], "c": true})"));
  EXPECT_FALSE(matches(*grammar, "[]"));
  EXPECT_FALSE(matches(*grammar, "{"));
}

}  // namespace
}  // namespace hearth::generate::grammar
