#include "text/tokenizer.h"

#include <fmt/format.h>

#include <array>

#include "support/error.h"
#include "support/utf8.h"
#include "text/tokenizer_base.h"

namespace hearth::text {
namespace {

struct KindEntry {
  std::string_view model;
  std::unique_ptr<TokenizerBase> (*make)(const TokenizerSource&);
};

constexpr KindEntry kKinds[] = {
    {"llama", make_spm},
    {"gpt2", make_bpe},
    {"gemma4", make_bpe},
    {"bert", make_wordpiece},
    {"t5", make_unigram},
    {"rwkv", make_rwkv},
    {"plamo2", make_plamo2},
    {"hybriddna", make_bpe},
    {"whitespace", make_bpe},
    {"none", make_no_vocabulary},
    {"no_vocab", make_no_vocabulary},
};

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::create(const gguf::Metadata& metadata) {
  const auto model = metadata.get_string("tokenizer.ggml.model");
  if (!model) {
    throw Error("the file has no tokenizer: tokenizer.ggml.model is missing or not a string",
                "use a model file that has one");
  }
  for (const KindEntry& kind : kKinds) {
    if (kind.model != *model) continue;
    std::unique_ptr<TokenizerBase> tokenizer = kind.make({metadata, *model});
    tokenizer->finish();
    return tokenizer;
  }
  std::string known;
  for (const KindEntry& kind : kKinds) {
    known.append(known.empty() ? "" : ", ").append(kind.model);
  }
  throw Error(
      fmt::format("unknown tokenizer kind \"{}\" (tokenizer.ggml.model)", printable(*model)),
      "known are: " + known);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options)
    : tokenizer_(&tokenizer), options_(options) {
  options_.clean_spaces = false;  // looks ahead, which a stream cannot
}

std::string StreamDecoder::push(TokenId id) {
  DecodeOptions options = options_;
  options.at_start = options_.at_start && !started_;
  held_ += tokenizer_->decode({&id, 1}, options);
  started_ = true;
  const std::size_t complete = held_.size() - incomplete_utf8_tail(held_);
  std::string text = held_.substr(0, complete);
  held_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  text.swap(held_);
  started_ = false;
  return text;
}

}  // namespace hearth::text
