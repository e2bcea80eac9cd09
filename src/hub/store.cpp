#include "hub/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <set>
#include <utility>

#include "hub/json.h"
#include "hub/part_file.h"
#include "hub/reference.h"
#include "hub/sha256.h"
#include "support/error.h"
#include "support/file.h"
#include "support/set_aside.h"
#include "support/shown_path.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStoreFormat = "hearth-store";
constexpr std::size_t kMaxVersionBytes = 4096;

/// Sets a malformed file aside; the end of the sentence about it.
std::string put_aside(const fs::path& file) {
  try {
    return "it was set aside as " + shown_path(set_aside(file));
  } catch (const Error& error) {
    return std::string(error.what()) + ", so it stays where it is";
  }
}

/// Renames and links are durable once their folder is.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  (void)::fsync(descriptor);
  ::close(descriptor);
}

std::string stem(const std::string& file_name) {
  if (const auto place = split_place(file_name)) return place->base;
  return file_name.ends_with(".gguf") ? file_name.substr(0, file_name.size() - 5) : file_name;
}

Manifest read_manifest(const fs::path& path) {
  Manifest manifest = parse_manifest(read_file(path, kMaxManifestBytes), path.string());
  if (manifest.name != path.stem().string()) {
    throw Error(fmt::format("{} cannot be used: it is of a model called '{}'", shown_path(path),
                            printable(manifest.name)));
  }
  return manifest;
}

/// The blob that a link in models/ names, or nothing when it is something else.
std::optional<std::string> linked_blob(const fs::path& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  const std::string text = target.string();
  constexpr std::string_view kPrefix = "../blobs/sha256-";
  if (error || !text.starts_with(kPrefix)) return std::nullopt;
  std::string sha256 = text.substr(kPrefix.size());
  if (!is_sha256(sha256)) return std::nullopt;
  return sha256;
}

bool same_files(const Manifest& a, const Manifest& b) {
  return std::equal(a.files.begin(), a.files.end(), b.files.begin(), b.files.end(),
                    [](const StoredFile& x, const StoredFile& y) {
                      return x.size == y.size && x.sha256 == y.sha256 && x.adopted == y.adopted;
                    });
}

std::vector<fs::path> files_in(const fs::path& folder, std::string_view suffix) {
  std::vector<fs::path> result;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(suffix) && !name.starts_with('.')) result.push_back(entry->path());
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// Version 0 had nothing but models/ with files that people put there; they stay as they are.
void from_plain_folder(const fs::path& folder) {
  for (const char* name : {"models", "blobs", "manifests", "downloads", "used"})
    fs::create_directories(folder / name);
}

/// kMigrations[n] makes version n + 1 of version n. Each may be repeated after dying half-way.
constexpr std::array<void (*)(const fs::path&), Store::kVersion> kMigrations = {from_plain_folder};

}  // namespace

Store::Store(fs::path folder) : folder_(std::move(folder)) {}

fs::path Store::blob_path(std::string_view sha256) const {
  return folder_ / "blobs" / ("sha256-" + std::string(sha256));
}

fs::path Store::manifest_path(std::string_view name) const {
  return folder_ / "manifests" / (std::string(name) + ".json");
}

bool Store::has_blob(std::string_view sha256) const {
  std::error_code ignored;
  return fs::is_regular_file(blob_path(sha256), ignored);
}

FileLock Store::lock() const { return FileLock::take(folder_ / "store.lock"); }

std::uint64_t Store::version(std::vector<std::string>& warnings) const {
  const fs::path path = folder_ / "store.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return 0;
  std::uint64_t found = 0;
  try {
    const Json json = parse_object(read_file(path, kMaxVersionBytes), path.string());
    found = number_or(json, "version", 0);
    if (string_or(json, "format") != kStoreFormat || found == 0)
      throw Error(fmt::format("{} does not say what it is", shown_path(path)));
  } catch (const Error& error) {
    // The layout is known from the folders; only the note about it is broken.
    warnings.push_back(fmt::format("{}; {}", error.what(), put_aside(path)));
    return 0;
  }
  if (found > kVersion) {
    throw Error(fmt::format("the model store in '{}' was made by a newer Hearth (version {})",
                            shown_path(folder_), found),
                "update this Hearth, or set XDG_DATA_HOME to another folder");
  }
  return found;
}

std::vector<std::string> Store::prepare() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw Error(
        fmt::format("cannot make the model store '{}': {}", shown_path(folder_), error.message()),
        "set XDG_DATA_HOME to a folder that can be written");
  }
  const FileLock held = lock();
  std::vector<std::string> warnings;
  const std::uint64_t found = version(warnings);
  from_plain_folder(folder_);  // folders that somebody removed
  for (std::uint64_t next = found; next < kVersion; ++next) {
    kMigrations[next](folder_);
    write_file_atomically(folder_ / "store.json",
                          dump(Json{{"format", kStoreFormat}, {"version", next + 1}}));
  }
  return warnings;
}

std::vector<Manifest> Store::read_manifests(std::vector<std::string>& warnings, bool locked) const {
  std::vector<Manifest> result;
  std::vector<fs::path> malformed;
  for (const fs::path& path : files_in(folder_ / "manifests", ".json")) {
    try {
      result.push_back(read_manifest(path));
    } catch (const Error&) {
      std::error_code ignored;
      if (fs::exists(path, ignored)) malformed.push_back(path);
    }
  }
  if (malformed.empty()) return result;
  std::optional<FileLock> held;
  try {
    if (!locked) held.emplace(lock());
  } catch (const Error&) {  // a store that cannot be written: told, and left as it is
  }
  for (const fs::path& path : malformed) {
    try {
      result.push_back(read_manifest(path));  // it was replaced meanwhile
    } catch (const Error& error) {
      std::error_code ignored;
      if (!fs::exists(path, ignored)) continue;
      warnings.push_back(fmt::format(
          "{}; {}", error.what(),
          locked || held ? put_aside(path) : "it stays where it is: the store cannot be written"));
    }
  }
  std::sort(result.begin(), result.end(),
            [](const Manifest& a, const Manifest& b) { return a.name < b.name; });
  return result;
}

std::string Store::problem_of(const Manifest& manifest) const {
  for (const StoredFile& adapter : manifest.adapters) {
    if (!has_blob(adapter.sha256)) {
      return fmt::format("its adapter {} is gone; make it again", printable(adapter.blob()));
    }
  }
  for (const StoredFile& file : manifest.files) {
    const fs::path path = file.adopted.empty() ? blob_path(file.sha256) : fs::path(file.adopted);
    std::error_code error;
    const std::uint64_t size = fs::file_size(path, error);
    if (error) {
      return file.adopted.empty()
                 ? fmt::format("its file {} is gone; pull it again", printable(file.blob()))
                 : fmt::format("the adopted file {} is gone; bring it back, or hearth rm {}",
                               printable(file.adopted, 300), manifest.name);
    }
    if (size != file.size) {
      return fmt::format("the file {} has {} bytes and not {}; hearth rm {} and {} it again",
                         shown_path(path), size, file.size, manifest.name,
                         file.adopted.empty() ? "pull" : "import");
    }
    if (!fs::is_regular_file(models() / file.name, error)) {
      return fmt::format("the link {} is gone; {} it again", printable(file.name),
                         file.adopted.empty() ? "pull" : "import");
    }
  }
  return {};
}

std::string Store::last_use(std::string_view name) const {
  struct stat status = {};
  if (::stat((folder_ / "used" / std::string(name)).c_str(), &status) != 0) return {};
  std::tm parts = {};
  ::gmtime_r(&status.st_mtime, &parts);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

void Store::add_by_hand(std::vector<StoredModel>& listed,
                        std::span<const Manifest> manifests) const {
  std::set<std::string> known;
  for (const Manifest& manifest : manifests) {
    for (const StoredFile& file : manifest.files) known.insert(file.name);
  }
  for (const fs::path& path : files_in(models(), ".gguf")) {
    const std::string name = path.filename().string();
    if (known.contains(name)) continue;
    StoredModel model;
    model.manifest.name = stem(name);
    model.manifest.quant = quant_of_file_name(stem(name));
    model.path = path;
    model.by_hand = true;
    std::error_code error;
    if (const auto blob = linked_blob(path)) {
      model.problem = fmt::format("it has no manifest; pull it again, or hearth rm {}",
                                  printable(model.manifest.name));
    } else if (!fs::is_regular_file(path, error)) {
      // A folder called x.gguf is none of ours; a link into nowhere is told.
      if (!fs::is_symlink(path, error)) continue;
      model.problem = "the link leads nowhere";
    }
    const std::uint64_t size = fs::file_size(path, error);
    model.manifest.files.push_back({name, error ? 0 : size, "", "", ""});
    const bool later_part = !listed.empty() && listed.back().by_hand &&
                            listed.back().manifest.name == model.manifest.name &&
                            split_place(name).has_value();
    if (later_part) {
      StoredModel& whole = listed.back();
      whole.manifest.files.push_back(model.manifest.files.front());
      if (whole.problem.empty()) whole.problem = model.problem;
      continue;
    }
    model.used = last_use(model.manifest.name);
    listed.push_back(std::move(model));
  }
}

void Store::add_unfinished(Listing& listing) const {
  constexpr std::string_view kSuffix = ".part.json";
  for (const fs::path& path : files_in(downloads(), kSuffix)) {
    UnfinishedDownload unfinished;
    const std::string file_name = path.filename().string();
    unfinished.key = file_name.substr(0, file_name.size() - kSuffix.size());
    std::error_code absent;
    if (!fs::exists(downloads() / (unfinished.key + ".part"), absent)) continue;  // it has landed
    try {
      const PartNotes notes = parse_part_notes(read_file(path, kMaxPartNotesBytes), path.string());
      unfinished.name = notes.name;
      unfinished.reference = notes.reference;
      unfinished.size = notes.size;
      unfinished.done = notes.done_bytes();
      const fs::path lock_path = downloads() / (unfinished.key + ".lock");
      std::error_code ignored;
      unfinished.running =
          fs::exists(lock_path, ignored) && !FileLock::try_take(lock_path).has_value();
    } catch (const Error& error) {
      std::error_code ignored;
      if (fs::exists(path, ignored)) {
        listing.warnings.push_back(fmt::format("{}; that download will begin anew", error.what()));
      }
      continue;
    }
    listing.unfinished.push_back(std::move(unfinished));
  }
}

StoredModel Store::stored(Manifest manifest) const {
  StoredModel model;
  model.problem = problem_of(manifest);
  model.path = models() / manifest.files.front().name;
  model.used = last_use(manifest.name);
  model.manifest = std::move(manifest);
  return model;
}

Listing Store::list() const {
  Listing listing;
  (void)version(listing.warnings);
  const std::vector<Manifest> manifests = read_manifests(listing.warnings, false);
  add_by_hand(listing.models, manifests);
  for (const Manifest& manifest : manifests) listing.models.push_back(stored(manifest));
  std::stable_sort(
      listing.models.begin(), listing.models.end(),
      [](const StoredModel& a, const StoredModel& b) { return a.manifest.name < b.manifest.name; });
  add_unfinished(listing);
  return listing;
}

std::optional<StoredModel> Store::find(std::string_view name) const {
  for (StoredModel& model : list().models) {
    if (model.manifest.name == name) return std::move(model);
  }
  return std::nullopt;
}

std::optional<StoredModel> Store::find_file(std::string_view file_name) const {
  const fs::path file(file_name);
  // The first file of a model is called NAME.gguf or NAME-00001-of-00003.gguf.
  for (const std::string& name : {file.stem().string(), stem(file.string())}) {
    try {
      Manifest manifest = read_manifest(manifest_path(name));
      if (manifest.files.front().name == file_name) return stored(std::move(manifest));
    } catch (const Error&) {  // there is none, or list() sees to it
    }
  }
  for (StoredModel& model : list().models) {
    if (model.manifest.files.front().name == file_name) return std::move(model);
  }
  return std::nullopt;
}

void Store::check_name_locked(const Manifest& manifest, std::span<const Manifest> all) const {
  for (const Manifest& other : all) {
    const bool same_name = other.name == manifest.name;
    if (same_name && other.reference != manifest.reference && !same_files(other, manifest)) {
      throw Error(fmt::format("the store has another model called {}, from {}", manifest.name,
                              printable(other.reference, 300)),
                  "choose a name with --name NAME, or hearth rm it first");
    }
    for (const StoredFile& file : manifest.files) {
      const auto taken = std::find_if(other.files.begin(), other.files.end(),
                                      [&](const StoredFile& f) { return f.name == file.name; });
      if (!same_name && taken != other.files.end()) {
        throw Error(fmt::format("the file name {} belongs to the model {}", file.name, other.name),
                    "choose a name with --name NAME");
      }
    }
  }
  for (const StoredFile& file : manifest.files) {
    const fs::path path = models() / file.name;
    std::error_code error;
    const fs::file_status status = fs::symlink_status(path, error);
    if (fs::exists(status) && !fs::is_symlink(status)) {
      throw Error(fmt::format("'{}' is a file that somebody put there", shown_path(path)),
                  "choose a name with --name NAME, or move the file away");
    }
  }
}

void Store::check_name(const Manifest& manifest) const {
  std::vector<std::string> ignored;
  check_name_locked(manifest, read_manifests(ignored, false));
}

void Store::land(const fs::path& file, std::string_view sha256) const {
  const FileLock held = lock();
  // Blobs are what their name says: nobody is to write to them.
  (void)::chmod(file.c_str(), 0444);
  fs::rename(file, blob_path(sha256));
  sync_folder(folder_ / "blobs");
}

void Store::link(const StoredFile& file) const {
  const fs::path target =
      file.adopted.empty() ? fs::path("../blobs") / file.blob() : fs::path(file.adopted);
  const fs::path temporary = models() / fmt::format(".{}.{}", file.name, ::getpid());
  std::error_code ignored;
  fs::remove(temporary, ignored);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, models() / file.name);
}

std::uint64_t Store::remove_unneeded(std::span<const StoredFile> files,
                                     std::span<const Manifest> others) const {
  std::set<std::string> needed;
  for (const Manifest& other : others) {
    for (const auto* list : {&other.files, &other.adapters}) {
      for (const StoredFile& file : *list) {
        if (file.adopted.empty()) needed.insert(file.sha256);
      }
    }
  }
  std::uint64_t freed = 0;
  for (const StoredFile& file : files) {
    if (!file.adopted.empty() || !is_sha256(file.sha256) || needed.contains(file.sha256)) continue;
    std::error_code error;
    const std::uint64_t size = fs::file_size(blob_path(file.sha256), error);
    if (fs::remove(blob_path(file.sha256), error) && size != static_cast<std::uint64_t>(-1))
      freed += size;
  }
  return freed;
}

bool Store::commit(const Manifest& manifest) const {
  (void)parse_manifest(to_text(manifest), "the manifest of " + manifest.name);
  const FileLock held = lock();
  std::vector<std::string> ignored;
  std::vector<Manifest> all = read_manifests(ignored, true);
  check_name_locked(manifest, all);
  for (const auto* list : {&manifest.files, &manifest.adapters}) {
    for (const StoredFile& file : *list) {
      if (file.adopted.empty() && !has_blob(file.sha256)) return false;
    }
  }
  for (const StoredFile& file : manifest.files) link(file);
  sync_folder(models());
  write_file_atomically(manifest_path(manifest.name), to_text(manifest));
  sync_folder(folder_ / "manifests");
  std::vector<StoredFile> replaced, adapters;
  for (Manifest& other : all) {
    if (other.name != manifest.name) continue;
    replaced = std::move(other.files);
    adapters = std::move(other.adapters);
    other = manifest;
  }
  for (const StoredFile& file : replaced) {
    const bool kept = std::any_of(manifest.files.begin(), manifest.files.end(),
                                  [&](const StoredFile& f) { return f.name == file.name; });
    std::error_code error;
    if (!kept) fs::remove(models() / file.name, error);
  }
  all.push_back(manifest);
  remove_unneeded(replaced, all);
  remove_unneeded(adapters, all);
  return true;
}

Removal Store::remove(std::string_view name) const {
  if (!is_safe_name(name) && !find(name)) {
    throw Error(fmt::format("no model is called '{}'", printable(name)), "hearth list shows all");
  }
  Removal removal;
  bool found = false;
  const Listing before = list();
  for (const UnfinishedDownload& unfinished : before.unfinished) {
    if (unfinished.name != name) continue;
    const auto busy = FileLock::try_take(downloads() / (unfinished.key + ".lock"));
    if (!busy) {
      throw Error(fmt::format("another hearth is fetching {}", printable(name)),
                  "stop it first, or wait for it");
    }
    for (const char* suffix : {".part", ".part.json"}) {
      const fs::path path = downloads() / (unfinished.key + suffix);
      struct stat status = {};
      if (::stat(path.c_str(), &status) == 0)
        removal.freed += static_cast<std::uint64_t>(status.st_blocks) * 512;
      std::error_code ignored;
      fs::remove(path, ignored);
    }
    busy->remove_file();
    found = true;
  }
  const auto model = std::find_if(before.models.begin(), before.models.end(),
                                  [&](const StoredModel& m) { return m.manifest.name == name; });
  if (model == before.models.end() && !found)
    throw Error(fmt::format("no model is called '{}'", printable(name)), "hearth list shows all");
  if (model == before.models.end()) return removal;
  const FileLock held = lock();
  std::vector<std::string> ignored_warnings;
  std::vector<Manifest> all = read_manifests(ignored_warnings, true);
  std::vector<StoredFile> files = model->manifest.files, adapters;
  const auto current =
      std::find_if(all.begin(), all.end(), [&](const Manifest& m) { return m.name == name; });
  if (current != all.end()) {
    files = current->files;
    adapters = current->adapters;
    all.erase(current);
    fs::remove(manifest_path(name));
    sync_folder(folder_ / "manifests");
  }
  for (StoredFile& file : files) {
    const fs::path path = models() / file.name;
    std::error_code error;
    if (const auto blob = linked_blob(path)) file.sha256 = *blob;
    if (!file.adopted.empty()) removal.kept.push_back(file.adopted);
    const fs::file_status status = fs::symlink_status(path, error);
    const std::uint64_t own = fs::is_regular_file(status) ? fs::file_size(path, error) : 0;
    if (fs::remove(path, error)) removal.freed += own;
    for (const Manifest& other : all) {
      for (const StoredFile& needed : other.files) {
        if (needed.adopted.empty() && needed.sha256 == file.sha256 && file.adopted.empty())
          removal.shared.push_back(other.name);
      }
    }
  }
  removal.freed += remove_unneeded(files, all) + remove_unneeded(adapters, all);
  std::error_code ignored;
  fs::remove(folder_ / "used" / std::string(name), ignored);
  return removal;
}

void Store::mark_used(const fs::path& path) const noexcept {
  try {
    std::error_code error;
    if (fs::weakly_canonical(path.parent_path(), error) != fs::weakly_canonical(models(), error))
      return;
    const fs::path folder = folder_ / "used";
    fs::create_directories(folder, error);
    const fs::path file = folder / stem(path.filename().string());
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) return;
    (void)::futimens(descriptor, nullptr);
    ::close(descriptor);
  } catch (const std::exception&) {
    return;  // as documented
  }
}

}  // namespace hearth::hub
