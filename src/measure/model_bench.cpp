#include "measure/model_bench.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "compute/cpu/cpu_backend.h"
#include "generate/evaluator.h"
#include "generate/sampler.h"
#include "generate/sampler_settings.h"
#include "generate/session.h"
#include "machine/cpu.h"
#include "machine/memory.h"
#include "measure/machine_speed.h"
#include "measure/made_past.h"
#include "measure/model_identity.h"
#include "measure/samples.h"
#include "model/cost.h"
#include "model/loaded_model.h"
#include "support/error.h"
#include "support/thread_team.h"
#include "text/tokenizer.h"

namespace hearth::measure {

using text::TokenId;

namespace {

/// Tokens of prompts: the same in every run, different in every round.
class Prompts {
 public:
  explicit Prompts(std::int64_t vocabulary) : vocabulary_(static_cast<std::uint64_t>(vocabulary)) {}
  /// `count` tokens, of which the first differs from that of other `salt`s.
  [[nodiscard]] std::vector<TokenId> make(std::int64_t count, std::uint64_t salt) const {
    std::vector<TokenId> tokens;
    tokens.reserve(static_cast<std::size_t>(count));
    std::uint64_t state = salt;
    for (std::int64_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<TokenId>((i == 0 ? salt : state >> 33) % vocabulary_));
      state = state * 6364136223846793005U + 1442695040888963407U;
    }
    return tokens;
  }

 private:
  std::uint64_t vocabulary_;
};

/// Samples of one quantity per round.
struct Samples {
  std::vector<double> speed, fraction, fraction_bf16, fraction_f32;
};

class PassBench {
 public:
  PassBench(const BenchModel& source, const spec::Setup& given, const BenchPlan& plan,
            const Decorator& decorate)
      : plan_(plan) {
    load(source, given, decorate);
  }

  BenchResult run() {
    for (const std::int64_t depth : plan_.depths) run_depth(depth);
    const model::MemoryReport memory = model_->memory();
    result_.weights = memory.weights;
    result_.kv = memory.kv;
    result_.state = memory.state;
    result_.buffers = memory.buffers;
    result_.other = memory.other;
    return std::move(result_);
  }

 private:
  void load(const BenchModel& source, const spec::Setup& given, const Decorator& decorate);
  void run_depth(std::int64_t depth);
  void warm_up(std::int64_t depth);
  void count(std::int64_t depth, BenchRow& row) const;
  [[nodiscard]] double count_prompt(std::int64_t depth) const;
  void measure_prefill(std::int64_t depth, std::uint64_t round);
  void measure_decode(std::int64_t depth, std::size_t batch, std::uint64_t round);
  double prefill(std::int64_t depth, std::int64_t count, std::uint64_t round);
  double decode(std::int64_t depth, std::int64_t count, std::uint64_t round);
  double decode_together(std::uint64_t round);
  [[nodiscard]] bool made_up(std::int64_t depth) const noexcept {
    return depth >= plan_.made_up_from;
  }
  [[nodiscard]] double prefill_made_up(std::int64_t depth, std::int64_t count, std::uint64_t round);
  void fill(std::int64_t depth);
  void fill_sequences(std::int64_t depth, int batch);
  void fill_sequence(state::SequenceState& sequence, std::int64_t depth);
  [[nodiscard]] generate::GenerateOptions options(std::int64_t tokens) const;
  void check_cancelled() const {
    if (plan_.cancel != nullptr && plan_.cancel->load(std::memory_order_relaxed)) {
      throw Error("interrupted", "", ExitCode::kInterrupted);
    }
  }
  void progress(std::string_view text) const {
    if (plan_.on_progress) plan_.on_progress(text);
  }
  template <class Work>
  void profiled(compute::Profile& into, Work work);
  [[nodiscard]] MachineSpeed& machine();

  const BenchPlan& plan_;
  BenchResult result_;
  std::shared_ptr<compute::ProfileBackend> profiler_;  // with --profile
  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<generate::ModelEvaluator> evaluator_;
  std::unique_ptr<generate::Session> session_;
  generate::SamplerSettings sampler_;
  std::vector<std::unique_ptr<state::SequenceState>> sequences_;  // of batches
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<MachineSpeed> machine_;

  // Of the depth under way.
  Samples prefill_;
  std::vector<Samples> decode_;  // by batch
  std::vector<double> read_, int8_, bf16_, f32_;
  std::vector<BenchRow> rows_;
};

void PassBench::load(const BenchModel& source, const spec::Setup& given,
                     const Decorator& decorate) {
  spec::Setup setup = given;
  const std::int64_t depth = *std::max_element(plan_.depths.begin(), plan_.depths.end());
  // Decoding begins with one token of a prompt.
  setup.context = depth + std::max(plan_.prompt, plan_.generated + 2);
  setup.sequences = *std::max_element(plan_.batches.begin(), plan_.batches.end());
  if (setup.exact) setup.kv_type = tensor::DType::kF32;
  model::Outputs outputs;
  outputs.logit_rows = setup.sequences;

  progress("loading");
  const double start = now();
  const std::shared_ptr<gguf::File> file = source.open();
  std::shared_ptr<compute::Backend> backend = compute::make_cpu_backend(
      {.threads = setup.threads, .exact = setup.exact, .instruction_set = setup.instruction_set});
  if (plan_.profile) {
    // The profiler does not own what it watches.
    std::shared_ptr<compute::ProfileBackend> profiler = compute::make_profile_backend(*backend);
    profiler_ = std::shared_ptr<compute::ProfileBackend>(
        profiler.get(), [profiler, backend](compute::ProfileBackend*) {});
    backend = profiler_;
  }
  if (decorate) backend = decorate(backend);
  model_ = model::LoadedModel::load(
      file, backend, setup, [this](double) { check_cancelled(); }, outputs);
  const spec::ModelSpec& spec = model_->spec();
  if (!spec.head.linear.present() || spec.encoder || !spec.causal) {
    throw Error("this model does not continue texts, so there is nothing to time",
                "name a model that `hearth run` can run");
  }
  tokenizer_ = text::Tokenizer::create(model_->file().metadata());
  evaluator_ = std::make_unique<generate::ModelEvaluator>(*model_);
  session_ = std::make_unique<generate::Session>(*evaluator_, *tokenizer_);
  // A generation must not end early: what ends it is never chosen.
  sampler_ = generate::recommended_settings(model_->file().metadata()).settings;
  sampler_.seed = 1;
  for (std::size_t id = 0; id < tokenizer_->size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (tokenizer_->ends_generation(token) || token == tokenizer_->special().bos) {
      sampler_.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
    }
  }
  (void)prefill(0, 1, 0);
  result_.load_seconds = now() - start;
  if (source.loaded) source.loaded();

  result_.type = main_type(*file);
  result_.kernels = std::string(backend->name());
  result_.threads = setup.threads > 0 ? setup.threads : machine::usable_cores();
  result_.kv_type = model_->setup().kv_type;
  result_.context = model_->setup().context;
  result_.file_bytes = file->file_bytes();
}

/// Made late: what it allocates is not the model's.
MachineSpeed& PassBench::machine() {
  if (!machine_) {
    team_ = std::make_unique<ThreadTeam>(result_.threads);
    machine_ =
        std::make_unique<MachineSpeed>(*team_, model_->setup().instruction_set, plan_.probe_bytes);
  }
  return *machine_;
}

template <class Work>
void PassBench::profiled(compute::Profile& into, Work work) {
  if (profiler_) profiler_->reset_profile();
  work();
  if (!profiler_) return;
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i].calls += profiler_->profile()[i].calls;
    into[i].seconds += profiler_->profile()[i].seconds;
  }
}

generate::GenerateOptions PassBench::options(std::int64_t tokens) const {
  generate::GenerateOptions options;
  options.sampler = sampler_;
  options.max_tokens = tokens;
  options.cancel = plan_.cancel;
  return options;
}

namespace {

bool ignore_piece(const generate::Piece& /*piece*/) { return true; }

}  // namespace

/// Makes the session's sequence hold `depth` tokens.
void PassBench::fill(std::int64_t depth) {
  evaluator_->truncate(depth);
  if (evaluator_->length() == depth) return;
  const std::vector<TokenId> past = Prompts(model_->spec().vocabulary).make(depth, 0);
  (void)session_->generate(past, options(0), ignore_piece);
  check_cancelled();
}

/// The same after a made-up past: passes as the session makes them.
double PassBench::prefill_made_up(std::int64_t depth, std::int64_t count, std::uint64_t round) {
  fill_sequences(depth, 1);
  const std::vector<TokenId> prompt = Prompts(model_->spec().vocabulary).make(count, round + 1);
  const auto batch = static_cast<std::size_t>(model_->setup().batch_rows);
  const double start = now();
  for (std::size_t begin = 0; begin < prompt.size(); begin += batch) {
    check_cancelled();
    std::vector<model::BatchRow> rows;
    for (std::size_t i = begin; i < std::min(begin + batch, prompt.size()); ++i) {
      rows.push_back({.sequence = sequences_.front().get(),
                      .token = prompt[i],
                      .wants_logits = i + 1 == prompt.size()});
    }
    (void)model_->run(rows);
  }
  return now() - start;
}

/// Seconds that a prompt of `count` tokens after `depth` others takes.
double PassBench::prefill(std::int64_t depth, std::int64_t count, std::uint64_t round) {
  if (made_up(depth)) return prefill_made_up(depth, count, round);
  fill(depth);
  const Prompts prompts(model_->spec().vocabulary);
  std::vector<TokenId> tokens = prompts.make(depth, 0);
  const std::vector<TokenId> prompt = prompts.make(count, round + 1);
  tokens.insert(tokens.end(), prompt.begin(), prompt.end());
  const generate::GenerateResult result = session_->generate(tokens, options(0), ignore_piece);
  check_cancelled();
  if (result.reused_tokens != depth) throw Error("the bench's prompt was not evaluated as a whole");
  return result.prompt_seconds;
}

/// Seconds that `count` passes of one token after `depth` others and a prompt of one token take,
/// with everything that happens between them.
double PassBench::decode(std::int64_t depth, std::int64_t count, std::uint64_t round) {
  fill(depth);
  const Prompts prompts(model_->spec().vocabulary);
  std::vector<TokenId> tokens = prompts.make(depth, 0);
  tokens.push_back(prompts.make(1, round + 1)[0]);
  // The last token that is generated is not evaluated.
  const generate::GenerateResult result =
      session_->generate(tokens, options(count + 1), ignore_piece);
  check_cancelled();
  if (result.generated_tokens != count + 1) throw Error("the bench's generation ended early");
  return result.generate_seconds;
}

void PassBench::fill_sequence(state::SequenceState& sequence, std::int64_t depth) {
  sequence.truncate(depth);
  if (made_up(depth)) {
    make_past(model_->backend(), model_->spec(), model_->pool(), sequence, depth);
    return;
  }
  const std::int64_t begin = sequence.length();
  const std::vector<TokenId> past = Prompts(model_->spec().vocabulary).make(depth, 0);
  std::vector<model::BatchRow> rows;
  for (std::int64_t i = begin; i < depth; ++i) {
    rows.push_back({.sequence = &sequence, .token = past[static_cast<std::size_t>(i)]});
    if (i + 1 < depth && static_cast<std::int64_t>(rows.size()) < model_->setup().batch_rows)
      continue;
    check_cancelled();
    (void)model_->run(rows);
    rows.clear();
  }
}

/// Makes `batch` sequences that hold `depth` tokens each, none of them shared.
void PassBench::fill_sequences(std::int64_t depth, int batch) {
  evaluator_->truncate(0);  // gives its pages up
  while (sequences_.size() < static_cast<std::size_t>(batch))
    sequences_.push_back(model_->new_sequence());
  sequences_.resize(static_cast<std::size_t>(batch));
  for (const auto& sequence : sequences_) fill_sequence(*sequence, depth);
}

/// Seconds that `plan.generated` passes of one token of each of the filled sequences take.
double PassBench::decode_together(std::uint64_t round) {
  const Prompts prompts(model_->spec().vocabulary);
  std::vector<model::BatchRow> rows;
  for (const auto& sequence : sequences_) {
    rows.push_back({.sequence = sequence.get(), .wants_logits = true});
  }
  std::vector<TokenId> tokens = prompts.make(static_cast<std::int64_t>(rows.size()), round + 1);
  generate::SamplerContext context;
  context.vocabulary = model_->spec().vocabulary;
  context.context = model_->setup().context;
  std::vector<generate::Sampler> samplers(rows.size(), {sampler_, context});
  double start = 0;
  for (std::int64_t i = 0; i <= plan_.generated; ++i) {
    check_cancelled();
    if (i == 1) start = now();
    for (std::size_t s = 0; s < rows.size(); ++s) rows[s].token = tokens[s];
    const std::span<const float> logits = model_->run(rows);
    const std::size_t size = logits.size() / rows.size();
    for (std::size_t s = 0; s < rows.size(); ++s) {
      tokens[s] = samplers[s].sample(logits.subspan(s * size, size));
      samplers[s].accept(tokens[s]);
    }
  }
  return now() - start;
}

/// Multiply-adds of the weights that a prompt applies, passes as the session makes them.
double PassBench::count_prompt(std::int64_t depth) const {
  double products = 0;
  const std::int64_t rows = model_->setup().batch_rows;
  for (std::int64_t begin = 0; begin < plan_.prompt; begin += rows) {
    const std::int64_t count = std::min(rows, plan_.prompt - begin);
    model::Outputs outputs;
    outputs.logit_rows = begin + count == plan_.prompt ? 1 : 0;
    const model::PassCost cost =
        model::count_pass(model_->file(), model_->spec(), model_->setup(), model_->backend(), count,
                          depth + begin, outputs);
    products += static_cast<double>(cost.counts.weight_multiply_adds);
  }
  return products;
}

/// What one decoding pass reads, half way through the generation.
void PassBench::count(std::int64_t depth, BenchRow& row) const {
  const std::int64_t past = depth + 1 + plan_.generated / 2;
  spec::Setup setup = model_->setup();
  setup.context = past + 1;  // so that every row has a sequence of its own
  setup.sequences = row.batch;
  model::Outputs outputs;
  outputs.logit_rows = row.batch;
  const compute::Counts counts = model::count_pass(model_->file(), model_->spec(), setup,
                                                   model_->backend(), row.batch, past, outputs)
                                     .counts;
  row.pass_weight_bytes = counts.weight_bytes;
  row.pass_kv_bytes = counts.kv_bytes_read;
  row.pass_state_bytes = counts.state_bytes;
}

/// Limits are measured in any case, so that every row has them.
void PassBench::measure_prefill(std::int64_t depth, std::uint64_t round) {
  MachineSpeed& limits = machine();
  const auto peaks = [&] {
    return std::array<double, 3>{limits.int8_peak(plan_.probe_seconds),
                                 limits.bf16_peak(plan_.probe_seconds),
                                 limits.f32_peak(plan_.probe_seconds)};
  };
  if (plan_.prompt > 0 && !made_up(depth)) fill(depth);
  const std::array<double, 3> before = peaks();
  double seconds = 0;
  if (plan_.prompt > 0) {
    profiled(rows_[0].prefill_profile, [&] { seconds = prefill(depth, plan_.prompt, round); });
  }
  const std::array<double, 3> after = peaks();
  const double int8 = (before[0] + after[0]) / 2;
  const double bf16 = (before[1] + after[1]) / 2;
  const double f32 = (before[2] + after[2]) / 2;
  int8_.push_back(int8);
  bf16_.push_back(bf16);
  f32_.push_back(f32);
  if (plan_.prompt == 0) return;
  const double products = rows_[0].prompt_multiply_adds / seconds;
  prefill_.speed.push_back(static_cast<double>(plan_.prompt) / seconds);
  prefill_.fraction.push_back(products / int8);
  prefill_.fraction_bf16.push_back(bf16 > 0 ? products / bf16 : 0);
  prefill_.fraction_f32.push_back(products / f32);
}

void PassBench::measure_decode(std::int64_t depth, std::size_t batch, std::uint64_t round) {
  BenchRow& row = rows_[batch];
  MachineSpeed& limits = machine();
  std::vector<double> reads;
  const auto read = [&] {
    for (int i = 0; i < 3; ++i) reads.push_back(limits.read_bandwidth());
  };
  if (plan_.generated == 0) {
    read();
    read_.push_back(median(reads));
    return;
  }
  const bool session = row.batch == 1 && !made_up(depth);
  if (session) {
    sequences_.clear();
    fill(depth);
  } else {
    fill_sequences(depth, row.batch);
  }
  read();
  double seconds = 0;
  profiled(row.decode_profile, [&] {
    seconds = session ? decode(depth, plan_.generated, round) : decode_together(round);
  });
  read();
  const double bandwidth = median(reads);
  const double passes = static_cast<double>(plan_.generated) / seconds;
  read_.push_back(bandwidth);
  decode_[batch].speed.push_back(passes * row.batch);
  decode_[batch].fraction.push_back(
      passes * static_cast<double>(row.pass_weight_bytes + row.pass_kv_bytes) / bandwidth);
}

/// Touches everything once.
void PassBench::warm_up(std::int64_t depth) {
  if (plan_.prompt > 0) (void)prefill(depth, plan_.prompt, 0);
  if (plan_.generated > 0 && !made_up(depth))
    (void)decode(depth, std::min<std::int64_t>(4, plan_.generated), 0);
}

void PassBench::run_depth(std::int64_t depth) {
  const std::string place = "depth " + std::to_string(depth);
  progress("counting, " + place);
  prefill_ = {};
  decode_.assign(plan_.batches.size(), {});
  read_.clear(), int8_.clear(), bf16_.clear(), f32_.clear();
  rows_.assign(plan_.batches.size(), {});
  const double products = plan_.prompt > 0 ? count_prompt(depth) : 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    rows_[i].depth = depth;
    rows_[i].batch = plan_.batches[i];
    rows_[i].prompt_multiply_adds = products;
    if (plan_.generated > 0) count(depth, rows_[i]);
  }
  progress("warming up, " + place);
  warm_up(depth);
  for (int round = 1; round <= plan_.rounds; ++round) {
    progress("round " + std::to_string(round) + " of " + std::to_string(plan_.rounds) + ", " +
             place);
    const auto salt = static_cast<std::uint64_t>(round);
    measure_prefill(depth, salt);
    for (std::size_t i = 0; i < rows_.size(); ++i) measure_decode(depth, i, salt);
    if (!made_up(depth)) sequences_.clear();
  }
  sequences_.clear();
  const machine::ProcessMemory memory = machine::process_memory();
  const std::size_t own = machine_ ? machine_->buffer_bytes() : 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    BenchRow& row = rows_[i];
    if (!prefill_.speed.empty()) {
      row.prefill_tps = spread_of(prefill_.speed);
      row.prefill_fraction = median(prefill_.fraction);
      row.prefill_fraction_bf16 = median(prefill_.fraction_bf16);
      row.prefill_fraction_f32 = median(prefill_.fraction_f32);
      row.prefill_profile = rows_[0].prefill_profile;
    }
    if (!decode_[i].speed.empty()) {
      row.decode_tps = spread_of(decode_[i].speed);
      row.decode_fraction = median(decode_[i].fraction);
    }
    row.read_bandwidth = median(read_);
    row.int8_peak = median(int8_);
    row.bf16_peak = median(bf16_);
    row.f32_peak = median(f32_);
    row.rss_bytes = memory.resident - std::min(memory.resident, own);
    row.anonymous_bytes = memory.anonymous - std::min(memory.anonymous, own);
    result_.rows.push_back(row);
  }
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double width = *most - *least;
  const double middle = median(std::move(values));
  return {middle, middle > 0 ? width / middle : 0};
}

BenchResult run_bench(const BenchModel& model, const spec::Setup& setup, const BenchPlan& plan,
                      const Decorator& decorate) {
  return PassBench(model, setup, plan, decorate).run();
}

}  // namespace hearth::measure
