#include "measure/kv_model.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "compute/forward/forwarding_backend.h"
#include "measure/kv_rounding.h"
#include "measure/log_probabilities.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/runner.h"
#include "state/kv_format.h"
#include "support/error.h"

namespace hearth::measure {

using compute::KvPart;
using compute::MemoryCategory;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Stores keys and values after rounding them to blocks of a stored type: formats that the engine
/// has no pages for, to compare with.
class RoundingBackend final : public compute::ForwardingBackend {
 public:
  RoundingBackend(Backend& inner, DType type, std::int64_t floats)
      : ForwardingBackend(inner), type_(type) {
    scratch_ =
        inner.allocate(static_cast<std::size_t>(floats) * sizeof(float), MemoryCategory::kBuffers);
    host_.resize(static_cast<std::size_t>(floats));
  }
  void store_kv(KvPart part, const Tensor& values, const compute::KvRows& rows,
                const Tensor& pool) noexcept override {
    const std::span<float> host =
        std::span(host_).first(static_cast<std::size_t>(values.elements()));
    inner().read(values, host.data());
    round_to_blocks(type_, host);
    const Tensor rounded = Tensor::contiguous(scratch_.get(), 0, DType::kF32,
                                              {values.shape[0], values.shape[1], values.shape[2]});
    inner().write(rounded, host.data());
    inner().store_kv(part, rounded, rows, pool);
  }

 private:
  DType type_;
  std::unique_ptr<tensor::Buffer> scratch_;
  std::vector<float> host_;
};

/// One format: its pool and its own place in the text.
struct Candidate {
  std::string name;
  spec::Setup setup;
  std::unique_ptr<RoundingBackend> rounding;
  std::unique_ptr<state::MemoryPool> pool;
  std::unique_ptr<model::Runner> runner;
  std::unique_ptr<state::SequenceState> sequence;
  double bytes_per_token = 0;
  Mean divergence, same_best, nll, more_nll;

  std::span<const float> run(std::span<const std::int32_t> tokens) {
    std::vector<model::BatchRow> rows;
    for (const std::int32_t token : tokens)
      rows.push_back({.sequence = sequence.get(), .token = token, .wants_logits = true});
    return runner->run(rows);
  }
};

class KvEvaluation {
 public:
  KvEvaluation(const gguf::File& file, compute::Backend& backend, std::int64_t context,
               const KvModelOptions& options)
      : file_(file),
        backend_(backend),
        options_(options),
        spec_(model::describe_model(file, {context})) {
    if (!spec_.causal || spec_.encoder || !spec_.head.linear.present() || spec_.embedding.hidden) {
      throw Error("this model does not continue texts, so its predictions cannot be compared",
                  "name a model that `hearth run` can run");
    }
    setup_.context = context;
    setup_.batch_rows = std::min(options.batch_rows, context);
    setup_.mapped = true;
    outputs_.logit_rows = setup_.batch_rows;
    cost_ = model::count_pass(file_, spec_, setup_, backend_, setup_.batch_rows, 0, outputs_);
    backend_.reserve(setup_.batch_rows, cost_.widest);
    for (const compute::WeightLoad& load : cost_.loads)
      backend_.reserve_weight(load.source, load.use, load.residency);
    weights_ = std::make_unique<model::Weights>(file_, spec_, backend_, compute::Residency::kMapped,
                                                [this](double) { check(); });
    add("f16");
  }

  /// A format more, unless the model's heads do not have it.
  void add(const std::string& name) {
    auto candidate = std::make_unique<Candidate>();
    candidate->name = name;
    candidate->setup = setup_;
    compute::Backend* backend = &backend_;
    if (name == "q4_0") {
      if (!all_blocks(DType::kQ4_0)) return;
      candidate->rounding =
          std::make_unique<RoundingBackend>(backend_, DType::kQ4_0, setup_.batch_rows * widest());
      candidate->setup.kv_type = DType::kF32;
      backend = candidate->rounding.get();
    } else {
      candidate->setup.kv_type = spec::parse_kv_format(name);
      const spec::KvFormat& format = candidate->setup.kv_type;
      if (!format.coded() && !(all_blocks(format.keys.type) && all_blocks(format.values.type)))
        return;
    }
    candidate->bytes_per_token = bytes_per_token(*candidate);
    candidate->pool = std::make_unique<state::MemoryPool>(backend_, spec_,
                                                          model::memory_limits(candidate->setup));
    candidate->runner = std::make_unique<model::Runner>(
        spec_, *weights_, *backend, *candidate->pool, model::limits_of(candidate->setup, outputs_),
        arena_bytes(candidate->setup));
    candidate->runner->check_between_layers([this] { check(); });
    candidate->sequence = std::make_unique<state::SequenceState>(*candidate->pool);
    candidates_.push_back(std::move(candidate));
  }

  void run(std::span<const std::int32_t> tokens) {
    const auto batch = static_cast<std::size_t>(setup_.batch_rows);
    rows_ = static_cast<std::int64_t>(tokens.size()) - 1;
    for (std::size_t begin = 0; begin + 1 < tokens.size(); begin += batch) {
      const std::size_t count = std::min(batch, tokens.size() - 1 - begin);
      const auto rows = tokens.subspan(begin, count);
      const auto next = tokens.subspan(begin + 1, count);
      share_ = static_cast<double>(begin) / static_cast<double>(tokens.size() - 1);
      for (const auto& candidate : candidates_) {
        score(*candidate, candidate->run(rows), next, static_cast<std::int64_t>(begin));
      }
      file_.check();
    }
    share_ = 1;
    check();
  }

  [[nodiscard]] std::vector<KvModelRow> rows() const {
    std::vector<KvModelRow> result;
    for (const auto& candidate : candidates_) {
      KvModelRow row;
      row.format = candidate->name;
      if (candidate->setup.kv_type.coded()) {
        row.coded_tokens = coded_tokens(spec_, candidate->setup.kv_type, rows_, setup_.batch_rows);
      }
      row.bytes_per_token = candidate->bytes_per_token;
      row.ratio = candidate->bytes_per_token / candidates_.front()->bytes_per_token;
      row.scored = candidate->nll.count();
      row.divergence = candidate->divergence.estimate();
      row.same_best = candidate->same_best.estimate();
      row.nll = candidate->nll.estimate();
      row.perplexity = perplexity_of(row.nll);
      row.perplexity_ratio = perplexity_of(candidate->more_nll.estimate());
      result.push_back(std::move(row));
    }
    return result;
  }

 private:
  /// Passes of all formats together take long: who waits is asked within them.
  void check() const {
    if (options_.progress) options_.progress(share_);
  }
  [[nodiscard]] bool all_blocks(DType type) const {
    const auto block = static_cast<std::int64_t>(tensor::info(type).block_elements);
    return std::all_of(spec_.kv_memories.begin(), spec_.kv_memories.end(),
                       [block](const spec::KvMemory& memory) {
                         return memory.key_size % block == 0 && memory.value_size % block == 0;
                       });
  }
  [[nodiscard]] std::int64_t widest() const {
    std::int64_t widest = 1;
    for (const spec::KvMemory& memory : spec_.kv_memories) {
      widest = std::max(widest, memory.kv_heads * std::max(memory.key_size, memory.value_size));
    }
    return widest;
  }
  [[nodiscard]] double bytes_per_token(const Candidate& candidate) const {
    if (candidate.rounding == nullptr)
      return state::kv_bytes_per_token(spec_, candidate.setup.kv_type);
    const tensor::DTypeInfo& info = tensor::info(DType::kQ4_0);
    return state::kv_bytes_per_token(spec_, DType::kF16) / 2 * info.block_bytes /
           info.block_elements;
  }
  [[nodiscard]] std::size_t arena_bytes(const spec::Setup& setup) const {
    return model::count_pass(file_, spec_, setup, backend_, setup.batch_rows, 0, outputs_)
        .arena_bytes;
  }

  /// The first candidate's logits of a pass are kept for the others.
  void score(Candidate& candidate, std::span<const float> logits,
             std::span<const std::int32_t> next, std::int64_t begin) {
    const auto width = static_cast<std::size_t>(spec_.logits);
    const bool reference = &candidate == candidates_.front().get();
    if (reference) {
      summaries_.resize(next.size());
      depths_.resize(next.size() * width);
      packed_.resize(next.size());
      base_nll_.resize(next.size());
    }
    for (std::size_t i = 0; i < next.size(); ++i) {
      if (begin + static_cast<std::int64_t>(i) < options_.first_scored) continue;
      const std::span<const float> row = logits.subspan(i * width, width);
      const RowSummary summary = reader_.summarise(row);
      const double nll = -log_probability(summary, row, next[i]);
      if (reference) {
        summaries_[i] = summary;
        base_nll_[i] = nll;
        packed_[i] = pack(summary, row, std::span(depths_).subspan(i * width, width));
      }
      candidate.nll.add(nll);
      candidate.more_nll.add(nll - base_nll_[i]);
      candidate.divergence.add(reference ? 0 : reader_.divergence(packed_[i], summary, row));
      candidate.same_best.add(summary.best == summaries_[i].best ? 1 : 0);
    }
  }

  const gguf::File& file_;
  compute::Backend& backend_;
  const KvModelOptions& options_;
  spec::ModelSpec spec_;
  spec::Setup setup_;
  model::Outputs outputs_;
  model::PassCost cost_;
  std::unique_ptr<model::Weights> weights_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  RowReader reader_;
  std::vector<RowSummary> summaries_;
  std::vector<std::uint16_t> depths_;
  std::vector<PackedRow> packed_;
  std::vector<double> base_nll_;
  std::int64_t rows_ = 0;  // evaluated
  double share_ = 0;       // of the tokens that is done
};

}  // namespace

std::optional<std::int64_t> coded_tokens(const spec::ModelSpec& spec, const spec::KvFormat& format,
                                         std::int64_t rows, std::int64_t batch_rows) {
  const bool coded = std::any_of(
      spec.kv_memories.begin(), spec.kv_memories.end(),
      [&](const spec::KvMemory& memory) { return state::memory_format(memory, format).coded; });
  if (!coded) return std::nullopt;
  const std::int64_t first = format.uniform ? 0 : state::kSinkPages;
  const std::int64_t recent = format.uniform ? 0 : state::kRecentCells;
  const std::int64_t length = std::max<std::int64_t>(0, rows - 1) / batch_rows * batch_rows;
  const std::int64_t pages = std::max<std::int64_t>(0, length - recent) / state::kPageCells;
  return std::max<std::int64_t>(0, pages - first) * state::kPageCells;
}

std::vector<KvModelRow> evaluate_kv_formats(const gguf::File& file, compute::Backend& backend,
                                            std::span<const std::string> formats,
                                            std::span<const std::int32_t> tokens,
                                            const KvModelOptions& options) {
  if (static_cast<std::int64_t>(tokens.size()) <= options.first_scored + 1) {
    throw Error("a text of " + std::to_string(tokens.size()) + " tokens is too short: the first " +
                    std::to_string(options.first_scored) + " are not scored",
                "give a longer one");
  }
  KvEvaluation evaluation(file, backend, static_cast<std::int64_t>(tokens.size()), options);
  for (const std::string& format : formats) {
    if (format != "f16") evaluation.add(format);
  }
  evaluation.run(tokens);
  return evaluation.rows();
}

}  // namespace hearth::measure
