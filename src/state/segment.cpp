#include "state/segment.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "support/hash64.h"

namespace hearth::state {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMagic = "HRTHKV\r\n";
constexpr std::size_t kChecksumAt = 24, kUsesAt = 32, kFieldsAt = 56;
constexpr std::size_t kKeyIdAt = 24, kSaltAt = 40, kSealedUsesAt = 72, kSealedUsesBytes = 48,
                      kSealedFieldsAt = kSealedUsesAt + kSealedUsesBytes;
constexpr std::uint64_t kMostHeader = std::uint64_t{64} << 20;
constexpr std::size_t kMostText = 4096;
/// Said to the kernel ahead of reading.
constexpr std::uint64_t kReadAhead = std::uint64_t{16} << 20;

[[noreturn]] void throw_damaged_segment() {
  throw DamagedSegment("a file of stored conversations is damaged",
                       "it is left out; the text will be evaluated again");
}

/// Numbers and texts behind each other.
class Packer {
 public:
  void number(std::uint64_t value) { raw(&value, sizeof value); }
  void hash(const Hash128& value) {
    number(value.high);
    number(value.low);
  }
  void text(std::string_view value) {
    value = value.substr(0, kMostText);
    number(value.size());
    raw(value.data(), value.size());
  }
  void raw(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), bytes, bytes + size);
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    raw(&value, sizeof value);
    return value;
  }
  std::int64_t count(std::int64_t most) {
    const std::uint64_t value = number();
    if (value > static_cast<std::uint64_t>(most)) throw_damaged_segment();
    return static_cast<std::int64_t>(value);
  }
  Hash128 hash() {
    const std::uint64_t high = number();
    return {high, number()};
  }
  std::string text() {
    std::string value(static_cast<std::size_t>(count(kMostText)), '\0');
    raw(value.data(), value.size());
    return value;
  }
  void raw(void* data, std::size_t size) {
    if (size > bytes_.size()) throw_damaged_segment();
    if (size > 0) std::memcpy(data, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  [[nodiscard]] bool at_end() const { return bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
};

/// Of the fields and the tokens.
std::size_t fields_size(const SegmentHeader& header) {
  const std::size_t texts =
      std::min(header.model.size(), kMostText) + std::min(header.key.owner.size(), kMostText);
  return 8 * (4 * 2 + 2 + 2 + 1 + 2 + 1 + 3 + 1) + texts + 4 * header.tokens.size();
}

std::size_t header_size(const SegmentHeader& header) {
  return fields_size(header) + (header.sealed ? kSealedFieldsAt + FileSeal::kTagBytes : kFieldsAt);
}

/// Behind every block: its checksum, or its tag.
std::size_t block_extra(const SegmentHeader& header) {
  return header.sealed ? FileSeal::kTagBytes : sizeof(std::uint64_t);
}

std::array<std::byte, 24> pack_uses(const SegmentHeader& header, const SegmentUses& uses) {
  std::array<std::byte, 24> bytes{};
  const std::uint64_t numbers[] = {static_cast<std::uint64_t>(uses.last), uses.count};
  const std::uint64_t check = hash64(std::as_bytes(std::span(numbers)), header.id.low);
  std::memcpy(bytes.data(), numbers, sizeof numbers);
  std::memcpy(bytes.data() + sizeof numbers, &check, sizeof check);
  return bytes;
}

std::array<std::byte, kSealedUsesBytes> seal_uses(const FileSeal& seal, const SegmentUses& uses) {
  std::array<std::byte, kSealedUsesBytes> bytes{};
  const NonceTail tail = FileSeal::random();
  std::copy(tail.begin(), tail.end(), bytes.begin());
  const std::uint64_t numbers[] = {static_cast<std::uint64_t>(uses.last), uses.count};
  seal.seal(SealedPart::kUses, tail, {}, std::as_bytes(std::span(numbers)),
            std::span(bytes).subspan(tail.size()));
  return bytes;
}

void pack_fields(const SegmentHeader& header, Packer& out) {
  for (const Hash128& hash : {header.id, header.parent, header.identity, header.before})
    out.hash(hash);
  out.text(header.model);
  out.text(header.key.owner);
  for (const std::uint64_t number :
       {header.key.adapters, header.key.inputs, header.format,
        static_cast<std::uint64_t>(header.begin), static_cast<std::uint64_t>(header.end),
        static_cast<std::uint64_t>(header.created), header.cells_bytes, header.state_bytes,
        header.logits, static_cast<std::uint64_t>(header.tokens.size())}) {
    out.number(number);
  }
  out.raw(header.tokens.data(), header.tokens.size() * sizeof(std::int32_t));
}

std::vector<std::byte> pack(const SegmentHeader& header, const SegmentUses& uses) {
  Packer out;
  out.raw(kMagic.data(), kMagic.size());
  out.number(kSegmentVersion);
  out.number(header_size(header));
  out.number(0);  // the checksum
  for (int i = 0; i < 3; ++i) out.number(0);
  pack_fields(header, out);
  std::vector<std::byte>& bytes = out.bytes();
  const std::uint64_t checksum = hash64(bytes);
  std::memcpy(bytes.data() + kChecksumAt, &checksum, sizeof checksum);
  const auto packed_uses = pack_uses(header, uses);
  std::copy(packed_uses.begin(), packed_uses.end(), bytes.begin() + kUsesAt);
  return std::move(bytes);
}

std::vector<std::byte> pack_sealed(const SegmentHeader& header, const SegmentUses& uses,
                                   const StoreKey& key, const FileSeal& seal) {
  Packer out;
  out.raw(kMagic.data(), kMagic.size());
  out.number(kSealedVersion);
  out.number(header_size(header));
  out.raw(key.id().data(), key.id().size());
  out.raw(header.salt.data(), header.salt.size());
  const auto sealed_uses = seal_uses(seal, uses);
  out.raw(sealed_uses.data(), sealed_uses.size());
  Packer fields;
  pack_fields(header, fields);
  std::vector<std::byte>& bytes = out.bytes();
  bytes.resize(header_size(header));
  seal.seal(SealedPart::kHeader, FileSeal::numbered(0), std::span(bytes).first(kSealedUsesAt),
            fields.bytes(), std::span(bytes).subspan(kSealedFieldsAt));
  return std::move(bytes);
}

SegmentHeader unpack_fields(std::span<const std::byte> bytes) {
  constexpr std::int64_t kMostRows = std::int64_t{1} << 40;
  Unpacker in(bytes);
  SegmentHeader header;
  for (Hash128* hash : {&header.id, &header.parent, &header.identity, &header.before})
    *hash = in.hash();
  header.model = in.text();
  header.key.owner = in.text();
  header.key.adapters = in.number();
  header.key.inputs = in.number();
  header.format = in.number();
  header.begin = in.count(kMostRows);
  header.end = in.count(kMostRows);
  header.created = static_cast<std::int64_t>(in.number());
  header.cells_bytes = static_cast<std::uint64_t>(in.count(kMostRows << 10));
  header.state_bytes = static_cast<std::uint64_t>(in.count(kMostRows << 10));
  header.logits = static_cast<std::uint64_t>(in.count(kMostRows));
  const std::int64_t tokens = in.count(static_cast<std::int64_t>(bytes.size() / 4));
  header.tokens.resize(static_cast<std::size_t>(tokens));
  in.raw(header.tokens.data(), header.tokens.size() * sizeof(std::int32_t));
  if (!in.at_end() || header.end - header.begin != tokens || header.begin < 0)
    throw_damaged_segment();
  Hash128 chain = header.before;
  for (const std::int32_t token : header.tokens) chain = next_in_chain(chain, token);
  const bool at_start = header.begin == 0;
  if (chain != header.id || at_start != header.parent.zero() ||
      (at_start && header.before != header.seed())) {
    throw_damaged_segment();
  }
  return header;
}

/// The whole header's bytes.
std::vector<std::byte> read_whole_header(const ReadFile& file, std::uint64_t& version) {
  std::vector<std::byte> bytes(kFieldsAt);
  if (file.size() < kFieldsAt) throw_damaged_segment();
  file.read(0, bytes);
  std::uint64_t size = 0;
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) throw_damaged_segment();
  std::memcpy(&version, bytes.data() + 8, sizeof version);
  if (version >> 32 != 0) throw_damaged_segment();
  if (version != kSegmentVersion && version != kSealedVersion)
    throw SegmentVersion(static_cast<std::uint32_t>(version));
  std::memcpy(&size, bytes.data() + 16, sizeof size);
  if (size < kFieldsAt || size > kMostHeader || size > file.size()) throw_damaged_segment();
  bytes.resize(static_cast<std::size_t>(size));
  file.read(kFieldsAt, std::span(bytes).subspan(kFieldsAt));
  return bytes;
}

SegmentHeader read_plain(std::vector<std::byte> bytes, SegmentUses& uses) {
  std::array<std::byte, 24> packed_uses{};
  std::uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + kChecksumAt, sizeof checksum);
  std::copy_n(bytes.begin() + kUsesAt, packed_uses.size(), packed_uses.begin());
  std::fill(bytes.begin() + kChecksumAt, bytes.begin() + kFieldsAt, std::byte{0});
  if (hash64(bytes) != checksum) throw_damaged_segment();
  SegmentHeader header = unpack_fields(std::span(bytes).subspan(kFieldsAt));
  header.name = header.id;
  std::memcpy(&uses.last, packed_uses.data(), sizeof uses.last);
  std::memcpy(&uses.count, packed_uses.data() + 8, sizeof uses.count);
  if (pack_uses(header, uses) != packed_uses) throw_damaged_segment();
  return header;
}

Hash128 sealed_name(const Hash128& id, const StoreKey& key) {
  const KeyHash hash = key.name_of(std::as_bytes(std::span(&id, 1)));
  Hash128 name;
  std::memcpy(&name, hash.data(), sizeof name);
  return name;
}

SegmentHeader read_sealed(std::span<const std::byte> bytes, SegmentUses& uses,
                          const StoreKey& key) {
  if (bytes.size() < kSealedFieldsAt + FileSeal::kTagBytes) throw_damaged_segment();
  FileSalt salt;
  std::memcpy(salt.data(), bytes.data() + kSaltAt, salt.size());
  const FileSeal seal = key.file(salt);
  std::vector<std::byte> fields(bytes.size() - kSealedFieldsAt - FileSeal::kTagBytes);
  if (!seal.open(SealedPart::kHeader, FileSeal::numbered(0), bytes.first(kSealedUsesAt),
                 bytes.subspan(kSealedFieldsAt), fields)) {
    throw_damaged_segment();
  }
  SegmentHeader header = unpack_fields(fields);
  header.sealed = true;
  header.salt = salt;
  header.name = sealed_name(header.id, key);
  const auto sealed_uses = bytes.subspan(kSealedUsesAt, kSealedUsesBytes);
  NonceTail tail;
  std::memcpy(tail.data(), sealed_uses.data(), tail.size());
  std::uint64_t numbers[2] = {};
  if (!seal.open(SealedPart::kUses, tail, {}, sealed_uses.subspan(tail.size()),
                 std::as_writable_bytes(std::span(numbers)))) {
    throw_damaged_segment();
  }
  uses = {static_cast<std::int64_t>(numbers[0]), numbers[1]};
  return header;
}

/// The key must be the one that the file was made with: none for a plain one.
void require_key(std::uint64_t version, std::span<const std::byte> bytes, const StoreKey* key) {
  if (version == kSegmentVersion) {
    if (key == nullptr) return;
    throw LockedSegment("they are not encrypted, and a key was given",
                        "use them without --kv-disk-key, or delete them");
  }
  if (key == nullptr)
    throw LockedSegment("they are encrypted, and no key was given", "name it with --kv-disk-key");
  if (std::memcmp(bytes.data() + kKeyIdAt, key->id().data(), key->id().size()) != 0)
    throw LockedSegment("they are encrypted with another key", "name it with --kv-disk-key");
}

std::uint64_t block_seed(const SegmentHeader& header, std::uint64_t index) {
  return header.id.high ^ mix64(header.id.low + index + 1);
}

std::string other_version(std::uint32_t found) {
  return "a file of stored conversations has schema version " + std::to_string(found) +
         ", and this hearth knows " + std::to_string(kSegmentVersion);
}

}  // namespace

std::string Hash128::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t word : {high, low}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[word >> shift & 15];
  }
  return text;
}

Hash128 hash128(std::span<const std::byte> bytes) noexcept {
  return {hash64(bytes, 0x48656172), hash64(bytes, 0x74684B56)};
}

Hash128 next_in_chain(const Hash128& hash, std::int32_t token) noexcept {
  const std::uint64_t word = static_cast<std::uint32_t>(token);
  return {mix64(hash.high ^ word * 0x9E3779B97F4A7C15U),
          mix64(std::rotl(hash.low, 23) + word + 0x632BE59BD9B4E019U)};
}

Hash128 SegmentHeader::seed() const noexcept {
  Packer out;
  out.hash(identity);
  out.text(key.owner);
  for (const std::uint64_t number : {key.adapters, key.inputs, format}) out.number(number);
  return hash128(out.bytes());
}

std::uint64_t SegmentHeader::payload_bytes() const noexcept {
  return cells_bytes + state_bytes + logits * sizeof(float);
}

std::uint64_t SegmentHeader::file_bytes() const noexcept {
  const std::uint64_t payload = payload_bytes();
  const std::uint64_t blocks =
      (payload + SegmentWriter::kBlockBytes - 1) / SegmentWriter::kBlockBytes;
  return header_size(*this) + payload + blocks * block_extra(*this);
}

std::string SegmentHeader::file_name() const { return name.hex() + ".kv"; }

SegmentVersion::SegmentVersion(std::uint32_t found)
    : Error(other_version(found), found > kStoreVersion
                                      ? "it was written by a newer hearth: use that one"
                                      : "it is not used any more"),
      found_(found) {}

SegmentHeader read_header(const ReadFile& file, SegmentUses* uses, const StoreKey* key) {
  std::uint64_t version = 0;
  std::vector<std::byte> bytes = read_whole_header(file, version);
  require_key(version, bytes, key);
  SegmentUses found;
  SegmentHeader header =
      key == nullptr ? read_plain(std::move(bytes), found) : read_sealed(bytes, found, *key);
  if (uses != nullptr) *uses = found;
  if (file.size() != header.file_bytes()) throw_damaged_segment();
  return header;
}

void write_uses(const fs::path& path, const SegmentHeader& header, const SegmentUses& uses,
                const StoreKey* key) noexcept {
  if (!header.sealed) {
    (void)overwrite(path, kUsesAt, pack_uses(header, uses));
  } else if (key != nullptr) {
    (void)overwrite(path, kSealedUsesAt, seal_uses(key->file(header.salt), uses), kSaltAt,
                    header.salt);
  }
}

SegmentWriter::SegmentWriter(const fs::path& folder, SegmentHeader header, const StoreKey* key)
    : file_(folder), header_(std::move(header)), key_(key) {
  header_.sealed = key != nullptr;
  header_.name = key != nullptr ? sealed_name(header_.id, *key) : header_.id;
  if (key != nullptr) {
    header_.salt = StoreKey::random_salt();
    seal_ = key->file(header_.salt);
  }
  // The header comes last: it says how much there is. Its place is kept.
  file_.write(std::vector<std::byte>(header_size(header_)));
}

void SegmentWriter::block(std::span<const std::byte> bytes) {
  if (seal_) {
    sealed_.resize(bytes.size() + FileSeal::kTagBytes);
    seal_->seal(SealedPart::kBlock, FileSeal::numbered(blocks_++), {}, bytes, sealed_);
    return file_.write(sealed_);
  }
  const std::uint64_t checksum = hash64(bytes, block_seed(header_, blocks_++));
  file_.write(bytes);
  file_.write(std::as_bytes(std::span(&checksum, 1)));
}

void SegmentWriter::finish(std::uint64_t cells_bytes, std::uint64_t state_bytes,
                           std::uint64_t logits) {
  header_.cells_bytes = cells_bytes;
  header_.state_bytes = state_bytes;
  header_.logits = logits;
  const SegmentUses unused{header_.created, 0};
  file_.write_at(0, seal_ ? pack_sealed(header_, unused, *key_, *seal_) : pack(header_, unused));
  file_.sync();
}

void SegmentWriter::publish() { file_.publish(header_.file_name()); }

SegmentReader::SegmentReader(const fs::path& path, const StoreKey* key)
    : file_(path), header_(read_header(file_, &uses_, key)), header_bytes_(header_size(header_)) {
  if (header_.sealed) seal_ = key->file(header_.salt);
}

void SegmentReader::seek(std::uint64_t offset) { at_ = offset; }

void SegmentReader::read_block(std::uint64_t index) {
  const std::uint64_t payload = header_.payload_bytes();
  const std::uint64_t begin = index * SegmentWriter::kBlockBytes;
  if (begin >= payload) throw_damaged_segment();
  const std::uint64_t size = std::min<std::uint64_t>(SegmentWriter::kBlockBytes, payload - begin);
  const std::size_t extra = block_extra(header_);
  const std::uint64_t offset = header_bytes_ + begin + index * extra;
  if (offset + kReadAhead / 2 > announced_) {
    file_.will_read(std::max(offset, announced_), kReadAhead);
    announced_ = std::max(offset, announced_) + kReadAhead;
  }
  block_ = UINT64_MAX;
  buffer_.resize(static_cast<std::size_t>(size) + extra);
  file_.read(offset, buffer_);
  const std::span<std::byte> bytes(buffer_.data(), static_cast<std::size_t>(size));
  if (seal_) {
    if (!seal_->open(SealedPart::kBlock, FileSeal::numbered(index), {}, buffer_, bytes))
      throw_damaged_segment();
  } else {
    std::uint64_t checksum = 0;
    std::memcpy(&checksum, buffer_.data() + bytes.size(), sizeof checksum);
    if (hash64(bytes, block_seed(header_, index)) != checksum) throw_damaged_segment();
  }
  buffer_.resize(bytes.size());
  block_ = index;
}

std::span<const std::byte> SegmentReader::take(std::size_t count) {
  if (at_ > header_.payload_bytes() || count > header_.payload_bytes() - at_)
    throw_damaged_segment();
  if (count == 0) return {};
  const auto within = [&] { return static_cast<std::size_t>(at_ % SegmentWriter::kBlockBytes); };
  if (at_ / SegmentWriter::kBlockBytes != block_) read_block(at_ / SegmentWriter::kBlockBytes);
  if (count <= buffer_.size() - within()) {
    const std::size_t from = within();
    at_ += count;
    return std::span<const std::byte>(buffer_).subspan(from, count);
  }
  straddling_.resize(count);
  for (std::size_t done = 0; done < count;) {
    if (at_ / SegmentWriter::kBlockBytes != block_) read_block(at_ / SegmentWriter::kBlockBytes);
    const std::size_t part = std::min(count - done, buffer_.size() - within());
    std::memcpy(straddling_.data() + done, buffer_.data() + within(), part);
    done += part;
    at_ += part;
  }
  return straddling_;
}

void SegmentReader::skip(std::size_t count) {
  if (at_ > header_.payload_bytes() || count > header_.payload_bytes() - at_)
    throw_damaged_segment();
  at_ += count;
}

void SegmentReader::check_all() {
  const std::uint64_t payload = header_.payload_bytes();
  for (std::uint64_t index = 0; index * SegmentWriter::kBlockBytes < payload; ++index)
    read_block(index);
}

}  // namespace hearth::state
