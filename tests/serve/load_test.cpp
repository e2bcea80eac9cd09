// The load test of bench/serving in short, through HTTP: streams and collected replies with random
// arrivals, long prompts among them, hang-ups, deadlines and nonsense, all at once. Nobody is
// stuck, everybody gets what was asked for, and nothing stays behind. Runs under the sanitizers.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "serve/served_fixture.h"
#include "shared_dir.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kClients = 16, kRequests = 8, kTokens = 24;

enum class Fate { kStream, kCollected, kLongPrompt, kHangUp, kHangUpAtOnce, kDeadline, kNonsense };
constexpr int kFates = 7;

struct Counts {
  std::atomic<int> answered{0}, wrong{0};
  std::array<std::atomic<int>, kFates> met{};
};

Json body_of(Fate fate, bool stream) {
  std::string prompt = "Once upon a time";
  for (int i = 0; fate == Fate::kLongPrompt && i < 500; ++i) prompt += " there was a cat";
  return {{"model", "stories"},
          {"prompt", prompt},
          {"max_tokens", fate == Fate::kHangUp || fate == Fate::kHangUpAtOnce ? 4000 : kTokens},
          {"logit_bias", {{"2", -100}}},  // it never ends by itself
          {"temperature", 0},
          {"stream", stream},
          {"stream_options", {{"include_usage", true}}}};
}

/// Exactly as many tokens as were asked for, streamed or not.
bool is_whole(const RawResponse& response, bool stream) {
  if (response.status != 200) return false;
  if (!stream) return Json::parse(response.body)["usage"]["completion_tokens"] == kTokens;
  const std::vector<std::string> events = event_data(response.body);
  return events.size() >= 2 && events.back() == "[DONE]" &&
         Json::parse(events[events.size() - 2])["usage"]["completion_tokens"] == kTokens;
}

void hang_up(const TestServer& server, Fate fate, bool stream) {
  RawClient client(server.port());
  client.send(request_text("POST", "/v1/completions", body_of(fate, stream).dump()));
  if (fate == Fate::kHangUp && stream) static_cast<void>(client.receive_bytes(600));
}

void run_client(const TestServer& server, unsigned seed, Counts& counts) {
  std::mt19937 random(seed);
  for (int i = 0; i < kRequests; ++i) {
    const auto fate = static_cast<Fate>((seed + static_cast<unsigned>(i)) % kFates);
    const bool stream = fate == Fate::kStream || (fate != Fate::kCollected && random() % 2 == 0);
    ++counts.met[static_cast<std::size_t>(fate)];
    if (fate == Fate::kHangUp || fate == Fate::kHangUpAtOnce) {
      hang_up(server, fate, stream);
      continue;
    }
    const bool late = fate == Fate::kDeadline;
    const RawResponse response =
        server.post("/v1/completions",
                    fate == Fate::kNonsense ? "{\"prompt\": {}}" : body_of(fate, stream).dump(),
                    late ? "X-Request-Timeout: 0.001\r\n" : "");
    ++counts.answered;
    bool right = false;
    if (fate == Fate::kNonsense) {
      right = response.status == 400;
    } else if (late) {  // an error, or in time after all, or cut: but answered
      right = response.status == 504 || response.status == 200;
    } else {
      right = is_whole(response, stream);
    }
    if (!right) ++counts.wrong;
  }
}

TEST(Load, ManyClientsAtOnceAndNothingStaysBehind) {
  HEARTH_REQUIRE_FILE(hearth::testing::stories_model());
  TestServer::Options options = TestServer::small();
  options.models.each.setup.context = 4096;
  options.models.each.limits.parallel = 6;
  TestServer server(std::move(options));
  server.directory.add("stories", hearth::testing::stories_model());
  server.start();
  Counts counts;
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < kClients; ++i)
    clients.emplace_back([&, i] { run_client(server, i, counts); });
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(counts.wrong.load(), 0);
  for (const auto& each : counts.met) EXPECT_GT(each.load(), 0);

  // Those that hung up are noticed, however late; then everything is as before.
  while (server.http().counters().handling > 0) std::this_thread::yield();
  const std::vector<LoadedFacts> loaded = server.models().loaded();
  ASSERT_EQ(loaded.size(), 1U);
  EXPECT_EQ(loaded.front().users, 0U);
  generate::Scheduler& scheduler = loaded.front().model->scheduler();
  generate::SchedulerStatistics statistics = scheduler.statistics();
  while (statistics.generating + statistics.prefilling + statistics.waiting > 0) {
    std::this_thread::yield();
    statistics = scheduler.statistics();
  }
  EXPECT_TRUE(scheduler.running().empty());
  EXPECT_EQ(statistics.failed, 0);
  EXPECT_GT(statistics.cancelled, 0);
  EXPECT_GT(statistics.finished, kClients);
  EXPECT_GT(statistics.rows, statistics.passes);  // they shared passes
  EXPECT_TRUE(is_whole(server.post("/v1/completions", body_of(Fate::kStream, true).dump()), true));
}

}  // namespace
}  // namespace hearth::serve
