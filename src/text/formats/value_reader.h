// Reads one value of JSON, or of the dialects that language models write instead of it, from a
// stream of text, and writes strict compact JSON: the same bytes whatever the pieces the text came
// in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

/// A push reader for one value. Beyond JSON (RFC 8259) it understands what models write:
/// single-quoted and triple-quoted strings, raw control characters in strings, unknown escapes
/// (`\d` stands for itself), True/False/None, tuples, trailing commas, unquoted keys, and strings
/// between a quote token (Gemma's `<|"|>`). Numbers keep their spelling, strings their content;
/// white space between tokens is dropped. Nesting is limited to 256. The text must be well-formed
/// UTF-8 and must not be cut inside a character.
class ValueReader {
 public:
  enum class Status : std::uint8_t { kMore, kDone, kBroken };
  enum class Shape : std::uint8_t { kNone, kObject, kArray, kString, kNumber, kBoolean, kNull };

  /// `quote_token`: a text that opens and closes strings without escapes; empty for none.
  explicit ValueReader(std::string_view quote_token = {}) : quote_token_(quote_token) {}

  /// Reads from the start of `text`, appends JSON to `out` and sets `consumed`; the rest has to be
  /// presented again together with what follows. `final`: nothing follows, so kMore then means that
  /// the value is unfinished.
  Status read(std::string_view text, bool final, std::size_t& consumed, std::string& out);

  [[nodiscard]] Shape shape() const noexcept { return shape_; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kElement,
    kKey,
    kColon,
    kAfter,
    kString,
    kDone,
    kBroken
  };
  struct Frame {
    char closer;
    bool has_elements;
  };

  std::size_t read_token(std::string_view text, bool final, std::string& out);
  std::size_t read_value(std::string_view text, bool final, std::string& out);
  std::size_t read_key(std::string_view text, bool final, std::string& out);
  std::size_t read_string(std::string_view text, bool final, std::string& out);
  std::size_t read_escape(std::string_view text, std::string& out);
  std::size_t read_unicode_escape(std::string_view text, std::string& out);
  std::size_t read_word(std::string_view text, bool final, std::string& out);
  std::size_t read_number(std::string_view text, bool final, std::string& out);
  std::size_t open_string(std::string_view text, bool final, std::string& out);
  std::size_t open_container(char opener, std::string& out);
  std::size_t close_container(std::string& out);
  void write_comma(std::string& out);
  void finish_value(Shape shape);
  std::size_t fail();

  std::string quote_token_;
  std::string delimiter_;
  std::vector<Frame> frames_;
  State state_ = State::kValue;
  Shape shape_ = Shape::kNone;
  bool escapes_ = true;
  bool string_is_key_ = false;
};

/// The strict JSON text of `text`, which must hold one value of a dialect and nothing else but
/// white space.
[[nodiscard]] std::optional<std::string> read_whole_value(std::string_view text,
                                                          ValueReader::Shape* shape = nullptr);

/// Appends `text` as a JSON string literal. `text` must be well-formed UTF-8.
void append_json_string(std::string& out, std::string_view text);

/// The content of a JSON string literal (with its quotes), or nothing when it is not one.
[[nodiscard]] std::optional<std::string> json_string_content(std::string_view literal);

}  // namespace hearth::text
