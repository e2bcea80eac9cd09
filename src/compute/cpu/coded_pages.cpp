#include "compute/cpu/coded_pages.h"

#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"
#include "tensor/dtype.h"

namespace hearth::compute::cpu {

const quant::KvCoder& CoderCache::of(const KvCode& code, std::int64_t size) {
  for (const auto& coder : coders_) {
    if (coder->code() == code && coder->layout().size == size) return *coder;
  }
  coders_.push_back(std::make_unique<quant::KvCoder>(code, size));
  return *coders_.back();
}

void load_cell_floats(const KernelTable& kernels, KvPart part, const Tensor& pool,
                      const std::byte* page, std::int64_t slot, float* to) noexcept {
  const std::int64_t size = pool.shape[3];
  const KvLayout layout = kv_layout(pool, part, kernels);
  if (pool.dtype == DType::kF32) {
    load_cell(reinterpret_cast<const float*>(page), size, part, layout, pool.shape[2], slot, size,
              to);
    return;
  }
  std::uint16_t narrow[kMaxHeadSize];
  load_cell(reinterpret_cast<const std::uint16_t*>(page), size, part, layout, pool.shape[2], slot,
            size, narrow);
  const bool halves = pool.dtype == DType::kF16;
  for (std::int64_t i = 0; i < size; ++i) {
    to[i] = halves ? tensor::float_from_half(narrow[i]) : tensor::float_from_bfloat16(narrow[i]);
  }
}

void PageEncoder::run(const EncodePagesArguments& a) noexcept {
  const quant::KvCoder& coder = coders_.of(a.code, a.raw.shape[3]);
  const std::int64_t heads = a.raw.shape[1];
  const std::int64_t size = a.raw.shape[3];
  team_.for_chunks(
      a.pairs.shape[0] * heads, 1, [&](std::int64_t begin, std::int64_t end, int) noexcept {
        std::vector<float> cells(static_cast<std::size_t>(quant::kCodedCells * size));
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int32_t* const pair = ints_of(a.pairs) + unit / heads * a.pairs.strides[0];
          const std::int64_t head = unit % heads;
          const std::byte* const page =
              bytes_of(a.raw) +
              pool_bytes(a.raw, pair[0] * a.raw.strides[0] + head * a.raw.strides[1]);
          for (std::int64_t cell = 0; cell < quant::kCodedCells; ++cell) {
            load_cell_floats(kernels_, a.part, a.raw, page, cell, cells.data() + cell * size);
          }
          coder.encode_page(
              a.part, cells,
              {bytes_of(a.coded) + pair[1] * a.coded.strides[0] + head * a.coded.strides[1],
               static_cast<std::size_t>(coder.layout().bytes)});
        }
      });
}

}  // namespace hearth::compute::cpu
