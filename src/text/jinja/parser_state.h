// The parser's class, shared by parser.cpp (statements) and parser_expressions.cpp.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/error.h"
#include "text/jinja/lexer.h"

namespace hearth::text::jinja {

class Parser {
 public:
  Parser(std::vector<Token> tokens, std::shared_ptr<Program> program)
      : tokens_(std::move(tokens)), program_(std::move(program)) {}
  void run();

 private:
  /// Bounds the nesting of the source; one per level of recursion.
  class Nesting {
   public:
    explicit Nesting(Parser& parser);
    ~Nesting() { --parser_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Parser& parser_;
  };

  /// Which of the special names a macro body reads (so that it accepts extra arguments).
  struct MacroScan {
    bool caller = false, varargs = false, kwargs = false;
    bool hides_caller = false, hides_varargs = false, hides_kwargs = false;
  };

  // Tokens
  [[nodiscard]] const Token& current() const { return tokens_[position_]; }
  [[nodiscard]] const Token& look_ahead() const {
    return tokens_[std::min(position_ + 1, tokens_.size() - 1)];
  }
  Token next();
  [[nodiscard]] bool is_operator(std::string_view text) const;
  [[nodiscard]] bool is_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  std::string expect_any_name();
  void expect_block_end();
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail_expected(const std::string& expected) const;

  // Statements (parser.cpp)
  Body parse_body(std::initializer_list<std::string_view> ends);
  Body parse_block_body(std::initializer_list<std::string_view> ends, bool drop_end);
  Stmt* parse_statement();
  Stmt* parse_for(Stmt* stmt);
  Stmt* parse_if(Stmt* stmt);
  Stmt* parse_set(Stmt* stmt);
  Stmt* parse_with(Stmt* stmt);
  Stmt* parse_macro(Stmt* stmt);
  Stmt* parse_call_block(Stmt* stmt);
  Stmt* parse_filter_block(Stmt* stmt);
  Stmt* parse_block(Stmt* stmt);
  Stmt* parse_print(Stmt* stmt);
  Stmt* parse_loop_control(Stmt* stmt, StmtKind kind);
  void parse_signature(MacroInfo& macro);
  void finish_macro(MacroInfo& macro, std::string_view end);
  void skip_to_block_end();
  Expr* parse_target(bool with_tuple, bool with_namespace);
  void check_target(const Expr* target) const;
  void declare(const Expr* target);
  Stmt* make_stmt(StmtKind kind);

  // Expressions (parser_expressions.cpp)
  Expr* parse_tuple(bool simplified, bool with_conditional, bool explicit_parentheses);
  Expr* parse_expression(bool with_conditional = true);
  Expr* parse_conditional();
  Expr* parse_or();
  Expr* parse_and();
  Expr* parse_not();
  Expr* parse_compare();
  Expr* parse_sum();
  Expr* parse_concat();
  Expr* parse_product();
  Expr* parse_power();
  Expr* parse_unary(bool with_filter);
  Expr* parse_primary();
  Expr* parse_postfix(Expr* node);
  Expr* parse_filter_or_test(Expr* node);
  Expr* parse_filter(Expr* node, bool start_inline);
  Expr* parse_test(Expr* node);
  Expr* parse_subscript(Expr* node);
  Expr* parse_subscribed();
  Expr* parse_list();
  Expr* parse_dict();
  Expr* parse_call(Expr* callee);
  void parse_call_arguments(Expr* call);
  Expr* make(ExprKind kind, Expr* left = nullptr, Expr* right = nullptr);
  Expr* make_constant(Value value);
  Expr* make_name(const std::string& name);
  void note_load(std::string_view name);
  void note_unknown(const std::string& message);

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  std::shared_ptr<Program> program_;
  std::uint32_t depth_ = 0;
  std::vector<MacroScan> scans_;
  int loops_ = 0;  // enclosing for loops of the present function
  std::optional<TemplateError> unknown_;
  bool soft_ = false;  // directly under an if: unknown filters and tests fail only when reached
};

}  // namespace hearth::text::jinja
