// Every vocabulary, string, single byte and special id of goldens/tokenizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "text/golden.h"
#include "text/sha256.h"
#include "text/tokenizer.h"

namespace hearth::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

/// A golden vocabulary; loaded once per test program.
struct Loaded {
  explicit Loaded(const std::string& name) : golden(read_json(golden_path(name + ".json"))) {
    const gguf::File file = gguf::File::open(golden_path(name + ".gguf"));
    tokenizer = Tokenizer::create(file.metadata());
  }
  json golden;
  std::unique_ptr<Tokenizer> tokenizer;
};

const Loaded& load(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Loaded>> cache;
  auto& slot = cache[name];
  if (slot == nullptr) slot = std::make_unique<Loaded>(name);
  return *slot;
}

std::vector<std::string> vocabulary_names() {
  std::vector<std::string> names;
  const auto folder = hearth::testing::goldens_dir() / "tokenizer";
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<json> cases_of(const json& golden) {
  std::vector<json> cases = golden.at("cases");
  for (const json& single : golden.at("single_bytes")) cases.push_back(single);
  return cases;
}

/// What the golden ids with special tokens become where the published rules differ: the same frame
/// around other ids.
Ids reference_special(const json& golden_case) {
  const Ids ids = golden_case.at("ids");
  Ids special = golden_case.at("ids_special");
  const auto inside = std::search(special.begin(), special.end(), ids.begin(), ids.end());
  if (inside == special.end()) return {};
  const Ids reference = golden_case.at("ids_reference");
  Ids expected(special.begin(), inside);
  expected.insert(expected.end(), reference.begin(), reference.end());
  expected.insert(expected.end(), inside + static_cast<std::ptrdiff_t>(ids.size()), special.end());
  return expected;
}

std::string decode(const Tokenizer& tokenizer, const Ids& ids, bool special) {
  return tokenizer.decode(ids, {.special = special, .at_start = true, .clean_spaces = true});
}

class TokenizerGolden : public ::testing::TestWithParam<std::string> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TokenizerGolden);
INSTANTIATE_TEST_SUITE_P(Vocabularies, TokenizerGolden, ::testing::ValuesIn(vocabulary_names()),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST_P(TokenizerGolden, EncodesEveryCase) {
  const Loaded& loaded = load(GetParam());
  const Tokenizer& tokenizer = *loaded.tokenizer;
  for (const json& each : cases_of(loaded.golden)) {
    const std::string text = golden_input(each);
    const Ids ids = tokenizer.encode(text, EncodeOptions{});
    const Ids special = tokenizer.encode(text, {.add_special = true, .parse_special = true});
    if (each.value("undefined", false)) continue;
    if (each.contains("ids_reference")) {
      EXPECT_EQ(ids, each.at("ids_reference").get<Ids>()) << text;
      const Ids expected = reference_special(each);
      EXPECT_TRUE(expected.empty() || special == expected) << text;
    } else {
      EXPECT_EQ(ids, each.at("ids").get<Ids>()) << text;
      EXPECT_EQ(special, each.at("ids_special").get<Ids>()) << text;
    }
  }
}

TEST_P(TokenizerGolden, DecodesEveryCase) {
  const Loaded& loaded = load(GetParam());
  const Tokenizer& tokenizer = *loaded.tokenizer;
  for (const json& each : loaded.golden.at("cases")) {
    if (each.value("undefined", false)) continue;
    const Ids ids = each.at("ids");
    const Ids special = each.at("ids_special");
    const std::string plain_text = golden_bytes(each, "detokenized");
    EXPECT_EQ(decode(tokenizer, ids, true), plain_text);
    const auto expected = [&](const std::string& name) {
      return golden_has(each, name) ? golden_bytes(each, name) : plain_text;
    };
    EXPECT_EQ(decode(tokenizer, special, true), expected("detokenized_special"));
    EXPECT_EQ(decode(tokenizer, special, false), expected("detokenized_plain"));
  }
}

TEST_P(TokenizerGolden, HasTheSpecialTokens) {
  const Loaded& loaded = load(GetParam());
  const SpecialTokens& special = loaded.tokenizer->special();
  const std::map<std::string, TokenId> roles = {{"bos", special.bos},
                                                {"eos", special.eos},
                                                {"eot", special.eot},
                                                {"sep", special.separator},
                                                {"pad", special.padding},
                                                {"mask", special.mask},
                                                {"nl", special.newline},
                                                {"fim_pre", special.fim_prefix},
                                                {"fim_suf", special.fim_suffix},
                                                {"fim_mid", special.fim_middle},
                                                {"fim_pad", special.fim_padding},
                                                {"fim_rep", special.fim_repository},
                                                {"fim_sep", special.fim_separator}};
  for (const auto& [name, id] : loaded.golden.at("special_ids").items()) {
    EXPECT_EQ(roles.at(name), id.get<TokenId>()) << name;
  }
  EXPECT_EQ(special.add_bos, loaded.golden.at("add_bos"));
  EXPECT_EQ(special.add_eos, loaded.golden.at("add_eos"));
  EXPECT_EQ(special.add_separator, loaded.golden.at("add_sep"));
  Ids ends;
  for (std::size_t id = 0; id < loaded.tokenizer->size(); ++id) {
    if (loaded.tokenizer->ends_generation(static_cast<TokenId>(id)))
      ends.push_back(static_cast<TokenId>(id));
  }
  EXPECT_EQ(ends, loaded.golden.at("eog").get<Ids>());
}

TEST_P(TokenizerGolden, HasTheSamePiecesAndAttributes) {
  const Loaded& loaded = load(GetParam());
  const Tokenizer& tokenizer = *loaded.tokenizer;
  ASSERT_EQ(tokenizer.size(), loaded.golden.at("n_tokens"));
  Sha256 pieces;
  Sha256 flags;
  for (std::size_t i = 0; i < tokenizer.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::string piece = tokenizer.piece(id, true);
    std::string size;
    for (int shift = 0; shift < 32; shift += 8)
      size += static_cast<char>(piece.size() >> shift & 0xFF);
    pieces.update(size);
    pieces.update(piece);
    const std::uint16_t attributes = tokenizer.attributes(id);
    const char low_high[] = {static_cast<char>(attributes & 0xFF),
                             static_cast<char>(attributes >> 8)};
    flags.update({low_high, 2});
  }
  for (const json& sample : loaded.golden.at("token_sample")) {
    EXPECT_EQ(tokenizer.piece(sample.at("id"), true), golden_bytes(sample, "piece"))
        << sample.at("id");
  }
  EXPECT_EQ(pieces.hex(), loaded.golden.at("pieces_sha256"));
  EXPECT_EQ(flags.hex(), loaded.golden.at("attrs_sha256"));
}

}  // namespace
}  // namespace hearth::text
