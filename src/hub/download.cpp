#include "hub/download.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <system_error>

#include "hub/part_file.h"
#include "hub/ranged_download.h"
#include "hub/sha256.h"
#include "hub/transfer.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;

/// What stays free for others when a download is begun.
constexpr std::uint64_t kSpareBytes = std::uint64_t{64} << 20;

/// What the server says about the file.
struct Offer {
  std::uint64_t size = 0;  // 0: it does not say
  bool ranges = false;
  std::string validator;  // changes when the file does
};

Offer ask(const Network& network, const DownloadRequest& request) {
  Request first{request.url, request.bearer, {}, Request::Range{0, 1}};
  const Response response =
      fetch(network, first, [](const Response& answer, std::span<const std::byte> bytes) {
        return answer.status == 206 && bytes.size() <= 1;  // not all of it, if that is what comes
      });
  Offer offer;
  const auto range = parse_content_range(response.header("content-range"));
  offer.ranges = response.status == 206 && range && range->begin == 0 && range->end == 1;
  offer.size = offer.ranges ? range->total : response.content_length().value_or(0);
  offer.validator = response.header("etag");
  if (offer.validator.empty() || offer.validator.starts_with("W/"))
    offer.validator = response.header("last-modified");
  return offer;
}

void check_space(const Network& network, std::uint64_t size, const fs::path& folder,
                 const fs::path& part) {
  struct stat status = {};
  std::uint64_t there = 0;
  if (::stat(part.c_str(), &status) == 0)
    there = static_cast<std::uint64_t>(status.st_blocks) * 512;
  const std::uint64_t needed = size - std::min(size, there) + kSpareBytes;
  const std::uint64_t available = network.free_space(folder);
  if (available >= needed) return;
  throw Error(fmt::format("the disk with '{}' has {} free, and {} are needed",
                          printable(folder.string(), 300), precise_size_text(available),
                          precise_size_text(needed)),
              "make room (hearth list, hearth rm NAME), choose a smaller quantization, or set "
              "XDG_DATA_HOME to another disk",
              ExitCode::kDoesNotFit);
}

class Job {
 public:
  Job(const Network& network, const DownloadRequest& request, const fs::path& folder,
      const OnProgress& on_progress)
      : network_(network), request_(request), folder_(folder), on_progress_(on_progress) {}

  Downloaded run() {
    const Offer offer = ask(network_, request_);
    if (request_.size != 0 && offer.size != 0 && offer.size != request_.size) {
      throw Error(fmt::format("the server has {} bytes of a file that was announced with {}",
                              offer.size, request_.size),
                  "try again later: it may be changing");
    }
    PartNotes wanted;
    wanted.name = request_.name;
    wanted.reference = request_.reference;
    wanted.sha256 = request_.sha256;
    wanted.validator = offer.validator;
    wanted.size = std::max(request_.size, offer.size);
    wanted.chunk_bytes = network_.chunk_bytes;
    const std::string key = download_key(request_);
    check_space(network_, wanted.size, folder_, folder_ / (key + ".part"));
    PartFile part(folder_, key, wanted);
    part.reserve();
    if (offer.ranges && wanted.size > 0) {
      // Bytes of another day may be damaged: then everything is fetched once more.
      for (bool again = part.resumed();; again = false) {
        RangedDownload ranged(network_, request_, part, on_progress_);
        if (ranged.run() == RangedDownload::Result::kNoRanges) break;
        const std::string hash = ranged.finish_hash();
        if (right(hash)) return finished(part, hash);
        if (!again) refuse(part, hash);
        part.restart(wanted.size);
      }
    }
    const std::string hash = stream(part, wanted.size);
    if (!right(hash)) refuse(part, hash);
    return finished(part, hash);
  }

 private:
  [[nodiscard]] bool right(const std::string& hash) const {
    return request_.sha256.empty() || hash == request_.sha256;
  }

  [[noreturn]] static void refuse(PartFile& part, const std::string& hash) {
    const std::string wanted = part.notes().sha256;
    part.discard();
    throw Error(fmt::format("the file that arrived is not the one that was announced: its SHA-256 "
                            "is {}… and not {}…; it was deleted",
                            hash.substr(0, 12), wanted.substr(0, 12)),
                "pull again; if it stays so, do not trust the server or what lies between");
  }

  Downloaded finished(PartFile& part, const std::string& hash) const {
    part.sync();
    return {part.path(), hash, size_ > 0 ? size_ : part.notes().size};
  }

  /// Everything in one piece; the hash of it.
  std::string stream(PartFile& part, std::uint64_t size) {
    Sha256 hash;
    RateMeter meter;
    Milliseconds reported{-1000};
    const auto receive = [&](const Response& response, std::span<const std::byte> bytes) {
      if (bytes.empty()) {
        if (response.status != 200)
          throw Error(fmt::format("the server answers with status {}", response.status));
        part.restart(size);
        part.reserve();
        hash = Sha256();
        size_ = 0;
        return true;
      }
      if (size > 0 && bytes.size() > size - size_)
        throw Error("the server sends more than it announced", "try again later");
      part.write(size_, bytes);
      hash.update(bytes);
      size_ += bytes.size();
      const Milliseconds now = network_.now();
      meter.add(now, bytes.size());
      if (on_progress_ && now - reported >= Milliseconds(100)) {
        reported = now;
        on_progress_({Progress::Stage::kFetching, size_, size, meter.rate()});
      }
      return true;
    };
    try {
      fetch(network_, {request_.url, request_.bearer, {}, {}}, receive);
    } catch (const Error&) {
      part.discard();  // without ranges a part is worth nothing
      throw;
    }
    if (size_ == 0 || (size > 0 && size_ != size)) {
      part.discard();
      throw Error(fmt::format("only {} of {} bytes arrived", size_, size), "pull again");
    }
    return hash.finish();
  }

  const Network& network_;
  const DownloadRequest& request_;
  const fs::path& folder_;
  const OnProgress& on_progress_;
  std::uint64_t size_ = 0;
};

}  // namespace

void RateMeter::add(Milliseconds now, std::uint64_t bytes) noexcept {
  constexpr double kWindow = 0.5, kMemory = 4;  // seconds
  if (since_.count() < 0) since_ = now;
  pending_ += bytes;
  const double seconds = std::chrono::duration<double>(now - since_).count();
  if (seconds < kWindow) return;
  const double latest = static_cast<double>(pending_) / seconds;
  const double weight = rate_ > 0 ? 1 - std::exp(-seconds / kMemory) : 1;
  rate_ += weight * (latest - rate_);
  pending_ = 0;
  since_ = now;
}

std::string download_key(const DownloadRequest& request) {
  if (!request.sha256.empty()) return "sha256-" + request.sha256;
  return "url-" + sha256_of(request.url).substr(0, 40);
}

void forget_notes(const fs::path& folder, const std::string& key) noexcept {
  std::error_code ignored;
  fs::remove(folder / (key + ".part.json"), ignored);
}

Downloaded download(const Network& network, const DownloadRequest& request, const fs::path& folder,
                    const OnProgress& on_progress) {
  return Job(network, request, folder, on_progress).run();
}

}  // namespace hearth::hub
