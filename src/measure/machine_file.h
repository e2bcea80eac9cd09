// A machine as a JSON file: what `hearth probe --json` prints, its cache holds and `hearth plan
// --machine` reads. The schema is in docs/cli.md, "hearth probe".
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "machine/machine.h"

namespace hearth::measure {

/// The number at "version": raised when a file of today would no longer be understood.
inline constexpr int kMachineFileVersion = 1;
inline constexpr std::size_t kMaxMachineFileBytes = std::size_t{1} << 20;

/// Speeds are in GB/s (10^9 bytes), 10^9 multiply-adds per second and 10^12 operations per second;
/// sizes in bytes.
[[nodiscard]] nlohmann::ordered_json machine_json(const machine::Machine& machine);
/// The same as text, indented, with a newline at its end. Text that is not UTF-8 is replaced.
[[nodiscard]] std::string machine_text(const machine::Machine& machine);

/// Reads what machine_text() wrote, or a person: every key but "version" may be absent, and then
/// keeps the default of machine::Machine. `source` is for messages. Throws Error with one sentence
/// naming what is wrong: no JSON, an unknown key, a wrong type, a number out of its range, a
/// version of the future.
[[nodiscard]] machine::Machine parse_machine(std::string_view text, std::string_view source);

/// parse_machine() of a file of at most kMaxMachineFileBytes. Throws Error.
[[nodiscard]] machine::Machine read_machine_file(const std::filesystem::path& path);

}  // namespace hearth::measure
