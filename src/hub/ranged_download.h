// The parallel part of hub/download.h: missing chunks are fetched as ranges over several
// connections by one thread. Internal to the room.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hub/download.h"
#include "hub/part_file.h"
#include "hub/sha256.h"
#include "hub/transfer.h"

namespace hearth::hub {

class RangedDownload {
 public:
  /// All must outlive this.
  RangedDownload(const Network& network, const DownloadRequest& request, PartFile& part,
                 const OnProgress& on_progress);
  RangedDownload(const RangedDownload&) = delete;
  RangedDownload& operator=(const RangedDownload&) = delete;
  ~RangedDownload();

  enum class Result { kComplete, kNoRanges };
  /// Fetches what is missing. kNoRanges: the server does not know ranges after all. Throws Error;
  /// what is there has been noted then.
  [[nodiscard]] Result run();
  /// The hash of the complete file.
  [[nodiscard]] std::string finish_hash();

 private:
  struct Connection {
    Transfer transfer;
    bool busy = false;
    std::uint64_t end = 0, position = 0;  ///< of its range: [.., end), fetched until position
  };
  struct MultiCloser {
    void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
  };

  void work();
  void start_connections();
  void start(Connection& connection);
  [[nodiscard]] bool claim(Connection& connection);
  [[nodiscard]] bool receive(Connection& connection, const Response& response,
                             std::span<const std::byte> bytes);
  [[nodiscard]] bool judge(const Connection& connection, const Response& response);
  void settle_finished();
  void settle(Connection& connection, CURLcode code);
  void give_up_range(Connection& connection);
  void note_failure(const Outcome& outcome);
  void hash_ready(std::size_t most_chunks);
  void save_if_due(bool now);
  void report(Progress::Stage stage);
  [[nodiscard]] bool any_busy() const noexcept;
  [[nodiscard]] bool complete() const noexcept { return missing_ == 0; }
  [[nodiscard]] std::size_t chunk_of(std::uint64_t offset) const noexcept;
  [[nodiscard]] std::uint64_t chunk_end(std::size_t chunk) const noexcept;

  const Network& network_;
  const DownloadRequest& request_;
  PartFile& part_;
  const OnProgress& on_progress_;

  std::vector<bool> claimed_;             // by chunk
  std::vector<std::uint64_t> begun_;      // by chunk: bytes at its beginning that are there
  std::size_t missing_ = 0;               // chunks
  std::uint64_t done_ = 0, unsaved_ = 0;  // bytes
  std::size_t limit_;                     // connections at once
  int failures_ = 0;
  std::uint64_t gained_ = 0;  // bytes since failures_ began to count
  Milliseconds not_before_{0}, saved_at_{0}, reported_at_{-1000};
  bool no_ranges_ = false;
  RateMeter meter_;
  Sha256 hash_;
  std::size_t hashed_ = 0;  // chunks
  std::vector<std::byte> buffer_;

  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<CURLM, MultiCloser> multi_;
};

}  // namespace hearth::hub
