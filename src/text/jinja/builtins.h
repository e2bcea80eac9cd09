// The tables of what templates can use by name: filters, tests, methods of values and global
// functions. Behaviour is that of Jinja 3.1 and Python's types (documented at
// jinja.palletsprojects.com and docs.python.org).
#pragma once

#include <initializer_list>
#include <string_view>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

using FilterFunction = Value (*)(Interpreter& context, const Value& input, Arguments& arguments);
using TestFunction = bool (*)(Interpreter& context, const Value& input, Arguments& arguments);
using MethodFunction = Value (*)(Interpreter& context, const Value& self, Arguments& arguments);
using GlobalFunction = Value (*)(Interpreter& context, Arguments& arguments);

template <typename FunctionType>
struct NamedFunction {
  std::string_view name;
  FunctionType function;
};

// Null when there is none of this name.
[[nodiscard]] FilterFunction find_filter(std::string_view name) noexcept;
[[nodiscard]] TestFunction find_test(std::string_view name) noexcept;
[[nodiscard]] MethodFunction find_method(const Value& self, std::string_view name) noexcept;
[[nodiscard]] GlobalFunction find_global(std::string_view name) noexcept;

// The parts of the tables, by file.
[[nodiscard]] FilterFunction find_text_filter(std::string_view name) noexcept;
[[nodiscard]] FilterFunction find_markup_filter(std::string_view name) noexcept;
[[nodiscard]] FilterFunction find_sequence_filter(std::string_view name) noexcept;
[[nodiscard]] FilterFunction find_number_filter(std::string_view name) noexcept;
[[nodiscard]] MethodFunction find_string_method(std::string_view name) noexcept;
[[nodiscard]] MethodFunction find_string_property_method(std::string_view name) noexcept;

template <typename FunctionType, std::size_t count>
[[nodiscard]] FunctionType find_named(const NamedFunction<FunctionType> (&table)[count],
                                      std::string_view name) noexcept {
  for (const auto& entry : table) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

/// Arguments bound to parameter names as Python binds them. Missing ones are absent. Throws the
/// context's error on too many, unknown, repeated or missing (of the first `required`) arguments.
class Bound {
 public:
  Bound(Interpreter& context, std::string_view function, const Arguments& arguments,
        std::initializer_list<std::string_view> names, std::size_t required = 0);
  [[nodiscard]] bool has(std::size_t index) const { return values_[index] != nullptr; }
  /// The argument; undefined when absent.
  [[nodiscard]] const Value& operator[](std::size_t index) const;
  [[nodiscard]] bool flag(std::size_t index, bool fallback) const;
  /// An integer argument (bool included); `fallback` when absent. Other types are errors.
  [[nodiscard]] std::int64_t integer(std::size_t index, std::int64_t fallback) const;
  /// A string argument; null when absent or none.
  [[nodiscard]] StringPtr string(std::size_t index) const;

 private:
  Interpreter& context_;
  std::string_view function_;
  const Value* values_[6] = {};
};

}  // namespace hearth::text::jinja
