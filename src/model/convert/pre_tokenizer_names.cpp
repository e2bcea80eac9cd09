#include "model/convert/pre_tokenizer_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "support/error.h"

namespace hearth::model::convert {
namespace {

// clang-format off
constexpr std::string_view kLlama3 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L})re"
    R"re(\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kQwen2 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N})re"
    R"re(]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kQwen35 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{)re"
    R"re(L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kTekken =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}])re"
    R"re(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kO200k =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)re"
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{)re"
    R"re(M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\)re"
    R"re(s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kBailing =
    R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r)re"
    R"re(\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re";
constexpr std::string_view kSeedCoder =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p)re"
    R"re({N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kDeepSeekV3Words =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L)re"
    R"re(}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kDeepSeekV3Ideographs =
    R"re([一-龥぀-ゟ゠-ヿ]+)re";
constexpr std::string_view kDeepSeekLetters =
    R"re(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ)re"
    R"re(Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-)re"
    R"re(ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃ)re"
    R"re(ↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏)re"
    R"re(𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)re";
constexpr std::string_view kDeepSeekSymbols =
    R"re(\s?[!-/:-~！-／：-～‘-‟　-。]+)re";
constexpr std::string_view kDeepSeekIdeographs =
    R"re([一-龥ࠀ-一가-퟿]+)re";
constexpr std::string_view kGpt2 =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kLineEnds = R"re([\r\n])re";
constexpr std::string_view kDigit = R"re(\p{N})re";
constexpr std::string_view kDigits = R"re(\p{N}+)re";
constexpr std::string_view kThreeDigits = R"re(\p{N}{1,3})re";
// clang-format on

/// One row: what tells it from others with the same patterns, where that matters.
struct Row {
  std::string_view name;
  std::vector<std::string_view> patterns;
  std::optional<bool> ignore_merges;
  std::optional<bool> composes;
  std::optional<bool> clean_spaces;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {"llama-bpe", {kLlama3}, true, {}, {}},
      {"dbrx", {kLlama3}, false, {}, {}},
      {"qwen2", {kQwen2}, false, true, {}},
      {"deepseek-r1-qwen", {kQwen2}, false, false, {}},
      {"qwen35", {kQwen35}, false, true, {}},
      {"deepseek-v3", {kThreeDigits, kDeepSeekV3Ideographs, kDeepSeekV3Words}, false, {}, {}},
      {"deepseek-llm",
       {kLineEnds, kDeepSeekLetters, kDeepSeekSymbols, R"re(\s+$)re", kDeepSeekIdeographs, kDigits},
       false,
       {},
       {}},
      // A vocabulary made with digits apart has no tokens of several digits: the same tokens
      // result.
      {"deepseek-llm",
       {kLineEnds, kDeepSeekLetters, kDeepSeekSymbols, R"re(\s+$)re", kDeepSeekIdeographs, kDigit},
       false,
       {},
       {}},
      {"deepseek-coder",
       {kLineEnds, R"re(\s?\p{L}+)re", R"re(\s?\p{P}+)re", kDeepSeekIdeographs, kDigit},
       false,
       {},
       {}},
      {"starcoder", {kDigit, kGpt2}, false, {}, true},
      {"smollm", {kDigit, kGpt2}, false, {}, false},
      {"gpt-2", {kGpt2}, false, {}, {}},
      // Its files differ in the flag; readers of this name set it, and its merges reach every
      // token.
      {"tekken", {kTekken}, {}, {}, {}},
      {"gpt-4o", {kO200k}, false, {}, {}},
      {"bailingmoe", {kBailing}, false, {}, {}},
      {"seed-coder", {kSeedCoder}, false, {}, {}},
  };
  return table;
}

/// Patterns are published with line ends as characters or as escapes, and with contractions spelt
/// in two ways.
std::string canonical(std::string pattern) {
  const auto replace_all = [&](std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = pattern.find(from, at)) != pattern.npos; at += to.size())
      pattern.replace(at, from.size(), to);
  };
  replace_all("\r", "\\r");
  replace_all("\n", "\\n");
  replace_all("\t", "\\t");
  replace_all("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)");
  return pattern;
}

/// The steps of a Sequence, or the one there is.
std::vector<Config> steps_of(const Config& part, std::string_view list) {
  if (part.json().empty()) return {};
  if (part.string("type") != "Sequence") return {part};
  const auto steps = part.json().find(std::string(list));
  if (steps == part.json().end() || !steps->is_array()) part.fail(list, "is missing");
  std::vector<Config> result;
  for (const Json& step : *steps) {
    // A Sequence may hold another one.
    for (Config& inner : steps_of(Config(step, part.where()), list))
      result.push_back(std::move(inner));
  }
  return result;
}

void add_step(const Config& step, PreTokenizerSignature& signature) {
  const std::string type = step.string("type");
  if (type == "Split") {
    const Config pattern = step.object("pattern");
    const std::string behavior = step.string("behavior", std::string("Isolated"));
    const bool invert = step.boolean("invert", false);
    // Isolated keeps matches and gaps; so does removing what is between the matches of a pattern
    // that matches everything.
    if (!pattern.has("Regex") ||
        !((behavior == "Isolated" && !invert) || (behavior == "Removed" && invert))) {
      step.fail("Split", "is of a form that GGUF files cannot express");
    }
    signature.patterns.push_back(canonical(pattern.string("Regex")));
  } else if (type == "Digits") {
    signature.patterns.emplace_back(step.boolean("individual_digits", false) ? kDigit : kDigits);
  } else if (type == "ByteLevel") {
    if (step.boolean("use_regex", true)) signature.patterns.emplace_back(kGpt2);
    if (step.boolean("add_prefix_space", true))
      step.fail("add_prefix_space", "is true, which GGUF files cannot express for this tokenizer");
  } else {
    step.fail("pre_tokenizer",
              fmt::format("has a step '{}' that GGUF files cannot express", printable(type)));
  }
}

}  // namespace

PreTokenizerSignature read_signature(const Config& tokenizer) {
  PreTokenizerSignature signature;
  signature.ignore_merges = tokenizer.object("model").boolean("ignore_merges", false);
  for (const Config& step : steps_of(tokenizer.object("pre_tokenizer"), "pretokenizers"))
    add_step(step, signature);
  for (const Config& step : steps_of(tokenizer.object("normalizer"), "normalizers")) {
    const std::string type = step.string("type");
    if (type != "NFC") {
      step.fail("normalizer",
                fmt::format("has a step '{}' that GGUF files cannot express", printable(type)));
    }
    signature.composes = true;
  }
  return signature;
}

std::string_view pre_tokenizer_name(const PreTokenizerSignature& signature) {
  for (const Row& row : rows()) {
    if (std::equal(row.patterns.begin(), row.patterns.end(), signature.patterns.begin(),
                   signature.patterns.end()) &&
        row.ignore_merges.value_or(signature.ignore_merges) == signature.ignore_merges &&
        row.composes.value_or(signature.composes) == signature.composes &&
        row.clean_spaces.value_or(signature.clean_spaces) == signature.clean_spaces) {
      return row.name;
    }
  }
  return {};
}

std::vector<KnownPreTokenizer> known_pre_tokenizers() {
  std::vector<KnownPreTokenizer> result;
  for (const Row& row : rows()) result.push_back({row.name, row.patterns, row.ignore_merges});
  return result;
}

}  // namespace hearth::model::convert
