// The interpreter's services: values, iteration, attributes, scopes.
#include "text/jinja/interpreter.h"

#include <algorithm>
#include <stdexcept>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {

Interpreter::Interpreter(const Program& program, const Limits& limits, const DateTime& now)
    : program_(program), limits_(limits), now_(now), heap_(limits.memory_bytes) {
  context_scope_ = new_scope(nullptr);
  template_scope_ = new_scope(context_scope_);
  context_scope_->captured = template_scope_->captured = true;
  scope_ = template_scope_;
}

Interpreter::~Interpreter() {
  // Values of scopes go before the heap that counts them; what is left in cycles the heap takes
  // apart.
  for (const auto& scope : scopes_) scope->variables.clear();
}

void Interpreter::fail(const std::string& message) const {
  throw TemplateError(program_.name, line_, message);
}
void Interpreter::raise(const std::string& message) const {
  throw TemplateRaised(program_.name, line_, message);
}
void Interpreter::fail_depth() const { fail("the template recurses too deeply"); }
void Interpreter::fail_steps() const { fail("the template runs for too long"); }

void Interpreter::set_variable(const std::string& name, Value value) {
  const auto symbol = program_.symbol_ids.find(name);
  if (symbol != program_.symbol_ids.end()) set(*context_scope_, symbol->second, std::move(value));
}

StringPtr Interpreter::run() {
  StringBuilder result = builder();
  out_ = &result;
  try {
    execute(program_.body);
    return result.finish();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    // Limits and unhashable keys found by the value types, which do not know the line.
    fail(error.what());
  }
}

// Values
// -------------------------------------------------------------------------------------------------------------

Value Interpreter::string(std::string text, Origin origin) {
  if (text.size() > limits_.string_bytes) fail("the template makes too long a text");
  return Value::string(std::make_shared<String>(&heap_, std::move(text), origin));
}

Value Interpreter::substring(const String& text, std::size_t begin, std::size_t end, bool markup) {
  StringBuilder part = builder();
  if (begin < end) part.append(text, begin, end);
  work(part.size());
  return Value::string(part.finish(markup));
}

Value Interpreter::undefined(std::string message) {
  return Value::object(Kind::kUndefined,
                       std::make_shared<UndefinedInfo>(&heap_, std::move(message)));
}

Value Interpreter::list(std::vector<Value> items) {
  const auto list = std::make_shared<List>(heap_);
  list->items = std::move(items);
  list->resized();
  return Value::object(Kind::kList, list);
}

Value Interpreter::tuple(std::vector<Value> items) {
  const auto list = std::make_shared<List>(heap_);
  list->items = std::move(items);
  list->resized();
  return Value::object(Kind::kTuple, list);
}

Value Interpreter::generator(Generator::Next next) {
  return Value::object(Kind::kGenerator, std::make_shared<Generator>(heap_, std::move(next)));
}

Value Interpreter::big(const BigInt& number, Origin origin) {
  if (number.fits_int64()) return Value::integer(number.to_int64(), origin);
  return Value::object(Kind::kBigInt, std::make_shared<BigIntObject>(&heap_, number), origin);
}

void Interpreter::require_defined(const Value& value) const {
  if (!value.is_undefined()) return;
  fail(value.identity() == nullptr ? "the value is undefined" : value.as<UndefinedInfo>().message);
}

bool Interpreter::truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    default:
      return !has_length(value) || length(value) != 0;
  }
}

bool Interpreter::has_length(const Value& value) const noexcept {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

std::int64_t Interpreter::length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<std::int64_t>(value.str().length());
    case Kind::kBytes:
      return static_cast<std::int64_t>(value.as<Bytes>().bytes.size());
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<std::int64_t>(value.as<List>().items.size());
    case Kind::kDict:
      return static_cast<std::int64_t>(value.as<Dict>().entries().size());
    case Kind::kView:
      return static_cast<std::int64_t>(value.as<View>().dict.as<Dict>().entries().size());
    case Kind::kRange:
      return value.as<Range>().length;
    case Kind::kLoop:
      return value.as<Loop>().length(*this);
    default:
      fail("object of type '" + std::string(type_name(value)) + "' has no len()");
  }
}

// Iteration
// ----------------------------------------------------------------------------------------------------------

Iterator Interpreter::iterate(const Value& value) {
  if (!has_length(value) && !value.is(Kind::kGenerator))
    fail("'" + std::string(type_name(value)) + "' object is not iterable");
  Iterator iterator;
  iterator.source_ = value;
  if (value.is(Kind::kDict) || value.is(Kind::kView))
    iterator.expected_size_ = static_cast<std::size_t>(length(value));
  return iterator;
}

Iterator Interpreter::iterate_backwards(const Value& value) {
  const bool reversible = has_length(value) && !value.is(Kind::kLoop);
  if (!reversible) fail("'" + std::string(type_name(value)) + "' object is not reversible");
  Iterator iterator;
  // A string cannot be walked backwards cheaply by index; its characters can.
  iterator.source_ = value.is_string() ? list(to_vector(value)) : value;
  iterator.backwards_ = true;
  iterator.position_ = static_cast<std::size_t>(length(value));
  iterator.expected_size_ = iterator.position_;
  return iterator;
}

bool Iterator::next(Interpreter& context, Value& out) {
  context.work(1);
  if (source_.is(Kind::kGenerator)) {
    const Interpreter::Nested nested(context);
    const auto generator = source_.ptr<Generator>();  // keeps the function alive while it runs
    return generator->next != nullptr && generator->next(out);
  }
  if (source_.is(Kind::kLoop)) {
    Loop& loop = source_.as<Loop>();
    if (!loop.advance(context)) return false;
    out = context.tuple({loop.current, source_});
    return true;
  }
  if (source_.is_string()) {
    const String& text = source_.str();
    if (position_ >= text.bytes.size()) return false;
    const std::size_t end =
        position_ + decode_utf8(std::string_view(text.bytes).substr(position_)).length;
    out = context.substring(text, position_, end, false);
    position_ = end;
    return true;
  }
  const auto size = static_cast<std::size_t>(context.length(source_));
  if ((source_.is(Kind::kDict) || source_.is(Kind::kView)) && size != expected_size_) {
    context.fail("dictionary changed size during iteration");
  }
  if (backwards_ ? position_ == 0 : position_ >= size) return false;
  const std::size_t at = backwards_ ? --position_ : position_++;
  if (at >= size) return false;
  switch (source_.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      out = source_.as<List>().items[at];
      break;
    case Kind::kDict:
      out = source_.as<Dict>().entries()[at].key;
      break;
    case Kind::kRange:
      out = Value::integer(source_.as<Range>().at(static_cast<std::int64_t>(at)), source_.origin());
      break;
    case Kind::kBytes:
      out = Value::integer(static_cast<unsigned char>(source_.as<Bytes>().bytes[at]));
      break;
    case Kind::kView: {
      const View& view = source_.as<View>();
      const Dict::Entry& entry = view.dict.as<Dict>().entries()[at];
      out = view.what == View::What::kKeys     ? entry.key
            : view.what == View::What::kValues ? entry.value
                                               : context.tuple({entry.key, entry.value});
      break;
    }
    default:
      return false;
  }
  return true;
}

std::vector<Value> Interpreter::to_vector(const Value& iterable) {
  if (iterable.is_sequence()) {
    const std::vector<Value>& items = iterable.as<List>().items;
    require_elements(items.size());
    work(64 * items.size());
    return items;
  }
  std::vector<Value> items;
  Iterator iterator = iterate(iterable);
  Value item;
  while (iterator.next(*this, item)) {
    if ((items.size() & 1023) == 1023) require_elements(2 * items.size());
    items.push_back(item);
  }
  return items;
}

// Attributes and items
// -----------------------------------------------------------------------------------------------

bool Interpreter::find_attribute(const Value& object, std::string_view name, Value& out) {
  if (object_attribute(object, name, out)) return true;
  const MethodFunction method = find_method(object, name);
  if (method == nullptr) return false;
  auto body = [object, method](Interpreter& context, Arguments& arguments) {
    return method(context, object, arguments);
  };
  out = Value::object(Kind::kFunction,
                      std::make_shared<Function>(heap_, std::string(name), std::move(body)));
  return true;
}

Value Interpreter::get_attribute(const Value& object, std::string_view name) {
  require_defined(object);
  Value out;
  if (name.starts_with("__")) {
    return undefined("access to attribute '" + std::string(name) + "' of '" +
                     std::string(type_name(object)) + "' object is unsafe");
  }
  if (find_attribute(object, name, out)) return out;
  if (object.is(Kind::kDict)) {
    if (const Value* found = object.as<Dict>().find(name)) return *found;
  }
  return undefined("'" + std::string(type_name(object)) + " object' has no attribute '" +
                   std::string(name) + "'");
}

Value Interpreter::get_item(const Value& object, const Value& key) {
  require_defined(object);
  if (object.is(Kind::kDict) && !key.is(Kind::kList) && !key.is(Kind::kDict)) {
    if (const Value* found = object.as<Dict>().find(key)) return *found;
  } else if ((key.is(Kind::kInt) || key.is(Kind::kBool)) && has_length(object)) {
    const std::int64_t size = object.is(Kind::kView) || object.is(Kind::kLoop) ? 0 : length(object);
    const std::int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (at >= 0 && at < size) {
      const auto index = static_cast<std::size_t>(at);
      switch (object.kind()) {
        case Kind::kList:
        case Kind::kTuple:
          return object.as<List>().items[index];
        case Kind::kRange:
          return Value::integer(object.as<Range>().at(at), object.origin());
        case Kind::kBytes:
          return Value::integer(static_cast<unsigned char>(object.as<Bytes>().bytes[index]));
        case Kind::kString: {
          const String& text = object.str();
          work(text.ascii() ? 1 : text.bytes.size());
          const std::size_t begin = text.offset_of(index);
          const std::size_t end =
              begin + decode_utf8(std::string_view(text.bytes).substr(begin)).length;
          return substring(text, begin, end, text.markup);
        }
        default:
          break;
      }
    }
  }
  Value out;
  if (key.is_string()) {
    const std::string& name = key.str().bytes;
    if (!name.starts_with("__") && find_attribute(object, name, out)) return out;
    return undefined("'" + std::string(type_name(object)) + " object' has no attribute '" + name +
                     "'");
  }
  return undefined("'" + std::string(type_name(object)) + " object' has no element " +
                   to_repr(*this, key)->bytes);
}

Value Interpreter::slice(const Value& object, const Value& start, const Value& stop,
                         const Value& step) {
  require_defined(object);
  const bool sliceable = object.is_string() || object.is_sequence() || object.is(Kind::kRange) ||
                         object.is(Kind::kBytes);
  if (!sliceable)
    fail("'" + std::string(type_name(object)) + "' object is not subscriptable by slices");
  const std::int64_t size = length(object);
  const std::int64_t stride = step.is_none() ? 1 : to_index(*this, step, "a slice index");
  if (stride == 0) fail("slice step cannot be zero");
  const std::int64_t low = stride > 0 ? 0 : -1;
  const std::int64_t high = stride > 0 ? size : size - 1;
  const auto bound = [&](const Value& value, std::int64_t fallback) {
    if (value.is_none()) return fallback;
    std::int64_t index = to_index(*this, value, "a slice index");
    if (index < 0) index = index < -size ? -1 - size : index + size;
    return std::clamp(index, low, high);
  };
  const std::int64_t first = bound(start, stride > 0 ? low : high);
  const std::int64_t last = bound(stop, stride > 0 ? high : low);
  const Range indices(nullptr, first, last, stride);
  if (object.is(Kind::kRange)) {
    const Range& range = object.as<Range>();
    std::int64_t combined = 0;
    if (__builtin_mul_overflow(range.step, stride, &combined)) fail("the slice step is too large");
    return Value::object(Kind::kRange,
                         std::make_shared<Range>(&heap_, range.at(first), range.at(last), combined),
                         object.origin());
  }
  const auto count = static_cast<std::size_t>(indices.length);
  if (object.is_string() || object.is(Kind::kBytes)) {
    if (object.is(Kind::kBytes)) {
      std::string part;
      for (std::size_t i = 0; i < count; ++i) {
        part += object.as<Bytes>()
                    .bytes[static_cast<std::size_t>(indices.at(static_cast<std::int64_t>(i)))];
      }
      return Value::object(Kind::kBytes, std::make_shared<Bytes>(&heap_, std::move(part)));
    }
    const String& text = object.str();
    work(text.bytes.size());
    if (stride == 1) {
      const std::size_t begin = text.offset_of(static_cast<std::size_t>(first));
      return substring(text, begin,
                       count == 0 ? begin : text.offset_of(static_cast<std::size_t>(first) + count),
                       text.markup);
    }
    std::vector<std::size_t> offsets;
    if (!text.ascii()) {
      for (std::size_t i = 0; i < text.bytes.size(); ++i) {
        if ((static_cast<unsigned char>(text.bytes[i]) & 0xC0) != 0x80) offsets.push_back(i);
      }
      offsets.push_back(text.bytes.size());
    }
    StringBuilder part = builder();
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(indices.at(static_cast<std::int64_t>(i)));
      part.append(text, text.ascii() ? at : offsets[at], text.ascii() ? at + 1 : offsets[at + 1]);
    }
    return Value::string(part.finish(text.markup));
  }
  const auto& source = object.as<List>().items;
  require_elements(count);
  work(64 * count);
  std::vector<Value> items;
  items.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    items.push_back(source[static_cast<std::size_t>(indices.at(static_cast<std::int64_t>(i)))]);
  }
  Value result = object.is(Kind::kList) ? list(std::move(items)) : tuple(std::move(items));
  result.set_origin(object.origin());
  return result;
}

// Scopes
// -------------------------------------------------------------------------------------------------------------

Scope* Interpreter::new_scope(Scope* parent) {
  if (free_scopes_.empty()) {
    heap_.charge(256);
    free_scopes_.push_back(scopes_.emplace_back(std::make_unique<Scope>()).get());
  }
  Scope* scope = free_scopes_.back();
  free_scopes_.pop_back();
  scope->parent = parent;
  return scope;
}

void Interpreter::drop_scope(Scope* scope) {
  if (scope->captured) return;
  scope->variables.clear();
  free_scopes_.push_back(scope);
}

void Interpreter::capture(Scope* scope) {
  for (; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
}

void Interpreter::set(Scope& scope, Symbol symbol, Value value) {
  for (auto& variable : scope.variables) {
    if (variable.first == symbol) {
      variable.second = std::move(value);
      return;
    }
  }
  scope.variables.emplace_back(symbol, std::move(value));
}

Value Interpreter::lookup(const Expr& name) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& variable : scope->variables) {
      if (variable.first == name.symbol) return variable.second;
    }
  }
  if (const GlobalFunction function = find_global(name.name)) {
    return Value::object(Kind::kFunction, std::make_shared<Function>(heap_, name.name, function));
  }
  if (name.name == "self" && !program_.blocks.empty()) {
    const auto blocks = std::make_shared<Dict>(heap_);
    for (const auto& [block_name, stmt] : program_.blocks) {
      auto body = [block = stmt](Interpreter& context, Arguments&) {
        return Value::string(context.capture_output(block->body, context.template_scope_));
      };
      blocks->set(string(block_name, Origin::kTemplate),
                  Value::object(Kind::kFunction,
                                std::make_shared<Function>(heap_, block_name, std::move(body))));
    }
    return Value::object(Kind::kNamespace, std::make_shared<Namespace>(heap_, blocks));
  }
  return undefined("'" + name.name + "' is undefined");
}

}  // namespace hearth::text::jinja
