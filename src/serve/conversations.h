// The conversations of the web page: kept on this machine, in one SQLite file that only its owner
// can read, and searchable. A conversation is a tree of messages (a retry or an edit begins a new
// branch); the page knows its shape, the store knows only what it searches and lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "measure/private_database.h"

namespace hearth::serve {

/// One line of the list of conversations.
struct ConversationSummary {
  std::string id;
  std::string title;
  std::string model;         ///< that answered last; may be empty
  std::int64_t created = 0;  ///< milliseconds since 1970
  std::int64_t updated = 0;  ///< milliseconds since 1970
  std::int64_t revision = 0;
  std::string snippet;  ///< of a search: text around the first hit; else empty
};

struct Conversation {
  ConversationSummary summary;
  std::string document;  ///< JSON object: the messages and what else the page keeps
  std::string text;      ///< what is said in it, for searching (not read back by get())
};

/// All functions throw Error when the disk or the file fails. Owners never see each other's
/// conversations: an id of another owner's is as unknown as one that does not exist. One thread
/// at a time uses a store (PageApi locks); any number of processes may have it open at once.
class ConversationStore {
 public:
  static constexpr int kSchemaVersion = 1;
  static constexpr std::size_t kMaxDocumentBytes = std::size_t{8} << 20;
  static constexpr std::int64_t kMaxConversations = 20'000;  ///< of one owner
  static constexpr std::size_t kMaxIdBytes = 64, kMaxTitleBytes = 400, kMaxQueryBytes = 400;
  /// Told, in one sentence, that a damaged file was set aside. May be empty.
  using Warn = std::function<void(const std::string&)>;

  /// Opens the store, making it (and its folder) if need be, readable by its owner only. A file
  /// that is no store of conversations, or a damaged one, is renamed ("….bad-…"), told to `warn`,
  /// and a new one begun. Throws Error, and changes nothing, when a newer Hearth wrote it.
  /// `hearth serve` keeps it as conversations.db in Hearth's data folder (cli/config.h).
  [[nodiscard]] static ConversationStore open(const std::filesystem::path& path, const Warn& warn);

  /// Newest first; those updated before `before` (0: all).
  [[nodiscard]] std::vector<ConversationSummary> list(const std::string& owner, std::size_t limit,
                                                      std::int64_t before = 0) const;
  /// Conversations whose title or text holds every word of `query` (parts of words count, case
  /// does not), newest first, with snippets.
  [[nodiscard]] std::vector<ConversationSummary> search(const std::string& owner,
                                                        std::string_view query,
                                                        std::size_t limit) const;
  [[nodiscard]] std::optional<Conversation> get(const std::string& owner,
                                                const std::string& id) const;

  enum class PutResult : std::uint8_t { kStored, kConflict, kFull };
  /// Stores a new conversation (revision 0) or the next state of one: `summary.revision` is the
  /// one that the caller has read, and becomes the stored one. kConflict: somebody else stored a
  /// newer state. kFull: the owner has kMaxConversations already.
  [[nodiscard]] PutResult put(const std::string& owner, Conversation& conversation);
  /// Really deleted: its bytes are overwritten in the file. False when there is none.
  bool remove(const std::string& owner, const std::string& id);
  /// All of an owner's; how many there were.
  std::int64_t remove_all(const std::string& owner);
  [[nodiscard]] std::int64_t count(const std::string& owner) const;

 private:
  explicit ConversationStore(measure::PrivateDatabase database) : database_(std::move(database)) {}

  measure::PrivateDatabase database_;
};

}  // namespace hearth::serve
