// One loaded model with all that requests need of it: tokenizer, chat template, scheduler.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/embedder.h"
#include "generate/sampler_settings.h"
#include "generate/scheduler.h"
#include "model/loaded_model.h"
#include "serve/chat_request.h"
#include "text/chat_format.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hearth::generate::grammar {
class TokenTrie;
}

namespace hearth::serve {

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
  std::vector<ServedAdapter> adapters;
  /// Texts of an embedding request that are evaluated at once.
  std::int64_t embedding_texts = 8;
};

/// A set of adapters, and a number that tells it from others (0: none).
struct ChosenAdapters {
  std::shared_ptr<const model::AdapterSet> set;
  std::uint64_t fingerprint = 0;
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
  [[nodiscard]] const gguf::Metadata& metadata() const { return model_->file().metadata(); }
  [[nodiscard]] const text::Tokenizer& tokenizer() const noexcept { return *tokenizer_; }
  /// Only models that generate.
  [[nodiscard]] generate::Scheduler& scheduler() noexcept { return *scheduler_; }
  /// Hearth's defaults, the model's recommendations, the server's settings.
  [[nodiscard]] const generate::SamplerSettings& sampling() const noexcept { return sampling_; }
  /// What of the model's recommendations was not taken, one sentence each.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  [[nodiscard]] std::int64_t max_tokens() const noexcept { return max_tokens_; }
  /// General.name, else the file's.
  [[nodiscard]] std::string title() const;
  [[nodiscard]] std::int64_t context() const noexcept { return model_->setup().context; }

  /// Null where the model has none; `with_tools`: the one meant for that.
  [[nodiscard]] const text::ChatTemplate* chat_template(bool with_tools) const noexcept;
  [[nodiscard]] const text::ChatFormat& chat_format(bool with_tools) const noexcept;
  [[nodiscard]] const std::map<std::string, std::string>& special_tokens() const noexcept {
    return special_tokens_;
  }

  /// What structured output masks tokens with; built when it is first needed.
  [[nodiscard]] std::shared_ptr<const generate::grammar::TokenTrie> token_trie();

  /// What requests from now on are computed with.
  [[nodiscard]] ChosenAdapters adapters() const;
  /// The adapters with their scales; and sets the scales, for requests from now on. Throws Error
  /// for a scale that is no number.
  [[nodiscard]] std::vector<ServedAdapter> adapter_list() const;
  void set_adapter_scales(const std::vector<std::pair<std::size_t, float>>& scales);

  /// Vectors (or scores) of texts, one request at a time. Only models that embed or rerank.
  /// Throws Error for an empty or too long text.
  void embed(std::span<const generate::TokenList> texts, const generate::VectorSink& sink);
  [[nodiscard]] const generate::TextEncoder& text_encoder() const noexcept { return *encoder_; }
  [[nodiscard]] std::int64_t dimensions() const noexcept { return embedder_->dimensions(); }

 private:
  struct Chat {
    std::unique_ptr<text::ChatTemplate> chat_template;
    text::ChatFormat format;
  };
  void load_chat();
  void make_scheduler(const ServedModelOptions& options);
  void load_adapters(const std::vector<ServedAdapter>& adapters);

  ModelKind kind_;
  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  generate::SamplerSettings sampling_;
  std::int64_t max_tokens_ = -1;
  std::map<std::string, std::string> special_tokens_;
  Chat chat_, tool_chat_;
  std::vector<std::string> warnings_;
  std::once_flag trie_once_;
  std::shared_ptr<const generate::grammar::TokenTrie> trie_;

  struct Adapters;
  std::unique_ptr<Adapters> adapters_;
  std::shared_ptr<generate::ComputeTurn> turn_;
  std::unique_ptr<generate::TextEncoder> encoder_;
  std::unique_ptr<generate::Embedder> embedder_;
  std::mutex embedding_;                            // one request at a time
  std::unique_ptr<generate::Scheduler> scheduler_;  // last: it ends first
};

}  // namespace hearth::serve
