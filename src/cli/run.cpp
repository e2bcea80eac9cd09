// hearth run: one answer, or a chat.
#include "cli/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/engine.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/repl.h"
#include "cli/said.h"
#include "cli/standard_input.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

using generate::FinishReason;
using generate::Json;

constexpr std::size_t kMaxPromptBytes = std::size_t{256} << 20;

/// The prompt that was given, or nothing for a chat. Throws when there is neither.
std::optional<std::string> find_prompt(const std::vector<std::string>& words, bool json) {
  const bool from_stdin = words.size() == 1 && words.front() == "-";
  if (!words.empty() && !from_stdin) {
    std::string prompt;
    for (const std::string& word : words) prompt += (&word == &words.front() ? "" : " ") + word;
    return prompt;
  }
  if (!from_stdin && !json && is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO))
    return std::nullopt;
  std::string prompt = read_stdin(kMaxPromptBytes, "the prompt");
  if (prompt.ends_with('\n')) prompt.pop_back();  // what echo and here-documents add
  if (prompt.empty()) {
    throw Error("there is no prompt: stdin is empty", "write one after the model, or pipe one in",
                ExitCode::kUsage);
  }
  return prompt;
}

Json to_json(Engine& engine, const Answer& answer) {
  const generate::GenerateResult& result = answer.result;
  const model::MemoryReport memory = engine.model().memory();
  const auto rate = [](std::int64_t tokens, double seconds) {
    return tokens > 0 && seconds > 0 ? Json(static_cast<double>(tokens) / seconds) : Json(nullptr);
  };
  const std::int64_t evaluated = result.prompt_tokens - result.reused_tokens;
  const std::optional<double> decode = decode_rate(result);
  return {{"model", engine.name()},
          {"text", answer.text},
          {"reasoning", answer.reasoning},
          {"tool_calls", answer.tool_calls},
          {"finish_reason", generate::name(result.finish)},
          {"seed", result.seed},
          {"tokens",
           {{"prompt", result.prompt_tokens},
            {"reused", result.reused_tokens},
            {"generated", result.generated_tokens}}},
          {"timings",
           {{"load_seconds", engine.load_seconds()},
            {"prompt_seconds", result.prompt_seconds},
            {"generate_seconds", result.generate_seconds},
            {"prompt_tokens_per_second", rate(evaluated, result.prompt_seconds)},
            {"generated_tokens_per_second", decode ? Json(*decode) : Json(nullptr)}}},
          {"memory",
           {{"weights", memory.weights},
            {"kv", memory.kv},
            {"state", memory.state},
            {"buffers", memory.buffers},
            {"other", memory.other}}}};
}

/// `text` without the space that SentencePiece models begin with: run prints it without, and so
/// does --json.
std::string without_leading_space(std::string text) {
  if (text.starts_with(' ')) text.erase(0, 1);
  return text;
}

Answer answer_chat(generate::Chat& chat, const std::string& prompt, const RunOptions& options,
                   ReplyPrinter* printer) {
  generate::ChatOptions settings = chat_options(options);
  // Nobody is told of tools here: in text, what looks like a call is text; in JSON it is reported
  // as a call.
  const Json no_tools = Json::array();
  if (printer != nullptr) settings.tools = &no_tools;
  chat.conversation.system = options.system;
  generate::ChatReply reply = chat.send(prompt, settings, [&](const text::ReplyEvent& event) {
    if (printer == nullptr) return;
    if (event.kind == text::ReplyEvent::Kind::kText) printer->text(event.text);
    if (event.kind == text::ReplyEvent::Kind::kReasoning) printer->reasoning(event.text);
    if (printer->broken()) throw QuietExit{ExitCode::kOk};
  });
  return {std::move(reply.text), std::move(reply.reasoning), std::move(reply.tool_calls),
          std::move(reply.result), reply.dropped_messages};
}

void answer_once(Engine& engine, const std::string& prompt, const RunOptions& options) {
  std::optional<ReplyPrinter> printer;
  if (!options.json) printer.emplace();
  Answer answer;
  if (engine.chat() != nullptr) {
    answer =
        answer_chat(*engine.chat(), prompt, options, printer.has_value() ? &*printer : nullptr);
  } else {
    answer = complete(engine, prompt, options, options.special, [&](std::string_view text) {
      if (printer.has_value()) printer->text(text);
      if (printer.has_value() && printer->broken()) throw QuietExit{ExitCode::kOk};
      return true;
    });
  }
  if (printer.has_value()) {
    printer->finish();
  } else {
    answer.text = without_leading_space(std::move(answer.text));
    print_json(to_json(engine, answer));
  }
  engine.answered(answer.result, options);
  if (options.stats) fmt::print(stderr, "{}", statistics(engine, answer.result));
  const std::string note = remark(engine, answer);
  if (!note.empty()) fmt::print(stderr, "hearth: {}\n", note);
  if (answer.result.finish == FinishReason::kCancelled) throw QuietExit{ExitCode::kInterrupted};
}

}  // namespace

std::shared_ptr<SettingFlags> add_setting_flags(CLI::App& command,
                                                const std::function<bool(const Setting&)>& wanted) {
  auto flags = std::make_shared<SettingFlags>();
  for (const Setting& setting : all_settings()) {
    if (wanted && !wanted(setting)) continue;
    const auto add = [flags, &setting](const std::string& value) {
      flags->values.push_back({&setting, value, Layer::kFlags, fmt::format("--{}", setting.name)});
    };
    CLI::Option* option = nullptr;
    if (setting.kind == SettingKind::kSwitch) {
      // The value as it is written: --stats=maybe is for apply_settings to refuse.
      option = command.add_flag(std::string(setting.flags))->each(add);
    } else {
      option = command.add_option_function<std::vector<std::string>>(
          std::string(setting.flags), [add](const std::vector<std::string>& values) {
            for (const std::string& value : values) add(value);
          });
      option->expected(1)->allow_extra_args(false)->type_name(std::string(setting.placeholder));
      option->multi_option_policy(setting.kind == SettingKind::kList
                                      ? CLI::MultiOptionPolicy::TakeAll
                                      : CLI::MultiOptionPolicy::TakeLast);
    }
    option->group(std::string(setting.group))->description(std::string(setting.help));
  }
  return flags;
}

void run_model(const std::filesystem::path& model, const std::optional<std::string>& prompt,
               std::vector<SettingValue> values, std::optional<Promise> promise) {
  const RunOptions early =
      apply_settings({}, values);  // wrong settings are told before the model is loaded
  std::optional<InterruptGuard> guard(std::in_place, /*second_ends=*/true);
  Engine engine(model, early);
  if (promise) engine.answers().promise(std::move(*promise));
  model_store().mark_used(model);
  for (const std::string& note : engine.tokenizer().warnings())
    fmt::print(stderr, "hearth: {}\n", note);
  for (const std::string& note : engine.recommended().ignored)
    fmt::print(stderr, "hearth: {}\n", note);
  const bool chat_only = !early.system.empty() || early.thinking != Thinking::kModelDefault;
  if (engine.chat() == nullptr && chat_only) {
    fmt::print(stderr,
               "hearth: text is only continued here{}: --system and --think have no effect\n",
               early.raw ? "" : ", because the model has no chat template");
  }
  for (const auto& [token, bias] : early.sampler.logit_bias) {
    if (token < engine.model().spec().vocabulary) continue;
    throw Error(fmt::format("--logit-bias: token {} is outside the vocabulary of {}", token,
                            engine.model().spec().vocabulary),
                "use ids that hearth tokenize gives for this model", ExitCode::kUsage);
  }
  const std::int64_t trained = engine.model().spec().context_length;
  if (trained > 0 && engine.session().context() > trained) {
    fmt::print(stderr,
               "hearth: the model was trained with contexts of {} tokens; beyond that its answers "
               "get worse\n",
               trained);
  }
  if (!prompt.has_value()) {
    guard.reset();
    chat_on_terminal(engine, std::move(values));
    if (const std::string told = engine.answers().comparison(); !told.empty())
      fmt::print(stderr, "hearth: {}\n", told);
    return;
  }
  RunOptions base;
  base.sampler = engine.recommended().settings;
  answer_once(engine, *prompt, apply_settings(base, values));
}

void add_run_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or chat, with a model");
  auto model = std::make_shared<std::string>();
  command->add_option("MODEL", *model, "A GGUF file, or the name of a model in the store")
      ->required()
      ->type_name("");
  auto text = std::make_shared<std::optional<std::string>>();
  command->add_option("-p,--prompt", *text, "The prompt, instead of words after MODEL")
      ->type_name("TEXT");
  command->allow_extras();
  const std::shared_ptr<SettingFlags> flags = add_setting_flags(*command);
  command->footer(
      std::string(
          "Prompt:\n"
          "The words after MODEL are the prompt. Without any, stdin is (one newline at its end is "
          "left out); a single - says so explicitly. Without words and on a terminal you chat; "
          "/help there tells how. Words that begin with a dash go after --. -p TEXT does the "
          "same.\n"
          "A model with a chat template answers; one without, or with --raw, continues the text.\n"
          "\n"
          "Examples:\n"
          "  hearth run model.gguf \"Why is the sky blue?\"\n"
          "  hearth run model.gguf --temp 0 --json What is 2 + 2\n"
          "  git diff | hearth run model.gguf --system \"Write a commit message\"\n"
          "  hearth run model.gguf --raw -n 50 \"Once upon a time\"\n"
          "  hearth run model.gguf --think off -- --what does this flag do\n"
          "\n") +
      kSettingsHelp +
      "\n"
      "Exit status:\n"
      "  0  answered            3    the prompt or the model does not fit\n"
      "  1  failed              130  interrupted; what was generated is printed\n"
      "  2  wrong usage\n");
  command->callback([command, model, text, flags] {
    std::vector<std::string> words = plain_words(*command);
    if (text->has_value()) {
      if (!words.empty()) {
        throw Error("there are two prompts: --prompt, and the words after the model",
                    "leave one of them out", ExitCode::kUsage);
      }
      words = {plain_word(**text)};
    }
    for (const std::string& word : words) {
      if (find_invalid_utf8(word) == std::string::npos) continue;
      throw Error(fmt::format("the prompt is not valid UTF-8: '{}'", printable(word)),
                  "convert it with iconv", ExitCode::kUsage);
    }
    Configuration configuration = read_configuration();
    std::vector<SettingValue> values = std::move(configuration.values);
    values.insert(values.end(), flags->values.begin(), flags->values.end());
    const RunOptions early = apply_settings({}, values);
    const std::filesystem::path path = resolve_model(plain_word(*model));
    const std::optional<std::string> prompt = find_prompt(words, early.json);
    if (prompt.has_value() && find_invalid_utf8(*prompt) != std::string::npos) {
      throw Error(
          fmt::format("the prompt is not valid UTF-8 at byte {}", find_invalid_utf8(*prompt)),
          "convert it with iconv", ExitCode::kUsage);
    }
    run_model(path, prompt, std::move(values));
  });
}

}  // namespace hearth::cli
