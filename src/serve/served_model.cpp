#include "serve/served_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "generate/cached_prefixes.h"
#include "generate/compute_turn.h"
#include "generate/grammar/grammar.h"
#include "model/families/registry.h"
#include "model/store_identity.h"
#include "serve/constraints.h"
#include "serve/sampling_changes.h"
#include "state/disk_store.h"
#include "state/prefix_cache.h"
#include "state/snapshots.h"
#include "support/error.h"
#include "text/chat_template.h"

namespace hearth::serve {
namespace {

/// Embedding models read texts of up to so many tokens unless a longer context is asked for: a
/// pass over the 32k that some allow takes gigabytes.
constexpr std::int64_t kEmbeddingContext = 8192;

std::unique_ptr<model::LoadedModel> load_generating(spec::Setup setup,
                                                    const std::function<void(double)>& progress) {
  return model::LoadedModel::load(setup, progress, generate::scheduler_outputs(setup));
}

std::unique_ptr<model::LoadedModel> load_embedding(spec::Setup setup, const spec::ModelSpec& spec,
                                                   std::int64_t texts,
                                                   const std::function<void(double)>& progress) {
  setup.snapshots = 0;
  const std::int64_t wanted = setup.context > 0 ? setup.context : kEmbeddingContext;
  setup = generate::embedding_setup(std::move(setup), spec,
                                    std::min(wanted, generate::longest_text(spec)), texts);
  return model::LoadedModel::load(setup, progress, generate::embedding_outputs(setup));
}

}  // namespace

struct ServedModel::Adapters {
  struct Entry {
    ServedAdapter given;
    std::shared_ptr<const model::Adapter> adapter;
    std::shared_ptr<const model::ControlVector> vector;
  };
  std::vector<Entry> entries;
  std::mutex mutex;  // of the scales and of what they make
  std::shared_ptr<const model::AdapterSet> chosen;
};

ModelKind kind_of(const gguf::Metadata& metadata, const spec::ModelSpec& spec) {
  if (spec.pooling.kind == spec::PoolingKind::kRank) return ModelKind::kReranks;
  const bool encoder = !spec.causal && !spec.head.linear.present();
  if (encoder || metadata.contains(spec.architecture + ".pooling_type")) return ModelKind::kEmbeds;
  if (!spec.head.linear.present() || !spec.causal || spec.encoder) {
    throw Error("this model does not go on with a text (an encoder and decoder, or diffusion)",
                "serve a model that chats, completes, embeds or reranks");
  }
  return ModelKind::kGenerates;
}

ServedModel::ServedModel(const std::filesystem::path& path, const ServedModelOptions& options,
                         std::shared_ptr<generate::ComputeTurn> turn,
                         const std::function<void(double)>& progress)
    : max_tokens_(options.max_tokens >= 0 ? options.max_tokens : options.extras.max_tokens),
      defaults_(options.extras),
      turn_(std::move(turn)),
      embedding_(static_cast<std::size_t>(std::max(options.limits.queue, 0))) {
  spec::Setup setup = options.setup;
  setup.model = path;
  setup.sequences = options.limits.parallel;
  setup.snapshots = state::kChatSnapshots * options.limits.parallel;
  {
    const gguf::File file = gguf::File::open(path);
    const spec::ModelSpec spec = model::describe_model(file, {});
    kind_ = kind_of(file.metadata(), spec);
    if (kind_ != ModelKind::kGenerates)
      model_ = load_embedding(setup, spec, options.embedding_texts, progress);
  }
  if (!model_) model_ = load_generating(setup, progress);
  tokenizer_ = text::Tokenizer::create(metadata());
  adapters_ = std::make_unique<Adapters>();
  constraints_ = std::make_unique<Constraints>();
  if (kind_ != ModelKind::kGenerates) {
    encoder_ = std::make_unique<generate::TextEncoder>(metadata(), model_->spec());
    embedder_ = std::make_unique<generate::Embedder>(
        *model_, generate::EmbedderOptions{.turn = turn_.get()});
    return;
  }
  for (const std::string& problem : defaults_.problems) {
    if (options.warn) options.warn(fmt::format("{}: {}", printable(path.stem().string()), problem));
  }
  load_adapters(options.adapters);
  make_chat();
  generate::RecommendedSettings recommended = generate::recommended_settings(metadata());
  sampling_ = std::move(recommended.settings);
  warnings_ = std::move(recommended.ignored);
  apply(defaults_.sampling, sampling_);
  if (options.sampling) options.sampling(sampling_);
  make_scheduler(options);
}

ServedModel::~ServedModel() {
  scheduler_.reset();  // its thread uses the prefixes
  if (disk_) prefixes_->save_all();
}

void ServedModel::remember_texts(const ServedModelOptions& options) {
  if (!options.disk_folder.empty()) {
    state::DiskStoreOptions disk;
    disk.folder = options.disk_folder;
    disk.most_bytes = options.disk_bytes;
    disk.key = options.disk_key;
    disk.warn = options.warn;
    disk.most_bytes = state::bytes_for_texts(disk, model_->memory().disk);
    if (disk.most_bytes > 0)
      disk_ = std::make_unique<state::DiskStore>(disk, model::store_identity(*model_));
  }
  prefixes_ = std::make_unique<state::PrefixCache>(
      model_->pool(), state::PrefixCache::limits_of(model_->pool()), disk_.get());
}

void ServedModel::make_scheduler(const ServedModelOptions& options) {
  // A server that has begun does not grow, and does not run out of memory in the middle of a reply.
  model_->pool().populate();
  remember_texts(options);
  scheduler_ =
      std::make_unique<generate::Scheduler>(*model_, *tokenizer_, options.limits, turn_,
                                            std::make_unique<generate::CachedPrefixes>(*prefixes_));
}

void ServedModel::make_chat() {
  using generate::ChatPrompt;
  const auto shared = [](ChatPrompt prompt) {
    return std::make_shared<const ChatPrompt>(std::move(prompt));
  };
  if (!defaults_.chat_template.empty()) {
    chat_ = tool_chat_ = shared(ChatPrompt::with_template(defaults_.chat_template, metadata()));
    return;
  }
  if (auto own = ChatPrompt::of(metadata())) chat_ = shared(*std::move(own));
  // Few models have a second one for tools: a template takes a while to compile and to probe.
  const std::optional<std::string> source = text::find_chat_template(metadata(), true);
  if (chat_ && source == chat_->chat_template().source()) {
    tool_chat_ = chat_;
  } else if (auto own = ChatPrompt::of(metadata(), /*with_tools=*/true)) {
    tool_chat_ = shared(*std::move(own));
  }
}

void ServedModel::load_adapters(std::vector<ServedAdapter> adapters) {
  for (const std::filesystem::path& own : defaults_.adapters) adapters.push_back({own, 1, false});
  for (const ServedAdapter& each : adapters) {
    Adapters::Entry entry{each, nullptr, nullptr};
    if (each.control_vector) {
      entry.vector = model_->load_control_vector(each.path);
    } else {
      entry.adapter = model_->load_adapter(each.path);
    }
    adapters_->entries.push_back(std::move(entry));
  }
  if (!adapters.empty()) set_adapter_scales({});
}

std::string ServedModel::title() const {
  const std::string& given = model_->spec().name;
  return given.empty() ? model_->setup().model.stem().string() : given;
}

std::string ServedModel::kv_name() const { return model_->setup().kv_type.name(); }

std::shared_ptr<const generate::grammar::TokenTrie> ServedModel::token_trie() {
  std::call_once(trie_once_, [&] { trie_ = generate::grammar::build_token_trie(*tokenizer_); });
  return trie_;
}

std::shared_ptr<const model::AdapterSet> ServedModel::adapters() const {
  const std::lock_guard lock(adapters_->mutex);
  return adapters_->chosen;
}

std::vector<ServedAdapter> ServedModel::adapter_list() const {
  const std::lock_guard lock(adapters_->mutex);
  std::vector<ServedAdapter> list;
  for (const Adapters::Entry& entry : adapters_->entries) list.push_back(entry.given);
  return list;
}

void ServedModel::set_adapter_scales(const std::vector<std::pair<std::size_t, float>>& scales) {
  const std::lock_guard lock(adapters_->mutex);
  for (const auto& [index, scale] : scales) {
    if (index >= adapters_->entries.size() || !std::isfinite(scale)) {
      throw Error("there is no such adapter, or its scale is no number",
                  "GET /lora-adapters lists them", ExitCode::kUsage);
    }
  }
  for (const auto& [index, scale] : scales) adapters_->entries[index].given.scale = scale;
  std::vector<model::AdapterChoice> adapters;
  std::vector<model::ControlChoice> vectors;
  for (const Adapters::Entry& entry : adapters_->entries) {
    const float scale = entry.given.scale;
    if (scale == 0) continue;
    if (entry.vector) vectors.push_back({entry.vector, scale});
    if (entry.adapter) adapters.push_back({entry.adapter, scale});
  }
  adapters_->chosen.reset();
  if (!adapters.empty() || !vectors.empty()) adapters_->chosen = model_->mix(adapters, vectors);
}

void ServedModel::embed(std::span<const generate::TokenList> texts,
                        const generate::VectorSink& sink, const std::function<void()>& check) {
  const WaitingLine::Turn turn = embedding_.wait(check);
  embedder_->embed(texts, sink, check);
}

}  // namespace hearth::serve
