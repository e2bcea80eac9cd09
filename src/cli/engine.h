// A model with everything that commands need to generate text with it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/adapters.h"
#include "cli/measurements.h"
#include "cli/settings.h"
#include "generate/chat.h"
#include "generate/evaluator.h"
#include "generate/session.h"
#include "model/loaded_model.h"
#include "state/disk_store.h"
#include "state/prefix_cache.h"
#include "text/tokenizer.h"

namespace hearth::cli {

class Engine {
 public:
  /// Loads the model, showing progress on stderr when that is a terminal; ends with QuietExit when
  /// Ctrl-C was pressed meanwhile. `load` gives context, threads and formats; with `load.raw` the
  /// chat template is not looked at. `backend`: to compute on, instead of a CPU backend as `load`
  /// says. With `load.kv_disk`, conversations are found there, and what is remembered at the end
  /// is kept there.
  Engine(const std::filesystem::path& path, const RunOptions& load,
         std::shared_ptr<compute::Backend> backend = nullptr);
  ~Engine();

  [[nodiscard]] model::LoadedModel& model() noexcept { return *model_; }
  [[nodiscard]] const text::Tokenizer& tokenizer() const noexcept { return *tokenizer_; }
  [[nodiscard]] generate::Session& session() noexcept { return *session_; }
  [[nodiscard]] const Adapters& adapters() const noexcept { return *adapters_; }
  /// Applies an adapter or control vector `scale` times as strongly from now on; 0: not at all. The
  /// session is evaluated anew.
  void set_adapter_scale(std::size_t index, float scale);
  /// Null when the model has no chat template, or with --raw: then text is completed.
  [[nodiscard]] generate::Chat* chat() noexcept { return chat_.get(); }
  /// Sampling defaults: Hearth's with the model's recommendations.
  [[nodiscard]] const generate::RecommendedSettings& recommended() const noexcept {
    return recommended_;
  }
  [[nodiscard]] double load_seconds() const noexcept { return load_seconds_; }
  /// The model's name for people: general.name, else the file's.
  [[nodiscard]] std::string name() const;
  [[nodiscard]] AnswerLog& answers() noexcept { return answers_; }
  /// What the model remembers of earlier texts.
  [[nodiscard]] state::PrefixCacheStatistics remembered() const { return prefixes_->statistics(); }
  /// After every answer: hands what is remembered to the disk's writer, if there is one. Told when
  /// it could not be kept before.
  void save_in_background();
  /// After every answer: compares it with what was promised and keeps its speed, if `options` let
  /// it and nothing was loaded beside the model.
  void answered(const generate::GenerateResult& result, const RunOptions& options);

 private:
  void make_chat();
  void remember_texts(const RunOptions& load);

  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<Adapters> adapters_;
  std::unique_ptr<state::DiskStore> disk_;  // null: nothing is kept on disk
  std::unique_ptr<state::PrefixCache> prefixes_;
  std::unique_ptr<generate::ModelEvaluator> evaluator_;
  std::unique_ptr<generate::Session> session_;
  std::unique_ptr<generate::Chat> chat_;
  generate::RecommendedSettings recommended_;
  AnswerLog answers_;
  double load_seconds_ = 0;
};

/// How the model is loaded under these options.
[[nodiscard]] spec::Setup setup_of(const std::filesystem::path& path, const RunOptions& options);

/// What a generation takes from the options; Ctrl-C (InterruptGuard) cancels it, and long prompts
/// show their progress.
[[nodiscard]] generate::GenerateOptions generate_options(const RunOptions& options);
[[nodiscard]] generate::ChatOptions chat_options(const RunOptions& options);

/// Everything about one answer, whether it came from a chat or from completing text.
struct Answer {
  std::string text;
  std::string reasoning;
  generate::Json tool_calls = generate::Json::array();
  generate::GenerateResult result;
  int dropped_messages = 0;
};

/// Completes `prompt` as it is. Control tokens written in it count only with `special`.
Answer complete(Engine& engine, const std::string& prompt, const RunOptions& options, bool special,
                const std::function<bool(std::string_view)>& on_text);

/// Tokens per second. The first token comes with the prompt, so two are the least that tell.
[[nodiscard]] std::optional<double> decode_rate(const generate::GenerateResult& result);

/// The lines of --stats and /stats.
[[nodiscard]] std::string statistics(Engine& engine, const generate::GenerateResult& result);
/// A warning for stderr when the answer was cut or old messages were left out; empty otherwise.
[[nodiscard]] std::string remark(Engine& engine, const Answer& answer);

}  // namespace hearth::cli
