#include "hub/ranged_download.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr std::size_t kChunksPerRange = 16;  // a range is asked for at a time
constexpr std::size_t kChunksPerSave = 16;   // at most so many are lost by a crash
constexpr Milliseconds kSaveEvery{2000};
constexpr Milliseconds kReportEvery{100};
constexpr int kPollMilliseconds = 100;
constexpr std::uint64_t kProgressBytes = std::uint64_t{1} << 16;

}  // namespace

RangedDownload::RangedDownload(const Network& network, const DownloadRequest& request,
                               PartFile& part, const OnProgress& on_progress)
    : network_(network),
      request_(request),
      part_(part),
      on_progress_(on_progress),
      claimed_(part.notes().done.size()),
      begun_(part.notes().done.size()),
      done_(part.notes().done_bytes()),
      limit_(static_cast<std::size_t>(std::max(1, network.connections))),
      saved_at_(network.now()),
      multi_(curl_multi_init()) {
  if (!multi_) throw std::bad_alloc();
  const std::vector<bool>& done = part.notes().done;
  missing_ = static_cast<std::size_t>(std::count(done.begin(), done.end(), false));
  for (std::size_t i = 0; i < std::min(limit_, missing_); ++i)
    connections_.push_back(std::make_unique<Connection>());
}

RangedDownload::~RangedDownload() {
  for (const auto& connection : connections_) {
    if (connection->busy) curl_multi_remove_handle(multi_.get(), connection->transfer.handle());
  }
}

std::size_t RangedDownload::chunk_of(std::uint64_t offset) const noexcept {
  return static_cast<std::size_t>(offset / part_.notes().chunk_bytes);
}

std::uint64_t RangedDownload::chunk_end(std::size_t chunk) const noexcept {
  return std::min(part_.notes().size, (chunk + 1) * part_.notes().chunk_bytes);
}

bool RangedDownload::any_busy() const noexcept {
  return std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& connection) { return connection->busy; });
}

RangedDownload::Result RangedDownload::run() {
  try {
    work();
  } catch (const Error&) {
    save_if_due(true);
    throw;
  }
  if (no_ranges_) return Result::kNoRanges;
  save_if_due(true);
  return Result::kComplete;
}

void RangedDownload::work() {
  while (!complete() && !no_ranges_) {
    throw_if_cancelled(network_);
    start_connections();
    if (!any_busy()) {
      network_.sleep(std::max(Milliseconds(0), not_before_ - network_.now()));
      continue;
    }
    int running = 0;
    if (curl_multi_perform(multi_.get(), &running) != CURLM_OK)
      throw Error("libcurl failed to go on with a download");
    settle_finished();
    hash_ready(1);
    save_if_due(false);
    report(Progress::Stage::kFetching);
    if (running > 0) curl_multi_poll(multi_.get(), nullptr, 0, kPollMilliseconds, nullptr);
  }
}

void RangedDownload::start_connections() {
  if (network_.now() < not_before_) return;
  std::size_t busy = 0;
  for (const auto& connection : connections_) busy += connection->busy ? 1 : 0;
  for (const auto& connection : connections_) {
    if (busy >= limit_) return;
    if (connection->busy || !claim(*connection)) continue;
    start(*connection);
    ++busy;
  }
}

/// Takes the next chunks that nobody has; the first may have been begun before.
bool RangedDownload::claim(Connection& connection) {
  const std::vector<bool>& done = part_.notes().done;
  const auto free = [&](std::size_t chunk) { return !done[chunk] && !claimed_[chunk]; };
  std::size_t first = 0;
  while (first < done.size() && !free(first)) ++first;
  if (first == done.size()) return false;
  std::size_t last = first;
  do {
    claimed_[last++] = true;
  } while (last < done.size() && last - first < kChunksPerRange && free(last) && begun_[last] == 0);
  connection.position = first * part_.notes().chunk_bytes + begun_[first];
  connection.end = chunk_end(last - 1);
  return true;
}

void RangedDownload::start(Connection& connection) {
  Request request{request_.url, request_.bearer, {}, {}};
  request.range = Request::Range{connection.position, connection.end};
  connection.transfer.prepare(
      network_, std::move(request),
      [this, &connection](const Response& response, std::span<const std::byte> bytes) {
        return receive(connection, response, bytes);
      });
  if (curl_multi_add_handle(multi_.get(), connection.transfer.handle()) != CURLM_OK)
    throw Error("libcurl failed to begin a download");
  connection.busy = true;
}

/// Whether the response is what was asked for.
bool RangedDownload::judge(const Connection& connection, const Response& response) {
  if (response.status != 206) {
    no_ranges_ = true;
    return false;
  }
  const auto range = parse_content_range(response.header("content-range"));
  if (range && range->total != part_.notes().size) {
    throw Error(fmt::format("the file changed on the server: it had {} bytes and now has {}",
                            part_.notes().size, range->total),
                "pull again");
  }
  if (!range || range->begin != connection.position) {
    no_ranges_ = true;
    return false;
  }
  return true;
}

bool RangedDownload::receive(Connection& connection, const Response& response,
                             std::span<const std::byte> bytes) {
  if (bytes.empty()) return judge(connection, response);
  const std::size_t sent = bytes.size();
  bytes = bytes.first(static_cast<std::size_t>(
      std::min<std::uint64_t>(sent, connection.end - connection.position)));
  part_.write(connection.position, bytes);
  const std::size_t first = chunk_of(connection.position);
  connection.position += bytes.size();
  done_ += bytes.size();
  gained_ += bytes.size();
  meter_.add(network_.now(), bytes.size());
  for (std::size_t chunk = first;
       chunk < claimed_.size() && chunk_end(chunk) <= connection.position; ++chunk) {
    part_.mark_done(chunk);
    claimed_[chunk] = false;
    begun_[chunk] = 0;
    --missing_;
    unsaved_ += part_.notes().chunk_bytes;
  }
  // A range that ends as it should leaves its connection open for the next one.
  return bytes.size() == sent;
}

void RangedDownload::settle_finished() {
  int left = 0;
  while (CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* const handle = message->easy_handle;
    const CURLcode code = message->data.result;
    for (const auto& connection : connections_) {
      if (!connection->busy || connection->transfer.handle() != handle) continue;
      curl_multi_remove_handle(multi_.get(), handle);
      connection->busy = false;
      settle(*connection, code);
      break;
    }
  }
}

void RangedDownload::settle(Connection& connection, CURLcode code) {
  Outcome outcome = connection.transfer.finish(code);
  if (outcome.kind == Outcome::Kind::kRedirect) {
    if (curl_multi_add_handle(multi_.get(), connection.transfer.handle()) != CURLM_OK)
      throw Error("libcurl failed to follow a redirect");
    connection.busy = true;
    return;
  }
  if (no_ranges_ || connection.position == connection.end) return;
  give_up_range(connection);
  if (outcome.kind == Outcome::Kind::kFailed) throw Error(outcome.message, outcome.hint);
  if (outcome.kind == Outcome::Kind::kDone)  // fewer bytes than the header promised
    outcome.message = "the server ended a download early";
  note_failure(outcome);
}

/// Lets others have what is missing of the connection's range, remembering where it stopped.
void RangedDownload::give_up_range(Connection& connection) {
  const std::size_t first = chunk_of(connection.position);
  begun_[first] = connection.position - first * part_.notes().chunk_bytes;
  for (std::size_t chunk = first; chunk < claimed_.size() && chunk_end(chunk) <= connection.end;
       ++chunk)
    claimed_[chunk] = false;
}

void RangedDownload::note_failure(const Outcome& outcome) {
  const Milliseconds now = network_.now();
  // Connections that fail together are one failure.
  if (now >= not_before_) {
    const bool progress = gained_ >= kProgressBytes;
    failures_ = progress ? 1 : failures_ + 1;
    if (progress) gained_ = 0;
  }
  if (failures_ >= network_.attempts || outcome.retry_after > kLongestWait)
    throw Error(outcome.message, outcome.hint);
  // A server that has too much to do gets less.
  if (outcome.retry_after.count() > 0) limit_ = std::max<std::size_t>(1, limit_ / 2);
  not_before_ = std::max(not_before_, now + back_off(failures_, outcome.retry_after));
}

void RangedDownload::hash_ready(std::size_t most_chunks) {
  const PartNotes& notes = part_.notes();
  for (; most_chunks > 0 && hashed_ < notes.done.size() && notes.done[hashed_]; --most_chunks) {
    const std::uint64_t begin = hashed_ * notes.chunk_bytes;
    buffer_.resize(static_cast<std::size_t>(chunk_end(hashed_) - begin));
    part_.read(begin, buffer_);
    hash_.update(buffer_);
    ++hashed_;
  }
}

std::string RangedDownload::finish_hash() {
  while (hashed_ < part_.notes().done.size()) {
    throw_if_cancelled(network_);
    hash_ready(1);
    report(Progress::Stage::kVerifying);
  }
  return hash_.finish();
}

void RangedDownload::save_if_due(bool now) {
  const bool due = unsaved_ >= kChunksPerSave * part_.notes().chunk_bytes ||
                   network_.now() - saved_at_ >= kSaveEvery;
  if (unsaved_ == 0 || !(now || due)) return;
  part_.save();
  unsaved_ = 0;
  saved_at_ = network_.now();
}

void RangedDownload::report(Progress::Stage stage) {
  const Milliseconds now = network_.now();
  if (!on_progress_ || now - reported_at_ < kReportEvery) return;
  reported_at_ = now;
  const bool fetching = stage == Progress::Stage::kFetching;
  on_progress_({stage, fetching ? done_ : hashed_ * part_.notes().chunk_bytes, part_.notes().size,
                fetching ? meter_.rate() : 0});
}

}  // namespace hearth::hub
