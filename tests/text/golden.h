// Reading goldens/tokenizer: strings that are not UTF-8 are stored as base64
// (reference/tokenizers.md, section 17).
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "shared_dir.h"
#include "support/base64.h"

namespace hearth::text {

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return nlohmann::json::parse(stream);
}

inline std::filesystem::path golden_path(const std::string& name) {
  return hearth::testing::goldens_dir() / "tokenizer" / name;
}

/// The bytes of a value: a string, or {"b64": …}.
inline std::string golden_bytes(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  return decode_base64(value.at("b64").get<std::string>()).value();
}

/// The bytes of member `name`, stored as `name` or as `name_b64`.
inline std::string golden_bytes(const nlohmann::json& object, const std::string& name) {
  const auto member = object.find(name);
  if (member != object.end()) return member->get<std::string>();
  return decode_base64(object.at(name + "_b64").get<std::string>()).value();
}

inline bool golden_has(const nlohmann::json& object, const std::string& name) {
  return object.contains(name) || object.contains(name + "_b64");
}

/// The bytes that a case tokenizes.
inline std::string golden_input(const nlohmann::json& object) {
  if (object.contains("byte"))
    return std::string(1, static_cast<char>(object.at("byte").get<int>()));
  return object.contains("text") ? object.at("text").get<std::string>()
                                 : decode_base64(object.at("b64").get<std::string>()).value();
}

}  // namespace hearth::text
