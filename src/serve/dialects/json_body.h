// Reading JSON that a stranger sent: bounded in depth and size, whatever it says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_request.h"
#include "support/json_limits.h"

namespace hearth::serve {

/// The JSON text `body`, any value. Escaped lone surrogates ("\ud800") become U+FFFD. Throws
/// RequestError (400) when it is empty, not JSON, not UTF-8, or exceeds the limits.
[[nodiscard]] Json parse_json(std::string_view body, const JsonLimits& limits = {});

/// The same, and it must be an object.
[[nodiscard]] Json parse_object(std::string_view body, const JsonLimits& limits = {});

// Members of an object. Null counts as absent. A member of another type throws RequestError: call
// check_body() first, which names the whole path.

/// Null pointer when absent.
[[nodiscard]] const Json* find_member(const Json& object, const char* name);
[[nodiscard]] std::optional<bool> bool_member(const Json& object, const char* name);
[[nodiscard]] std::optional<std::int64_t> integer_member(const Json& object, const char* name);
[[nodiscard]] std::optional<double> number_member(const Json& object, const char* name);
[[nodiscard]] std::optional<float> float_member(const Json& object, const char* name);
[[nodiscard]] std::optional<std::string> string_member(const Json& object, const char* name);
/// "" when absent.
[[nodiscard]] std::string text_member(const Json& object, const char* name);
/// A string, or an array of strings; empty when absent.
[[nodiscard]] std::vector<std::string> strings_member(const Json& object, const char* name);

/// `value` as an integer: also 3.0. Nothing for what is none or does not fit.
[[nodiscard]] std::optional<std::int64_t> as_integer(const Json& value);

/// Throws RequestError (400).
[[noreturn]] void refuse(std::string message, std::string parameter,
                         std::string code = "invalid_value");

/// "messages[3]" and the like.
[[nodiscard]] std::string indexed(std::string_view path, std::size_t index);

/// `json` on one line. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string to_line(const Json& json);

/// Seconds of a keep-alive: a number of seconds or a duration as Go writes them ("5m", "1h30m",
/// "500ms", "-1s"). Nothing when it is neither.
[[nodiscard]] std::optional<double> duration_seconds(std::string_view text);

/// "2026-11-21T19:54:53Z".
[[nodiscard]] std::string utc_time(std::int64_t unix_seconds);

}  // namespace hearth::serve
