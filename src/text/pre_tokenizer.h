// Pre-tokenizers: the rules that cut text into the words a BPE merges within (tokenizer.ggml.pre),
// each an ordered list of patterns over code points. Facts: reference/tokenizers.md, section 6.
// Where the published pattern of a model and the one in circulation among GGUF programs differ, the
// published one is used: it is what the model was trained with.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace hearth::text {

/// What a pre-tokenizer's name says about the rest of the tokenizer.
struct PreTokenizerTraits {
  bool ignore_merges = false;   // a word that is a token is emitted without merging
  bool add_bos = false;         // the default of add_bos_token
  bool add_separator = false;   // the default of add_sep_token
  bool clean_spaces = false;    // detokenization removes spaces before punctuation
  bool escape_spaces = false;   // U+0020 is stored as U+2581
  bool raw_utf8 = false;        // no byte-level alphabet; unknown characters become <0xHH> tokens
  bool normalize_nfc = false;   // canonical composition comes first
  bool whole_newlines = false;  // a run of newlines that is a token is emitted whole
};

/// Immutable and thread-safe.
class PreTokenizer {
 public:
  /// Throws Error, naming the known ones, when `name` is unknown.
  explicit PreTokenizer(std::string_view name);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  [[nodiscard]] const PreTokenizerTraits& traits() const noexcept;

  /// The lengths, in code points, of the words of `text`, in order; they add up to its size.
  /// Normalization is the caller's business.
  [[nodiscard]] std::vector<std::uint32_t> split(std::u32string_view text) const;

  [[nodiscard]] static std::vector<std::string_view> names();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::text
