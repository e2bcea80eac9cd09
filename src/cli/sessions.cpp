// hearth sessions: the memories of conversations that are kept on disk.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/config.h"
#include "cli/kv_disk.h"
#include "cli/main.h"
#include "cli/said.h"
#include "cli/tar_file.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "state/segment_folder.h"
#include "support/error.h"
#include "support/write_target.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
using state::Hash128;
using state::SegmentFolder;
using state::StoredSegment;

constexpr std::size_t kShownId = 12;

struct SessionsOptions {
  std::string folder, key, id, file;
  std::vector<std::string> ids;
  bool json = false, all = false, yes = false, force = false;
};

/// The folder that was named, else that of the kv-disk setting, else the default one.
std::filesystem::path folder_of(const SessionsOptions& options) {
  if (!options.folder.empty()) {
    std::error_code error;  // one that does not exist is made when something is kept there
    if (!std::filesystem::exists(options.folder, error) ||
        std::filesystem::is_directory(options.folder, error))
      return options.folder;
    throw Error(in_quotes(options.folder, kPathLimit) + " is not a folder",
                "name the folder that --kv-disk has");
  }
  const Configuration configuration = read_configuration();
  const KvDisk disk = apply_settings({}, configuration.values).kv_disk;
  return disk.folder.empty() ? default_kv_folder() : disk.folder;
}

/// The key file that was named, else that of the kv-disk-key setting.
std::shared_ptr<const state::StoreKey> key_of(const SessionsOptions& options) {
  if (!options.key.empty()) return read_kv_key(options.key);
  return read_kv_key(apply_settings({}, read_configuration().values).kv_disk_key);
}

/// Null when nothing was ever kept there.
std::unique_ptr<SegmentFolder> open_folder(const std::filesystem::path& path,
                                           const SessionsOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(path / "hearth-kv", error)) return nullptr;
  auto folder = std::make_unique<SegmentFolder>(path, /*create=*/false, key_of(options));
  folder->refresh();
  return folder;
}

/// A conversation: the end of a chain.
struct Session {
  Hash128 id;
  const StoredSegment* last = nullptr;
  std::vector<Hash128> chain;
  std::uint64_t own_bytes = 0, all_bytes = 0;
};

Session session_of(const SegmentFolder& folder, const Hash128& id) {
  Session session{id, &folder.segments().at(id), folder.chain(id), 0, 0};
  for (const Hash128& part : session.chain)
    session.all_bytes += folder.segments().at(part).file_bytes;
  for (const Hash128& part : folder.only_of(id))
    session.own_bytes += folder.segments().at(part).file_bytes;
  return session;
}

std::vector<Session> sessions_of(const SegmentFolder& folder) {
  std::vector<Session> sessions;
  for (const Hash128& leaf : folder.leaves()) sessions.push_back(session_of(folder, leaf));
  std::sort(sessions.begin(), sessions.end(), [](const Session& a, const Session& b) {
    return std::pair(a.last->uses.last, a.id) > std::pair(b.last->uses.last, b.id);
  });
  return sessions;
}

Hash128 find_id(const SegmentFolder& folder, const std::string& word) {
  Hash128 found;
  int matches = 0;
  for (const auto& [id, segment] : folder.segments()) {
    if (word.size() < 4 || !id.hex().starts_with(word)) continue;
    found = id;
    ++matches;
  }
  if (matches == 1) return found;
  if (matches == 0) {
    throw Error(fmt::format("no stored conversation has the id '{}'", printable(word)),
                "hearth sessions lists them");
  }
  throw Error(
      fmt::format("several stored conversations have ids that begin with '{}'", printable(word)),
      "give more of it");
}

std::string ago(std::int64_t then) {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  const std::int64_t seconds = std::max<std::int64_t>(0, now - then);
  if (seconds < 120) return fmt::format("{} s ago", seconds);
  if (seconds < 7200) return fmt::format("{} min ago", seconds / 60);
  if (seconds < 172800) return fmt::format("{} h ago", seconds / 3600);
  return fmt::format("{} days ago", seconds / 86400);
}

Json to_json(const Session& session) {
  const state::SegmentHeader& header = session.last->header;
  return {{"id", session.id.hex()},
          {"model", header.model},
          {"tokens", header.end},
          {"bytes", session.own_bytes},
          {"shared_bytes", session.all_bytes - std::min(session.all_bytes, session.own_bytes)},
          {"segments", session.chain.size()},
          {"owner", header.key.owner},
          {"adapters", header.key.adapters != 0},
          {"created", header.created},
          {"used", session.last->uses.last},
          {"hits", session.last->uses.count}};
}

void list_sessions(const SessionsOptions& options) {
  const std::filesystem::path path = folder_of(options);
  const auto folder = open_folder(path, options);
  const std::vector<Session> sessions = folder ? sessions_of(*folder) : std::vector<Session>();
  if (options.json) {
    Json list = Json::array();
    for (const Session& session : sessions) list.push_back(to_json(session));
    return print_json({{"folder", path.string()},
                       {"encrypted", folder && folder->key() != nullptr},
                       {"sessions", std::move(list)},
                       {"files_left_out", folder ? folder->locked() : 0}});
  }
  if (folder && folder->locked() > 0) fmt::print(stderr, "hearth: {}\n", folder->locked_remark());
  if (sessions.empty() && folder && folder->locked() > 0) return;
  std::error_code error;
  if (sessions.empty() && !std::filesystem::exists(path, error)) {
    fmt::print(
        "There is no folder {}: nothing is kept there. hearth run --kv-disk on keeps "
        "conversations.\n",
        in_quotes(path.string(), kPathLimit));
    return;
  }
  if (sessions.empty()) {
    fmt::print("Nothing is kept in {}. hearth run --kv-disk on keeps conversations.\n",
               printable(path.string(), 300));
    return;
  }
  fmt::print("{:<{}}  {:>8}  {:>8}  {:<12}  {:>4}  {}\n", "ID", kShownId, "TOKENS", "SIZE", "USED",
             "HITS", "MODEL");
  std::uint64_t total = 0;
  for (const auto& [id, segment] : folder->segments()) total += segment.file_bytes;
  for (const Session& session : sessions) {
    const state::SegmentHeader& header = session.last->header;
    fmt::print("{:<{}}  {:>8}  {:>8}  {:<12}  {:>4}  {}{}\n", session.id.hex().substr(0, kShownId),
               kShownId, header.end, size_text(static_cast<double>(session.own_bytes)),
               ago(session.last->uses.last), session.last->uses.count, printable(header.model),
               header.key.owner.empty() ? "" : " (" + printable(header.key.owner) + ")");
  }
  fmt::print("{} in {}, what they share counted once.\n", size_text(static_cast<double>(total)),
             printable(path.string(), 300));
}

SegmentFolder& required(const std::unique_ptr<SegmentFolder>& folder,
                        const std::filesystem::path& path) {
  if (folder) return *folder;
  throw Error(fmt::format("nothing is kept in '{}'", printable(path.string(), 300)),
              "name the folder with --folder");
}

void show_session(const SessionsOptions& options) {
  const std::filesystem::path path = folder_of(options);
  const auto opened = open_folder(path, options);
  SegmentFolder& folder = required(opened, path);
  const Session session = session_of(folder, find_id(folder, plain_word(options.id)));
  const state::SegmentHeader& header = session.last->header;
  if (options.json) {
    Json json = to_json(session);
    Json parts = Json::array();
    for (const Hash128& part : session.chain) {
      const StoredSegment& segment = folder.segments().at(part);
      parts.push_back({{"id", part.hex()},
                       {"begin", segment.header.begin},
                       {"end", segment.header.end},
                       {"bytes", segment.file_bytes},
                       {"file", folder.file_of(segment.header).string()}});
    }
    json["parts"] = std::move(parts);
    json["token_ids"] = folder.tokens(session.chain);
    return print_json(json);
  }
  fmt::print("id        {}\nmodel     {}\ntokens    {}\n", session.id.hex(),
             printable(header.model), header.end);
  if (!header.key.owner.empty()) fmt::print("owner     {}\n", printable(header.key.owner));
  fmt::print("size      {}, and {} that others need, too\n",
             size_text(static_cast<double>(session.own_bytes)),
             size_text(static_cast<double>(session.all_bytes -
                                           std::min(session.all_bytes, session.own_bytes))));
  fmt::print("created   {}\nused      {}, {} times since it was written\n", ago(header.created),
             ago(session.last->uses.last), session.last->uses.count);
  for (const Hash128& part : session.chain) {
    const StoredSegment& segment = folder.segments().at(part);
    fmt::print("part      tokens {} to {}, {}\n", segment.header.begin, segment.header.end,
               size_text(static_cast<double>(segment.file_bytes)));
  }
}

std::uint64_t bytes_in(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error, gone;
  for (std::filesystem::directory_iterator each(folder, error), end; !error && each != end;
       each.increment(error)) {
    const std::uintmax_t size = each->is_regular_file(gone) ? each->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

void remove_sessions(const SessionsOptions& options) {
  if (options.all == !options.ids.empty()) {
    throw Error("say which conversations to delete", "give their ids, or --all", ExitCode::kUsage);
  }
  const std::filesystem::path path = folder_of(options);
  const auto opened = open_folder(path, options);
  if (!opened && options.all) return;
  SegmentFolder& folder = required(opened, path);
  std::vector<Hash128> asked;  // all or none
  for (const std::string& word : options.ids) asked.push_back(find_id(folder, plain_word(word)));
  if (!options.yes && is_terminal(STDIN_FILENO) &&
      !agreed(options.all ? "Delete all stored conversations?"
                          : fmt::format("Delete {} stored conversations?", options.ids.size()))) {
    fmt::print("They stay.\n");
    return;
  }
  // Nobody who wants to write waits for the answer; so what is there may be something else by now.
  const FileLock lock = folder.lock();
  folder.refresh();
  std::set<Hash128> gone;
  for (const Hash128& id : asked) {
    if (!folder.segments().contains(id)) continue;
    for (const Hash128& part : folder.only_of(id)) gone.insert(part);
  }
  if (options.all) {
    for (const auto& [id, segment] : folder.segments()) gone.insert(id);
  }
  const std::uint64_t before = options.all ? bytes_in(path) : 0;
  std::uint64_t bytes = folder.remove({std::vector<Hash128>(gone.begin(), gone.end())});
  if (options.all) {
    folder.clean_all();  // what cannot be read, too: without its key, say
    bytes = before - std::min(before, bytes_in(path));
  }
  fmt::print("{} freed.\n", size_text(static_cast<double>(bytes)));
}

void run_export(const SessionsOptions& options) {
  const std::filesystem::path path = folder_of(options);
  const auto opened = open_folder(path, options);
  SegmentFolder& folder = required(opened, path);
  const Session session = session_of(folder, find_id(folder, plain_word(options.id)));
  const std::string file = plain_word(options.file);
  require_new(file, options.force);
  TarFile archive(file);
  archive.add("hearth-kv", path / "hearth-kv");
  for (const Hash128& part : session.chain) {
    const state::SegmentHeader& header = folder.segments().at(part).header;
    state::SegmentReader(folder.file_of(header), folder.key()).check_all();
    archive.add(header.file_name(), folder.file_of(header));
  }
  archive.finish();
  fmt::print("{} tokens in {} {}: tar -xf unpacks them into another folder of conversations.\n",
             session.last->header.end, session.chain.size(),
             session.chain.size() == 1 ? "file" : "files");
  if (folder.key() != nullptr) fmt::print("They are encrypted: the same key file opens them.\n");
}

void run_key(const SessionsOptions& options) {
  const std::string file = plain_word(options.file);
  (void)write_target(file);
  state::StoreKey::make(file);
  fmt::print(
      "The key is in {}. Whoever has it can read what is kept with it; without it nobody "
      "can, you included.\n",
      printable(file, 300));
}

}  // namespace

void add_sessions_command(CLI::App& app) {
  auto options = std::make_shared<SessionsOptions>();
  CLI::App* command =
      app.add_subcommand("sessions", "Memories of conversations that are kept on disk");
  command->footer(
      "What a model remembers of a conversation (its keys and values) is kept with hearth run "
      "--kv-disk, so that it goes on at once another time. The files hold the conversation's "
      "tokens: whoever can read them can read it. They are readable by you only, and encrypted "
      "with "
      "--kv-disk-key.\n\n"
      "Examples:\n"
      "  hearth sessions\n"
      "  hearth sessions show 3f2a\n"
      "  hearth sessions rm 3f2a\n"
      "  hearth sessions rm --all --yes\n"
      "  hearth sessions export 3f2a talk.tar\n"
      "  hearth sessions key ~/.hearth-key\n"
      "\n"
      "Exit status:\n"
      "  0  done               2  wrong usage\n"
      "  1  failed             3  the disk is too full\n");
  command->add_option("--folder", options->folder, "Where they are (default: as kv-disk is set)")
      ->type_name("DIR");
  command
      ->add_option("--kv-disk-key", options->key,
                   "The key file that they are encrypted with (default: as kv-disk-key is set)")
      ->type_name("FILE");
  command->require_subcommand(0, 1);
  command->fallthrough();
  const auto json_flag = [&](CLI::App& to) {
    to.add_flag("--json", options->json, "Print one JSON object");
  };
  json_flag(*command);
  CLI::App* list = command->add_subcommand("list", "List them (also without a word)");
  list->callback([options] { list_sessions(*options); });
  CLI::App* show = command->add_subcommand("show", "All about one");
  show->add_option("ID", options->id, "Its id, or how it begins")->required()->type_name("");
  show->callback([options] { show_session(*options); });
  CLI::App* rm = command->add_subcommand("rm", "Delete some, with all that only they need");
  rm->add_option("ID", options->ids, "Their ids, or how they begin")->type_name("");
  rm->add_flag("--all", options->all, "Delete all");
  rm->add_flag("-y,--yes", options->yes, "Do not ask");
  rm->callback([options] { remove_sessions(*options); });
  CLI::App* export_command = command->add_subcommand("export", "Write one into a tar archive");
  export_command->add_option("ID", options->id, "Its id, or how it begins")
      ->required()
      ->type_name("");
  export_command->add_option("FILE", options->file, "The archive")->required()->type_name("");
  export_command->add_flag("--force", options->force, "Replace FILE if it exists");
  export_command->callback([options] { run_export(*options); });
  CLI::App* key = command->add_subcommand("key", "Make a key file to encrypt them with");
  key->add_option("FILE", options->file, "A new file")->required()->type_name("");
  key->callback([options] { run_key(*options); });
  command->callback([command, options] {
    if (command->get_subcommands().empty()) list_sessions(*options);
  });
}

}  // namespace hearth::cli
