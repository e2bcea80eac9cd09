#include "model/weights.h"

#include <algorithm>
#include <limits>

#include "quant/quant.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {

using compute::MemoryCategory;
using spec::TensorRole;
using tensor::Tensor;

namespace {

/// Lets the maps be searched by string_view without making a string.
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const noexcept {
    return std::hash<std::string_view>{}(name);
  }
};

template <class Value>
using NameMap = std::unordered_map<std::string, Value, NameHash, std::equal_to<>>;

struct MatrixRequest {
  const gguf::TensorInfo* tensor = nullptr;
  unsigned use = 0;
  std::int64_t matrices = 1;
};

/// A matrix, or a stack of them: those of the file's third dimension, or a tall matrix cut into
/// equal parts.
compute::WeightSource source_of(const gguf::File& file, const MatrixRequest& request) {
  const gguf::TensorInfo& tensor = *request.tensor;
  const std::int64_t rows = tensor.elements() / tensor.shape[0];
  return {tensor.name,     tensor.dtype,      rows / request.matrices,
          tensor.shape[0], file.data(tensor), request.matrices};
}

/// How a small tensor is seen: dimensions of one left out, at most a matrix [rows, columns].
Tensor vector_view(const gguf::TensorInfo& info, tensor::Buffer* buffer, std::size_t offset,
                   tensor::DType dtype) {
  const std::int64_t columns = info.shape[0];
  const std::int64_t rows = columns > 0 ? info.elements() / columns : 0;
  if (rows > 1 && columns > 1) {
    return Tensor::contiguous(buffer, offset, dtype, {rows, columns});
  }
  return Tensor::contiguous(buffer, offset, dtype, {info.elements()});
}

const gguf::TensorInfo& find(const gguf::File& file, const std::string& name) {
  const gguf::TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) {
    throw Error("the model has no tensor '" + printable(name) + "'",
                "the file is incomplete: fetch it again");
  }
  if (!quant::can_decode(tensor->dtype)) {
    throw Error("tensor '" + printable(name) + "' has type " +
                    std::string(tensor::name(tensor->dtype)) + ", which cannot be used as a weight",
                "convert the model to another type");
  }
  return *tensor;
}

std::vector<float> decoded(const gguf::File& file, const gguf::TensorInfo& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  quant::decode(tensor.dtype, file.data(tensor), values);
  return values;
}

}  // namespace

struct Weights::Impl {
  const gguf::File* file = nullptr;
  const Impl* shared = nullptr;
  NameMap<std::unique_ptr<compute::Weight>> matrices;
  NameMap<Tensor> vectors;
  NameMap<float> scalars;
  std::unique_ptr<tensor::Buffer> vector_buffer;
  std::vector<std::unique_ptr<tensor::Buffer>> index_buffers;

  [[nodiscard]] bool has(const spec::TensorUse& use) const {
    switch (use.role) {
      case TensorRole::kVector:
      case TensorRole::kIndex:
        return vectors.contains(use.name);
      case TensorRole::kScalar:
        return scalars.contains(use.name);
      default:
        return matrices.contains(use.name);
    }
  }
  /// Whether the other model's tensor serves.
  [[nodiscard]] bool is_shared(const spec::TensorUse& use) const {
    if (shared == nullptr || !shared->has(use)) return false;
    return shared->file == file || file->find_tensor(use.name) == nullptr;
  }

  /// Draft models may leave their table of tokens to the model that they draft for.
  void require_embedding(const spec::ModelSpec& spec) const {
    if (!spec.embedding.tokens.empty() || !spec.embedding.hidden) return;
    if (shared == nullptr) {
      throw Error("this model drafts for another one, whose tokens it reads",
                  "load it together with that model");
    }
    const auto table = shared->matrices.find(kTargetEmbedding);
    if (table == shared->matrices.end() || table->second->columns() != spec.width ||
        table->second->rows() < spec.vocabulary) {
      throw Error("the table of tokens of the target does not fit the draft model",
                  "use the target it was made for");
    }
  }

  void load_indices(const gguf::File& from, const std::string& name, compute::Backend& backend) {
    const gguf::TensorInfo* info = from.find_tensor(name);
    if (info == nullptr || info->dtype != tensor::DType::kI32) {
      throw Error("the model has no table of integers '" + printable(name) + "'",
                  "the file is incomplete: fetch it again");
    }
    index_buffers.push_back(
        backend.allocate(static_cast<std::size_t>(info->bytes), MemoryCategory::kWeights));
    const Tensor view = Tensor::contiguous(index_buffers.back().get(), 0, tensor::DType::kI32,
                                           {info->elements() / info->shape[0], info->shape[0]});
    backend.write(view, from.data(*info).data());
    vectors.emplace(name, view);
  }

  void load_vectors(const gguf::File& from, std::span<const gguf::TensorInfo* const> tensors,
                    compute::Backend& backend) {
    constexpr std::size_t kAlignment = 64;
    const auto padded = [](const gguf::TensorInfo* tensor) {
      const std::size_t bytes = static_cast<std::size_t>(tensor->elements()) * sizeof(float);
      return (bytes + kAlignment - 1) / kAlignment * kAlignment;
    };
    std::size_t total = 0;
    for (const gguf::TensorInfo* tensor : tensors) total += padded(tensor);
    vector_buffer = backend.allocate(total, MemoryCategory::kWeights);
    std::size_t offset = 0;
    for (const gguf::TensorInfo* info : tensors) {
      const Tensor view = vector_view(*info, vector_buffer.get(), offset, tensor::DType::kF32);
      backend.write(view, decoded(from, *info).data());
      vectors.emplace(info->name, view);
      offset += padded(info);
    }
  }
};

Weights::Weights(const gguf::File& file, const spec::ModelSpec& spec, compute::Backend& backend,
                 compute::Residency residency, const std::function<void(double)>& progress,
                 const Weights* shared)
    : impl_(std::make_unique<Impl>()) {
  impl_->file = &file;
  impl_->shared = shared != nullptr ? shared->impl_.get() : nullptr;
  impl_->require_embedding(spec);
  NameMap<MatrixRequest> matrices;
  std::vector<std::string> order;
  std::vector<const gguf::TensorInfo*> vectors;
  std::uint64_t total = 0;
  for (const spec::TensorUse& use : spec::tensors_of(spec)) {
    if (impl_->is_shared(use)) continue;
    if (use.role == TensorRole::kIndex) {
      impl_->load_indices(file, use.name, backend);
      continue;
    }
    const gguf::TensorInfo& tensor = find(file, use.name);
    if (use.role == TensorRole::kVector) {
      vectors.push_back(&tensor);
    } else if (use.role == TensorRole::kScalar) {
      impl_->scalars.emplace(use.name, decoded(file, tensor).at(0));
    } else {
      MatrixRequest& request = matrices[use.name];
      if (request.use == 0) {
        order.push_back(use.name);
        total += tensor.bytes;
      }
      request.tensor = &tensor;
      request.matrices = std::max(request.matrices, use.matrices);
      request.use |= use.role == TensorRole::kTable ? compute::kUseRows : compute::kUseMatmul;
    }
  }
  impl_->load_vectors(file, vectors, backend);
  std::uint64_t done = 0;
  for (const std::string& name : order) {
    const MatrixRequest& request = matrices[name];
    impl_->matrices.emplace(name,
                            backend.load_weight(source_of(file, request), request.use, residency));
    done += request.tensor->bytes;
    if (progress) progress(static_cast<double>(done) / static_cast<double>(total));
  }
}

Weights::~Weights() = default;

const compute::Weight& Weights::matrix(std::string_view name) const noexcept {
  const auto found = impl_->matrices.find(name);
  return found != impl_->matrices.end() ? *found->second
                                        : *impl_->shared->matrices.find(name)->second;
}

Tensor Weights::vector(std::string_view name) const noexcept {
  if (name.empty()) return {};
  const auto found = impl_->vectors.find(name);
  return found != impl_->vectors.end() ? found->second : impl_->shared->vectors.find(name)->second;
}

float Weights::scalar(std::string_view name) const noexcept {
  if (name.empty()) return 1.0F;
  const auto found = impl_->scalars.find(name);
  return found != impl_->scalars.end() ? found->second : impl_->shared->scalars.find(name)->second;
}

}  // namespace hearth::model
