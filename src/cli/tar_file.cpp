#include "cli/tar_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "support/error.h"
#include "support/write_target.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kRecord = 512;
constexpr std::uint64_t kMostOctal = (std::uint64_t{1} << 33) - 1;  // eleven octal digits

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::array<char, kRecord> make_header(const std::string& name, std::uint64_t size,
                                      std::int64_t modified) {
  std::array<char, kRecord> header{};
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name);
  put(100, "0000600");
  put(108, "0000000");
  put(116, "0000000");
  if (size <= kMostOctal) {
    put(124, fmt::format("{:011o}", size));
  } else {  // big-endian behind a mark: GNU and pax know it
    header[124] = static_cast<char>(0x80);
    for (int byte = 0; byte < 8; ++byte)
      header[135 - static_cast<std::size_t>(byte)] = static_cast<char>(size >> (8 * byte) & 0xFF);
  }
  put(136, fmt::format("{:011o}", std::max<std::int64_t>(0, modified)));
  put(148, "        ");
  header[156] = '0';
  std::memcpy(header.data() + 257,
              "ustar\0"
              "00",
              8);
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0U, [](unsigned all, char c) {
    return all + static_cast<unsigned char>(c);
  });
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return header;
}

}  // namespace

TarFile::TarFile(const std::filesystem::path& path) : TarFile(path, write_target(path)) {}

TarFile::TarFile(const std::filesystem::path& path, const std::filesystem::path& target)
    : name_(target.filename().string()), file_(folder_of(target)) {
  if (name_.empty()) {
    throw Error(fmt::format("'{}' is a folder, not a file", printable(path.string(), 300)),
                "name a file to write");
  }
}

void TarFile::add(const std::string& name, const std::filesystem::path& file) {
  const ReadFile source(file);
  const FileStamp stamp = file_stamp(file);
  const auto header =
      make_header(name.substr(0, 99), source.size(), stamp.modified / 1'000'000'000);
  file_.write(std::as_bytes(std::span(header)));
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < source.size();) {
    const auto part =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), source.size() - at));
    source.read(at, std::span(buffer).first(part));
    file_.write(std::span(buffer).first(part));
    at += part;
  }
  const std::vector<std::byte> rest((kRecord - source.size() % kRecord) % kRecord);
  file_.write(rest);
}

void TarFile::finish() {
  file_.write(std::vector<std::byte>(2 * kRecord));
  file_.sync();
  file_.publish(name_);
}

}  // namespace hearth::cli
