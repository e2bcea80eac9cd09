// Encoding one tensor after another, on all threads, in the order in which a file is written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gguf/file.h"
#include "model/quantize/quantizer.h"
#include "support/thread_team.h"

namespace hearth::model::quantize {

class TensorEncoder {
 public:
  /// `input` must outlive this. `done` is called with the tensor and the number of its weights that
  /// were encoded or copied since the last call; it may throw.
  TensorEncoder(const gguf::File& input, int threads,
                std::function<void(const PlannedTensor&, std::uint64_t)> done);

  /// Puts the bytes [offset, offset + out.size()) of the encoded tensor into `out`. For each tensor
  /// offsets begin at 0 and leave out nothing. Throws Error when the tensor cannot be encoded.
  void read(const PlannedTensor& tensor, std::uint64_t offset, std::span<std::byte> out);

 private:
  void begin(const PlannedTensor& tensor);
  void encode_batch();
  void encode_rows(std::int64_t begin, std::int64_t end, std::span<float> scratch) noexcept;
  void copy(const PlannedTensor& tensor, std::uint64_t offset, std::span<std::byte> out);

  const gguf::File* input_;
  ThreadTeam team_;
  std::function<void(const PlannedTensor&, std::uint64_t)> done_;

  // The tensor in work.
  const PlannedTensor* tensor_ = nullptr;
  std::int64_t columns_ = 0, rows_ = 0, matrix_rows_ = 0;
  std::int64_t next_row_ = 0;                // the first that is not in the batch
  std::int64_t batch_row_ = 0;               // the first of the batch
  std::vector<std::byte> batch_;             // encoded rows
  std::size_t taken_ = 0;                    // bytes of the batch that were given away
  std::vector<float> importance_;            // of the columns of the matrix in work; empty: none
  std::int64_t importance_of_ = -1;          // which matrix
  std::vector<std::vector<float>> scratch_;  // one decoded row per thread
  std::atomic<bool> unusable_ = false;       // a value was not finite or does not fit
};

}  // namespace hearth::model::quantize
