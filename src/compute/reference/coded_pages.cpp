// Coded pages of keys and values: quant/kv_coder.h does the work.
#include "compute/reference/coded_pages.h"

#include "compute/reference/operations.h"

namespace hearth::compute::reference {
namespace {

std::span<std::byte> page_bytes(const Tensor& pool, std::int64_t page, std::int64_t head,
                                std::int64_t bytes) noexcept {
  return {address(pool, page, head, 0, 0), static_cast<std::size_t>(bytes)};
}

}  // namespace

void encode_pages(const EncodePagesArguments& a) noexcept {
  const std::int64_t size = a.raw.shape[3];
  const quant::KvCoder coder(a.code, size);
  std::vector<float> cells(static_cast<std::size_t>(quant::kCodedCells * size));
  for (std::int64_t pair = 0; pair < a.pairs.shape[0]; ++pair) {
    for (std::int64_t head = 0; head < a.raw.shape[1]; ++head) {
      for (std::int64_t cell = 0; cell < quant::kCodedCells; ++cell) {
        for (std::int64_t i = 0; i < size; ++i) {
          cells[static_cast<std::size_t>(cell * size + i)] =
              static_cast<float>(pool_at(a.raw, int_at(a.pairs, pair, 0), head, cell, i));
        }
      }
      coder.encode_page(a.part, cells,
                        page_bytes(a.coded, int_at(a.pairs, pair, 1), head, coder.layout().bytes));
    }
  }
}

CellReader::CellReader(KvPart part, const Tensor& raw, const Tensor& coded,
                       const quant::KvCode& code, std::int64_t head)
    : part_(part), raw_(raw), coded_(coded), head_(head) {
  if (!coded) return;
  coder_.emplace(code, raw.shape[3]);
  cells_.resize(static_cast<std::size_t>(quant::kCodedCells * raw.shape[3]));
}

double CellReader::at(std::int64_t page, std::int64_t slot, std::int64_t i) noexcept {
  if ((page & kCodedPage) == 0) return pool_at(raw_, page, head_, slot, i);
  if (page != decoded_) {
    coder_->decode_page(
        part_, page_bytes(coded_, page & ~std::int64_t{kCodedPage}, head_, coder_->layout().bytes),
        cells_);
    decoded_ = page;
  }
  return cells_[static_cast<std::size_t>(slot * raw_.shape[3] + i)];
}

}  // namespace hearth::compute::reference
