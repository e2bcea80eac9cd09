#include "state/store_key.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "support/error.h"
#include "support/private_file.h"

namespace hearth::state {
namespace {

static_assert(FileSeal::kTagBytes == crypto_aead_xchacha20poly1305_ietf_ABYTES);
static_assert(sizeof(FileSalt) == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

using Nonce = std::array<unsigned char, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES>;

unsigned char* raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

/// BLAKE2b of `purpose` and `bytes` under `key`.
void keyed_hash(std::span<const std::byte> key, std::string_view purpose,
                std::span<const std::byte> bytes, std::span<std::byte> out) noexcept {
  crypto_generichash_state state;
  crypto_generichash_init(&state, raw(key.data()), key.size(), out.size());
  const auto length = static_cast<unsigned char>(purpose.size());  // no purpose begins another
  crypto_generichash_update(&state, &length, 1);
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(purpose.data()),
                            purpose.size());
  crypto_generichash_update(&state, raw(bytes.data()), bytes.size());
  crypto_generichash_final(&state, raw(out.data()), out.size());
  sodium_memzero(&state, sizeof state);
}

Nonce nonce_of(SealedPart part, const NonceTail& tail) noexcept {
  Nonce nonce{};
  nonce[0] = static_cast<unsigned char>(part);
  std::memcpy(nonce.data() + nonce.size() - tail.size(), tail.data(), tail.size());
  return nonce;
}

void start_library() {
  if (sodium_init() >= 0) return;
  throw Error("the system gives no random numbers", "see /dev/urandom");
}

[[noreturn]] void throw_no_key(const std::filesystem::path& path) {
  throw Error("'" + printable(path.string(), 300) + "' is no key file",
              "`hearth sessions key FILE` makes one: 32 bytes, or 64 hexadecimal digits",
              ExitCode::kUsage);
}

}  // namespace

FileSeal::FileSeal(std::span<const std::byte, 32> store_key, const FileSalt& salt) {
  keyed_hash(store_key, "hearth kv file", salt, key_);
}

FileSeal::~FileSeal() { sodium_memzero(key_.data(), key_.size()); }

NonceTail FileSeal::numbered(std::uint64_t index) noexcept {
  NonceTail tail{};
  std::memcpy(tail.data(), &index, sizeof index);
  return tail;
}

NonceTail FileSeal::random() noexcept {
  NonceTail tail{};
  randombytes_buf(tail.data(), tail.size());
  return tail;
}

void FileSeal::seal(SealedPart part, const NonceTail& tail, std::span<const std::byte> with,
                    std::span<const std::byte> plain, std::span<std::byte> sealed) const noexcept {
  const Nonce nonce = nonce_of(part, tail);
  crypto_aead_xchacha20poly1305_ietf_encrypt(raw(sealed.data()), nullptr, raw(plain.data()),
                                             plain.size(), raw(with.data()), with.size(), nullptr,
                                             nonce.data(), raw(key_.data()));
}

bool FileSeal::open(SealedPart part, const NonceTail& tail, std::span<const std::byte> with,
                    std::span<const std::byte> sealed, std::span<std::byte> plain) const noexcept {
  const Nonce nonce = nonce_of(part, tail);
  return crypto_aead_xchacha20poly1305_ietf_decrypt(
             raw(plain.data()), nullptr, nullptr, raw(sealed.data()), sealed.size(),
             raw(with.data()), with.size(), nonce.data(), raw(key_.data())) == 0;
}

StoreKey::StoreKey(std::span<const std::byte, kBytes> bytes) {
  start_library();
  std::copy(bytes.begin(), bytes.end(), key_.begin());
  keyed_hash(key_, "hearth kv id", {}, id_);
}

StoreKey::~StoreKey() { sodium_memzero(key_.data(), key_.size()); }

std::shared_ptr<const StoreKey> StoreKey::read(const std::filesystem::path& path) {
  start_library();
  std::vector<std::byte> bytes = read_secret_file(path, 2 * kBytes + 2);
  std::array<std::byte, kBytes> key{};
  std::size_t size = bytes.size();
  if (size == kBytes) {
    std::copy(bytes.begin(), bytes.end(), key.begin());
  } else {
    while (size > 0 && (bytes[size - 1] == std::byte{'\n'} || bytes[size - 1] == std::byte{'\r'}))
      --size;
    std::size_t written = 0;
    const char* end = nullptr;
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    if (size != 2 * kBytes ||
        sodium_hex2bin(raw(key.data()), key.size(), text, size, nullptr, &written, &end) != 0 ||
        written != kBytes || end != text + size) {
      sodium_memzero(bytes.data(), bytes.size());
      throw_no_key(path);
    }
  }
  auto result = std::make_shared<const StoreKey>(key);
  sodium_memzero(bytes.data(), bytes.size());
  sodium_memzero(key.data(), key.size());
  return result;
}

void StoreKey::make(const std::filesystem::path& path) {
  start_library();
  std::array<unsigned char, kBytes> key{};
  randombytes_buf(key.data(), key.size());
  std::array<char, 2 * kBytes + 1> text{};
  sodium_bin2hex(text.data(), text.size(), key.data(), key.size());
  text.back() = '\n';
  write_secret_file(path, std::as_bytes(std::span(text)));
  sodium_memzero(key.data(), key.size());
  sodium_memzero(text.data(), text.size());
}

KeyHash StoreKey::name_of(std::span<const std::byte> bytes) const noexcept {
  KeyHash name{};
  keyed_hash(key_, "hearth kv name", bytes, name);
  return name;
}

FileSalt StoreKey::random_salt() noexcept {
  FileSalt salt{};
  randombytes_buf(salt.data(), salt.size());
  return salt;
}

}  // namespace hearth::state
