#include "support/private_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "support/error.h"
#include "support/file_error.h"
#include "support/hash64.h"
#include "support/whole_io.h"

namespace hearth {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTemporary = ".tmp-";

}  // namespace

void make_private_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    throw_file_error("make the folder", folder);
  struct stat status = {};
  if (::stat(folder.c_str(), &status) != 0) throw_file_error("examine", folder);
  if (!S_ISDIR(status.st_mode))
    throw Error("'" + printable(folder.string(), 300) + "' is not a folder", "name another one");
  if (status.st_uid != ::geteuid()) {
    throw Error("the folder '" + printable(folder.string(), 300) + "' belongs to another user",
                "name one of your own");
  }
}

void close_to_others(const fs::path& folder) {
  struct stat status = {};
  if (::stat(folder.c_str(), &status) != 0) throw_file_error("examine", folder);
  if ((status.st_mode & 077) != 0 && ::chmod(folder.c_str(), 0700) != 0)
    throw_file_error("close", folder);
}

UnpublishedFile::UnpublishedFile(const fs::path& folder)
    : folder_(folder), temporary_((folder / (std::string(kTemporary) + "XXXXXX")).string()) {
  descriptor_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (descriptor_ < 0) {
    temporary_.clear();
    throw_file_error("write in", folder_);
  }
  // Nobody else can have it but someone who removes abandoned files just now: then writing goes
  // on without a name, and publish() fails.
  (void)::flock(descriptor_, LOCK_EX | LOCK_NB);
}

UnpublishedFile::~UnpublishedFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  if (descriptor_ >= 0) ::close(descriptor_);
}

void UnpublishedFile::write(std::span<const std::byte> bytes) {
  if (!write_whole(descriptor_, bytes)) throw_file_error("write in", folder_);
}

void UnpublishedFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!write_whole_at(descriptor_, offset, bytes)) throw_file_error("write in", folder_);
}

void UnpublishedFile::sync() {
  if (::fsync(descriptor_) != 0) throw_file_error("write in", folder_);
}

void UnpublishedFile::publish(const std::string& name) {
  if (::rename(temporary_.c_str(), (folder_ / name).c_str()) != 0)
    throw_file_error("write in", folder_);
  temporary_.clear();
  sync_folder(folder_);
}

void UnpublishedFile::remove_abandoned(const fs::path& folder) noexcept {
  std::error_code error;
  for (fs::directory_iterator each(folder, error), end; !error && each != end;
       each.increment(error)) {
    const fs::path path = each->path();
    if (!path.filename().native().starts_with(kTemporary)) continue;
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
    ::close(descriptor);
  }
}

ReadFile::ReadFile(const fs::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor_ < 0) throw_file_error("open", path);
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(std::exchange(descriptor_, -1));
    throw Error("'" + printable(path.string(), 300) + "' is not a regular file");
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

ReadFile::ReadFile(ReadFile&& other) noexcept
    : path_(std::move(other.path_)),
      size_(other.size_),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

ReadFile::~ReadFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ReadFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  const std::optional<std::size_t> got = read_whole_at(descriptor_, offset, bytes);
  if (!got) throw_file_error("read", path_);
  if (*got < bytes.size()) throw Error("'" + printable(path_.string(), 300) + "' ends early");
}

void ReadFile::require_secret() const {
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) throw_file_error("examine", path_);
  if (status.st_uid != ::geteuid()) {
    throw Error("the file '" + printable(path_.string(), 300) + "' belongs to another user",
                "use one of your own", ExitCode::kUsage);
  }
  if ((status.st_mode & 077) != 0) {
    throw Error("others may read or write the file '" + printable(path_.string(), 300) + "'",
                "close it to them with chmod 600", ExitCode::kUsage);
  }
}

void ReadFile::will_read(std::uint64_t offset, std::uint64_t size) const noexcept {
  (void)::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(size),
                        POSIX_FADV_WILLNEED);
}

std::vector<std::byte> read_secret_file(const fs::path& path, std::size_t most) {
  const ReadFile file(path);
  file.require_secret();
  if (file.size() > most) {
    throw Error("the file '" + printable(path.string(), 300) + "' is too large",
                "name the right one", ExitCode::kUsage);
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.read(0, bytes);
  return bytes;
}

void write_secret_file(const fs::path& path, std::span<const std::byte> bytes) {
  const int descriptor =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) throw_file_error("make", path);
  const bool whole = write_whole(descriptor, bytes) && ::fsync(descriptor) == 0;
  const int reason = errno;
  ::close(descriptor);
  if (!whole) {
    ::unlink(path.c_str());
    errno = reason;
    throw_file_error("write", path);
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

bool overwrite(const fs::path& path, std::uint64_t offset, std::span<const std::byte> bytes,
               std::uint64_t known_at, std::span<const std::byte> known) noexcept {
  std::array<std::byte, 64> found{};
  if (known.size() > found.size()) return false;
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return false;
  const auto there = std::span(found).first(known.size());
  const bool whole = read_whole_at(descriptor, known_at, there) == known.size() &&
                     std::equal(known.begin(), known.end(), there.begin()) &&
                     write_whole_at(descriptor, offset, bytes);
  ::close(descriptor);
  return whole;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_file_error("open", folder);
  const int result = ::fsync(descriptor);
  ::close(descriptor);
  if (result != 0) throw_file_error("write in", folder);
}

std::optional<std::uint64_t> free_bytes(const fs::path& folder) noexcept {
  struct statvfs status = {};
  if (::statvfs(folder.c_str(), &status) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

std::uint64_t folder_stamp(const fs::path& folder) noexcept {
  struct stat status = {};
  if (::stat(folder.c_str(), &status) != 0) return 0;
  const std::int64_t parts[] = {status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                                status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
                                static_cast<std::int64_t>(status.st_ino)};
  return hash64(std::as_bytes(std::span(parts))) | 1;
}

FileStamp file_stamp(const fs::path& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) throw_file_error("examine", path);
  return {status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
          static_cast<std::uint64_t>(status.st_size)};
}

}  // namespace hearth
