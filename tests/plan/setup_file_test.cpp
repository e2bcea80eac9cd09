// Setup files: written, read, refused, set aside.
#include "plan/setup_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;
using plan::SavedSetup;

SavedSetup sample() {
  SavedSetup saved;
  saved.setup.model = "/models/qwen \"3\".gguf";
  saved.setup.context = 16384;
  saved.setup.kv_type = tensor::DType::kQ8_0;
  saved.setup.threads = 6;
  saved.setup.mapped = true;
  saved.name = "Qwen3 4B";
  saved.quant = "Q4_K_M";
  saved.use = "code";
  saved.why = "the best that fits";
  saved.machine = "0123456789abcdef";
  saved.saved_at = 1'763'900'000;
  saved.expected = {18.5, 120, 1.5, 0.75, 3.4e9};
  return saved;
}

TEST(SetupFile, ComesBackAsItWasSaved) {
  const TemporaryFolder folder;
  const fs::path path = plan::setup_path(folder.path(), "code");
  EXPECT_EQ(path, folder / "setups/code.json");
  EXPECT_FALSE(plan::load_setup(path, {}).has_value());
  plan::save_setup(path, sample());
  const std::optional<SavedSetup> read = plan::load_setup(path, {});
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->setup.model, sample().setup.model);
  EXPECT_EQ(read->setup.context, 16384);
  EXPECT_EQ(read->setup.sequences, 1);
  EXPECT_EQ(read->setup.batch_rows, 512);
  EXPECT_EQ(read->setup.kv_type, tensor::DType::kQ8_0);
  EXPECT_EQ(read->setup.threads, 6);
  EXPECT_TRUE(read->setup.mapped);
  EXPECT_FALSE(read->setup.exact);
  EXPECT_EQ(read->name, "Qwen3 4B");
  EXPECT_EQ(read->quant, "Q4_K_M");
  EXPECT_EQ(read->use, "code");
  EXPECT_EQ(read->why, "the best that fits");
  EXPECT_EQ(read->machine, "0123456789abcdef");
  EXPECT_EQ(read->saved_at, 1'763'900'000);
  EXPECT_EQ(read->expected, sample().expected);
}

TEST(SetupFile, KeepsWhereAContextBeyondMemoryIs) {
  SavedSetup saved = sample();
  saved.setup.kv_budget = 4'000'000'000;
  saved.setup.spill_folder = "/disk/kv";
  saved.setup.spill_bytes = 40'000'000'000;
  saved.kv_disk_key = "/home/key";
  const SavedSetup read = plan::read_setup(plan::write_setup(saved));
  EXPECT_EQ(read.setup.kv_budget, 4'000'000'000U);
  EXPECT_EQ(read.setup.spill_folder, "/disk/kv");
  EXPECT_EQ(read.setup.spill_bytes, 40'000'000'000U);
  EXPECT_EQ(read.kv_disk_key, "/home/key");
  saved.kv_disk_key = "\xff";
  EXPECT_THROW((void)plan::write_setup(saved), Error);
}

TEST(SetupFile, MostCanBeLeftOut) {
  const SavedSetup read = plan::read_setup(R"({"hearth_setup": 1, "model": "a.gguf"})");
  EXPECT_EQ(read.setup.model, "a.gguf");
  EXPECT_EQ(read.setup.context, 0);
  EXPECT_EQ(read.setup.kv_type, tensor::DType::kF16);
  EXPECT_EQ(read.setup.kv_budget, 0U);
  EXPECT_TRUE(read.setup.spill_folder.empty());
  EXPECT_EQ(read.use, "chat");
  EXPECT_EQ(read.expected, plan::Expectation{});
}

TEST(SetupFile, NamesStayInTheFolder) {
  for (const char* name : {"", "../x", "a/b", ".hidden", "-x", "A", "ä",
                           "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee"}) {
    EXPECT_THROW((void)plan::setup_path("/config", name), Error) << name;
  }
  EXPECT_NO_THROW((void)plan::setup_path("/config", "rag-2.x"));
}

TEST(SetupFile, AModelWithoutAnUtf8PathIsRefused) {
  SavedSetup saved = sample();
  saved.setup.model = "/models/\xFF.gguf";
  EXPECT_THROW((void)plan::write_setup(saved), Error);
}

struct BadFile {
  const char* name;
  std::string text;
  const char* says;
};

/// A setup with one more member.
std::string with(const std::string& member) {
  return R"({"hearth_setup": 1, "model": "a.gguf", )" + member + "}";
}

class BadSetup : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadSetup, IsToldAndSetAside) {
  const TemporaryFolder folder;
  const fs::path path = folder / "chat.json";
  write_file_atomically(path, GetParam().text);
  std::vector<std::string> said;
  const auto warn = [&said](const std::string& sentence) { said.push_back(sentence); };
  EXPECT_FALSE(plan::load_setup(path, warn).has_value());
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find(GetParam().says), std::string::npos) << said[0];
  EXPECT_NE(said[0].find("set aside as 'chat.json.bad-"), std::string::npos) << said[0];
  EXPECT_EQ(said[0].find('\n'), std::string::npos);
  EXPECT_FALSE(fs::exists(path));
  ASSERT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
  EXPECT_EQ(read_file(fs::directory_iterator(folder.path())->path()), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSetup,
    ::testing::Values(
        BadFile{"empty", "", "not valid JSON"},
        BadFile{"cut", R"({"hearth_setup": 1, )", "not valid JSON"},
        BadFile{"list", "[1]", "must be an object, not a list"},
        BadFile{"number", "7", "must be an object, not a number"},
        BadFile{"deep", std::string(60'000, '['), "nested too deeply"},
        BadFile{"closed_deep", std::string(30'000, '[') + std::string(30'000, ']'),
                "nested too deeply"},
        BadFile{"large", std::string(100'000, ' '), "too large"},
        BadFile{"no_version", R"({"model": "a.gguf"})",
                "hearth_setup is missing: it is the version"},
        BadFile{"version_text", R"({"hearth_setup": "1", "model": "a.gguf"})", "hearth_setup"},
        BadFile{"version_0", R"({"hearth_setup": 0, "model": "a.gguf"})", "hearth_setup"},
        BadFile{"no_model", R"({"hearth_setup": 1})", "no model"},
        BadFile{"model_number", R"({"hearth_setup": 1, "model": 5})",
                "model must be a text, not a number"},
        BadFile{"model_with_zero", R"({"hearth_setup": 1, "model": "a\u0000b"})", "no model"},
        BadFile{"unknown", with(R"("contxt": 5)"), "it has an unknown key 'contxt'"},
        BadFile{"control_in_name", with(R"("a\u001bb": 5)"), "\\x1b"},
        BadFile{"context_negative", with(R"("context": -1)"),
                "context must be a whole number from 0 to 2147483648"},
        BadFile{"context_huge", with(R"("context": 18446744073709551615)"),
                "context must be a whole number from 0 to 2147483648"},
        BadFile{"context_fraction", with(R"("context": 1.5)"),
                "context must be a whole number from 0 to 2147483648"},
        BadFile{"threads_text", with(R"("threads": "all")"),
                "threads must be a number, not a text"},
        BadFile{"kv", with(R"("kv_type": "Q4_K")"), "Q4_K"},
        BadFile{"exact", with(R"("exact": 1)"), "exact must be true or false, not a number"},
        BadFile{"chosen", with(R"("chosen": [])"), "chosen must be an object, not a list"},
        BadFile{"chosen_member", with(R"("chosen": {"when": 1})"),
                "chosen has an unknown key 'when'"},
        BadFile{"expected_negative", with(R"("expected": {"decode_tps": -2})"),
                "expected.decode_tps is -2"},
        BadFile{"expected_infinite", with(R"("expected": {"decode_tps": 1e999})"),
                "not valid JSON"}),
    [](const ::testing::TestParamInfo<BadFile>& test) { return std::string(test.param.name); });

TEST(SetupFile, ANewerOneIsLeftAlone) {
  const TemporaryFolder folder;
  const fs::path path = folder / "chat.json";
  write_file_atomically(path, std::string(R"({"hearth_setup": 2, "future": true})"));
  EXPECT_THROW((void)plan::load_setup(path, {}), Error);
  EXPECT_TRUE(fs::exists(path));
  EXPECT_THROW((void)plan::read_setup(R"({"hearth_setup": 2})"), Error);
}

}  // namespace
}  // namespace hearth::testing
