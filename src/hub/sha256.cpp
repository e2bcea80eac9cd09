#include "hub/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>

#include "support/error.h"
#include "support/file.h"

namespace hearth::hub {

struct Sha256::Impl {
  Impl() : context(EVP_MD_CTX_new()) {
    if (context == nullptr) throw std::bad_alloc();
    if (EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1) {
      EVP_MD_CTX_free(context);
      throw Error("libcrypto offers no SHA-256", "update OpenSSL");
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) != 1) {
    throw Error("libcrypto failed to compute a SHA-256");
  }
}

std::string Sha256::finish() {
  std::array<unsigned char, 32> digest{};
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(impl_->context, digest.data(), &size) != 1 || size != digest.size()) {
    throw Error("libcrypto failed to compute a SHA-256");
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string sha256_of(std::string_view text) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.finish();
}

std::string sha256_of_file(const std::filesystem::path& path,
                           const std::function<void()>& between) {
  constexpr std::size_t kPiece = std::size_t{1} << 24;
  const Mapping mapping(path);
  Sha256 hash;
  const std::span<const std::byte> bytes = mapping.bytes();
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    if (between) between();
    const std::size_t size = std::min(kPiece, bytes.size() - at);
    hash.update(bytes.subspan(at, size));
    mapping.release(at, size);
  }
  mapping.check();
  return hash.finish();
}

bool is_sha256(std::string_view text) noexcept {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f');
         });
}

}  // namespace hearth::hub
