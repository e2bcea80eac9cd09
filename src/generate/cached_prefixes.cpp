#include "generate/cached_prefixes.h"

#include <exception>
#include <utility>

namespace hearth::generate {

void CachedPrefixes::start(std::function<void()> ready) {
  // Keys beyond a budget move between memory and disk as passes need them, on the passes' thread:
  // no other may fill pages then.
  if (cache_.disk() == nullptr || cache_.pool().stream() != nullptr) return;
  reader_ = std::make_unique<state::DiskReader>(*cache_.disk(), cache_.pool(), std::move(ready));
}

void CachedPrefixes::stop() { reader_.reset(); }

bool CachedPrefixes::fetch(std::uint64_t request, const state::PrefixKey& key,
                           std::span<const std::int32_t> tokens) {
  if (!reader_) return false;
  const std::int64_t least = cache_.known(key, tokens) + state::kWorthReading;
  if (least >= static_cast<std::int64_t>(tokens.size())) return false;
  const Fetch& fetch = fetches_[request] = {key, {tokens.begin(), tokens.end()}};
  reader_->look_up(request, {fetch.key, fetch.tokens, least});
  return true;
}

std::vector<std::uint64_t> CachedPrefixes::fetched() {
  std::vector<std::uint64_t> ready;
  while (reader_) {
    const std::unique_ptr<state::DiskReader::Answer> answer = reader_->next();
    if (!answer) break;
    const auto asked = fetches_.find(answer->id);
    if (asked != fetches_.end()) {
      try {
        if (!go_on(asked->second, *answer)) continue;
      } catch (const std::exception&) {
        // The text is evaluated; whoever waits is told all the same.
      }
      fetches_.erase(asked);
    }
    ready.push_back(answer->id);
  }
  return ready;
}

/// The next step of a fetch after an answer; true when it was the last one.
bool CachedPrefixes::go_on(const Fetch& fetch, state::DiskReader::Answer& answer) {
  if (answer.sequence) {
    if (answer.complete)
      cache_.take_in(fetch.key, fetch.tokens, std::move(answer.sequence), answer.logits);
    return true;
  }
  if (!answer.found) return true;
  // Somebody may have read or evaluated it meanwhile.
  if (answer.found->length <= cache_.known(fetch.key, fetch.tokens) + state::kWorthReading)
    return true;
  std::unique_ptr<state::SequenceState> room = cache_.room_for(answer.found->length);
  if (!room) return true;
  reader_->read(answer.id, {std::move(*answer.found), std::move(room)});
  return false;
}

}  // namespace hearth::generate
