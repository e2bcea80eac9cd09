// Memory of the CPU backend: every byte is accounted under a category and comes from huge pages.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "compute/backend.h"
#include "support/huge_pages.h"

namespace hearth::compute::cpu {

/// How many bytes are in use, by category. Shared by a backend and all that it handed out, which
/// may outlive it.
class Ledger {
 public:
  void add(MemoryCategory category, std::size_t bytes) noexcept {
    of(category).fetch_add(bytes, std::memory_order_relaxed);
  }
  void remove(MemoryCategory category, std::size_t bytes) noexcept {
    of(category).fetch_sub(bytes, std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t bytes(MemoryCategory category) const noexcept {
    return bytes_[static_cast<std::size_t>(category)].load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::size_t>& of(MemoryCategory category) noexcept {
    return bytes_[static_cast<std::size_t>(category)];
  }
  std::array<std::atomic<std::size_t>, kMemoryCategories> bytes_{};
};

/// Huge pages entered in a ledger. Throws Error (kDoesNotFit) when the machine does not have the
/// memory, which is looked up first: the system itself promises memory that it cannot give.
class AccountedPages {
 public:
  AccountedPages() = default;
  AccountedPages(std::shared_ptr<Ledger> ledger, MemoryCategory category, std::size_t bytes);
  AccountedPages(AccountedPages&& other) noexcept { swap(other); }
  AccountedPages& operator=(AccountedPages&& other) noexcept {
    swap(other);
    return *this;
  }
  AccountedPages(const AccountedPages&) = delete;
  AccountedPages& operator=(const AccountedPages&) = delete;
  ~AccountedPages();

  [[nodiscard]] std::byte* data() const noexcept { return pages_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return pages_.size(); }

 private:
  void swap(AccountedPages& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(category_, other.category_);
    std::swap(pages_, other.pages_);
  }

  std::shared_ptr<Ledger> ledger_;
  MemoryCategory category_ = MemoryCategory::kOther;
  HugePages pages_;
};

class CpuBuffer final : public Buffer {
 public:
  CpuBuffer(std::shared_ptr<Ledger> ledger, MemoryCategory category, std::size_t bytes)
      : Buffer(bytes), pages_(std::move(ledger), category, bytes) {}
  [[nodiscard]] std::byte* data() const noexcept { return pages_.data(); }
  [[nodiscard]] std::byte* host() noexcept override { return data(); }

 private:
  AccountedPages pages_;
};

/// A piece of a slab: weights lie one after the other, so that many small ones do not take a huge
/// page each. The slab is given back when its last piece is gone.
class WeightMemory {
 public:
  WeightMemory() = default;
  WeightMemory(std::shared_ptr<HugePages> slab, std::byte* data, std::shared_ptr<Ledger> ledger,
               std::size_t bytes);
  WeightMemory(WeightMemory&&) = default;
  WeightMemory& operator=(WeightMemory&&) = default;
  WeightMemory(const WeightMemory&) = delete;
  WeightMemory& operator=(const WeightMemory&) = delete;
  ~WeightMemory();
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  std::shared_ptr<HugePages> slab_;
  std::byte* data_ = nullptr;
  std::shared_ptr<Ledger> ledger_;
  std::size_t bytes_ = 0;
};

/// Hands out pieces of slabs, aligned to 64 bytes and accounted as weights. Thread-safe.
class WeightSlabs {
 public:
  explicit WeightSlabs(std::shared_ptr<Ledger> ledger) : ledger_(std::move(ledger)) {}
  [[nodiscard]] WeightMemory allocate(std::size_t bytes);

 private:
  std::shared_ptr<Ledger> ledger_;
  std::mutex mutex_;
  std::shared_ptr<HugePages> slab_;
  std::size_t used_ = 0;
};

}  // namespace hearth::compute::cpu
