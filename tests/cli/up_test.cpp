// hearth up: what it decides, what it says, what it keeps.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>

#include "cli/up_plan.h"
#include "hub/hub_fixture.h"
#include "machine/network.h"
#include "plan/presets.h"
#include "plan/setup_file.h"
#include "program.h"
#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "support/file_lock.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;

machine::Machine preset_with(double memory) {
  machine::Machine machine = plan::find_preset("server-2core").value().machine;
  machine.memory.total_bytes = static_cast<std::uint64_t>(memory);
  machine.memory.available_bytes = static_cast<std::uint64_t>(0.8 * memory);
  return machine;
}

cli::UpPlan sample_plan() {
  cli::UpPlan plan;
  plan.path = "/models/a.gguf";
  plan.name = "Qwen3 4B";
  plan.quant = "Q4_K_M";
  plan.why = "the best that fits";
  plan.file_bytes = 2.5e9;
  plan.context = 8192;
  plan.trained_context = 32'768;
  plan.kv_type = "Q8_0";
  plan.estimate.memory.weights = 2.6e9;
  plan.estimate.memory.kv = 0.6e9;
  plan.estimate.fits = true;
  plan.estimate.largest_context = 20'000;
  plan.estimate.first_token_seconds = 1.5;
  plan::SpeedAt start;
  start.decode = {20, 18, 22, "memory bandwidth"};
  start.prefill = {120, 100, 140, "arithmetic"};
  plan.estimate.speeds = {start};
  return plan;
}

TEST(UpPlan, IsSaidInFourLines) {
  machine::Machine machine = preset_with(4e9);
  machine.measured_at = 1000;
  cli::UpPlan plan = sample_plan();
  plan.correction.decode = {0.5, 3, true};
  plan.correction.note = "expected 20, measured 10 tok/s here on 12 Nov";
  const std::vector<std::string> lines = cli::plan_lines(plan, machine, 1000 + 180);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_NE(lines[0].find("measured 3 minutes ago"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find("Qwen3 4B, Q4_K_M, 2.5 GB: the best that fits."), std::string::npos)
      << lines[1];
  EXPECT_NE(lines[2].find("3.2 GB with a context of 8192 tokens"), std::string::npos) << lines[2];
  EXPECT_NE(lines[2].find("up to 20000 tokens would fit"), std::string::npos) << lines[2];
  // Corrected by what was measured.
  EXPECT_NE(lines[3].find("writes 10 tok/s (9.0 to 11), limited by memory bandwidth"),
            std::string::npos)
      << lines[3];
  EXPECT_NE(lines[3].find("expected 20, measured 10 tok/s here on 12 Nov"), std::string::npos);
  for (const std::string& line : lines) EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(UpPlan, SaysWhoLimitsTheMemory) {
  machine::Machine machine = preset_with(2e9);
  machine.limits.memory_bytes = 2'000'000'000;
  machine.limits.container = "docker";
  EXPECT_NE(cli::plan_lines(sample_plan(), machine, 0)[0].find("limited to 2.0 GB by docker"),
            std::string::npos);
}

TEST(UpPlan, SavedAndReadAgainItSetsWhatFlagsOverride) {
  const plan::SavedSetup saved =
      plan::read_setup(plan::write_setup(cli::saved_setup(sample_plan(), "chat", 5)));
  EXPECT_EQ(saved.setup.model, "/models/a.gguf");
  EXPECT_EQ(saved.expected.decode_tps, 20);
  EXPECT_EQ(saved.saved_at, 5);
  std::vector<cli::SettingValue> values = cli::setup_values(saved, "/config/chat.json");
  cli::RunOptions options = cli::apply_settings({}, values);
  EXPECT_EQ(options.context, 8192);
  EXPECT_EQ(options.kv_type, tensor::DType::kQ8_0);
  EXPECT_EQ(options.threads, 0);
  values.push_back({cli::find_setting("ctx"), "1000", cli::Layer::kConfigFile, "config"});
  values.push_back({cli::find_setting("kv"), "f16", cli::Layer::kFlags, "--kv"});
  options = cli::apply_settings({}, values);
  EXPECT_EQ(options.context, 1000);
  EXPECT_EQ(options.kv_type, tensor::DType::kF16);
}

TEST(UpPlan, ABudgetForTheContextIsSavedWithItsDisk) {
  cli::UpPlan plan = sample_plan();
  plan.kv_budget = 100'000'000;
  plan.kv_disk = {"/disk/kv", 5'000'000'000};
  plan.kv_disk_key = "/key";
  const cli::RunOptions options = cli::apply_settings(
      {}, cli::setup_values(cli::saved_setup(plan, "chat", 5), "/config/chat.json"));
  EXPECT_EQ(options.kv_budget, 100'000'000U);
  EXPECT_EQ(options.kv_disk.folder, "/disk/kv");
  EXPECT_EQ(options.kv_disk.bytes, 5'000'000'000U);
  EXPECT_EQ(options.kv_disk_key, "/key");
  // Without a budget the disk is for conversations, which are no part of a setup.
  plan.kv_budget = 0;
  EXPECT_TRUE(cli::saved_setup(plan, "chat", 5).setup.spill_folder.empty());
}

TEST(UpPlan, ABudgetForTheContextBoundsItsMemory) {
  const fs::path file = goldens_dir() / "arch" / "llama-plain.gguf";
  HEARTH_REQUIRE_FILE(file);
  machine::Machine machine = preset_with(4e9);
  machine.disks = {{}};
  machine.disks.front().sequential_bytes_per_second = 1e7;
  cli::RunOptions options;
  options.context = 65'536;
  const cli::UpPlan all = cli::plan_file(file, "asked for", machine, options, {});
  EXPECT_EQ(all.estimate.memory.disk, 0);
  options.kv_budget = static_cast<std::uint64_t>(all.estimate.memory.kv / 4);
  try {
    (void)cli::plan_file(file, "asked for", machine, options, {});
    FAIL() << "the rest has no place";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
    EXPECT_NE(error.hint().find("--kv-disk"), std::string::npos) << error.hint();
  }
  options.kv_disk = {"/disk", 1'000'000'000};
  const cli::UpPlan part = cli::plan_file(file, "asked for", machine, options, {});
  EXPECT_LE(part.estimate.memory.kv, static_cast<double>(options.kv_budget));
  EXPECT_GE(part.estimate.memory.disk, all.estimate.memory.kv);
  EXPECT_NE(cli::plan_lines(part, machine, 0)[2].find("of the context on disk"), std::string::npos);
  EXPECT_NE(cli::plan_lines(part, machine, 0)[3].find("end of the context, limited by disk"),
            std::string::npos)
      << cli::plan_lines(part, machine, 0)[3];
  options.kv_disk.bytes = 1'000'000;
  EXPECT_THROW((void)cli::plan_file(file, "asked for", machine, options, {}), Error);
  options.kv_budget = 1000;
  EXPECT_THROW((void)cli::plan_file(file, "asked for", machine, options, {}), Error);
}

TEST(UpPlan, ChoosesFromTheCatalogWhatFits) {
  double last = 0;
  cli::RunOptions long_context;
  long_context.context = 65'536;
  long_context.kv_budget = 500'000'000;
  long_context.kv_disk = {"/disk", 1'000'000'000'000};
  const cli::UpPlan beyond = cli::plan_catalog("chat", preset_with(16e9), long_context, {});
  EXPECT_GT(beyond.estimate.memory.disk, 0);
  EXPECT_LE(beyond.estimate.memory.kv, 5e8);
  EXPECT_NE(cli::plan_lines(beyond, preset_with(16e9), 0)[3].find("at the end of the context"),
            std::string::npos);
  long_context.kv_disk = {};
  EXPECT_THROW((void)cli::plan_catalog("chat", preset_with(16e9), long_context, {}), Error);
  for (const double memory : {2e9, 4e9, 16e9}) {
    const cli::UpPlan plan = cli::plan_catalog("chat", preset_with(memory), {}, {});
    EXPECT_TRUE(plan.estimate.fits);
    EXPECT_LE(plan.estimate.memory.total(), 0.8 * memory);
    EXPECT_TRUE(plan.path.empty());
    EXPECT_EQ(plan.reference, plan.name + ":" + plan.quant);
    EXPECT_GE(plan.file_bytes, last);  // with more memory never a smaller one
    last = plan.file_bytes;
  }
}

TEST(UpPlan, SaysWhyNothingFits) {
  try {
    (void)cli::plan_catalog("chat", preset_with(5e7), {}, {});
    FAIL() << "something fitted into 50 MB";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
    EXPECT_NE(std::string(error.what()).find("needs"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("GB"), std::string::npos) << error.what();
  }
}

TEST(UpPlan, AModelThatDoesNotFitIsRefusedWithNumbers) {
  HEARTH_REQUIRE_FILE(stories_model());
  cli::RunOptions options;
  options.context = 100'000'000;
  try {
    (void)cli::plan_file(stories_model(), "asked for", preset_with(4e9), options, {});
    FAIL() << "64 GB fitted into 4";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
    EXPECT_NE(std::string(error.what()).find("it needs"), std::string::npos) << error.what();
  }
}

TEST(UpPlan, AgesAreInWords) {
  EXPECT_EQ(cli::age_text(5), "now");
  EXPECT_EQ(cli::age_text(60), "1 minute ago");
  EXPECT_EQ(cli::age_text(2 * 86'400), "2 days ago");
}

/// A machine that was probed once for all tests.
/// What this build of the program finds when it probes this machine: probed once, since every test
/// is a process of its own and a probe takes ten seconds.
fs::path probed_machine() {
  const fs::path program = HEARTH_TEST_PROGRAM;
  const auto built = fs::last_write_time(program).time_since_epoch().count();
  const fs::path kept = program.parent_path() / ("probed-" + std::to_string(built) + ".json");
  const FileLock lock = FileLock::take(program.parent_path() / "probed.lock");
  if (fs::exists(kept)) return kept;
  const TemporaryFolder home;
  (void)Program({"probe"}).home(home.path()).run();
  for (const auto& entry : fs::directory_iterator(program.parent_path())) {
    if (entry.path().filename().string().starts_with("probed-")) fs::remove(entry.path());
  }
  fs::copy_file(home.path() / ".cache/hearth/machine.json", kept);
  return kept;
}

class UpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(stories_model());
    const fs::path cache = probed_machine();
    ASSERT_TRUE(fs::exists(cache));
    fs::create_directories(home_ / ".cache/hearth");
    fs::copy_file(cache, home_ / ".cache/hearth/machine.json");
  }
  void put_model() {
    fs::create_directories(model().parent_path());
    fs::copy_file(stories_model(), model());
  }
  [[nodiscard]] fs::path model() const { return home_ / ".local/share/hearth/models/tiny.gguf"; }
  [[nodiscard]] fs::path setup_file() const { return home_ / ".config/hearth/setups/chat.json"; }
  [[nodiscard]] Program up(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), "up");
    Program program(std::move(more));
    program.home(home_.path());
    return program;
  }
  /// The four lines begin so.
  static void expect_lines(const std::string& text) {
    std::size_t at = 0;
    for (const char* begin : {"Machine: ", "Model:   ", "Memory:  ", "Speed:   "}) {
      at = text.find(begin, at);
      ASSERT_NE(at, std::string::npos) << begin << " in " << text;
    }
  }

  TemporaryFolder home_;
};

constexpr const char* kReady = "\x1b[?2004h";

/// A port that somebody listens on, so that who wants to serve there ends with an error.
class TakenPort {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(socket_, 1) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port could be taken");
    }
    port_ = ntohs(address.sin_port);
  }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  ~TakenPort() { ::close(socket_); }
  [[nodiscard]] std::string text() const { return std::to_string(port_); }

 private:
  int socket_ = -1;
  std::uint16_t port_ = 0;
};

TEST_F(UpTest, WithAModelAndNoTerminalItServes) {
  put_model();
  const TakenPort port;
  const ProgramResult result = up({"--port", port.text()}).run();
  EXPECT_EQ(result.exit_code, 1);
  expect_lines(result.output);
  EXPECT_NE(result.output.find("the only one in the store"), std::string::npos) << result.output;
  EXPECT_NE(result.errors.find("port " + port.text()), std::string::npos) << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;

  // The setup was saved, and is used the next time, also when there are more models.
  const plan::SavedSetup saved = plan::read_setup(read_file(setup_file()));
  EXPECT_EQ(saved.setup.model, model());
  EXPECT_GT(saved.setup.context, 0);
  EXPECT_GT(saved.expected.decode_tps, 0);
  fs::copy_file(stories_model(), model().parent_path() / "zzz.gguf");
  const ProgramResult again = up({"--port", port.text()}).run();
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_NE(again.output.find("as set up on"), std::string::npos) << again.output;
}

TEST_F(UpTest, PlanOnlyChangesNothing) {
  put_model();
  const ProgramResult result = up({"--plan-only"}).run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  expect_lines(result.output);
  EXPECT_EQ(result.errors, "");
  EXPECT_FALSE(fs::exists(setup_file()));
}

TEST_F(UpTest, ASetupIsReusedAndFlagsOverrideIt) {
  put_model();
  cli::UpPlan plan = sample_plan();
  plan.path = model();
  plan.context = 300;
  plan.kv_type = "F32";
  plan::save_setup(setup_file(), cli::saved_setup(plan, "chat", std::time(nullptr)));
  EXPECT_NE(up({"--plan-only"}).run().output.find("a context of 300 tokens"), std::string::npos);
  EXPECT_NE(up({"--plan-only", "-c", "200"}).run().output.find("a context of 200 tokens"),
            std::string::npos);
  // Of another use: another file.
  EXPECT_EQ(up({"--plan-only", "--for", "code"}).run().output.find("300 tokens"),
            std::string::npos);
}

TEST_F(UpTest, AMalformedSetupIsToldAndSetAside) {
  put_model();
  fs::create_directories(setup_file().parent_path());
  write_file_atomically(setup_file(), std::string("{\"hearth_setup\": 1}"));
  const ProgramResult result = up({"--plan-only"}).run();
  EXPECT_EQ(result.exit_code, 0);
  expect_lines(result.output);
  EXPECT_NE(result.errors.find("it names no model); it was set aside as 'chat.json.bad-"),
            std::string::npos)
      << result.errors;
  EXPECT_FALSE(fs::exists(setup_file()));
}

TEST_F(UpTest, MalformedMeasurementsAreToldAndSetAside) {
  put_model();
  const fs::path store = home_ / ".local/state/hearth/measurements.db";
  fs::create_directories(store.parent_path());
  write_file_atomically(store, std::string("no database"));
  const ProgramResult result = up({"--plan-only"}).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.errors.find("set aside as 'measurements.db.bad-"), std::string::npos);
}

TEST_F(UpTest, AModelThatDoesNotFitEndsWith3) {
  put_model();
  const ProgramResult result = up({"-c", "1000000000"}).run();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.errors.find("does not fit: it needs 6"), std::string::npos) << result.errors;
}

TEST_F(UpTest, UnknownModelsAndUsesAreRefused) {
  const ProgramResult model = up({"no-such-model"}).run();
  EXPECT_EQ(model.exit_code, 1) << model.output;
  EXPECT_NE(model.errors.find("no-such-model"), std::string::npos) << model.errors;
  EXPECT_EQ(up({"--for", "world-peace"}).run().exit_code, 2);
  EXPECT_EQ(up({"no-such-file.gguf"}).run().exit_code, 1);
}

TEST_F(UpTest, OfflineSaysWhatTheMachineCanRun) {
  const ProgramResult result = up().variable("HEARTH_OFFLINE", "1").run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.output.find("Nothing can be fetched: HEARTH_OFFLINE"), std::string::npos);
  EXPECT_NE(result.output.find("Measured now, with random weights:"), std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find("qwen3-0.6b"), std::string::npos);
  EXPECT_NE(result.output.find("hearth pull "), std::string::npos);
  expect_lines(result.output);
  EXPECT_TRUE(fs::exists(home_ / ".local/state/hearth/measurements.db"));
}

TEST_F(UpTest, OfflineAModelOfTheCatalogIsAnError) {
  const ProgramResult result =
      up({"qwen3-0.6b:Q4_K_M", "--plan-only"}).variable("HEARTH_OFFLINE", "1").run();
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.errors.find("hearth pull qwen3-0.6b:Q4_K_M"), std::string::npos)
      << result.errors;
}

TEST_F(UpTest, InANamespaceWithoutNetworkItAnswers) {
  const std::string home = home_.path().string();
  if (std::system("unshare -rn true 2>/dev/null") != 0)
    GTEST_SKIP() << "this system lets nobody make network namespaces";
  const std::string command = "env -i PATH=\"$PATH\" HOME='" + home +
                              "' unshare -rn '" HEARTH_TEST_PROGRAM "' up --plan-only > '" + home +
                              "/out' 2> '" + home + "/err'";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0) << read_file(home_ / "err");
  const std::string output = read_file(home_ / "out");
  EXPECT_NE(output.find("Nothing can be fetched: there is no network."), std::string::npos);
  EXPECT_NE(output.find("hearth pull "), std::string::npos);
}

TEST_F(UpTest, NothingIsFetchedWithoutBeingAskedFor) {
  if (!machine::has_network_route()) GTEST_SKIP() << "this machine has no network to ask about";
  const ProgramResult result = up().run();
  EXPECT_EQ(result.exit_code, 1);
  expect_lines(result.output);
  EXPECT_NE(result.errors.find("hearth up --yes fetches it, or hearth pull "), std::string::npos)
      << result.errors;
  const Program program = up();
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for("[y/N]")) << terminal.screen();
  terminal.type("n\r");
  EXPECT_EQ(terminal.finish(), 1);
  EXPECT_NE(terminal.screen().find("Nothing was fetched."), std::string::npos);
}

TEST_F(UpTest, FetchesAModelOfTheCatalogWhenToldTo) {
  if (!machine::has_network_route()) GTEST_SKIP() << "this machine counts as offline";
  // The stories model, as a model of the user's own catalog.
  fs::create_directories(home_ / ".config/hearth");
  write_file_atomically(
      home_ / ".config/hearth/catalog.json",
      std::string(R"({"format": "hearth-catalog-1", "models": [{"name": "stories", "repo": "o/r",
        "family": "stories", "architecture": "llama", "role": "chat", "modalities": ["text"],
        "parameters_b": 0.00026, "context": 512, "shape": {"layers": 5, "width": 64, "heads": 8,
        "kv_heads": 4, "head_size": 8, "feed_forward": 172, "vocabulary": 512},
        "repositories": ["o/r"]}]})"));
  FakeHuggingFace hub;
  const std::string bytes = read_file(stories_model());
  hub.add("stories-Q8_0.gguf", bytes);
  const FakeServer server([&hub](const SeenRequest& request) { return hub.answer(request); });
  const TakenPort port;
  const auto fetching = [&] {
    return up({"stories:Q8_0", "--yes", "--port", port.text()})
        .variable("HF_ENDPOINT", server.url())
        .variable("no_proxy", "127.0.0.1")
        .run();
  };
  const ProgramResult result = fetching();
  EXPECT_EQ(result.exit_code, 1) << result.errors;  // without a terminal it serves: not there
  expect_lines(result.output);
  EXPECT_NE(result.output.find("stories, Q8_0"), std::string::npos) << result.output;
  EXPECT_NE(result.errors.find("port " + port.text()), std::string::npos) << result.errors;
  const plan::SavedSetup saved = plan::read_setup(read_file(setup_file()));
  EXPECT_EQ(read_file(saved.setup.model), bytes);
  // The next time it is here.
  const ProgramResult again =
      up({"stories:Q8_0", "--plan-only"}).variable("HEARTH_OFFLINE", "1").run();
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  expect_lines(again.output);
}

TEST_F(UpTest, ComparesWhatWasExpectedWithWhatWasMeasured) {
  put_model();
  const Program program = up({"--temp", "0", "-n", "40", "--logit-bias", "2=-inf"});
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for("Speed:")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for(kReady)) << terminal.screen();
  terminal.type("Once upon a time\r");
  ASSERT_TRUE(terminal.wait_for(kReady)) << terminal.screen();
  terminal.type("/stats\r");
  ASSERT_TRUE(terminal.wait_for("expected ")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("measured ")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for(kReady));
  terminal.type("/quit\r");
  ASSERT_TRUE(terminal.wait_for("hearth: expected ")) << terminal.screen();
  EXPECT_EQ(terminal.finish(), 0);
  // It is told the next time.
  const ProgramResult again = up({"--plan-only"}).run();
  EXPECT_NE(again.output.find(" tok/s here on "), std::string::npos) << again.output;
  Program plan({"plan", model().string()});
  plan.home(home_.path());
  EXPECT_NE(plan.run().output.find(" tok/s here on "), std::string::npos) << plan.run().output;
}

}  // namespace
}  // namespace hearth::testing
