// What the web page asks the server beside the chat itself, under /hearth/: conversations, models
// with what the plan says of them, and live numbers. Text in, JSON text out: no sockets here.
//
//   GET    /hearth/models
//   GET    /hearth/status
//   GET    /hearth/conversations?limit=N&before=MILLISECONDS
//   GET    /hearth/conversations?q=WORDS
//   DELETE /hearth/conversations                   all of them
//   GET, PUT, DELETE /hearth/conversations/ID
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/scheduler.h"
#include "serve/conversations.h"

namespace hearth::serve {

/// A model that can be chosen. Speeds in tokens per second, of one conversation.
struct PageModel {
  std::string name;  ///< as requests name it
  std::string kind;  ///< "chat", "completion", "embedding" or "rerank"
  std::string architecture;
  std::string type;              ///< of its weights: "Q4_K_M"
  std::uint64_t parameters = 0;  ///< 0: unknown
  std::uint64_t file_bytes = 0;
  std::int64_t context = 0;  ///< tokens, as it would run; 0: unknown
  bool loaded = false;
  bool thinks = false;  ///< its chat format has reasoning that can be switched on and off
  bool tools = false;
  std::optional<bool> fits;        ///< what the plan says; nothing: not planned
  std::string note;                ///< one sentence of the plan: why it (does not) fit
  std::uint64_t memory_bytes = 0;  ///< needed in all, by the plan; 0: unknown
  std::optional<double> expected_prefill_tps, expected_decode_tps;
  std::optional<double> measured_prefill_tps, measured_decode_tps;
};

struct PageMemoryPart {
  std::string name;  ///< "weights", "KV", "activations", …
  std::uint64_t bytes = 0;
};

/// A model in memory.
struct PageLoadedModel {
  std::string name;
  std::vector<PageMemoryPart> memory;
  generate::SchedulerStatistics work;  ///< all zero for models without a scheduler
  int parallel = 0;
  std::int64_t context = 0;
  std::string kv_type;
  std::optional<double> unload_in_seconds;  ///< nothing: never, or it is busy
};

struct PageStatus {
  std::string version;
  std::string processor;
  int cores = 0;    ///< that Hearth may use
  int threads = 0;  ///< that it uses
  std::string instruction_set;
  std::uint64_t memory_bytes = 0;            ///< of the machine, or the limit of its container
  std::uint64_t memory_available_bytes = 0;  ///< now
  std::uint64_t process_bytes = 0;           ///< resident memory of this program
  double read_bytes_per_second = 0;          ///< measured bandwidth; 0: never measured
  double uptime_seconds = 0;
  int connections = 0;
  std::vector<PageLoadedModel> models;
};

/// Where the facts come from: the server implements it. Called from any thread.
class PageFacts {
 public:
  virtual ~PageFacts() = default;
  [[nodiscard]] virtual std::vector<PageModel> models() = 0;
  [[nodiscard]] virtual PageStatus status() = 0;
};

struct PageApiReply {
  int status = 200;
  std::string body;  ///< JSON; {"error": {"message": …}} when status >= 400
  static constexpr std::string_view kContentType = "application/json; charset=utf-8";
};

/// Thread-safe. Never throws: what goes wrong is a reply.
class PageApi {
 public:
  /// `store` may be null (--no-conversations): then conversations answer 404 and GET
  /// /hearth/status says so, and the page keeps them in the browser only while it is open.
  PageApi(PageFacts& facts, std::unique_ptr<ConversationStore> store);

  /// `path` without its query, percent-encoding undone; `query` as in the URL, without '?'.
  /// `owner`: the API key's name, or "" when the server has no keys. Bodies are at most
  /// kMaxBodyBytes: the server refuses longer ones before.
  [[nodiscard]] PageApiReply handle(std::string_view method, std::string_view path,
                                    std::string_view query, std::string_view body,
                                    const std::string& owner);

  static constexpr std::size_t kMaxBodyBytes = ConversationStore::kMaxDocumentBytes + (64 << 10);

 private:
  PageApiReply conversations(std::string_view method, std::string_view query,
                             const std::string& owner);
  PageApiReply conversation(std::string_view method, const std::string& id, std::string_view body,
                            const std::string& owner);
  PageApiReply put(const std::string& id, std::string_view body, const std::string& owner);

  PageFacts& facts_;
  std::mutex mutex_;  // of the store
  std::unique_ptr<ConversationStore> store_;
};

}  // namespace hearth::serve
