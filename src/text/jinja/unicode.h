// Unicode properties as Python's str methods use them (data: utf8proc).
#pragma once

#include <string>
#include <string_view>

namespace hearth::text::jinja {

[[nodiscard]] bool is_space(char32_t c) noexcept;         // str.isspace
[[nodiscard]] bool is_alpha(char32_t c) noexcept;         // str.isalpha
[[nodiscard]] bool is_decimal(char32_t c) noexcept;       // str.isdecimal
[[nodiscard]] bool is_digit(char32_t c) noexcept;         // str.isdigit
[[nodiscard]] bool is_numeric(char32_t c) noexcept;       // str.isnumeric
[[nodiscard]] bool is_alphanumeric(char32_t c) noexcept;  // str.isalnum
[[nodiscard]] bool is_printable(
    char32_t c) noexcept;  // str.isprintable: what repr() does not escape
[[nodiscard]] bool is_upper(char32_t c) noexcept;
[[nodiscard]] bool is_lower(char32_t c) noexcept;
[[nodiscard]] bool is_title(char32_t c) noexcept;
[[nodiscard]] inline bool is_cased(char32_t c) noexcept {
  return is_upper(c) || is_lower(c) || is_title(c);
}
/// May continue an identifier after its first character (regular expression \w).
[[nodiscard]] inline bool is_word(char32_t c) noexcept { return c == U'_' || is_alphanumeric(c); }

// Full case mappings (one character may become several), as UTF-8. `final_sigma` asks for the form
// at a word's end.
[[nodiscard]] std::string to_upper(char32_t c);
[[nodiscard]] std::string to_lower(char32_t c, bool final_sigma = false);
[[nodiscard]] std::string to_title(char32_t c);
[[nodiscard]] std::string fold_case(char32_t c);

/// Whether a capital sigma at byte `offset` of `text` ends a word (Unicode's Final_Sigma
/// condition).
[[nodiscard]] bool is_final_sigma(std::string_view text, std::size_t offset) noexcept;

}  // namespace hearth::text::jinja
