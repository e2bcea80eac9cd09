#include "support/pattern_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "support/error.h"

namespace hearth {
namespace {

constexpr std::size_t kPage = PatternMemory::kPage;

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

[[noreturn]] void refuse(std::size_t bytes) {
  throw Error(
      "cannot get " + std::to_string(bytes >> 20) + " MiB of memory: " + std::strerror(errno),
      "close other programs, or choose a smaller model", ExitCode::kDoesNotFit);
}

}  // namespace

PatternPages::PatternPages(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  descriptor_ = memfd_create("hearth-pattern", MFD_CLOEXEC);
  if (descriptor_ < 0) refuse(bytes);
  void* mapped = MAP_FAILED;
  if (ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0) {
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  }
  if (mapped == MAP_FAILED) {
    close(descriptor_);
    refuse(bytes);
  }
  data_ = static_cast<std::byte*>(mapped);
}

PatternPages::PatternPages(PatternPages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

PatternPages::~PatternPages() {
  seal();
  if (descriptor_ >= 0) close(descriptor_);
}

void PatternPages::seal() noexcept {
  if (data_ != nullptr) munmap(data_, size_);
  data_ = nullptr;
}

PatternMemory::PatternMemory(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* const mapped = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) refuse(bytes);
  data_ = static_cast<std::byte*>(mapped);
}

PatternMemory::PatternMemory(PatternMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      repeated_(std::move(other.repeated_)) {}

PatternMemory::~PatternMemory() {
  if (data_ != nullptr) munmap(data_, whole_pages(size_));
}

void PatternMemory::repeat(const PatternPages& pattern, std::size_t offset, std::size_t size,
                           std::size_t phase) {
  const std::size_t end = whole_pages(offset + size);
  while (offset < end) {
    const std::size_t part = std::min(end - offset, pattern.size() - phase);
    if (mmap(data_ + offset, part, PROT_READ, MAP_SHARED | MAP_FIXED, pattern.descriptor_,
             static_cast<off_t>(phase)) == MAP_FAILED) {
      refuse(part);
    }
    repeated_.emplace_back(data_ + offset, part);
    offset += part;
    phase = 0;
  }
}

void PatternMemory::forget() const noexcept {
  for (const std::span<std::byte> part : repeated_)
    madvise(part.data(), part.size(), MADV_DONTNEED);
}

}  // namespace hearth
