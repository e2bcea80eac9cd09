#include "state/page_disk.h"

namespace hearth::state {

std::uint64_t PageDisk::file_bytes(std::span<const FramedMemory> memories) noexcept {
  std::uint64_t bytes = 0;
  for (const FramedMemory& memory : memories) {
    bytes += static_cast<std::uint64_t>(memory.pages) * memory.stripe;
  }
  return bytes;
}

PageDisk::PageDisk(const std::filesystem::path& folder, std::span<const FramedMemory> memories)
    : memories_(memories), file_(folder, file_bytes(memories)) {
  std::uint64_t offset = 0;
  for (const FramedMemory& memory : memories) {
    offsets_.push_back(offset);
    offset += static_cast<std::uint64_t>(memory.pages) * memory.stripe;
  }
}

void PageDisk::store(std::size_t group, std::int32_t page, std::int32_t frame) const {
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    const FramedMemory& memory = memories_[i];
    if (memory.group == group) file_.write(place(i, page), {memory.frame(frame), memory.stripe});
  }
}

void PageDisk::load(std::size_t group, std::int32_t page, std::int32_t frame) const {
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    const FramedMemory& memory = memories_[i];
    if (memory.group == group) file_.read(place(i, page), {memory.frame(frame), memory.stripe});
  }
}

void PageDisk::read(std::size_t index, std::int32_t first, std::span<std::byte> bytes) const {
  file_.read(place(index, first), bytes);
}

}  // namespace hearth::state
