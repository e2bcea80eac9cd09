#include <algorithm>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include "gguf/file.h"

namespace hearth::gguf {
namespace {

/// Integers up to this magnitude have an exact double.
constexpr std::uint64_t kExactDouble = std::uint64_t{1} << 53;

std::optional<std::int64_t> to_int(std::uint64_t number) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(number);
}

std::optional<double> to_double(std::uint64_t number) {
  if (number > kExactDouble) return std::nullopt;
  return static_cast<double>(number);
}

std::optional<double> to_double(std::int64_t number) {
  constexpr auto kLimit = static_cast<std::int64_t>(kExactDouble);
  if (number > kLimit || number < -kLimit) return std::nullopt;
  return static_cast<double>(number);
}

/// Converts all elements with `convert`, which returns an optional; nothing if one cannot be
/// converted.
template <typename To, typename From, typename Convert>
std::optional<std::vector<To>> convert_all(const std::vector<From>& from, Convert convert) {
  std::vector<To> result;
  result.reserve(from.size());
  for (const From& element : from) {
    const std::optional<To> converted = convert(element);
    if (!converted) return std::nullopt;
    result.push_back(*converted);
  }
  return result;
}

template <typename T>
std::optional<std::vector<T>> single(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  return std::vector<T>{*value};
}

}  // namespace

const Value* Metadata::find(std::string_view key) const noexcept {
  const auto found = std::lower_bound(
      sorted_.begin(), sorted_.end(), key,
      [&](std::uint32_t index, std::string_view wanted) { return entries_[index].key < wanted; });
  if (found == sorted_.end() || entries_[*found].key != key) return nullptr;
  return &entries_[*found].value;
}

std::optional<std::uint64_t> Metadata::get_uint(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<std::uint64_t>(&value->data)) return *number;
  const auto* number = std::get_if<std::int64_t>(&value->data);
  if (number == nullptr || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

std::optional<std::int64_t> Metadata::get_int(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(&value->data)) return *number;
  const auto* number = std::get_if<std::uint64_t>(&value->data);
  return number == nullptr ? std::nullopt : to_int(*number);
}

std::optional<double> Metadata::get_float(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<double>(&value->data)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value->data)) return to_double(*number);
  const auto* number = std::get_if<std::uint64_t>(&value->data);
  return number == nullptr ? std::nullopt : to_double(*number);
}

std::optional<bool> Metadata::get_bool(std::string_view key) const {
  const Value* value = find(key);
  const bool* truth = value == nullptr ? nullptr : std::get_if<bool>(&value->data);
  return truth == nullptr ? std::nullopt : std::optional(*truth);
}

std::optional<std::string_view> Metadata::get_string(std::string_view key) const {
  const Value* value = find(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string_view>(&value->data);
  return text == nullptr ? std::nullopt : std::optional(*text);
}

std::optional<std::vector<std::string_view>> Metadata::get_strings(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(&value->data)) return std::vector{*text};
  const auto* array = std::get_if<Array>(&value->data);
  if (array == nullptr) return std::nullopt;
  const auto* strings = std::get_if<std::vector<std::string_view>>(&array->elements);
  return strings == nullptr ? std::nullopt : std::optional(*strings);
}

std::optional<std::vector<std::int64_t>> Metadata::get_ints(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const bool* truth = std::get_if<bool>(&value->data)) return std::vector<std::int64_t>{*truth};
  const auto* array = std::get_if<Array>(&value->data);
  if (array == nullptr) return single(get_int(key));
  if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&array->elements)) return *ints;
  const auto* uints = std::get_if<std::vector<std::uint64_t>>(&array->elements);
  if (uints == nullptr) return std::nullopt;
  return convert_all<std::int64_t>(*uints, to_int);
}

std::optional<std::vector<double>> Metadata::get_floats(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const bool* truth = std::get_if<bool>(&value->data)) {
    return std::vector<double>{*truth ? 1.0 : 0.0};
  }
  const auto* array = std::get_if<Array>(&value->data);
  if (array == nullptr) return single(get_float(key));
  if (const auto* floats = std::get_if<std::vector<double>>(&array->elements)) return *floats;
  const auto widen = [](auto number) { return to_double(number); };
  if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&array->elements)) {
    return convert_all<double>(*ints, widen);
  }
  const auto* uints = std::get_if<std::vector<std::uint64_t>>(&array->elements);
  if (uints == nullptr) return std::nullopt;
  return convert_all<double>(*uints, widen);
}

}  // namespace hearth::gguf
