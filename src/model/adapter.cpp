#include "model/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "quant/quant.h"
#include "support/error.h"
#include "support/hash64.h"

namespace hearth::model {

using tensor::Tensor;

Adapter::Adapter(std::shared_ptr<const AdapterSource> source,
                 std::shared_ptr<compute::Backend> backend, compute::Residency residency)
    : backend_(std::move(backend)), source_(std::move(source)) {
  for (const AdapterTerm& term : source_->terms()) {
    const unsigned use = term.embedding ? compute::kUseRows : compute::kUseMatmul;
    terms_.push_back({term.weight, term.embedding, backend_->load_weight(term.a, use, residency),
                      backend_->load_weight(term.b, compute::kUseMatmul, residency), term.scale});
    fingerprint_ = hash64(std::as_bytes(std::span(term.weight)), fingerprint_ + 1);
    fingerprint_ = hash64(term.a.bytes, fingerprint_);
    fingerprint_ = hash64(term.b.bytes, fingerprint_);
    fingerprint_ = hash64(std::as_bytes(std::span(&term.scale, 1)), fingerprint_);
  }
}

std::int64_t Adapter::widest() const noexcept {
  std::int64_t widest = 0;
  for (const Term& term : terms_) {
    widest = std::max(widest, term.b->columns());
    if (!term.embedding) widest = std::max(widest, term.a->columns());
  }
  return widest;
}

// ---- Control vectors ----------------------------------------------------------------------------

namespace {

constexpr std::string_view kDirection = "direction.";

std::int64_t layers_of(const spec::ModelSpec& spec) {
  return spec.stacks.size() == 1 ? static_cast<std::int64_t>(spec.stacks.front().layers.size()) : 0;
}

}  // namespace

void ControlVector::fail(const std::string& what, const std::string& hint) const {
  throw Error(fmt::format("control vector '{}' {}", printable(path_.string(), 300), what), hint);
}

ControlVector::ControlVector(const std::filesystem::path& path, const spec::ModelSpec& spec)
    : path_(path) {
  const gguf::File file = gguf::File::open(path);
  if (file.metadata().get_string("general.architecture").value_or("") != "controlvector")
    fail("is no control vector: its general.architecture is not 'controlvector'");
  const std::int64_t layers = layers_of(spec);
  if (layers == 0 || spec.streams != 1 || spec.encoder)
    fail("cannot be used: models with several residual streams or stacks are not supported");
  directions_.resize(static_cast<std::size_t>(layers));
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    std::int64_t layer = 0;
    const char* const end = name.data() + name.size();
    const char* const digits = name.data() + std::min(name.size(), kDirection.size());
    const auto [stop, problem] = std::from_chars(digits, end, layer);
    if (!name.starts_with(kDirection) || problem != std::errc() || stop != end || layer < 1)
      fail(fmt::format("has a tensor '{}', which is no direction", printable(name)));
    if (layer >= layers) {
      fail(fmt::format("has a direction for layer {}, and the model has layers 0 to {}", layer,
                       layers - 1),
           "use one that was made for this model");
    }
    if (tensor.elements() != spec.width || tensor.shape[0] != spec.width) {
      fail(fmt::format("has directions of {} values, and the model needs {}", tensor.elements(),
                       spec.width),
           "use one that was made for this model");
    }
    if (tensor.dtype != tensor::DType::kF32) fail("has directions that are not F32");
    std::vector<float>& values = directions_[static_cast<std::size_t>(layer)];
    values.resize(static_cast<std::size_t>(spec.width));
    quant::decode(tensor.dtype, file.data(tensor), values);
  }
  if (file.tensors().empty()) fail("has no directions", "fetch it again");
  file.check();
}

std::span<const float> ControlVector::direction(std::size_t layer) const noexcept {
  return layer < directions_.size() ? std::span<const float>(directions_[layer])
                                    : std::span<const float>();
}

// ---- The choice ---------------------------------------------------------------------------------

AdapterMix::AdapterMix(const std::vector<AdapterChoice>& adapters,
                       const std::vector<ControlChoice>& vectors,
                       std::shared_ptr<compute::Backend> backend, const spec::ModelSpec& spec)
    : backend_(std::move(backend)) {
  for (const AdapterChoice& choice : adapters) {
    adapters_.push_back(choice.adapter);
    fingerprint_ = hash64(std::as_bytes(std::span(&choice.scale, 1)),
                          mix64(fingerprint_) + choice.adapter->fingerprint());
    for (const Adapter::Term& term : choice.adapter->terms()) {
      const float scale = choice.scale * term.scale;
      if (scale == 0) continue;
      auto& terms = term.embedding ? embedding_ : terms_[term.weight];
      terms.push_back({term.a.get(), term.b.get(), scale});
    }
  }
  if (!vectors.empty()) add_directions(vectors, spec);
  fingerprint_ = std::max<std::uint64_t>(1, fingerprint_);  // 0: no adapters
}

void AdapterMix::add_directions(const std::vector<ControlChoice>& vectors,
                                const spec::ModelSpec& spec) {
  const std::int64_t layers = layers_of(spec);
  const auto width = static_cast<std::size_t>(spec.width);
  directions_ = backend_->allocate(static_cast<std::size_t>(layers) * width * sizeof(float),
                                   compute::MemoryCategory::kOther);
  by_layer_.resize(static_cast<std::size_t>(layers));
  for (std::size_t layer = 0; layer < by_layer_.size(); ++layer) {
    std::vector<float> sum(width);
    bool any = false;
    for (const ControlChoice& choice : vectors) {
      const auto l = static_cast<std::int64_t>(layer);
      const std::span<const float> direction = choice.vector->direction(layer);
      if (direction.empty() || l < choice.first_layer || l > choice.last_layer) continue;
      any = true;
      for (std::size_t i = 0; i < width; ++i) sum[i] += choice.strength * direction[i];
    }
    if (!any) continue;
    fingerprint_ = hash64(std::as_bytes(std::span(sum)), mix64(fingerprint_ + layer));
    by_layer_[layer] = Tensor::contiguous(directions_.get(), layer * width * sizeof(float),
                                          tensor::DType::kF32, {1, spec.width});
    backend_->write(by_layer_[layer], sum.data());
  }
}

std::span<const LowRank> AdapterMix::of(std::string_view weight) const noexcept {
  const auto found = terms_.find(weight);
  return found == terms_.end() ? std::span<const LowRank>() : std::span(found->second);
}

Tensor AdapterMix::direction(std::size_t layer) const noexcept {
  return layer < by_layer_.size() ? by_layer_[layer] : Tensor{};
}

}  // namespace hearth::model
