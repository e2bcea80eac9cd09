// Split models (reference/gguf.md section 1.5): the split.* keys and the names of the parts.
// Internal to the room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "gguf/file.h"

namespace hearth::gguf {

constexpr std::uint64_t kMaxSplitParts = 65535;  // split.count is a u16

/// The split.* keys of one part. A file that is not split has number 0 and count 1.
struct SplitKeys {
  std::uint32_t number = 0;  // of this part, from 0
  std::uint32_t count = 1;
  std::optional<std::uint64_t> tensors;  // of all parts together
};

/// `PREFIX-00001-of-00003.gguf` taken apart.
struct SplitName {
  std::filesystem::path folder;
  std::string prefix;
};

/// The split keys of a part, checked by themselves. Throws Error naming `file` when they make no
/// sense.
[[nodiscard]] SplitKeys read_split_keys(const Metadata& metadata, const std::string& file);

/// Throws Error when `path` is not named as part `split.number` of `split.count` parts.
[[nodiscard]] SplitName parse_split_name(const std::filesystem::path& path, const SplitKeys& split);

/// Where part `number` (from 0) of `count` lies.
[[nodiscard]] std::filesystem::path split_part_path(const SplitName& name, std::uint32_t number,
                                                    std::uint32_t count);

/// split_part_path of a file that exists; throws Error naming the missing part otherwise.
[[nodiscard]] std::filesystem::path existing_split_part(const SplitName& name, std::uint32_t number,
                                                        std::uint32_t count);

/// Throws Error naming `file` unless `part` says that it is part `number` of the split `whole`.
void check_split_part(const SplitKeys& part, std::uint32_t number, const SplitKeys& whole,
                      const std::string& file);

}  // namespace hearth::gguf
