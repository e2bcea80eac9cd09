#include "model/mutated_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

#include "compute/cpu/cpu_backend.h"
#include "gguf/writer.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "spec/memory.h"
#include "support/error.h"

namespace hearth::testing {
namespace {

using gguf::TensorInfo;
using gguf::Value;
using tensor::DType;

/// Tensors larger than this are not worth their bytes.
constexpr std::int64_t kMostElements = std::int64_t{1} << 18;
/// What a mutated model may take when it is run.
constexpr std::size_t kMostMemory = std::size_t{64} << 20;
constexpr std::int64_t kRows = 7;

constexpr std::array<std::int64_t, 32> kIntegers = {0,
                                                    1,
                                                    2,
                                                    3,
                                                    4,
                                                    5,
                                                    6,
                                                    7,
                                                    8,
                                                    16,
                                                    31,
                                                    32,
                                                    33,
                                                    48,
                                                    64,
                                                    65,
                                                    96,
                                                    127,
                                                    128,
                                                    129,
                                                    255,
                                                    256,
                                                    512,
                                                    1000,
                                                    65535,
                                                    65536,
                                                    2147483647,
                                                    1 << 30,
                                                    -1,
                                                    -2,
                                                    std::int64_t{1} << 31,
                                                    std::int64_t{1} << 40};
constexpr std::array<double, 16> kFloats = {0,
                                            1,
                                            -1,
                                            0.5,
                                            2,
                                            1e-6,
                                            1e-38,
                                            1e38,
                                            1e300,
                                            -1e300,
                                            10000,
                                            1e6,
                                            0.1,
                                            32,
                                            std::numeric_limits<double>::infinity(),
                                            std::numeric_limits<double>::quiet_NaN()};
constexpr std::array<std::string_view, 12> kTexts = {"",     "yarn",    "linear",     "longrope",
                                                     "none", "mean",    "llama",      "gelu",
                                                     "silu", "sigmoid", "\xff\n\x01", "llama3"};
constexpr std::array<DType, 12> kTypes = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kI32,
                                          DType::kI8,   DType::kF64,  DType::kQ8_0, DType::kQ4_0,
                                          DType::kQ4_K, DType::kQ6_K, DType::kI64,  DType::kI16};

std::int64_t integer(Choices& choices) {
  const std::uint8_t how = choices.byte();
  if (how < 192) return kIntegers[how % kIntegers.size()];
  if (how < 224) return static_cast<std::int16_t>(choices.number(2));
  if (how < 240) return static_cast<std::int32_t>(choices.number(4));
  if (how < 248) return std::numeric_limits<std::int64_t>::max() - choices.byte();
  if (how < 252) return std::numeric_limits<std::int64_t>::min() + choices.byte();
  return static_cast<std::int64_t>(choices.number(8));
}

struct MutableTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// The keys and tensors of a file on their way to another.
class Mutator {
 public:
  Mutator(const gguf::File& seed, std::span<const gguf::File> all, Choices& choices)
      : seed_(seed), all_(all), choices_(choices) {
    writer_.copy(seed.metadata());
    for (const gguf::KeyValue& entry : seed.metadata().entries()) {
      if (!entry.key.starts_with("tokenizer.")) keys_.emplace_back(entry.key);
    }
    for (const TensorInfo& tensor : seed.tensors()) {
      tensors_.push_back({tensor.name,
                          tensor.dtype,
                          {tensor.shape, tensor.shape + tensor.dimensions},
                          seed.data(tensor)});
    }
  }

  void mutate() {
    switch (choices_.byte() % 12) {
      case 0:
      case 1:
        return writer_.set(key(), integer(choices_));
      case 2:
        return writer_.set(key(), kFloats[choices_.below(kFloats.size())]);
      case 3:
        return set_list();
      case 4:
        return set_other();
      case 5:
        return change_list();
      case 6:
        return borrow_key();
      case 7:
        return reshape();
      case 8:
        return change_size();
      case 9:
        if (!tensors_.empty()) tensor().dtype = kTypes[choices_.below(kTypes.size())];
        return;
      case 10:
        if (!tensors_.empty())
          tensors_.erase(tensors_.begin() +
                         static_cast<std::ptrdiff_t>(choices_.below(tensors_.size())));
        return;
      default:
        return borrow_tensor();
    }
  }

  std::string image() {
    for (const MutableTensor& t : tensors_) {
      std::int64_t elements = 1;
      for (const std::int64_t size : t.shape) {
        if (size <= 0 || size > kMostElements || elements > kMostElements / size) {
          throw Error("a mutated tensor is too large");
        }
        elements *= size;
      }
      const tensor::DTypeInfo& type = tensor::info(t.dtype);
      const std::size_t block = type.block_elements;
      const std::size_t bytes =
          (static_cast<std::size_t>(elements) + block - 1) / block * type.block_bytes;
      writer_.add_tensor(t.name, t.dtype, t.shape,
                         t.data.size() >= bytes
                             ? t.data.first(bytes)
                             : std::span<const std::byte>(filler()).first(bytes));
    }
    return writer_.bytes();
  }

 private:
  /// Bytes of tensors that became larger: small numbers in most types.
  static const std::vector<std::byte>& filler() {
    static const std::vector<std::byte> bytes = [] {
      std::vector<std::byte> values(static_cast<std::size_t>(kMostElements) * 8);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = std::byte{static_cast<unsigned char>(i % 4 == 3 ? 0x3C : i * 7 % 13)};
      }
      return values;
    }();
    return bytes;
  }
  const std::string& key() { return keys_[choices_.below(keys_.size())]; }
  MutableTensor& tensor() { return tensors_[choices_.below(tensors_.size())]; }
  const gguf::File& other() { return all_[choices_.below(all_.size())]; }

  void set_list() {
    std::vector<std::int64_t> values(choices_.byte() % 80);
    const std::int64_t first = integer(choices_);
    const std::int64_t second = integer(choices_);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? first : second;
    writer_.set_array(key(), values);
  }
  void set_other() {
    const std::string& name = key();
    switch (choices_.byte() % 4) {
      case 0:
        return writer_.set(name, kTexts[choices_.below(kTexts.size())]);
      case 1:
        return writer_.set(name, choices_.byte() % 2 == 0);
      case 2:
        return writer_.set_array(name, std::vector<double>(choices_.byte() % 9, 0.5));
      default:
        return writer_.set(name, static_cast<float>(choices_.byte()) / 16.0F);
    }
  }
  /// One element of a list that the seed has.
  void change_list() {
    const std::string& name = key();
    auto values = seed_.metadata().get_ints(name);
    if (!values || values->empty()) return;
    (*values)[choices_.below(values->size())] = integer(choices_);
    writer_.set_array(name, *values);
  }
  /// A key of another model, under this architecture's prefix.
  void borrow_key() {
    const gguf::File& from = other();
    const auto entries = from.metadata().entries();
    if (entries.empty()) return;
    const gguf::KeyValue& entry = entries[choices_.below(entries.size())];
    if (entry.key.starts_with("tokenizer.")) return;
    std::string name(entry.key);
    const auto own = seed_.metadata().get_string("general.architecture").value_or("");
    const auto theirs = from.metadata().get_string("general.architecture").value_or("");
    if (name.starts_with(theirs)) name = std::string(own) + name.substr(theirs.size());
    writer_.set(name, entry.value);
    if (std::find(keys_.begin(), keys_.end(), name) == keys_.end()) keys_.push_back(name);
  }
  /// As many elements in another shape.
  void reshape() {
    if (tensors_.empty()) return;
    std::vector<std::int64_t>& shape = tensor().shape;
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) elements *= size;
    switch (choices_.byte() % 6) {
      case 0:
        std::reverse(shape.begin(), shape.end());
        return;
      case 1:
        shape = {elements};
        return;
      case 2:
        shape = {1, elements};
        return;
      case 3:
        shape.resize(4, 1);
        std::rotate(shape.begin(), shape.begin() + 3, shape.end());
        return;
      case 4:
        if (elements % 2 == 0) shape = {elements / 2, 2};
        return;
      default:
        shape.resize(4, 1);
    }
  }
  void change_size() {
    if (tensors_.empty()) return;
    MutableTensor& t = tensor();
    std::int64_t& size = t.shape[choices_.below(t.shape.size())];
    switch (choices_.byte() % 5) {
      case 0:
        size = std::max<std::int64_t>(1, size / 2);
        return;
      case 1:
        size = std::min(kMostElements, size * 2);
        return;
      case 2:
        size += 1;
        return;
      case 3:
        size = std::max<std::int64_t>(1, size - 1);
        return;
      default:
        size = std::max<std::int64_t>(1, choices_.byte());
    }
  }
  /// A tensor of another model: in place of the one of its name, or in addition.
  void borrow_tensor() {
    const gguf::File& from = other();
    if (from.tensors().empty()) return;
    const TensorInfo& tensor = from.tensors()[choices_.below(from.tensors().size())];
    std::erase_if(tensors_, [&](const MutableTensor& t) { return t.name == tensor.name; });
    tensors_.push_back({tensor.name,
                        tensor.dtype,
                        {tensor.shape, tensor.shape + tensor.dimensions},
                        from.data(tensor)});
  }

  const gguf::File& seed_;
  std::span<const gguf::File> all_;
  Choices& choices_;
  gguf::Writer writer_;
  std::vector<std::string> keys_;
  std::vector<MutableTensor> tensors_;
};

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

/// A spec that was accepted says what can be so.
void check_spec(const spec::ModelSpec& spec) {
  require(spec.width > 0 && spec.vocabulary >= 0 && spec.streams > 0, "a size is not positive");
  require(!spec.stacks.empty(), "the spec has no stack");
  spec::ModelSpec again = spec;
  spec::assign_memories(again);
  require(again.kv_memories.size() == spec.kv_memories.size() &&
              again.recurrent_memories.size() == spec.recurrent_memories.size(),
          "memories are not assigned once");
}

spec::Setup small_setup(const spec::ModelSpec& spec) {
  spec::Setup setup;
  setup.context = spec.position_limit > 0 ? std::min<std::int64_t>(64, spec.position_limit) : 64;
  setup.batch_rows =
      spec.causal && !spec.encoder ? std::min<std::int64_t>(16, setup.context) : setup.context;
  setup.threads = 1;
  setup.exact = true;
  setup.kv_type = DType::kF32;
  return setup;
}

model::Outputs small_outputs(const spec::ModelSpec& spec) {
  model::Outputs outputs;
  outputs.logit_rows = spec.head.linear.present() ? 1 : 0;
  outputs.hidden = model::HiddenRequest::kHidden;
  outputs.hidden_rows = kRows;
  return outputs;
}

void evaluate(const gguf::File& file, const spec::ModelSpec& spec, const spec::Setup& setup,
              compute::Backend& backend, const model::Weights* shared) {
  const model::Outputs outputs = small_outputs(spec);
  const model::MemoryPlan plan = model::plan_memory(file, spec, setup, backend, outputs, shared);
  const model::Weights weights(
      file, spec, backend, setup.mapped ? compute::Residency::kMapped : compute::Residency::kPacked,
      {}, shared);
  state::MemoryPool pool(backend, spec, model::memory_limits(setup));
  model::Runner runner(spec, weights, backend, pool, model::limits_of(setup, outputs),
                       plan.arena_bytes);
  state::SequenceState sequence(pool);
  const std::int64_t count = std::min(kRows, setup.context - 1);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<std::int32_t>(i * 11 % std::max<std::int64_t>(1, spec.vocabulary)));
  }
  if (spec.encoder) (void)runner.encode(sequence, tokens);
  std::vector<model::BatchRow> rows;
  for (const std::int32_t token : tokens) {
    rows.push_back({.sequence = &sequence,
                    .token = token,
                    .wants_logits = spec.head.linear.present() && rows.size() + 1 == tokens.size(),
                    .wants_hidden = true});
  }
  (void)runner.run(rows);
  const std::vector<float> states(runner.hidden().begin(), runner.hidden().end());
  if (runner.hidden_width() == spec.width && spec.pooling.kind != spec::PoolingKind::kNone) {
    (void)runner.pool(states, {&count, 1});
  }
  if (spec.causal) (void)runner.run(std::span(rows).last(1));
}

/// Counts, and runs what is small.
Outcome check_one(const gguf::File& file, const spec::ModelSpec& spec, compute::Backend& backend,
                  bool run, const model::Weights* shared) {
  check_spec(spec);
  spec::Setup setup = small_setup(spec);
  setup.mapped = true;
  const model::Outputs outputs = small_outputs(spec);
  const std::int64_t prompt = std::min(kRows, setup.context - 1);
  if (prompt < 1) return Outcome::kRefused;
  const model::PassCost cost =
      model::count_pass(file, spec, setup, backend, prompt, 0, outputs, shared);
  if (spec.causal) {
    (void)model::count_pass(file, spec, setup, backend, 1, setup.context - 1, outputs, shared);
  }
  const std::size_t bytes =
      cost.weight_bytes + cost.kv_bytes + cost.state_bytes + 16 * cost.arena_bytes;
  if (!run || bytes > kMostMemory) return Outcome::kCounted;
  evaluate(file, spec, setup, backend, shared);
  return Outcome::kRan;
}

}  // namespace

std::vector<gguf::File> model_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::exists(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".gguf" && entry.file_size() > 0)
        paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<gguf::File> files;
  for (const auto& path : paths) files.push_back(gguf::File::open(path));
  return files;
}

std::string mutated_image(const gguf::File& seed, std::span<const gguf::File> all,
                          Choices& choices) {
  Mutator mutator(seed, all, choices);
  for (int i = 0; i < 8 && !choices.done(); ++i) mutator.mutate();
  return mutator.image();
}

Outcome check_model(std::span<const std::byte> image, bool run) {
  compute::CpuOptions options;
  options.threads = 1;
  options.exact = true;
  try {
    const gguf::File file = gguf::File::from_bytes(image, "mutated");
    spec::ModelSpec spec = model::describe_model(file, {});
    spec = model::describe_model(file, {small_setup(spec).context});
    const auto backend = compute::make_cpu_backend(options);
    const Outcome outcome = check_one(file, spec, *backend, run, nullptr);
    const model::Weights weights(file, spec, *backend, compute::Residency::kMapped, {});
    for (std::int64_t head = 0; head < std::min<std::int64_t>(spec.draft_heads, 2); ++head) {
      const spec::ModelSpec draft =
          model::describe_draft_head(file, {small_setup(spec).context}, head);
      (void)check_one(file, draft, *backend, run, &weights);
    }
    return outcome;
  } catch (const Error& error) {
    const std::string_view message = error.what();
    require(
        !message.empty() && message.find('\n') == std::string_view::npos && message.size() < 4096,
        "an error is not one sentence");
    return Outcome::kRefused;
  }
}

}  // namespace hearth::testing
