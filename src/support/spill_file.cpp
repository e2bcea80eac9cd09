#include "support/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "support/error.h"
#include "support/file_error.h"
#include "support/private_file.h"
#include "support/whole_io.h"

namespace hearth {
namespace fs = std::filesystem;
namespace {

/// What is left to others, as the store of conversations does.
constexpr std::uint64_t kLeftFree = 256'000'000;

constexpr const char* kHint =
    "make room on that disk, name another folder, or use a smaller --ctx or --kv tq4";

[[noreturn]] void fail_spill(const char* verb, const fs::path& folder) {
  throw_file_error(std::string(verb) + " the file of keys and values in", folder, kHint);
}

}  // namespace

SpillFile::SpillFile(const fs::path& folder, std::uint64_t size) : folder_(folder), size_(size) {
  make_private_folder(folder);
  const std::optional<std::uint64_t> left = free_bytes(folder);
  if (left && *left < size + kLeftFree) {
    throw Error("keys and values would take " + std::to_string(size / 1'000'000) + " MB in '" +
                    printable(folder.string(), 300) + "', and " +
                    std::to_string(*left / 1'000'000) + " MB are left there",
                kHint, ExitCode::kDoesNotFit);
  }
  // The prefix of files that are removed when whoever made them is gone, should the process die
  // between these two calls.
  std::string name = (folder / ".tmp-XXXXXX").string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail_spill("make", folder);
  ::unlink(name.c_str());
  try {
    reserve();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
  direct_ = ::fcntl(descriptor_, F_SETFL, O_DIRECT) == 0 && works_directly();
  if (!direct_) (void)::fcntl(descriptor_, F_SETFL, 0);
}

SpillFile::~SpillFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void SpillFile::reserve() {
  if (size_ == 0) return;
  int result = 0;
  do {
    result = ::fallocate(descriptor_, 0, 0, static_cast<off_t>(size_));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  // File systems that cannot reserve: there was room a moment ago, and writing says when not.
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail_spill("reserve", folder_);
  if (::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0) fail_spill("reserve", folder_);
}

/// File systems accept the flag and refuse the first read, when their blocks are larger.
bool SpillFile::works_directly() const noexcept {
  if (size_ < 2 * kAlignment) return false;
  alignas(kAlignment) std::array<std::byte, kAlignment> block{};
  const auto count = static_cast<ssize_t>(kAlignment);
  return ::pwrite(descriptor_, block.data(), kAlignment, kAlignment) == count &&
         ::pread(descriptor_, block.data(), kAlignment, kAlignment) == count;
}

void SpillFile::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  if (!write_whole_at(descriptor_, offset, bytes)) fail_spill("write", folder_);
}

void SpillFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  const std::optional<std::size_t> got = read_whole_at(descriptor_, offset, bytes);
  if (!got) fail_spill("read", folder_);
  if (*got < bytes.size()) {
    throw Error("the file of keys and values in '" + printable(folder_.string(), 300) +
                    "' is shorter than it was made",
                "start again: something is wrong with that disk");
  }
  // Read again only after everything else was: keeping it would push out what is of more use.
  if (!direct_) {
    (void)::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes.size()),
                          POSIX_FADV_DONTNEED);
  }
}

}  // namespace hearth
