#include "serve/page_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/error.h"
#include "support/json_limits.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kConversations = "/hearth/conversations";
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxMessages = 20'000;
constexpr std::size_t kListed = 100, kMaxListed = 1000;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

PageApiReply reply(const Json& json) { return {200, dump(json)}; }

PageApiReply refusal(int status, std::string_view message) {
  return {status, dump({{"error", {{"message", message}}}})};
}

PageApiReply not_found() { return refusal(404, "there is no such conversation"); }

PageApiReply wrong_method(std::string_view allowed) {
  return refusal(405, fmt::format("this address understands {}", allowed));
}

int hexadecimal(char c) {
  if ('0' <= c && c <= '9') return c - '0';
  if ('a' <= c && c <= 'f') return c - 'a' + 10;
  if ('A' <= c && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() ? hexadecimal(text[i + 1]) : -1;
    const int low = high >= 0 ? hexadecimal(text[i + 2]) : -1;
    if (text[i] == '%' && low >= 0) {
      result += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      result += text[i] == '+' ? ' ' : text[i];
    }
  }
  return result;
}

std::map<std::string, std::string> parameters(std::string_view query) {
  std::map<std::string, std::string> result;
  while (!query.empty() && result.size() < 16) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    const std::size_t equals = part.find('=');
    result[decoded(part.substr(0, equals))] =
        equals == std::string_view::npos ? std::string() : decoded(part.substr(equals + 1));
  }
  return result;
}

/// A number from 0 to `most`; nothing for other texts.
std::optional<std::int64_t> natural(const std::string& text, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 0 || value > most)
    return std::nullopt;
  return value;
}

/// The value that `text` holds; nothing when it holds none or exceeds the limits.
std::optional<Json> parse(std::string_view text) {
  if (json_excess(text, {.depth = kMaxDepth}) != JsonExcess::kNone) return std::nullopt;
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

std::string text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json summary_json(const ConversationSummary& summary) {
  Json json = {{"id", summary.id},           {"title", summary.title},
               {"model", summary.model},     {"created", summary.created},
               {"updated", summary.updated}, {"revision", summary.revision}};
  if (!summary.snippet.empty()) json["snippet"] = summary.snippet;
  return json;
}

/// Ids are made by the page: letters, digits, '-' and '_'.
bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= ConversationStore::kMaxIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
                  c == '-' || c == '_';
         });
}

/// What is said in the messages, one after the other; nothing when they are no array of objects.
std::optional<std::string> said_in(const Json& document) {
  const auto messages = document.find("messages");
  if (messages == document.end() || !messages->is_array() || messages->size() > kMaxMessages)
    return std::nullopt;
  std::string said;
  for (const Json& message : *messages) {
    if (!message.is_object()) return std::nullopt;
    const std::string content = text_member(message, "content");
    if (!content.empty()) said += content + "\n";
  }
  return said;
}

Json optional_number(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json model_json(const PageModel& model) {
  return {{"name", model.name},
          {"kind", model.kind},
          {"architecture", model.architecture},
          {"type", model.type},
          {"parameters", model.parameters},
          {"file_bytes", model.file_bytes},
          {"context", model.context},
          {"loaded", model.loaded},
          {"thinks", model.thinks},
          {"tools", model.tools},
          {"fits", model.fits.has_value() ? Json(*model.fits) : Json(nullptr)},
          {"note", model.note},
          {"memory_bytes", model.memory_bytes},
          {"expected_prefill_tps", optional_number(model.expected_prefill_tps)},
          {"expected_decode_tps", optional_number(model.expected_decode_tps)},
          {"measured_prefill_tps", optional_number(model.measured_prefill_tps)},
          {"measured_decode_tps", optional_number(model.measured_decode_tps)}};
}

Json loaded_json(const PageLoadedModel& model) {
  Json memory = Json::array();
  for (const PageMemoryPart& part : model.memory)
    memory.push_back({{"name", part.name}, {"bytes", part.bytes}});
  const generate::SchedulerStatistics& work = model.work;
  return {{"name", model.name},
          {"memory", std::move(memory)},
          {"parallel", model.parallel},
          {"context", model.context},
          {"kv_type", model.kv_type},
          {"unload_in_seconds", optional_number(model.unload_in_seconds)},
          {"generating", work.generating},
          {"prefilling", work.prefilling},
          {"waiting", work.waiting},
          {"prompt_tokens", work.prompt_tokens},
          {"reused_tokens", work.reused_tokens},
          {"generated_tokens", work.generated_tokens},
          {"passes", work.passes},
          {"rows", work.rows},
          {"finished", work.finished},
          {"cancelled", work.cancelled},
          {"failed", work.failed},
          {"refused", work.refused},
          {"preempted", work.preempted},
          {"kv_cells_used", work.kv_cells_used},
          {"kv_cells", work.kv_cells},
          {"prompt_seconds", work.prompt_seconds},
          {"generate_seconds", work.generate_seconds}};
}

Json status_json(const PageStatus& status) {
  Json models = Json::array();
  for (const PageLoadedModel& model : status.models) models.push_back(loaded_json(model));
  return {{"version", status.version},
          {"processor", status.processor},
          {"cores", status.cores},
          {"threads", status.threads},
          {"instruction_set", status.instruction_set},
          {"memory_bytes", status.memory_bytes},
          {"memory_available_bytes", status.memory_available_bytes},
          {"process_bytes", status.process_bytes},
          {"read_bytes_per_second", status.read_bytes_per_second},
          {"uptime_seconds", status.uptime_seconds},
          {"connections", status.connections},
          {"models", std::move(models)}};
}

}  // namespace

PageApi::PageApi(PageFacts& facts, std::unique_ptr<ConversationStore> store)
    : facts_(facts), store_(std::move(store)) {}

PageApiReply PageApi::handle(std::string_view method, std::string_view path, std::string_view query,
                             std::string_view body, const std::string& owner) {
  try {
    if (path == "/hearth/models") {
      if (method != "GET") return wrong_method("GET");
      Json models = Json::array();
      for (const PageModel& model : facts_.models()) models.push_back(model_json(model));
      return reply({{"models", std::move(models)}});
    }
    if (path == "/hearth/status") {
      if (method != "GET") return wrong_method("GET");
      Json status = status_json(facts_.status());
      status["keeps_conversations"] = store_ != nullptr;
      return reply(status);
    }
    if (path == kConversations ||
        path.substr(0, kConversations.size() + 1) == "/hearth/conversations/") {
      if (store_ == nullptr)
        return refusal(404, "this server keeps no conversations (--no-conversations)");
      const std::lock_guard lock(mutex_);
      if (path == kConversations) return conversations(method, query, owner);
      return conversation(method, std::string(path.substr(kConversations.size() + 1)), body, owner);
    }
    return refusal(404, "there is nothing at this address");
  } catch (const Error& error) {
    return refusal(500, error.hint().empty() ? std::string(error.what())
                                             : fmt::format("{}; {}", error.what(), error.hint()));
  } catch (const std::bad_alloc&) {
    return refusal(503, "out of memory");
  } catch (const std::exception& error) {
    return refusal(500, fmt::format("internal error: {}", error.what()));
  }
}

PageApiReply PageApi::conversations(std::string_view method, std::string_view query,
                                    const std::string& owner) {
  if (method == "DELETE") return reply({{"deleted", store_->remove_all(owner)}});
  if (method != "GET") return wrong_method("GET and DELETE");
  std::map<std::string, std::string> given = parameters(query);
  std::size_t limit = kListed;
  std::int64_t before = 0;
  if (given.count("limit") != 0) {
    const auto number = natural(given["limit"], kMaxListed);
    if (!number.has_value() || *number == 0)
      return refusal(400, fmt::format("limit is a number from 1 to {}", kMaxListed));
    limit = static_cast<std::size_t>(*number);
  }
  if (given.count("before") != 0) {
    const auto number = natural(given["before"], std::int64_t{1} << 53);
    if (!number.has_value()) return refusal(400, "before is a time in milliseconds since 1970");
    before = *number;
  }
  const bool searched = given.count("q") != 0;
  Json list = Json::array();
  for (const ConversationSummary& summary :
       searched ? store_->search(owner, given["q"], limit) : store_->list(owner, limit, before))
    list.push_back(summary_json(summary));
  return reply({{"conversations", std::move(list)}, {"count", store_->count(owner)}});
}

PageApiReply PageApi::conversation(std::string_view method, const std::string& id,
                                   std::string_view body, const std::string& owner) {
  if (!is_id(id)) return not_found();
  if (method == "PUT") return put(id, body, owner);
  if (method == "DELETE") return store_->remove(owner, id) ? reply({{"deleted", 1}}) : not_found();
  if (method != "GET") return wrong_method("GET, PUT and DELETE");
  const std::optional<Conversation> found = store_->get(owner, id);
  if (!found.has_value()) return not_found();
  // The document is JSON already, as put() wrote it.
  std::string text = dump(summary_json(found->summary));
  text.pop_back();
  return {200, text + ",\"document\":" + found->document + "}"};
}

PageApiReply PageApi::put(const std::string& id, std::string_view body, const std::string& owner) {
  if (body.size() > kMaxBodyBytes)
    return refusal(413, "this conversation is too long to be kept; begin a new one");
  if (find_invalid_utf8(body) != std::string_view::npos)
    return refusal(400, "the body is not UTF-8");
  const std::optional<Json> json = parse(body);
  if (!json.has_value() || !json->is_object())
    return refusal(
        400, "the body must be a JSON object, neither too deeply nested nor with too many members");
  const auto document = json->find("document");
  const auto revision = json->find("revision");
  const std::optional<std::string> said =
      document != json->end() && document->is_object() ? said_in(*document) : std::nullopt;
  if (!said.has_value())
    return refusal(400, "document must be an object with messages, an array of objects");
  if (revision == json->end() || !revision->is_number_unsigned())
    return refusal(400, "revision must be the one that was read, or 0");
  Conversation conversation;
  conversation.summary.id = id;
  conversation.summary.title = text_member(*json, "title");
  conversation.summary.model = text_member(*json, "model");
  conversation.summary.revision = static_cast<std::int64_t>(
      std::min<std::uint64_t>(revision->get<std::uint64_t>(), std::uint64_t{1} << 53));
  conversation.text = *said;
  conversation.document = dump(*document);
  if (conversation.document.size() > ConversationStore::kMaxDocumentBytes)
    return refusal(413, "this conversation is too long to be kept; begin a new one");
  switch (store_->put(owner, conversation)) {
    case ConversationStore::PutResult::kConflict:
      return refusal(409, "this conversation was changed elsewhere meanwhile, or deleted");
    case ConversationStore::PutResult::kFull:
      return refusal(507, fmt::format("{} conversations are kept already; delete some",
                                      ConversationStore::kMaxConversations));
    case ConversationStore::PutResult::kStored:
      break;
  }
  return reply(summary_json(conversation.summary));
}

}  // namespace hearth::serve
