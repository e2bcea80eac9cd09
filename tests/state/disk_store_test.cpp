#include "state/disk_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "state/disk_reader.h"
#include "state/segment_folder.h"
#include "stored_text.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::state {
namespace {

struct Case {
  Kind kind;
  bool sealed = false;
};

class DiskStores : public ::testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] static Kind kind() { return GetParam().kind; }
  [[nodiscard]] DiskStoreOptions options_for(const fs::path& folder) const {
    DiskStoreOptions options = state::options_for(folder);
    options.key = key_;
    return options;
  }
  std::shared_ptr<const StoreKey> key_ = GetParam().sealed ? key_of(7) : nullptr;
  TemporaryFolder home_;
  fs::path folder_ = home_ / "kv";
  RememberedText model_{GetParam().kind};
};

TEST_P(DiskStores, FindAgainWhatWasSaved) {
  const Text text = text_of(700, 1);
  const std::vector<float> logits = {1, 2, 3};
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model_, text, {}, logits);
    save(store, model_, text_of(90, 2));
    store.flush();
    EXPECT_EQ(stored(store, model_, text), 700);
  }
  EXPECT_TRUE(model_.all_free());
  DiskStore store(options_for(folder_), kModel);
  std::vector<float> found;
  EXPECT_EQ(stored(store, model_, text, {}, &found), 700);
  EXPECT_EQ(found, logits);
  EXPECT_EQ(stored(store, model_, joined(text, 700, 100, 3)), 700);
  EXPECT_EQ(stored(store, model_, text_of(90, 2), {}, &found), 90);
  EXPECT_TRUE(found.empty());
  EXPECT_EQ(stored(store, model_, text_of(90, 4)), 0);
  // Cut anywhere, or not at all.
  const std::int64_t part = stored(store, model_, joined(text, 500, 100, 3));
  EXPECT_EQ(part, kind() == Kind::kDense ? 500 : 0);
  // Limits of the question.
  EXPECT_FALSE(store.find({}, model_.pool(), text, 700, 700).has_value());
  EXPECT_EQ(store.find({}, model_.pool(), text, 699).has_value(), kind() == Kind::kDense);

  struct stat status = {};
  ASSERT_EQ(::stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  for (const fs::path& file : segment_files(folder_)) {
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
  }
}

TEST_P(DiskStores, KeepWhatTextsShareOnce) {
  DiskStore store(options_for(folder_), kModel);
  const Text system = text_of(3000, 1);
  save(store, model_, system);
  store.flush();
  const auto bytes = [&] {
    std::uintmax_t sum = 0;
    for (const fs::path& file : segment_files(folder_)) sum += fs::file_size(file);
    return sum;
  };
  const std::uintmax_t once = bytes();
  std::vector<Text> texts;
  for (std::uint32_t seed = 2; seed < 6; ++seed) {
    texts.push_back(joined(system, 3000, 200, seed));
    save(store, model_, texts.back());
  }
  texts.push_back(joined(texts.back(), 3200, 100, 9));
  save(store, model_, texts.back());
  store.flush();
  if (kind() != Kind::kRecurrent) {
    EXPECT_LT(bytes(), once * 2);
  }
  for (const Text& text : texts)
    EXPECT_EQ(stored(store, model_, text), static_cast<std::int64_t>(text.size()));
}

TEST_P(DiskStores, MatchNothingElse) {
  const Text text = text_of(300, 1);
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model_, text, {.owner = "ann", .adapters = 3, .inputs = 4});
  }
  const PrefixKey key{.owner = "ann", .adapters = 3, .inputs = 4};
  DiskStore store(options_for(folder_), kModel);
  EXPECT_EQ(stored(store, model_, text, key), 300);
  for (const PrefixKey& other :
       {PrefixKey{.owner = "bob", .adapters = 3, .inputs = 4},
        PrefixKey{.owner = "ann", .adapters = 2, .inputs = 4},
        PrefixKey{.owner = "ann", .adapters = 3, .inputs = 5}, PrefixKey{}}) {
    EXPECT_EQ(stored(store, model_, text, other), 0);
  }
  for (const Hash128& fingerprint : {Hash128{1, 3}, Hash128{2, 2}}) {
    DiskStore other(options_for(folder_), {"tiny", fingerprint});
    EXPECT_EQ(stored(other, model_, text, key), 0);
  }
  for (const Kind each : {Kind::kDense, Kind::kWindow, Kind::kRecurrent, Kind::kHybrid}) {
    if (each == kind()) continue;
    RememberedText other(each);
    EXPECT_EQ(stored(store, other, text, key), 0);
  }
}

// Every byte of every file is changed once: nothing wrong is ever loaded.
TEST_P(DiskStores, NoticeEveryFlippedByte) {
  RememberedText model(kind(), 512);
  const Text text = text_of(70, 1);
  const std::vector<float> logits = {1, 2};
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model, text, {}, logits);
  }
  const std::vector<fs::path> files = segment_files(folder_);
  ASSERT_EQ(files.size(), 1U);
  const std::string whole = read_file(files[0]);
  const auto put = [&](std::size_t at, char byte) {
    std::fstream file(files[0], std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at)).put(byte);
  };
  for (std::size_t at = 0; at < whole.size(); ++at) {
    put(at, static_cast<char>(whole[at] ^ (1 << (at % 8))));
    bool noticed = false;
    try {
      SegmentReader(files[0], key_.get()).check_all();
    } catch (const Error&) {
      noticed = true;
    }
    ASSERT_TRUE(noticed) << "byte " << at << " of " << whole.size();
    if (at % 97 != 0) {  // opening a store is slower
      put(at, whole[at]);
      continue;
    }
    int warnings = 0;
    DiskStoreOptions options = options_for(folder_);
    options.warn = [&](const std::string&) { ++warnings; };
    DiskStore store(options, kModel);
    std::vector<float> found;
    ASSERT_EQ(stored(store, model, text, {}, &found), 0) << "byte " << at;
    ASSERT_EQ(stored(store, model, text, {}, &found), 0) << "byte " << at;
    ASSERT_TRUE(found.empty());
    // It can be written again.
    save(store, model, text, {}, logits);
    store.flush();
    ASSERT_EQ(stored(store, model, text), 70) << "byte " << at;
    ASSERT_LE(warnings, 1);
    std::ofstream(files[0], std::ios::binary | std::ios::trunc) << whole;  // with its old times
  }
  for (std::size_t size = 0; size < whole.size(); size += 13) {
    std::ofstream(files[0], std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    EXPECT_THROW(SegmentReader(files[0], key_.get()).check_all(), Error) << size;
  }
  std::ofstream(files[0], std::ios::binary | std::ios::trunc) << whole << 'x';
  EXPECT_THROW(SegmentReader(files[0], key_.get()).check_all(), Error);
}

TEST_P(DiskStores, ServeThePrefixCache) {
  const Text system = text_of(1000, 1);
  const Text text = joined(system, 1000, 500, 2);
  const auto remember = [&](DiskStore& store, const Text& whole) {
    PrefixCache cache(model_.pool(), PrefixCache::limits_of(model_.pool()), &store);
    SequenceState sequence(model_.pool());
    for (const std::int64_t stop : {1000, 1500}) {
      for (std::int64_t at = sequence.length(); at < stop;) {
        at = std::min<std::int64_t>(at + 500, stop);
        model_.evaluate(sequence, whole, at);
      }
      cache.keep({}, std::span(whole).first(static_cast<std::size_t>(stop)), sequence,
                 std::vector<float>{4, 5}, stop == 1000);
    }
    cache.save_all();
  };
  {
    DiskStore store(options_for(folder_), kModel);
    remember(store, text);
  }
  EXPECT_TRUE(model_.all_free());
  DiskStore store(options_for(folder_), kModel);
  PrefixCache cache(model_.pool(), PrefixCache::limits_of(model_.pool()), &store);
  const auto other = cache.find({}, joined(system, 1000, 50, 3));
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(other->length(), 1000);
  EXPECT_TRUE(model_.right(*other, system));
  std::vector<float> logits;
  const auto whole = cache.find({}, text, &logits);
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(whole->length(), 1500);
  EXPECT_EQ(logits, (std::vector<float>{4, 5}));
  EXPECT_TRUE(model_.right(*whole, text));
  EXPECT_EQ(cache.statistics().from_disk, 2);
  // Now they are in memory.
  EXPECT_NE(cache.find({}, joined(text, 1500, 5, 3)), nullptr);
  EXPECT_EQ(cache.statistics().from_disk, 2);
}

// What is read on another thread is the same, and what fails leaves nothing behind.
TEST_P(DiskStores, ReadIntoReservedRoom) {
  const Text text = text_of(700, 1);
  const std::vector<float> logits = {1, 2, 3};
  DiskStore store(options_for(folder_), kModel);
  save(store, model_, text, {}, logits);
  store.flush();
  PrefixCache cache(model_.pool(), PrefixCache::limits_of(model_.pool()), &store);
  EXPECT_EQ(cache.known({}, text), 0);
  EXPECT_EQ(cache.find_in_memory({}, text), nullptr);
  {
    std::atomic<int> ready{0};
    DiskReader reader(store, model_.pool(), [&] {
      ++ready;
      ready.notify_all();
    });
    EXPECT_EQ(reader.next(), nullptr);
    reader.look_up(7, {{}, text, 32});
    ready.wait(0);
    const auto found = reader.next();
    ASSERT_TRUE(found && found->found.has_value());
    EXPECT_EQ(found->id, 7U);
    EXPECT_EQ(found->found->length, 700);
    EXPECT_TRUE(found->found->logits);
    auto room = cache.room_for(700);
    ASSERT_NE(room, nullptr);
    reader.read(8, {*found->found, std::move(room)});
    ready.wait(1);
    const auto read = reader.next();
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->id, 8U);
    ASSERT_TRUE(read->complete);
    EXPECT_EQ(read->logits, logits);
    cache.take_in({}, text, std::move(read->sequence), read->logits);
  }
  EXPECT_EQ(cache.statistics().from_disk, 1);
  EXPECT_EQ(cache.known({}, text), 700);
  std::vector<float> known;
  const auto sequence = cache.find_in_memory({}, text, &known);
  ASSERT_NE(sequence, nullptr);
  EXPECT_EQ(sequence->length(), 700);
  EXPECT_EQ(known, logits);
  EXPECT_TRUE(model_.right(*sequence, text));
}

TEST_P(DiskStores, FailToReadWithoutATrace) {
  const Text text = text_of(700, 1);
  DiskStore store(options_for(folder_), kModel);
  save(store, model_, text);
  store.flush();
  const auto found = store.find({}, model_.pool(), text, 700);
  ASSERT_TRUE(found.has_value());
  const fs::path file = segment_files(folder_)[0];
  std::fstream(file, std::ios::binary | std::ios::in | std::ios::out)
      .seekp(static_cast<std::streamoff>(fs::file_size(file) / 2))
      .put('x');
  std::fstream(file, std::ios::binary | std::ios::in | std::ios::out)
      .seekp(static_cast<std::streamoff>(fs::file_size(file) - 20))
      .put('x');
  {
    SequenceState sequence(model_.pool());
    sequence.reserve(700);
    EXPECT_FALSE(model_.all_free());
    bool complete = true;
    std::thread([&] { complete = store.load(*found, sequence); }).join();
    EXPECT_FALSE(complete);
  }
  EXPECT_TRUE(model_.all_free());
  SequenceState taken(model_.pool());
  taken.reserve(700);
  taken.settle();
  EXPECT_TRUE(model_.all_free());
}

// Entries that are given up for want of room come back from disk.
TEST_P(DiskStores, GetWhatTheCacheGivesUp) {
  RememberedText model(kind(), 1024, 1, 2);
  DiskStore store(options_for(folder_), kModel);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()), &store);
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    const Text text = text_of(1000, seed);
    SequenceState sequence(model.pool());
    while (sequence.length() < 1000) {
      const std::int64_t until = std::min<std::int64_t>(1000, sequence.length() + 256);
      cache.make_room_for(sequence, until - sequence.length());
      model.evaluate(sequence, text, until);
    }
    cache.keep({}, text, sequence);
  }
  store.flush();
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    const auto sequence = cache.find({}, joined(text_of(1000, seed), 1000, 5, 99));
    ASSERT_NE(sequence, nullptr) << seed;
    EXPECT_EQ(sequence->length(), 1000);
    EXPECT_TRUE(model.right(*sequence, text_of(1000, seed)));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DiskStores,
                         ::testing::Values(Case{Kind::kDense}, Case{Kind::kWindow},
                                           Case{Kind::kRecurrent}, Case{Kind::kHybrid},
                                           Case{Kind::kDense, true}, Case{Kind::kHybrid, true}));

class DiskStoreTest : public ::testing::Test {
 protected:
  TemporaryFolder home_;
  fs::path folder_ = home_ / "kv";
  RememberedText model_{Kind::kHybrid};
};

TEST_F(DiskStoreTest, StaysBelowItsSizeAndDropsWhatIsWorthLeast) {
  DiskStoreOptions options = options_for(folder_);
  std::int64_t now = 1'000'000;
  options.now = [&] { return now; };
  options.most_bytes = 100'000;
  DiskStore store(options, kModel);
  const auto bytes = [&] {
    std::uintmax_t sum = 0;
    for (const fs::path& file : segment_files(folder_)) sum += fs::file_size(file);
    return sum;
  };
  const Text popular = text_of(500, 1000);
  save(store, model_, popular);
  store.flush();
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    now += 600;
    EXPECT_EQ(stored(store, model_, popular), 500);
    save(store, model_, text_of(400, seed));
    store.flush();
    EXPECT_LE(bytes(), options.most_bytes);
    EXPECT_EQ(stored(store, model_, text_of(400, seed)), 400);  // just written: it stays
  }
  EXPECT_EQ(stored(store, model_, popular), 500);
  EXPECT_EQ(stored(store, model_, text_of(400, 0)), 0);
}

TEST_F(DiskStoreTest, ScoresAsTheReferenceSays) {
  StoredSegment segment;
  segment.header.tokens.resize(1000);
  segment.file_bytes = 10'000;
  segment.uses = {0, 8};
  EXPECT_NEAR(keeping_score(segment, 0), 9 * 0.1, 1e-12);
  EXPECT_NEAR(keeping_score(segment, 6 * 3600), 5 * 0.1, 1e-12);
  EXPECT_NEAR(keeping_score(segment, 100 * 3600), 0.1, 1e-12);  // fewer than 0.01 hits: none
}

TEST_F(DiskStoreTest, ForgetsAConversationWithAllThatOnlyItNeeds) {
  DiskStore store(options_for(folder_), kModel);
  const Text system = text_of(640, 1);
  const Text first = joined(system, 640, 300, 2), second = joined(system, 640, 300, 3);
  const Text longer = joined(first, 940, 100, 4);
  for (const Text& text : {system, first, second, longer}) {
    save(store, model_, text);
    store.flush();
  }
  SegmentFolder folder(folder_, false);
  folder.refresh();
  ASSERT_EQ(folder.segments().size(), 4U);
  const std::vector<Hash128> leaves = folder.leaves();
  ASSERT_EQ(leaves.size(), 2U);
  for (const Hash128& leaf : leaves) {
    const std::vector<Hash128> chain = folder.chain(leaf);
    if (folder.tokens(chain) != longer) continue;
    EXPECT_EQ(chain.size(), 3U);
    const FileLock lock = folder.lock();
    EXPECT_GT(folder.remove(folder.only_of(leaf)), 0U);
  }
  EXPECT_EQ(stored(store, model_, longer), 640);
  EXPECT_EQ(stored(store, model_, second), 940);
  EXPECT_EQ(segment_files(folder_).size(), 2U);
}

TEST_F(DiskStoreTest, RefusesNewerSchemasAndLeavesOutOlderOnes) {
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model_, text_of(300, 1));
    save(store, model_, text_of(300, 2));
  }
  // A file of a schema before ours.
  const fs::path old = segment_files(folder_)[0];
  std::string bytes = read_file(old);
  bytes[8] = 0;
  std::ofstream(old, std::ios::binary) << bytes;
  std::ofstream(folder_ / "hearth-kv") << "hearth kv store, schema 0\n";
  {
    DiskStore store(options_for(folder_), kModel);
    EXPECT_EQ(stored(store, model_, text_of(300, 1)) + stored(store, model_, text_of(300, 2)), 300);
  }
  EXPECT_EQ(read_file(folder_ / "hearth-kv"), "hearth kv store, schema 2\n");
  std::ofstream(folder_ / "hearth-kv") << "hearth kv store, schema 3\n";
  try {
    DiskStore store(options_for(folder_), kModel);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("schema version 3"), std::string::npos);
    EXPECT_NE(error.hint().find("newer hearth"), std::string::npos);
  }
  EXPECT_EQ(segment_files(folder_).size(), 2U);
}

// Files of the schema before sealed ones are good as they are.
TEST_F(DiskStoreTest, TakesOverTheFilesOfTheFirstSchema) {
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model_, text_of(300, 1));
  }
  std::ofstream(folder_ / "hearth-kv") << "hearth kv store, schema 1\n";
  DiskStore store(options_for(folder_), kModel);
  EXPECT_EQ(stored(store, model_, text_of(300, 1)), 300);
  EXPECT_EQ(read_file(folder_ / "hearth-kv"), "hearth kv store, schema 2\n");
}

// Without the key nothing is found, told or removed; with it everything is.
TEST_F(DiskStoreTest, SealedFilesAreForTheirKeyOnly) {
  DiskStoreOptions sealed = options_for(folder_);
  sealed.key = key_of(1);
  {
    DiskStore store(sealed, kModel);
    save(store, model_, text_of(300, 1), {.owner = "ann-the-owner"});
  }
  const auto files = segment_files(folder_);
  ASSERT_EQ(files.size(), 1U);
  for (const int key : {0, 2}) {
    DiskStoreOptions other = options_for(folder_);
    if (key > 0) other.key = key_of(key);
    std::vector<std::string> warnings;
    other.warn = [&](const std::string& warning) { warnings.push_back(warning); };
    DiskStore store(other, kModel);
    EXPECT_EQ(stored(store, model_, text_of(300, 1), {.owner = "ann-the-owner"}), 0);
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_NE(warnings[0].find(key == 0 ? "no key was given" : "another key"), std::string::npos)
        << warnings[0];
  }
  EXPECT_EQ(segment_files(folder_), files);
  {
    DiskStore store(sealed, kModel);
    EXPECT_EQ(stored(store, model_, text_of(300, 1), {.owner = "ann-the-owner"}), 300);
  }
  // Plain files are none of a sealed store's: anybody could have put them there.
  {
    DiskStore store(options_for(folder_), kModel);
    save(store, model_, text_of(300, 2));
  }
  DiskStore store(sealed, kModel);
  EXPECT_EQ(stored(store, model_, text_of(300, 2)), 0);
  SegmentFolder folder(folder_, false, sealed.key);
  folder.refresh();
  EXPECT_EQ(folder.locked(), 1U);
  folder.clean_all();
  EXPECT_EQ(segment_files(folder_).size(), 1U);
}

// Neither the file's name nor its bytes tell what somebody who knows the text could look for.
TEST_F(DiskStoreTest, SealedFilesTellNothing) {
  const Text text = text_of(300, 1);
  const auto written = [&](const fs::path& folder, std::shared_ptr<const StoreKey> key) {
    DiskStoreOptions options = options_for(folder);
    options.key = std::move(key);
    DiskStore(options, kModel).flush();
    {
      DiskStore store(options, kModel);
      save(store, model_, text, {.owner = "ann-the-owner"});
    }
    const auto files = segment_files(folder);
    return files.size() == 1 ? files[0] : fs::path();
  };
  const fs::path plain = written(home_ / "plain", nullptr);
  const fs::path first = written(home_ / "first", key_of(1));
  const fs::path again = written(home_ / "again", key_of(1));
  const fs::path other = written(home_ / "other", key_of(2));
  EXPECT_EQ(first.filename(), again.filename());
  EXPECT_NE(first.filename(), other.filename());
  EXPECT_NE(first.filename(), plain.filename());
  const std::string open = read_file(plain), sealed = read_file(first);
  EXPECT_NE(read_file(again), sealed);
  const auto tokens = std::as_bytes(std::span(text).first(4));
  const std::string known(reinterpret_cast<const char*>(tokens.data()), tokens.size());
  const SegmentHeader header = read_header(ReadFile(plain));
  const auto id = std::as_bytes(std::span(&header.id, 1));
  for (const std::string& trace :
       {known, std::string("ann-the-owner"), std::string("tiny"),
        std::string(reinterpret_cast<const char*>(id.data()), id.size())}) {
    EXPECT_NE(open.find(trace), std::string::npos);
    EXPECT_EQ(sealed.find(trace), std::string::npos);
  }
  // Zeros of the payload are not zeros in the file.
  EXPECT_EQ(sealed.find(std::string(32, '\0')), std::string::npos);
}

TEST_F(DiskStoreTest, TakesNoFolderOfSomethingElse) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "thesis.txt") << "mine";
  EXPECT_THROW(DiskStore(options_for(folder_), kModel), Error);
  EXPECT_EQ(read_file(folder_ / "thesis.txt"), "mine");
}

TEST_F(DiskStoreTest, GoesOnWhenTheDiskIsFull) {
  DiskStoreOptions options = options_for(folder_);
  std::vector<std::string> warnings;
  options.warn = [&](const std::string& warning) { warnings.push_back(warning); };
  options.reserve_bytes = UINT64_MAX / 2;
  DiskStore store(options, kModel);
  for (std::uint32_t seed = 0; seed < 3; ++seed) {
    save(store, model_, text_of(300, seed));
    store.flush();
    EXPECT_EQ(stored(store, model_, text_of(300, seed)), 0);
  }
  ASSERT_EQ(warnings.size(), 1U);  // once
  EXPECT_NE(warnings[0].find("full"), std::string::npos);
  EXPECT_TRUE(segment_files(folder_).empty());
}

TEST_F(DiskStoreTest, GoesOnWhenFilesCannotGrow) {
  const int code = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2000, 2000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    int warnings = 0;
    {
      DiskStoreOptions options = options_for(folder_);
      options.warn = [&](const std::string&) { ++warnings; };
      DiskStore store(options, kModel);
      for (std::uint32_t seed = 0; seed < 3; ++seed) save(store, model_, text_of(300, seed));
      store.flush();
      if (stored(store, model_, text_of(300, 0)) != 0) return 3;
    }
    return warnings == 1 ? 0 : 4;
  });
  EXPECT_EQ(code, 0);
  EXPECT_TRUE(segment_files(folder_).empty());
  for (const fs::directory_entry& each : fs::directory_iterator(folder_))
    EXPECT_FALSE(each.path().filename().native().starts_with(".tmp-"));
}

/// Saves texts, telling of each that is safe, until it is killed at a random moment.
[[noreturn]] void save_until_killed(const fs::path& folder, RememberedText& model, int report,
                                    std::uint32_t round) {
  std::mt19937 random(round);
  std::atomic<int> saved{0};
  std::atomic<std::int64_t> last_took{0};
  const int after = static_cast<int>(random() % 3);
  const double part = static_cast<double>(random() % 1000) / 1000;
  std::thread([&] {
    while (saved.load() < after + 1) std::this_thread::yield();
    const auto start = std::chrono::steady_clock::now();
    const auto wait = std::chrono::nanoseconds(
        static_cast<std::int64_t>(part * 1.5 * static_cast<double>(last_took.load())));
    while (std::chrono::steady_clock::now() - start < wait) {
    }
    ::kill(::getpid(), SIGKILL);
  }).detach();
  DiskStore store(options_for(folder), kModel);
  for (std::uint32_t i = 0;; ++i) {
    // Every other one goes on from the one before.
    const std::uint32_t seed = round * 100 + i;
    const Text text =
        i % 2 == 0 ? text_of(300, seed) : joined(text_of(300, seed - 1), 300, 100, seed);
    const auto start = std::chrono::steady_clock::now();
    save(store, model, text);
    store.flush();
    last_took = (std::chrono::steady_clock::now() - start).count();
    if (::write(report, &i, sizeof i) != sizeof i) ::_exit(1);
    ++saved;
  }
}

TEST_F(DiskStoreTest, LosesNothingCompleteWhenKilled) {
  constexpr std::uint32_t kRounds = 200;
  RememberedText model(Kind::kHybrid, 512, 2, 2);
  std::vector<Text> complete;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    int ends[2] = {};
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(300);
      try {
        save_until_killed(folder_, model, ends[1], round);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(125);
      }
    }
    ::close(ends[1]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "round " << round;
    const std::size_t before = complete.size();
    for (std::uint32_t i = 0; ::read(ends[0], &i, sizeof i) == sizeof i;) {
      const std::uint32_t seed = round * 100 + i;
      complete.push_back(i % 2 == 0 ? text_of(300, seed)
                                    : joined(text_of(300, seed - 1), 300, 100, seed));
    }
    ::close(ends[0]);
    ASSERT_GT(complete.size(), before);
    // The next start opens the store and finds all of this round, and some of the others.
    DiskStoreOptions options = options_for(folder_);
    std::vector<std::string> warnings;
    options.warn = [&](const std::string& warning) { warnings.push_back(warning); };
    DiskStore store(options, kModel);
    for (std::size_t i = before; i < complete.size(); ++i)
      ASSERT_EQ(stored(store, model, complete[i]), static_cast<std::int64_t>(complete[i].size()));
    const Text& earlier = complete[(round * 7919U) % complete.size()];
    ASSERT_EQ(stored(store, model, earlier), static_cast<std::int64_t>(earlier.size()));
    ASSERT_TRUE(warnings.empty()) << warnings[0];
  }
  DiskStore store(options_for(folder_), kModel);
  for (const Text& text : complete)
    ASSERT_EQ(stored(store, model, text), static_cast<std::int64_t>(text.size()));
  for (const fs::directory_entry& each : fs::directory_iterator(folder_))
    EXPECT_FALSE(each.path().filename().native().starts_with(".tmp-"));
}

/// What one of several processes does with a store that is too small for all.
int share_store(const fs::path& folder, std::uint32_t who) {
  RememberedText model(Kind::kHybrid, 2048, 2, 2);
  DiskStoreOptions options = options_for(folder);
  options.most_bytes = 400'000;
  DiskStore store(options, kModel);
  const Text system = text_of(640, 1);
  std::mt19937 random(who);
  int found = 0;
  for (std::uint32_t round = 0; round < 50; ++round) {
    const std::uint32_t seed = 100 + random() % 12;  // the same texts as the others
    const Text text = joined(system, 640, 100 + seed, seed);
    const std::int64_t length = stored(store, model, text);
    if (length < 0) return 3;  // something wrong was loaded
    if (length == static_cast<std::int64_t>(text.size())) {
      ++found;
      continue;
    }
    save(store, model, text);
    if (round % 5 == 0) store.flush();
  }
  return found > 0 ? 0 : 4;
}

TEST_F(DiskStoreTest, IsSharedByProcesses) {
  std::vector<pid_t> children;
  for (std::uint32_t who = 0; who < 3; ++who) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(300);
      try {
        ::_exit(share_store(folder_, who));
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(5);
      }
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  std::uintmax_t bytes = 0;
  for (const fs::path& file : segment_files(folder_)) {
    EXPECT_NO_THROW(SegmentReader(file).check_all());
    bytes += fs::file_size(file);
  }
  EXPECT_LE(bytes, 400'000U);
  SegmentFolder folder(folder_, false);
  folder.refresh();
  for (const auto& [id, segment] : folder.segments()) EXPECT_TRUE(folder.usable(id));
}

// What another process saves is found without opening the store anew.
TEST_F(DiskStoreTest, SeesWhatOthersSave) {
  DiskStore mine(options_for(folder_), kModel);
  EXPECT_EQ(stored(mine, model_, text_of(300, 1)), 0);
  const int code = in_child([&] {
    DiskStore other(options_for(folder_), kModel);
    save(other, model_, text_of(300, 1));
    other.flush();
    return 0;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(stored(mine, model_, text_of(300, 1)), 300);
}

}  // namespace
}  // namespace hearth::state
