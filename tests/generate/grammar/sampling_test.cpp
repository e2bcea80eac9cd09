// Whatever a model would like to say: what it says under a schema is valid.
#include <gtest/gtest.h>

#include "generate/grammar/handwritten_schemas.h"
#include "generate/grammar/random_schemas.h"
#include "gguf/file.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

namespace grammar = generate::grammar;

class Sampling : public ::testing::TestWithParam<const char*> {};

TEST_P(Sampling, CompleteTextsAreValid) {
  const std::filesystem::path path = goldens_dir() / "tokenizer" / GetParam();
  HEARTH_REQUIRE_FILE(path);
  const auto tokenizer = text::Tokenizer::create(gguf::File::open(path).metadata());
  const auto trie = grammar::build_token_trie(*tokenizer);
  std::vector<Json> schemas;
  for (const std::string_view text : handwritten_schemas()) schemas.push_back(Json::parse(text));
  EXPECT_GE(schemas.size(), 150U);
  for (std::uint64_t seed = 0; seed < 60; ++seed) schemas.push_back(random_schema(seed));
  int complete = 0;
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    const Json& schema = schemas[i];
    SCOPED_TRACE(schema.dump());
    const auto compiled = grammar::compile_json_schema(schema);
    const Sample result = sample(compiled, trie, *tokenizer, i, 600);
    if (!result.complete) {  // a string without a limit may go on and on
      EXPECT_TRUE(grammar::matches_prefix(*compiled, result.text));
      continue;
    }
    ++complete;
    const Json value = Json::parse(result.text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << result.text;
    const auto violation = find_violation(value, schema, schema);
    EXPECT_FALSE(violation) << *violation << ": " << result.text;
  }
  EXPECT_GT(complete, static_cast<int>(schemas.size() * 3 / 4));
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Sampling,
                         ::testing::Values("llama-bpe.gguf", "llama-spm.gguf", "qwen2.gguf",
                                           "gpt-2.gguf"));

TEST(SchemaChecker, FindsWhatIsWrong) {
  const auto violates = [](const char* schema, const char* value) {
    const Json parsed = Json::parse(schema);
    return find_violation(Json::parse(value), parsed, parsed).has_value();
  };
  EXPECT_TRUE(violates(R"({"type":"integer"})", "1.5"));
  EXPECT_TRUE(violates(R"({"maxLength":1})", "\"é😀\""));
  EXPECT_TRUE(violates(R"({"pattern":"^\\u4e00$"})", "\"a\""));
  EXPECT_FALSE(violates(R"({"pattern":"^\\u4e00\\s$"})", "\"一\\u00a0\""));
  EXPECT_TRUE(violates(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "1"));
  EXPECT_TRUE(
      violates(R"({"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":false}})", "{\"a\":1}"));
  EXPECT_TRUE(violates(R"({"uniqueItems":true})", "[1,1]"));
}

}  // namespace
}  // namespace hearth::testing
