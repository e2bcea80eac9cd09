// Base files: what a model predicted for a text, kept so that other models (quantizations of it)
// can be compared with it. Written and read chunk by chunk.
//
// Format, version 1, little-endian; vocabularies have V tokens, chunks C tokens of which R =
// rows_scored(C) are predicted:
//
//   header  "HEARTHKL"; u32 version = 1, V, C, R, chunks, 0; u64 checksum of the 32 bytes before
//   chunk   u64 hash of its C tokens; R rows; u64 checksum of everything in the chunk before it
//   row     f32 top, step; f32 log-probability of the token that really follows; u32 best token;
//           u16 depth of every token (PackedRow), padded with zeros to a multiple of 8 bytes
//
// Checksums and hashes are those of Checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "measure/log_probabilities.h"
#include "support/file.h"

namespace hearth::measure {

/// A checksum against damage, not against attackers: h = mix((h ^ word) * k) over 64-bit words.
class Checksum {
 public:
  /// `bytes` are a multiple of 8, except in the last call; missing bytes count as zeros.
  void add(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0x243F6A8885A308D3;
};

struct BaseShape {
  std::int64_t vocabulary = 0, context = 0, chunks = 0;

  [[nodiscard]] std::size_t row_bytes() const noexcept;
  [[nodiscard]] std::size_t chunk_bytes() const noexcept;
  /// Of the whole file.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;
  bool operator==(const BaseShape&) const = default;
};

/// A row of a base file.
struct BaseRow {
  PackedRow packed;
  float log_probability = 0;  // of the token that follows in the text
  std::int32_t best = 0;      // token
};

/// Throws Error (exit code 3) when the disk of `path` has less room than the file takes. Disks that
/// do not say are not asked.
void require_room(const std::filesystem::path& path, const BaseShape& shape);

class BaseWriter {
 public:
  /// Throws Error as require_room(), and when the file cannot be made.
  BaseWriter(const std::filesystem::path& path, const BaseShape& shape);

  /// A place for the next rows of a chunk: row_bytes() each. They are stored by set_row().
  static void set_row(const BaseShape& shape, std::span<std::byte> place, const RowSummary& summary,
                      std::span<const float> logits, std::int32_t token) noexcept;

  /// The next rows in order, as set_row() made them; `tokens` are those of their chunk.
  void write(std::span<const std::byte> rows, std::span<const std::int32_t> tokens);
  /// After the last row: the file appears under its name.
  void commit();

 private:
  BaseShape shape_;
  AtomicFile file_;
  Checksum checksum_;
  std::int64_t rows_ = 0, chunks_ = 0;  // rows of the present chunk, and chunks that are complete
};

class BaseReader {
 public:
  /// Throws Error when the file is none, is truncated or damaged.
  explicit BaseReader(const std::filesystem::path& path);

  [[nodiscard]] const BaseShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return mapping_.path(); }
  /// Whether a chunk was made of these tokens.
  [[nodiscard]] bool has_tokens(std::int64_t chunk, std::span<const std::int32_t> tokens) const;
  /// Throws Error when the chunk is damaged.
  void check(std::int64_t chunk) const;
  /// Row `row` of a chunk that was checked; valid as long as this.
  [[nodiscard]] BaseRow row(std::int64_t chunk, std::int64_t row) const noexcept;

 private:
  [[nodiscard]] std::span<const std::byte> chunk_bytes(std::int64_t chunk) const noexcept;
  [[noreturn]] void fail(const std::string& what) const;

  Mapping mapping_;
  BaseShape shape_;
};

}  // namespace hearth::measure
