#include "generate/stop.h"

#include <algorithm>
#include <utility>

namespace hearth::generate {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t earliest = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    // Of two that begin at the same place the longer one is reported; what is passed on is the
    // same.
    if (found == std::string::npos || found > earliest) continue;
    if (found == earliest && stop.size() <= matched_.size()) continue;
    earliest = found;
    matched_ = stop;
  }
  // An earlier beginning that is still open goes first: wait for it.
  const std::size_t open = possible_beginning();
  if (earliest != std::string::npos && earliest <= open) {
    stopped_ = true;
    held_.resize(earliest);
    return std::exchange(held_, {});
  }
  matched_.clear();
  std::string certain = held_.substr(0, open);
  held_.erase(0, open);
  return certain;
}

/// Where the earliest suffix of the held text begins that is a proper prefix of a stop string; the
/// end if there is none.
std::size_t StopMatcher::possible_beginning() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    const std::size_t most = std::min(stop.size() - 1, held_.size());
    for (std::size_t length = most; length > longest; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) {
        longest = length;
        break;
      }
    }
  }
  return held_.size() - longest;
}

std::string StopMatcher::finish() {
  if (stopped_) return {};
  // The text ended: a match that was waiting for an earlier, longer one counts now.
  std::size_t earliest = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    if (found >= earliest) continue;
    earliest = found;
    matched_ = stop;
  }
  if (earliest != std::string::npos) {
    stopped_ = true;
    held_.resize(earliest);
  }
  return std::exchange(held_, {});
}

}  // namespace hearth::generate
