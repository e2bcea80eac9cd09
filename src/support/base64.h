// Base64 (RFC 4648, section 4: the standard alphabet, with padding).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hearth {

[[nodiscard]] std::string encode_base64(std::string_view bytes);

/// The bytes that `text` encodes; nothing when it has other characters, wrong padding or stray bits
/// at its end.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace hearth
