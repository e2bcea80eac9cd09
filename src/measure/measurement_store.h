// What models really did on this computer: one row per benchmark and per real answer, in an SQLite
// file. Rows hold no paths, no names of people or computers, and nothing that was said.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "measure/model_identity.h"
#include "measure/private_database.h"

namespace hearth::measure {

/// Sixteen hexadecimal digits made of the processor's name, the cores that may be used, the memory
/// in whole GiB and the kernel level: what speeds depend on, and nothing that tells two computers
/// of one kind apart.
[[nodiscard]] std::string machine_fingerprint(const std::string& cpu_name, int cores,
                                              std::uint64_t memory_bytes,
                                              const std::string& kernels);

struct Measurement {
  std::int64_t taken_at = 0;  // seconds since 1970
  std::string machine;        // machine_fingerprint()
  std::string version;        // of Hearth
  ModelIdentity model;
  int threads = 0;
  std::string kv_type;  // "F16"
  std::int64_t context = 0;
  std::int64_t depth = 0;  // tokens that were in the context before
  std::int64_t prompt_tokens = 0, generated_tokens = 0;
  /// Tokens per second of one sequence; nothing when it was not measured, or on too few tokens.
  std::optional<double> prefill_tps, decode_tps;
  std::optional<double> read_bytes_per_second;  // of main memory, measured at the same time
  std::string source;                           // "bench" or "run"
  bool exact = false, mapped = false;
  /// What was expected before, not corrected by earlier rows.
  std::optional<double> expected_prefill_tps, expected_decode_tps;
};

/// Rows of one machine, newest first.
struct MeasurementQuery {
  std::string machine;
  std::size_t limit = 1000;
};

class MeasurementStore {
 public:
  static constexpr int kSchemaVersion = 2;
  static constexpr std::int64_t kMaxRows = 10'000;
  /// Told, in one sentence, that a file was set aside. May be empty.
  using Warn = std::function<void(const std::string&)>;

  /// Opens the store, making it (and its folder) if need be, readable by its owner only. A file
  /// that is no store of measurements, or a damaged one, is renamed ("….bad-…"), told to `warn`,
  /// and a new one begun. Throws Error, and changes nothing, when a newer Hearth wrote it or the
  /// file cannot be used. Any number of processes may open it at once.
  [[nodiscard]] static MeasurementStore open(const std::filesystem::path& path, const Warn& warn);
  /// The same, but nothing when there is no such file.
  [[nodiscard]] static std::optional<MeasurementStore> open_existing(
      const std::filesystem::path& path, const Warn& warn);

  /// Adds a row; the oldest beyond kMaxRows are removed. Throws Error.
  void add(const Measurement& row);
  [[nodiscard]] std::vector<Measurement> find(const MeasurementQuery& query) const;
  [[nodiscard]] std::int64_t size() const;

 private:
  explicit MeasurementStore(PrivateDatabase database) : database_(std::move(database)) {}

  PrivateDatabase database_;
};

}  // namespace hearth::measure
