// What `hearth serve NAME` offers under that name.
#include "cli/served_models.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "cli/models.h"
#include "hub/sha256.h"
#include "hub/store.h"
#include "temporary_folder.h"

namespace hearth::cli {
namespace {

/// The user's data folder is the test's own for as long as it exists.
class OwnData {
 public:
  OwnData() {
    if (const char* before = std::getenv("XDG_DATA_HOME")) before_ = before;
    ::setenv("XDG_DATA_HOME", folder_.path().c_str(), 1);
  }
  ~OwnData() {
    before_.empty() ? ::unsetenv("XDG_DATA_HOME") : ::setenv("XDG_DATA_HOME", before_.c_str(), 1);
  }
  OwnData(const OwnData&) = delete;
  OwnData& operator=(const OwnData&) = delete;

 private:
  testing::TemporaryFolder folder_;
  std::string before_;
};

/// The hash of its file.
std::string make(const hub::Store& store, const std::string& content, const std::string& system) {
  const std::filesystem::path file = store.downloads() / "made";
  std::ofstream(file) << content;
  hub::Manifest manifest;
  manifest.name = "named";
  manifest.reference = "created:named";
  manifest.source = "file";
  manifest.added = hub::utc_now();
  manifest.texts["system"] = system;
  const std::string sha256 = hub::sha256_of(content);
  manifest.files.push_back(
      {.name = "named.gguf", .size = content.size(), .sha256 = sha256, .url = {}, .adopted = {}});
  store.land(file, sha256);
  EXPECT_TRUE(store.commit(manifest));
  return sha256;
}

TEST(ServedModels, NamesOfWhichNothingIsLeftAreNobodys) {
  const OwnData own;
  const hub::Store store = model_store();
  store.prepare();
  make(store, "one", "Be brief.");
  LocalModels models(ServedModels{});
  EXPECT_TRUE(models.find("library/Named:latest"));
  for (const char* name : {"/", ":", ".", "模型"}) EXPECT_FALSE(models.find(name)) << name;
}

TEST(ServedModels, ThoseOfTheCommandLineAreAsTheyAreNow) {
  const OwnData own;
  const hub::Store store = model_store();
  store.prepare();
  const std::string first = make(store, "one", "Be brief.");
  for (const bool only : {false, true}) {
    make(store, "one", "Be brief.");
    LocalModels models({.named = {"named"}, .aliases = {{"other", "named"}}, .only_named = only});
    EXPECT_EQ(models.find("named")->digest, first);
    const std::string second = make(store, "another", "Be kind.");
    for (const char* name :
         {"named", "other", "library/named", "registry.ollama.ai/library/Named:latest"}) {
      EXPECT_EQ(models.find(name)->digest, second) << name;
      EXPECT_EQ(models.find(name)->extras.system, "Be kind.") << name;
    }
    const std::vector<serve::AvailableModel> listed = models.list();
    ASSERT_EQ(listed.size(), 2U);
    EXPECT_EQ(listed[0].name, "named");
    EXPECT_EQ(listed[1].name, "other");
    for (const serve::AvailableModel& model : listed) {
      EXPECT_EQ(model.digest, second);
      EXPECT_EQ(model.bytes, 7U);
    }
  }
}

// Every request asks for its model: that must not cost more in a large store.
TEST(ServedModels, FindingANamedOneReadsNoOthersManifest) {
  const OwnData own;
  const hub::Store store = model_store();
  store.prepare();
  make(store, "one", "Be brief.");
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "plain.gguf") << "some";
  LocalModels models({.named = {"named", (folder / "plain.gguf").string()},
                      .aliases = {{"other", "plain"}},
                      .only_named = false});
  // Who reads it sets it aside.
  const std::filesystem::path malformed = store.folder() / "manifests" / "malformed.json";
  std::ofstream(malformed) << "no manifest";
  EXPECT_EQ(models.find("named")->extras.system, "Be brief.");
  EXPECT_EQ(models.find("Plain.gguf")->bytes, 4U);
  EXPECT_EQ(models.find("other")->bytes, 4U);
  EXPECT_TRUE(std::filesystem::exists(malformed));
  (void)models.list();
  EXPECT_FALSE(std::filesystem::exists(malformed));
}

// Who uses it goes on; who looks for one does not see it.
TEST(ServedModels, ANamedOneThatIsGoneIsWhatItWas) {
  const OwnData own;
  const hub::Store store = model_store();
  store.prepare();
  const std::string digest = make(store, "one", "Be brief.");
  LocalModels models({.named = {"named"}, .aliases = {}, .only_named = true});
  EXPECT_EQ(models.list().size(), 1U);
  store.remove("named");
  EXPECT_EQ(models.find("named")->digest, digest);
  EXPECT_TRUE(models.list().empty());
}

}  // namespace
}  // namespace hearth::cli
