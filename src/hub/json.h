// Reading small JSON files of which nothing is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hearth::hub {

using Json = nlohmann::json;

/// The object that `text` holds. Throws Error "SOURCE is no …" when it is not
/// one, is nested deeper than 16, holds more than two million values, or is not UTF-8.
[[nodiscard]] Json parse_object(std::string_view text, std::string_view source);

/// The same for an array.
[[nodiscard]] Json parse_array(std::string_view text, std::string_view source);

/// Members of `object`; the fallback when absent or of another type. What must be there is checked
/// by the caller.
[[nodiscard]] std::string string_or(const Json& object, const char* key, std::string fallback = {});
[[nodiscard]] std::uint64_t number_or(const Json& object, const char* key, std::uint64_t fallback);

/// Text of `json` for a file; never throws because of bytes that are not UTF-8.
[[nodiscard]] std::string dump(const Json& json);

}  // namespace hearth::hub
