// Tokenizers under arbitrary texts and arbitrary metadata. The first byte picks a tiny vocabulary
// (or damaged metadata), the second how the text is given; the rest is the text.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "../tests/text/tiny_vocabulary.h"
#include "support/error.h"
#include "support/utf8.h"
#include "text/pre_tokenizer.h"

namespace {

using namespace hearth::text;

void require(bool condition) {
  if (!condition) std::abort();
}

/// The vocabularies, made once.
const Tokenizer& vocabulary(std::size_t kind, std::size_t pre) {
  static std::map<std::pair<std::size_t, std::size_t>, std::unique_ptr<Tokenizer>> cache;
  static const auto names = PreTokenizer::names();
  const std::string_view name = kTinyKinds[kind];
  const bool byte_level = name == "gpt2";
  auto& slot = cache[{kind, byte_level ? pre % names.size() : 0}];
  if (slot == nullptr)
    slot = tokenizer_of(tiny_writer(name, byte_level ? names[pre % names.size()] : "gpt-2"));
  return *slot;
}

void encode_and_decode(const Tokenizer& tokenizer, std::string_view kind, std::string_view text,
                       std::uint8_t flags) {
  const EncodeOptions encode{.add_special = (flags & 1) != 0, .parse_special = (flags & 2) != 0};
  const DecodeOptions decode{
      .special = (flags & 4) != 0, .at_start = true, .clean_spaces = (flags & 8) != 0};
  const auto ids = tokenizer.encode(text, encode);
  static_cast<void>(tokenizer.decode(ids, decode));
  StreamDecoder stream(tokenizer, decode);
  std::string streamed;
  for (const TokenId id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  const DecodeOptions exact{.special = decode.special, .at_start = true, .clean_spaces = false};
  require(streamed == tokenizer.decode(ids, exact));

  Prompt prompt;
  prompt.append(text.substr(0, text.size() / 2),
                (flags & 16) != 0 ? Origin::kTemplate : Origin::kData);
  prompt.append(text.substr(text.size() / 2), Origin::kData);
  const auto prompt_ids = tokenizer.encode(prompt, false);
  if ((flags & 16) == 0 && kind != "bert" && kind != "t5") {
    for (const TokenId id : prompt_ids) require(!tokenizer.reserved(id));
  }
  // SentencePiece adds a space after a special token (here the two spaces), turns U+2581 into
  // spaces, and a space after a truncated character into U+2581; byte-level BPE replaces ill-formed
  // bytes.
  const bool well_formed = hearth::find_invalid_utf8(text) == text.npos;
  const bool lossless =
      kind == "rwkv" ||
      (well_formed &&
       (kind == "hybriddna" ||
        (kind == "llama" && text.find("\u2581") == text.npos && text.find("  ") == text.npos)));
  if (lossless && (flags & 16) == 0) {
    require(tokenizer.decode(prompt_ids, {.special = true, .at_start = true}) == text);
  }
}

/// Metadata with some values replaced by what the input says.
void damaged_metadata(std::string_view kind, std::string_view input) {
  hearth::gguf::Writer writer = tiny_writer(kind);
  std::vector<std::string> texts;
  std::vector<std::int32_t> numbers;
  std::vector<float> scores;
  std::vector<std::uint8_t> bytes;
  std::string_view rest = input.substr(std::min<std::size_t>(input.size(), 1));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    texts.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const char c : input) {
    numbers.push_back(c % 8);
    scores.push_back(static_cast<float>(c) * 1e37F);
    bytes.push_back(static_cast<std::uint8_t>(c));
  }
  const unsigned mask = input.empty() ? 0 : static_cast<std::uint8_t>(input[0]);
  if ((mask & 1) != 0) writer.set_array("tokenizer.ggml.tokens", texts);
  if ((mask & 2) != 0) writer.set_array("tokenizer.ggml.token_type", numbers);
  if ((mask & 4) != 0) writer.set_array("tokenizer.ggml.scores", scores);
  if ((mask & 8) != 0) writer.set_array("tokenizer.ggml.merges", texts);
  if ((mask & 16) != 0) writer.set_array("tokenizer.ggml.precompiled_charsmap", bytes);
  if ((mask & 32) != 0) writer.set("tokenizer.ggml.bos_token_id", std::int32_t{numbers.back()});
  if ((mask & 64) != 0) writer.set("tokenizer.ggml.model", std::uint32_t{7});
  if ((mask & 128) != 0) writer.set("general.name", std::string_view("Phi-3"));
  const auto tokenizer = tokenizer_of(writer);
  static_cast<void>(tokenizer->encode(input, {.add_special = true, .parse_special = true}));
  for (std::size_t id = 0; id < tokenizer->size(); ++id) {
    static_cast<void>(tokenizer->piece(static_cast<TokenId>(id), true));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::size_t kind = data[0] % std::size(kTinyKinds);
  const bool damaged = data[0] >= 128;
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  try {
    if (damaged) {
      damaged_metadata(kTinyKinds[kind], text);
    } else {
      encode_and_decode(vocabulary(kind, data[2]), kTinyKinds[kind], text, data[1]);
    }
  } catch (const hearth::Error&) {
    // What is wrong with the input was said.
  }
  return 0;
}
