#include "serve/served_fixture.h"

#include <utility>

#include "serve/http/message.h"

namespace hearth::serve {

void TestDirectory::add(const std::string& name, const std::filesystem::path& path) {
  AvailableModel model;
  model.name = name;
  model.path = path;
  model.bytes = std::filesystem::file_size(path);
  model.modified = 1'700'000'000;
  const std::lock_guard lock(mutex_);
  models_.push_back(std::move(model));
}

void TestDirectory::change(const std::string& name, const ModelExtras& extras) {
  const std::lock_guard lock(mutex_);
  for (AvailableModel& model : models_) {
    if (model.name == name) model.extras = extras;
  }
}

std::vector<AvailableModel> TestDirectory::list() {
  std::unique_lock lock(mutex_);
  std::vector<AvailableModel> all = models_;
  lock.unlock();
  if (!store_) return all;
  for (const hub::StoredModel& stored : store_->list().models) {
    AvailableModel model;
    model.name = stored.manifest.name;
    model.path = stored.path;
    model.bytes = stored.manifest.size();
    model.digest = stored.manifest.files.front().sha256;
    model.extras = extras_of(stored.manifest, *store_);
    all.push_back(std::move(model));
  }
  return all;
}

std::optional<AvailableModel> TestDirectory::find(std::string_view name) {
  for (const AvailableModel& model : list()) {
    if (bare_name(model.name) == bare_name(name)) return model;
  }
  // The beginning of a name will do, as on the command line.
  std::optional<AvailableModel> meant;
  for (const AvailableModel& model : list()) {
    if (!model.name.starts_with(name)) continue;
    if (meant) return std::nullopt;
    meant = model;
  }
  return store_ ? meant : std::nullopt;
}

TestServer::Options TestServer::small() {
  Options options;
  options.models.each.setup.context = 256;
  options.models.each.setup.threads = 1;
  options.models.each.limits.parallel = 4;
  options.models.keep_alive = std::chrono::seconds(-1);
  return options;
}

TestServer::TestServer(Options options) : options_(std::move(options)) {}

TestServer::~TestServer() {
  if (http_) http_->stop(std::chrono::milliseconds(0));
}

void TestServer::restart() {
  http_->stop(std::chrono::milliseconds(0));
  http_.reset();
  service_.reset();
  library_.reset();
  models_.reset();
  start();
}

void TestServer::start() {
  if (options_.lists_store) directory.add_store(folder_.path());
  models_ = std::make_unique<ModelManager>(directory, options_.models);
  library_ =
      std::make_unique<Library>(LibraryOptions{.folder = folder_.path(),
                                               .network =
                                                   [](const std::atomic<bool>* cancel) {
                                                     hub::Network network;
                                                     network.offline = "this is a test";
                                                     network.cancel = cancel;
                                                     return network;
                                                   },
                                               .resolve = [] { return hub::ResolveOptions{}; },
                                               .read_only = options_.read_only},
                                *models_);
  ServiceOptions service;
  service.security = options_.security;
  service.version = "0.0.0-test";
  service.deadline = options_.deadline;
  service.log = [this](std::string_view line) {
    const std::lock_guard lock(log_mutex_);
    log_ += line;
    log_ += '\n';
  };
  service_ = std::make_unique<Service>(*models_, *library_, std::move(service));
  http_ = std::make_unique<HttpServer>(*service_, options_.http);
  http_->use_tls(options_.tls);
  port_ = http_->listen("127.0.0.1", 0);
  service_->watch(*http_);
  http_->start();
}

std::string TestServer::log() {
  const std::lock_guard lock(log_mutex_);
  return log_;
}

RawResponse TestServer::get(std::string_view target) const {
  return RawClient::ask(port_, request_text("GET", target));
}

RawResponse TestServer::post(std::string_view target, std::string_view body,
                             std::string_view more_headers) const {
  return RawClient::ask(
      port_, request_text("POST", target, body,
                          "Content-Type: application/json\r\n" + std::string(more_headers)));
}

nlohmann::ordered_json TestServer::post_json(std::string_view target,
                                             const nlohmann::ordered_json& body) const {
  return nlohmann::ordered_json::parse(post(target, body.dump()).body);
}

std::vector<std::string> event_data(const std::string& body) {
  std::vector<std::string> data;
  constexpr std::string_view kMark = "data: ";
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = std::min(body.find('\n', at), body.size());
    const std::string line = body.substr(at, end - at);
    if (line.starts_with(kMark)) data.push_back(line.substr(kMark.size()));
    at = end + 1;
  }
  return data;
}

}  // namespace hearth::serve
