// The store of measurements: rows, versions, damage, several processes.
#include "measure/measurement_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "set_aside_files.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;
using measure::Measurement;
using measure::MeasurementStore;

Measurement sample(std::int64_t when = 1'700'000'000, double decode = 40) {
  Measurement row;
  row.taken_at = when;
  row.machine = "0123456789abcdef";
  row.version = "0.1.0";
  row.model = {"Qwen3 0.6B", "qwen3", 596'000'000, "Q4_K", 400'000'000};
  row.threads = 2;
  row.kv_type = "F16";
  row.context = 8192;
  row.depth = 12;
  row.prompt_tokens = 512;
  row.generated_tokens = 64;
  row.prefill_tps = 300.5;
  row.decode_tps = decode;
  row.source = "bench";
  row.mapped = true;
  row.expected_decode_tps = 41;
  return row;
}

/// Collects what the store says.
struct Said {
  std::vector<std::string> sentences;
  MeasurementStore::Warn warn = [this](const std::string& sentence) {
    sentences.push_back(sentence);
  };
};

/// Writes an SQLite file by hand.
void write_database(const fs::path& path, const std::string& statements) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  char* problem = nullptr;
  EXPECT_EQ(sqlite3_exec(database, statements.c_str(), nullptr, nullptr, &problem), SQLITE_OK)
      << (problem != nullptr ? problem : "");
  sqlite3_free(problem);
  sqlite3_close(database);
}

TEST(MeasurementStore, KeepsRowsNewestFirst) {
  const TemporaryFolder folder;
  Said said;
  const fs::path path = folder / "deep/below/measurements.db";
  {
    MeasurementStore store = MeasurementStore::open(path, said.warn);
    store.add(sample(100, 40));
    Measurement second = sample(200, 39);
    second.prefill_tps.reset();
    second.read_bytes_per_second = 5.5e10;
    second.source = "run";
    second.exact = true;
    store.add(second);
    Measurement elsewhere = sample(300);
    elsewhere.machine = "another";
    store.add(elsewhere);
  }
  const std::optional<MeasurementStore> store = MeasurementStore::open_existing(path, said.warn);
  ASSERT_TRUE(store.has_value());
  EXPECT_EQ(store->size(), 3);
  const std::vector<Measurement> rows = store->find({.machine = "0123456789abcdef"});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].taken_at, 200);
  EXPECT_EQ(rows[0].prefill_tps, std::nullopt);
  EXPECT_EQ(rows[0].decode_tps, 39);
  EXPECT_EQ(rows[0].read_bytes_per_second, 5.5e10);
  EXPECT_EQ(rows[0].source, "run");
  EXPECT_TRUE(rows[0].exact);
  EXPECT_EQ(rows[1].prefill_tps, 300.5);
  EXPECT_EQ(rows[1].expected_decode_tps, 41);
  EXPECT_EQ(rows[1].expected_prefill_tps, std::nullopt);
  EXPECT_EQ(rows[1].model.name, "Qwen3 0.6B");
  EXPECT_TRUE(rows[1].model.same_model(sample().model));
  EXPECT_EQ(rows[1].threads, 2);
  EXPECT_EQ(rows[1].kv_type, "F16");
  EXPECT_EQ(rows[1].context, 8192);
  EXPECT_EQ(rows[1].depth, 12);
  EXPECT_EQ(rows[1].prompt_tokens, 512);
  EXPECT_EQ(rows[1].generated_tokens, 64);
  EXPECT_TRUE(rows[1].mapped);
  EXPECT_FALSE(rows[1].exact);
  EXPECT_EQ(store->find({.machine = "0123456789abcdef", .limit = 1}).size(), 1U);
  EXPECT_TRUE(said.sentences.empty());
}

TEST(MeasurementStore, IsForItsOwnerOnly) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  write_file_atomically(path, std::string());
  fs::permissions(path, fs::perms(0644));
  MeasurementStore::open(path, {}).add(sample());
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    struct stat facts {};
    ASSERT_EQ(stat(entry.path().c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600U) << entry.path();
  }
}

TEST(MeasurementStore, IsNotMadeByLooking) {
  const TemporaryFolder folder;
  EXPECT_FALSE(MeasurementStore::open_existing(folder / "measurements.db", {}).has_value());
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(MeasurementStore, RemovesTheOldest) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  (void)MeasurementStore::open(path, {});
  // As if many had been added.
  write_database(path,
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
                 "INSERT INTO measurements (taken_at, machine, version, model, architecture, "
                 "parameters, type, file_bytes, threads, kv_type, context, depth, prompt_tokens, "
                 "generated_tokens, source) SELECT i, 'm', '', '', '', 0, '', 0, 1, '', 0, 0, 0, "
                 "0, 'run' FROM n");
  MeasurementStore store = MeasurementStore::open(path, {});
  ASSERT_EQ(store.size(), MeasurementStore::kMaxRows);
  store.add(sample());
  store.add(sample());
  EXPECT_EQ(store.size(), MeasurementStore::kMaxRows);
  EXPECT_EQ(store.find({.machine = "m", .limit = 20'000}).back().taken_at, 3);
}

TEST(MeasurementStore, MigratesVersion1) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  write_database(
      path,
      "CREATE TABLE measurements (id INTEGER PRIMARY KEY, taken_at INTEGER NOT NULL, machine TEXT "
      "NOT NULL, version TEXT NOT NULL, model TEXT NOT NULL, architecture TEXT NOT NULL, "
      "parameters INTEGER NOT NULL, type TEXT NOT NULL, file_bytes INTEGER NOT NULL, threads "
      "INTEGER NOT NULL, kv_type TEXT NOT NULL, context INTEGER NOT NULL, depth INTEGER NOT NULL, "
      "prompt_tokens INTEGER NOT NULL, generated_tokens INTEGER NOT NULL, prefill_tps REAL, "
      "decode_tps REAL, read_bytes_per_second REAL, source TEXT NOT NULL);"
      "INSERT INTO measurements VALUES (7, 1700000000, 'm', '0.1.0', 'Tiny', 'llama', 260032, "
      "'F32', 1054496, 2, 'F16', 512, 0, 128, 64, NULL, 123.5, NULL, 'run');"
      "PRAGMA application_id = 1213355085; PRAGMA user_version = 1");
  Said said;
  MeasurementStore store = MeasurementStore::open(path, said.warn);
  EXPECT_TRUE(said.sentences.empty());
  const std::vector<Measurement> rows = store.find({.machine = "m"});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].model.name, "Tiny");
  EXPECT_EQ(rows[0].decode_tps, 123.5);
  EXPECT_FALSE(rows[0].exact);
  EXPECT_EQ(rows[0].expected_decode_tps, std::nullopt);
  store.add(sample());
  EXPECT_EQ(MeasurementStore::open(path, said.warn).find({.machine = "0123456789abcdef"}).size(),
            1U);
}

TEST(MeasurementStore, LeavesANewerOneAlone) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  (void)MeasurementStore::open(path, {});
  write_database(path, "PRAGMA user_version = 99");
  const std::string before = read_file(path);
  Said said;
  EXPECT_THROW((void)MeasurementStore::open(path, said.warn), Error);
  EXPECT_EQ(read_file(path), before);
  EXPECT_TRUE(said.sentences.empty());
  EXPECT_TRUE(set_aside_files(folder.path()).empty());
}

/// What may lie where the store should be.
struct Broken {
  const char* name;
  void (*make)(const fs::path& path);
};

class BrokenStore : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenStore, IsSetAsideAndToldOnce) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  GetParam().make(path);
  const std::string before = read_file(path);
  Said said;
  MeasurementStore::open(path, said.warn).add(sample());
  ASSERT_EQ(said.sentences.size(), 1U);
  EXPECT_NE(said.sentences[0].find("set aside as 'measurements.db.bad-"), std::string::npos);
  EXPECT_EQ(said.sentences[0].find('\n'), std::string::npos);
  const std::vector<fs::path> kept = set_aside_files(folder.path());
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(read_file(kept[0]), before);
  EXPECT_EQ(MeasurementStore::open(path, said.warn).size(), 1);
  EXPECT_EQ(said.sentences.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenStore,
    ::testing::Values(
        Broken{"text", [](const fs::path& path) { write_file_atomically(path, "hello\n"); }},
        Broken{"long_text",
               [](const fs::path& path) { write_file_atomically(path, std::string(5000, 'x')); }},
        Broken{"cut",
               [](const fs::path& path) {
                 (void)MeasurementStore::open(path, {});
                 write_file_atomically(path, read_file(path).substr(0, 5000));
               }},
        Broken{"overwritten_page",
               [](const fs::path& path) {
                 (void)MeasurementStore::open(path, {});
                 std::string bytes = read_file(path);
                 bytes.replace(4096, 512, std::string(512, '\xA5'));
                 write_file_atomically(path, bytes);
               }},
        Broken{"other_program",
               [](const fs::path& path) { write_database(path, "CREATE TABLE bookmarks (a)"); }},
        Broken{"other_program_with_version",
               [](const fs::path& path) {
                 write_database(path, "CREATE TABLE bookmarks (a); PRAGMA user_version = 2");
               }},
        Broken{"no_table",
               [](const fs::path& path) {
                 (void)MeasurementStore::open(path, {});
                 write_database(path, "DROP TABLE measurements");
               }},
        Broken{"half_migrated",
               [](const fs::path& path) {
                 (void)MeasurementStore::open(path, {});
                 write_database(path, "PRAGMA user_version = 1");
               }},
        Broken{"view",
               [](const fs::path& path) {
                 (void)MeasurementStore::open(path, {});
                 write_database(path,
                                "ALTER TABLE measurements RENAME TO t; "
                                "CREATE VIEW measurements AS SELECT * FROM t");
               }}),
    [](const ::testing::TestParamInfo<Broken>& test) { return std::string(test.param.name); });

TEST(MeasurementStore, SetsBothAsideInTheSameSecond) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  for (const char* text : {"first", "second"}) {
    write_file_atomically(path, std::string(text));
    (void)MeasurementStore::open(path, {});
  }
  EXPECT_EQ(set_aside_files(folder.path()).size(), 2U);
}

TEST(MeasurementStore, IsNoFolder) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "measurements.db");
  EXPECT_THROW((void)MeasurementStore::open(folder / "measurements.db", {}), Error);
}

TEST(MeasurementStore, OddRowsAreReadWithoutHarm) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  (void)MeasurementStore::open(path, {});
  write_database(path,
                 "INSERT INTO measurements (taken_at, machine, version, model, architecture, "
                 "parameters, type, file_bytes, threads, kv_type, context, depth, prompt_tokens, "
                 "generated_tokens, prefill_tps, decode_tps, source) VALUES ('x', 'm', x'00ff', "
                 "printf('%.*c', 100000, 'n'), 7, -5, 1e308, -1, 99999999999999, '', -3, -4, -5, "
                 "-6, 9e999, -1, 'run')");
  const std::vector<Measurement> rows = MeasurementStore::open(path, {}).find({.machine = "m"});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].taken_at, 0);
  EXPECT_LE(rows[0].model.name.size(), 200U);
  EXPECT_EQ(rows[0].model.parameters, 0U);
  EXPECT_EQ(rows[0].depth, 0);
  EXPECT_EQ(rows[0].prefill_tps, std::nullopt);
  EXPECT_EQ(rows[0].decode_tps, std::nullopt);
}

/// Runs `work(child)` in processes that begin together; all must end well.
template <class Work>
void in_processes(int count, Work work) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::vector<pid_t> children;
  for (int child = 0; child < count; ++child) {
    const pid_t process = fork();
    ASSERT_GE(process, 0);
    if (process == 0) {
      close(gate[1]);
      char byte = 0;
      [[maybe_unused]] const ssize_t none = read(gate[0], &byte, 1);  // until the parent closes it
      int code = 1;
      try {
        work(child);
        code = 0;
      } catch (const std::exception& problem) {
        fprintf(stderr, "%s\n", problem.what());
      }
      _exit(code);
    }
    children.push_back(process);
  }
  close(gate[0]);
  close(gate[1]);
  for (const pid_t process : children) {
    int status = 0;
    ASSERT_EQ(waitpid(process, &status, 0), process);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

TEST(MeasurementStore, TwoProcessesMakeAndFillIt) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  constexpr int kRows = 25;
  in_processes(2, [&](int) {
    for (int i = 0; i < kRows; ++i) MeasurementStore::open(path, {}).add(sample(i));
  });
  EXPECT_EQ(MeasurementStore::open(path, {}).size(), 2 * kRows);
  EXPECT_TRUE(set_aside_files(folder.path()).empty());
}

TEST(MeasurementStore, TwoProcessesKeepItOpenAndFillIt) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  constexpr int kRows = 50;
  in_processes(2, [&](int) {
    MeasurementStore store = MeasurementStore::open(path, {});
    for (int i = 0; i < kRows; ++i) store.add(sample(i));
  });
  EXPECT_EQ(MeasurementStore::open(path, {}).size(), 2 * kRows);
}

TEST(MeasurementStore, OneOfSeveralProcessesSetsABrokenOneAside) {
  const TemporaryFolder folder;
  const fs::path path = folder / "measurements.db";
  write_file_atomically(path, std::string("broken"));
  in_processes(4, [&](int) { MeasurementStore::open(path, {}).add(sample()); });
  EXPECT_EQ(set_aside_files(folder.path()).size(), 1U);
  EXPECT_EQ(MeasurementStore::open(path, {}).size(), 4);
}

TEST(MachineFingerprint, ChangesWithWhatSpeedsDependOn) {
  const std::uint64_t memory = std::uint64_t{8} << 30;
  const std::string here = measure::machine_fingerprint("EPYC", 2, memory, "avx512vnni");
  EXPECT_EQ(here.size(), 16U);
  // A kernel update takes some megabytes.
  EXPECT_EQ(here, measure::machine_fingerprint("EPYC", 2, memory - 40'000'000, "avx512vnni"));
  EXPECT_NE(here, measure::machine_fingerprint("EPYC 2", 2, memory, "avx512vnni"));
  EXPECT_NE(here, measure::machine_fingerprint("EPYC", 4, memory, "avx512vnni"));
  EXPECT_NE(here, measure::machine_fingerprint("EPYC", 2, memory / 2, "avx512vnni"));
  EXPECT_NE(here, measure::machine_fingerprint("EPYC", 2, memory, "avx2"));
}

TEST(ModelIdentity, SaysWhatAModelIsAndNotWhereItLies) {
  const fs::path path = shared_dir() / "models" / "stories260K.gguf";
  HEARTH_REQUIRE_FILE(path);
  const measure::ModelIdentity identity = measure::identify_model(gguf::File::open(path));
  EXPECT_EQ(identity.architecture, "llama");
  EXPECT_EQ(identity.parameters, 260'032U);
  EXPECT_EQ(identity.type, "F32");
  EXPECT_EQ(identity.file_bytes, fs::file_size(path));
  EXPECT_EQ(identity.name.find('/'), std::string::npos);
}

}  // namespace
}  // namespace hearth::testing
