// hearth logits: raw logits of given tokens, for conformance tests and for comparing engines.

#include "cli/logits.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <memory>

#include "cli/main.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

/// The options as they are written.
struct LogitsFlags {
  LogitsOptions options;
  std::string token_list, decoder_list, chunk_list;
  bool one_by_one = false;
};

/// Integers in [low, high], separated by commas.
template <class Integer>
std::vector<Integer> parse_list(const std::string& option, std::string_view list, std::int64_t low,
                                std::int64_t high) {
  std::vector<Integer> values;
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    std::int64_t value = 0;
    const auto [end, problem] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (problem != std::errc() || end != item.data() + item.size() || value < low || value > high) {
      throw Error(fmt::format("{}: '{}' is not an integer from {} to {}", option, printable(item),
                              low, high),
                  "give integers separated by commas, e.g. 1,2,3", ExitCode::kUsage);
    }
    values.push_back(static_cast<Integer>(value));
    if (comma == std::string_view::npos) return values;
    list.remove_prefix(comma + 1);
  }
}

void run_logits(LogitsFlags& flags) {
  constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
  LogitsOptions& options = flags.options;
  options.tokens = parse_list<std::int32_t>("--tokens", flags.token_list, 0, kMostTokens);
  if (!flags.decoder_list.empty()) {
    options.decoder_tokens =
        parse_list<std::int32_t>("--decoder-tokens", flags.decoder_list, 0, kMostTokens);
  }
  if (!flags.chunk_list.empty()) {
    options.chunks = parse_list<std::int64_t>("--chunks", flags.chunk_list, 1, 1 << 20);
  }
  if (flags.one_by_one) options.chunks = {1};
  if (!options.target.empty() && options.draft == 0) {
    throw Error("--target is the model that MODEL drafts for, and nothing is to be drafted",
                "add --draft N", ExitCode::kUsage);
  }
  if (options.draft_prompt && options.draft == 0) {
    throw Error("--draft-prompt belongs to --draft", "add --draft N", ExitCode::kUsage);
  }
  if (options.image_embeddings.empty() && (options.image_at >= 0 || !options.positions.empty())) {
    throw Error("--positions and --image-at belong to an image", "add --image-embd FILE",
                ExitCode::kUsage);
  }
  write_logits(options);
}

}  // namespace

void add_logits_command(CLI::App& app) {
  auto flags = std::make_shared<LogitsFlags>();
  LogitsOptions& options = flags->options;
  CLI::App* command =
      app.add_subcommand("logits", "Write the raw logits of given tokens to a file");
  command->footer(
      "Writes float32 rows (little-endian, row-major, no header): one row per prompt position, "
      "then one per --greedy step,\n"
      "then one per --draft step, and prints {\"rows\":…,\"cols\":…,\"greedy\":[…]} (and "
      "\"draft\":[…]). Embedding models\n"
      "give hidden states (--per-token) or the pooled vector (--pooled), which is not normalised. "
      "With --exact, activations\n"
      "stay float32. Models that read whole texts (encoders) are evaluated at once whatever "
      "--chunks says.\n\n"
      "Examples:\n"
      "  hearth logits model.gguf --tokens 1,15043,3186 --exact --greedy 8 --out logits.f32\n"
      "  hearth logits qwen3.5.gguf --tokens 1,2,3 --draft 4 --out logits.f32\n"
      "  hearth logits eagle3.gguf --target model.gguf --tokens 1,2,3 --draft 4 --out logits.f32\n"
      "  hearth logits qwen3-vl.gguf --tokens 1,2,3 --image-embd rows.f32 --positions p.json --out "
      "logits.f32\n"
      "  hearth logits t5.gguf --tokens 5,6,1 --decoder-tokens 0,7 --out logits.f32\n"
      "  hearth logits bge.gguf --tokens 101,2054,102 --pooled --out vector.f32\n"
      "\n"
      "Exit status:\n"
      "  0  written            3    the model or the tokens do not fit\n"
      "  1  failed             130  interrupted; nothing is written\n"
      "  2  wrong usage\n");
  command->add_option("MODEL", options.model, "A GGUF file, or the name of a model in the store")
      ->required();
  command->add_option("--tokens", flags->token_list, "Token ids, separated by commas")
      ->required()
      ->type_name("IDS");
  command->add_flag("--exact", options.exact,
                    "Keep activations in float32: reproducible to the bit");
  auto* single =
      command->add_flag("--one-by-one", flags->one_by_one, "Evaluate one token per pass");
  command->add_option("--chunks", flags->chunk_list, "Sizes of the passes, repeated: 7,1,13")
      ->type_name("SIZES")
      ->excludes(single);
  command->add_option("--greedy", options.greedy, "Continue greedily for N tokens")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20));
  command
      ->add_option(
          "--draft", options.draft,
          "Then let the model's draft head (or MODEL itself, with --target) guess N tokens")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20));
  command->add_flag("--draft-prompt", options.draft_prompt,
                    "Write the draft head's rows along the prompt, too, before its guesses");
  command
      ->add_option("--target", options.target,
                   "The model that MODEL, an EAGLE-3 draft model, guesses for")
      ->type_name("MODEL");
  command
      ->add_option("--decoder-tokens", flags->decoder_list,
                   "T5: --tokens are read by the encoder, these by the decoder")
      ->type_name("IDS");
  command
      ->add_option("--image-embd", options.image_embeddings,
                   "Rows of an image (float32), placed among the tokens")
      ->type_name("FILE");
  command
      ->add_option("--positions", options.positions,
                   "JSON: [[t, h, w], …] of every row, text and image")
      ->type_name("FILE");
  command
      ->add_option("--image-at", options.image_at,
                   "Row of the image's first row (default: where --positions says)")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 30));
  command
      ->add_option("--ctx", options.context,
                   "Tokens the context holds (default: 512, or what the model knows)")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--pos0", options.first_position, "Position of the first token (default: 0)")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  command
      ->add_option("--kv", options.kv,
                   "Format of the context's keys and values (default: f16, exact: f32)")
      ->type_name("FORMAT");
  command->add_option("--threads", options.threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  auto* pooled = command->add_flag("--pooled", options.pooled,
                                   "Embedding models: the pooled vector (the default for them)");
  command
      ->add_flag("--per-token", options.per_token, "A hidden state per token, after the last norm")
      ->excludes(pooled);
  add_adapter_options(*command, options.adapters);
  command->add_option("--out", options.out, "The file to write")->required()->type_name("FILE");
  command->callback([flags] { run_logits(*flags); });
}

}  // namespace hearth::cli
