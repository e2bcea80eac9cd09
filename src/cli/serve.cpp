// hearth serve: the HTTP server.
#include "cli/serve.h"

#include <fmt/format.h>
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cli/config.h"
#include "cli/engine.h"
#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/model_choice.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/page_facts.h"
#include "cli/run.h"
#include "cli/said.h"
#include "cli/served_models.h"
#include "cli/settings.h"
#include "cli/words.h"
#include "serve/conversations.h"
#include "serve/http/server.h"
#include "serve/http/tls.h"
#include "serve/library.h"
#include "serve/page_api.h"
#include "serve/request_failure.h"
#include "serve/security.h"
#include "serve/service.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using std::chrono::milliseconds;

/// For replies that are cut when the server stops to say how they end.
constexpr milliseconds kLastWords{2000};

struct ServeOptions {
  std::vector<std::string> models, api_keys, origins, names, aliases;
  std::string host = "localhost";
  std::uint16_t port = kDefaultPort;
  int parallel = 4, queue = 512, most_loaded = 0;
  double keep_alive = 300, grace = 10, deadline = 0;
  std::string tls_certificate, tls_key;
  bool only = false, read_only = false, no_conversations = false, log_prompts = false,
       quiet = false;
};

/// While it exists, SIGINT and SIGTERM wait to be asked for, in all threads that begin meanwhile.
class HeldSignals {
 public:
  HeldSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// False when none came in time.
  [[nodiscard]] bool wait(milliseconds patience) const {
    const timespec time{.tv_sec = patience.count() / 1000,
                        .tv_nsec = (patience.count() % 1000) * 1'000'000};
    return sigtimedwait(&set_, nullptr, &time) > 0;
  }
  /// The next one ends the program at once.
  void release() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t set_{}, before_{};
};

/// Settings that a server has a use for; the others are of one conversation on a terminal.
bool wanted_setting(const Setting& setting) {
  for (const std::string_view other :
       {"system", "raw", "special", "json", "stats", "overflow", "measurements", "stop", "think"}) {
    if (setting.name == other) return false;
  }
  return true;
}

std::pair<std::string, std::string> parse_alias(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
    throw Error(fmt::format("--alias {}: an alias is NAME=MODEL", printable(text)),
                "for example --alias gpt-4o=qwen3-8b", ExitCode::kUsage);
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

serve::ModelOptions model_options(const ServeOptions& options,
                                  const std::vector<SettingValue>& values) {
  const RunOptions run = apply_settings({}, values);
  serve::ModelOptions result;
  result.keep_alive = std::chrono::duration<double>(options.keep_alive);
  result.most_loaded = options.most_loaded;
  result.each.setup = setup_of({}, run);
  result.each.limits.parallel = options.parallel;
  result.each.limits.queue = options.queue;
  result.each.max_tokens = run.max_tokens;
  result.each.disk_folder = run.kv_disk.folder;
  result.each.disk_bytes = run.kv_disk.bytes;
  if (!run.kv_disk.folder.empty()) result.each.disk_key = read_kv_key(run.kv_disk_key);
  result.each.warn = [](const std::string& warning) {
    fmt::print(stderr, "hearth: {}\n", warning);
  };
  result.each.sampling = [values](generate::SamplerSettings& settings) {
    RunOptions base;
    base.sampler = settings;
    settings = apply_settings(base, values).sampler;
  };
  for (const std::string& lora : run.adapters.loras) {
    const ScaledFile file = parse_scaled_file(lora);
    result.each.adapters.push_back({file.path, file.scale, false});
  }
  for (const std::string& vector : run.adapters.control_vectors) {
    const ScaledFile file = parse_scaled_file(vector);
    result.each.adapters.push_back({file.path, file.scale, true});
  }
  return result;
}

serve::ServiceOptions service_options(const ServeOptions& options) {
  serve::ServiceOptions result;
  result.security = {.host = options.host,
                     .port = options.port,
                     .api_keys = options.api_keys,
                     .cors_origins = options.origins,
                     .names = options.names};
  result.version = kVersion;
  result.log_prompts = options.log_prompts;
  if (options.deadline > 0) result.deadline.emplace(options.deadline);
  if (!options.quiet) {
    result.log = [](std::string_view line) {
      // One call: lines of several threads do not mix.
      fmt::print(stderr, "{}\n", line);
    };
  }
  return result;
}

serve::LibraryOptions library_options(const ServeOptions& options) {
  return {.folder = model_store().folder(),
          .network =
              [](const std::atomic<bool>* cancel) {
                hub::Network network = user_network();
                network.cancel = cancel;
                return network;
              },
          .resolve = [] { return planned_choice(); },
          .read_only = options.read_only};
}

/// Null without TLS.
std::shared_ptr<const serve::TlsContext> tls_context(const ServeOptions& options) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    throw Error("TLS needs both a certificate and its key", "give --tls-cert and --tls-key",
                ExitCode::kUsage);
  }
  if (!options.tls_certificate.empty())
    return std::make_shared<serve::TlsContext>(options.tls_certificate, options.tls_key);
  if (!serve::is_loopback(options.host)) {
    fmt::print(stderr,
               "hearth: without TLS, keys and all that is said can be read on the way: give "
               "--tls-cert and --tls-key, or put a proxy that encrypts in front\n");
  }
  return nullptr;
}

/// Null when conversations are not to be kept.
std::unique_ptr<serve::ConversationStore> open_conversations(const ServeOptions& options) {
  if (options.no_conversations) return nullptr;
  return std::make_unique<serve::ConversationStore>(serve::ConversationStore::open(
      user_folders().data / "conversations.db",
      [](const std::string& warning) { fmt::print(stderr, "hearth: {}\n", warning); }));
}

/// "…: a, b, …" for at most eight names, or nothing.
std::string names_line(const char* about, const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i)
    text += (i == 0 ? ": " : ", ") + printable(names[i]);
  if (names.empty()) return {};
  return about + text + (names.size() > kMost ? ", …\n" : "\n");
}

/// Which models there are: those of the command line are in memory by now.
std::string model_lines(const LocalModels& models) {
  std::vector<std::string> loaded, others, aliases;
  for (const serve::AvailableModel& model : models.models()) {
    const bool named = loaded.size() < models.named().size();  // those come first
    (named ? loaded : others).push_back(model.name);
  }
  for (const auto& [alias, target] : models.aliases()) aliases.push_back(alias + " = " + target);
  if (loaded.empty() && others.empty())
    return "There is no model yet: fetch one with `hearth pull`.\n";
  return names_line("Loaded", loaded) + names_line("Loaded when asked for", others) +
         names_line("Other names", aliases);
}

void greet(const serve::HttpServer& server, const ServeOptions& options,
           const LocalModels& models) {
  const std::string url =
      (options.tls_certificate.empty() ? "http://" : "https://") + server.addresses().front();
  std::string text = fmt::format("Hearth is at {}\n", url);
  text += fmt::format("  chat in a browser  {}/\n", url);
  text += fmt::format("  OpenAI clients     base URL {}/v1\n", url);
  text += fmt::format("  Ollama clients     OLLAMA_HOST={}\n", url);
  text += fmt::format("  Anthropic clients  ANTHROPIC_BASE_URL={}\n", url);
  text += options.api_keys.empty() ? "  any API key will do; only this machine can connect\n"
                                   : "  clients need the API key\n";
  text += model_lines(models);
  fmt::print("{}Ctrl-C ends it.\n", text);
  flush_stdout();
}

/// Loads the models of the command line; what fails ends the program.
class Preloading {
 public:
  Preloading(serve::ModelManager& manager, const std::vector<serve::AvailableModel>& models)
      : thread_([this, &manager, models] { load(manager, models); }) {}
  ~Preloading() { thread_.join(); }
  Preloading(const Preloading&) = delete;
  Preloading& operator=(const Preloading&) = delete;

  [[nodiscard]] bool done() const noexcept { return done_.load(); }
  [[nodiscard]] bool failed() const noexcept { return failed_.load(); }
  [[nodiscard]] Error problem() const { return Error(problem_, "", code_); }

 private:
  void load(serve::ModelManager& manager, const std::vector<serve::AvailableModel>& models) {
    try {
      for (const serve::AvailableModel& model : models) manager.preload(model.name);
      done_.store(true);
      return;
    } catch (const serve::RequestFailure& failure) {
      problem_ = failure.what();
      if (failure.error().code == "not_enough_memory") code_ = ExitCode::kDoesNotFit;
    } catch (const std::exception& error) {
      problem_ = error.what();
    }
    failed_.store(true);
  }

  std::string problem_;
  ExitCode code_ = ExitCode::kFailure;
  std::atomic<bool> done_{false}, failed_{false};
  std::thread thread_;
};

void serve_models(ServeOptions options, std::vector<SettingValue> values) {
  std::erase_if(values, [](const SettingValue& value) { return !wanted_setting(*value.setting); });
  if (const char* key = std::getenv("HEARTH_API_KEY"); key != nullptr && *key != '\0')
    options.api_keys.emplace_back(key);
  serve::ServiceOptions service_settings = service_options(options);
  serve::check_security(service_settings.security);
  ServedModels wanted{.named = options.models, .aliases = {}, .only_named = options.only};
  if (options.only && options.models.empty()) {
    throw Error("--only offers the models that are named, and none is",
                "name them: hearth serve MODEL --only", ExitCode::kUsage);
  }
  for (const std::string& alias : options.aliases) wanted.aliases.insert(parse_alias(alias));
  LocalModels directory(wanted);
  const serve::ModelOptions model_settings = model_options(options, values);

  const HeldSignals signals;
  serve::ModelManager models(directory, model_settings);
  serve::Library library(library_options(options), models);
  serve::Service service(models, library, std::move(service_settings));
  serve::HttpServer server(service, {});
  server.use_tls(tls_context(options));
  LocalPageFacts page_facts(models, service.parts().facts, server, model_settings.each.setup);
  serve::PageApi page(page_facts, open_conversations(options));
  service.add_page(page);
  server.listen(options.host, options.port);
  service.watch(server);
  server.start();
  std::optional<Error> problem;
  if (!directory.named().empty() && !options.quiet) {  // the address is told when it is done
    std::vector<std::string> names;
    for (const serve::AvailableModel& model : directory.named())
      names.push_back(printable(model.name));
    tell("loading " + joined(names));
  }
  {
    const Preloading preloading(models, directory.named());
    bool greeted = false;
    do {
      if (!greeted && preloading.done()) {
        greet(server, options, directory);
        greeted = true;
      }
    } while (!signals.wait(greeted ? milliseconds(1000) : milliseconds(20)) &&
             !preloading.failed());
    if (preloading.failed()) {
      problem = preloading.problem();
    } else {
      fmt::print(stderr, "hearth: stopping; replies have {} s to finish, Ctrl-C ends at once\n",
                 options.grace);
    }
    signals.release();
    const auto patience = std::chrono::duration_cast<milliseconds>(
        std::chrono::duration<double>(problem ? 0 : options.grace));
    models.refuse_loads();
    server.stop(
        patience, [&] { models.stop(); }, kLastWords);
  }
  if (problem) throw *problem;
}

void add_options(CLI::App& command, const std::shared_ptr<ServeOptions>& options) {
  const auto list = [&](const char* flag, std::vector<std::string>& values, const char* type,
                        const char* help) {
    command.add_option(flag, values, help)
        ->type_name(type)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->group("Server");
  };
  const auto one = [&](const char* flag, auto& value, const char* type, const char* help) {
    return command.add_option(flag, value, help)->type_name(type)->group("Server");
  };
  one("--host", options->host, "ADDRESS",
      "Address to listen on (default: localhost, which is 127.0.0.1 and ::1)");
  one("--port", options->port, "PORT", "Port to listen on (default: 11434; 0: a free one)")
      ->check(CLI::Range(0, 65535));
  list("--api-key", options->api_keys, "KEY",
       "Serve only those who send this key (also HEARTH_API_KEY); may be given several times");
  list("--cors", options->origins, "ORIGIN",
       "Let web pages of this origin use the server, such as https://example.org; * for all");
  list("--name", options->names, "HOST", "Another name under which the server is reached");
  one("--parallel", options->parallel, "N", "Requests that are worked on at once, by model")
      ->check(CLI::Range(1, 256));
  one("--queue", options->queue, "N", "Requests that may wait besides, by model (default: 512)")
      ->check(CLI::Range(0, 65536));
  one("--keep-alive", options->keep_alive, "SECONDS",
      "How long an idle model stays in memory (default: 300; -1: for ever)");
  one("--max-models", options->most_loaded, "N", "Models in memory at once (default: what fits)")
      ->check(CLI::Range(0, 1024));
  list("--alias", options->aliases, "NAME=MODEL", "Another name of a model");
  command.add_flag("--only", options->only, "Offer only the models named here")->group("Server");
  command
      .add_flag("--read-only", options->read_only,
                "Refuse to fetch, make or remove models for clients")
      ->group("Server");
  command
      .add_flag("--no-conversations", options->no_conversations,
                "Do not keep the web page's conversations on disk")
      ->group("Server");
  one("--tls-cert", options->tls_certificate, "FILE",
      "Encrypt with this certificate (PEM, with those that vouch for it)");
  one("--tls-key", options->tls_key, "FILE", "The certificate's key (PEM, without a passphrase)");
  one("--deadline", options->deadline, "SECONDS",
      "How long a request may take; a reply under way then ends with what it has (default: no "
      "limit; clients may ask for less with the header X-Request-Timeout)")
      ->check(CLI::Range(0.0, 31536000.0));
  one("--grace", options->grace, "SECONDS", "How long replies may go on after Ctrl-C (default: 10)")
      ->check(CLI::Range(0.0, 86400.0));
  command.add_flag("--log-prompts", options->log_prompts, "Log what requests say, too")
      ->group("Server");
  command.add_flag("--quiet", options->quiet, "Log nothing")->group("Server");
}

}  // namespace

void serve_model(const std::filesystem::path& model, std::uint16_t port,
                 std::vector<SettingValue> values) {
  ServeOptions options;
  options.models = {model.string()};
  options.port = port;
  serve_models(std::move(options), std::move(values));
}

void add_serve_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("serve", "Serve models to programs and a web page");
  auto options = std::make_shared<ServeOptions>();
  command->allow_extras();
  add_options(*command, options);
  const std::shared_ptr<SettingFlags> flags = add_setting_flags(*command, wanted_setting);
  command->footer(
      "Serves OpenAI's, Ollama's, Anthropic's and llama-server's APIs and a web page. The MODELs "
      "(files, or names in the store) are loaded at once, the first is what requests without a "
      "name mean; all others of the store are loaded when they are asked for, and leave memory "
      "when they are idle or another one needs the room.\n"
      "\n"
      "Only this machine can connect, unless --host says otherwise; then an --api-key is needed. "
      "Web pages of other origins are refused unless --cors lets them in.\n"
      "\n"
      "Each request has up to --ctx tokens of context; the memory for --parallel of them is taken "
      "when the model is loaded.\n"
      "\n"
      "Examples:\n"
      "  hearth serve\n"
      "  hearth serve qwen3-8b --ctx 16384 --parallel 8\n"
      "  hearth serve model.gguf --host 0.0.0.0 --api-key \"$(cat key)\"\n"
      "\n"
      "Exit status:\n"
      "  0  ended by Ctrl-C or SIGTERM      2  wrong usage\n"
      "  1  failed: the port is in use, a   3  a model does not fit into memory\n"
      "     model cannot be loaded\n");
  command->callback([command, options, flags] {
    options->models = plain_words(*command);
    std::vector<SettingValue> values = read_configuration().values;
    values.insert(values.end(), flags->values.begin(), flags->values.end());
    serve_models(*options, std::move(values));
  });
}

}  // namespace hearth::cli
