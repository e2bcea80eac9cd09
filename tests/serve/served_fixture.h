// A whole server in the test's own process.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "hub/store.h"
#include "serve/http/server.h"
#include "serve/http/tls.h"
#include "serve/library.h"
#include "serve/models.h"
#include "serve/raw_client.h"
#include "serve/service.h"
#include "temporary_folder.h"

namespace hearth::serve {

/// Models of a test, by name.
class TestDirectory final : public ModelDirectory {
 public:
  void add(const std::string& name, const std::filesystem::path& path);
  /// The model of that name is as if it had been made anew.
  void change(const std::string& name, const ModelExtras& extras);
  /// Models of this store, too.
  void add_store(const std::filesystem::path& folder) { store_.emplace(folder); }
  [[nodiscard]] std::vector<AvailableModel> list() override;
  [[nodiscard]] std::optional<AvailableModel> find(std::string_view name) override;

 private:
  std::mutex mutex_;
  std::vector<AvailableModel> models_;
  std::optional<hub::Store> store_;
};

class TestServer {
 public:
  struct Options {
    SecurityOptions security{.host = "localhost"};
    ModelOptions models;
    HttpLimits http;
    bool read_only = false;
    std::optional<std::chrono::duration<double>> deadline = {};
    std::shared_ptr<const TlsContext> tls = {};
    /// Models that clients make are found, besides those that were added.
    bool lists_store = false;
  };
  /// Ends the server, and begins it anew on what the store holds.
  void restart();
  /// Not started: models can be added before.
  explicit TestServer(Options options);
  ~TestServer();

  TestDirectory directory;
  void start();
  /// Small contexts on one thread, for tiny models.
  [[nodiscard]] static Options small();

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] ModelManager& models() noexcept { return *models_; }
  [[nodiscard]] hub::Store store() const { return hub::Store(folder_.path()); }
  [[nodiscard]] Service& service() noexcept { return *service_; }
  [[nodiscard]] HttpServer& http() noexcept { return *http_; }
  /// All lines of the log so far.
  [[nodiscard]] std::string log();

  [[nodiscard]] RawResponse get(std::string_view target) const;
  [[nodiscard]] RawResponse post(std::string_view target, std::string_view body,
                                 std::string_view more_headers = {}) const;
  /// Throws when the answer is not JSON.
  [[nodiscard]] nlohmann::ordered_json post_json(std::string_view target,
                                                 const nlohmann::ordered_json& body) const;

 private:
  hearth::testing::TemporaryFolder folder_;
  Options options_;
  std::mutex log_mutex_;
  std::string log_;
  std::unique_ptr<ModelManager> models_;
  std::unique_ptr<Library> library_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<HttpServer> http_;
  std::uint16_t port_ = 0;
};

/// The "data:" lines of a stream of events.
[[nodiscard]] std::vector<std::string> event_data(const std::string& body);

}  // namespace hearth::serve
