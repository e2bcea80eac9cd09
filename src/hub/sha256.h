// SHA-256 (FIPS 180-4): what blobs are named by and downloads are checked with.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hearth::hub {

/// A hash being computed. Move-only.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void update(std::span<const std::byte> bytes);
  /// The hash of everything so far, as 64 lower-case hexadecimal digits. Nothing may follow.
  [[nodiscard]] std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

[[nodiscard]] std::string sha256_of(std::string_view text);
/// Throws Error when the file cannot be read. `between` is called every few megabytes: it may throw
/// to end the work.
[[nodiscard]] std::string sha256_of_file(const std::filesystem::path& path,
                                         const std::function<void()>& between = {});

/// 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_sha256(std::string_view text) noexcept;

}  // namespace hearth::hub
