// The kinds of vocabularies that checkpoints have, each filling a TokenTable and writing the keys
// of its kind. Used by tokenizer.cpp.
#pragma once

#include <string>
#include <vector>

#include "gguf/writer.h"
#include "model/convert/sentencepiece.h"
#include "model/convert/token_table.h"

namespace hearth::model::convert {

/// What a tokenizer.json describes.
enum class TokenizerKind { kByteLevelBpe, kSentencePieceBpe, kUnigram, kWordPiece };
[[nodiscard]] TokenizerKind kind_of(const Config& tokenizer);

/// Byte-level BPE: tokens as they are, and merges.
void fill_byte_level(const Config& tokenizer, TokenTable& table, gguf::Writer& writer);

/// SentencePiece BPE written as a tokenizer.json: scores are the negated ranks of the merges.
void fill_sentencepiece_bpe(const Config& tokenizer, TokenTable& table, gguf::Writer& writer);

/// A tokenizer.model: its pieces and scores. Writes tokenizer.ggml.model, too ("llama" or "t5").
void fill_sentencepiece(const SentencePieceModel& model, TokenTable& table, gguf::Writer& writer);

/// WordPiece: pieces inside a word lose their "##", others begin with "▁".
void fill_word_piece(const Config& tokenizer, TokenTable& table, gguf::Writer& writer);
/// The same from the lines of vocab.txt; `lowercase` as tokenizer_config.json says.
void fill_word_piece(const std::string& lines, bool lowercase, TokenTable& table,
                     gguf::Writer& writer);

}  // namespace hearth::model::convert
