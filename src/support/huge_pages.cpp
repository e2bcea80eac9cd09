#include "support/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "support/error.h"

namespace hearth {

namespace {

constexpr std::size_t kSmallPage = 4096;

}  // namespace

HugePages::HugePages(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const auto refuse = [bytes] {
    throw Error("cannot allocate " + std::to_string(bytes >> 20) + " MiB of memory",
                "close other programs, or choose a smaller model or context",
                ExitCode::kDoesNotFit);
  };
  if (bytes > SIZE_MAX - 2 * kAlignment) refuse();
  if (bytes < kAlignment / 2) {
    // A huge page would be mostly unused, and is cleared as a whole when it is first touched.
    mapped_ = (bytes + kSmallPage - 1) / kSmallPage * kSmallPage;
    void* const small =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (small == MAP_FAILED) refuse();
    data_ = static_cast<std::byte*>(small);
    return;
  }
  mapped_ = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  // One alignment more than needed, so that an aligned start exists; the ends are given back.
  const std::size_t reserved = mapped_ + kAlignment;
  void* const address =
      mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) refuse();
  auto* const raw = static_cast<std::byte*>(address);
  const std::size_t skip =
      (kAlignment - reinterpret_cast<std::uintptr_t>(raw) % kAlignment) % kAlignment;
  data_ = raw + skip;
  if (skip > 0) munmap(raw, skip);
  if (skip < kAlignment) munmap(data_ + mapped_, kAlignment - skip);
#ifdef MADV_HUGEPAGE
  huge_ = madvise(data_, mapped_, MADV_HUGEPAGE) == 0;
#endif
}

HugePages::HugePages(HugePages&& other) noexcept { *this = std::move(other); }

HugePages& HugePages::operator=(HugePages&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapped_ = std::exchange(other.mapped_, 0);
    huge_ = std::exchange(other.huge_, false);
  }
  return *this;
}

HugePages::~HugePages() { release(); }

void HugePages::release() noexcept {
  if (data_ != nullptr) munmap(data_, mapped_);
  data_ = nullptr;
}

void populate(std::span<std::byte> bytes) {
  if (bytes.empty()) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data()) / kSmallPage * kSmallPage;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size();
#ifdef MADV_POPULATE_WRITE
  if (madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE) == 0) return;
  if (errno != EINVAL) {
    throw Error("the system does not give " + std::to_string(bytes.size() >> 20) +
                    " MiB of memory: " + std::strerror(errno),
                "close other programs, or choose a smaller model or context",
                ExitCode::kDoesNotFit);
  }
#endif
  // Kernels before Linux 5.14.
  for (std::uintptr_t at = begin; at < end; at += kSmallPage) {
    auto* const byte = reinterpret_cast<volatile std::byte*>(
        std::max(at, reinterpret_cast<std::uintptr_t>(bytes.data())));
    *byte = *byte;
  }
}

}  // namespace hearth
