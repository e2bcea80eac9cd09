#include "hub/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "hub/hub_fixture.h"
#include "hub/json.h"
#include "hub/part_file.h"
#include "hub/sha256.h"
#include "set_aside_files.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;
using hearth::testing::TemporaryFolder;

/// A manifest of one blob that holds `content`, which is put into the store.
Manifest add_blob(const Store& store, const std::string& name, const std::string& content) {
  const std::string sha256 = sha256_of(content);
  if (!store.has_blob(sha256)) {
    const fs::path part = store.downloads() / (name + ".part");
    write_file_atomically(part, content);
    store.land(part, sha256);
  }
  Manifest manifest;
  manifest.name = name;
  manifest.reference = "hf:o/" + name;
  manifest.source = "huggingface";
  manifest.quant = "Q8_0";
  manifest.added = utc_now();
  manifest.files.push_back({name + ".gguf", content.size(), sha256, "http://x/" + name, ""});
  return manifest;
}

class Stores : public ::testing::Test {
 protected:
  Stores() : store_(folder_ / "hearth") { warnings_ = store_.prepare(); }

  std::vector<std::string> usable() const {
    std::vector<std::string> names;
    for (const StoredModel& model : store_.list().models) {
      if (model.problem.empty()) names.push_back(model.manifest.name);
    }
    return names;
  }

  TemporaryFolder folder_;
  Store store_;
  std::vector<std::string> warnings_;
};

using Names = std::vector<std::string>;

TEST_F(Stores, list_what_was_committed) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "b", "two")));
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "one")));
  const Listing listing = store_.list();
  EXPECT_TRUE(listing.warnings.empty());
  EXPECT_EQ(usable(), (Names{"a", "b"}));
  EXPECT_EQ(listing.models[0].manifest.size(), 3U);
  EXPECT_EQ(read_file(store_.models() / "a.gguf"), "one");
  EXPECT_TRUE(fs::is_symlink(store_.models() / "a.gguf"));
  EXPECT_EQ(fs::read_symlink(store_.models() / "a.gguf"), "../blobs/sha256-" + sha256_of("one"));
}

TEST_F(Stores, find_models_by_their_first_file) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "one")));
  Manifest split = add_blob(store_, "b", "two");
  split.files.push_back(add_blob(store_, "c", "three").files.front());
  split.files[0].name = "b-00001-of-00002.gguf";
  split.files[1].name = "b-00002-of-00002.gguf";
  ASSERT_TRUE(store_.commit(split));
  Manifest odd = add_blob(store_, "d", "four");
  odd.files[0].name = "of-another-name.gguf";
  ASSERT_TRUE(store_.commit(odd));
  Manifest part = add_blob(store_, "e-00001-of-00002", "five");
  ASSERT_TRUE(store_.commit(part));
  write_file_atomically(store_.models() / "mine.gguf", "mine");
  const auto name = [&](const char* file) -> std::string {
    const auto found = store_.find_file(file);
    return found ? found->manifest.name : "";
  };
  EXPECT_EQ(name("a.gguf"), "a");
  EXPECT_EQ(name("b-00001-of-00002.gguf"), "b");
  EXPECT_EQ(name("b-00002-of-00002.gguf"), "");
  EXPECT_EQ(name("of-another-name.gguf"), "d");
  EXPECT_EQ(name("e-00001-of-00002.gguf"), "e-00001-of-00002");
  EXPECT_EQ(name("mine.gguf"), "mine");
  EXPECT_TRUE(store_.find_file("mine.gguf")->by_hand);
  EXPECT_EQ(name("nothing.gguf"), "");
  EXPECT_EQ(store_.find_file("a.gguf")->path, store_.find("a")->path);
  fs::remove(store_.blob_path(sha256_of("one")));
  EXPECT_EQ(store_.find_file("a.gguf")->problem, store_.find("a")->problem);
}

TEST_F(Stores, refuse_a_model_whose_blob_is_gone) {
  const Manifest manifest = add_blob(store_, "a", "one");
  fs::remove(store_.blob_path(sha256_of("one")));
  EXPECT_FALSE(store_.commit(manifest));
  EXPECT_TRUE(usable().empty());
}

TEST_F(Stores, keep_a_blob_as_long_as_a_model_needs_it) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "same")));
  Manifest other = add_blob(store_, "b", "same");
  ASSERT_TRUE(store_.commit(other));
  const Removal first = store_.remove("a");
  EXPECT_EQ(first.freed, 0U);
  EXPECT_EQ(first.shared, Names{"b"});
  EXPECT_TRUE(store_.has_blob(sha256_of("same")));
  EXPECT_EQ(usable(), Names{"b"});
  const Removal second = store_.remove("b");
  EXPECT_EQ(second.freed, 4U);
  EXPECT_FALSE(store_.has_blob(sha256_of("same")));
  EXPECT_TRUE(fs::is_empty(store_.models()));
  EXPECT_THROW(store_.remove("b"), Error);
}

TEST_F(Stores, keep_the_blobs_of_adapters) {
  const std::string sha256 = add_blob(store_, "x", "adapter").files.front().sha256;
  const StoredFile adapter{.name = "a.gguf", .size = 7, .sha256 = sha256, .url = {}, .adopted = {}};
  Manifest one = add_blob(store_, "a", "one"), two = add_blob(store_, "b", "one");
  one.adapters = two.adapters = {adapter};
  ASSERT_TRUE(store_.commit(one));
  ASSERT_TRUE(store_.commit(two));
  ASSERT_EQ(store_.find("a")->manifest.adapters.size(), 1U);
  EXPECT_EQ(store_.find("a")->manifest.adapters.front().sha256, sha256);
  EXPECT_EQ(store_.remove("a").freed, 0U);
  EXPECT_TRUE(store_.has_blob(sha256));
  two.adapters.clear();
  ASSERT_TRUE(store_.commit(two));
  EXPECT_FALSE(store_.has_blob(sha256));
  two.adapters = {adapter};
  EXPECT_FALSE(store_.commit(two));  // its blob is gone
  EXPECT_EQ(usable(), Names{"b"});
}

TEST_F(Stores, do_not_give_one_name_to_two_models) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "one")));
  Manifest other = add_blob(store_, "a", "two");
  other.reference = "hf:somebody/else";
  EXPECT_THROW(store_.check_name(other), Error);
  EXPECT_THROW((void)store_.commit(other), Error);
  EXPECT_EQ(read_file(store_.models() / "a.gguf"), "one");
}

TEST_F(Stores, replace_a_model_that_changed_at_its_source) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "old")));
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "newer")));
  EXPECT_EQ(read_file(store_.models() / "a.gguf"), "newer");
  EXPECT_FALSE(store_.has_blob(sha256_of("old")));
  EXPECT_EQ(usable(), Names{"a"});
}

TEST_F(Stores, leave_files_put_there_by_hand_alone) {
  write_file_atomically(store_.models() / "mine-Q4_0.gguf", std::string("12345"));
  write_file_atomically(store_.models() / "s-00001-of-00002.gguf", std::string("1"));
  write_file_atomically(store_.models() / "s-00002-of-00002.gguf", std::string("2"));
  Manifest manifest = add_blob(store_, "mine-Q4_0", "other");
  EXPECT_THROW((void)store_.commit(manifest), Error);
  EXPECT_EQ(usable(), (Names{"mine-Q4_0", "s"}));
  const auto mine = store_.find("mine-Q4_0");
  ASSERT_TRUE(mine);
  EXPECT_TRUE(mine->by_hand);
  EXPECT_EQ(mine->manifest.quant, "Q4_0");
  EXPECT_EQ(store_.find("s")->manifest.size(), 2U);
  EXPECT_EQ(store_.remove("mine-Q4_0").freed, 5U);
  EXPECT_EQ(store_.remove("s").freed, 2U);
  EXPECT_TRUE(usable().empty());
}

TEST_F(Stores, say_when_a_file_is_gone_or_changed) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "gone", "one")));
  ASSERT_TRUE(store_.commit(add_blob(store_, "cut", "three")));
  Manifest adopted = add_blob(store_, "adopted", "x");
  const fs::path elsewhere = folder_ / "elsewhere.gguf";
  write_file_atomically(elsewhere, std::string("22"));
  adopted.files[0] = {"adopted.gguf", 2, "", "", elsewhere.string()};
  ASSERT_TRUE(store_.commit(adopted));
  EXPECT_EQ(usable(), (Names{"adopted", "cut", "gone"}));

  fs::remove(store_.blob_path(sha256_of("one")));
  fs::remove(elsewhere);
  const fs::path cut = store_.blob_path(sha256_of("three"));
  fs::permissions(cut, fs::perms::owner_all);
  fs::resize_file(cut, 2);
  EXPECT_TRUE(usable().empty());
  EXPECT_NE(store_.find("adopted")->problem.find(elsewhere.string()), std::string::npos);
  EXPECT_NE(store_.find("gone")->problem.find("pull"), std::string::npos);
  EXPECT_NE(store_.find("cut")->problem.find("2 bytes"), std::string::npos);
  const Removal removal = store_.remove("adopted");
  EXPECT_EQ(removal.kept, Names{elsewhere.string()});
}

TEST_F(Stores, never_touch_an_adopted_file) {
  const fs::path elsewhere = folder_ / "elsewhere.gguf";
  write_file_atomically(elsewhere, std::string("22"));
  Manifest adopted = add_blob(store_, "adopted", "x");
  adopted.files[0] = {"adopted.gguf", 2, "", "", elsewhere.string()};
  ASSERT_TRUE(store_.commit(adopted));
  EXPECT_EQ(store_.remove("adopted").freed, 0U);
  EXPECT_EQ(read_file(elsewhere), "22");
  EXPECT_FALSE(fs::is_symlink(store_.models() / "adopted.gguf"));
}

TEST_F(Stores, set_malformed_manifests_aside) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "good", "one")));
  ASSERT_TRUE(store_.commit(add_blob(store_, "bad", "two")));
  const std::string garbage = "{\"format\": \"hearth-model-1\", \"name\": \"bad\"";
  write_file_atomically(folder_ / "hearth/manifests/bad.json", garbage);
  const Listing listing = store_.list();
  ASSERT_EQ(listing.warnings.size(), 1U);
  EXPECT_NE(listing.warnings[0].find("set aside as "), std::string::npos);
  const auto aside = [this] {
    return hearth::testing::set_aside_files(folder_ / "hearth/manifests", "bad.json");
  };
  ASSERT_EQ(aside().size(), 1U);
  EXPECT_EQ(read_file(aside()[0]), garbage);
  EXPECT_FALSE(fs::exists(folder_ / "hearth/manifests/bad.json"));
  // Its link is there, but it is not listed as good.
  EXPECT_EQ(usable(), Names{"good"});
  EXPECT_NE(store_.find("bad")->problem.find("no manifest"), std::string::npos);
  EXPECT_TRUE(store_.list().warnings.empty());
  // What was set aside before is not overwritten by the next.
  write_file_atomically(folder_ / "hearth/manifests/bad.json", std::string("[]"));
  EXPECT_EQ(store_.list().warnings.size(), 1U);
  ASSERT_EQ(aside().size(), 2U);
  EXPECT_EQ(read_file(aside()[0]), garbage);
  EXPECT_EQ(read_file(aside()[1]), "[]");
  EXPECT_EQ(store_.remove("bad").freed, 3U);
  EXPECT_FALSE(store_.find("bad"));
}

TEST_F(Stores, refuse_manifests_of_another_name) {
  Manifest manifest = add_blob(store_, "a", "one");
  write_file_atomically(folder_ / "hearth/manifests/b.json", to_text(manifest));
  EXPECT_EQ(store_.list().warnings.size(), 1U);
  EXPECT_TRUE(usable().empty());
}

TEST_F(Stores, remember_when_a_model_was_used) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "one")));
  EXPECT_TRUE(store_.find("a")->used.empty());
  store_.mark_used(store_.models() / "a.gguf");
  EXPECT_EQ(store_.find("a")->used.size(), 20U);
  store_.mark_used(folder_ / "elsewhere.gguf");
  EXPECT_FALSE(fs::exists(folder_ / "hearth/used/elsewhere"));
}

TEST_F(Stores, list_unfinished_downloads_and_remove_them) {
  PartNotes notes;
  notes.name = "half";
  notes.reference = "hf:o/half:h.gguf";
  notes.size = 10;
  notes.chunk_bytes = 4;
  notes.done = {true, false, true};
  write_file_atomically(store_.downloads() / "k.part", std::string("0123456789"));
  write_file_atomically(store_.downloads() / "k.part.json", to_text(notes));
  write_file_atomically(store_.downloads() / "bad.part", std::string("x"));
  write_file_atomically(store_.downloads() / "bad.part.json", std::string("{"));
  const Listing listing = store_.list();
  ASSERT_EQ(listing.unfinished.size(), 1U);
  EXPECT_EQ(listing.unfinished[0].done, 6U);
  EXPECT_FALSE(listing.unfinished[0].running);
  EXPECT_EQ(listing.warnings.size(), 1U);
  EXPECT_TRUE(usable().empty());
  {
    const FileLock lock = FileLock::take(store_.downloads() / "k.lock");
    EXPECT_TRUE(store_.list().unfinished[0].running);
    EXPECT_THROW(store_.remove("half"), Error);
  }
  (void)store_.remove("half");
  EXPECT_FALSE(fs::exists(store_.downloads() / "k.part"));
  EXPECT_TRUE(store_.list().unfinished.empty());
}

TEST_F(Stores, have_a_schema_version) {
  const Json json = parse_object(read_file(folder_ / "hearth/store.json"), "store.json");
  EXPECT_EQ(json["version"], Store::kVersion);
  write_file_atomically(folder_ / "hearth/store.json",
                        std::string(R"({"format": "hearth-store", "version": 99})"));
  EXPECT_THROW((void)store_.list(), Error);
  EXPECT_THROW(store_.prepare(), Error);
  EXPECT_NE(read_file(folder_ / "hearth/store.json").find("99"), std::string::npos);
}

TEST_F(Stores, set_a_malformed_version_aside) {
  ASSERT_TRUE(store_.commit(add_blob(store_, "a", "one")));
  write_file_atomically(folder_ / "hearth/store.json", std::string("garbage"));
  EXPECT_EQ(store_.prepare().size(), 1U);
  const auto aside = hearth::testing::set_aside_files(folder_ / "hearth", "store.json");
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(read_file(aside[0]), "garbage");
  EXPECT_EQ(usable(), Names{"a"});
  EXPECT_TRUE(store_.prepare().empty());
}

TEST(PlainFolders, are_brought_up_to_date) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "models");
  write_file_atomically(folder / "models/mine.gguf", std::string("x"));
  const Store store(folder.path());
  EXPECT_EQ(store.list().models.size(), 1U);  // before, too, without writing anything
  EXPECT_FALSE(fs::exists(folder / "store.json"));
  EXPECT_TRUE(store.prepare().empty());
  EXPECT_EQ(read_file(folder / "models/mine.gguf"), "x");
  EXPECT_TRUE(fs::exists(folder / "store.json"));
  ASSERT_EQ(store.list().models.size(), 1U);
  EXPECT_TRUE(store.list().models[0].by_hand);
}

TEST(NoStore, is_empty) {
  const TemporaryFolder folder;
  const Store store(folder / "nothing");
  EXPECT_TRUE(store.list().models.empty());
  EXPECT_FALSE(fs::exists(folder / "nothing"));
}

constexpr const char* kGoodFile =
    R"({"name":"a.gguf","size":1,"sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"})";
std::string with_files(const std::string& files) {
  return R"({"format":"hearth-model-1","name":"a","reference":"r","source":"s","files":)" + files +
         "}";
}
const std::vector<std::string>& bad_manifests() {
  static const std::vector<std::string> texts = {
      "",
      "[]",
      "{}",
      "{\"format\":\"other\"}",
      with_files("[]"),
      with_files("{}"),
      with_files("[1]"),
      with_files(R"([{"name":"../a.gguf","size":1,"sha256":"x"}])"),
      with_files(R"([{"name":"a.gguf","size":1}])"),
      with_files(R"([{"name":"a.gguf","size":-1,"adopted":"/a"}])"),
      with_files(R"([{"name":"a.gguf","size":1,"adopted":"relative"}])"),
      with_files(R"([{"name":"a.gguf","size":1e300,"adopted":"/a"}])"),
      with_files(std::string("[") + kGoodFile + "," + kGoodFile + "]"),
      with_files(std::string("[") + kGoodFile + "],\"texts\":[1]"),
      with_files(std::string("[") + kGoodFile + "],\"quant\":7"),
      std::string(200, '[') + std::string(200, ']'),
      R"({"format":"hearth-model-1","name":"..","reference":"r","source":"s","files":[)" +
          std::string(kGoodFile) + "]}"};
  return texts;
}
TEST(BadManifests, are_all_refused) {
  for (const std::string& text : bad_manifests())
    EXPECT_THROW((void)parse_manifest(text, "test"), Error) << text;
  EXPECT_NO_THROW((void)parse_manifest(with_files(std::string("[") + kGoodFile + "]"), "test"));
}

TEST(PartNotesText, comes_back) {
  PartNotes notes;
  notes.size = 41;
  notes.chunk_bytes = 4;
  notes.done = {true, false, true, true, false, false, false, false, false, true, true};
  notes.validator = "\"etag\"";
  const PartNotes again = parse_part_notes(to_text(notes), "test");
  EXPECT_EQ(again.done, notes.done);
  EXPECT_EQ(again.done_bytes(), 17U);
  EXPECT_EQ(again.validator, notes.validator);
  for (const char* bad :
       {"{}", R"({"format":"hearth-part-1","size":8,"chunk_bytes":4,"done":""})",
        R"({"format":"hearth-part-1","size":8,"chunk_bytes":4,"done":"f"})",
        R"({"format":"hearth-part-1","size":8,"chunk_bytes":0,"done":"3"})",
        R"({"format":"hearth-part-1","size":1000000000000,"chunk_bytes":1,"done":""})"}) {
    EXPECT_THROW((void)parse_part_notes(bad, "test"), Error) << bad;
  }
}

// Two processes at once: each adds, removes and lists; the store stays whole.

TEST(Child, DISABLED_works_on_the_store) {
  const char* folder = std::getenv("HEARTH_TEST_STORE");
  const char* own = std::getenv("HEARTH_TEST_NAME");
  ASSERT_TRUE(folder != nullptr && own != nullptr);
  const Store store(folder);
  (void)store.prepare();
  for (int round = 0; round < 24; ++round) {
    const std::string name = std::string(own) + std::to_string(round % 3);
    const std::string content = "shared " + std::to_string(round % 3);
    // The other process may remove the blob in between: then once more, as pull does.
    while (!store.commit(add_blob(store, name, content))) {
    }
    const Listing listing = store.list();
    ASSERT_TRUE(listing.warnings.empty()) << listing.warnings[0];
    const auto model = std::find_if(listing.models.begin(), listing.models.end(),
                                    [&](const StoredModel& m) { return m.manifest.name == name; });
    ASSERT_NE(model, listing.models.end());
    ASSERT_EQ(model->problem, "");
    ASSERT_EQ(read_file(model->path), content);
    if (round % 2 == 0) (void)store.remove(name);
  }
}

TEST(TwoProcesses, do_not_harm_the_store) {
  const TemporaryFolder folder;
  std::vector<int> processes;
  for (const char* name : {"a", "b"}) {
    processes.push_back(hearth::testing::start_self(
        "Child.DISABLED_works_on_the_store",
        {{"HEARTH_TEST_STORE", (folder / "s").string()}, {"HEARTH_TEST_NAME", name}}));
  }
  for (const int process : processes) EXPECT_EQ(hearth::testing::wait_for(process), 0);
  const Store store(folder / "s");
  const Listing listing = store.list();
  EXPECT_TRUE(listing.warnings.empty());
  std::size_t links = 0;
  for (const StoredModel& model : listing.models) {
    EXPECT_EQ(model.problem, "");
    EXPECT_FALSE(model.by_hand);
    ++links;
    (void)store.remove(model.manifest.name);
  }
  EXPECT_GT(links, 0U);
  EXPECT_TRUE(fs::is_empty(folder / "s/blobs"));
  EXPECT_TRUE(fs::is_empty(folder / "s/models"));
}

}  // namespace
}  // namespace hearth::hub
