// Reading tokenizer.model: SentencePiece's ModelProto, a protocol buffer
// (sentencepiece_model.proto). Only the fields that GGUF files keep are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::model::convert {

struct SentencePiece {
  std::string text;
  float score = 0;
  std::int32_t type = 1;  // as tokenizer.ggml.token_type
};

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };
  Kind kind = Kind::kUnigram;
  std::vector<SentencePiece> pieces;
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

/// Parses `bytes`; `name` is what errors call them. Throws Error; memory is bounded by their size.
[[nodiscard]] SentencePieceModel parse_sentencepiece(std::string_view bytes,
                                                     const std::string& name);

}  // namespace hearth::model::convert
