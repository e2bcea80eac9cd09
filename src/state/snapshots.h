// How many snapshots a chat takes.
#pragma once

#include <cstdint>

namespace hearth::state {

/// Slots of recurrent state that one chat remembers beside its sequence (spec::Setup::snapshots):
/// the end of the system prompt, the ends of the last turns, and places within the last few hundred
/// tokens.
inline constexpr std::int64_t kChatSnapshots = 6;
/// Rows near the end of a chat whose snapshots of windows have pages of their own: those of an
/// answer and of the message before it. They share most of them with each other.
inline constexpr std::int64_t kRecentWindowRows = 1024;
/// Snapshots that a pool without recurrent state is asked to remember: they share most of their
/// windows' pages with each other, and go when those are wanted.
inline constexpr std::int64_t kWindowSnapshots = 16;

}  // namespace hearth::state
