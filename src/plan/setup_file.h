// Setups that were chosen, saved as JSON that people can read and change.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "spec/setup.h"

namespace hearth::plan {

/// What was promised when the setup was chosen; 0: nothing was.
struct Expectation {
  double decode_tps = 0, prefill_tps = 0;  // tokens per second with an empty context
  double first_token_seconds = 0, load_seconds = 0;
  double memory_bytes = 0;
  bool operator==(const Expectation&) const = default;
};

struct SavedSetup {
  static constexpr int kVersion = 1;

  spec::Setup setup;
  /// A file with the key for what is kept in setup.spill_folder; empty: none. Both are only saved
  /// with a kv_budget, which needs the folder.
  std::string kv_disk_key;
  std::string name;          // of the model, for people
  std::string quant;         // "Q4_K_M"
  std::string use = "chat";  // what it was chosen for
  std::string why;           // in a sentence
  std::string machine;       // measure::machine_fingerprint() of where it was chosen
  std::int64_t saved_at = 0;
  Expectation expected;
};

/// FOLDER/setups/NAME.json. Throws Error (exit code 2) for a name that is not one to forty of
/// a-z, 0-9, '-', '_' and '.', beginning with a letter or digit.
[[nodiscard]] std::filesystem::path setup_path(const std::filesystem::path& config_folder,
                                               std::string_view name);

/// The file's text. Throws Error when the model's path is not UTF-8.
[[nodiscard]] std::string write_setup(const SavedSetup& saved);
/// Reads what write_setup wrote, at most 64 KiB; members may be left out but for the version and
/// the model. Throws Error saying what is wrong: not JSON, an unknown member, a value out of its
/// range.
[[nodiscard]] SavedSetup read_setup(std::string_view text);

/// Writes the file atomically, making its folder. Throws Error.
void save_setup(const std::filesystem::path& path, const SavedSetup& saved);
/// Nothing when there is no such file, or when it is malformed: then it was renamed ("….bad-…") and
/// `warn` told in one sentence. Throws Error when it cannot be read, or a newer Hearth wrote it.
[[nodiscard]] std::optional<SavedSetup> load_setup(
    const std::filesystem::path& path, const std::function<void(const std::string&)>& warn);

}  // namespace hearth::plan
