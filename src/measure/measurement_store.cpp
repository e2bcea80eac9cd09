#include "measure/measurement_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace hearth::measure {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxText = 200;

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

/// "HRTM".
constexpr int kApplicationId = 0x4852544D;

const DatabaseKind& kind() {
  static const std::string check = fmt::format("SELECT {} FROM measurements", kColumns);
  static const DatabaseKind kind{.what = "measurements",
                                 .application_id = kApplicationId,
                                 .migrations = kMigrations,
                                 .check = check.c_str(),
                                 // Ten thousand rows take about 2 MB.
                                 .max_file_bytes = std::uintmax_t{64} << 20};
  return kind;
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

MeasurementStore MeasurementStore::open(const fs::path& path, const Warn& warn) {
  return MeasurementStore(PrivateDatabase::open(path, kind(), warn));
}

std::optional<MeasurementStore> MeasurementStore::open_existing(const fs::path& path,
                                                                const Warn& warn) {
  std::error_code problem;
  if (!fs::exists(path, problem)) return std::nullopt;
  return open(path, warn);
}

namespace {

Measurement read_row(Statement& statement) {
  Measurement row;
  row.taken_at = statement.integer();
  row.machine = statement.text(kMaxText);
  row.version = statement.text(kMaxText);
  row.model.name = statement.text(kMaxText);
  row.model.architecture = statement.text(kMaxText);
  row.model.parameters = statement.natural();
  row.model.type = statement.text(kMaxText);
  row.model.file_bytes = statement.natural();
  row.threads = static_cast<int>(std::min<std::uint64_t>(statement.natural(), 1 << 20));
  row.kv_type = statement.text(kMaxText);
  row.context = static_cast<std::int64_t>(statement.natural());
  row.depth = static_cast<std::int64_t>(statement.natural());
  row.prompt_tokens = static_cast<std::int64_t>(statement.natural());
  row.generated_tokens = static_cast<std::int64_t>(statement.natural());
  row.prefill_tps = statement.positive();
  row.decode_tps = statement.positive();
  row.read_bytes_per_second = statement.positive();
  row.source = statement.text(kMaxText);
  row.exact = statement.integer() != 0;
  row.mapped = statement.integer() != 0;
  row.expected_prefill_tps = statement.positive();
  row.expected_decode_tps = statement.positive();
  return row;
}

}  // namespace

void MeasurementStore::add(const Measurement& row) {
  database_.reported([&] {
    Transaction transaction(database_);
    Statement insert(database_, fmt::format("INSERT INTO measurements ({}) VALUES "
                                            "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                                            kColumns)
                                    .c_str());
    insert.bind(row.taken_at)
        .bind(row.machine, kMaxText)
        .bind(row.version, kMaxText)
        .bind(row.model.name, kMaxText);
    insert.bind(row.model.architecture, kMaxText)
        .bind(static_cast<std::int64_t>(row.model.parameters))
        .bind(row.model.type, kMaxText)
        .bind(static_cast<std::int64_t>(row.model.file_bytes));
    insert.bind(static_cast<std::int64_t>(row.threads))
        .bind(row.kv_type, kMaxText)
        .bind(row.context);
    insert.bind(row.depth).bind(row.prompt_tokens).bind(row.generated_tokens);
    insert.bind(row.prefill_tps).bind(row.decode_tps).bind(row.read_bytes_per_second);
    insert.bind(row.source, kMaxText).bind(static_cast<std::int64_t>(row.exact));
    insert.bind(static_cast<std::int64_t>(row.mapped));
    insert.bind(row.expected_prefill_tps).bind(row.expected_decode_tps);
    (void)insert.step();
    Statement remove(database_, "DELETE FROM measurements WHERE id <= ?");
    remove.bind(database_.last_row() - kMaxRows);
    (void)remove.step();
    transaction.commit();
  });
}

std::vector<Measurement> MeasurementStore::find(const MeasurementQuery& query) const {
  return database_.reported([&] {
    std::vector<Measurement> rows;
    Statement select(database_, fmt::format("SELECT {} FROM measurements WHERE machine = ? "
                                            "ORDER BY id DESC LIMIT ?",
                                            kColumns)
                                    .c_str());
    select.bind(query.machine, kMaxText).bind(static_cast<std::int64_t>(query.limit));
    while (select.step()) rows.push_back(read_row(select));
    return rows;
  });
}

std::int64_t MeasurementStore::size() const {
  return database_.reported([&] { return database_.number("SELECT count(*) FROM measurements"); });
}

}  // namespace hearth::measure
