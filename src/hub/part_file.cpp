#include "hub/part_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "hub/json.h"
#include "hub/sha256.h"
#include "support/error.h"
#include "support/file.h"
#include "support/file_error.h"
#include "support/whole_io.h"

namespace hearth::hub {
namespace {

constexpr const char* kPartFormat = "hearth-part-1";
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 50;
constexpr std::uint64_t kMaxChunks = std::uint64_t{1} << 22;
constexpr std::string_view kDigits = "0123456789abcdef";

std::uint64_t chunk_count(std::uint64_t size, std::uint64_t chunk_bytes) {
  return size / chunk_bytes + (size % chunk_bytes != 0 ? 1 : 0);
}

/// Four chunks per digit, the first in the lowest bit.
std::string encode_chunks(const std::vector<bool>& done) {
  std::string result;
  for (std::size_t i = 0; i < done.size(); i += 4) {
    unsigned digit = 0;
    for (std::size_t bit = 0; bit < 4 && i + bit < done.size(); ++bit)
      digit |= (done[i + bit] ? 1U : 0U) << bit;
    result += kDigits[digit];
  }
  return result;
}

bool decode_chunks(std::string_view text, std::vector<bool>& done) {
  if (text.size() != (done.size() + 3) / 4) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) return false;
    for (std::size_t bit = 0; bit < 4; ++bit) {
      const bool set = (digit >> bit & 1) != 0;
      if (4 * i + bit < done.size()) {
        done[4 * i + bit] = set;
      } else if (set) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

std::uint64_t PartNotes::done_bytes() const noexcept {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < done.size(); ++i) {
    if (done[i]) total += std::min(chunk_bytes, size - i * chunk_bytes);
  }
  return total;
}

PartNotes parse_part_notes(std::string_view text, std::string_view source) {
  const auto refuse = [&](const char* what) {
    return Error(fmt::format("{} cannot be used: {}", printable(source, 300), what));
  };
  const Json json = parse_object(text, source);
  if (string_or(json, "format") != kPartFormat) throw refuse("its format is not known");
  PartNotes notes;
  notes.name = string_or(json, "name");
  notes.reference = string_or(json, "reference");
  notes.sha256 = string_or(json, "sha256");
  notes.validator = string_or(json, "validator");
  notes.size = number_or(json, "size", 0);
  notes.chunk_bytes = number_or(json, "chunk_bytes", 0);
  if (!notes.sha256.empty() && !is_sha256(notes.sha256)) throw refuse("the sha256 is none");
  if (notes.size > kMaxSize || notes.chunk_bytes == 0 || notes.chunk_bytes > kMaxSize ||
      chunk_count(notes.size, notes.chunk_bytes) > kMaxChunks)
    throw refuse("its sizes are missing or impossible");
  notes.done.resize(chunk_count(notes.size, notes.chunk_bytes));
  if (!decode_chunks(string_or(json, "done"), notes.done)) throw refuse("its chunks are garbled");
  return notes;
}

std::string to_text(const PartNotes& notes) {
  return dump(Json{{"format", kPartFormat},
                   {"name", notes.name},
                   {"reference", notes.reference},
                   {"sha256", notes.sha256},
                   {"validator", notes.validator},
                   {"size", notes.size},
                   {"chunk_bytes", notes.chunk_bytes},
                   {"done", encode_chunks(notes.done)}});
}

PartFile::PartFile(const std::filesystem::path& folder, std::string_view key, PartNotes wanted)
    : path_(folder / (std::string(key) + ".part")),
      notes_path_(folder / (std::string(key) + ".part.json")) {
  open();
  try {
    resumed_ = wanted.size > 0 && load_notes(wanted);
    if (resumed_) return;
    notes_ = std::move(wanted);
    restart(notes_.size);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

PartFile::~PartFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartFile::open() {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("write");
}

bool PartFile::load_notes(const PartNotes& wanted) {
  std::error_code ignored;
  if (!std::filesystem::exists(notes_path_, ignored)) return false;
  try {
    PartNotes found =
        parse_part_notes(read_file(notes_path_, kMaxPartNotesBytes), notes_path_.string());
    const bool same = found.size == wanted.size && found.sha256 == wanted.sha256 &&
                      found.chunk_bytes == wanted.chunk_bytes &&
                      // A hash identifies the file, whatever the server calls it today.
                      (!wanted.sha256.empty() ||
                       (!wanted.validator.empty() && found.validator == wanted.validator));
    struct stat status = {};
    if (!same || ::fstat(descriptor_, &status) != 0) return false;
    // Chunks behind the end of the file cannot be there, whatever the notes say.
    const auto length = static_cast<std::uint64_t>(status.st_size);
    for (std::size_t i = 0; i < found.done.size(); ++i) {
      if (std::min(found.size, (i + 1) * found.chunk_bytes) > length) found.done[i] = false;
    }
    found.name = wanted.name;
    found.reference = wanted.reference;
    found.validator = wanted.validator;
    notes_ = std::move(found);
    return std::find(notes_.done.begin(), notes_.done.end(), true) != notes_.done.end();
  } catch (const Error&) {
    return false;  // malformed notes are worth nothing; the chunks are fetched again
  }
}

void PartFile::fail(const char* verb) const {
  throw_file_error(verb, path_,
                   "make room (hearth rm NAME) and pull again: what was fetched is kept");
}

void PartFile::reserve() const {
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) fail("examine");
  if (notes_.size == 0) return;
  const auto size = static_cast<off_t>(notes_.size);
  while (::fallocate(descriptor_, 0, 0, size) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return;
    fail("reserve room for");
  }
}

void PartFile::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  if (!write_whole_at(descriptor_, offset, bytes)) fail("write");
}

void PartFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  const std::optional<std::size_t> got = read_whole_at(descriptor_, offset, bytes);
  if (got && *got < bytes.size()) errno = EIO;
  if (got != bytes.size()) fail("read");
}

void PartFile::save() const {
  sync();
  write_file_atomically(notes_path_, to_text(notes_));
}

void PartFile::sync() const {
  while (::fdatasync(descriptor_) != 0) {
    if (errno != EINTR) fail("write");
  }
}

void PartFile::restart(std::uint64_t size) {
  resumed_ = false;
  ::unlink(notes_path_.c_str());
  notes_.size = size;
  notes_.done.assign(chunk_count(size, notes_.chunk_bytes), false);
  while (::ftruncate(descriptor_, 0) != 0) {
    if (errno != EINTR) fail("empty");
  }
}

void PartFile::discard() noexcept {
  ::unlink(notes_path_.c_str());
  ::unlink(path_.c_str());
}

}  // namespace hearth::hub
