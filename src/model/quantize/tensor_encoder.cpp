#include "model/quantize/tensor_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "quant/quant.h"
#include "support/error.h"

namespace hearth::model::quantize {
namespace {

/// Weights that a thread takes at once, and that all threads encode between two writes: little
/// enough that the slowest formats still report progress and hear Ctrl-C several times a second.
constexpr std::int64_t kThreadWeights = std::int64_t{1} << 15;
constexpr std::int64_t kBatchWeights = std::int64_t{1} << 18;
/// Encoders see whole rows. The longest of known models have some hundred thousand values.
constexpr std::int64_t kMostColumns = std::int64_t{1} << 24;

/// Whether `type` can hold every value of the row: F16 is the one that overflows.
bool representable(std::span<const float> row, tensor::DType type) {
  constexpr float kMostHalf = 65504;
  const float most = type == tensor::DType::kF16 ? kMostHalf : std::numeric_limits<float>::max();
  bool all = true;
  for (const float value : row) all &= std::fabs(value) <= most;  // false for NaN
  return all;
}

}  // namespace

TensorEncoder::TensorEncoder(const gguf::File& input, int threads,
                             std::function<void(const PlannedTensor&, std::uint64_t)> done)
    : input_(&input),
      team_(threads),
      done_(std::move(done)),
      scratch_(static_cast<std::size_t>(threads)) {}

void TensorEncoder::read(const PlannedTensor& tensor, std::uint64_t offset,
                         std::span<std::byte> out) {
  if (tensor.copied()) return copy(tensor, offset, out);
  if (offset == 0) begin(tensor);
  while (!out.empty()) {
    if (taken_ == batch_.size()) encode_batch();
    const std::size_t some = std::min(out.size(), batch_.size() - taken_);
    std::memcpy(out.data(), batch_.data() + taken_, some);
    taken_ += some;
    out = out.subspan(some);
  }
}

void TensorEncoder::copy(const PlannedTensor& tensor, std::uint64_t offset,
                         std::span<std::byte> out) {
  std::memcpy(out.data(), input_->data(*tensor.source).data() + offset, out.size());
  input_->check();
  input_->release(*tensor.source, offset, out.size());
  const tensor::DTypeInfo& type = tensor::info(tensor.type);
  done_(tensor, out.size() * type.block_elements / type.block_bytes);
}

void TensorEncoder::begin(const PlannedTensor& tensor) {
  const gguf::TensorInfo& source = *tensor.source;
  if (source.shape[0] > kMostColumns) {
    throw Error(fmt::format("the tensor '{}' has rows of {} values, which is too long to quantize",
                            printable(source.name), source.shape[0]),
                "keep it with --tensor-type PATTERN=copy");
  }
  tensor_ = &tensor;
  columns_ = source.shape[0];
  matrix_rows_ = source.shape[1];
  rows_ = matrix_rows_ * source.shape[2] * source.shape[3];
  next_row_ = 0;
  batch_.clear();
  taken_ = 0;
  importance_.clear();
  importance_of_ = -1;
  for (std::vector<float>& row : scratch_) row.resize(static_cast<std::size_t>(columns_));
}

void TensorEncoder::encode_batch() {
  // A batch stays within one matrix, whose importance its rows share.
  const std::int64_t matrix = next_row_ / matrix_rows_;
  const std::int64_t wanted = std::max<std::int64_t>(1, team_.size() * kBatchWeights / columns_);
  const std::int64_t rows = std::min(wanted, (matrix + 1) * matrix_rows_ - next_row_);
  if (tensor_->importance != nullptr && matrix != importance_of_) {
    importance_.resize(static_cast<std::size_t>(columns_));
    tensor_->importance->weights(matrix, importance_);
    importance_of_ = matrix;
  }
  batch_row_ = next_row_;
  const std::size_t row_bytes =
      tensor::row_bytes(tensor_->type, static_cast<std::size_t>(columns_));
  batch_.resize(static_cast<std::size_t>(rows) * row_bytes);
  taken_ = 0;
  team_.for_chunks(rows, std::max<std::int64_t>(1, kThreadWeights / columns_),
                   [this](std::int64_t begin, std::int64_t end, int thread) noexcept {
                     encode_rows(begin, end, scratch_[static_cast<std::size_t>(thread)]);
                   });
  input_->check();
  if (unusable_) {
    throw Error(fmt::format("the tensor '{}' contains values that are not finite or too large for "
                            "{}",
                            printable(tensor_->source->name), tensor::name(tensor_->type)),
                "the file may be damaged; BF16 holds all values that F32 does");
  }
  const std::size_t source_bytes =
      tensor::row_bytes(tensor_->source->dtype, static_cast<std::size_t>(columns_));
  input_->release(*tensor_->source, static_cast<std::uint64_t>(next_row_) * source_bytes,
                  static_cast<std::uint64_t>(rows) * source_bytes);
  next_row_ += rows;
  done_(*tensor_, static_cast<std::uint64_t>(rows * columns_));
}

void TensorEncoder::encode_rows(std::int64_t begin, std::int64_t end,
                                std::span<float> scratch) noexcept {
  const tensor::DType from = tensor_->source->dtype;
  const std::size_t from_bytes = tensor::row_bytes(from, scratch.size());
  const std::size_t to_bytes = tensor::row_bytes(tensor_->type, scratch.size());
  const std::span<const std::byte> data = input_->data(*tensor_->source);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto source = static_cast<std::size_t>(batch_row_ + row) * from_bytes;
    quant::decode(from, data.subspan(source, from_bytes), scratch);
    if (!representable(scratch, tensor_->type)) unusable_ = true;
    quant::encode_row(
        tensor_->type, scratch, importance_,
        std::span(batch_).subspan(static_cast<std::size_t>(row) * to_bytes, to_bytes));
  }
}

}  // namespace hearth::model::quantize
