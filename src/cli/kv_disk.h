// --kv-disk: where the memories of conversations are kept between runs, if anywhere, and what has
// no room in the memory that --kv-budget allows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace hearth::state {
class StoreKey;
}

namespace hearth::cli {

struct KvDisk {
  std::filesystem::path folder;  ///< empty: nothing is kept
  std::uint64_t bytes = 0;
};

/// Where it is unless a folder is named: kv in the cache folder.
[[nodiscard]] std::filesystem::path default_kv_folder();

/// "off", "on" (the default folder, 8 GB), DIR, SIZE or DIR:SIZE; sizes are numbers with k, M, G or
/// T, in powers of ten. Throws Error (exit code 2).
[[nodiscard]] KvDisk parse_kv_disk(std::string_view value);
/// The key in a file; null for an empty name.
[[nodiscard]] std::shared_ptr<const state::StoreKey> read_kv_key(const std::string& file);
/// --kv-budget: a size, or "off" (0). Throws Error (exit code 2).
[[nodiscard]] std::uint64_t parse_kv_budget(std::string_view value);
/// As it could be given.
[[nodiscard]] std::string show_kv_disk(const KvDisk& disk);

}  // namespace hearth::cli
