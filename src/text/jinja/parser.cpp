#include "text/jinja/parser.h"

#include <algorithm>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/parser_state.h"

namespace hearth::text::jinja {
namespace {

constexpr std::uint32_t kMaxNesting = 200;
constexpr std::size_t kMaxSource = std::size_t{4} << 20;

/// Restores a variable at the end of a scope.
template <typename T>
class Restore {
 public:
  Restore(T& variable, T value) : variable_(variable), old_(variable) { variable = value; }
  ~Restore() { variable_ = old_; }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T& variable_;
  T old_;
};

}  // namespace

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (parser.depth_ >= kMaxNesting) parser.fail("the template is nested too deeply");
  ++parser.depth_;
}

void Parser::fail(const std::string& message) const {
  throw TemplateError(program_->name, current().line, message);
}

void Parser::fail_expected(const std::string& expected) const {
  fail("expected " + expected + ", got " + describe(current()));
}

Token Parser::next() {
  Token token = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool Parser::is_operator(std::string_view text) const {
  return current().kind == TokenKind::kOperator && current().text == text;
}
bool Parser::is_name(std::string_view text) const {
  return current().kind == TokenKind::kName && current().text == text;
}
bool Parser::skip_operator(std::string_view text) {
  const bool found = is_operator(text);
  if (found) next();
  return found;
}
bool Parser::skip_name(std::string_view text) {
  const bool found = is_name(text);
  if (found) next();
  return found;
}
void Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) fail_expected("'" + std::string(text) + "'");
}
void Parser::expect_name(std::string_view text) {
  if (!skip_name(text)) fail_expected("'" + std::string(text) + "'");
}
std::string Parser::expect_any_name() {
  if (current().kind != TokenKind::kName) fail_expected("a name");
  return next().text;
}
void Parser::expect_block_end() {
  if (current().kind != TokenKind::kBlockEnd) fail_expected("end of statement block");
  next();
}

void Parser::run() {
  program_->body = parse_body({});
  if (current().kind != TokenKind::kEnd) fail("unexpected " + describe(current()));
  if (unknown_) throw TemplateError(*unknown_);
}

Stmt* Parser::make_stmt(StmtKind kind) {
  Stmt& stmt = program_->stmts.emplace_back();
  stmt.kind = kind;
  stmt.line = current().line;
  return &stmt;
}

/// Statements up to one of the names in `ends` (which is left as the current token), or to the end
/// of the template when `ends` is empty.
Body Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  Body body;
  while (true) {
    switch (current().kind) {
      case TokenKind::kEnd:
        if (ends.size() == 0) return body;
        fail("unexpected end of template, expected '" + std::string(*(ends.end() - 1)) + "'");
      case TokenKind::kText: {
        Stmt* text = make_stmt(StmtKind::kText);
        text->text =
            Value::string(std::make_shared<String>(nullptr, next().text, Origin::kTemplate));
        body.push_back(text);
        break;
      }
      case TokenKind::kOutputBegin: {
        next();
        Stmt* output = make_stmt(StmtKind::kOutput);
        output->exprs.push_back(parse_tuple(false, true, false));
        if (current().kind != TokenKind::kOutputEnd) fail_expected("end of print statement");
        next();
        body.push_back(output);
        break;
      }
      case TokenKind::kBlockBegin:
        next();
        if (current().kind == TokenKind::kName &&
            std::find(ends.begin(), ends.end(), std::string_view(current().text)) != ends.end()) {
          return body;
        }
        if (Stmt* stmt = parse_statement()) body.push_back(stmt);
        expect_block_end();
        break;
      default:
        fail("unexpected " + describe(current()));
    }
  }
}

Body Parser::parse_block_body(std::initializer_list<std::string_view> ends, bool drop_end) {
  skip_operator(":");
  expect_block_end();
  Body body = parse_body(ends);
  if (drop_end) next();
  return body;
}

Stmt* Parser::parse_statement() {
  if (current().kind != TokenKind::kName) fail("tag name expected");
  Stmt* stmt = make_stmt(StmtKind::kScope);
  const std::string tag = next().text;
  if (tag == "for") return parse_for(stmt);
  if (tag == "if") return parse_if(stmt);
  if (tag == "set") return parse_set(stmt);
  if (tag == "with") return parse_with(stmt);
  if (tag == "macro") return parse_macro(stmt);
  if (tag == "call") return parse_call_block(stmt);
  if (tag == "filter") return parse_filter_block(stmt);
  if (tag == "block") return parse_block(stmt);
  if (tag == "print") return parse_print(stmt);
  if (tag == "break") return parse_loop_control(stmt, StmtKind::kBreak);
  if (tag == "continue") return parse_loop_control(stmt, StmtKind::kContinue);
  if (tag == "generation") {
    // Marks what the model wrote (for training); its body renders as usual, in a scope of its own.
    const Restore loops(loops_, 0);
    const Restore soft(soft_, false);
    stmt->body = parse_block_body({"endgeneration"}, true);
    return stmt;
  }
  if (tag == "autoescape") {
    const Restore soft(soft_, false);
    stmt->kind = StmtKind::kAutoescape;
    stmt->expr = parse_expression();
    stmt->body = parse_block_body({"endautoescape"}, true);
    return stmt;
  }
  if (tag == "include" || tag == "import" || tag == "from" || tag == "extends") {
    // Valid Jinja, but a chat template is alone: refused only if it is reached.
    stmt->kind = StmtKind::kRefused;
    stmt->name = tag;
    parse_expression();
    skip_to_block_end();
    return stmt;
  }
  fail("unknown tag '" + tag + "'");
}

void Parser::skip_to_block_end() {
  while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) {
    const Token token = next();
    if (token.kind != TokenKind::kName && token.kind != TokenKind::kOperator)
      fail("unexpected " + describe(token));
  }
}

Stmt* Parser::parse_loop_control(Stmt* stmt, StmtKind kind) {
  if (loops_ == 0) fail("break and continue need a loop around them");
  stmt->kind = kind;
  return stmt;
}

Stmt* Parser::parse_print(Stmt* stmt) {
  stmt->kind = StmtKind::kOutput;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt->exprs.empty()) expect_operator(",");
    stmt->exprs.push_back(parse_expression());
  }
  return stmt;
}

/// What may be assigned to: a name, a tuple of targets, or an attribute of a namespace.
Expr* Parser::parse_target(bool with_tuple, bool with_namespace) {
  if (with_namespace && current().kind == TokenKind::kName &&
      look_ahead().kind == TokenKind::kOperator && look_ahead().text == ".") {
    Expr* object = make_name(next().text);
    next();
    Expr* target = make(ExprKind::kAttribute, object);
    target->name = expect_any_name();
    return target;
  }
  const std::vector<MacroScan> saved = scans_;  // names read here are stored, not loaded
  Expr* target = with_tuple ? parse_tuple(true, true, false) : parse_primary();
  scans_ = saved;
  check_target(target);
  declare(target);
  return target;
}

void Parser::check_target(const Expr* target) const {
  if (target->kind == ExprKind::kName) return;
  if (target->kind != ExprKind::kTuple) fail("cannot assign to this expression");
  for (const Expr* item : target->items) check_target(item);
}

void Parser::declare(const Expr* target) {
  for (const Expr* item : target->items) declare(item);
  if (target->kind != ExprKind::kName) return;
  for (MacroScan& scan : scans_) {
    if (target->name == "caller") scan.hides_caller = true;
    if (target->name == "varargs") scan.hides_varargs = true;
    if (target->name == "kwargs") scan.hides_kwargs = true;
  }
}

Stmt* Parser::parse_for(Stmt* stmt) {
  const Restore soft(soft_, false);
  stmt->kind = StmtKind::kFor;
  stmt->target = parse_target(true, false);
  expect_name("in");
  stmt->expr = parse_tuple(false, false, false);
  if (skip_name("if")) stmt->condition = parse_expression();
  stmt->recursive = skip_name("recursive");
  {
    const Restore loops(loops_, loops_ + 1);
    stmt->body = parse_block_body({"else", "endfor"}, false);
  }
  if (next().text == "else") stmt->otherwise = parse_block_body({"endfor"}, true);
  return stmt;
}

Stmt* Parser::parse_if(Stmt* stmt) {
  const Restore soft(soft_, true);
  stmt->kind = StmtKind::kIf;
  while (true) {
    stmt->exprs.push_back(parse_tuple(false, false, false));
    stmt->branches.push_back(parse_block_body({"elif", "else", "endif"}, false));
    if (skip_name("elif")) continue;
    if (next().text == "else") stmt->otherwise = parse_block_body({"endif"}, true);
    return stmt;
  }
}

Stmt* Parser::parse_set(Stmt* stmt) {
  stmt->target = parse_target(true, true);
  if (skip_operator("=")) {
    stmt->kind = StmtKind::kSet;
    stmt->expr = parse_tuple(false, true, false);
    return stmt;
  }
  const Restore soft(soft_, false);
  stmt->kind = StmtKind::kSetBlock;
  stmt->expr = parse_filter(nullptr, false);
  stmt->body = parse_block_body({"endset"}, true);
  return stmt;
}

Stmt* Parser::parse_with(Stmt* stmt) {
  const Restore soft(soft_, false);
  stmt->kind = StmtKind::kWith;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt->targets.empty()) expect_operator(",");
    stmt->targets.push_back(parse_target(false, false));
    expect_operator("=");
    stmt->exprs.push_back(parse_expression());
  }
  stmt->body = parse_block_body({"endwith"}, true);
  return stmt;
}

void Parser::parse_signature(MacroInfo& macro) {
  expect_operator("(");
  while (!is_operator(")")) {
    if (!macro.parameters.empty()) expect_operator(",");
    const Expr* parameter = parse_target(false, false);
    if (parameter->kind != ExprKind::kName) fail("a parameter must be a name");
    if (std::find(macro.parameters.begin(), macro.parameters.end(), parameter->symbol) !=
        macro.parameters.end()) {
      fail("parameter '" + parameter->name + "' is repeated");
    }
    if (skip_operator("=")) {
      macro.defaults.push_back(parse_expression());
    } else if (!macro.defaults.empty()) {
      fail("non-default argument follows default argument");
    }
    macro.parameters.push_back(parameter->symbol);
    macro.parameter_names.push_back(parameter->name);
    macro.explicit_caller |= parameter->name == "caller";
  }
  expect_operator(")");
}

void Parser::finish_macro(MacroInfo& macro, std::string_view end) {
  const Restore loops(loops_, 0);
  const Restore soft(soft_, false);
  const auto is_parameter = [&macro](std::string_view name) {
    return std::find(macro.parameter_names.begin(), macro.parameter_names.end(), name) !=
           macro.parameter_names.end();
  };
  MacroScan scan;
  scan.hides_varargs = is_parameter("varargs");
  scan.hides_kwargs = is_parameter("kwargs");
  scans_.push_back(scan);
  macro.body = parse_block_body({end}, true);
  macro.uses_caller = scans_.back().caller;
  macro.uses_varargs = scans_.back().varargs;
  macro.uses_kwargs = scans_.back().kwargs;
  scans_.pop_back();
  if (macro.explicit_caller && macro.defaults.empty()) {
    // Jinja wants a default for an explicit caller parameter, since it is not always passed.
    if (macro.uses_caller)
      fail("when defining macros with a caller parameter, it needs a default value");
  }
}

Stmt* Parser::parse_macro(Stmt* stmt) {
  stmt->kind = StmtKind::kMacro;
  stmt->target = parse_target(false, false);
  if (stmt->target->kind != ExprKind::kName) fail("the name of a macro is expected");
  stmt->macro = &program_->macros.emplace_back();
  stmt->macro->name = stmt->target->name;
  parse_signature(*stmt->macro);
  finish_macro(*stmt->macro, "endmacro");
  return stmt;
}

Stmt* Parser::parse_call_block(Stmt* stmt) {
  stmt->kind = StmtKind::kCallBlock;
  stmt->macro = &program_->macros.emplace_back();
  stmt->macro->name = "caller";
  if (is_operator("(")) parse_signature(*stmt->macro);
  stmt->expr = parse_expression();
  if (stmt->expr->kind != ExprKind::kCall) fail("expected a call");
  finish_macro(*stmt->macro, "endcall");
  return stmt;
}

Stmt* Parser::parse_filter_block(Stmt* stmt) {
  const Restore soft(soft_, false);
  stmt->kind = StmtKind::kFilterBlock;
  stmt->expr = parse_filter(nullptr, true);
  stmt->body = parse_block_body({"endfilter"}, true);
  return stmt;
}

Stmt* Parser::parse_block(Stmt* stmt) {
  const Restore loops(loops_, 0);
  const Restore soft(soft_, false);
  stmt->kind = StmtKind::kBlock;
  stmt->name = expect_any_name();
  stmt->recursive = skip_name("scoped");  // whether the block sees the variables around it
  skip_name("required");
  if (!stmt->recursive) stmt->recursive = skip_name("scoped");
  if (!program_->blocks.emplace(stmt->name, stmt).second)
    fail("block '" + stmt->name + "' defined twice");
  stmt->body = parse_block_body({"endblock"}, true);
  skip_name(stmt->name);
  return stmt;
}

std::shared_ptr<const Program> parse_template(std::string_view source, std::string name) {
  auto program = std::make_shared<Program>();
  program->name = std::move(name);
  if (source.size() > kMaxSource)
    throw TemplateError(program->name, 1, "the template is larger than 4 MiB");
  const std::string text = to_valid_utf8(source);
  Parser(tokenize_template(text, program->name), program).run();
  return program;
}

}  // namespace hearth::text::jinja
