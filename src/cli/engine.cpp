#include "cli/engine.h"

#include <fmt/format.h>

#include <chrono>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "generate/chat_prompt.h"
#include "generate/model_kind.h"
#include "model/store_identity.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

spec::Setup make_setup(const std::filesystem::path& path, const RunOptions& options) {
  spec::Setup setup;
  setup.model = path;
  setup.context = options.context;
  setup.threads = options.threads;
  setup.kv_type = kv_format(options);
  setup.rope_scaling = options.rope_scaling;
  setup.exact = options.exact;
  setup.mapped = options.mapped;
  setup.snapshots = -1;
  setup.kv_budget = options.kv_budget;
  setup.spill_folder = options.kv_disk.folder;
  setup.spill_bytes = options.kv_disk.bytes;
  return setup;
}

/// Shorter prompts are read before anyone could read about it.
constexpr std::int64_t kLongPrompt = 256;

std::string rate_words(std::optional<double> rate) {
  return rate ? fmt::format("{:.1f} tokens/s", *rate) : std::string("-");
}

std::string megabytes(std::size_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

Engine::Engine(const std::filesystem::path& path, const RunOptions& load,
               std::shared_ptr<compute::Backend> backend) {
  const auto start = std::chrono::steady_clock::now();
  {
    ProgressLine progress;
    const auto show = [&progress](double fraction) {
      if (InterruptGuard::interrupted()) throw QuietExit{ExitCode::kInterrupted};
      progress.show(fmt::format("Loading the model: {:.0f} %", fraction * 100));
    };
    const spec::Setup setup = make_setup(path, load);
    model_ = backend ? model::LoadedModel::load(
                           std::make_shared<gguf::File>(gguf::File::open(setup.model)),
                           std::move(backend), setup, show)
                     : model::LoadedModel::load(setup, show);
  }
  generate::require_generation(model_->spec());
  tokenizer_ = text::Tokenizer::create(model_->file().metadata());
  adapters_ = std::make_unique<Adapters>(*model_, load.adapters);
  evaluator_ = std::make_unique<generate::ModelEvaluator>(*model_);
  evaluator_->set_adapters(adapters_->chosen());
  remember_texts(load);
  session_ = std::make_unique<generate::Session>(*evaluator_, *tokenizer_);
  recommended_ = generate::recommended_settings(model_->file().metadata());
  if (!load.raw) make_chat();
  load_seconds_ = seconds_since(start);
}

Engine::~Engine() {
  if (!disk_) return;
  try {
    evaluator_->remember(session_->tokens());
    prefixes_->save_all();
  } catch (const std::exception& error) {
    fmt::print(stderr, "hearth: the conversation was not kept on disk: {}\n", error.what());
  }
}

void Engine::remember_texts(const RunOptions& load) {
  if (!load.kv_disk.folder.empty()) {
    state::DiskStoreOptions options;
    options.folder = load.kv_disk.folder;
    options.most_bytes = load.kv_disk.bytes;
    options.key = read_kv_key(load.kv_disk_key);
    options.warn = [](const std::string& warning) { tell(warning); };
    options.most_bytes = state::bytes_for_texts(options, model_->memory().disk);
    if (options.most_bytes > 0)
      disk_ = std::make_unique<state::DiskStore>(options, model::store_identity(*model_));
  }
  prefixes_ = std::make_unique<state::PrefixCache>(
      model_->pool(), state::PrefixCache::limits_of(model_->pool()), disk_.get());
  evaluator_->use_cache(*prefixes_);
}

void Engine::save_in_background() {
  if (!disk_) return;
  evaluator_->remember(session_->tokens());
  prefixes_->save_in_background();
}

void Engine::make_chat() {
  std::optional<generate::ChatPrompt> found = generate::ChatPrompt::of(model_->file().metadata());
  if (!found.has_value()) return;
  const auto prompt = std::make_shared<const generate::ChatPrompt>(std::move(*found));
  auto renderer = [prompt](const generate::Json& messages, const generate::Json& variables) {
    return prompt->render(messages, nullptr, variables);
  };
  chat_ = std::make_unique<generate::Chat>(*session_, std::move(renderer), prompt->format());
}

void Engine::set_adapter_scale(std::size_t index, float scale) {
  adapters_->set_scale(index, scale);
  evaluator_->set_adapters(adapters_->chosen());
}

std::string Engine::name() const {
  const std::string& given = model_->spec().name;
  return given.empty() ? model_->setup().model.stem().string() : given;
}

void Engine::answered(const generate::GenerateResult& result, const RunOptions& options) {
  answers_.answered(*model_, result, options.measurements && adapters_->entries().empty());
}

spec::Setup setup_of(const std::filesystem::path& path, const RunOptions& options) {
  return make_setup(path, options);
}

generate::GenerateOptions generate_options(const RunOptions& options) {
  generate::GenerateOptions result;
  result.sampler = options.sampler;
  result.max_tokens = options.max_tokens;
  result.stops = options.stops;
  result.overflow = options.overflow;
  result.cancel = &InterruptGuard::flag();
  auto line = std::make_shared<ProgressLine>();
  result.on_prompt_progress = [line](std::int64_t done, std::int64_t total) {
    if (total < kLongPrompt) return;
    if (done == total) return line->clear();
    line->show(fmt::format("Reading the prompt: {} of {} tokens", done, total));
  };
  return result;
}

generate::ChatOptions chat_options(const RunOptions& options) {
  generate::ChatOptions result;
  result.generate = generate_options(options);
  if (options.thinking != Thinking::kModelDefault)
    result.thinking = options.thinking == Thinking::kOn;
  result.thinking_budget = options.thinking_budget;
  return result;
}

Answer complete(Engine& engine, const std::string& prompt, const RunOptions& options, bool special,
                const std::function<bool(std::string_view)>& on_text) {
  text::Prompt whole;
  whole.append(prompt, special ? text::Origin::kTemplate : text::Origin::kData);
  Answer answer;
  const std::vector<text::TokenId> tokens = generate::prompt_tokens(engine.tokenizer(), whole);
  answer.result = engine.session().generate(tokens, generate_options(options),
                                            [&](const generate::Piece& piece) {
                                              answer.text += piece.text;
                                              return on_text(piece.text);
                                            });
  return answer;
}

std::optional<double> decode_rate(const generate::GenerateResult& result) {
  if (result.generated_tokens < 2 || result.generate_seconds <= 0) return std::nullopt;
  return static_cast<double>(result.generated_tokens - 1) / result.generate_seconds;
}

std::string statistics(Engine& engine, const generate::GenerateResult& result) {
  const std::int64_t evaluated = result.prompt_tokens - result.reused_tokens;
  std::optional<double> prompt;
  if (evaluated > 0 && result.prompt_seconds > 0)
    prompt = static_cast<double>(evaluated) / result.prompt_seconds;
  const model::MemoryReport memory = engine.model().memory();
  std::string text = fmt::format("load       {:.2f} s\n", engine.load_seconds());
  text += fmt::format("prompt     {} tokens in {:.2f} s, {}", evaluated, result.prompt_seconds,
                      rate_words(prompt));
  if (result.reused_tokens > 0)
    text += fmt::format(" ({} more were known already)", result.reused_tokens);
  text += fmt::format("\ngenerated  {} tokens in {:.2f} s, {}; ended by {}, seed {}\n",
                      result.generated_tokens, result.generate_seconds,
                      rate_words(decode_rate(result)), generate::name(result.finish), result.seed);
  text += fmt::format("context    {} of {} tokens\n", engine.session().tokens().size(),
                      engine.session().context());
  text += fmt::format("memory     weights {}, kv {}, state {}, buffers {}, other {}",
                      megabytes(memory.weights), megabytes(memory.kv), megabytes(memory.state),
                      megabytes(memory.buffers), megabytes(memory.other));
  if (memory.mapped > 0) text += fmt::format(", mapped file {}", megabytes(memory.mapped));
  if (const std::string told = engine.answers().comparison(); !told.empty())
    text += "\nspeed      " + told;
  return text + "\n";
}

std::string remark(Engine& engine, const Answer& answer) {
  if (answer.result.finish == generate::FinishReason::kContext) {
    return fmt::format(
        "the answer ends here because the context of {} tokens is full; ask for a larger one with "
        "--ctx",
        engine.session().context());
  }
  if (answer.result.finish == generate::FinishReason::kLength && answer.text.empty() &&
      !answer.reasoning.empty()) {
    return fmt::format(
        "there is no answer: all {} tokens went into reasoning; raise -n, or use --think off",
        answer.result.generated_tokens);
  }
  if (answer.dropped_messages > 0) {
    return fmt::format("the context is full: the oldest {} messages were left out",
                       answer.dropped_messages);
  }
  return {};
}

}  // namespace hearth::cli
