#include "measure/private_database.h"

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

constexpr int kPatienceMilliseconds = 5000;
/// Checking a file reads all of it; damage in larger ones is seen where it is met.
constexpr std::int64_t kMaxCheckedBytes = std::int64_t{256} << 20;

/// Makes an empty file that only its owner can read, where there is none; SQLite gives its journals
/// the same permissions.
void touch_privately(const fs::path& path, const DatabaseKind& kind) {
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
                fmt::format("move it away: {} are kept there", kind.what));
  }
  if (static_cast<std::uintmax_t>(facts.st_size) > kind.max_file_bytes)
    throw DamagedDatabase{"it is too large"};
}

}  // namespace

void PrivateDatabase::Close::operator()(sqlite3* database) const noexcept {
  sqlite3_close_v2(database);
}

void PrivateDatabase::fail(int code) const {
  sqlite3* const database = database_.get();
  const std::string why = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  const int primary = code & 0xFF;
  // SQLITE_ERROR: a statement of ours does not fit the tables that are there.
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_ERROR ||
      primary == SQLITE_TOOBIG)
    throw DamagedDatabase{why};
  throw Error(fmt::format("cannot use the store of {}: {}", kind_->what, printable(why)),
              "check the file's permissions and the disk's free space");
}

void PrivateDatabase::throw_damaged(const DamagedDatabase& damage) const {
  throw Error(fmt::format("the store of {} was damaged: {}", kind_->what, printable(damage.why)),
              "the next command sets it aside");
}

void PrivateDatabase::execute(const char* statements) const {
  const int code = sqlite3_exec(database_.get(), statements, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

std::int64_t PrivateDatabase::number(const char* query) const {
  Statement statement(*this, query);
  return statement.step() ? statement.integer() : 0;
}

std::int64_t PrivateDatabase::last_row() const {
  return sqlite3_last_insert_rowid(database_.get());
}

std::int64_t PrivateDatabase::changes() const { return sqlite3_changes(database_.get()); }

/// Settings that keep a file made by somebody else from doing more than holding rows.
void PrivateDatabase::restrict_to_rows() const {
  sqlite3* const database = database_.get();
  sqlite3_busy_timeout(database, kPatienceMilliseconds);
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_limit(database, SQLITE_LIMIT_LENGTH, kind_->max_value_bytes);
  if (kind_->erases) execute("PRAGMA secure_delete = ON");
}

void PrivateDatabase::check_whole() const {
  if (number("PRAGMA page_count") * number("PRAGMA page_size") > kMaxCheckedBytes) return;
  Statement statement(*this, "PRAGMA quick_check(1)");
  const std::string verdict = statement.step() ? statement.text(200) : std::string("no answer");
  if (verdict != "ok") throw DamagedDatabase{verdict};
}

/// Brings the tables to the version of today.
void PrivateDatabase::migrate(const fs::path& path) const {
  const auto today = static_cast<std::int64_t>(kind_->migrations.size());
  const std::int64_t version = number("PRAGMA user_version");
  if (version > today) {
    throw Error(fmt::format("the {} in '{}' were written by a newer Hearth", kind_->what,
                            printable(path.string(), 300)),
                "use that one, or move the file away");
  }
  if (version < 0) throw DamagedDatabase{"its version is negative"};
  if (version > 0 && number("PRAGMA application_id") != kind_->application_id)
    throw DamagedDatabase{"it is a database of another program"};
  if (version == today) return;
  Transaction transaction(*this);
  if (version == 0 && number("SELECT count(*) FROM sqlite_master") > 0)
    throw DamagedDatabase{"it is a database of another program"};
  for (std::int64_t step = version; step < today; ++step)
    execute(kind_->migrations[static_cast<std::size_t>(step)]);
  execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kind_->application_id,
                      today)
              .c_str());
  transaction.commit();
}

PrivateDatabase PrivateDatabase::attach(const fs::path& path, const DatabaseKind& kind) {
  touch_privately(path, kind);
  PrivateDatabase result(kind);
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  result.database_.reset(raw);
  if (code != SQLITE_OK) result.fail(code);
  result.restrict_to_rows();
  result.check_whole();
  result.migrate(path);
  (void)Statement(result, kind.check);
  return result;
}

PrivateDatabase PrivateDatabase::attach_or_begin_anew(const fs::path& path,
                                                      const DatabaseKind& kind, const Warn& warn) {
  try {
    return attach(path, kind);
  } catch (const DamagedDatabase& damage) {
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
      warn(fmt::format("the {} in '{}' cannot be read ({}); they were set aside as '{}'", kind.what,
                       printable(path.string(), 300), printable(damage.why),
                       printable(kept.filename().string(), 300)));
    }
  }
  return attach(path, kind);
}

PrivateDatabase PrivateDatabase::open(const fs::path& path, const DatabaseKind& kind,
                                      const Warn& warn) {
  std::error_code problem;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), problem);
  fs::path lock_path = path;
  lock_path += ".lock";
  try {
    // One at a time: else a process could set aside what another has just begun anew.
    const FileLock lock =
        FileLock::take_within(lock_path, std::chrono::milliseconds(kPatienceMilliseconds));
    return attach_or_begin_anew(path, kind, warn);
  } catch (const DamagedDatabase& damage) {  // of the new one, too
    throw Error(fmt::format("cannot make a store of {}: {}", kind.what, printable(damage.why)),
                "check the disk");
  }
}

Statement::Statement(const PrivateDatabase& database, const char* text) : database_(database) {
  const int code = sqlite3_prepare_v2(database.database_.get(), text, -1, &statement_, nullptr);
  if (code != SQLITE_OK) database.fail(code);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(std::int64_t value) {
  return check(sqlite3_bind_int64(statement_, ++bound_, value));
}

Statement& Statement::bind(std::string_view text, std::size_t limit) {
  const std::size_t size = std::min(text.size(), limit);
  // A null pointer would be NULL, not an empty text.
  return check(sqlite3_bind_text64(statement_, ++bound_, size == 0 ? "" : text.data(), size,
                                   SQLITE_TRANSIENT, SQLITE_UTF8));
}

Statement& Statement::bind(const std::optional<double>& value) {
  ++bound_;
  return check(value.has_value() ? sqlite3_bind_double(statement_, bound_, *value)
                                 : sqlite3_bind_null(statement_, bound_));
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) database_.fail(code);
  column_ = 0;
  return code == SQLITE_ROW;
}

std::int64_t Statement::integer() { return sqlite3_column_int64(statement_, column_++); }

std::uint64_t Statement::natural() {
  const std::int64_t value = integer();
  return value > 0 ? static_cast<std::uint64_t>(value) : 0;
}

std::string Statement::text(std::size_t limit) {
  const auto* bytes =
      reinterpret_cast<const char*>(sqlite3_column_text(statement_, column_));  // its own type
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_));
  ++column_;
  return bytes == nullptr ? std::string() : std::string(bytes, std::min(size, limit));
}

std::optional<double> Statement::positive() {
  const double value = sqlite3_column_double(statement_, column_++);
  if (!std::isfinite(value) || value <= 0) return std::nullopt;
  return value;
}

Statement& Statement::check(int code) {
  if (code != SQLITE_OK) database_.fail(code);
  return *this;
}

Transaction::Transaction(const PrivateDatabase& database) : database_(&database) {
  database.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  try {
    database_->execute("ROLLBACK");
  } catch (...) {  // SQLite has rolled back already: the reason for being here
  }
}

void Transaction::commit() {
  database_->execute("COMMIT");
  database_ = nullptr;
}

}  // namespace hearth::measure
