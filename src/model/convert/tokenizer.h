// The tokenizer of a checkpoint as tokenizer.* keys: tokenizer.json (byte-level BPE, SentencePiece
// BPE, WordPiece), tokenizer.model (SentencePiece) or vocab.txt, with tokenizer_config.json and the
// chat template (reference: tokenizers.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "gguf/writer.h"
#include "model/convert/config.h"

namespace hearth::model::convert {

struct TokenizerRequest {
  std::filesystem::path directory;
  Config config;                // of the language model
  std::string architecture;     // general.architecture
  std::int64_t vocabulary = 0;  // rows of the embedding table
  std::string pre;              // forces tokenizer.ggml.pre where it is not empty
};

/// Writes the tokenizer.* keys. Throws Error when there is no tokenizer, or one that GGUF files
/// cannot express.
void convert_tokenizer(const TokenizerRequest& request, gguf::Writer& writer);

}  // namespace hearth::model::convert
