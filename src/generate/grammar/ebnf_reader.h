// What the readers of GBNF and of Lark's EBNF share: places in the source, rules by their names,
// choices, counts and escapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// A recursive-descent reader of one source; the notations derive from it.
class EbnfReader {
 public:
  /// Both must outlive the reader; `hint` is what every error advises. Throws Error for a source of
  /// more than 256 KB.
  EbnfReader(std::string_view source, Syntax& syntax, std::string hint);
  virtual ~EbnfReader() = default;
  EbnfReader(const EbnfReader&) = delete;
  EbnfReader& operator=(const EbnfReader&) = delete;

  /// Reads the whole source. Throws Error, with the line, where it is wrong.
  void read_all();

 protected:
  /// One rule or directive, at its first character.
  virtual void read_statement() = 0;
  /// Whether an item of a sequence begins at `c`.
  [[nodiscard]] virtual bool begins_item(char c) const = 0;
  virtual Expression read_item(int nesting) = 0;
  [[nodiscard]] virtual bool begins_comment() const = 0;

  [[noreturn]] void fail(const std::string& why) const;
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool at_end() const { return at_ >= source_.size(); }
  [[nodiscard]] std::string_view rest() const { return source_.substr(at_); }
  void skip(std::size_t count) { at_ += count; }
  bool take(std::string_view wanted);
  /// White space and comments; new lines only when `lines`.
  void skip_space(bool lines);
  /// Nothing more may stand in the line.
  void end_statement();

  /// The rule of that name, declared when it is first met.
  [[nodiscard]] Rule rule_named(const std::string& name);
  /// The rule that a statement defines. Fails when it is defined already.
  [[nodiscard]] Rule new_rule(const std::string& name);
  /// Makes `name` what the texts are. Fails when it, or a rule that is used, is not defined.
  void set_root(const std::string& name);

  /// Alternatives apart by '|', in groups over several lines.
  Expression read_choice(int nesting);
  virtual Expression read_sequence(int nesting);
  /// A group behind its opening bracket, up to and with `close`.
  Expression read_group(int nesting, char close);
  /// Applies the repetition "*", "+" or "?" that stands here to `item`; false when none does.
  [[nodiscard]] bool take_repetition(Expression& item);
  /// A number of at most 100,000. Fails when none stands here.
  [[nodiscard]] std::uint32_t read_count();
  [[nodiscard]] Expression repeated(Expression item, std::uint32_t minimum, std::uint32_t maximum);

  /// The next character of a quoted text, escapes resolved; `unclosed` is said at the end of the
  /// line, `also` are characters besides the usual ones that a backslash may stand before.
  [[nodiscard]] char32_t read_character(const char* unclosed, std::string_view also);

  Syntax& syntax_;

 private:
  [[nodiscard]] char32_t read_hexadecimal(int digits);

  std::string_view source_;
  std::string hint_;
  std::size_t at_ = 0;
  std::unordered_map<std::string, Rule> rules_;
};

}  // namespace hearth::generate::grammar
