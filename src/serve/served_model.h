// One loaded model with all that requests need of it: tokenizer, chat template, scheduler.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/chat_prompt.h"
#include "generate/embedder.h"
#include "generate/sampler_settings.h"
#include "generate/scheduler.h"
#include "model/loaded_model.h"
#include "serve/chat_request.h"
#include "serve/model_extras.h"
#include "serve/waiting_line.h"
#include "text/tokenizer.h"

namespace hearth::generate::grammar {
class TokenTrie;
}
namespace hearth::state {
class DiskStore;
class PrefixCache;
class StoreKey;
}  // namespace hearth::state

namespace hearth::serve {

class Constraints;

/// What a model is for.
enum class ModelKind : std::uint8_t { kGenerates, kEmbeds, kReranks };

/// An adapter or control vector and how strongly it is applied.
struct ServedAdapter {
  std::filesystem::path path;
  float scale = 1;
  bool control_vector = false;
};

struct ServedModelOptions {
  spec::Setup setup;  ///< all but `model`; `sequences` is `limits.parallel`
  generate::SchedulerLimits limits;
  /// Applied over the model's recommendations, under what requests say.
  std::function<void(generate::SamplerSettings&)> sampling;
  std::int64_t max_tokens = -1;  ///< of requests that name no limit
  /// The model's own, under all of these.
  ModelDefaults extras = {};
  std::vector<ServedAdapter> adapters;
  /// Where beginnings of texts are kept when the memory is needed, and over restarts. Empty:
  /// nowhere.
  std::filesystem::path disk_folder;
  std::uint64_t disk_bytes = 0;
  std::shared_ptr<const state::StoreKey> disk_key;  ///< null: they are not encrypted
  /// Told what the disk could not keep, and what of the model's own settings cannot be read.
  std::function<void(const std::string&)> warn;
  /// Texts of an embedding request that are evaluated at once.
  std::int64_t embedding_texts = 8;
};

/// The kind of model a file holds. Throws Error when it is none that can be served.
[[nodiscard]] ModelKind kind_of(const gguf::Metadata& metadata, const spec::ModelSpec& spec);

class ServedModel {
 public:
  /// Loads the file. `turn` is shared by all models of a program. Throws Error (exit code 3: not
  /// enough memory).
  ServedModel(const std::filesystem::path& path, const ServedModelOptions& options,
              std::shared_ptr<generate::ComputeTurn> turn,
              const std::function<void(double)>& progress);
  ~ServedModel();

  [[nodiscard]] ModelKind kind() const noexcept { return kind_; }
  [[nodiscard]] model::LoadedModel& model() noexcept { return *model_; }
  [[nodiscard]] const model::LoadedModel& model() const noexcept { return *model_; }
  [[nodiscard]] const gguf::Metadata& metadata() const { return model_->file().metadata(); }
  [[nodiscard]] const text::Tokenizer& tokenizer() const noexcept { return *tokenizer_; }
  /// Only models that generate.
  [[nodiscard]] generate::Scheduler& scheduler() noexcept { return *scheduler_; }
  /// Hearth's defaults, the model's recommendations, the server's settings.
  [[nodiscard]] const generate::SamplerSettings& sampling() const noexcept { return sampling_; }
  /// What of the model's recommendations was not taken, one sentence each.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  [[nodiscard]] std::int64_t max_tokens() const noexcept { return max_tokens_; }
  [[nodiscard]] const ModelDefaults& defaults() const noexcept { return defaults_; }
  /// General.name, else the file's.
  [[nodiscard]] std::string title() const;
  /// What keys and values are kept in: "F16".
  [[nodiscard]] std::string kv_name() const;
  [[nodiscard]] std::int64_t vocabulary() const noexcept { return model_->spec().vocabulary; }
  [[nodiscard]] std::int64_t context() const noexcept { return model_->setup().context; }

  /// Null where the model has no chat template; `with_tools`: the template meant for that.
  [[nodiscard]] const generate::ChatPrompt* chat(bool with_tools) const noexcept {
    return with_tools ? tool_chat_.get() : chat_.get();
  }

  /// What structured output masks tokens with; built when it is first needed.
  [[nodiscard]] std::shared_ptr<const generate::grammar::TokenTrie> token_trie();
  /// The grammars of its requests.
  [[nodiscard]] Constraints& constraints() noexcept { return *constraints_; }

  /// What requests from now on are computed with; null: no adapters.
  [[nodiscard]] std::shared_ptr<const model::AdapterSet> adapters() const;
  /// The adapters with their scales; and sets the scales, for requests from now on. Throws Error
  /// for a scale that is no number.
  [[nodiscard]] std::vector<ServedAdapter> adapter_list() const;
  void set_adapter_scales(const std::vector<std::pair<std::size_t, float>>& scales);

  /// Vectors (or scores) of texts, one request at a time. Only models that embed or rerank.
  /// Throws what Embedder::embed() and WaitingLine::wait() do; `check` is called while it waits
  /// and before every pass.
  void embed(std::span<const generate::TokenList> texts, const generate::VectorSink& sink,
             const std::function<void()>& check = {});
  [[nodiscard]] const generate::TextEncoder& text_encoder() const noexcept { return *encoder_; }
  [[nodiscard]] std::int64_t dimensions() const noexcept { return embedder_->dimensions(); }

 private:
  void make_scheduler(const ServedModelOptions& options);
  void remember_texts(const ServedModelOptions& options);
  void load_adapters(std::vector<ServedAdapter> adapters);
  void make_chat();

  ModelKind kind_;
  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  generate::SamplerSettings sampling_;
  std::int64_t max_tokens_ = -1;
  ModelDefaults defaults_;
  std::shared_ptr<const generate::ChatPrompt> chat_, tool_chat_;  // often one
  std::vector<std::string> warnings_;
  std::unique_ptr<Constraints> constraints_;
  std::once_flag trie_once_;
  std::shared_ptr<const generate::grammar::TokenTrie> trie_;

  struct Adapters;
  std::unique_ptr<Adapters> adapters_;
  std::shared_ptr<generate::ComputeTurn> turn_;
  std::unique_ptr<generate::TextEncoder> encoder_;
  std::unique_ptr<generate::Embedder> embedder_;
  WaitingLine embedding_;
  std::unique_ptr<state::DiskStore> disk_;
  std::unique_ptr<state::PrefixCache> prefixes_;
  std::unique_ptr<generate::Scheduler> scheduler_;  // last: it ends first
};

}  // namespace hearth::serve
