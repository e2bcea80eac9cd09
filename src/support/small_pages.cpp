#include "support/small_pages.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "support/error.h"

namespace hearth {

SmallPages::SmallPages(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* const address =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    throw Error("cannot allocate " + std::to_string(bytes >> 20) + " MiB of memory",
                "close other programs", ExitCode::kDoesNotFit);
  }
  data_ = static_cast<std::byte*>(address);
#if defined(MADV_NOHUGEPAGE)
  // Refused where the system has no huge pages to give: then these are small anyway.
  madvise(address, bytes, MADV_NOHUGEPAGE);
#endif
}

SmallPages::SmallPages(SmallPages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SmallPages::~SmallPages() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace hearth
