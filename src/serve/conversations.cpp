#include "serve/conversations.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "support/ascii.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

using measure::DatabaseKind;
using measure::PrivateDatabase;
using measure::Statement;
using measure::Transaction;

constexpr std::size_t kMaxOwnerBytes = 200, kMaxModelBytes = 300, kMaxTextBytes = 2 << 20;
constexpr std::size_t kMaxWords = 16;
/// The trigram index finds words of at least so many characters; shorter ones are looked for in
/// the texts themselves.
constexpr std::int64_t kIndexedCharacters = 3;

/// The index has no texts of its own ("external content"): they stand once in the table, and what
/// changes there is told to it (tell_index()).
constexpr const char* kMigrations[ConversationStore::kSchemaVersion] = {
    "CREATE TABLE conversations ("
    " row INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL,"
    " model TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,"
    " revision INTEGER NOT NULL, document TEXT NOT NULL, said TEXT NOT NULL,"
    " UNIQUE (owner, id));"
    "CREATE INDEX conversations_by_time ON conversations (owner, updated);"
    "CREATE VIRTUAL TABLE conversation_words USING fts5"
    " (title, said, content='conversations', content_rowid='row', tokenize='trigram');",
};

/// "HRTC".
constexpr DatabaseKind kKind{
    .what = "conversations",
    .application_id = 0x48525443,
    .migrations = kMigrations,
    .check =
        "SELECT c.row, owner, id, c.title, model, created, updated, revision, document, c.said"
        " FROM conversations c JOIN conversation_words w ON w.rowid = c.row LIMIT 0",
    .max_file_bytes = std::uintmax_t{64} << 30,
    .max_value_bytes = static_cast<int>(ConversationStore::kMaxDocumentBytes) + (1 << 20),
    .erases = true,
};

constexpr const char* kSummary = "c.id, c.title, c.model, c.created, c.updated, c.revision";

std::int64_t now_milliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

ConversationSummary read_summary(Statement& statement) {
  ConversationSummary summary;
  summary.id = statement.text(ConversationStore::kMaxIdBytes);
  summary.title = to_valid_utf8(statement.text(ConversationStore::kMaxTitleBytes));
  summary.model = to_valid_utf8(statement.text(kMaxModelBytes));
  summary.created = statement.integer();
  summary.updated = statement.integer();
  summary.revision = statement.integer();
  return summary;
}

/// The words of a query, lower-cased by SQLite where it matters; control characters separate, too.
std::vector<std::string> words_of(std::string_view query) {
  const std::string valid = to_valid_utf8(query.substr(0, ConversationStore::kMaxQueryBytes));
  std::vector<std::string> words(1);
  for (const char character : valid) {
    if (static_cast<unsigned char>(character) > 0x20) {
      words.back() += character;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  if (words.size() > kMaxWords) words.resize(kMaxWords);
  return words;
}

std::int64_t characters_of(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

/// A pattern of LIKE that finds `word` anywhere.
std::string like_pattern(std::string_view word) {
  std::string pattern = "%";
  for (const char character : word) {
    if (character == '%' || character == '_' || character == '\\') pattern += '\\';
    pattern += character;
  }
  return pattern + "%";
}

/// A phrase of FTS5: text in double quotes is nothing but text.
std::string phrase(std::string_view word) {
  std::string result = "\"";
  for (const char character : word) {
    if (character == '"') result += '"';
    result += character;
  }
  return result + "\"";
}

/// Where the bytes of `word` stand in `text`, ASCII letters in either case.
std::size_t find_word(std::string_view text, std::string_view word) {
  const auto found = std::search(text.begin(), text.end(), word.begin(), word.end(),
                                 [](char a, char b) { return ascii_lower(a) == ascii_lower(b); });
  return found == text.end() ? std::string_view::npos
                             : static_cast<std::size_t>(found - text.begin());
}

/// A line of `text` around the first word that is found in it as it is written.
std::string snippet_of(std::string_view text, const std::vector<std::string>& words) {
  constexpr std::size_t kBefore = 40, kLength = 160;
  std::size_t place = std::string_view::npos;
  for (const std::string& word : words) place = std::min(place, find_word(text, word));
  if (place == std::string_view::npos) place = 0;
  std::size_t begin = place > kBefore ? place - kBefore : 0;
  std::size_t end = std::min(text.size(), begin + kLength);
  const auto inside = [&](std::size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; };
  while (begin > 0 && inside(begin)) --begin;
  while (end < text.size() && inside(end)) ++end;
  std::string line(text.substr(begin, end - begin));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return (begin > 0 ? "…" : "") + to_valid_utf8(line) + (end < text.size() ? "…" : "");
}

/// What LENGTH limits and FTS5 do not like: NULs, and ill-formed bytes.
std::string storable(std::string_view text, std::size_t limit) {
  std::string result = to_valid_utf8(text);
  if (result.size() > limit) {
    std::size_t end = limit;
    while (end > 0 && (result[end] & 0xC0) == 0x80) --end;
    result.resize(end);
  }
  std::replace(result.begin(), result.end(), '\0', ' ');
  return result;
}

/// Takes the row's words out of the index, or puts them in: before a row changes and after.
void tell_index(const PrivateDatabase& database, std::int64_t row, bool add) {
  Statement(database,
            add ? "INSERT INTO conversation_words (rowid, title, said)"
                  " SELECT row, title, said FROM conversations WHERE row = ?"
                : "INSERT INTO conversation_words (conversation_words, rowid, title, said)"
                  " SELECT 'delete', row, title, said FROM conversations WHERE row = ?")
      .bind(row)
      .step();
}

/// Segments of the index still hold what was deleted until they are merged into one.
void forget_deleted_words(const PrivateDatabase& database) {
  database.execute("INSERT INTO conversation_words (conversation_words) VALUES ('optimize')");
}

/// The row and revision of a conversation; row 0 when there is none.
std::pair<std::int64_t, std::int64_t> find_row(const PrivateDatabase& database,
                                               const std::string& owner, const std::string& id) {
  Statement select(database, "SELECT row, revision FROM conversations WHERE owner = ? AND id = ?");
  select.bind(owner, kMaxOwnerBytes).bind(id, ConversationStore::kMaxIdBytes);
  if (!select.step()) return {0, 0};
  const std::int64_t row = select.integer();
  return {row, select.integer()};
}

std::int64_t count_of(const PrivateDatabase& database, const std::string& owner) {
  Statement select(database, "SELECT count(*) FROM conversations WHERE owner = ?");
  select.bind(owner, kMaxOwnerBytes);
  return select.step() ? select.integer() : 0;
}

void insert(const PrivateDatabase& database, const std::string& owner, const Conversation& c) {
  Statement statement(database,
                      "INSERT INTO conversations (owner, id, title, model, created, updated,"
                      " revision, document, said) VALUES (?,?,?,?,?,?,?,?,?)");
  statement.bind(owner, kMaxOwnerBytes).bind(c.summary.id, ConversationStore::kMaxIdBytes);
  statement.bind(storable(c.summary.title, ConversationStore::kMaxTitleBytes),
                 ConversationStore::kMaxTitleBytes);
  statement.bind(storable(c.summary.model, kMaxModelBytes), kMaxModelBytes);
  statement.bind(c.summary.created).bind(c.summary.updated).bind(c.summary.revision);
  statement.bind(c.document, ConversationStore::kMaxDocumentBytes);
  statement.bind(storable(c.text, kMaxTextBytes), kMaxTextBytes);
  statement.step();
  tell_index(database, database.last_row(), true);
}

void update(const PrivateDatabase& database, std::int64_t row, const Conversation& c) {
  tell_index(database, row, false);
  Statement statement(database,
                      "UPDATE conversations SET title = ?, model = ?, updated = ?, revision = ?,"
                      " document = ?, said = ? WHERE row = ?");
  statement.bind(storable(c.summary.title, ConversationStore::kMaxTitleBytes),
                 ConversationStore::kMaxTitleBytes);
  statement.bind(storable(c.summary.model, kMaxModelBytes), kMaxModelBytes);
  statement.bind(c.summary.updated).bind(c.summary.revision);
  statement.bind(c.document, ConversationStore::kMaxDocumentBytes);
  statement.bind(storable(c.text, kMaxTextBytes), kMaxTextBytes).bind(row);
  statement.step();
  tell_index(database, row, true);
}

}  // namespace

ConversationStore ConversationStore::open(const std::filesystem::path& path, const Warn& warn) {
  return ConversationStore(PrivateDatabase::open(path, kKind, warn));
}

std::vector<ConversationSummary> ConversationStore::list(const std::string& owner,
                                                         std::size_t limit,
                                                         std::int64_t before) const {
  return database_.reported([&] {
    std::vector<ConversationSummary> result;
    Statement select(database_,
                     fmt::format("SELECT {} FROM conversations c WHERE owner = ? AND"
                                 " (?2 = 0 OR updated < ?2) ORDER BY updated DESC, row DESC"
                                 " LIMIT ?3",
                                 kSummary)
                         .c_str());
    select.bind(owner, kMaxOwnerBytes).bind(before).bind(static_cast<std::int64_t>(limit));
    while (select.step()) result.push_back(read_summary(select));
    return result;
  });
}

std::vector<ConversationSummary> ConversationStore::search(const std::string& owner,
                                                           std::string_view query,
                                                           std::size_t limit) const {
  const std::vector<std::string> words = words_of(query);
  if (words.empty()) return {};
  std::string phrases, where;
  std::vector<std::string> patterns;
  for (const std::string& word : words) {
    if (characters_of(word) >= kIndexedCharacters) {
      phrases += (phrases.empty() ? "" : " AND ") + phrase(word);
    } else {
      patterns.push_back(like_pattern(word));
      where += " AND (c.title || char(10) || c.said) LIKE ? ESCAPE '\\'";
    }
  }
  if (!phrases.empty())
    where +=
        " AND c.row IN (SELECT rowid FROM conversation_words WHERE conversation_words MATCH ?)";
  return database_.reported([&] {
    std::vector<ConversationSummary> result;
    Statement select(database_,
                     fmt::format("SELECT {}, c.said FROM conversations c WHERE owner = ? {}"
                                 " ORDER BY updated DESC, row DESC LIMIT ?",
                                 kSummary, where)
                         .c_str());
    select.bind(owner, kMaxOwnerBytes);
    for (const std::string& pattern : patterns) select.bind(pattern, 4 * kMaxQueryBytes);
    if (!phrases.empty()) select.bind(phrases, 8 * kMaxQueryBytes);
    select.bind(static_cast<std::int64_t>(limit));
    while (select.step()) {
      result.push_back(read_summary(select));
      result.back().snippet = snippet_of(select.text(kMaxTextBytes), words);
    }
    return result;
  });
}

std::optional<Conversation> ConversationStore::get(const std::string& owner,
                                                   const std::string& id) const {
  return database_.reported([&]() -> std::optional<Conversation> {
    Statement select(database_, fmt::format("SELECT {}, c.document FROM conversations c"
                                            " WHERE owner = ? AND id = ?",
                                            kSummary)
                                    .c_str());
    select.bind(owner, kMaxOwnerBytes).bind(id, kMaxIdBytes);
    if (!select.step()) return std::nullopt;
    Conversation result;
    result.summary = read_summary(select);
    result.document = select.text(kMaxDocumentBytes);
    return result;
  });
}

ConversationStore::PutResult ConversationStore::put(const std::string& owner,
                                                    Conversation& conversation) {
  if (conversation.summary.id.empty() || conversation.summary.id.size() > kMaxIdBytes ||
      conversation.document.size() > kMaxDocumentBytes || owner.size() > kMaxOwnerBytes)
    throw Error("a conversation's id or size is out of bounds");
  return database_.reported([&] {
    Transaction transaction(database_);
    const auto [row, revision] = find_row(database_, owner, conversation.summary.id);
    if (revision != conversation.summary.revision) return PutResult::kConflict;
    if (row == 0 && count_of(database_, owner) >= kMaxConversations) return PutResult::kFull;
    ConversationSummary& summary = conversation.summary;
    summary.updated = now_milliseconds();
    summary.revision = revision + 1;
    if (row == 0) {
      summary.created = summary.updated;
      insert(database_, owner, conversation);
    } else {
      update(database_, row, conversation);
    }
    transaction.commit();
    return PutResult::kStored;
  });
}

bool ConversationStore::remove(const std::string& owner, const std::string& id) {
  return database_.reported([&] {
    Transaction transaction(database_);
    const std::int64_t row = find_row(database_, owner, id).first;
    if (row == 0) return false;
    tell_index(database_, row, false);
    Statement(database_, "DELETE FROM conversations WHERE row = ?").bind(row).step();
    forget_deleted_words(database_);
    transaction.commit();
    return true;
  });
}

std::int64_t ConversationStore::remove_all(const std::string& owner) {
  return database_.reported([&] {
    Transaction transaction(database_);
    Statement(database_,
              "INSERT INTO conversation_words (conversation_words, rowid, title, said)"
              " SELECT 'delete', row, title, said FROM conversations WHERE owner = ?")
        .bind(owner, kMaxOwnerBytes)
        .step();
    Statement(database_, "DELETE FROM conversations WHERE owner = ?")
        .bind(owner, kMaxOwnerBytes)
        .step();
    const std::int64_t removed = database_.changes();
    forget_deleted_words(database_);
    transaction.commit();
    return removed;
  });
}

std::int64_t ConversationStore::count(const std::string& owner) const {
  return database_.reported([&] { return count_of(database_, owner); });
}

}  // namespace hearth::serve
