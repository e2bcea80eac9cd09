// Evaluates a Program: one Interpreter per rendering. Filters, tests and methods use its public
// part.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/date_time.h"
#include "text/jinja/ast.h"
#include "text/jinja/error.h"
#include "text/jinja/value.h"

namespace hearth::text::jinja {

/// Steps through any iterable value. Lists are followed live: what is appended during iteration is
/// seen.
class Iterator {
 public:
  /// The next element; false at the end.
  bool next(Interpreter& context, Value& out);

 private:
  friend class Interpreter;
  Value source_;
  std::size_t position_ = 0;
  std::size_t expected_size_ = 0;  // of a dict
  bool backwards_ = false;
};

/// Variables of one scope. Kept alive by the interpreter; `captured` ones (a macro refers to them)
/// until its end.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;
  std::vector<std::pair<Symbol, Value>> variables;
};

/// A macro, or the body of a call block.
class Macro final : public Container {
 public:
  Macro(Heap& heap, const MacroInfo& macro_info, Scope* defined_in)
      : Container(heap), info(&macro_info), scope(defined_in) {}
  void clear() noexcept override {}
  const MacroInfo* info;
  Scope* scope;
};

/// The variable `loop`.
class Loop final : public Container {
 public:
  explicit Loop(Heap& heap) : Container(heap) {}
  ~Loop() override { clear(); }
  void clear() noexcept override;
  bool peek(Interpreter& context);
  bool advance(Interpreter& context);
  std::int64_t length(Interpreter& context);

  const Stmt* stmt = nullptr;
  Scope* scope = nullptr;  // around the loop
  Value iterable;
  Iterator iterator;
  Value previous, current, following;
  Value last_changed;  // arguments of the previous changed(), as a tuple
  bool has_previous = false, has_following = false, ended = false;
  std::int64_t index0 = -1;
  std::int64_t known_length = -1;
  std::int64_t depth0 = 0;
};

class Cycler final : public Container {
 public:
  Cycler(Heap& heap, std::vector<Value> values) : Container(heap), items(std::move(values)) {}
  void clear() noexcept override { items.clear(); }
  std::vector<Value> items;
  std::size_t position = 0;
};

class Interpreter {
 public:
  Interpreter(const Program& program, const Limits& limits, const DateTime& now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  /// Gives the context variable `name` a value made by this interpreter's functions. Ignored if
  /// never used.
  void set_variable(const std::string& name, Value value);
  [[nodiscard]] bool uses_variable(const std::string& name) const {
    return program_.symbol_ids.contains(name);
  }
  /// Renders the whole template. Call once.
  [[nodiscard]] StringPtr run();

  // Services for operations, filters, tests and methods
  // -------------------------------------------------------------

  /// Counts one level of recursion for as long as it lives.
  class Nested {
   public:
    explicit Nested(Interpreter& context) : context_(context) {
      if (++context_.depth_ > context_.limits_.depth) context_.fail_depth();
    }
    ~Nested() { --context_.depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Interpreter& context_;
  };

  [[nodiscard]] Heap& heap() noexcept { return heap_; }
  [[nodiscard]] const DateTime& now() const noexcept { return now_; }
  [[nodiscard]] bool autoescape() const noexcept { return autoescape_; }
  /// Throws TemplateError with the present line.
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void raise(const std::string& message) const;
  /// Accounts for work on `size` bytes or elements.
  void work(std::size_t size) {
    steps_ += 1 + size / 64;
    if (steps_ > limits_.steps) fail_steps();
  }

  [[nodiscard]] StringBuilder builder() { return {heap_, limits_.string_bytes}; }
  [[nodiscard]] Value string(std::string text, Origin origin);
  [[nodiscard]] Value substring(const String& text, std::size_t begin, std::size_t end,
                                bool markup);
  [[nodiscard]] Value undefined(std::string message);
  [[nodiscard]] Value list(std::vector<Value> items);
  [[nodiscard]] Value tuple(std::vector<Value> items);
  [[nodiscard]] Value dict() { return Value::object(Kind::kDict, std::make_shared<Dict>(heap_)); }
  [[nodiscard]] Value generator(Generator::Next next);
  [[nodiscard]] Value big(const BigInt& number, Origin origin);
  /// Throws unless `count` more list elements fit.
  void require_elements(std::size_t count) const {
    heap_.require(count < (1U << 30) ? count * sizeof(Value) : ~std::size_t{0});
  }

  /// Throws "'x' is undefined" (or why) when `value` is undefined.
  void require_defined(const Value& value) const;
  [[nodiscard]] bool truthy(const Value& value);
  [[nodiscard]] Iterator iterate(const Value& value);
  [[nodiscard]] Iterator iterate_backwards(const Value& value);
  [[nodiscard]] std::vector<Value> to_vector(const Value& iterable);
  /// len(); fails for values without one.
  [[nodiscard]] std::int64_t length(const Value& value);
  [[nodiscard]] bool has_length(const Value& value) const noexcept;
  /// x.name, as Jinja does it: attribute, then key.
  [[nodiscard]] Value get_attribute(const Value& object, std::string_view name);
  /// x[key]: key, then attribute.
  [[nodiscard]] Value get_item(const Value& object, const Value& key);
  /// Only Python attributes, never keys. False when there is none.
  bool find_attribute(const Value& object, std::string_view name, Value& out);
  [[nodiscard]] Value slice(const Value& object, const Value& start, const Value& stop,
                            const Value& step);
  [[nodiscard]] Value call(const Value& callee, Arguments& arguments);
  [[nodiscard]] Value filter(std::string_view name, const Value& input, Arguments& arguments);
  [[nodiscard]] bool test(std::string_view name, const Value& input, Arguments& arguments);

 private:
  enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

  [[noreturn]] void fail_depth() const;
  [[noreturn]] void fail_steps() const;

  // Scopes
  Scope* new_scope(Scope* parent);
  void drop_scope(Scope* scope);
  static void capture(Scope* scope);
  class Scoped;
  [[nodiscard]] Value lookup(const Expr& name);
  void assign(const Expr& target, const Value& value);
  static void set(Scope& scope, Symbol symbol, Value value);

  // Statements
  Flow execute(const Body& body);
  Flow execute(const Stmt& stmt);
  Flow execute_if(const Stmt& stmt);
  void execute_for(const Stmt& stmt);
  void run_loop(const Stmt& stmt, const Value& iterable, Scope* around, std::int64_t depth0);
  Value filtered(const Stmt& stmt, const Value& iterable, Scope* around);
  void execute_with(const Stmt& stmt);
  void execute_call_block(const Stmt& stmt);
  void execute_autoescape(const Stmt& stmt);
  void execute_block(const Stmt& stmt, Scope* parent);
  StringPtr capture_output(const Body& body, Scope* parent);
  void output(const Value& value);

  // Expressions
  Value evaluate(const Expr& expr);
  Value evaluate_access(const Expr& expr);
  Value evaluate_call(const Expr& expr);
  Value evaluate_binary(const Expr& expr);
  Value evaluate_compare(const Expr& expr);
  Value evaluate_concat(const Expr& expr);
  Value evaluate_collection(const Expr& expr);
  Value evaluate_filter(const Expr& expr, const Value& input);
  Arguments evaluate_arguments(const Expr& expr);
  Value call_macro(const Macro& macro, Arguments& arguments);
  Value call_loop(Loop& loop, Arguments& arguments);
  bool loop_attribute(const Value& object, std::string_view name, Value& out);
  bool object_attribute(const Value& object, std::string_view name, Value& out);

  const Program& program_;
  const Limits limits_;
  const DateTime now_;
  Heap heap_;
  std::vector<std::unique_ptr<Scope>> scopes_;
  std::vector<Scope*> free_scopes_;
  Scope* scope_ = nullptr;
  Scope* template_scope_ = nullptr;
  Scope* context_scope_ = nullptr;
  StringBuilder* out_ = nullptr;
  std::uint64_t steps_ = 0;
  std::uint32_t depth_ = 0;
  std::uint32_t line_ = 1;
  bool autoescape_ = false;
};

}  // namespace hearth::text::jinja
