// Which tokenizer.ggml.pre a tokenizer.json means: recognised by the patterns of its pre-tokenizer,
// as the models' publishers wrote them (reference: tokenizers.md section 6).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/convert/config.h"

namespace hearth::model::convert {

/// What a byte-level BPE does to a text before merging.
struct PreTokenizerSignature {
  /// The patterns in the order they are applied, line ends and tabs written as escapes.
  std::vector<std::string> patterns;
  bool ignore_merges = false;  // a word that is a token is taken whole
  bool composes = false;       // Unicode normalization form C comes first
  bool clean_spaces = false;   // detokenizing removes spaces before punctuation
};

/// Reads the pre_tokenizer and normalizer of a tokenizer.json. Throws Error naming the part that no
/// GGUF file can express.
[[nodiscard]] PreTokenizerSignature read_signature(const Config& tokenizer);

/// The name for `signature`; empty when none fits.
[[nodiscard]] std::string_view pre_tokenizer_name(const PreTokenizerSignature& signature);

/// Everything pre_tokenizer_name can answer, for tests.
struct KnownPreTokenizer {
  std::string_view name;
  std::vector<std::string_view> patterns;
  std::optional<bool> ignore_merges;  // nothing: either
};
[[nodiscard]] std::vector<KnownPreTokenizer> known_pre_tokenizers();

}  // namespace hearth::model::convert
