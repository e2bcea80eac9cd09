// One file of the disk store: a piece of a text's memory.
//
// A segment holds rows [begin, end) of one text: the cells of groups without windows, the state of
// row end - 1 (windows, recurrent state), and perhaps the logits after it. Rows before `begin` are
// in its parent. Layout, native byte order (the store is a cache of this machine):
//
//   offset  bytes
//        0      8  magic "HRTHKV\r\n"
//        8      4  schema version
//       12      4  0
//       16      8  bytes of the header
//       24      8  hash64 of the header, with this field and the next 24 bytes as zeros
//       32     24  uses: when last used (Unix seconds), how often, hash64 of both
//       56         the fields of SegmentHeader, then its tokens
//   header        blocks of the payload (cells, state, logits): 1 MiB each, the last one less, each
//                 followed by its hash64, seeded with the segment's id and the block's number
//
// So a changed byte anywhere, a missing end and blocks of another file are all noticed.
//
// With a key (store_key.h) a file is sealed: whoever has not the key sees how large it is and how
// large its header is, but nothing that tokens, owners or models leave a trace in.
//
//        0      8  magic
//        8      4  schema version of sealed files
//       12      4  0
//       16      8  bytes of the header
//       24     16  StoreKey::id()
//       40     32  salt: the file's own key is made from it
//       72     48  uses: 16 bytes of their nonce, when and how often sealed, tag
//      120         the fields of SegmentHeader and its tokens, sealed with bytes [0, 72); tag
//   header        blocks, each sealed by itself: the block's number is its nonce; tag
//
// The file's name is then a keyed hash of the id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "state/prefix_cache.h"
#include "state/sequence.h"
#include "state/store_key.h"
#include "support/error.h"
#include "support/private_file.h"

namespace hearth::state {

/// Of files without and with a key, and of the folder that they lie in.
inline constexpr std::uint32_t kSegmentVersion = 1, kSealedVersion = 2, kStoreVersion = 2;

struct Hash128 {
  std::uint64_t high = 0, low = 0;
  bool operator==(const Hash128&) const = default;
  auto operator<=>(const Hash128&) const = default;
  [[nodiscard]] bool zero() const noexcept { return (high | low) == 0; }
  /// 32 lower-case hexadecimal digits.
  [[nodiscard]] std::string hex() const;
};
[[nodiscard]] Hash128 hash128(std::span<const std::byte> bytes) noexcept;

struct HashOfHash {
  std::size_t operator()(const Hash128& hash) const noexcept {
    return static_cast<std::size_t>(hash.low);
  }
};

/// The hash of a beginning of a text, one token longer: a chain, so that the hashes of all
/// beginnings cost one pass.
[[nodiscard]] Hash128 next_in_chain(const Hash128& hash, std::int32_t token) noexcept;

/// Thrown when a file is not what was written; `what()` says so in one sentence.
class DamagedSegment : public Error {
 public:
  using Error::Error;
};

/// Thrown when a file cannot be read with the key at hand, or without one; `what()` says why.
class LockedSegment : public Error {
 public:
  using Error::Error;
};

struct SegmentHeader {
  /// The chain of all tokens up to `end`, begun with seed(): equal memories have equal names.
  Hash128 id;
  Hash128 parent;    ///< of the segment with the rows before `begin`; zero: there are none
  Hash128 identity;  ///< StoreIdentity::fingerprint
  std::string model;
  PrefixKey key;
  std::uint64_t format = 0;  ///< MemoryPool::fingerprint()
  std::int64_t begin = 0, end = 0;
  Hash128 before;            ///< the chain of the tokens before `begin`
  std::int64_t created = 0;  ///< Unix seconds
  std::uint64_t cells_bytes = 0, state_bytes = 0, logits = 0;  ///< the payload; logits: how many
  std::vector<std::int32_t> tokens;                            ///< of rows [begin, end)

  // How the file is written; SegmentWriter and read_header() fill these in.
  bool sealed = false;
  FileSalt salt{};
  Hash128 name{};  ///< what the file is called: the id, or a keyed hash of it

  /// What the chain of a text begins with.
  [[nodiscard]] Hash128 seed() const noexcept;
  [[nodiscard]] std::uint64_t payload_bytes() const noexcept;
  /// Of the whole file.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;
  /// "NAME.kv".
  [[nodiscard]] std::string file_name() const;
};

struct SegmentUses {
  std::int64_t last = 0;  ///< Unix seconds
  std::uint64_t count = 0;
  bool operator==(const SegmentUses&) const = default;
};

/// Reads and checks a header. Throws DamagedSegment; SegmentVersion for other schema versions;
/// LockedSegment for files that are sealed with another key than `key` or, when there is one (null:
/// none), are not sealed; Error when the file cannot be read.
[[nodiscard]] SegmentHeader read_header(const ReadFile& file, SegmentUses* uses = nullptr,
                                        const StoreKey* key = nullptr);

/// A file of another schema version.
class SegmentVersion : public Error {
 public:
  explicit SegmentVersion(std::uint32_t found);
  [[nodiscard]] std::uint32_t found() const noexcept { return found_; }

 private:
  std::uint32_t found_;
};

/// Puts new numbers into a file, in place: all or nothing even when power fails, as they lie within
/// one sector. A sealed file that is not the one of `header` any more stays as it is: its numbers
/// are sealed otherwise.
void write_uses(const std::filesystem::path& path, const SegmentHeader& header,
                const SegmentUses& uses, const StoreKey* key = nullptr) noexcept;

/// Writes one segment. Blocks are given in order; `finish` completes `header` and makes the file
/// durable under its temporary name; publish() names it. All throw Error when the disk refuses.
class SegmentWriter {
 public:
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

  /// With a key, which must outlive it, the file is sealed.
  SegmentWriter(const std::filesystem::path& folder, SegmentHeader header,
                const StoreKey* key = nullptr);
  /// The next block of the payload: kBlockBytes, the last one perhaps less.
  void block(std::span<const std::byte> bytes);
  void finish(std::uint64_t cells_bytes, std::uint64_t state_bytes, std::uint64_t logits);
  void publish();
  [[nodiscard]] const SegmentHeader& header() const noexcept { return header_; }

 private:
  UnpublishedFile file_;
  SegmentHeader header_;
  const StoreKey* key_;
  std::optional<FileSeal> seal_;
  std::vector<std::byte> sealed_;
  std::uint64_t blocks_ = 0;
};

/// Reads a segment's payload, checking every block that it touches.
class SegmentReader final : public ByteSource {
 public:
  /// Throws as read_header, and when the file's size is not what the header says.
  explicit SegmentReader(const std::filesystem::path& path, const StoreKey* key = nullptr);

  [[nodiscard]] const SegmentHeader& header() const noexcept { return header_; }
  [[nodiscard]] const SegmentUses& uses() const noexcept { return uses_; }

  /// Goes on at a byte of the payload.
  void seek(std::uint64_t offset);
  [[nodiscard]] std::span<const std::byte> take(std::size_t count) override;
  void skip(std::size_t count) override;
  /// Reads every block.
  void check_all();

 private:
  void read_block(std::uint64_t index);

  ReadFile file_;
  SegmentUses uses_;
  SegmentHeader header_;
  std::optional<FileSeal> seal_;
  std::uint64_t header_bytes_ = 0;
  std::uint64_t at_ = 0;
  std::uint64_t block_ = UINT64_MAX;  // the one in `buffer_`
  std::uint64_t announced_ = 0;
  std::vector<std::byte> buffer_, straddling_;
};

}  // namespace hearth::state
