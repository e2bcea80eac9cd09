// Fetching one large file: several ranges at once, resumable after whatever ended the program,
// verified. Servers that do not know ranges are read in one stream, which begins anew when it is
// cut.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/network.h"

namespace hearth::hub {

struct DownloadRequest {
  std::string url, bearer;      ///< the bearer goes to the host of `url` alone
  std::uint64_t size = 0;       ///< as announced; 0: not known
  std::string sha256;           ///< as announced; empty: not known
  std::string name, reference;  ///< of the model, for the list of unfinished downloads
};

struct Progress {
  enum class Stage { kFetching, kVerifying };
  Stage stage = Stage::kFetching;
  std::uint64_t done = 0, total = 0;  ///< bytes; a total of 0 is not known
  double rate = 0;                    ///< bytes per second lately; 0: not known yet
};
using OnProgress = std::function<void(const Progress&)>;

struct Downloaded {
  std::filesystem::path path;  ///< the part, whole, verified and durable
  std::string sha256;
  std::uint64_t size = 0;
};

/// Name of the files in downloads/ for a request: by its hash, or else its address.
[[nodiscard]] std::string download_key(const DownloadRequest& request);

/// Fetches into `folder`/KEY.part. The caller holds the lock of that key. Throws Error: what was
/// fetched is kept for the next attempt, except when the hash is wrong; ExitCode::kDoesNotFit when
/// the disk is too full, kInterrupted when it was cancelled.
[[nodiscard]] Downloaded download(const Network& network, const DownloadRequest& request,
                                  const std::filesystem::path& folder,
                                  const OnProgress& on_progress);

/// Removes the notes of a part that was moved away.
void forget_notes(const std::filesystem::path& folder, const std::string& key) noexcept;

/// Rate over the last seconds, smoothed.
class RateMeter {
 public:
  void add(Milliseconds now, std::uint64_t bytes) noexcept;
  [[nodiscard]] double rate() const noexcept { return rate_; }

 private:
  Milliseconds since_{-1};
  std::uint64_t pending_ = 0;
  double rate_ = 0;
};

}  // namespace hearth::hub
