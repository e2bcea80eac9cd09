#include "hub/remote_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "gguf/check_header.h"
#include "hub/transfer.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

// Most of a header is the vocabulary: some megabytes.
constexpr std::uint64_t kFirstBytes = std::uint64_t{512} << 10;

/// The beginning of a remote file, fetched piece by piece.
class Beginning {
 public:
  Beginning(const Network& network, const RemoteFile& file, const std::string& bearer)
      : network_(network), file_(file), bearer_(bearer), size_(file.size) {}

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t file_size() const { return size_; }
  [[nodiscard]] bool whole() const { return size_ > 0 && bytes_.size() >= size_; }

  void grow_to(std::uint64_t end) {
    if (size_ > 0) end = std::min(end, size_);
    const std::uint64_t begin = bytes_.size();
    if (end <= begin) return;
    const Request request{file_.url, bearer_, {}, Request::Range{begin, end}};
    const Response response =
        fetch(network_, request, [&](const Response& answer, std::span<const std::byte> piece) {
          if (piece.empty()) {
            bytes_.resize(begin);
            judge(answer, begin);
          }
          const std::size_t wanted =
              static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), end - bytes_.size()));
          bytes_.append(reinterpret_cast<const char*>(piece.data()), wanted);
          // A server that ignores ranges would send everything.
          return wanted == piece.size();
        });
    const auto range = parse_content_range(response.header("content-range"));
    size_ = range ? range->total : response.content_length().value_or(size_);
    if (bytes_.size() < std::min(end, size_))
      throw Error(fmt::format("the header of {} could not be fetched", printable(file_.name)),
                  "try again later");
  }

 private:
  void judge(const Response& answer, std::uint64_t begin) const {
    const auto range = parse_content_range(answer.header("content-range"));
    const bool partial = answer.status == 206 && range && range->begin == begin;
    // The beginning of the whole file will do as well, once.
    if (partial || (answer.status == 200 && begin == 0)) return;
    throw Error(fmt::format("the server of {} cannot send a part of it", printable(file_.name)),
                "hearth pull it to see what it is");
  }

  const Network& network_;
  const RemoteFile& file_;
  const std::string& bearer_;
  std::uint64_t size_;
  std::string bytes_;
};

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// Whether a header is complete: nothing when more bytes may help. A part of a split model is
/// complete when parsing it fails only because the others are missing, so that is not asked here.
bool complete(const std::string& bytes, const std::string& name) {
  try {
    gguf::check_header(as_bytes(bytes), name);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::uint64_t RemoteHeader::fetched_bytes() const noexcept {
  std::uint64_t total = 0;
  for (const std::string& header : headers_) total += header.size();
  return total;
}

RemoteHeader read_remote_header(const Network& network, RemoteModel model) {
  require_online(network, "reading the header of " + printable(model.reference, 300));
  RemoteHeader result;
  result.model_ = std::move(model);
  bool sizes_known = true;
  for (const RemoteFile& file : result.model_.files) {
    Beginning beginning(network, file, result.model_.bearer);
    for (std::uint64_t size = kFirstBytes;; size *= 2) {
      beginning.grow_to(size);
      const bool is_gguf = beginning.bytes().starts_with("GGUF") ||
                           beginning.bytes().starts_with("FUGG");  // the other byte order
      if (complete(beginning.bytes(), file.name)) break;
      if (!is_gguf || beginning.whole() || size >= kMaxHeaderBytes)
        gguf::check_header(as_bytes(beginning.bytes()), file.name);  // throws what is wrong
    }
    sizes_known = sizes_known && beginning.file_size() > 0;
    result.file_bytes_ += beginning.file_size();
    result.headers_.push_back(beginning.bytes());
  }
  if (!sizes_known) result.file_bytes_ = 0;
  std::vector<std::span<const std::byte>> headers;
  for (const std::string& header : result.headers_) headers.push_back(as_bytes(header));
  result.file_ =
      std::make_unique<gguf::File>(gguf::File::from_headers(headers, result.model_.name + ".gguf"));
  return result;
}

RemoteHeader read_remote_header(const Network& network, std::string_view reference,
                                const ResolveOptions& options) {
  return read_remote_header(
      network, resolve(network, parse_reference(reference, network.huggingface), options));
}

}  // namespace hearth::hub
