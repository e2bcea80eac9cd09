// Folders of a disk store in which other processes write, files cannot be opened, or that are not
// the store's.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "state/segment_folder.h"
#include "stored_text.h"
#include "support/error.h"

namespace hearth::state {
namespace {

unsigned mode_of(const fs::path& path) {
  struct stat status = {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 0777;
}

class StoreTrouble : public ::testing::Test {
 protected:
  /// Opens the folder and counts what it warns of.
  [[nodiscard]] DiskStoreOptions options(std::shared_ptr<const StoreKey> key = nullptr) {
    DiskStoreOptions result = options_for(folder_);
    result.key = std::move(key);
    result.warn = [this](const std::string& warning) { warnings_.push_back(warning); };
    return result;
  }
  /// The file of the segment that goes on from none.
  [[nodiscard]] fs::path first_file() const {
    SegmentFolder folder(folder_, false);
    folder.refresh();
    for (const auto& [id, segment] : folder.segments()) {
      if (segment.header.parent.zero()) return folder.file_of(segment.header);
    }
    return {};
  }

  TemporaryFolder home_;
  fs::path folder_ = home_ / "kv";
  RememberedText model_{Kind::kDense};
  std::vector<std::string> warnings_;
};

TEST_F(StoreTrouble, FoldersOfSomethingElseStayOpen) {
  fs::create_directories(folder_);
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  std::ofstream(folder_ / "thesis.txt") << "mine";
  EXPECT_THROW(DiskStore(options(), kModel), Error);
  EXPECT_EQ(mode_of(folder_), 0755U);
  fs::remove(folder_ / "thesis.txt");
  { DiskStore store(options(), kModel); }
  EXPECT_EQ(mode_of(folder_), 0700U) << "an empty one becomes the store's";
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  { DiskStore store(options(), kModel); }
  EXPECT_EQ(mode_of(folder_), 0700U) << "and so is one with its marker";
}

// Another process removed a file and wrote the text again: the same name, sealed otherwise.
TEST_F(StoreTrouble, FilesThatWereWrittenAnewStayWhole) {
  const auto key = key_of(7);
  const Text text = text_of(300, 1);
  DiskStore mine(options(key), kModel);
  save(mine, model_, text);
  mine.flush();
  EXPECT_EQ(stored(mine, model_, text), 300);
  const fs::path file = segment_files(folder_).at(0);
  const SegmentHeader before = read_header(ReadFile(file), nullptr, key.get());
  SegmentFolder stale(folder_, false, key);
  stale.refresh();
  {
    SegmentFolder other(folder_, false, key);
    other.refresh();
    const Hash128 id = before.id;
    other.remove({&id, 1});
    DiskStore again(options(key), kModel);
    save(again, model_, text);
  }
  ASSERT_EQ(segment_files(folder_), std::vector<fs::path>{file});
  SegmentUses uses;
  ASSERT_NE(read_header(ReadFile(file), &uses, key.get()).salt, before.salt);
  EXPECT_EQ(uses.count, 0U);
  // Who does not know of it changes nothing; who has just read it counts the use.
  write_uses(file, before, {5, 6}, key.get());
  EXPECT_NO_THROW((void)read_header(ReadFile(file), &uses, key.get()));
  EXPECT_EQ(uses.count, 0U);
  EXPECT_EQ(stored(mine, model_, text), 300);
  EXPECT_NO_THROW((void)read_header(ReadFile(file), &uses, key.get()));
  EXPECT_EQ(uses.count, 2U);  // once before it was removed
  // What lies there is known again when something is to be removed, too.
  stale.evict(1, {}, 0);
  EXPECT_TRUE(segment_files(folder_).empty());
  EXPECT_TRUE(warnings_.empty());
}

// A chain has more files than may be open at once.
TEST_F(StoreTrouble, LongChainsNeedFewOpenFiles) {
  const Text text = text_of(64 * 40, 1);
  {
    DiskStore store(options(), kModel);
    for (std::size_t size = 64; size <= text.size(); size += 64)
      save(store, model_, Text(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size)));
  }
  ASSERT_EQ(segment_files(folder_).size(), 40U);
  const int code = in_child([&] {
    const int next = ::dup(STDERR_FILENO);
    const auto most = static_cast<rlim_t>(next + 12);
    const rlimit limit{most, most};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    DiskStore store(options(), kModel);
    if (stored(store, model_, text) != static_cast<std::int64_t>(text.size())) return 3;
    return warnings_.empty() ? 0 : 4;
  });
  EXPECT_EQ(code, 0);
}

TEST_F(StoreTrouble, SaysWhyATextIsNotReadBack) {
  const Text text = text_of(300, 1);
  DiskStore store(options(), kModel);
  save(store, model_, text);
  store.flush();
  // Is there, and is no file that could be read.
  const fs::path file = first_file();
  fs::rename(file, home_ / "aside");
  fs::create_directory(file);
  EXPECT_EQ(stored(store, model_, text), 0);
  EXPECT_EQ(stored(store, model_, text), 0);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("not a regular file"), std::string::npos) << warnings_[0];
  fs::remove(file);
  fs::rename(home_ / "aside", file);
  EXPECT_EQ(stored(store, model_, text), 300);
  // Gone without a trace is how other processes make room.
  const auto found = store.find({}, model_.pool(), text, 300);
  ASSERT_TRUE(found.has_value());
  fs::remove(file);
  SequenceState sequence(model_.pool());
  EXPECT_FALSE(store.load(*found, sequence));
  EXPECT_EQ(warnings_.size(), 1U);
}

// The last file of a chain turns out to be of no use when the first one has been read.
TEST_F(StoreTrouble, ABrokenChainLeavesNothingBehind) {
  const Text system = text_of(640, 1);
  const Text middle = joined(system, 640, 200, 2);
  const Text text = joined(middle, 840, 200, 3);
  DiskStore store(options(), kModel);
  for (const Text& each : {system, middle}) save(store, model_, each);
  store.flush();
  const std::vector<fs::path> before = segment_files(folder_);
  save(store, model_, text);
  store.flush();
  const auto found = store.find({}, model_.pool(), text, 1040);
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->chain.size(), 3U);
  for (const fs::path& file : segment_files(folder_)) {
    if (std::find(before.begin(), before.end(), file) == before.end())
      std::ofstream(file, std::ios::binary | std::ios::trunc) << "no segment";
  }
  SequenceState sequence(model_.pool());
  EXPECT_FALSE(store.load(*found, sequence));
  EXPECT_TRUE(model_.all_free());
  EXPECT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(stored(store, model_, text), 840);
}

// What cannot be read for a moment is not gone, and what goes on from it is not alone.
TEST_F(StoreTrouble, KeepsWhatGoesOnFromAFileThatCannotBeRead) {
  const Text system = text_of(640, 1);
  const Text text = joined(system, 640, 200, 2);
  {
    DiskStore store(options(), kModel);
    save(store, model_, system);
    save(store, model_, text);
  }
  ASSERT_EQ(segment_files(folder_).size(), 2U);
  const fs::path first = first_file();
  fs::rename(first, home_ / "aside");
  fs::create_directory(first);
  DiskStore store(options(), kModel);
  EXPECT_EQ(stored(store, model_, text), 0);
  fs::remove(first);
  fs::rename(home_ / "aside", first);
  EXPECT_EQ(stored(store, model_, text), 840);
  // Alone it is when that is gone for good.
  fs::remove(first);
  { DiskStore again(options(), kModel); }
  EXPECT_TRUE(segment_files(folder_).empty());
}

TEST_F(StoreTrouble, ChainsEnd) {
  constexpr auto kMost = static_cast<std::int64_t>(SegmentFolder::kMostChain);
  // Every file is synced twice, which costs nothing in memory.
  const fs::path memory = "/dev/shm";
  const TemporaryFolder home(fs::is_directory(memory) ? memory : fs::temp_directory_path());
  folder_ = home / "kv";
  RememberedText model(Kind::kDense, kMost + 128, 1);
  const Text text = text_of(static_cast<std::size_t>(kMost) + 128, 1);
  { DiskStore store(options(), kModel); }
  SegmentHeader header;
  header.identity = kModel.fingerprint;
  header.model = kModel.model;
  header.format = model.pool().fingerprint();
  header.id = header.seed();
  for (std::int64_t at = 0; at <= kMost; ++at) {
    const std::int32_t token = text[static_cast<std::size_t>(at)];
    header.before = header.id;
    header.parent = at == 0 ? Hash128{} : header.id;
    header.begin = at;
    header.end = at + 1;
    header.tokens = {token};
    header.id = next_in_chain(header.before, token);
    SegmentWriter writer(folder_, header);
    writer.finish(0, 0, 0);
    writer.publish();
  }
  DiskStore store(options(), kModel);
  SegmentFolder folder(folder_, false);
  folder.refresh();
  EXPECT_TRUE(folder.usable(header.before));
  EXPECT_FALSE(folder.usable(header.id));
  EXPECT_TRUE(folder.segments().contains(header.id)) << "too long is not alone";
  // What would be a link too many is written whole.
  save(store, model, text);
  store.flush();
  EXPECT_EQ(stored(store, model, text), kMost + 128);
}

}  // namespace
}  // namespace hearth::state
