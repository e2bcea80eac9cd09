// A file that is being downloaded: KEY.part, and KEY.part.json, which says which chunks of it are
// there. A chunk is noted only after its bytes were made durable, so the notes stay true whatever
// kills the program.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::hub {

/// The notes beside a part.
struct PartNotes {
  std::string name, reference;  ///< of the model, for `hearth list`
  std::string sha256;           ///< that was announced; may be empty
  std::string validator;        ///< the server's ETag or date; may be empty
  std::uint64_t size = 0;
  std::uint64_t chunk_bytes = 0;
  std::vector<bool> done;  ///< by chunk

  /// Bytes of the chunks that are there.
  [[nodiscard]] std::uint64_t done_bytes() const noexcept;
};

/// Throws Error naming `source`.
[[nodiscard]] PartNotes parse_part_notes(std::string_view text, std::string_view source);
[[nodiscard]] std::string to_text(const PartNotes& notes);

/// Most bytes that the notes may have.
inline constexpr std::size_t kMaxPartNotesBytes = std::size_t{1} << 22;

class PartFile {
 public:
  /// Opens `folder`/`key`.part for what `wanted` describes (its `done` is ignored). Goes on where
  /// notes of the same size, hash, validator and chunk size stop; otherwise begins anew. Throws
  /// Error.
  PartFile(const std::filesystem::path& folder, std::string_view key, PartNotes wanted);
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const PartNotes& notes() const noexcept { return notes_; }
  /// Whether bytes of an earlier run are used.
  [[nodiscard]] bool resumed() const noexcept { return resumed_; }

  /// Reserves the disk's space for the whole file where the file system can. Throws Error
  /// (ExitCode::kDoesNotFit) when it is full.
  void reserve() const;
  /// Throws Error; with ExitCode::kDoesNotFit when the disk is full.
  void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Bytes written before. Throws Error when they cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;
  void mark_done(std::size_t chunk) { notes_.done[chunk] = true; }
  /// Makes the chunks durable, then the notes about them. Throws Error.
  void save() const;
  /// Forgets everything that is there. `size` 0: not known yet.
  void restart(std::uint64_t size);
  /// Makes a finished file durable.
  void sync() const;
  /// Removes both files.
  void discard() noexcept;

 private:
  void open();
  [[nodiscard]] bool load_notes(const PartNotes& wanted);
  [[noreturn]] void fail(const char* verb) const;

  std::filesystem::path path_, notes_path_;
  PartNotes notes_;
  int descriptor_ = -1;
  bool resumed_ = false;
};

}  // namespace hearth::hub
