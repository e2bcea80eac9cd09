// Conversations on disk, by the program.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "program.h"
#include "shared_dir.h"
#include "support/file.h"
#include "support/file_lock.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kStory =
    "Once upon a time there was a little girl named Lily who loved to play outside in the park "
    "with her friend Ben and his big red ball, and one day she saw a small bird that could not "
    "fly because its wing was hurt, so she ran home to ask her mom for help with the poor bird. "
    "Her mom was very kind and gave her a box and some bread and said that they would go to see";

class Sessions : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(stories_model()); }

  ProgramResult hearth(std::vector<std::string> arguments) const {
    return Program(std::move(arguments)).home(home_.path()).run();
  }
  Json told(const std::string& more, const std::vector<std::string>& options = {}) const {
    std::vector<std::string> arguments = {
        "run", stories_model().string(), "--temp", "0", "-n", "8", "--json", "--raw"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back(kStory + more);
    const ProgramResult result = hearth(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(result.errors, "");
    return Json::parse(result.output);
  }
  Json list() const {
    const ProgramResult result = hearth({"sessions", "--folder", folder_.string(), "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return Json::parse(result.output).at("sessions");
  }

  TemporaryFolder home_;
  fs::path folder_ = home_ / "conversations";
  std::vector<std::string> keep_ = {"--kv-disk", folder_.string() + ":100M"};
};

TEST_F(Sessions, AreKeptWhenAskedFor) {
  const Json fresh = told(" a");
  EXPECT_FALSE(fs::exists(folder_));
  const Json first = told(" a", keep_);
  EXPECT_EQ(first.at("tokens").at("reused"), 0);
  const Json again = told(" a", keep_);
  const int prompt = again.at("tokens").at("prompt");
  EXPECT_GT(prompt, 64);
  EXPECT_GE(again.at("tokens").at("reused"), prompt - 1);
  EXPECT_EQ(again.at("text"), fresh.at("text"));
  const Json other = told(" the doctor", keep_);
  EXPECT_GE(other.at("tokens").at("reused"), prompt - 2 - 64);
  EXPECT_EQ(other.at("text"), told(" the doctor").at("text"));
  // Other formats and other exactness find nothing.
  std::vector<std::string> exact = keep_;
  exact.push_back("--exact");
  EXPECT_EQ(told(" a", exact).at("tokens").at("reused"), 0);
  std::vector<std::string> format = keep_;
  format.insert(format.end(), {"--kv", "f32"});
  EXPECT_EQ(told(" a", format).at("tokens").at("reused"), 0);

  struct stat status = {};
  ASSERT_EQ(::stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
}

TEST_F(Sessions, AreListedShownExportedAndDeleted) {
  EXPECT_TRUE(list().empty());
  (void)told(" a", keep_);
  const Json sessions = list();
  ASSERT_EQ(sessions.size(), 1U);
  const std::string id = sessions[0].at("id");
  EXPECT_GT(sessions[0].at("tokens"), 64);
  const std::vector<std::string> where = {"--folder", folder_.string()};
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), where.begin(), where.end());
    return hearth(std::move(arguments));
  };
  const ProgramResult table = with({"sessions"});
  EXPECT_NE(table.output.find(id.substr(0, 12)), std::string::npos) << table.output;
  const ProgramResult shown = with({"sessions", "show", id.substr(0, 6)});
  EXPECT_EQ(shown.exit_code, 0) << shown.errors;
  EXPECT_NE(shown.output.find(id), std::string::npos);
  EXPECT_EQ(with({"sessions", "show", "ffff0000ffff"}).exit_code, 1);
  EXPECT_EQ(with({"sessions", "rm"}).exit_code, 2);

  // Unpacked elsewhere, it goes on there.
  const fs::path archive = home_ / "talk.tar", elsewhere = home_ / "elsewhere";
  const ProgramResult exported = with({"sessions", "export", id, archive.string()});
  EXPECT_EQ(exported.exit_code, 0) << exported.errors;
  struct stat status = {};
  ASSERT_EQ(::stat(archive.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(with({"sessions", "export", id, archive.string()}).errors,
            "hearth: '" + archive.string() + "' exists already; use --force to replace it\n");
  EXPECT_EQ(with({"sessions", "export", id, archive.string(), "--force"}).exit_code, 0);
  fs::create_directories(elsewhere);
  ASSERT_EQ(std::system(("tar -xf " + archive.string() + " -C " + elsewhere.string()).c_str()), 0);
  EXPECT_GT(told(" a", {"--kv-disk", elsewhere.string()}).at("tokens").at("reused"), 64);

  const ProgramResult gone = with({"sessions", "rm", id, "--yes"});
  EXPECT_EQ(gone.exit_code, 0) << gone.errors;
  EXPECT_TRUE(list().empty());
  for (const fs::directory_entry& each : fs::directory_iterator(folder_))
    EXPECT_NE(each.path().extension(), ".kv");
  EXPECT_EQ(told(" a", keep_).at("tokens").at("reused"), 0);
  EXPECT_EQ(with({"sessions", "rm", "--all", "-y"}).exit_code, 0);
  EXPECT_TRUE(list().empty());
}

// Whoever is asked may take his time: others write meanwhile.
TEST_F(Sessions, AreDeletedByWhoeverIsAskedWithoutHoldingUpOthers) {
  (void)told(" a", keep_);
  const std::string id = list().at(0).at("id");
  for (const bool yes : {false, true}) {
    Terminal terminal(
        Program({"sessions", "--folder", folder_.string(), "rm", id}).home(home_.path()));
    ASSERT_TRUE(terminal.wait_for("[y/N]"));
    EXPECT_TRUE(FileLock::try_take(folder_ / "lock").has_value());
    if (yes) (void)told(" the doctor", keep_);  // builds on the first one's tokens
    terminal.type(yes ? "y\n" : "\n");
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_EQ(list().empty(), yes) << "what was written meanwhile cannot be read without the other";
  }
  EXPECT_EQ(told(" a", keep_).at("tokens").at("reused"), 0);
}

TEST_F(Sessions, AreSealedWithAKey) {
  const std::string key = home_ / "key";
  EXPECT_EQ(hearth({"sessions", "key", key}).exit_code, 0);
  EXPECT_EQ(hearth({"sessions", "key", key}).exit_code, 1);  // never written over
  std::vector<std::string> sealed = keep_;
  sealed.insert(sealed.end(), {"--kv-disk-key", key});
  const Json first = told(" a", sealed);
  EXPECT_GT(told(" a", sealed).at("tokens").at("reused"), 64);
  EXPECT_TRUE(list().empty());
  const ProgramResult without = hearth({"sessions", "--folder", folder_.string()});
  EXPECT_NE(without.errors.find("no key was given"), std::string::npos) << without.errors;
  const ProgramResult with =
      hearth({"sessions", "--folder", folder_.string(), "--kv-disk-key", key, "--json"});
  const Json listed = Json::parse(with.output);
  EXPECT_TRUE(listed.at("encrypted"));
  ASSERT_EQ(listed.at("sessions").size(), 1U);

  // An archive is sealed like the files in it.
  const std::string id = listed.at("sessions")[0].at("id");
  const fs::path archive = home_ / "talk.tar", elsewhere = home_ / "elsewhere";
  EXPECT_EQ(hearth({"sessions", "--folder", folder_.string(), "--kv-disk-key", key, "export", id,
                    archive.string()})
                .exit_code,
            0);
  fs::create_directories(elsewhere);
  ASSERT_EQ(std::system(("tar -xf " + archive.string() + " -C " + elsewhere.string()).c_str()), 0);
  EXPECT_GT(
      told(" a", {"--kv-disk", elsewhere.string(), "--kv-disk-key", key}).at("tokens").at("reused"),
      64);

  // Without the key the text is evaluated, and stderr says why.
  const ProgramResult open = hearth({"run", stories_model().string(), "-n", "1", "--raw",
                                     "--kv-disk", folder_.string(), kStory + " a"});
  EXPECT_EQ(open.exit_code, 0);
  EXPECT_NE(open.errors.find("no key was given"), std::string::npos) << open.errors;
  const ProgramResult removed =
      hearth({"sessions", "--folder", folder_.string(), "rm", "--all", "--yes"});
  EXPECT_EQ(removed.exit_code, 0) << removed.errors;
  EXPECT_EQ(removed.output.find("0 B freed"), std::string::npos) << removed.output;
  fs::permissions(key, fs::perms::others_read, fs::perm_options::add);
  EXPECT_EQ(hearth({"run", stories_model().string(), "--kv-disk", folder_.string(), "--kv-disk-key",
                    key, "x"})
                .exit_code,
            2);
}

TEST_F(Sessions, AreInAFolder) {
  std::ofstream(home_ / "file") << "x";
  const std::string file = home_ / "file";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"list"}, {"list", "--json"}, {"rm", "--all", "-y"}}) {
    std::vector<std::string> all = {"sessions", "--folder", file};
    all.insert(all.end(), words.begin(), words.end());
    const ProgramResult result = hearth(all);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_TRUE(result.errors.starts_with("hearth: '" + file + "' is not a folder"))
        << result.errors;
  }
  const ProgramResult none = hearth({"sessions", "--folder", (home_ / "nosuch").string()});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_TRUE(none.output.starts_with("There is no folder")) << none.output;
}

TEST_F(Sessions, OfANewerHearthAreRefused) {
  (void)told(" a", keep_);
  std::ofstream(folder_ / "hearth-kv") << "hearth kv store, schema 9\n";
  const ProgramResult result =
      hearth({"run", stories_model().string(), "-n", "1", "--kv-disk", folder_.string(), "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("schema version 9"), std::string::npos) << result.errors;
}

TEST_F(Sessions, NeedAFolderOfTheirOwn) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "thesis.txt") << "mine";
  const ProgramResult result =
      hearth({"run", stories_model().string(), "-n", "1", "--kv-disk", folder_.string(), "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("other files"), std::string::npos) << result.errors;
  EXPECT_EQ(hearth({"run", stories_model().string(), "--kv-disk", "x:1k", "x"}).exit_code, 2);
}

}  // namespace
}  // namespace hearth::testing
