// Small vocabularies of every kind, made in memory: for tests and for fuzzing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace hearth::text {

inline constexpr const char* kTinyKinds[] = {"llama", "gpt2",   "gemma4",     "bert",      "t5",
                                             "rwkv",  "plamo2", "whitespace", "hybriddna", "none"};

/// Collects the tokens of a vocabulary.
struct TinyVocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;

  void add(std::string text, std::int32_t type = 1, float score = 0) {
    tokens.push_back(std::move(text));
    types.push_back(type);
    scores.push_back(score);
  }
  void add_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
      const char* digits = "0123456789ABCDEF";
      add(std::string("<0x").append(1, digits[byte / 16]).append(1, digits[byte % 16]).append(">"),
          6, -100);
    }
  }
  /// The characters that stand for bytes in GPT-2's vocabulary, in its order of code points.
  void add_byte_alphabet() {
    for (char32_t c = 0x21; c < 0x144; ++c) {
      const bool unused = (c > 0x7E && c < 0xA1) || c == 0xAD;
      std::string text;
      append_lenient(text, c);
      if (!unused) add(text);
    }
  }
};

/// The tokens of a kind. Control token: "<|end|>"; user-defined ones: "<think>" and "  ".
inline TinyVocabulary tiny_vocabulary(std::string_view kind) {
  TinyVocabulary tiny;
  tiny.add("<unk>", 2);
  tiny.add("<s>", 3);
  tiny.add("</s>", 3);
  tiny.add("<pad>", 3);
  tiny.add("<|end|>", 3);
  tiny.add("<think>", 4);
  tiny.add("  ", 4);
  if (kind == "gpt2" || kind == "hybriddna") {
    tiny.add_byte_alphabet();
    for (const char* text : {"aa", "aaaa", "he", "hel", "lo", "hello", "Ġa", "ĠĠ"}) tiny.add(text);
    tiny.merges = {"a a", "aa aa", "h e", "he l", "l o", "hel lo", "Ġ a", "Ġ Ġ"};
    if (kind == "hybriddna") {
      for (const char* text : {"<dna>", "</dna>", "<oov>"}) tiny.add(text, 3);
      tiny.add("ACGTAC\uE000");
    }
  } else if (kind == "rwkv") {
    for (int byte = 0; byte < 256; ++byte) {
      const char* digits = "0123456789abcdef";
      tiny.add(std::string("\\x").append(1, digits[byte / 16]).append(1, digits[byte % 16]));
    }
    tiny.add("hello");
    tiny.add("aa");
  } else {
    if (kind != "bert" && kind != "t5") tiny.add_bytes();
    float score = -1;
    for (const char* text : {"▁", "a", "b", "h", "e", "l", "o", "aa", "aaaa", "▁a", "he", "llo",
                             "hello", "▁hello", "é", "\n", "\n\n"}) {
      tiny.add(text, 1, score);
      score -= 1;
    }
    tiny.merges = {"a a", "aa aa", "h e", "▁ a", "\n \n"};
  }
  return tiny;
}

/// Metadata of a kind as a GGUF file; `pre` names the pre-tokenizer.
inline gguf::Writer tiny_writer(std::string_view kind, std::string_view pre = "gpt-2") {
  const TinyVocabulary tiny = tiny_vocabulary(kind);
  gguf::Writer writer;
  writer.set("general.architecture", std::string_view("llama"));
  writer.set("tokenizer.ggml.model", kind);
  writer.set("tokenizer.ggml.pre", kind == "whitespace" ? std::string_view("whitespace") : pre);
  if (kind == "none") {
    writer.set("llama.vocab_size", std::uint32_t{8});
    return writer;
  }
  writer.set_array("tokenizer.ggml.tokens", tiny.tokens);
  writer.set_array("tokenizer.ggml.token_type", tiny.types);
  writer.set_array("tokenizer.ggml.scores", tiny.scores);
  if (!tiny.merges.empty()) writer.set_array("tokenizer.ggml.merges", tiny.merges);
  writer.set("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  writer.set("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  writer.set("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  return writer;
}

inline std::unique_ptr<Tokenizer> tokenizer_of(const gguf::Writer& writer) {
  const std::string bytes = writer.bytes();
  return Tokenizer::create(gguf::File::from_bytes(std::as_bytes(std::span(bytes))).metadata());
}

}  // namespace hearth::text
