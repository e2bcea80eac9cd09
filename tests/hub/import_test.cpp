#include "hub/import.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "hub/hub_fixture.h"
#include "hub/sha256.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;
using hearth::testing::TemporaryFolder;
using hearth::testing::tiny_model;

class Imports : public ::testing::Test {
 protected:
  Imports() : store_(folder_ / "store") {}

  fs::path write(const fs::path& path, const std::string& content) {
    const fs::path whole = folder_ / path.string();
    fs::create_directories(whole.parent_path());
    write_file_atomically(whole, content);
    return whole;
  }

  TemporaryFolder folder_;
  Store store_;
};

TEST_F(Imports, adopt_what_ollama_has) {
  const std::string model = tiny_model(), text = "{{ .Prompt }}";
  const std::string digest = sha256_of(model);
  write("ollama/blobs/sha256-" + digest, model);
  write("ollama/blobs/sha256-" + sha256_of(text), text);
  const nlohmann::json manifest{
      {"layers",
       {{{"mediaType", "application/vnd.ollama.image.model"}, {"digest", "sha256:" + digest}},
        {{"mediaType", "application/vnd.ollama.image.template"},
         {"digest", "sha256:" + sha256_of(text)}}}}};
  const std::string base = "ollama/manifests/registry.ollama.ai/";
  write(base + "library/tiny/1b", manifest.dump());
  write(base + "library/broken/latest", "{");
  write(base + "someone/gone/latest",
        R"({"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:)" +
            std::string(64, 'a') + "\"}]}");
  EXPECT_EQ(recognize(folder_ / "ollama"), ImportKind::kOllama);
  const ImportResult result = import_models(store_, {{ImportKind::kOllama, folder_ / "ollama"}});
  ASSERT_EQ(result.adopted.size(), 1U);
  EXPECT_EQ(result.skipped.size(), 2U);
  const auto listed = store_.find("tiny-1b");
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->problem, "");
  EXPECT_EQ(listed->manifest.reference, "ollama:tiny:1b");
  EXPECT_EQ(listed->manifest.files[0].sha256, digest);
  EXPECT_EQ(listed->manifest.texts.at("template"), text);
  EXPECT_EQ(read_file(store_.models() / "tiny-1b.gguf"), model);
  // Again: known. Gone: said plainly.
  EXPECT_EQ(import_models(store_, {{ImportKind::kOllama, folder_ / "ollama"}}).known.size(), 1U);
  fs::remove(folder_ / ("ollama/blobs/sha256-" + digest));
  EXPECT_NE(store_.find("tiny-1b")->problem.find("gone"), std::string::npos);
}

TEST_F(Imports, adopt_what_lm_studio_has) {
  write("lm/publisher/repo-GGUF/a-Q4_0.gguf", tiny_model(1));
  write("lm/publisher/repo-GGUF/mmproj-a.gguf", tiny_model(1));
  write("lm/publisher/other/a-Q4_0.gguf", tiny_model(2));  // another model of the same name
  write("lm/publisher/other/notes.txt", "x");
  write("lm/publisher/other/cut.gguf", tiny_model(2).substr(0, 1000));
  const ImportResult result = import_models(store_, {{ImportKind::kLmStudio, folder_ / "lm"}});
  EXPECT_EQ(result.adopted.size(), 2U);
  ASSERT_EQ(result.skipped.size(), 1U);
  EXPECT_NE(result.skipped[0].find("cut.gguf"), std::string::npos);
  EXPECT_TRUE(store_.find("a-Q4_0"));
  EXPECT_TRUE(store_.find("a-Q4_0-2"));
  EXPECT_EQ(store_.find("a-Q4_0")->manifest.quant, "Q4_0");
}

TEST_F(Imports, adopt_what_the_hugging_face_cache_has) {
  const std::string model = tiny_model(), digest = sha256_of(model);
  write("hub/models--org--name-GGUF/blobs/" + digest, model);
  for (const char* commit : {"c1", "c2"}) {
    const fs::path snapshot =
        folder_ / ("hub/models--org--name-GGUF/snapshots/" + std::string(commit));
    fs::create_directories(snapshot / "sub");
    fs::create_symlink("../../../blobs/" + digest, snapshot / "sub/m-Q8_0.gguf");
  }
  EXPECT_EQ(recognize(folder_ / "hub"), ImportKind::kHuggingFace);
  const ImportResult result = import_models(store_, {{ImportKind::kHuggingFace, folder_ / "hub"}});
  ASSERT_EQ(result.adopted.size(), 1U);
  EXPECT_EQ(result.adopted[0].reference, "hf:org/name-GGUF:sub/m-Q8_0.gguf");
  EXPECT_EQ(result.adopted[0].files[0].sha256, digest);
  EXPECT_EQ(store_.find("m-Q8_0")->problem, "");
}

TEST_F(Imports, adopt_all_parts_of_split_models) {
  const std::vector<std::string> parts = hearth::testing::split_model(2);
  write("dir/m-00001-of-00002.gguf", parts[0]);
  write("dir/m-00002-of-00002.gguf", parts[1]);
  write("dir/n-00002-of-00002.gguf", parts[1]);
  EXPECT_EQ(recognize(folder_ / "dir"), ImportKind::kFolder);
  const ImportResult result = import_models(store_, {{ImportKind::kFolder, folder_ / "dir"}});
  ASSERT_EQ(result.adopted.size(), 1U);
  EXPECT_EQ(result.adopted[0].files.size(), 2U);
  EXPECT_EQ(result.skipped.size(), 1U);
  EXPECT_EQ(store_.find("m")->problem, "");
  EXPECT_TRUE(fs::exists(store_.models() / "m-00002-of-00002.gguf"));
}

}  // namespace
}  // namespace hearth::hub
