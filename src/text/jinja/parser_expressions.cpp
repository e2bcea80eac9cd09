#include <charconv>
#include <cstdlib>
#include <stdexcept>

#include "text/jinja/builtins.h"
#include "text/jinja/parser_state.h"

namespace hearth::text::jinja {
namespace {

std::string_view first_of(std::string_view text,
                          std::initializer_list<std::string_view> candidates) {
  for (const std::string_view candidate : candidates) {
    if (text == candidate) return candidate;
  }
  return {};
}

}  // namespace

Expr* Parser::make(ExprKind kind, Expr* left, Expr* right) {
  Expr& expr = program_->exprs.emplace_back();
  expr.kind = kind;
  expr.line = left != nullptr ? left->line : current().line;
  expr.left = left;
  expr.right = right;
  return &expr;
}

Expr* Parser::make_constant(Value value) {
  Expr* expr = make(ExprKind::kConstant);
  expr->constant = std::move(value);
  return expr;
}

Expr* Parser::make_name(const std::string& name) {
  Expr* expr = make(ExprKind::kName);
  expr->name = name;
  expr->symbol = program_->intern(name);
  return expr;
}

void Parser::note_load(std::string_view name) {
  for (MacroScan& scan : scans_) {
    if (name == "caller" && !scan.hides_caller) scan.caller = true;
    if (name == "varargs" && !scan.hides_varargs) scan.varargs = true;
    if (name == "kwargs" && !scan.hides_kwargs) scan.kwargs = true;
  }
}

/// An unknown filter or test is an error of the whole template unless it stands in a branch.
void Parser::note_unknown(const std::string& message) {
  if (!soft_ && !unknown_) unknown_.emplace(program_->name, current().line, message);
}

/// One expression, or a tuple when commas follow. `simplified` reads only primaries (assignment
/// targets).
Expr* Parser::parse_tuple(bool simplified, bool with_conditional, bool explicit_parentheses) {
  const Nesting nesting(*this);
  std::vector<Expr*> items;
  bool is_tuple = false;
  const std::uint32_t line = current().line;
  while (true) {
    if (!items.empty()) expect_operator(",");
    const bool at_end = current().kind == TokenKind::kOutputEnd ||
                        current().kind == TokenKind::kBlockEnd || is_operator(")");
    if (at_end) break;
    items.push_back(simplified ? parse_primary() : parse_expression(with_conditional));
    if (!is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return items.front();
    if (!explicit_parentheses) fail("expected an expression, got " + describe(current()));
  }
  Expr* tuple = make(ExprKind::kTuple);
  tuple->line = line;
  tuple->items = std::move(items);
  return tuple;
}

Expr* Parser::parse_expression(bool with_conditional) {
  const Nesting nesting(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

Expr* Parser::parse_conditional() {
  // The branches are "soft": an unknown filter in a branch that is not taken does no harm. Since
  // "if" comes after the value, what the value is accused of is forgotten when it turns out to be a
  // branch.
  const bool outer_soft = soft_;
  const std::optional<TemplateError> accused = unknown_;
  Expr* value = parse_or();
  while (skip_name("if")) {
    unknown_ = accused;
    Expr* conditional = make(ExprKind::kConditional);
    soft_ = true;
    conditional->left = parse_or();
    conditional->right = value;
    if (skip_name("else")) {
      const Nesting nesting(*this);
      conditional->third = parse_conditional();
    }
    conditional->line = value->line;
    value = conditional;
  }
  soft_ = outer_soft;
  return value;
}

Expr* Parser::parse_or() {
  Expr* left = parse_and();
  while (skip_name("or")) left = make(ExprKind::kOr, left, parse_and());
  return left;
}

Expr* Parser::parse_and() {
  Expr* left = parse_not();
  while (skip_name("and")) left = make(ExprKind::kAnd, left, parse_not());
  return left;
}

Expr* Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  next();
  return make(ExprKind::kNot, parse_not());
}

Expr* Parser::parse_compare() {
  Expr* first = parse_sum();
  Expr* compare = nullptr;
  while (true) {
    CompareOp op = CompareOp::kEqual;
    const bool symbol = current().kind == TokenKind::kOperator;
    const std::string& text = current().text;
    if (symbol && text == "==") {
      op = CompareOp::kEqual;
    } else if (symbol && text == "!=") {
      op = CompareOp::kNotEqual;
    } else if (symbol && text == "<") {
      op = CompareOp::kLess;
    } else if (symbol && text == "<=") {
      op = CompareOp::kLessEqual;
    } else if (symbol && text == ">") {
      op = CompareOp::kGreater;
    } else if (symbol && text == ">=") {
      op = CompareOp::kGreaterEqual;
    } else if (is_name("in")) {
      op = CompareOp::kIn;
    } else if (is_name("not") && look_ahead().kind == TokenKind::kName &&
               look_ahead().text == "in") {
      op = CompareOp::kNotIn;
      next();
    } else {
      return compare != nullptr ? compare : first;
    }
    next();
    if (compare == nullptr) {
      compare = make(ExprKind::kCompare, first);
      compare->items.push_back(first);
    }
    compare->operators.push_back(op);
    compare->items.push_back(parse_sum());
  }
}

Expr* Parser::parse_sum() {
  Expr* left = parse_concat();
  while (is_operator("+") || is_operator("-")) {
    const ExprKind kind = next().text == "+" ? ExprKind::kAdd : ExprKind::kSubtract;
    left = make(kind, left, parse_concat());
  }
  return left;
}

Expr* Parser::parse_concat() {
  Expr* first = parse_product();
  if (!is_operator("~")) return first;
  Expr* concat = make(ExprKind::kConcat);
  concat->line = first->line;
  concat->items.push_back(first);
  while (skip_operator("~")) concat->items.push_back(parse_product());
  return concat;
}

Expr* Parser::parse_product() {
  Expr* left = parse_power();
  while (current().kind == TokenKind::kOperator) {
    const std::string_view op = first_of(current().text, {"*", "/", "//", "%"});
    if (op.empty()) break;
    next();
    const ExprKind kind = op == "*"    ? ExprKind::kMultiply
                          : op == "/"  ? ExprKind::kDivide
                          : op == "//" ? ExprKind::kFloorDivide
                                       : ExprKind::kModulo;
    left = make(kind, left, parse_power());
  }
  return left;
}

Expr* Parser::parse_power() {
  Expr* left = parse_unary(true);
  while (skip_operator("**")) left = make(ExprKind::kPower, left, parse_unary(true));
  return left;
}

Expr* Parser::parse_unary(bool with_filter) {
  Expr* node = nullptr;
  if (is_operator("-") || is_operator("+")) {
    const Nesting nesting(*this);
    const ExprKind kind = next().text == "-" ? ExprKind::kNegate : ExprKind::kPlus;
    node = make(kind, parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(node);
  return with_filter ? parse_filter_or_test(node) : node;
}

Expr* Parser::parse_primary() {
  const Token token = current();
  if (token.kind == TokenKind::kName) {
    Expr* node = nullptr;
    if (token.text == "true" || token.text == "True") {
      node = make_constant(Value::boolean(true));
    } else if (token.text == "false" || token.text == "False") {
      node = make_constant(Value::boolean(false));
    } else if (token.text == "none" || token.text == "None") {
      node = make_constant(Value::none());
    } else {
      node = make_name(token.text);
      note_load(token.text);
    }
    next();
    return node;
  }
  if (token.kind == TokenKind::kString) {
    std::string text;
    Expr* node = make_constant(Value());
    while (current().kind == TokenKind::kString) text += next().text;
    node->constant =
        Value::string(std::make_shared<String>(nullptr, std::move(text), Origin::kTemplate));
    return node;
  }
  if (token.kind == TokenKind::kInteger) {
    const bool prefixed = token.text.size() > 1 && token.text[0] == '0' && (token.text[1] > '9');
    const char mark = prefixed ? static_cast<char>(token.text[1] | 0x20) : 'd';
    const unsigned base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    Expr* node = make_constant(Value());
    try {
      const BigInt number =
          BigInt::parse(std::string_view(token.text).substr(prefixed ? 2 : 0), base);
      node->constant =
          number.fits_int64()
              ? Value::integer(number.to_int64())
              : Value::object(Kind::kBigInt, std::make_shared<BigIntObject>(nullptr, number));
    } catch (const std::overflow_error& error) {
      fail(error.what());
    }
    next();
    return node;
  }
  if (token.kind == TokenKind::kFloat) {
    double number = 0;
    const auto result =
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
    // from_chars leaves the value alone when out of range; strtod gives infinity or zero as Python
    // does.
    if (result.ec == std::errc::result_out_of_range)
      number = std::strtod(token.text.c_str(), nullptr);
    Expr* node = make_constant(Value::real(number));
    next();
    return node;
  }
  if (skip_operator("(")) {
    Expr* node = parse_tuple(false, true, true);
    expect_operator(")");
    return node;
  }
  if (is_operator("[")) return parse_list();
  if (is_operator("{")) return parse_dict();
  fail("unexpected " + describe(token));
}

Expr* Parser::parse_list() {
  Expr* list = make(ExprKind::kList);
  expect_operator("[");
  while (!is_operator("]")) {
    if (!list->items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    list->items.push_back(parse_expression());
  }
  expect_operator("]");
  return list;
}

Expr* Parser::parse_dict() {
  Expr* dict = make(ExprKind::kDict);
  expect_operator("{");
  while (!is_operator("}")) {
    if (!dict->items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    dict->items.push_back(parse_expression());
    expect_operator(":");
    dict->items.push_back(parse_expression());
  }
  expect_operator("}");
  return dict;
}

Expr* Parser::parse_postfix(Expr* node) {
  while (true) {
    if (is_operator(".") || is_operator("[")) {
      node = parse_subscript(node);
    } else if (is_operator("(")) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

Expr* Parser::parse_filter_or_test(Expr* node) {
  while (true) {
    if (is_operator("|")) {
      node = parse_filter(node, false);
    } else if (is_name("is")) {
      node = parse_test(node);
    } else if (is_operator("(")) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

Expr* Parser::parse_subscript(Expr* node) {
  if (skip_operator(".")) {
    const Token token = next();
    if (token.kind == TokenKind::kName) {
      Expr* attribute = make(ExprKind::kAttribute, node);
      attribute->name = token.text;
      return attribute;
    }
    if (token.kind != TokenKind::kInteger) fail("expected a name or a number after '.'");
    std::int64_t index = 0;
    const auto result =
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), index);
    if (result.ec != std::errc() || result.ptr != token.text.data() + token.text.size())
      fail("the index is too large");
    return make(ExprKind::kItem, node, make_constant(Value::integer(index)));
  }
  expect_operator("[");
  std::vector<Expr*> indices;
  while (!is_operator("]")) {
    if (!indices.empty()) expect_operator(",");
    indices.push_back(parse_subscribed());
  }
  expect_operator("]");
  if (indices.size() == 1) return make(ExprKind::kItem, node, indices.front());
  Expr* tuple = make(ExprKind::kTuple);
  for (const Expr* index : indices) {
    if (index->kind == ExprKind::kSlice) fail("a slice cannot be one of several indices");
  }
  tuple->items = std::move(indices);
  return make(ExprKind::kItem, node, tuple);
}

Expr* Parser::parse_subscribed() {
  const Nesting nesting(*this);
  std::vector<Expr*> bounds;
  if (!is_operator(":")) {
    Expr* node = parse_expression();
    if (!is_operator(":")) return node;
    bounds.push_back(node);
  } else {
    bounds.push_back(nullptr);
  }
  Expr* slice = make(ExprKind::kSlice);
  while (bounds.size() < 3) {
    if (!skip_operator(":")) {
      bounds.push_back(nullptr);
    } else if (is_operator(":") || is_operator("]") || is_operator(",")) {
      bounds.push_back(nullptr);
    } else {
      bounds.push_back(parse_expression());
    }
  }
  slice->items = std::move(bounds);
  return slice;
}

Expr* Parser::parse_call(Expr* callee) {
  Expr* call = make(ExprKind::kCall, callee);
  call->line = current().line;
  parse_call_arguments(call);
  return call;
}

void Parser::parse_call_arguments(Expr* call) {
  const Nesting nesting(*this);
  expect_operator("(");
  const auto ensure = [this](bool condition) {
    if (!condition) fail("invalid syntax for function call expression");
  };
  bool first = true;
  while (!is_operator(")")) {
    if (!first) {
      expect_operator(",");
      if (is_operator(")")) break;
    }
    first = false;
    if (skip_operator("*")) {
      ensure(call->star == nullptr && call->double_star == nullptr);
      call->star = parse_expression();
    } else if (skip_operator("**")) {
      ensure(call->double_star == nullptr);
      call->double_star = parse_expression();
    } else if (current().kind == TokenKind::kName && look_ahead().kind == TokenKind::kOperator &&
               look_ahead().text == "=") {
      ensure(call->double_star == nullptr);
      const std::string name = next().text;
      next();
      for (const auto& keyword : call->keywords) {
        if (keyword.first == name) fail("keyword argument '" + name + "' is repeated");
      }
      call->keywords.emplace_back(name, parse_expression());
    } else {
      ensure(call->star == nullptr && call->double_star == nullptr && call->keywords.empty());
      call->items.push_back(parse_expression());
    }
  }
  expect_operator(")");
}

/// Filters applied to `node` (null in filter blocks: the block's text). `start_inline` reads the
/// first name without '|'.
Expr* Parser::parse_filter(Expr* node, bool start_inline) {
  while (is_operator("|") || start_inline) {
    if (!start_inline) next();
    start_inline = false;
    Expr* filter = make(ExprKind::kFilter, node);
    filter->line = current().line;
    filter->name = expect_any_name();
    while (skip_operator(".")) filter->name += "." + expect_any_name();
    if (find_filter(filter->name) == nullptr)
      note_unknown("no filter named '" + filter->name + "'");
    if (is_operator("(")) parse_call_arguments(filter);
    node = filter;
  }
  return node;
}

Expr* Parser::parse_test(Expr* node) {
  expect_name("is");
  const bool negated = skip_name("not");
  Expr* test = make(ExprKind::kTest, node);
  test->negated = negated;
  test->name = expect_any_name();
  while (skip_operator(".")) test->name += "." + expect_any_name();
  if (find_test(test->name) == nullptr) note_unknown("no test named '" + test->name + "'");
  const TokenKind kind = current().kind;
  if (is_operator("(")) {
    parse_call_arguments(test);
  } else if (kind == TokenKind::kString || kind == TokenKind::kInteger ||
             kind == TokenKind::kFloat || is_operator("[") || is_operator("{") ||
             (kind == TokenKind::kName && !is_name("else") && !is_name("or") && !is_name("and"))) {
    if (is_name("is")) fail("tests cannot be chained with 'is'");
    const Nesting nesting(*this);
    test->items.push_back(parse_postfix(parse_primary()));
  }
  return test;
}

}  // namespace hearth::text::jinja
