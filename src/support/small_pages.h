// Memory in the smallest pages that the processor has: what programs get that ask for nothing
// better. To measure how much slower it is.
#pragma once

#include <cstddef>
#include <span>

namespace hearth {

/// Anonymous memory that the system does not join into huge pages. Zero-filled, taken from the
/// machine when touched. Move-only; returned to the system on destruction.
class SmallPages {
 public:
  /// Throws Error (ExitCode::kDoesNotFit) when the system refuses.
  explicit SmallPages(std::size_t bytes);
  SmallPages(SmallPages&& other) noexcept;
  SmallPages& operator=(SmallPages&&) = delete;
  SmallPages(const SmallPages&) = delete;
  SmallPages& operator=(const SmallPages&) = delete;
  ~SmallPages();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace hearth
