#include "model/adapter_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "quant/quant.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {
namespace {

constexpr std::string_view kOutput = "output.weight";
/// More than any adapter has. Products with a transposed factor hold some of its rows in a fixed
/// work memory.
constexpr std::int64_t kMostAdapterRank = 1 << 14;

/// How the model uses a tensor.
struct Use {
  bool embeds = false, multiplies = false;
  std::int64_t matrices = 1;
};

Use use_of(const spec::ModelSpec& spec, std::string_view name) {
  Use use;
  use.embeds = name == spec.embedding.tokens;
  for (const spec::TensorUse& each : spec::tensors_of(spec)) {
    if (each.name != name) continue;
    if (each.role != spec::TensorRole::kMatrix && each.role != spec::TensorRole::kStack) continue;
    use.multiplies = true;
    use.matrices = std::max(use.matrices, each.matrices);
  }
  return use;
}

std::string shape_of(const Factor& factor) {
  return factor.matrices == 1
             ? fmt::format("[{}, {}]", factor.rows, factor.columns)
             : fmt::format("[{}, {}, {}]", factor.matrices, factor.rows, factor.columns);
}

compute::WeightSource source_of(const Factor& factor) {
  return {"an adapter", factor.dtype, factor.rows, factor.columns, factor.bytes, factor.matrices};
}

}  // namespace

AdapterSource::AdapterSource(std::filesystem::path path, const gguf::File& model,
                             const spec::ModelSpec& spec)
    : path_(std::move(path)), model_(model), spec_(spec) {}

std::unique_ptr<AdapterSource> AdapterSource::open(const std::filesystem::path& path,
                                                   const gguf::File& model,
                                                   const spec::ModelSpec& spec) {
  if (spec.encoder) throw Error("adapters of encoder-decoder models are not supported");
  std::error_code problem;
  const bool folder = std::filesystem::is_directory(path, problem);
  auto source =
      folder ? open_peft_adapter(path, model, spec) : open_gguf_adapter(path, model, spec);
  if (source->terms_.empty()) source->fail("changes nothing", "fetch it again");
  return source;
}

void AdapterSource::fail(const std::string& what, const std::string& hint) const {
  throw Error(fmt::format("adapter '{}' {}", printable(path_.string(), 300), what), hint);
}

std::string AdapterSource::resolved(std::string_view name) const {
  const bool tied = name == kOutput && model_.find_tensor(name) == nullptr;
  return tied && spec_.head.linear.present() ? spec_.head.linear.weight : std::string(name);
}

std::span<float> AdapterSource::make_floats(std::size_t count) {
  floats_.push_back(std::make_unique_for_overwrite<float[]>(count));
  host_bytes_ += count * sizeof(float);
  return {floats_.back().get(), count};
}

/// The matrices of a stack that the file holds as one tall matrix.
Factor AdapterSource::cut(const Factor& b, std::int64_t matrices) const {
  Factor result = b;
  result.rows = b.rows / matrices;
  result.matrices = matrices;
  return result;
}

/// One copy for each matrix of a stack: their input is the same.
Factor AdapterSource::repeated(const Factor& a, std::int64_t matrices) {
  const auto size = static_cast<std::size_t>(a.rows * a.columns);
  const std::span<float> all = make_floats(size * static_cast<std::size_t>(matrices));
  quant::decode(a.dtype, a.bytes, all.first(size));
  for (std::size_t i = 1; i < static_cast<std::size_t>(matrices); ++i)
    std::copy_n(all.begin(), size, all.begin() + static_cast<std::ptrdiff_t>(i * size));
  return {tensor::DType::kF32, a.rows, a.columns, matrices, std::as_bytes(all)};
}

void AdapterSource::add(std::string_view name, Factor a, Factor b, double alpha,
                        bool root_of_rank) {
  const std::string weight = resolved(name);
  const gguf::TensorInfo* base = model_.find_tensor(weight);
  const Use use = use_of(spec_, weight);
  if (base == nullptr || (!use.embeds && !use.multiplies)) {
    fail(fmt::format("changes '{}', which is no matrix of this model that can be changed",
                     printable(name)),
         "use an adapter that was made for this model");
  }
  for (const Factor& factor : {a, b}) {
    if (!quant::can_decode(factor.dtype))
      fail(fmt::format("stores '{}' in a type that cannot be used", printable(name)));
  }
  const std::int64_t in = base->shape[0], rank = b.columns;
  const std::int64_t out = base->shape[1], stack = base->shape[2];
  if (rank > kMostAdapterRank) fail(fmt::format("has the rank {}, which is too large", rank));
  const bool whole = base->shape[3] == 1 && rank > 0;
  AdapterTerm term;
  term.embedding = use.embeds && whole && stack == 1 && name != kOutput && a.matrices == 1 &&
                   b.matrices == 1 && a.columns == rank && a.rows == out && b.rows == in;
  const bool fits = use.multiplies && whole && a.matrices == stack && b.matrices == stack &&
                    a.columns == in && a.rows == rank && b.rows == out;
  if (!term.embedding && !fits) {
    fail(fmt::format("has {} and {} for '{}', which do not fit the model's [{}{}, {}]", shape_of(a),
                     shape_of(b), printable(name), stack > 1 ? fmt::format("{}, ", stack) : "", out,
                     in),
         "use an adapter that was made for this model");
  }
  if (!term.embedding && use.matrices > 1 && stack == 1) {
    a = repeated(a, use.matrices);
    b = cut(b, use.matrices);
  }
  const auto r = static_cast<double>(rank);
  term.scale = alpha == 0 ? 1.0F : static_cast<float>(alpha / (root_of_rank ? std::sqrt(r) : r));
  if (!std::isfinite(term.scale)) fail("has an alpha that is no finite number");
  term.weight = weight;
  term.a = source_of(a);
  term.b = source_of(b);
  terms_.push_back(std::move(term));
}

}  // namespace hearth::model
