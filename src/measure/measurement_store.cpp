#include "measure/measurement_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "support/error.h"
#include "support/file_lock.h"
#include "support/set_aside.h"

namespace hearth::measure {
namespace {

namespace fs = std::filesystem;

/// "HRTM": says that an SQLite file is ours.
constexpr int kApplicationId = 0x4852544D;
/// Ten thousand rows take about 2 MB: whatever is larger was not written by add().
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{64} << 20;
constexpr int kPatienceMilliseconds = 5000;
constexpr std::size_t kMaxText = 200;

/// The file is not what it should be: it is to be set aside.
struct Damaged {
  std::string why;
};

struct CloseDatabase {
  void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

[[noreturn]] void fail(sqlite3* database, int code) {
  const std::string why = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  const int primary = code & 0xFF;
  // SQLITE_ERROR: a statement of ours does not fit the tables that are there.
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_ERROR ||
      primary == SQLITE_TOOBIG)
    throw Damaged{why};
  throw Error("cannot use the store of measurements: " + printable(why),
              "check the file's permissions and the disk's free space");
}

/// A prepared statement: bind in order, step, read columns in order.
class Statement {
 public:
  Statement(sqlite3* database, const char* text) : database_(database) {
    const int code = sqlite3_prepare_v2(database, text, -1, &statement_, nullptr);
    if (code != SQLITE_OK) fail(database, code);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  Statement& bind(std::int64_t value) {
    return check(sqlite3_bind_int64(statement_, ++bound_, value));
  }
  Statement& bind(const std::string& text) {
    const std::size_t size = std::min(text.size(), kMaxText);
    return check(sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(size),
                                   SQLITE_TRANSIENT));
  }
  Statement& bind(const std::optional<double>& value) {
    ++bound_;
    return check(value.has_value() ? sqlite3_bind_double(statement_, bound_, *value)
                                   : sqlite3_bind_null(statement_, bound_));
  }
  /// False at the end.
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(database_, code);
    column_ = 0;
    return code == SQLITE_ROW;
  }
  std::int64_t integer() { return sqlite3_column_int64(statement_, column_++); }
  std::uint64_t natural() {
    const std::int64_t value = integer();
    return value > 0 ? static_cast<std::uint64_t>(value) : 0;
  }
  std::string text() {
    const auto* bytes =
        reinterpret_cast<const char*>(sqlite3_column_text(statement_, column_));  // its own type
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_));
    ++column_;
    return bytes == nullptr ? std::string() : std::string(bytes, std::min(size, kMaxText));
  }
  /// A speed: nothing unless it is a positive number.
  std::optional<double> speed() {
    const double value = sqlite3_column_double(statement_, column_++);
    if (!std::isfinite(value) || value <= 0) return std::nullopt;
    return value;
  }

 private:
  Statement& check(int code) {
    if (code != SQLITE_OK) fail(database_, code);
    return *this;
  }

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0, column_ = 0;
};

void execute(sqlite3* database, const char* statements) {
  const int code = sqlite3_exec(database, statements, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(database, code);
}

std::int64_t number(sqlite3* database, const char* query) {
  Statement statement(database, query);
  return statement.step() ? statement.integer() : 0;
}

/// Undone unless committed.
class Transaction {
 public:
  explicit Transaction(sqlite3* database) : database_(database) {
    execute(database, "BEGIN IMMEDIATE");
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (database_ != nullptr) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  void commit() {
    execute(database_, "COMMIT");
    database_ = nullptr;
  }

 private:
  sqlite3* database_;
};

/// What leads from version i to version i + 1.
constexpr const char* kMigrations[MeasurementStore::kSchemaVersion] = {
    "CREATE TABLE measurements ("
    " id INTEGER PRIMARY KEY, taken_at INTEGER NOT NULL, machine TEXT NOT NULL,"
    " version TEXT NOT NULL, model TEXT NOT NULL, architecture TEXT NOT NULL,"
    " parameters INTEGER NOT NULL, type TEXT NOT NULL, file_bytes INTEGER NOT NULL,"
    " threads INTEGER NOT NULL, kv_type TEXT NOT NULL, context INTEGER NOT NULL,"
    " depth INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,"
    " generated_tokens INTEGER NOT NULL, prefill_tps REAL, decode_tps REAL,"
    " read_bytes_per_second REAL, source TEXT NOT NULL);",
    "ALTER TABLE measurements ADD COLUMN exact INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE measurements ADD COLUMN mapped INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE measurements ADD COLUMN expected_prefill_tps REAL;"
    "ALTER TABLE measurements ADD COLUMN expected_decode_tps REAL;"
    "CREATE INDEX measurements_by_machine ON measurements (machine, id);",
};

constexpr const char* kColumns =
    "taken_at, machine, version, model, architecture, parameters, type, file_bytes, threads, "
    "kv_type, context, depth, prompt_tokens, generated_tokens, prefill_tps, decode_tps, "
    "read_bytes_per_second, source, exact, mapped, expected_prefill_tps, expected_decode_tps";

/// Settings that keep a file made by somebody else from doing more than holding rows.
void restrict(sqlite3* database) {
  sqlite3_busy_timeout(database, kPatienceMilliseconds);
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_limit(database, SQLITE_LIMIT_LENGTH, 1 << 20);
}

void check_whole(sqlite3* database) {
  Statement statement(database, "PRAGMA quick_check(1)");
  const std::string verdict = statement.step() ? statement.text() : std::string("no answer");
  if (verdict != "ok") throw Damaged{verdict};
}

/// Brings the tables to kSchemaVersion.
void migrate(sqlite3* database, const fs::path& path) {
  const std::int64_t version = number(database, "PRAGMA user_version");
  if (version > MeasurementStore::kSchemaVersion) {
    throw Error(fmt::format("the measurements in '{}' were written by a newer Hearth",
                            printable(path.string(), 300)),
                "use that one, or move the file away");
  }
  if (version < 0) throw Damaged{"its version is negative"};
  if (version > 0 && number(database, "PRAGMA application_id") != kApplicationId)
    throw Damaged{"it is a database of another program"};
  if (version == MeasurementStore::kSchemaVersion) return;
  Transaction transaction(database);
  if (version == 0 && number(database, "SELECT count(*) FROM sqlite_master") > 0)
    throw Damaged{"it is a database of another program"};
  for (std::int64_t step = version; step < MeasurementStore::kSchemaVersion; ++step)
    execute(database, kMigrations[step]);
  execute(database, fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                                kApplicationId, MeasurementStore::kSchemaVersion)
                        .c_str());
  transaction.commit();
}

/// Makes an empty file that only its owner can read, where there is none; SQLite gives its journals
/// the same permissions.
void touch_privately(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    throw Error(
        fmt::format("cannot open '{}': {}", printable(path.string(), 300), std::strerror(errno)),
        "check the permissions of the file and its folder");
  }
  struct stat facts {};
  const bool known = fstat(file, &facts) == 0;
  // A store that was copied from elsewhere may be open to others; ours alone is changed.
  if (known && S_ISREG(facts.st_mode) && (facts.st_mode & 077) != 0 && facts.st_uid == geteuid())
    (void)fchmod(file, 0600);
  close(file);
  if (!known || !S_ISREG(facts.st_mode)) {
    throw Error(fmt::format("'{}' is not a file", printable(path.string(), 300)),
                "move it away: measurements are kept there");
  }
  if (static_cast<std::uintmax_t>(facts.st_size) > kMaxFileBytes) throw Damaged{"it is too large"};
}

Database attach(const fs::path& path) {
  touch_privately(path);
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) fail(raw, code);
  restrict(raw);
  check_whole(raw);
  migrate(raw, path);
  // Every column is there, whatever the version says.
  (void)Statement(raw, fmt::format("SELECT {} FROM measurements", kColumns).c_str());
  return database;
}

Database attach_or_begin_anew(const fs::path& path, const MeasurementStore::Warn& warn) {
  try {
    return attach(path);
  } catch (const Damaged& damage) {
    const fs::path kept = set_aside(path);
    // Its journal would be played into the new file.
    for (const char* suffix : {"-journal", "-wal", "-shm"}) {
      fs::path companion = path;
      companion += suffix;
      std::error_code ignored;
      fs::path target = kept;
      target += suffix;
      if (fs::exists(companion, ignored)) fs::rename(companion, target, ignored);
    }
    if (warn) {
      warn(fmt::format("the measurements in '{}' cannot be read ({}); they were set aside as '{}'",
                       printable(path.string(), 300), printable(damage.why),
                       printable(kept.filename().string(), 300)));
    }
  }
  return attach(path);
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same on every machine and in every version.
std::uint64_t hash(const std::string& text) {
  std::uint64_t value = 0xCBF29CE484222325U;
  for (const char byte : text) {
    value ^= static_cast<unsigned char>(byte);
    value *= 0x100000001B3U;
  }
  return value;
}

}  // namespace

std::string machine_fingerprint(const std::string& cpu_name, int cores, std::uint64_t memory_bytes,
                                const std::string& kernels) {
  constexpr std::uint64_t kGibibyte = std::uint64_t{1} << 30;
  return fmt::format("{:016x}",
                     hash(fmt::format("{}\n{}\n{}\n{}", cpu_name, cores,
                                      (memory_bytes + kGibibyte / 2) / kGibibyte, kernels)));
}

struct MeasurementStore::Impl {
  Database database;
};

MeasurementStore::MeasurementStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MeasurementStore::MeasurementStore(MeasurementStore&&) noexcept = default;
MeasurementStore& MeasurementStore::operator=(MeasurementStore&&) noexcept = default;
MeasurementStore::~MeasurementStore() = default;

MeasurementStore MeasurementStore::open(const fs::path& path, const Warn& warn) {
  std::error_code problem;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), problem);
  fs::path lock_path = path;
  lock_path += ".lock";
  try {
    // One at a time: else a process could set aside what another has just begun anew.
    const FileLock lock =
        FileLock::take_within(lock_path, std::chrono::milliseconds(kPatienceMilliseconds));
    return MeasurementStore(std::make_unique<Impl>(Impl{attach_or_begin_anew(path, warn)}));
  } catch (const Damaged& damage) {  // of the new one, too
    throw Error("cannot make a store of measurements: " + printable(damage.why), "check the disk");
  }
}

std::optional<MeasurementStore> MeasurementStore::open_existing(const fs::path& path,
                                                                const Warn& warn) {
  std::error_code problem;
  if (!fs::exists(path, problem)) return std::nullopt;
  return open(path, warn);
}

namespace {

/// What goes wrong in a store that was whole when it was opened: told, and set aside by the next
/// open().
template <class Work>
auto reported(Work work) {
  try {
    return work();
  } catch (const Damaged& damage) {
    throw Error("the store of measurements was damaged: " + printable(damage.why),
                "the next command sets it aside");
  }
}

Measurement read_row(Statement& statement) {
  Measurement row;
  row.taken_at = statement.integer();
  row.machine = statement.text();
  row.version = statement.text();
  row.model.name = statement.text();
  row.model.architecture = statement.text();
  row.model.parameters = statement.natural();
  row.model.type = statement.text();
  row.model.file_bytes = statement.natural();
  row.threads = static_cast<int>(std::min<std::uint64_t>(statement.natural(), 1 << 20));
  row.kv_type = statement.text();
  row.context = static_cast<std::int64_t>(statement.natural());
  row.depth = static_cast<std::int64_t>(statement.natural());
  row.prompt_tokens = static_cast<std::int64_t>(statement.natural());
  row.generated_tokens = static_cast<std::int64_t>(statement.natural());
  row.prefill_tps = statement.speed();
  row.decode_tps = statement.speed();
  row.read_bytes_per_second = statement.speed();
  row.source = statement.text();
  row.exact = statement.integer() != 0;
  row.mapped = statement.integer() != 0;
  row.expected_prefill_tps = statement.speed();
  row.expected_decode_tps = statement.speed();
  return row;
}

}  // namespace

void MeasurementStore::add(const Measurement& row) {
  sqlite3* const database = impl_->database.get();
  reported([&] {
    Transaction transaction(database);
    Statement insert(database, fmt::format("INSERT INTO measurements ({}) VALUES "
                                           "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                                           kColumns)
                                   .c_str());
    insert.bind(row.taken_at).bind(row.machine).bind(row.version).bind(row.model.name);
    insert.bind(row.model.architecture)
        .bind(static_cast<std::int64_t>(row.model.parameters))
        .bind(row.model.type)
        .bind(static_cast<std::int64_t>(row.model.file_bytes));
    insert.bind(static_cast<std::int64_t>(row.threads)).bind(row.kv_type).bind(row.context);
    insert.bind(row.depth).bind(row.prompt_tokens).bind(row.generated_tokens);
    insert.bind(row.prefill_tps).bind(row.decode_tps).bind(row.read_bytes_per_second);
    insert.bind(row.source).bind(static_cast<std::int64_t>(row.exact));
    insert.bind(static_cast<std::int64_t>(row.mapped));
    insert.bind(row.expected_prefill_tps).bind(row.expected_decode_tps);
    (void)insert.step();
    Statement remove(database, "DELETE FROM measurements WHERE id <= ?");
    remove.bind(sqlite3_last_insert_rowid(database) - kMaxRows);
    (void)remove.step();
    transaction.commit();
  });
}

std::vector<Measurement> MeasurementStore::find(const MeasurementQuery& query) const {
  return reported([&] {
    std::vector<Measurement> rows;
    Statement select(impl_->database.get(),
                     fmt::format("SELECT {} FROM measurements WHERE machine = ? "
                                 "ORDER BY id DESC LIMIT ?",
                                 kColumns)
                         .c_str());
    select.bind(query.machine).bind(static_cast<std::int64_t>(query.limit));
    while (select.step()) rows.push_back(read_row(select));
    return rows;
  });
}

std::int64_t MeasurementStore::size() const {
  return reported(
      [&] { return number(impl_->database.get(), "SELECT count(*) FROM measurements"); });
}

}  // namespace hearth::measure
