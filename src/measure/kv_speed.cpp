#include "measure/kv_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <vector>

#include "measure/made_past.h"
#include "measure/samples.h"

namespace hearth::measure {

using compute::MemoryCategory;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Tensors in one buffer.
class Tensors {
 public:
  explicit Tensors(compute::Backend& backend) : backend_(backend) {}
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape, const void* host) {
    Tensor tensor = Tensor::contiguous(nullptr, 0, dtype, shape);
    const std::size_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(tensor.elements()));
    buffers_.push_back(backend_.allocate(bytes, MemoryCategory::kBuffers));
    tensor.buffer = buffers_.back().get();
    if (host != nullptr) backend_.write(tensor, host);
    return tensor;
  }

 private:
  compute::Backend& backend_;
  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
};

}  // namespace

double kv_attention_seconds(compute::Backend& backend, const spec::KvFormat& format,
                            const KvSpeedSize& size, double least_seconds) {
  spec::ModelSpec spec;
  spec.kv_memories.push_back({size.kv_heads, size.size, size.size, {}});
  state::MemoryPool pool(backend, spec,
                         {.context = size.cells, .batch_rows = 512, .kv_type = format});
  state::SequenceState sequence(pool);
  make_past(backend, spec, pool, sequence, size.cells);

  backend.reserve(1, size.heads * size.size);
  Tensors tensors(backend);
  const std::span<const std::int32_t> pages = sequence.pages(0);
  const std::int32_t zero = 0;
  const auto last = static_cast<std::int32_t>(size.cells - 1);
  const auto end = static_cast<std::int32_t>(size.cells);
  std::vector<float> q(static_cast<std::size_t>(size.heads * size.size));
  for (std::size_t i = 0; i < q.size(); ++i)
    q[i] = static_cast<float>(std::sin(static_cast<double>(i)));
  const state::CodedPages& coded = pool.coded_pages(0);
  compute::AttendArguments arguments;
  arguments.q = tensors.make(DType::kF32, {1, size.heads, size.size}, q.data());
  arguments.keys = pool.keys(0);
  arguments.values = pool.values(0);
  arguments.coded_keys = coded.keys;
  arguments.coded_values = coded.values;
  arguments.key_code = coded.key_code;
  arguments.value_code = coded.value_code;
  arguments.rows = {
      tensors.make(DType::kI32, {1, static_cast<std::int64_t>(pages.size())}, pages.data()),
      tensors.make(DType::kI32, {1}, &zero), tensors.make(DType::kI32, {1}, &last)};
  arguments.row_begin = tensors.make(DType::kI32, {1}, &zero);
  arguments.row_end = tensors.make(DType::kI32, {1}, &end);
  arguments.scale = 1 / std::sqrt(static_cast<float>(size.size));
  arguments.out = tensors.make(DType::kF32, {1, size.heads, size.size}, nullptr);
  std::vector<double> seconds;
  // Formats that are only there to be compared with may take seconds.
  constexpr double kEnough = 1;
  for (double sum = 0; sum < kEnough && (seconds.size() < 5 || sum < least_seconds);
       sum += seconds.back()) {
    const double start = now();
    backend.attend(arguments);
    backend.submit();
    (void)backend.finish();
    seconds.push_back(now() - start);
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<long>(seconds.size() / 2),
                   seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace hearth::measure
