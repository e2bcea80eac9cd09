// Sources that are made to take time, memory or stack: each is refused or compiled, soon. (The
// tests' time limit says what soon is.)
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/fake_tokenizer.h"
#include "generate/grammar/compiled.h"
#include "generate/grammar/grammar.h"
#include "generate/grammar/random_schemas.h"
#include "support/error.h"
#include "text/chat_format.h"

namespace hearth::generate::grammar {
namespace {

using testing::Json;

std::string number(int i) { return std::to_string(i); }

Json reference(const std::string& name) { return {{"$ref", "#/$defs/" + name}}; }

/// Every family's way to write arguments, besides the schema itself.
void compile_everywhere(const Json& schema, bool refused) {
  const auto attempt = [&](const auto& compile, const char* what) {
    bool failed = false;
    std::string reason;
    try {
      (void)compile();
    } catch (const Error& error) {
      failed = true;
      reason = error.what();
    }
    EXPECT_EQ(failed, refused) << what << ": " << reason;
  };
  attempt([&] { return compile_json_schema(schema); }, "schema");
  const Json tools = Json::array({{{"name", "f"},
                                   {"parameters",
                                    {{"type", "object"},
                                     {"properties", {{"a", reference("d0")}}},
                                     {"required", {"a"}},
                                     {"$defs", schema["$defs"]}}}}});
  for (const char* source :
       {"<tool_call>", "<seed:tool_call>", "]<]minimax[>[", "<|tool_call>", "<function_calls>"})
    attempt([&] { return for_tools(text::detect_chat_format(source), tools, {}); }, source);
}

Json definitions(int count, const auto& make) {
  Json all = Json::object();
  for (int i = 0; i < count; ++i) all["d" + number(i)] = make(i);
  Json schema = reference("d0");
  schema["$defs"] = all;
  return schema;
}

TEST(Hostile, LongLists) {
  for (const auto& [count, refused] : {std::pair(19'999, false), std::pair(300'000, true)}) {
    Json values = Json::array();
    for (int i = 0; i < count; ++i) values.push_back("value " + number(i));
    const Json schema = {{"enum", values}};
    if (refused) {
      EXPECT_THROW((void)compile_json_schema(schema), Error);
    } else {
      EXPECT_NO_THROW((void)compile_json_schema(schema));
    }
  }
}

TEST(Hostile, ChainsOfReferences) {
  constexpr int kCount = 6000;
  compile_everywhere(
      definitions(kCount,
                  [&](int i) {
                    return i + 1 < kCount ? reference("d" + number(i + 1)) : Json{{"type", "null"}};
                  }),
      true);
  // Through properties there is no end of depth; but no text can be nested so deeply.
  compile_everywhere(
      definitions(kCount,
                  [&](int i) {
                    return i + 1 < kCount
                               ? Json{{"type", "object"},
                                      {"properties", {{"a", reference("d" + number(i + 1))}}}}
                               : Json{{"type", "null"}};
                  }),
      false);
  compile_everywhere(
      definitions(kCount,
                  [&](int i) {
                    return Json{{"type", "object"},
                                {"required", {"a"}},
                                {"properties", {{"a", reference("d" + number((i + 1) % kCount))}}}};
                  }),
      true);
}

TEST(Hostile, AlternativesThatMultiply) {
  const auto twice = [](const char* keyword) {
    return definitions(60, [&](int i) {
      const Json next = i < 59 ? reference("d" + number(i + 1)) : Json{{"type", "null"}};
      return Json{{keyword, {next, next}}};
    });
  };
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) compile_everywhere(twice(keyword), true);
  Json product{{"$defs", {{"d0", {{"allOf", Json::array()}}}}}};
  for (int i = 0; i < 12; ++i) {
    Json any = Json::array();
    for (int j = 0; j < 6; ++j)
      any.push_back({{"type", "object"}, {"required", {"k" + number(i) + number(j)}}});
    product["$defs"]["d0"]["allOf"].push_back({{"anyOf", any}});
  }
  product["$ref"] = "#/$defs/d0";
  compile_everywhere(product, true);
  // Every set of these may have to hold at once for some member.
  compile_everywhere(definitions(40,
                                 [](int i) {
                                   Json all{{"type", "object"}, {"properties", Json::object()}};
                                   for (int j = 0; j < 6; ++j)
                                     all["properties"]["p" + number(j)] = {
                                         {"allOf",
                                          {reference("d" + number((i * 7 + j) % 40)),
                                           reference("d" + number((i * 11 + 3 * j + 1) % 40))}}};
                                   return all;
                                 }),
                     true);
}

TEST(Hostile, ManyValuesAndMembers) {
  Json words = Json::array();
  for (int i = 0; i < 20'000; ++i) words.push_back("a long word that begins alike " + number(i));
  EXPECT_NO_THROW((void)compile_json_schema({{"enum", words}}));
  words.push_back("one more");
  EXPECT_THROW((void)compile_json_schema({{"enum", words}}), Error);
  Json consts = Json::array();
  for (int i = 0; i < 300; ++i) consts.push_back({{"const", "w" + number(i)}});
  EXPECT_NO_THROW((void)compile_json_schema({{"oneOf", consts}}));
  Json patterns = Json::array();
  for (int i = 0; i < 900; ++i)
    patterns.push_back({{"type", "string"}, {"pattern", "^a" + number(i) + "b*$"}});
  EXPECT_THROW((void)compile_json_schema({{"oneOf", patterns}}), Error);
  Json properties = Json::object();
  for (int i = 0; i < 5000; ++i) properties["property " + number(i)] = {{"type", "integer"}};
  EXPECT_NO_THROW((void)compile_json_schema({{"type", "object"}, {"properties", properties}}));
  EXPECT_THROW((void)compile_json_schema(
                   {{"type", "object"}, {"properties", properties}, {"minProperties", 2500}}),
               Error);
  properties["one more"] = true;
  EXPECT_THROW((void)compile_json_schema({{"type", "object"}, {"properties", properties}}), Error);
  EXPECT_NO_THROW((void)compile_json_schema(Json::parse(
      R"({"type":"array","minItems":4000000000,"items":{"type":"string","maxLength":4000000000}})")));
  std::string deep;
  for (int i = 0; i < 250; ++i) deep += "{\"properties\":{\"a\":";
  deep += "true";
  for (int i = 0; i < 250; ++i) deep += "}}";
  EXPECT_THROW((void)compile_json_schema(Json::parse(deep)), Error);
}

TEST(Hostile, Patterns) {
  std::string groups, nested = "a", long_class = "[";
  for (int i = 0; i < 5000; ++i) groups += "(a|";
  for (int i = 0; i < 5; ++i) nested = "(" + nested + "{100}){100}";
  for (int i = 0; i < 50'000; ++i) long_class += "\\u4e00-\\u4fff";
  for (const std::string& pattern :
       {std::string("(.*a.{20})"), std::string("(a|b)*a(a|b){30}"), groups, nested,
        std::string("a{4000000000}"), std::string("((a*)*)*b{1000}{1000}"),
        std::string(100'000, '('), std::string("(?:(?:[^a]|a[^b]){1000}|x*){1000}"),
        std::string("^(\\w+\\s?)*$").append(3000, '?')}) {
    EXPECT_THROW((void)compile_regex(pattern), Error) << pattern.substr(0, 60);
    EXPECT_THROW((void)compile_json_schema({{"type", "string"}, {"pattern", pattern}}), Error);
    EXPECT_THROW((void)compile_lark("start: /" + pattern + "/"), Error);
  }
  try {
    (void)compile_regex(long_class + "]*");
  } catch (const Error&) {
  }
  for (const char* pattern :
       {"(a+)+b", "(a|a)*b", "(a|aa)+$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"})
    EXPECT_NO_THROW((void)compile_regex(pattern)) << pattern;
  EXPECT_THROW((void)compile_json_schema(Json::parse(
                   R"({"type":"string","pattern":"^([a-z]{3}|[0-9]{5})*$","maxLength":19000})")),
               Error);
}

// Each of them is small enough; together they would take minutes and gigabytes.
TEST(Hostile, ManyPatterns) {
  const auto patterned = [](int count, const std::string& pattern) {
    std::string source = "start: \"a\"";
    for (int i = 0; i < count; ++i) source += "|/" + pattern + "/";
    return source;
  };
  EXPECT_NO_THROW((void)compile_lark(patterned(5, "(a|b)*a(a|b){8}")));
  EXPECT_THROW((void)compile_lark(patterned(800, "(a|b)*a(a|b){13}")), Error);
  // Few states, and most of the work is to see that there cannot be fewer.
  std::string ignores = "start: \"a\"\n";
  for (int i = 0; i < 10'000; ++i) ignores += "%ignore /[a-z]{1,40}x/\n";
  EXPECT_THROW((void)compile_lark(ignores), Error);
  Json schema{{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 200; ++i)
    schema["properties"]["p" + number(i)] = {{"type", "string"},
                                             {"pattern", "^(a|b)*a(a|b){12}" + number(i) + "$"}};
  EXPECT_THROW((void)compile_json_schema(schema), Error);
  // Nothing is left of these, however much work they are.
  Json numbers{{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 2000; ++i)
    numbers["properties"]["p" + number(i)] = {{"type", "number"},
                                              {"multipleOf", 0.37},
                                              {"exclusiveMinimum", 0.1},
                                              {"maximum", 0.3 + 0.00001 * i}};
  EXPECT_THROW((void)compile_json_schema(numbers), Error);
  Json texts{{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 2000; ++i)
    texts["properties"]["p" + number(i)] = {
        {"type", "string"},
        {"maxLength", 3000 + i},
        {"allOf", {{{"pattern", "^(a|b)*a(a|b){11}$"}}, {{"pattern", "^(a|b)*b(a|b){11}$"}}}}};
  EXPECT_THROW((void)compile_json_schema(texts), Error);
}

TEST(Hostile, Grammars) {
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 4990; ++i) chain += "r" + number(i) + " ::= r" + number(i + 1) + "?\n";
  EXPECT_NO_THROW((void)compile_gbnf(chain + "r4990 ::= \"x\"?"));
  std::string doubling = "root ::= r0\n";
  for (int i = 0; i < 2000; ++i)
    doubling += "r" + number(i) + " ::= r" + number(i + 1) + " r" + number(i + 1) + "\n";
  EXPECT_THROW((void)compile_gbnf(doubling + "r2000 ::= \"x\""), Error);  // too deep for any text
  std::string many = "root ::= \"x\"\n";
  for (int i = 0; i < 6000; ++i) many += "r" + number(i) + " ::= \"x\"\n";
  EXPECT_THROW((void)compile_gbnf(many), Error);
  std::string nested = "\"a\"";
  for (int i = 0; i < 60; ++i) nested = "(" + nested + "){3}";
  try {
    (void)compile_gbnf("root ::= " + nested);
  } catch (const Error&) {
  }
  std::string stars = "root ::= \"a\"" + std::string(50'000, '*');
  try {
    (void)compile_gbnf(stars);
  } catch (const Error&) {
  }
  EXPECT_THROW((void)compile_gbnf("root ::= " + std::string(300'000, ' ')), Error);
  // As ambiguous as can be: what is kept of a state is bounded.
  const auto ambiguous = compile_gbnf("root ::= root root | root root root | \"a\" | \"a\" root");
  EXPECT_TRUE(matches_prefix(*ambiguous, std::string(200, 'a')));
  testing::FakeTokenizer tokenizer({"<eos>", "a", std::string(4000, 'a')});
  tokenizer.ends = {0};
  const auto tangled = compile_gbnf("root ::= (((\"a\"{0,300}){0,300}){0,300}){0,300}");
  const auto constraint = constrain(tangled, build_token_trie(tokenizer));
  EXPECT_THROW((void)constraint->allowed(), Error);
  const auto counted = compile_gbnf("root ::= ((\"a\"{0,300}){0,300}){0,300}");
  EXPECT_TRUE(matches(*counted, std::string(400, 'a')));
}

/// Every text leads to another state: what was begun with is on the stack.
std::string mirrored_texts() {
  std::string source = "root ::= s\ns ::= \"\"";
  for (char c = ' '; c <= '~'; ++c) {
    if (c == '"' || c == '\\') continue;
    source += std::string(" | \"") + c + "\" s \"" + c + "\"";
  }
  return source + " | [\\u007f-\\U0010ffff] s\n";
}

// One mask of these would take seconds, which everybody waits for, and half a gigabyte, for every
// comment that tells the grammar from the one before.
TEST(Hostile, EveryTextIsAnotherState) {
  testing::FakeTokenizer tokenizer({"<eos>", "a", "b", "ab"});
  tokenizer.ends = {0};
  const auto trie = build_token_trie(tokenizer);
  const auto grammar = compile_gbnf(mirrored_texts());
  const auto constraint = constrain(grammar, trie);
  try {
    (void)constraint->allowed();
    FAIL() << "as many states as there are texts";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    EXPECT_NE(error.hint(), "");
  }
  // What was learned in vain is not kept for others.
  EXPECT_EQ(size(*grammar).states, 0U);
  // Nor does one mask lead through more than there is time for.
  Automaton automaton(grammar->network(), trie.get());
  std::vector<std::uint64_t> own;
  EXPECT_THROW((void)automaton.mask(automaton.start(), own), Error);
  EXPECT_LT(automaton.bytes(), std::size_t{128} << 20);
  const std::size_t states = automaton.states();
  EXPECT_THROW((void)automaton.mask(automaton.start(), own), Error);
  EXPECT_EQ(automaton.states(), states);  // it is known now
  EXPECT_NE(automaton.run(automaton.start(), "ab", false), Automaton::kDead);
  // A long text is as much work as its length says.
  EXPECT_TRUE(matches(*grammar, std::string(200, 'a')));
}

}  // namespace
}  // namespace hearth::generate::grammar
