// What a plan and `hearth inspect` state about memory against what engines allocate, for every
// model of goldens/arch and its draft heads: after loading and after runs.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "compute/cpu/cpu_backend.h"
#include "generate/drafter.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "state/kv_format.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

using model::MemoryReport;

constexpr std::int64_t kContext = 256;
constexpr std::int64_t kPrompt = 48;
constexpr double kTolerance = 0;

std::filesystem::path folder() { return goldens_dir() / "arch"; }

/// The model files of the folder; EAGLE-3 heads, which need a target, with it.
struct Entry {
  std::string name;
  std::filesystem::path target{};  // empty: a model of its own
};

std::vector<Entry> entries() {
  std::vector<Entry> list;
  if (!std::filesystem::exists(folder())) return list;
  std::set<std::string> drafts;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".json") continue;
    const auto json = nlohmann::json::parse(read_file(entry.path()));
    if (json.contains("target_gguf")) {
      const auto file = json.at("gguf").get<std::string>();
      drafts.insert(file);
      list.push_back({file, folder() / json.at("target_gguf").get<std::string>()});
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() == ".gguf" && !drafts.contains(name)) list.push_back({name});
  }
  std::sort(list.begin(), list.end(),
            [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return list;
}

void expect_equal(const MemoryReport& stated, const MemoryReport& allocated) {
  const auto check = [](const char* what, std::size_t a, std::size_t b) {
    const auto [x, y] = std::pair{static_cast<double>(a), static_cast<double>(b)};
    EXPECT_LE(std::abs(x - y), kTolerance * y) << what << ": stated " << a << ", allocated " << b;
  };
  check("weights", stated.weights, allocated.weights);
  check("kv", stated.kv, allocated.kv);
  check("state", stated.state, allocated.state);
  check("buffers", stated.buffers, allocated.buffers);
  check("other", stated.other, allocated.other);
  check("total", stated.total(), allocated.total());
}

MemoryReport difference(const MemoryReport& a, const MemoryReport& b) {
  return {a.weights - b.weights, a.kv - b.kv,       a.state - b.state,
          a.buffers - b.buffers, a.other - b.other, a.mapped};
}

/// A setup with every default resolved, as LoadedModel does.
spec::Setup setup_for(const std::filesystem::path& path, const spec::ModelSpec& spec, bool exact) {
  spec::Setup setup;
  setup.model = path;
  setup.context = spec.position_limit > 0 ? std::min(kContext, spec.position_limit) : kContext;
  setup.threads = 2;
  setup.exact = exact;
  setup.mapped = exact;
  setup.batch_rows = spec.causal && !spec.encoder ? 32 : setup.context;
  return setup;
}

model::Outputs outputs_for(const spec::ModelSpec& spec, const spec::Setup& setup) {
  if (spec.head.linear.present()) return {.logit_rows = 1};
  return {
      .logit_rows = 0, .hidden = model::HiddenRequest::kHidden, .hidden_rows = setup.batch_rows};
}

std::vector<std::int32_t> prompt_for(const spec::ModelSpec& spec) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < kPrompt; ++i) {
    tokens.push_back(static_cast<std::int32_t>(i * 7 % spec.vocabulary));
  }
  return tokens;
}

/// A prompt in passes of the batch size, then some tokens; of encoders and texts what they have.
void use(model::LoadedModel& loaded) {
  const spec::ModelSpec& spec = loaded.spec();
  const auto sequence = loaded.new_sequence();
  const std::vector<std::int32_t> tokens = prompt_for(spec);
  const bool generates = spec.head.linear.present();
  if (spec.encoder) (void)loaded.runner().encode(*sequence, tokens);
  std::vector<model::BatchRow> rows;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    rows.push_back({.sequence = sequence.get(),
                    .token = tokens[i],
                    .wants_logits = generates && i + 1 == tokens.size(),
                    .wants_hidden = !generates});
  }
  const auto batch = static_cast<std::size_t>(loaded.setup().batch_rows);
  for (std::size_t done = 0; done < rows.size(); done += batch) {
    (void)loaded.run(std::span(rows).subspan(done, std::min(batch, rows.size() - done)));
  }
  if (!generates) {
    if (spec.pooling.kind != spec::PoolingKind::kNone) {
      const std::span<const float> hidden = loaded.runner().hidden();
      const std::vector<float> states(hidden.begin(), hidden.end());
      const auto length = static_cast<std::int64_t>(states.size()) / spec.width;
      (void)loaded.runner().pool(states, {&length, 1});
    }
    return;
  }
  if (!spec.causal) return;
  for (std::int32_t i = 0; i < 5; ++i) {
    const model::BatchRow row{.sequence = sequence.get(), .token = i, .wants_logits = true};
    (void)loaded.run({&row, 1});
  }
}

/// States what a model takes, loads it, uses it, and compares.
std::unique_ptr<model::LoadedModel> check(const spec::Setup& setup, const gguf::File& file,
                                          const spec::ModelSpec& spec,
                                          const model::Outputs& outputs) {
  compute::CpuOptions options;
  options.threads = setup.threads;
  options.exact = setup.exact;
  const auto planned_on = compute::make_cpu_backend(options);
  const MemoryReport stated = model::plan_memory(file, spec, setup, *planned_on, outputs).memory;
  auto loaded = model::LoadedModel::load(setup, {}, outputs);
  expect_equal(stated, loaded->memory());
  use(*loaded);
  expect_equal(stated, loaded->memory());
  return loaded;
}

/// The same of a draft model or a draft head: what it adds to its target's memory.
void check_draft(model::LoadedModel& target, spec::Setup setup, std::int64_t head,
                 const gguf::File& file, const spec::ModelSpec& spec) {
  const model::Outputs outputs{
      .logit_rows = 1, .hidden = model::HiddenRequest::kHidden, .hidden_rows = 1};
  const MemoryReport before = target.memory();
  const MemoryReport stated =
      model::plan_memory(file, spec, setup, target.backend(), outputs, &target.weights()).memory;
  const auto draft = model::LoadedModel::load_draft(target, setup, head, outputs);
  const auto added = [&] {
    MemoryReport now = target.memory();
    now.other += model::output_bytes(spec, outputs);
    return difference(now, before);
  };
  expect_equal(stated, added());
  const auto sequence = draft->new_sequence();
  const std::vector<std::int32_t> tokens = prompt_for(spec);
  const std::vector<float> state(
      static_cast<std::size_t>(std::max<std::int64_t>(1, spec.streams) * spec.width), 0.25F);
  std::vector<model::BatchRow> rows;
  for (const std::int32_t token : tokens) {
    rows.push_back({.sequence = sequence.get(), .token = token, .input = state.data()});
  }
  const auto batch = static_cast<std::size_t>(setup.batch_rows);
  for (std::size_t done = 0; done < rows.size(); done += batch) {
    (void)draft->run(std::span(rows).subspan(done, std::min(batch, rows.size() - done)));
  }
  rows.back().wants_logits = rows.back().wants_hidden = true;
  (void)draft->run(std::span(rows).last(1));
  expect_equal(stated, added());
}

class GoldenMemory : public ::testing::TestWithParam<Entry> {};

TEST_P(GoldenMemory, WhatIsStatedIsAllocated) {
  const std::filesystem::path path = folder() / GetParam().name;
  const gguf::File file = gguf::File::open(path);
  for (const bool exact : {false, true}) {
    SCOPED_TRACE(exact ? "exact" : "packed");
    const bool drafts = !GetParam().target.empty();
    const std::filesystem::path main_path = drafts ? GetParam().target : path;
    const gguf::File main_file = gguf::File::open(main_path);
    const spec::ModelSpec first = model::describe_model(main_file, {kContext});
    const spec::Setup setup = setup_for(main_path, first, exact);
    const spec::ModelSpec spec = model::describe_model(main_file, {setup.context});
    const auto loaded = check(setup, main_file, spec, outputs_for(spec, setup));
    if (drafts) {
      spec::Setup draft = setup;
      draft.model = path;
      check_draft(*loaded, draft, 0, file, model::describe_model(file, {setup.context}));
      continue;
    }
    for (std::int64_t head = 0; head < spec.draft_heads; ++head) {
      SCOPED_TRACE("draft head " + std::to_string(head));
      spec::Setup draft = setup;
      draft.model.clear();
      check_draft(*loaded, draft, head, loaded->file(),
                  model::describe_draft_head(file, {setup.context}, head));
    }
  }
}

/// A context of `context` tokens, really allocated.
struct Allocated {
  std::size_t growing = 0, windows = 0, encoder = 0, state = 0;
};

Allocated allocate(const spec::ModelSpec& spec, std::int64_t context) {
  compute::CpuOptions options;
  options.threads = 1;
  const auto backend = compute::make_cpu_backend(options);
  const state::MemoryPool pool(*backend, spec, {.context = context, .batch_rows = 64});
  Allocated bytes;
  for (std::size_t i = 0; i < spec.kv_memories.size(); ++i) {
    const auto index = static_cast<spec::MemoryIndex>(i);
    std::size_t size = 0;
    for (const tensor::Tensor& part : {pool.keys(index), pool.values(index)}) {
      if (part) {
        size += static_cast<std::size_t>(part.elements()) * tensor::info(part.dtype).block_bytes;
      }
    }
    const spec::CellGroup& group = spec.kv_memories[i].group;
    (group.encoder ? bytes.encoder : group.window > 0 ? bytes.windows : bytes.growing) += size;
  }
  bytes.state = backend->allocated(compute::MemoryCategory::kState);
  EXPECT_EQ(bytes.growing + bytes.windows + bytes.encoder,
            backend->allocated(compute::MemoryCategory::kKv));
  return bytes;
}

TEST_P(GoldenMemory, KvGrowsByWhatIsStatedPerToken) {
  const gguf::File file = gguf::File::open(folder() / GetParam().name);
  const std::int64_t limit = model::describe_model(file, {}).position_limit;
  // A page of 64 cells of 128 tokens each is 8192 tokens.
  const std::int64_t large = limit > 0 ? limit / 64 * 64 : 32768;
  const std::int64_t small = limit > 0 ? 64 : 16384;
  if (large <= small) GTEST_SKIP() << "the model knows only " << limit << " positions";
  std::vector<spec::ModelSpec> specs = {model::describe_model(file, {large})};
  for (std::int64_t head = 0; head < specs[0].draft_heads; ++head) {
    specs.push_back(model::describe_draft_head(file, {large}, head));
  }
  for (const spec::ModelSpec& spec : specs) {
    const Allocated few = allocate(spec, small);
    const Allocated many = allocate(spec, large);
    const double growth = static_cast<double>(many.growing - few.growing);
    EXPECT_DOUBLE_EQ(growth, state::kv_bytes_per_token(spec, tensor::DType::kF16) *
                                 static_cast<double>(large - small));
    EXPECT_EQ(few.state, many.state);
    if (limit == 0) {
      EXPECT_EQ(few.windows, many.windows);
    }
  }
}

/// Whether keys and values of a model can be kept so.
bool has_format(const spec::ModelSpec& spec, const spec::KvFormat& format) {
  try {
    for (const spec::KvMemory& memory : spec.kv_memories) {
      (void)state::memory_format(memory, format);
    }
  } catch (const Error&) {
    return false;
  }
  return true;
}

/// A prompt that is long enough for pages to be coded, then some tokens.
void use_long(model::LoadedModel& loaded) {
  constexpr std::int64_t kLong = 400;
  const spec::ModelSpec& spec = loaded.spec();
  if (!spec.causal || spec.encoder || !spec.head.linear.present()) return use(loaded);
  const auto sequence = loaded.new_sequence();
  const std::int64_t rows = std::min(kLong, sequence->max_cells() - 8);
  std::vector<model::BatchRow> batch;
  for (std::int64_t i = 0; i < rows + 4; ++i) {
    batch.push_back({.sequence = sequence.get(),
                     .token = static_cast<std::int32_t>(i * 7 % spec.vocabulary),
                     .wants_logits = i + 1 >= rows});
    if (i + 1 < rows && static_cast<std::int64_t>(batch.size()) < loaded.setup().batch_rows)
      continue;
    const std::span<const float> logits = loaded.run(batch);
    EXPECT_TRUE(
        std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }));
    batch.clear();
  }
}

TEST_P(GoldenMemory, EveryKvFormatTakesWhatIsStated) {
  if (!GetParam().target.empty()) GTEST_SKIP() << "its target is tested";
  const std::filesystem::path path = folder() / GetParam().name;
  const gguf::File file = gguf::File::open(path);
  for (const char* name :
       {"bf16", "q8_0", "q4_0r", "tq4", "tq3u", "tq2.5", "tq3r", "q8_0:tq3", "f16:q8_0"}) {
    SCOPED_TRACE(name);
    const spec::KvFormat format = spec::parse_kv_format(name);
    spec::Setup setup = setup_for(path, model::describe_model(file, {kContext}), false);
    const std::int64_t limit = model::describe_model(file, {kContext}).position_limit;
    setup.context = limit > 0 ? std::min<std::int64_t>(1024, limit) : 1024;
    const spec::ModelSpec spec = model::describe_model(file, {setup.context});
    if (!spec.causal || spec.encoder) setup.batch_rows = setup.context;
    setup.kv_type = format;
    if (!has_format(spec, format)) continue;
    const auto backend = compute::make_cpu_backend(
        {.threads = setup.threads, .exact = false, .instruction_set = {}});
    const model::Outputs outputs = [&] {
      model::Outputs wanted = outputs_for(spec, setup);
      if (wanted.logit_rows > 0) wanted.logit_rows = 4;
      return wanted;
    }();
    const MemoryReport stated = model::plan_memory(file, spec, setup, *backend, outputs).memory;
    EXPECT_EQ(stated.kv, model::kv_bytes(spec, setup, *backend));
    const auto loaded = model::LoadedModel::load(setup, {}, outputs);
    expect_equal(stated, loaded->memory());
    use_long(*loaded);
    expect_equal(stated, loaded->memory());
  }
}

/// What test reports print.
void PrintTo(const Entry& entry, std::ostream* out) { *out << entry.name; }

std::string memory_case_name(const ::testing::TestParamInfo<Entry>& info) {
  std::string name = std::filesystem::path(info.param.name).stem();
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Goldens, GoldenMemory, ::testing::ValuesIn(entries()), memory_case_name);
// Without the reference data there is nothing to instantiate.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenMemory);

}  // namespace
}  // namespace hearth::testing
