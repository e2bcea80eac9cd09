// Reading the small JSON headers of safetensors files (RFC 8259), value by value, without building
// a tree: names and numbers go straight into the caller's structures. Internal to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::gguf {

/// Walks through one JSON text. Every function throws Error "bad JSON in 'NAME' at byte N: WHAT"
/// when the text is not as it should be. Nesting is bounded.
class JsonCursor {
 public:
  /// `text` must outlive the cursor; `name` is what errors call it.
  JsonCursor(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  /// Reads an object; member(key) is called for every member and must read its value.
  template <class Member>
  void object(Member&& member) {
    enter('{', "an object");
    for (bool first = true; more('}', first); first = false) {
      const std::string key = string();
      need(':');
      member(key);
    }
  }
  /// Reads an array; item() is called for every element and must read it.
  template <class Item>
  void array(Item&& item) {
    enter('[', "an array");
    for (bool first = true; more(']', first); first = false) item();
  }
  /// A string as UTF-8; unpaired surrogates are refused.
  [[nodiscard]] std::string string();
  /// A non-negative integer without fraction or exponent.
  [[nodiscard]] std::uint64_t unsigned_integer();
  /// Reads any value and forgets it.
  void skip();
  /// Throws unless nothing but white space is left.
  void finish();

  [[noreturn]] void fail(const std::string& what) const;

 private:
  static constexpr int kMaxDepth = 32;

  [[nodiscard]] char peek();
  void need(char expected);
  void enter(char bracket, const char* what);
  [[nodiscard]] bool more(char bracket, bool first);
  void skip_white_space() noexcept;
  void skip_literal();
  void append_escape(std::string& to);
  [[nodiscard]] std::uint32_t hexadecimal();

  std::string_view text_;
  std::string_view name_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace hearth::gguf
