// Executing statements: output, branches, loops, scopes.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {

namespace {

/// Sends what is printed to `text` for as long as it lives.
class OutputTo {
 public:
  OutputTo(StringBuilder*& out, StringBuilder& text) : out_(out), outer_(out) { out_ = &text; }
  ~OutputTo() { out_ = outer_; }
  OutputTo(const OutputTo&) = delete;
  OutputTo& operator=(const OutputTo&) = delete;

 private:
  StringBuilder*& out_;
  StringBuilder* outer_;
};

}  // namespace

/// Enters a scope for as long as it lives.
class Interpreter::Scoped {
 public:
  Scoped(Interpreter& context, Scope* parent)
      : context_(context), outer_(context.scope_), scope_(context.new_scope(parent)) {
    context_.scope_ = scope_;
  }
  ~Scoped() {
    context_.scope_ = outer_;
    context_.drop_scope(scope_);
  }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

  [[nodiscard]] Scope* scope() const { return scope_; }
  /// An empty scope for the next turn of a loop.
  void renew() {
    if (!scope_->captured) {
      scope_->variables.clear();
      return;
    }
    Scope* parent = scope_->parent;
    scope_ = context_.new_scope(parent);
    context_.scope_ = scope_;
  }

 private:
  Interpreter& context_;
  Scope* outer_;
  Scope* scope_;
};

void Interpreter::output(const Value& value) {
  if (value.is_string() && !autoescape_) {
    out_->append(value.str());
  } else if (!value.is_undefined()) {
    out_->append(autoescape_ ? *escape(*this, value) : *to_str(*this, value));
  }
}

Interpreter::Flow Interpreter::execute(const Body& body) {
  for (const Stmt* stmt : body) {
    const Flow flow = execute(*stmt);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute(const Stmt& stmt) {
  const Nested nested(*this);
  work(1);
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kText:
      out_->append(stmt.text.str());
      break;
    case StmtKind::kOutput:
      for (const Expr* expr : stmt.exprs) output(evaluate(*expr));
      break;
    case StmtKind::kIf:
      return execute_if(stmt);
    case StmtKind::kFor:
      execute_for(stmt);
      break;
    case StmtKind::kSet:
      assign(*stmt.target, evaluate(*stmt.expr));
      break;
    case StmtKind::kSetBlock: {
      Value text = Value::string(capture_output(stmt.body, scope_));
      if (stmt.expr != nullptr) text = evaluate_filter(*stmt.expr, text);
      assign(*stmt.target, text);
      break;
    }
    case StmtKind::kWith:
      execute_with(stmt);
      break;
    case StmtKind::kMacro:
      capture(scope_);
      assign(*stmt.target,
             Value::object(Kind::kMacro, std::make_shared<Macro>(heap_, *stmt.macro, scope_)));
      break;
    case StmtKind::kCallBlock:
      execute_call_block(stmt);
      break;
    case StmtKind::kFilterBlock:
      output(evaluate_filter(*stmt.expr, Value::string(capture_output(stmt.body, scope_))));
      break;
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    case StmtKind::kScope: {
      const Scoped scoped(*this, scope_);
      return execute(stmt.body);
    }
    case StmtKind::kAutoescape:
      execute_autoescape(stmt);
      break;
    case StmtKind::kBlock:
      execute_block(stmt, stmt.recursive ? scope_ : template_scope_);
      break;
    case StmtKind::kRefused:
      fail("'" + stmt.name + "' is not available: a chat template cannot use other templates");
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::execute_if(const Stmt& stmt) {
  for (std::size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (truthy(evaluate(*stmt.exprs[i]))) return execute(stmt.branches[i]);
  }
  return execute(stmt.otherwise);
}

/// Runs `body` in a scope inside `parent`; what it prints is returned instead.
StringPtr Interpreter::capture_output(const Body& body, Scope* parent) {
  StringBuilder text = builder();
  const OutputTo redirected(out_, text);
  const Scoped scoped(*this, parent);
  execute(body);
  return text.finish(autoescape_);
}

void Interpreter::execute_with(const Stmt& stmt) {
  // Every value is evaluated outside, so the targets do not see each other.
  std::vector<Value> values;
  for (const Expr* expr : stmt.exprs) values.push_back(evaluate(*expr));
  const Scoped scoped(*this, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], values[i]);
  execute(stmt.body);
}

void Interpreter::execute_call_block(const Stmt& stmt) {
  capture(scope_);
  Arguments arguments = evaluate_arguments(*stmt.expr);
  const Value callee = evaluate(*stmt.expr->left);
  arguments.keyword.emplace_back(
      "caller", Value::object(Kind::kMacro, std::make_shared<Macro>(heap_, *stmt.macro, scope_)));
  output(call(callee, arguments));
}

void Interpreter::execute_autoescape(const Stmt& stmt) {
  const bool outer = autoescape_;
  struct Restore {
    bool& variable;
    bool old;
    ~Restore() { variable = old; }
  } const restore{autoescape_, outer};
  autoescape_ = truthy(evaluate(*stmt.expr));
  const Scoped scoped(*this, scope_);
  execute(stmt.body);
}

void Interpreter::execute_block(const Stmt& stmt, Scope* parent) {
  const Scoped scoped(*this, parent);
  execute(stmt.body);
}

// Loops
// --------------------------------------------------------------------------------------------------------------

void Interpreter::execute_for(const Stmt& stmt) {
  const Value iterable = evaluate(*stmt.expr);
  run_loop(stmt, iterable, scope_, 0);
}

/// The elements for which the loop's condition holds, lazily.
Value Interpreter::filtered(const Stmt& stmt, const Value& iterable, Scope* around) {
  capture(around);
  auto iterator = std::make_shared<Iterator>(iterate(iterable));
  return generator([this, &stmt, around, iterator](Value& out) {
    Value item;
    while (iterator->next(*this, item)) {
      const Scoped scoped(*this, around);
      assign(*stmt.target, item);
      if (truthy(evaluate(*stmt.condition))) {
        out = item;
        return true;
      }
    }
    return false;
  });
}

void Interpreter::run_loop(const Stmt& stmt, const Value& iterable, Scope* around,
                           std::int64_t depth0) {
  static constexpr Symbol kNoSymbol = ~Symbol{0};
  const auto known = program_.symbol_ids.find("loop");
  const Symbol loop_symbol = known == program_.symbol_ids.end() ? kNoSymbol : known->second;
  const auto loop = std::make_shared<Loop>(heap_);
  loop->stmt = &stmt;
  loop->scope = around;
  loop->depth0 = depth0;
  loop->iterable = stmt.condition == nullptr ? iterable : filtered(stmt, iterable, around);
  loop->iterator = iterate(loop->iterable);
  if (stmt.recursive) capture(around);

  bool any = false;
  bool finished = false;  // a turn without break or continue: what decides about "else" in Jinja
  {
    Scoped scoped(*this, around);
    while (loop->advance(*this)) {
      if (any) scoped.renew();
      any = true;
      assign(*stmt.target, loop->current);
      if (loop_symbol != kNoSymbol) set(*scope_, loop_symbol, Value::object(Kind::kLoop, loop));
      const Flow flow = execute(stmt.body);
      if (flow == Flow::kBreak) break;
      finished |= flow == Flow::kNormal;
      line_ = stmt.line;
    }
  }
  if (!finished && !stmt.otherwise.empty()) {
    const Scoped scoped(*this, around);
    execute(stmt.otherwise);
  }
}

Value Interpreter::call_loop(Loop& loop, Arguments& arguments) {
  if (!loop.stmt->recursive) fail("the loop must have the 'recursive' marker to be callable");
  const Bound bound(*this, "loop", arguments, {"iterable"}, 1);
  const Nested nested(*this);
  StringBuilder text = builder();
  const OutputTo redirected(out_, text);
  run_loop(*loop.stmt, bound[0], loop.scope, loop.depth0 + 1);
  return Value::string(text.finish(autoescape_));
}

void Loop::clear() noexcept {
  stmt = nullptr;
  iterable = previous = current = following = last_changed = Value();
  iterator = Iterator();
}

bool Loop::peek(Interpreter& context) {
  if (!has_following && !ended) {
    has_following = iterator.next(context, following);
    ended = !has_following;
  }
  return has_following;
}

bool Loop::advance(Interpreter& context) {
  if (!peek(context)) return false;
  has_previous = index0 >= 0;
  previous = std::move(current);
  current = std::move(following);
  following = Value();
  has_following = false;
  ++index0;
  return true;
}

std::int64_t Loop::length(Interpreter& context) {
  if (known_length >= 0) return known_length;
  if (iterable.is(Kind::kGenerator) || iterable.is(Kind::kLoop)) {
    // Only by taking what is left: keep it for the turns to come.
    peek(context);
    std::vector<Value> rest;
    Value item;
    while (has_following && iterator.next(context, item)) {
      if ((rest.size() & 1023) == 1023) context.require_elements(2 * rest.size());
      rest.push_back(item);
    }
    known_length = index0 + 1 + (has_following ? 1 : 0) + static_cast<std::int64_t>(rest.size());
    iterator = context.iterate(context.list(std::move(rest)));
  } else {
    known_length = context.length(iterable);
  }
  return known_length;
}

bool Interpreter::loop_attribute(const Value& object, std::string_view name, Value& out) {
  Loop& loop = object.as<Loop>();
  if (loop.stmt == nullptr) return false;
  if (name == "index") {
    out = Value::integer(loop.index0 + 1);
  } else if (name == "index0") {
    out = Value::integer(loop.index0);
  } else if (name == "first") {
    out = Value::boolean(loop.index0 == 0);
  } else if (name == "last") {
    out = Value::boolean(!loop.peek(*this));
  } else if (name == "length") {
    out = Value::integer(loop.length(*this));
  } else if (name == "revindex") {
    out = Value::integer(loop.length(*this) - loop.index0);
  } else if (name == "revindex0") {
    out = Value::integer(loop.length(*this) - loop.index0 - 1);
  } else if (name == "depth") {
    out = Value::integer(loop.depth0 + 1);
  } else if (name == "depth0") {
    out = Value::integer(loop.depth0);
  } else if (name == "previtem") {
    out = loop.has_previous ? loop.previous : undefined("there is no previous item");
  } else if (name == "nextitem") {
    out = loop.peek(*this) ? loop.following : undefined("there is no next item");
  } else {
    return false;
  }
  return true;
}

// Assignment
// ---------------------------------------------------------------------------------------------------------

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::kName) {
    set(*scope_, target.symbol, value);
    return;
  }
  if (target.kind == ExprKind::kAttribute) {
    const Value object = evaluate(*target.left);
    if (!object.is(Kind::kNamespace)) fail("cannot assign attribute on non-namespace object");
    object.as<Namespace>().attributes->set(string(target.name, Origin::kTemplate), value);
    return;
  }
  require_defined(value);
  const std::vector<Value> items = to_vector(value);
  if (items.size() != target.items.size()) {
    fail("expected " + std::to_string(target.items.size()) + " values to unpack, got " +
         std::to_string(items.size()));
  }
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.items[i], items[i]);
}

}  // namespace hearth::text::jinja
