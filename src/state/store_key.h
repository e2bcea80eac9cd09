// The key that the files of a store of conversations are sealed with. The primitives are
// libsodium's: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) and keyed BLAKE2b (RFC 7693).
//
// From the key of the store come, each under a name of its own: what tells whose a file is, the
// names of files, and a key for every file (from a random salt), under which no nonce is used
// twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace hearth::state {

using KeyHash = std::array<std::byte, 16>;
using FileSalt = std::array<std::byte, 32>;
using NonceTail = std::array<std::byte, 16>;

/// What a part of a file is; parts cannot take each other's place.
enum class SealedPart : std::uint8_t { kHeader = 1, kBlock = 2, kUses = 3 };

/// Seals and opens the parts of one file.
class FileSeal {
 public:
  /// Bytes that sealing adds.
  static constexpr std::size_t kTagBytes = 16;

  FileSeal(std::span<const std::byte, 32> store_key, const FileSalt& salt);
  FileSeal(const FileSeal&) = default;
  FileSeal& operator=(const FileSeal&) = default;
  ~FileSeal();

  /// The nonce's tail of the index-th thing of its kind.
  [[nodiscard]] static NonceTail numbered(std::uint64_t index) noexcept;
  /// One for something that is sealed again and again.
  [[nodiscard]] static NonceTail random() noexcept;

  /// `plain` into `sealed`, which is kTagBytes larger and may begin at the same place. `with` is
  /// not sealed itself, but must be the same for open().
  void seal(SealedPart part, const NonceTail& tail, std::span<const std::byte> with,
            std::span<const std::byte> plain, std::span<std::byte> sealed) const noexcept;
  /// The reverse; false, and nothing of use in `plain`, when a bit is not what it was.
  [[nodiscard]] bool open(SealedPart part, const NonceTail& tail, std::span<const std::byte> with,
                          std::span<const std::byte> sealed,
                          std::span<std::byte> plain) const noexcept;

 private:
  std::array<std::byte, 32> key_{};
};

class StoreKey {
 public:
  static constexpr std::size_t kBytes = 32;

  /// Throws Error when the computer has no random numbers.
  explicit StoreKey(std::span<const std::byte, kBytes> bytes);
  StoreKey(const StoreKey&) = delete;
  StoreKey& operator=(const StoreKey&) = delete;
  ~StoreKey();

  /// Reads a key file: 32 bytes, or 64 hexadecimal digits and perhaps an end of line. Throws Error
  /// when it is none, or when anyone but its owner, who must be the user, could read it.
  [[nodiscard]] static std::shared_ptr<const StoreKey> read(const std::filesystem::path& path);
  /// Writes a new random key as hexadecimal digits into a new file (0600). Throws Error when there
  /// is a file already.
  static void make(const std::filesystem::path& path);

  /// Tells keys apart, and nothing about them.
  [[nodiscard]] const KeyHash& id() const noexcept { return id_; }
  /// What `bytes` are called where everyone can see it: without the key nobody can tell whether it
  /// is the name of something that they know.
  [[nodiscard]] KeyHash name_of(std::span<const std::byte> bytes) const noexcept;
  [[nodiscard]] FileSeal file(const FileSalt& salt) const { return {key_, salt}; }
  [[nodiscard]] static FileSalt random_salt() noexcept;

 private:
  std::array<std::byte, kBytes> key_{};
  KeyHash id_{};
};

}  // namespace hearth::state
