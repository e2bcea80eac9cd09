// A small SQLite file of ours: private to its owner, versioned, set aside when it is damaged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace hearth::measure {

/// What makes a file one of its kind.
struct DatabaseKind {
  const char* what = "";   ///< for messages: "measurements"
  int application_id = 0;  ///< says that an SQLite file is ours
  /// What leads from version i to version i + 1, as SQL; the last one's end is the version of
  /// today.
  std::span<const char* const> migrations;
  const char* check = "";  ///< a query that every whole file of today's version can answer
  std::uintmax_t max_file_bytes = 0;
  int max_value_bytes = 1 << 20;  ///< of one text
  bool erases = false;            ///< what is deleted is overwritten
};

/// The file is not what it should be: see reported().
struct DamagedDatabase {
  std::string why;
};

class PrivateDatabase {
 public:
  /// Told, in one sentence, that a file was set aside. May be empty.
  using Warn = std::function<void(const std::string&)>;

  /// Opens the file, making it (and its folder) if need be, readable by its owner only. A file of
  /// another kind, or a damaged one, is renamed ("….bad-…"), told to `warn`, and a new one begun.
  /// Throws Error, and changes nothing, when a newer Hearth wrote it or the file cannot be used.
  /// Any number of processes may open it at once. `kind` must outlive it.
  [[nodiscard]] static PrivateDatabase open(const std::filesystem::path& path,
                                            const DatabaseKind& kind, const Warn& warn);

  PrivateDatabase(PrivateDatabase&&) noexcept = default;
  PrivateDatabase& operator=(PrivateDatabase&&) noexcept = default;

  /// Statements without parameters. Throws Error or DamagedDatabase.
  void execute(const char* statements) const;
  /// The first column of the first row; 0 without one.
  [[nodiscard]] std::int64_t number(const char* query) const;
  [[nodiscard]] std::int64_t last_row() const;
  /// Rows that the last statement changed.
  [[nodiscard]] std::int64_t changes() const;
  [[nodiscard]] const DatabaseKind& kind() const { return *kind_; }

  /// Runs `work`; a DamagedDatabase in it (a file that was whole when it was opened) becomes an
  /// Error, and the next open() sets the file aside.
  template <class Work>
  auto reported(Work work) const {
    try {
      return work();
    } catch (const DamagedDatabase& damage) {
      throw_damaged(damage);
    }
  }

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };

  explicit PrivateDatabase(const DatabaseKind& kind) : kind_(&kind) {}
  static PrivateDatabase attach(const std::filesystem::path& path, const DatabaseKind& kind);
  static PrivateDatabase attach_or_begin_anew(const std::filesystem::path& path,
                                              const DatabaseKind& kind, const Warn& warn);
  void restrict_to_rows() const;
  void check_whole() const;
  void migrate(const std::filesystem::path& path) const;
  [[noreturn]] void fail(int code) const;
  [[noreturn]] void throw_damaged(const DamagedDatabase& damage) const;

  const DatabaseKind* kind_;
  std::unique_ptr<sqlite3, Close> database_;
};

/// A prepared statement: bind in order, step, read columns in order. Throws Error or
/// DamagedDatabase.
class Statement {
 public:
  Statement(const PrivateDatabase& database, const char* text);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& bind(std::int64_t value);
  /// Cut to `limit` bytes.
  Statement& bind(std::string_view text, std::size_t limit);
  Statement& bind(const std::optional<double>& value);
  /// False at the end.
  bool step();
  std::int64_t integer();
  /// 0 for negative ones.
  std::uint64_t natural();
  /// Cut to `limit` bytes.
  std::string text(std::size_t limit);
  /// Nothing unless it is a positive number.
  std::optional<double> positive();

 private:
  Statement& check(int code);

  const PrivateDatabase& database_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0, column_ = 0;
};

/// Undone unless committed.
class Transaction {
 public:
  explicit Transaction(const PrivateDatabase& database);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  const PrivateDatabase* database_;
};

}  // namespace hearth::measure
