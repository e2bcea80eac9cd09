// The vocabulary that is being put together from a checkpoint's tokenizer files: one text, type and
// score per row of the embedding table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/writer.h"
#include "model/convert/config.h"

namespace hearth::model::convert {

/// How SentencePiece vocabularies write a space.
inline constexpr std::string_view kSpaceMark = "▁";

/// Values of tokenizer.ggml.token_type.
namespace token_type {
inline constexpr std::int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4,
                              kUnused = 5, kByte = 6;
}

/// A token that a tokenizer file adds to a vocabulary, or changes the meaning of.
struct AddedToken {
  std::int64_t id = 0;
  std::string text;
  bool special = false;  // control tokens
};

class TokenTable {
 public:
  /// All `size` ids are unused at first. Ids from `size` up have no row in the embedding table and
  /// are left out everywhere.
  explicit TokenTable(std::size_t size);

  void set(std::int64_t id, std::string text, std::int32_t type, float score = 0);
  /// Adds tokens: special ones, and those that look like markup, become control tokens, others
  /// user-defined ones, with "▁" as a space. What the vocabulary calls unknown stays that.
  void add(const std::vector<AddedToken>& tokens, float score);

  [[nodiscard]] std::size_t size() const noexcept { return texts_.size(); }
  [[nodiscard]] const std::string& text(std::int64_t id) const {
    return texts_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] bool used(std::int64_t id) const noexcept {
    return id >= 0 && static_cast<std::size_t>(id) < texts_.size() &&
           types_[static_cast<std::size_t>(id)] != token_type::kUnused;
  }
  /// The id of `text`, if a token has it.
  [[nodiscard]] std::optional<std::int64_t> find(std::string_view text) const;

  /// Writes tokenizer.ggml.tokens, token_type and, where wanted, scores. Throws Error when two
  /// tokens have the same text.
  void write(gguf::Writer& writer, bool scores) const;

 private:
  std::vector<std::string> texts_;
  std::vector<std::int32_t> types_;
  std::vector<float> scores_;
  std::unordered_map<std::string, std::int64_t> ids_;
};

/// The tokens that tokenizer.json, tokenizer_config.json and added_tokens.json of `directory` add;
/// `tokenizer` is the first of them, or empty.
[[nodiscard]] std::vector<AddedToken> read_added_tokens(const std::filesystem::path& directory,
                                                        const Config& tokenizer,
                                                        const Config& tokenizer_config);

}  // namespace hearth::model::convert
