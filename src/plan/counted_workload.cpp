#include "plan/counted_workload.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "compute/cpu/cpu_backend.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "spec/setup.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::plan {

using compute::Counts;
using tensor::DType;

namespace {

// Contexts that are compared to see what grows are at least this deep.
constexpr std::int64_t kDepth = 1024;
constexpr std::int64_t kUsualContext = 8192;

/// Whether the model continues texts.
bool generates(const spec::ModelSpec& spec) {
  return spec.causal && !spec.encoder && spec.head.linear.present();
}

/// Runs the layers of one model over the counting backend.
class Counter {
 public:
  Counter(const gguf::File& file, compute::Backend& target)
      : file_(file), target_(target), spec_(model::describe_model(file, {0})) {
    for (const spec::KvMemory& memory : spec_.kv_memories) {
      window_ = std::max(window_, memory.group.window * memory.group.rows_per_cell);
    }
  }
  Workload count();

 private:
  [[nodiscard]] Counts pass(std::int64_t rows, std::int64_t past, std::int64_t logit_rows) const {
    spec::Setup setup;
    setup.context = past + rows;
    setup.batch_rows = rows;
    const spec::ModelSpec spec = model::describe_model(file_, {setup.context});
    model::Outputs outputs;
    outputs.logit_rows = logit_rows;
    return model::count_pass(file_, spec, setup, target_, rows, past, outputs).counts;
  }
  void tensors();
  void prompt();
  void decode();
  void depth(const Counts& near, std::int64_t past);
  void memory();
  void kv_costs();
  [[nodiscard]] double eight_bit_windows() const;

  const gguf::File& file_;
  compute::Backend& target_;
  const spec::ModelSpec spec_;
  std::int64_t window_ = 0;
  Workload work_;
};

Workload Counter::count() {
  work_.model = spec_.name.empty() ? file_.path().stem().string() : spec_.name;
  work_.source = "counted";
  for (const spec::Stack& stack : spec_.stacks)
    work_.layers += static_cast<int>(stack.layers.size());
  work_.trained_context = spec_.context_length;
  work_.vocabulary = static_cast<double>(spec_.logits);
  tensors();
  prompt();
  if (generates(spec_)) decode();
  memory();
  return std::move(work_);
}

/// What the file holds.
void Counter::tensors() {
  std::set<std::string> stacks;
  for (const spec::TensorUse& use : spec::tensors_of(spec_)) {
    // Heads of latent attention are stacks, too, but not chosen among.
    const bool chosen = use.name.find("_exps") != std::string::npos;
    if (use.role == spec::TensorRole::kStack && chosen) stacks.insert(use.name);
  }
  std::map<DType, double> bytes;
  for (const gguf::TensorInfo& tensor : file_.tensors()) {
    const auto elements = static_cast<double>(tensor.elements());
    work_.parameters += elements;
    work_.weight_bytes += static_cast<double>(tensor.bytes);
    bytes[tensor.dtype] += static_cast<double>(tensor.bytes);
    if (!stacks.contains(tensor.name)) {
      work_.active_parameters += elements;
      continue;
    }
    work_.expert_bytes += static_cast<double>(tensor.bytes);
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != bytes.end()) work_.quant = tensor::name(most->first);
  work_.mixture = !stacks.empty();
}

/// A pass of a whole prompt, with and without the logits of its last token.
void Counter::prompt() {
  const std::int64_t limit = spec_.position_limit > 0 ? spec_.position_limit : spec::kPassRows;
  const std::int64_t rows = std::min(spec::kPassRows, limit);
  const Counts counts = pass(rows, 0, 0);
  const auto each = [rows](auto count) {
    return static_cast<double>(count) / static_cast<double>(rows);
  };
  work_.multiply_adds = each(counts.weight_multiply_adds);
  work_.row_values = each(counts.row_values);
  work_.stored_values = each(counts.stored_values);
  work_.attention_values = each(counts.attention_values);
  work_.scan_multiply_adds = each(counts.scan_multiply_adds);
  work_.expert_share = each(counts.grouped_rows);
  for (std::size_t i = 0; i < counts.by_type.size(); ++i) {
    const compute::TypeCounts& type = counts.by_type[i];
    if (type.multiply_adds == 0) continue;
    const std::string name(tensor::name(static_cast<DType>(i)));
    work_.multiply_adds_by_format[name] = each(type.multiply_adds);
    if (type.grouped_multiply_adds > 0) {
      work_.expert_multiply_adds_by_format[name] = each(type.grouped_multiply_adds);
    }
  }
  if (!generates(spec_)) return;
  const Counts with_logits = pass(rows, 0, 1);
  for (std::size_t i = 0; i < counts.by_type.size(); ++i) {
    const std::uint64_t more = with_logits.by_type[i].bytes - counts.by_type[i].bytes;
    if (more == 0) continue;
    work_.last_bytes_by_format[std::string(tensor::name(static_cast<DType>(i)))] =
        static_cast<double>(more);
  }
  work_.active_expert_bytes = work_.expert_bytes * work_.expert_share;
}

/// One token behind a context that every window is full in.
void Counter::decode() {
  std::int64_t past = std::max(kDepth, window_);
  if (spec_.position_limit > 0) past = std::min(past, spec_.position_limit / 2);
  const Counts counts = pass(1, past, 1);
  work_.operations = static_cast<double>(counts.operations);
  work_.products = static_cast<double>(counts.products);
  work_.attentions = static_cast<double>(counts.attentions);
  work_.state_bytes = static_cast<double>(counts.state_bytes) / 2;
  for (std::size_t i = 0; i < counts.by_type.size(); ++i) {
    const auto bytes = static_cast<double>(counts.by_type[i].bytes);
    if (bytes == 0) continue;
    work_.bytes_by_format[std::string(tensor::name(static_cast<DType>(i)))] = bytes;
    work_.active_bytes += bytes;
  }
  if (work_.mixture && work_.expert_bytes > 0) {
    const double weights_per_byte =
        (work_.parameters - work_.active_parameters) / work_.expert_bytes;
    work_.active_parameters += work_.active_expert_bytes * weights_per_byte;
  }
  depth(counts, past);
}

/// What attention does per cell: by the difference that more cells make, and what is left of the
/// shallower of the two is what windows see.
void Counter::depth(const Counts& near, std::int64_t past) {
  const Counts far = pass(1, 2 * past - 1, 1);
  const auto cells = static_cast<double>(past + 1);
  const auto more = static_cast<double>(past - 1);
  const auto per_cell = [more](std::uint64_t a, std::uint64_t b) {
    return static_cast<double>(b - a) / more;
  };
  work_.attention_multiply_adds =
      per_cell(near.attention_multiply_adds, far.attention_multiply_adds);
  work_.kv_read_bytes = per_cell(near.kv_bytes_read, far.kv_bytes_read);
  if (window_ == 0) return;
  work_.window = window_;
  const auto window = static_cast<double>(std::min(window_, past + 1));
  work_.window_multiply_adds = std::max(0.0, static_cast<double>(near.attention_multiply_adds) -
                                                 cells * work_.attention_multiply_adds) /
                               window;
  work_.window_read_bytes =
      std::max(0.0, static_cast<double>(near.kv_bytes_read) - cells * work_.kv_read_bytes) / window;
}

/// The pool's own bytes at two contexts that every window is full in.
void Counter::kv_costs() {
  if (work_.kv_bytes_per_token <= 0) return;
  const std::int64_t near = 16384 + window_ / 64 * 64;
  const auto bytes = [&](const spec::KvFormat& format, std::int64_t context) {
    spec::Setup setup;
    setup.context = context;
    setup.kv_type = format;
    setup.snapshots = -1;
    return static_cast<double>(model::kv_bytes(spec_, setup, target_));
  };
  std::vector<std::string> names = {"F16"};  // first: others are compared with it
  for (const spec::KvFormatName& each : spec::kv_format_names()) {
    const spec::KvFormat format = spec::parse_kv_format(each.name);
    names.push_back(format.name());
    if (!format.coded()) continue;
    names.push_back(format.name() + "u");
    names.push_back("q8_0:" + format.name());
  }
  double windows = 0;  // in F16, of full windows
  for (const std::string& name : names) {
    try {
      const spec::KvFormat format = spec::parse_kv_format(name);
      const double small = bytes(format, near);
      const double large = bytes(format, 2 * near);
      const double slope = (large - small) / static_cast<double>(near);
      const double rest = small - slope * static_cast<double>(near);
      KvCost cost;
      cost.per_token = slope / work_.kv_bytes_per_token;
      if (name == "F16") windows = rest;
      if (format.coded()) {
        cost.window = eight_bit_windows();
        cost.fixed = rest - cost.window * windows;
      } else {
        cost.window = cost.per_token;
      }
      work_.kv_costs[name] = cost;
    } catch (const Error&) {
      continue;  // heads of this size do not have the format
    }
  }
}

/// Of memories with windows, what they keep under a coded format, in bytes of F16.
double Counter::eight_bit_windows() const {
  double f16 = 0;
  double kept = 0;
  for (const spec::KvMemory& memory : spec_.kv_memories) {
    if (memory.group.window == 0) continue;
    const auto page = [&](const spec::KvFormat& format) {
      return static_cast<double>(state::memory_format(memory, format).page_bytes(memory.kv_heads));
    };
    f16 += page(DType::kF16);
    kept += page(spec::parse_kv_format("tq4"));
  }
  return f16 > 0 ? kept / f16 : 1;
}

/// What it needs to be there.
void Counter::memory() {
  work_.kv_bytes_per_token = state::kv_bytes_per_token(spec_, DType::kF16);
  for (const spec::KvMemory& memory : spec_.kv_memories) {
    if (memory.group.window == 0) continue;
    const DType type = memory.float32 ? DType::kF32 : DType::kF16;
    const std::int64_t values = memory.kv_heads * (memory.key_size + memory.value_size);
    work_.window_bytes_per_token +=
        static_cast<double>(tensor::row_bytes(type, static_cast<std::size_t>(values))) /
        static_cast<double>(memory.group.rows_per_cell);
  }
  kv_costs();
  spec::Setup setup;
  setup.context = std::min(kUsualContext, model::default_context(spec_));
  if (setup.context == 0) setup.context = spec::kPassRows;
  setup.snapshots = generates(spec_) ? -1 : 0;
  const spec::ModelSpec spec = model::describe_model(file_, {setup.context});
  model::Outputs outputs;
  outputs.logit_rows = generates(spec_) ? 1 : 0;
  const model::MemoryReport memory =
      model::plan_memory(file_, spec, setup, target_, outputs).memory;
  work_.packed_bytes = static_cast<double>(memory.weights);
  work_.state_memory_bytes = static_cast<double>(memory.state);
  work_.buffer_bytes = static_cast<double>(memory.buffers + memory.other);
}

}  // namespace

HeaderFile::HeaderFile(const measure::Shape& shape)
    : memory_([&] { return PatternMemory(shape.writer.header().size() + shape.data_bytes); }()) {
  const std::string header = shape.writer.header();
  std::memcpy(memory_.bytes().data(), header.data(), header.size());
  file_ = std::make_unique<gguf::File>(gguf::File::from_bytes(memory_.bytes(), shape.name));
}

Workload counted_workload(const gguf::File& file, compute::Backend* target) {
  std::unique_ptr<compute::Backend> own;
  if (target == nullptr) own = compute::make_cpu_backend({});
  return Counter(file, target != nullptr ? *target : *own).count();
}

MemoryNeed planned_memory(const gguf::File& file, const spec::Setup& given) {
  spec::Setup setup = given;
  setup.mapped = setup.mapped || setup.exact;
  if (setup.context == 0) {
    setup.context = model::default_context(model::describe_model(file, {0, setup.rope_scaling}));
  }
  const spec::ModelSpec spec = model::describe_model(file, {setup.context, setup.rope_scaling});
  if (!spec.causal || spec.encoder) setup.batch_rows = setup.context;
  const std::unique_ptr<compute::Backend> backend = compute::make_cpu_backend(
      {.threads = setup.threads, .exact = setup.exact, .instruction_set = setup.instruction_set});
  const model::MemoryReport memory = model::plan_memory(file, spec, setup, *backend).memory;
  return {.weights = static_cast<double>(memory.weights),
          .kv = static_cast<double>(memory.kv),
          .state = static_cast<double>(memory.state),
          .buffers = static_cast<double>(memory.buffers + memory.other),
          .disk = static_cast<double>(memory.disk)};
}

}  // namespace hearth::plan
