#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/adapters.h"
#include "cli/image_rows.h"
#include "cli/interrupt.h"
#include "cli/logits.h"
#include "cli/models.h"
#include "cli/words.h"
#include "generate/drafter.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::cli {
namespace {

/// Rows per pass are limited so that their logits take at most this much memory.
constexpr std::int64_t kLogitBytes = std::int64_t{256} << 20;

/// Rows of floats for a file, which appears when it is complete; devices and pipes get them as they
/// come.
class RowWriter {
 public:
  /// Throws Error when `path` cannot be written.
  explicit RowWriter(const std::string& path) : path_(path) {
    std::error_code unknown;
    const std::filesystem::file_status status = std::filesystem::status(path, unknown);
    if (std::filesystem::is_other(status)) {
      stream_.open(path, std::ios::binary);
      check();
    } else {
      file_.emplace(path);
    }
  }
  void append(std::span<const float> values) {
    if (file_) return file_->write(std::as_bytes(values));
    stream_.write(reinterpret_cast<const char*>(values.data()),
                  static_cast<std::streamsize>(values.size_bytes()));
    check();
  }
  void finish() {
    if (file_) return file_->commit();
    stream_.close();
    check();
  }

 private:
  void check() const {
    if (!stream_) throw Error("cannot write " + in_quotes(path_, kPathLimit));
  }
  std::string path_;
  std::optional<AtomicFile> file_;
  std::ofstream stream_;
};

void stop_if_interrupted() {
  if (!InterruptGuard::interrupted()) return;
  throw Error("interrupted; nothing was written", "", ExitCode::kInterrupted);
}

std::int32_t best_of(std::span<const float> row) {
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

/// One call of the command.
class LogitsRun {
 public:
  explicit LogitsRun(const LogitsOptions& options) : options_(options) {
    const std::filesystem::path file = resolve_model(plain_word(options.model));
    const bool draft_file = !options.target.empty();
    const std::filesystem::path main =
        draft_file ? resolve_model(plain_word(options.target)) : file;
    check_output(file, main);
    writer_.emplace(options.out);
    const spec::ModelSpec spec = describe(main);
    context_ = options.context;
    if (spec.position_limit > 0) context_ = std::min(context_, spec.position_limit);
    states_ = options.per_token || options.pooled || !spec.head.linear.present();
    check_modes(spec);
    if (!options.image_embeddings.empty()) {
      image_ = read_image_rows(options.image_embeddings, options.positions, options.image_at,
                               spec.embedding.input_slices * spec.width,
                               static_cast<std::int64_t>(options.tokens.size()));
    }
    const std::int64_t rows = row_count(spec);
    spec::Setup setup = setup_for(main, rows);
    model::Outputs outputs = outputs_for(spec, setup.batch_rows, rows);
    std::optional<spec::ModelSpec> draft;
    if (options.draft > 0) {
      draft = draft_file ? describe(file)
                         : model::describe_draft_head(gguf::File::open(main), {options.context}, 0);
      outputs = generate::target_outputs(spec, *draft, limit_);
    }
    model_ = model::LoadedModel::load(
        setup, [](double) { stop_if_interrupted(); }, outputs);
    model_->runner().check_between_layers(stop_if_interrupted);
    adapters_ = Adapters(*model_, options.adapters).chosen();
    check_tokens();
    if (draft) {
      setup = model_->setup();
      setup.model = draft_file ? file : std::filesystem::path();
      draft_model_ = model::LoadedModel::load_draft(
          *model_, setup, 0,
          {.logit_rows = limit_, .hidden = model::HiddenRequest::kHidden, .hidden_rows = 1});
      draft_model_->runner().check_between_layers(stop_if_interrupted);
      drafter_.emplace(*draft_model_);
    }
    sequence_ = model_->new_sequence(options.first_position);
  }

  void run() {
    if (states_) {
      write_states();
      return finish();
    }
    if (model_->spec().encoder) {
      (void)model_->runner().encode(*sequence_, options_.tokens);
      run_rows(decoder_tokens());
    } else {
      run_rows(options_.tokens);
    }
    for (std::int64_t step = 0; step < options_.greedy; ++step) {
      greedy_.push_back(best_of(last_));
      const model::BatchRow row = text_row(greedy_.back());
      evaluate({&row, 1});
    }
    if (drafter_) draft();
    finish();
  }

 private:
  [[nodiscard]] spec::ModelSpec describe(const std::filesystem::path& file) const {
    return model::describe_model(gguf::File::open(file), {options_.context});
  }

  /// Refuses to overwrite what is read.
  void check_output(const std::filesystem::path& model, const std::filesystem::path& target) const {
    for (const std::filesystem::path& input :
         {model, target, std::filesystem::path(options_.image_embeddings),
          std::filesystem::path(options_.positions)}) {
      std::error_code ignored;  // a file that is not there is no other file
      if (!std::filesystem::equivalent(input, options_.out, ignored)) continue;
      throw Error("--out would overwrite '" + printable(options_.out, 300) + "', which is read",
                  "name another file", ExitCode::kUsage);
    }
  }

  /// Refuses what the model cannot do, and what would have no effect.
  void check_modes(const spec::ModelSpec& spec) const {
    if (states_ && (options_.greedy > 0 || options_.draft > 0)) {
      throw Error("--greedy and --draft need logits, and these are hidden states",
                  "leave them out, or --pooled and --per-token", ExitCode::kUsage);
    }
    if (options_.pooled && spec.pooling.kind == spec::PoolingKind::kNone) {
      throw Error("this model does not say how its states become one vector", "use --per-token");
    }
    if (!options_.image_embeddings.empty() && (!spec.causal || spec.encoder)) {
      throw Error("this model cannot read images", "leave --image-embd out");
    }
  }

  /// Rows of the longest pass that can come.
  [[nodiscard]] std::int64_t row_count(const spec::ModelSpec& spec) const {
    auto rows = static_cast<std::int64_t>(options_.tokens.size());
    if (image_) rows += image_->count;
    if (spec.encoder) rows = std::max(rows, static_cast<std::int64_t>(decoder_tokens(spec).size()));
    return rows;
  }
  [[nodiscard]] spec::Setup setup_for(const std::filesystem::path& file, std::int64_t rows) {
    spec::Setup setup;
    setup.model = file;
    setup.context = context_;
    setup.threads = options_.threads;
    setup.exact = options_.exact;
    setup.kv_type = options_.exact && options_.kv.empty()
                        ? spec::KvFormat(tensor::DType::kF32)
                        : spec::parse_kv_format(options_.kv.empty() ? "f16" : options_.kv);
    chunks_ = options_.chunks;
    if (chunks_.empty()) chunks_ = {std::max<std::int64_t>(1, rows) + (1 << 20)};
    setup.batch_rows =
        std::min<std::int64_t>(512, *std::max_element(chunks_.begin(), chunks_.end()));
    setup.batch_rows = std::min(setup.batch_rows, context_);
    return setup;
  }
  [[nodiscard]] model::Outputs outputs_for(const spec::ModelSpec& spec, std::int64_t batch_rows,
                                           std::int64_t rows) {
    if (!spec.causal) batch_rows = std::max(batch_rows, rows);
    const std::int64_t row_floats = states_ ? spec.streams * spec.width : spec.logits;
    limit_ = std::clamp<std::int64_t>(
        kLogitBytes / (row_floats * static_cast<std::int64_t>(sizeof(float))), 1, batch_rows);
    if (!spec.causal) limit_ = batch_rows;
    if (!states_) return {.logit_rows = limit_};
    return {.hidden = model::HiddenRequest::kHidden, .hidden_rows = limit_};
  }

  void check_tokens() const {
    const std::int64_t vocabulary = model_->spec().vocabulary;
    for (const auto* list : {&options_.tokens, &options_.decoder_tokens}) {
      for (const std::int32_t token : *list) {
        if (token < vocabulary) continue;
        throw Error(fmt::format("token id {} is outside the vocabulary of {}", token, vocabulary),
                    "use ids that hearth tokenize gives for this model");
      }
    }
    if (!options_.decoder_tokens.empty() && !model_->spec().encoder) {
      throw Error("--decoder-tokens is for models with an encoder and a decoder (T5)",
                  "leave it out", ExitCode::kUsage);
    }
    const std::int64_t count = row_count(model_->spec()) + options_.greedy + options_.draft;
    if (count > model_->setup().context) {
      throw Error(fmt::format("{} tokens are more than the context of {} holds", count,
                              model_->setup().context),
                  fmt::format("use --ctx {}", count), ExitCode::kDoesNotFit);
    }
  }

  [[nodiscard]] std::vector<std::int32_t> decoder_tokens(const spec::ModelSpec& spec) const {
    if (!options_.decoder_tokens.empty()) return options_.decoder_tokens;
    return {std::max(0, spec.decoder_start_token)};
  }
  [[nodiscard]] std::vector<std::int32_t> decoder_tokens() const {
    return decoder_tokens(model_->spec());
  }

  [[nodiscard]] model::BatchRow text_row(std::int32_t token) const {
    return {.sequence = sequence_.get(),
            .token = token,
            .wants_logits = !states_,
            .wants_hidden = states_ || drafter_.has_value()};
  }

  /// The text's rows with those of the image among them, in passes.
  void run_rows(std::span<const std::int32_t> tokens) {
    const std::int64_t images = image_ ? image_->count : 0;
    std::vector<model::BatchRow> rows;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(tokens.size()) + images; ++i) {
      const bool in_image = image_ && i >= image_->at && i < image_->at + images;
      const std::int64_t text = image_ && i >= image_->at ? i - images : i;
      rows.push_back(text_row(in_image ? 0 : tokens[static_cast<std::size_t>(text)]));
      if (in_image)
        rows.back().input = image_->embeddings.data() + (i - image_->at) * image_->width;
      if (image_ && !image_->axes.empty()) {
        rows.back().axes = image_->axes[static_cast<std::size_t>(i)].data();
      }
    }
    std::span<const model::BatchRow> rest = rows;
    const bool whole = !model_->spec().causal;
    for (std::size_t i = 0; !rest.empty(); ++i) {
      auto size = static_cast<std::int64_t>(rest.size());
      if (!whole) size = std::min(chunks_[i % chunks_.size()], size);
      while (size > 0) {
        const auto count = static_cast<std::size_t>(whole ? size : std::min(size, pass_limit()));
        evaluate(rest.first(count));
        rest = rest.subspan(count);
        size -= static_cast<std::int64_t>(count);
      }
    }
  }
  [[nodiscard]] std::int64_t pass_limit() const {
    return std::min(limit_, model_->setup().batch_rows);
  }

  void evaluate(std::span<const model::BatchRow> rows) {
    const std::span<const float> logits = model_->run(rows, adapters_.get());
    if (states_) {
      const std::span<const float> hidden = model_->runner().hidden();
      state_rows_.insert(state_rows_.end(), hidden.begin(), hidden.end());
      return;
    }
    write(logits, model_->spec().logits);
    last_.assign(logits.end() - model_->spec().logits, logits.end());
    if (!drafter_) return;
    std::vector<std::int32_t> tokens;
    for (const model::BatchRow& row : rows) tokens.push_back(row.token);
    const std::span<const float> guesses =
        drafter_->follow(tokens, model_->runner().hidden(), options_.draft_prompt);
    draft_rows_.insert(draft_rows_.end(), guesses.begin(), guesses.end());
  }

  void write(std::span<const float> values, std::int64_t columns) {
    writer_->append(values);
    columns_ = columns;
    rows_ += static_cast<std::int64_t>(values.size()) / columns;
  }

  /// Hidden states of the tokens, or the vector they are pooled to.
  void write_states() {
    const spec::ModelSpec& spec = model_->spec();
    if (spec.encoder) {
      const std::span<const float> output = model_->runner().encode(*sequence_, options_.tokens);
      state_rows_.assign(output.begin(), output.end());
    } else {
      run_rows(options_.tokens);
    }
    const bool can_pool = spec.pooling.kind != spec::PoolingKind::kNone;
    if (options_.per_token || !can_pool) {
      return write(state_rows_, model_->runner().hidden_width());
    }
    const auto length = static_cast<std::int64_t>(options_.tokens.size());
    write(model_->runner().pool(state_rows_, {&length, 1}), model_->runner().pooled_width());
  }

  /// Guesses after what the model would say next; the rows come last.
  void draft() {
    write(draft_rows_, model_->spec().logits);
    std::int32_t token = best_of(last_);
    for (std::int64_t step = 0; step < options_.draft; ++step) {
      const std::span<const float> guess =
          step == 0 ? drafter_->first(token) : drafter_->next(token);
      token = best_of(guess);
      drafted_.push_back(token);
      write(guess, model_->spec().logits);
    }
  }

  void finish() {
    writer_->finish();
    nlohmann::ordered_json json{{"rows", rows_}, {"cols", columns_}, {"greedy", greedy_}};
    if (options_.draft > 0) json["draft"] = drafted_;
    fmt::print("{}\n", json.dump());
  }

  const LogitsOptions& options_;
  std::optional<RowWriter> writer_;
  bool states_ = false;  // hidden states are wanted, not logits
  std::vector<std::int64_t> chunks_;
  std::unique_ptr<model::LoadedModel> model_, draft_model_;
  std::shared_ptr<const model::AdapterSet> adapters_;
  std::optional<generate::Drafter> drafter_;
  std::optional<ImageRows> image_;
  std::unique_ptr<state::SequenceState> sequence_;
  std::vector<float> last_;        // logits of the last row
  std::vector<float> state_rows_;  // hidden states so far
  std::vector<float> draft_rows_;  // guesses along the prompt
  std::vector<std::int32_t> greedy_, drafted_;
  std::int64_t context_ = 0;
  std::int64_t limit_ = 1;
  std::int64_t rows_ = 0, columns_ = 0;
};

}  // namespace

void write_logits(const LogitsOptions& options) {
  const InterruptGuard guard(/*second_ends=*/true);
  LogitsRun(options).run();
}

}  // namespace hearth::cli
