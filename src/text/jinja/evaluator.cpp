// Evaluating expressions, and calling what can be called.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {

Value Interpreter::evaluate(const Expr& expr) {
  const Nested nested(*this);
  work(1);
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return lookup(expr);
    case ExprKind::kTuple:
    case ExprKind::kList:
    case ExprKind::kDict:
      return evaluate_collection(expr);
    case ExprKind::kAttribute:
    case ExprKind::kItem:
      return evaluate_access(expr);
    case ExprKind::kSlice:
      fail("a slice can only stand in brackets");
    case ExprKind::kCall:
      return evaluate_call(expr);
    case ExprKind::kFilter:
      return evaluate_filter(expr, {});
    case ExprKind::kTest: {
      const Value input = evaluate(*expr.left);
      Arguments arguments = evaluate_arguments(expr);
      line_ = expr.line;
      return Value::boolean(test(expr.name, input, arguments) != expr.negated);
    }
    case ExprKind::kConcat:
      return evaluate_concat(expr);
    case ExprKind::kNegate:
      return negate(*this, evaluate(*expr.left));
    case ExprKind::kPlus:
      return positive(*this, evaluate(*expr.left));
    case ExprKind::kNot:
      return Value::boolean(!truthy(evaluate(*expr.left)));
    case ExprKind::kAnd: {
      Value left = evaluate(*expr.left);
      return truthy(left) ? evaluate(*expr.right) : left;
    }
    case ExprKind::kOr: {
      Value left = evaluate(*expr.left);
      return truthy(left) ? left : evaluate(*expr.right);
    }
    case ExprKind::kCompare:
      return evaluate_compare(expr);
    case ExprKind::kConditional:
      if (truthy(evaluate(*expr.left))) return evaluate(*expr.right);
      if (expr.third != nullptr) return evaluate(*expr.third);
      return undefined(
          "the inline if-expression evaluated to false and no else section was defined");
    default:
      return evaluate_binary(expr);
  }
}

Value Interpreter::evaluate_binary(const Expr& expr) {
  const Value left = evaluate(*expr.left);
  const Value right = evaluate(*expr.right);
  line_ = expr.line;
  switch (expr.kind) {
    case ExprKind::kAdd:
      return arithmetic(*this, Arithmetic::kAdd, left, right);
    case ExprKind::kSubtract:
      return arithmetic(*this, Arithmetic::kSubtract, left, right);
    case ExprKind::kMultiply:
      return arithmetic(*this, Arithmetic::kMultiply, left, right);
    case ExprKind::kDivide:
      return arithmetic(*this, Arithmetic::kDivide, left, right);
    case ExprKind::kFloorDivide:
      return arithmetic(*this, Arithmetic::kFloorDivide, left, right);
    case ExprKind::kModulo:
      return arithmetic(*this, Arithmetic::kModulo, left, right);
    default:
      return arithmetic(*this, Arithmetic::kPower, left, right);
  }
}

Value Interpreter::evaluate_collection(const Expr& expr) {
  if (expr.kind == ExprKind::kDict) {
    const auto dict = std::make_shared<Dict>(heap_);
    for (std::size_t i = 0; i < expr.items.size(); i += 2) {
      const Value key = evaluate(*expr.items[i]);
      dict->set(key, evaluate(*expr.items[i + 1]));
    }
    return Value::object(Kind::kDict, dict);
  }
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) items.push_back(evaluate(*item));
  return expr.kind == ExprKind::kList ? list(std::move(items)) : tuple(std::move(items));
}

Value Interpreter::evaluate_access(const Expr& expr) {
  const Value object = evaluate(*expr.left);
  line_ = expr.line;
  if (expr.kind == ExprKind::kAttribute) return get_attribute(object, expr.name);
  if (expr.right->kind == ExprKind::kSlice) {
    Value bounds[3];
    for (std::size_t i = 0; i < 3; ++i) {
      bounds[i] = expr.right->items[i] == nullptr ? Value::none() : evaluate(*expr.right->items[i]);
    }
    return slice(object, bounds[0], bounds[1], bounds[2]);
  }
  return get_item(object, evaluate(*expr.right));
}

Value Interpreter::evaluate_concat(const Expr& expr) {
  StringBuilder text = builder();
  bool markup = false;
  std::vector<Value> parts;
  parts.reserve(expr.items.size());
  for (const Expr* item : expr.items) parts.push_back(evaluate(*item));
  if (autoescape_) {
    markup = std::any_of(parts.begin(), parts.end(),
                         [](const Value& v) { return v.is_string() && v.str().markup; });
  }
  for (const Value& part : parts) text.append(markup ? *escape(*this, part) : *to_str(*this, part));
  work(text.size());
  return Value::string(text.finish(markup));
}

Value Interpreter::evaluate_compare(const Expr& expr) {
  Value left = evaluate(*expr.items[0]);
  for (std::size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = evaluate(*expr.items[i + 1]);
    line_ = expr.line;
    bool holds = false;
    switch (expr.operators[i]) {
      case CompareOp::kEqual:
        holds = equal(*this, left, right);
        break;
      case CompareOp::kNotEqual:
        holds = !equal(*this, left, right);
        break;
      case CompareOp::kLess:
        holds = compare(*this, left, right, "<") == -1;
        break;
      case CompareOp::kLessEqual: {
        const int order = compare(*this, left, right, "<=");
        holds = order == -1 || order == 0;
        break;
      }
      case CompareOp::kGreater:
        holds = compare(*this, left, right, ">") == 1;
        break;
      case CompareOp::kGreaterEqual: {
        const int order = compare(*this, left, right, ">=");
        holds = order == 1 || order == 0;
        break;
      }
      case CompareOp::kIn:
        holds = contains(*this, right, left);
        break;
      case CompareOp::kNotIn:
        holds = !contains(*this, right, left);
        break;
    }
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::evaluate_filter(const Expr& expr, const Value& innermost) {
  // In filter blocks the chain ends in null: there the block's text goes in.
  Value input = innermost;
  if (expr.left != nullptr) {
    const bool chain = expr.left->kind == ExprKind::kFilter && !innermost.is_undefined();
    if (chain) {
      const Nested nested(*this);
      input = evaluate_filter(*expr.left, innermost);
    } else {
      input = evaluate(*expr.left);
    }
  }
  Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  return filter(expr.name, input, arguments);
}

Arguments Interpreter::evaluate_arguments(const Expr& expr) {
  Arguments arguments;
  for (const Expr* item : expr.items) arguments.positional.push_back(evaluate(*item));
  if (expr.star != nullptr) {
    const Value value = evaluate(*expr.star);
    for (Value& item : to_vector(value)) arguments.positional.push_back(std::move(item));
  }
  for (const auto& [name, item] : expr.keywords)
    arguments.keyword.emplace_back(name, evaluate(*item));
  if (expr.double_star != nullptr) {
    const Value value = evaluate(*expr.double_star);
    if (!value.is(Kind::kDict))
      fail("argument after ** must be a mapping, not " + std::string(type_name(value)));
    for (const Dict::Entry& entry : value.as<Dict>().entries()) {
      if (!entry.key.is_string()) fail("keywords must be strings");
      work(64 * arguments.keyword.size());
      for (const auto& keyword : arguments.keyword) {
        if (keyword.first == entry.key.str().bytes)
          fail("got multiple values for keyword argument '" + keyword.first + "'");
      }
      arguments.keyword.emplace_back(entry.key.str().bytes, entry.value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expr& expr) {
  if (expr.left->kind == ExprKind::kAttribute) {
    // A method called right away needs no function object.
    const Value object = evaluate(*expr.left->left);
    Value attribute;
    line_ = expr.line;
    const MethodFunction method = find_method(object, expr.left->name);
    if (method != nullptr && !object_attribute(object, expr.left->name, attribute)) {
      Arguments arguments = evaluate_arguments(expr);
      line_ = expr.line;
      return method(*this, object, arguments);
    }
    attribute = get_attribute(object, expr.left->name);
    Arguments arguments = evaluate_arguments(expr);
    line_ = expr.line;
    return call(attribute, arguments);
  }
  const Value callee = evaluate(*expr.left);
  Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  return call(callee, arguments);
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  const Nested nested(*this);
  switch (callee.kind()) {
    case Kind::kMacro:
      return call_macro(callee.as<Macro>(), arguments);
    case Kind::kFunction: {
      const auto function = callee.ptr<Function>();
      return function->body(*this, arguments);
    }
    case Kind::kLoop:
      return call_loop(callee.as<Loop>(), arguments);
    default:
      require_defined(callee);
      fail("'" + std::string(type_name(callee)) + "' object is not callable");
  }
}

Value Interpreter::call_macro(const Macro& macro, Arguments& arguments) {
  const MacroInfo& info = *macro.info;
  const std::uint32_t call_line = line_;
  StringBuilder text = builder();
  StringBuilder* const outer_out = out_;
  Scope* const outer_scope = scope_;
  Scope* const scope = new_scope(macro.scope);
  struct Restore {
    Interpreter& context;
    StringBuilder* out;
    Scope* outer;
    Scope* inner;
    ~Restore() {
      context.out_ = out;
      context.scope_ = outer;
      context.drop_scope(inner);
    }
  } const restore{*this, outer_out, outer_scope, scope};

  const std::size_t count = info.parameters.size();
  std::vector<std::pair<std::string, Value>> keyword = std::move(arguments.keyword);
  const auto take = [&keyword](std::string_view name, Value& value) {
    const auto found = std::find_if(keyword.begin(), keyword.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found == keyword.end()) return false;
    value = std::move(found->second);
    keyword.erase(found);
    return true;
  };
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < count; ++i) {
    Value value;
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (!take(info.parameter_names[i], value)) {
      missing.push_back(i);
      continue;
    }
    set(*scope, info.parameters[i], std::move(value));
  }
  const auto special = [&](const char* name, Value value) {
    const auto symbol = program_.symbol_ids.find(name);
    if (symbol != program_.symbol_ids.end()) set(*scope, symbol->second, std::move(value));
  };
  if (info.uses_caller && !info.explicit_caller) {
    Value caller;
    if (!take("caller", caller) || caller.is_none()) caller = undefined("no caller defined");
    special("caller", std::move(caller));
  }
  if (info.uses_kwargs) {
    const auto rest = std::make_shared<Dict>(heap_);
    for (auto& [name, value] : keyword)
      rest->set(string(name, Origin::kTemplate), std::move(value));
    special("kwargs", Value::object(Kind::kDict, rest));
  } else if (!keyword.empty()) {
    fail("macro '" + info.name + "' takes no keyword argument '" + keyword.front().first + "'");
  }
  if (info.uses_varargs) {
    const auto first = arguments.positional.begin() +
                       static_cast<std::ptrdiff_t>(std::min(count, arguments.positional.size()));
    special("varargs", tuple(std::vector<Value>(first, arguments.positional.end())));
  } else if (arguments.positional.size() > count) {
    fail("macro '" + info.name + "' takes not more than " + std::to_string(count) + " argument(s)");
  }
  scope_ = scope;
  out_ = &text;
  // Defaults may use the parameters before them.
  for (const std::size_t i : missing) {
    const std::size_t first_default = count - info.defaults.size();
    set(*scope, info.parameters[i],
        i >= first_default
            ? evaluate(*info.defaults[i - first_default])
            : undefined("parameter '" + info.parameter_names[i] + "' was not provided"));
  }
  execute(info.body);
  line_ = call_line;
  return Value::string(text.finish(autoescape_));
}

Value Interpreter::filter(std::string_view name, const Value& input, Arguments& arguments) {
  const FilterFunction function = find_filter(name);
  if (function == nullptr) fail("no filter named '" + std::string(name) + "'");
  const Nested nested(*this);
  return function(*this, input, arguments);
}

bool Interpreter::test(std::string_view name, const Value& input, Arguments& arguments) {
  const TestFunction function = find_test(name);
  if (function == nullptr) fail("no test named '" + std::string(name) + "'");
  return function(*this, input, arguments);
}

/// Attributes that are data rather than methods.
bool Interpreter::object_attribute(const Value& object, std::string_view name, Value& out) {
  switch (object.kind()) {
    case Kind::kNamespace:
      if (const Value* found = object.as<Namespace>().attributes->find(name)) {
        out = *found;
        return true;
      }
      return false;
    case Kind::kLoop:
      return loop_attribute(object, name, out);
    case Kind::kTuple:
      if (!object.as<List>().group || (name != "grouper" && name != "list")) return false;
      out = object.as<List>().items[name == "list" ? 1 : 0];
      return true;
    case Kind::kCycler: {
      const Cycler& cycler = object.as<Cycler>();
      if (name == "current" && !cycler.items.empty()) {
        out = cycler.items[cycler.position];
        return true;
      }
      return false;
    }
    case Kind::kMacro: {
      const MacroInfo& info = *object.as<Macro>().info;
      if (name == "name") {
        out = string(info.name, Origin::kTemplate);
      } else if (name == "arguments") {
        std::vector<Value> names;
        for (const std::string& parameter : info.parameter_names)
          names.push_back(string(parameter, Origin::kTemplate));
        out = tuple(std::move(names));
      } else if (name == "caller") {
        out = Value::boolean(info.uses_caller);
      } else if (name == "catch_kwargs") {
        out = Value::boolean(info.uses_kwargs);
      } else if (name == "catch_varargs") {
        out = Value::boolean(info.uses_varargs);
      } else {
        return false;
      }
      return true;
    }
    case Kind::kRange: {
      const Range& range = object.as<Range>();
      if (name != "start" && name != "stop" && name != "step") return false;
      out = Value::integer(name == "start"  ? range.start
                           : name == "stop" ? range.stop
                                            : range.step);
      return true;
    }
    case Kind::kInt:
    case Kind::kBool:
    case Kind::kFloat:
      if (name == "real" || (name == "numerator" && !object.is(Kind::kFloat))) {
        out = object.is(Kind::kBool) ? Value::integer(object.as_int()) : object;
      } else if (name == "imag") {
        out = object.is(Kind::kFloat) ? Value::real(0) : Value::integer(0);
      } else if (name == "denominator" && !object.is(Kind::kFloat)) {
        out = Value::integer(1);
      } else {
        return false;
      }
      return true;
    default:
      return false;
  }
}

}  // namespace hearth::text::jinja
