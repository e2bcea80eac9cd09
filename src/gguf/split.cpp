#include "gguf/split.h"

#include <string_view>
#include <system_error>

#include "gguf/header.h"
#include "support/error.h"

namespace hearth::gguf {
namespace {

std::string five_digits(std::uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

std::string split_suffix(std::uint32_t number, std::uint32_t count) {
  return "-" + five_digits(number + 1) + "-of-" + five_digits(count) + ".gguf";
}

std::optional<std::uint64_t> get_key(const Metadata& metadata, std::string_view key,
                                     const std::string& file) {
  if (!metadata.contains(key)) return std::nullopt;
  const auto value = metadata.get_uint(key);
  if (!value) {
    throw_bad_file(
        file, 24,
        "among the metadata the key '" + std::string(key) + "' is not an unsigned integer");
  }
  return value;
}

}  // namespace

SplitKeys read_split_keys(const Metadata& metadata, const std::string& file) {
  const auto number = get_key(metadata, "split.no", file);
  const auto count = get_key(metadata, "split.count", file);
  SplitKeys split;
  split.tensors = get_key(metadata, "split.tensors.count", file);
  if (!count && number.value_or(0) != 0) {
    throw_bad_file(file, 24,
                   "among the metadata 'split.no' is " + std::to_string(*number) +
                       " but 'split.count' is missing");
  }
  if (!count || *count == 0) {  // writers also use a count of 0 for "not split"
    split.tensors.reset();
    if (number.value_or(0) == 0) return split;
  }
  if (*count > kMaxSplitParts || number.value_or(0) >= *count) {
    throw_bad_file(file, 24,
                   "among the metadata 'split.no' " + std::to_string(number.value_or(0)) +
                       " and 'split.count' " + std::to_string(*count) + " do not go together");
  }
  if (*count > 1 && !number) {
    throw_bad_file(file, 24,
                   "among the metadata 'split.count' is " + std::to_string(*count) +
                       " but 'split.no' is missing");
  }
  split.number = static_cast<std::uint32_t>(number.value_or(0));
  split.count = static_cast<std::uint32_t>(*count);
  return split;
}

SplitName parse_split_name(const std::filesystem::path& path, const SplitKeys& split) {
  const std::string name = path.filename().string();
  const std::string suffix = split_suffix(split.number, split.count);
  if (!name.ends_with(suffix)) {
    throw_bad_file(path.string(), 24,
                   "the metadata says that it is part " + std::to_string(split.number + 1) +
                       " of " + std::to_string(split.count) +
                       " of a split model, but its name does not end in '" + suffix + "'",
                   "give the parts their original names and keep them in one folder");
  }
  return {path.parent_path(), name.substr(0, name.size() - suffix.size())};
}

std::filesystem::path split_part_path(const SplitName& name, std::uint32_t number,
                                      std::uint32_t count) {
  return name.folder / (name.prefix + split_suffix(number, count));
}

std::filesystem::path existing_split_part(const SplitName& name, std::uint32_t number,
                                          std::uint32_t count) {
  std::filesystem::path path = split_part_path(name, number, count);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw Error("part " + std::to_string(number + 1) + " of " + std::to_string(count) +
                    " of the split model is missing: " + in_quotes(path.string(), kPathLimit),
                "put all parts in one folder");
  }
  return path;
}

void check_split_part(const SplitKeys& part, std::uint32_t number, const SplitKeys& whole,
                      const std::string& file) {
  if (part.number == number && part.count == whole.count &&
      (!part.tensors || !whole.tensors || *part.tensors == *whole.tensors)) {
    return;
  }
  throw_bad_file(file, 24,
                 "the metadata says part " + std::to_string(part.number + 1) + " of " +
                     std::to_string(part.count) + " with " +
                     std::to_string(part.tensors.value_or(0)) + " tensors in all where part " +
                     std::to_string(number + 1) + " of " + std::to_string(whole.count) + " with " +
                     std::to_string(whole.tensors.value_or(0)) + " is expected",
                 "fetch all parts of the same model again");
}

}  // namespace hearth::gguf
