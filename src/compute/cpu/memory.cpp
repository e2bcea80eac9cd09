#include "compute/cpu/memory.h"

#include <algorithm>
#include <string>

#include "machine/memory.h"
#include "support/error.h"

namespace hearth::compute::cpu {
namespace {

// Smaller requests are not worth a look at the system's books.
constexpr std::size_t kCheckedBytes = std::size_t{16} << 20;

void check_available(std::size_t bytes) {
  if (bytes < kCheckedBytes) return;
  const std::size_t available = machine::memory_facts().available;
  if (available == 0 || bytes <= available) return;
  throw Error("not enough memory: " + std::to_string(bytes >> 20) + " MiB are needed and " +
                  std::to_string(available >> 20) + " MiB are available",
              "close other programs, or choose a smaller model or context", ExitCode::kDoesNotFit);
}

}  // namespace

AccountedPages::AccountedPages(std::shared_ptr<Ledger> ledger, MemoryCategory category,
                               std::size_t bytes)
    : ledger_(std::move(ledger)), category_(category) {
  check_available(bytes);
  pages_ = HugePages(bytes);
  ledger_->add(category, bytes);
}

AccountedPages::~AccountedPages() {
  if (ledger_) ledger_->remove(category_, pages_.size());
}

WeightMemory::WeightMemory(std::shared_ptr<HugePages> slab, std::byte* data,
                           std::shared_ptr<Ledger> ledger, std::size_t bytes)
    : slab_(std::move(slab)), data_(data), ledger_(std::move(ledger)), bytes_(bytes) {
  ledger_->add(MemoryCategory::kWeights, bytes_);
}

WeightMemory::~WeightMemory() {
  if (ledger_) ledger_->remove(MemoryCategory::kWeights, bytes_);
}

WeightMemory WeightSlabs::allocate(std::size_t bytes) {
  constexpr std::size_t kSlabBytes = std::size_t{64} << 20;
  bytes = (bytes + 63) / 64 * 64;
  const std::lock_guard lock(mutex_);
  if (!slab_ || bytes > slab_->size() - used_) {
    check_available(bytes);
    // What is left of the old slab was never touched, so it costs addresses, not memory.
    slab_ = std::make_shared<HugePages>(std::max(kSlabBytes, bytes));
    used_ = 0;
  }
  std::byte* const data = slab_->data() + used_;
  used_ += bytes;
  return WeightMemory(slab_, data, ledger_, bytes);
}

}  // namespace hearth::compute::cpu
