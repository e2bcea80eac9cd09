#include "measure/base_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>

#include "measure/chunks.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::measure {
namespace {

constexpr std::string_view kMagic = "HEARTHKL";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kWord = sizeof(std::uint64_t);

/// The bytes before the checksum of the header.
struct Header {
  char magic[8];
  std::uint32_t version, vocabulary, context, rows, chunks, zero;
};
static_assert(sizeof(Header) == 32);
constexpr std::size_t kHeaderBytes = sizeof(Header) + kWord;

/// The bytes before the depths of a row.
struct RowHead {
  float top, step, log_probability;
  std::uint32_t best;
};
static_assert(sizeof(RowHead) == 16);

// More than any vocabulary or text has; products of them cannot overflow.
constexpr std::int64_t kMostTokens = std::int64_t{1} << 26;

template <class Value>
std::span<const std::byte> bytes_of(const Value& value) noexcept {
  return std::as_bytes(std::span<const Value, 1>(&value, 1));
}

std::uint64_t word_at(std::span<const std::byte> bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof word);
  return word;
}

std::uint64_t checksum_of(std::span<const std::byte> bytes) noexcept {
  Checksum checksum;
  checksum.add(bytes);
  return checksum.value();
}

std::uint64_t hash_of(std::span<const std::int32_t> tokens) noexcept {
  return checksum_of(std::as_bytes(tokens));
}

}  // namespace

void Checksum::add(std::span<const std::byte> bytes) noexcept {
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15;
  const auto mix = [this](std::uint64_t word) {
    value_ = (value_ ^ word) * kFactor;
    value_ ^= value_ >> 32U;
  };
  for (; bytes.size() >= kWord; bytes = bytes.subspan(kWord)) mix(word_at(bytes));
  if (bytes.empty()) return;
  std::uint64_t last = 0;
  std::memcpy(&last, bytes.data(), bytes.size());
  mix(last);
}

std::size_t BaseShape::row_bytes() const noexcept {
  const std::size_t depths = static_cast<std::size_t>(vocabulary) * sizeof(std::uint16_t);
  return sizeof(RowHead) + (depths + kWord - 1) / kWord * kWord;
}

std::size_t BaseShape::chunk_bytes() const noexcept {
  return 2 * kWord + static_cast<std::size_t>(rows_scored(context)) * row_bytes();
}

std::uint64_t BaseShape::file_bytes() const noexcept {
  return kHeaderBytes + static_cast<std::uint64_t>(chunks) * chunk_bytes();
}

// ---- Writing ------------------------------------------------------------------------------------

void require_room(const std::filesystem::path& path, const BaseShape& shape) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code unknown;
  const std::filesystem::space_info space = std::filesystem::space(folder, unknown);
  if (unknown || space.available >= shape.file_bytes()) return;
  throw Error("the base file takes " + precise_size_text(shape.file_bytes()) +
                  " and the disk of '" + printable(path.string(), 300) + "' has " +
                  precise_size_text(space.available),
              "use fewer --chunks, or another disk", ExitCode::kDoesNotFit);
}

BaseWriter::BaseWriter(const std::filesystem::path& path, const BaseShape& shape)
    : shape_(shape), file_((require_room(path, shape), path)) {
  Header header{{},
                kVersion,
                static_cast<std::uint32_t>(shape.vocabulary),
                static_cast<std::uint32_t>(shape.context),
                static_cast<std::uint32_t>(rows_scored(shape.context)),
                static_cast<std::uint32_t>(shape.chunks),
                0};
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  file_.write(bytes_of(header));
  file_.write(bytes_of(checksum_of(bytes_of(header))));
}

void BaseWriter::set_row(const BaseShape& shape, std::span<std::byte> place,
                         const RowSummary& summary, std::span<const float> logits,
                         std::int32_t token) noexcept {
  const std::size_t end = sizeof(RowHead) + logits.size() * sizeof(std::uint16_t);
  std::memset(place.data() + end, 0, shape.row_bytes() - end);
  // The place is aligned: heads and rows are multiples of 8 bytes.
  auto* const depths = reinterpret_cast<std::uint16_t*>(place.data() + sizeof(RowHead));
  const PackedRow row = pack(summary, logits, {depths, logits.size()});
  const RowHead head{row.top, row.step, static_cast<float>(log_probability(summary, logits, token)),
                     static_cast<std::uint32_t>(summary.best)};
  std::memcpy(place.data(), &head, sizeof head);
}

void BaseWriter::write(std::span<const std::byte> rows, std::span<const std::int32_t> tokens) {
  const auto put = [this](std::span<const std::byte> bytes) {
    checksum_.add(bytes);
    file_.write(bytes);
  };
  if (rows_ == 0) put(bytes_of(hash_of(tokens)));
  put(rows);
  rows_ += static_cast<std::int64_t>(rows.size() / shape_.row_bytes());
  if (rows_ < rows_scored(shape_.context)) return;
  file_.write(bytes_of(checksum_.value()));
  checksum_ = {};
  rows_ = 0;
  ++chunks_;
}

void BaseWriter::commit() {
  if (chunks_ != shape_.chunks || rows_ != 0) {
    throw Error("the base file is not complete", "this is a bug in Hearth: please report it");
  }
  file_.commit();
}

// ---- Reading ------------------------------------------------------------------------------------

void BaseReader::fail(const std::string& what) const {
  throw Error("the base file '" + printable(path().string(), 300) + "' " + what,
              "make it again with --save-kl-base");
}

BaseReader::BaseReader(const std::filesystem::path& path) : mapping_(path) {
  const std::span<const std::byte> bytes = mapping_.bytes();
  if (bytes.size() < kMagic.size() ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    throw Error("'" + printable(path.string(), 300) + "' is not a base file",
                "make one with hearth perplexity MODEL TEXT --save-kl-base FILE");
  }
  if (bytes.size() < kHeaderBytes) fail("is truncated");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kVersion) {
    fail("has version " + std::to_string(header.version) + ", and this program reads version " +
         std::to_string(kVersion));
  }
  if (word_at(bytes.subspan(sizeof header)) != checksum_of(bytes.first(sizeof header))) {
    fail("is damaged: its header does not fit its checksum");
  }
  shape_ = {header.vocabulary, header.context, header.chunks};
  if (shape_.vocabulary < 1 || shape_.vocabulary > kMostTokens || shape_.context < kShortestChunk ||
      shape_.context > kMostTokens || shape_.chunks < 1 || shape_.chunks > kMostTokens ||
      rows_scored(shape_.context) != header.rows) {
    fail("has a header that makes no sense");
  }
  const std::uint64_t whole_chunks = (bytes.size() - kHeaderBytes) / shape_.chunk_bytes();
  if (whole_chunks < static_cast<std::uint64_t>(shape_.chunks)) fail("is truncated");
  if (shape_.file_bytes() != bytes.size()) fail("is longer than it says");
}

std::span<const std::byte> BaseReader::chunk_bytes(std::int64_t chunk) const noexcept {
  const std::size_t size = shape_.chunk_bytes();
  return mapping_.bytes().subspan(kHeaderBytes + static_cast<std::size_t>(chunk) * size, size);
}

bool BaseReader::has_tokens(std::int64_t chunk, std::span<const std::int32_t> tokens) const {
  const bool same = word_at(chunk_bytes(chunk)) == hash_of(tokens);
  mapping_.check();
  return same;
}

void BaseReader::check(std::int64_t chunk) const {
  const std::span<const std::byte> bytes = chunk_bytes(chunk);
  const std::span<const std::byte> body = bytes.first(bytes.size() - kWord);
  const bool whole = word_at(bytes.subspan(body.size())) == checksum_of(body);
  mapping_.check();
  if (!whole) fail("is damaged: chunk " + std::to_string(chunk + 1) + " does not fit its checksum");
  for (std::int64_t i = 0; i < rows_scored(shape_.context); ++i) {
    const BaseRow row = this->row(chunk, i);
    const bool sane = std::isfinite(row.packed.top) && std::isfinite(row.log_probability) &&
                      row.packed.step >= 0 && row.packed.step <= kDepth && row.best >= 0 &&
                      row.best < shape_.vocabulary;
    if (!sane) fail("holds values that no model gives, in chunk " + std::to_string(chunk + 1));
  }
}

BaseRow BaseReader::row(std::int64_t chunk, std::int64_t row) const noexcept {
  const std::size_t size = shape_.row_bytes();
  const std::span<const std::byte> bytes =
      chunk_bytes(chunk).subspan(kWord + static_cast<std::size_t>(row) * size, size);
  RowHead head;
  std::memcpy(&head, bytes.data(), sizeof head);
  const auto* const depths = reinterpret_cast<const std::uint16_t*>(bytes.data() + sizeof head);
  return {{head.top, head.step, {depths, static_cast<std::size_t>(shape_.vocabulary)}},
          head.log_probability,
          static_cast<std::int32_t>(head.best)};
}

}  // namespace hearth::measure
