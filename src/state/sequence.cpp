#include "state/sequence.h"

#include "support/error.h"

namespace hearth::state {

using tensor::DType;
using tensor::Tensor;

namespace {

std::size_t layer_bytes(const KvLayer& layer, std::int64_t pages, DType dtype) noexcept {
  const std::int64_t elements =
      pages * kPageCells * layer.kv_heads * (layer.key_size + layer.value_size);
  return tensor::row_bytes(dtype, static_cast<std::size_t>(elements));
}

}  // namespace

std::size_t KvPool::bytes(std::span<const KvLayer> layers, std::int64_t pages,
                          DType dtype) noexcept {
  std::size_t total = 0;
  for (const KvLayer& layer : layers) total += layer_bytes(layer, pages, dtype);
  return total;
}

KvPool::KvPool(compute::Backend& backend, std::span<const KvLayer> layers, std::int64_t pages,
               DType dtype)
    : backend_(&backend) {
  for (const KvLayer& layer : layers) {
    buffers_.push_back(
        backend.allocate(layer_bytes(layer, pages, dtype), compute::MemoryCategory::kKv));
    tensor::Buffer* buffer = buffers_.back().get();
    const Tensor keys =
        Tensor::contiguous(buffer, 0, dtype, {pages, layer.kv_heads, kPageCells, layer.key_size});
    const std::size_t key_bytes =
        tensor::row_bytes(dtype, static_cast<std::size_t>(keys.elements()));
    keys_.push_back(keys);
    values_.push_back(Tensor::contiguous(buffer, key_bytes, dtype,
                                         {pages, layer.kv_heads, kPageCells, layer.value_size}));
  }
  references_.assign(static_cast<std::size_t>(pages), 0);
  free_.reserve(static_cast<std::size_t>(pages));
  for (std::int64_t page = pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
}

std::int32_t KvPool::take_page() {
  if (free_.empty()) {
    throw Error("all " + std::to_string(pages()) + " pages of the KV cache are in use",
                "use a larger context, or end other sequences");
  }
  const std::int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<std::size_t>(page)] = 1;
  return page;
}

void KvPool::share_page(std::int32_t page) noexcept {
  ++references_[static_cast<std::size_t>(page)];
}

void KvPool::give_back_page(std::int32_t page) noexcept {
  if (--references_[static_cast<std::size_t>(page)] == 0) free_.push_back(page);
}

void KvPool::copy_page(std::int32_t from, std::int32_t to) noexcept {
  for (std::size_t layer = 0; layer < keys_.size(); ++layer) {
    backend_->copy(keys_[layer].rows(from, 1), keys_[layer].rows(to, 1));
    backend_->copy(values_[layer].rows(from, 1), values_[layer].rows(to, 1));
  }
}

SequenceState::SequenceState(KvPool& pool, std::int64_t max_cells, std::int64_t first_position)
    : pool_(&pool), max_cells_(max_cells), first_position_(first_position) {
  pages_.reserve(static_cast<std::size_t>((max_cells + kPageCells - 1) / kPageCells));
}

SequenceState::~SequenceState() { truncate(0); }

std::unique_ptr<SequenceState> SequenceState::fork() const {
  auto copy = std::make_unique<SequenceState>(*pool_, max_cells_, first_position_);
  const std::int64_t whole = length_ / kPageCells;
  for (std::int64_t i = 0; i < whole; ++i) {
    const std::int32_t page = pages_[static_cast<std::size_t>(i)];
    pool_->share_page(page);
    copy->pages_.push_back(page);
    copy->length_ += kPageCells;
  }
  if (length_ % kPageCells != 0) {
    copy->grow(length_ % kPageCells);
    pool_->copy_page(pages_[static_cast<std::size_t>(whole)], copy->pages_.back());
  }
  return copy;
}

void SequenceState::grow(std::int64_t count) {
  if (count > max_cells_ - length_) {
    throw Error("the context of " + std::to_string(max_cells_) + " tokens is full",
                "start again, shorten the conversation, or use a larger --ctx");
  }
  own_last_page();
  const std::int64_t needed = (length_ + count + kPageCells - 1) / kPageCells;
  const std::size_t before = pages_.size();
  try {
    while (static_cast<std::int64_t>(pages_.size()) < needed) pages_.push_back(pool_->take_page());
  } catch (...) {
    while (pages_.size() > before) {
      pool_->give_back_page(pages_.back());
      pages_.pop_back();
    }
    throw;
  }
  length_ += count;
}

void SequenceState::own_last_page() {
  if (length_ % kPageCells == 0) return;
  const std::int32_t shared = pages_.back();
  if (pool_->references_[static_cast<std::size_t>(shared)] == 1) return;
  const std::int32_t own = pool_->take_page();
  pool_->copy_page(shared, own);
  pool_->give_back_page(shared);
  pages_.back() = own;
}

void SequenceState::truncate(std::int64_t length) noexcept {
  if (length >= length_) return;
  length_ = length;
  const auto needed = static_cast<std::size_t>((length + kPageCells - 1) / kPageCells);
  while (pages_.size() > needed) {
    pool_->give_back_page(pages_.back());
    pages_.pop_back();
  }
}

}  // namespace hearth::state
