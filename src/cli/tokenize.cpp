// hearth tokenize, hearth detokenize: text to token ids and back. Only the vocabulary is read.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/main.h"
#include "cli/models.h"
#include "cli/standard_input.h"
#include "cli/words.h"
#include "gguf/file.h"
#include "support/base64.h"
#include "support/error.h"
#include "support/utf8.h"
#include "text/tokenizer.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

using Json = nlohmann::ordered_json;

struct TokenizeOptions {
  std::string model;
  bool special = false, json = false, json_lines = false;
};

struct DetokenizeOptions {
  std::string model;
  bool special = false, plain = false;
};

std::unique_ptr<text::Tokenizer> load_tokenizer(const std::string& model) {
  const gguf::File file = gguf::File::open(resolve_model(plain_word(model)));
  std::unique_ptr<text::Tokenizer> tokenizer = text::Tokenizer::create(file.metadata());
  for (const std::string& warning : tokenizer->warnings()) {
    fmt::print(stderr, "hearth: warning: {}\n", warning);
  }
  return tokenizer;
}

/// Writes bytes to stdout as they are.
void write_bytes(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
    throw Error("stdout cannot be written");
  }
}

Json result_of(const text::Tokenizer& tokenizer, const std::vector<text::TokenId>& ids) {
  Json pieces = Json::array();
  Json pieces_b64 = Json::array();
  for (const text::TokenId id : ids) {
    const std::string piece = tokenizer.piece(id, true);
    pieces.push_back(to_valid_utf8(piece));
    pieces_b64.push_back(encode_base64(piece));
  }
  return {{"ids", ids}, {"pieces", std::move(pieces)}, {"pieces_b64", std::move(pieces_b64)}};
}

/// One object on one line, in ASCII: readers differ in which other characters end a line.
std::string json_line(const Json& object) { return object.dump(-1, ' ', true) + "\n"; }

/// The bytes that one line of --jsonl input holds.
std::string input_of_line(std::string_view line, std::size_t number) {
  const auto fail = [&](std::string_view what) {
    return Error(fmt::format("line {} of stdin {}", number, what),
                 R"(each line must be an object like {"text":"…"} or {"b64":"…"})");
  };
  const Json object = Json::parse(line, nullptr, false);
  if (!object.is_object()) throw fail("is not a JSON object");
  const auto text = object.find("text");
  const auto b64 = object.find("b64");
  if ((text == object.end()) == (b64 == object.end()))
    throw fail("needs one of \"text\" and \"b64\"");
  const Json& value = text != object.end() ? *text : *b64;
  if (!value.is_string()) throw fail("has a value that is not a string");
  if (text != object.end()) return value.get<std::string>();
  std::optional<std::string> bytes = decode_base64(value.get<std::string>());
  if (!bytes) throw fail("has a \"b64\" that is not base64");
  return *std::move(bytes);
}

void tokenize_lines(const text::Tokenizer& tokenizer, const text::EncodeOptions& encode) {
  const std::string input = read_stdin(kMaxTextBytes, "the text");
  std::size_t number = 0;
  for (std::size_t at = 0; at < input.size();) {
    const std::size_t end = std::min(input.find('\n', at), input.size());
    const std::string_view line = std::string_view(input).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const auto ids = tokenizer.encode(input_of_line(line, number), encode);
    write_bytes(json_line(result_of(tokenizer, ids)));
  }
}

void tokenize(const TokenizeOptions& options, const std::vector<std::string>& words) {
  const bool names_stdin = words.size() == 1 && words.front() == "-";
  if (options.json_lines && (options.json || !(words.empty() || names_stdin))) {
    throw Error("--jsonl reads its texts from stdin and excludes --json and TEXT",
                "see hearth tokenize --help", ExitCode::kUsage);
  }
  if (!options.json_lines && words.empty()) {
    throw Error("there is no text to tokenize", "give TEXT, or - to read stdin", ExitCode::kUsage);
  }
  const auto tokenizer = load_tokenizer(options.model);
  const text::EncodeOptions encode{.add_special = options.special,
                                   .parse_special = options.special};
  if (options.json_lines) return tokenize_lines(*tokenizer, encode);
  const std::string input = names_stdin ? read_stdin(kMaxTextBytes, "the text")
                                        : fmt::format("{}", fmt::join(words, " "));
  const std::vector<text::TokenId> ids = tokenizer->encode(input, encode);
  if (options.json) {
    write_bytes(json_line(result_of(*tokenizer, ids)));
  } else {
    write_bytes(fmt::format("{}\n", fmt::join(ids, " ")));
  }
}

/// The ids in words like "1", "2,3" and "4,".
std::vector<text::TokenId> parse_ids(const std::vector<std::string>& words) {
  std::vector<text::TokenId> ids;
  for (const std::string& word : words) {
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t end = std::min(word.find(',', at), word.size());
      text::TokenId id = 0;
      const auto [stop, error] = std::from_chars(word.data() + at, word.data() + end, id);
      if (error != std::errc() || stop != word.data() + end || id < 0) {
        throw Error(fmt::format("'{}' is not a token id", printable(word.substr(at, end - at))),
                    "ids are whole numbers from 0 up, separated by spaces or commas",
                    ExitCode::kUsage);
      }
      ids.push_back(id);
      at = end + 1;
    }
  }
  return ids;
}

void detokenize(const DetokenizeOptions& options, const std::vector<text::TokenId>& ids) {
  if (options.special && options.plain) {
    throw Error("--special and --plain exclude each other", "see hearth detokenize --help",
                ExitCode::kUsage);
  }
  const auto tokenizer = load_tokenizer(options.model);
  write_bytes(
      tokenizer->decode(ids, {.special = !options.plain, .at_start = true, .clean_spaces = true}));
}

bool is_negative_number(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Show the tokens that a model makes of a text");
  command->allow_extras();
  command->footer(
      "Prints the token ids of TEXT, separated by spaces. With - as TEXT all bytes of stdin are "
      "tokenized, the last newline too. TEXT that begins with a dash goes after --.\n\n"
      "The model file needs no weights: a file with the vocabulary alone will do.\n\n"
      "With --json the result is one object: \"ids\" holds the ids, \"pieces\" the text of each "
      "token, with U+FFFD where a token holds only part of a character, and \"pieces_b64\" its "
      "exact "
      "bytes in base64.\n\n"
      "With --jsonl every line of stdin is an object {\"text\": \"...\"} or {\"b64\": \"...\"}, "
      "and "
      "every line of output is the result of one, as with --json.\n\n"
      "Examples:\n"
      "  hearth tokenize model.gguf \"Hello world\"\n"
      "  hearth tokenize model.gguf --special \"<|im_start|>user\"\n"
      "  hearth tokenize model.gguf --json - < letter.txt");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")
      ->required();
  command->add_flag(
      "--special", options->special,
      "Add the model's special tokens (BOS, EOS) and recognise special tokens in TEXT; "
      "without it neither is done");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_flag("--jsonl", options->json_lines, "Read and print JSON objects, one per line");
  command->callback([options, command] { tokenize(*options, plain_words(*command)); });
}

void add_detokenize_command(CLI::App& app) {
  auto options = std::make_shared<DetokenizeOptions>();
  CLI::App* command = app.add_subcommand("detokenize", "Show the text that token ids stand for");
  command->allow_extras();
  command->footer(
      "Prints exactly the bytes that the ids stand for, without a newline at the end. Ids are "
      "separated by spaces or commas.\n\n"
      "Special tokens (control tokens and the unknown token) are printed as their text, which is "
      "what --special asks for by name; --plain leaves them out.\n\n"
      "The space that some tokenizers put in front of a text is taken away again, and some models' "
      "clean-up of spaces before punctuation is applied.\n\n"
      "Examples:\n"
      "  hearth detokenize model.gguf 9906 1917\n"
      "  hearth detokenize model.gguf --plain $(hearth tokenize model.gguf --special \"Hello\")");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")
      ->required();
  command->add_flag("--special", options->special,
                    "Print special tokens as their text (the default)");
  command->add_flag("--plain", options->plain, "Leave special tokens out");
  command->callback([options, command] {
    for (const std::string& word : command->remaining()) {
      if (is_negative_number(word)) parse_ids({word});  // says what is wrong
    }
    detokenize(*options, parse_ids(plain_words(*command)));
  });
}

}  // namespace hearth::cli
