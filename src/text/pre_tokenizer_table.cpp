#include "text/pre_tokenizer_table.h"

namespace hearth::text {
namespace {

using Kind = SplitStep::Kind;

// Patterns are PCRE2 patterns over code points, with two abbreviations: \s and \S mean the property
// White_Space (PCRE2's own \s adds U+180E), and %c the English contractions 's 't 're 've 'm 'll 'd
// in either case. Where the published pattern intersects classes, the class is written as the
// complement of a union. AFMoE: ~ is no symbol for the models in circulation.

constexpr SplitStep kLlama3[] = {
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n])re"
     R"re(+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kJais2[] = {
    {Kind::kPatternWithChunkedSpaces,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n])re"
     R"re(+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{1)re"
     R"re(6}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})re"},
};
constexpr SplitStep kDeepSeekLlm[] = {
    {Kind::kPattern, R"re([\r\n])re"},
    {Kind::kPattern,
     R"re(\s?[A-Za-z\x{00B5}\x{00C0}-\x{00D6}\x{00D8}-\x{00F6}\x{00F8}-\x{01BA}\x{01BC}-\x{01BF})re"
     R"re(\x{01C4}-\x{0293}\x{0295}-\x{02AF}\x{0370}-\x{0373}\x{0376}\x{0377}\x{037B}-\x{037D})re"
     R"re(\x{037F}\x{0386}\x{0388}-\x{038A}\x{038C}\x{038E}-\x{03A1}\x{03A3}-\x{03F5})re"
     R"re(\x{03F7}-\x{0481}\x{048A}-\x{052F}\x{0531}-\x{0556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})re"
     R"re(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})re"
     R"re(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})re"
     R"re(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4})re"
     R"re(\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3})re"
     R"re(\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102})re"
     R"re(\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})re"
     R"re(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149})re"
     R"re(\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE})re"
     R"re(\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787})re"
     R"re(\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})re"
     R"re(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})re"
     R"re(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})re"
     R"re(]+)re"},
    {Kind::kPattern,
     R"re(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002})re"
     R"re(]+)re"},
    {Kind::kPattern, R"re((?<![\s])[\s]++$)re"},
    {Kind::kPattern, R"re([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)re"},
    {Kind::kPattern, R"re(\p{N}+)re"},
};
constexpr SplitStep kDeepSeekV3[] = {
    {Kind::kPattern, R"re(\p{N}{1,3})re"},
    {Kind::kPattern, R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re"},
    {Kind::kPattern,
     R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L})re"
     R"re(\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kYoutu[] = {
    {Kind::kPattern,
     R"re([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})re"
     R"re(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F})re"
     R"re(]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF})re"
     R"re(]+)re"},
    {Kind::kPattern,
     R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M})re"
     R"re(]+%c?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo})re"
     R"re(\p{M}]*%c?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kDeepSeekCoder[] = {
    {Kind::kPattern, R"re([\r\n])re"},
    {Kind::kPattern, R"re(\s?\p{L}+)re"},
    {Kind::kPattern, R"re(\s?\p{P}+)re"},
    {Kind::kPattern, R"re([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)re"},
    {Kind::kPattern, R"re(\p{N})re"},
};
constexpr SplitStep kFalcon[] = {
    {Kind::kPattern, R"re([\p{P}\$\+<=>\^~\|`]+)re"},
    {Kind::kPattern,
     R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re"},
    {Kind::kPattern, R"re([0-9][0-9][0-9])re"},
};
constexpr SplitStep kStarCoder[] = {
    {Kind::kPattern, R"re(\p{N})re"},
    {Kind::kPattern,
     R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re"},
};
constexpr SplitStep kGpt2[] = {
    {Kind::kPattern,
     R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re"},
};
constexpr SplitStep kQwen2[] = {
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+)re"
     R"re((?!\S)|\s+)re"},
};
constexpr SplitStep kQwen35[] = {
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s)re"
     R"re(*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kBloom[] = {
    {Kind::kPattern,
     R"re( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+)re"},
};
constexpr SplitStep kViking[] = {
    {Kind::kPattern,
     R"re( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+)re"},
    {Kind::kPattern, R"re(\p{N})re"},
};
constexpr SplitStep kTekken[] = {
    {Kind::kPattern,
     R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M})re"
     R"re(]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M})re"
     R"re(]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kChameleon[] = {
    {Kind::kPattern, R"re(<sentinel:[0-9]+>)re"},
    {Kind::kPattern, R"re((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)re"},
    {Kind::kPattern, R"re(([\t\n]|    |  ))re"},
    {Kind::kPattern, R"re(\p{N})re"},
    {Kind::kPattern, R"re([\p{P}!-/:-@\[-`{-~])re"},
    {Kind::kPattern,
     R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re"},
};
constexpr SplitStep kO200k[] = {
    {Kind::kPattern,
     R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M})re"
     R"re(]+%c?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo})re"
     R"re(\p{M}]*%c?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kGraniteMultilingual[] = {
    {Kind::kPattern,
     R"re([^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]*[^\p{N}\p{P}\p{S}\p{Z}\p{C})re"
     R"re(A-Z]+%c?|[^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]+[^\p{N}\p{P}\p{S})re"
     R"re(\p{Z}\p{C}A-Z]*%c?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!)re"
     R"re(\S)|\s+)re"},
};
constexpr SplitStep kTinyAya[] = {
    {Kind::kDigitGroupsBeforeBoundary},
    {Kind::kPattern,
     R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M})re"
     R"re(]+%c?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo})re"
     R"re(\p{M}]*%c?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kKimiK2[] = {
    {Kind::kPattern,
     R"re([\p{sc:Han}]+|[^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Ll}\p{sc:Han})re"
     R"re(]*[^\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Lu}\p{Lt}\p{sc:Han}]+%c?|[^\r\n\p{L}\p{N}])re"
     R"re(?[^\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Ll}\p{sc:Han}]+[^\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Lu})re"
     R"re(\p{Lt}\p{sc:Han}]*%c?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+()re"
     R"re(?!\S)|\s+)re"},
};
constexpr SplitStep kSuperBpe[] = {
    {Kind::kPattern, R"re(\p{N}+)re"},
    {Kind::kDigitGroups},
};
constexpr SplitStep kBailingMoe[] = {
    {Kind::kPattern,
     R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
     R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kSeedCoder[] = {
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+)re"
     R"re((?!\S)|\s+)re"},
};
constexpr SplitStep kAfmoe[] = {
    {Kind::kNumberGroups},
    {Kind::kPattern,
     R"re([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF})re"
     R"re(\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{0E40}-\x{0E7F}\x{0E80}-\x{0EFF}\x{1780}-\x{17FF})re"
     R"re(\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF})re"
     R"re(]+)re"},
    {Kind::kPattern,
     R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|(?:~|[^\r\n\p{L}\p{P}\p{S})re"
     R"re(])?[\p{L}\p{M}]+| ?[^\p{L}\p{M}\p{N}\p{Z}\p{C}~]+[\r\n]*|\s*[\r\n]+|\s+(?!)re"
     R"re(\S)|\s+)re"},
};
constexpr SplitStep kLaguna[] = {
    {Kind::kPattern, R"re([^\n]+|[\n]+)re"},
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+)re"
     R"re((?!\S)|\s+)re"},
};
constexpr SplitStep kExaoneMoe[] = {
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}\p{M}*+(?: ?\p{L}\p{M}*+)*+|\p{N}| ?[^\s\p{L}\p{N})re"
     R"re(]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)re"},
};
constexpr SplitStep kNewlines[] = {
    {Kind::kPattern, R"re([^\n]+|[\n]+)re"},
};
constexpr SplitStep kMiniCpm5[] = {
    {Kind::kPattern, R"re(\p{N}{1,3})re"},
    {Kind::kPattern,
     R"re(%c|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s)re"
     R"re(+(?!\S)|\s+)re"},
};
constexpr SplitStep kWords[] = {
    {Kind::kPattern, R"re(\S+)re"},
};
constexpr SplitStep kDefault[] = {
    {Kind::kPattern, R"re([\p{P}\$\+<=>\^~\|]+)re"},
    {Kind::kPattern,
     R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re"},
    {Kind::kPattern, R"re(\p{N}+)re"},
    {Kind::kPattern, R"re([0-9][0-9][0-9])re"},
};

constexpr PreTokenizerEntry kTable[] = {
    {"default", kDefault, {.clean_spaces = true}},
    {"minicpm5", kMiniCpm5, {.ignore_merges = true, .clean_spaces = true}},
    {"llama3", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"llama-v3", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"llama-bpe", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"falcon3", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"falcon-h1", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"pixtral", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"midm-2.0", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"lfm2", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"jina-v5-nano", kLlama3, {.ignore_merges = true, .add_bos = true, .clean_spaces = true}},
    {"deepseek-llm", kDeepSeekLlm, {}},
    {"deepseek-coder", kDeepSeekCoder, {}},
    {"deepseek-v3", kDeepSeekV3, {}},
    {"youtu", kYoutu, {.ignore_merges = true}},
    {"falcon", kFalcon, {.clean_spaces = true}},
    {"mpt", kGpt2, {.clean_spaces = true}},
    {"starcoder", kStarCoder, {.clean_spaces = true}},
    {"gpt-2", kGpt2, {.clean_spaces = true}},
    {"phi-2", kGpt2, {.clean_spaces = true}},
    {"jina-es", kGpt2, {.clean_spaces = true}},
    {"jina-de", kGpt2, {.clean_spaces = true}},
    {"gigachat", kGpt2, {.clean_spaces = true}},
    {"jina-v2-es", kGpt2, {.clean_spaces = true}},
    {"jina-v2-de", kGpt2, {.clean_spaces = true}},
    {"a.x-4.0", kGpt2, {.clean_spaces = true}},
    {"mellum", kGpt2, {.clean_spaces = true}},
    {"modern-bert", kGpt2, {.clean_spaces = true}},
    {"jais-2", kJais2, {.clean_spaces = true}},
    {"gemma4",
     kNewlines,
     {.clean_spaces = true, .escape_spaces = true, .raw_utf8 = true, .whole_newlines = true}},
    {"granite-embed-multi-311m",
     kNewlines,
     {.clean_spaces = true, .escape_spaces = true, .raw_utf8 = true, .whole_newlines = true}},
    {"sarvam-moe", kNewlines, {.escape_spaces = true, .raw_utf8 = true}},
    {"jina-v1-en", kGpt2, {.add_separator = true, .clean_spaces = true}},
    {"jina-v2-code", kGpt2, {.add_separator = true, .clean_spaces = true}},
    {"roberta-bpe", kGpt2, {.add_separator = true, .clean_spaces = true}},
    {"whitespace", kWords, {.clean_spaces = true, .raw_utf8 = true}},
    {"refact", kStarCoder, {.clean_spaces = true}},
    {"command-r", kStarCoder, {}},
    {"qwen2", kQwen2, {.normalize_nfc = true}},
    {"deepseek-r1-qwen", kQwen2, {}},
    {"kormo", kQwen2, {}},
    {"f2llmv2", kQwen2, {.normalize_nfc = true}},
    {"qwen35", kQwen35, {.normalize_nfc = true}},
    {"stablelm2", kQwen2, {.clean_spaces = true}},
    {"olmo", kGpt2, {.clean_spaces = true}},
    {"dbrx", kLlama3, {.clean_spaces = true}},
    {"smaug-bpe", kLlama3, {.clean_spaces = true}},
    {"poro-chat", kBloom, {}},
    {"glm4", kLlama3, {.clean_spaces = true}},
    {"chatglm-bpe", kLlama3, {.clean_spaces = true}},
    {"viking", kViking, {}},
    {"jais", kGpt2, {.clean_spaces = true}},
    {"tekken", kTekken, {.ignore_merges = true, .add_bos = true}},
    {"smollm", kStarCoder, {}},
    {"codeshell", kStarCoder, {.clean_spaces = true}},
    {"bloom", kBloom, {.clean_spaces = true}},
    {"gpt3-finnish", kBloom, {.clean_spaces = true}},
    {"exaone", kStarCoder, {.clean_spaces = true}},
    {"exaone4", kGpt2, {.clean_spaces = true}},
    {"exaone-moe", kExaoneMoe, {.clean_spaces = true}},
    {"chameleon", kChameleon, {.add_bos = true}},
    {"minerva-7b", kStarCoder, {.clean_spaces = true}},
    {"megrez", kQwen2, {.clean_spaces = true, .normalize_nfc = true}},
    {"gpt-4o", kO200k, {}},
    {"llama4", kO200k, {}},
    {"kanana2", kO200k, {}},
    {"talkie", kO200k, {}},
    {"granite-embed-multi-97m", kGraniteMultilingual, {.ignore_merges = true}},
    {"tiny_aya", kTinyAya, {}},
    {"cohere2moe", kTinyAya, {}},
    {"superbpe", kSuperBpe, {}},
    {"trillion", kGpt2, {}},
    {"granite-docling", kGpt2, {}},
    {"bailingmoe", kBailingMoe, {}},
    {"bailingmoe2", kBailingMoe, {}},
    {"llada-moe", kBailingMoe, {}},
    {"seed-coder", kSeedCoder, {}},
    {"hunyuan", kQwen2, {}},
    {"hunyuan-dense", kDeepSeekV3, {}},
    {"joyai-llm", kDeepSeekV3, {}},
    {"kimi-k2", kKimiK2, {}},
    {"grok-2", kQwen2, {}},
    {"afmoe", kAfmoe, {}},
    {"laguna", kLaguna, {}},
    {"minimax-m2", kO200k, {}},
    {"solar-open", kQwen2, {}},
    {"mellum2", kStarCoder, {.clean_spaces = true}},
};

}  // namespace

std::span<const PreTokenizerEntry> pre_tokenizer_table() noexcept { return kTable; }

}  // namespace hearth::text
