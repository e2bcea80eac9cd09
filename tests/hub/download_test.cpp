#include "hub/download.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "hub/hub_fixture.h"
#include "hub/part_file.h"
#include "hub/sha256.h"
#include "hub/sources.h"
#include "hub/transfer.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;
using hearth::testing::FakeNetwork;
using hearth::testing::FakeServer;
using hearth::testing::noise;
using hearth::testing::ranged;
using hearth::testing::redirect;
using hearth::testing::Reply;
using hearth::testing::SeenRequest;
using hearth::testing::TemporaryFolder;

constexpr std::size_t kSize = (std::size_t{1} << 20) + 12345;  // 17 chunks

class Downloads : public ::testing::Test {
 protected:
  DownloadRequest request(const FakeServer& server) const {
    DownloadRequest result;
    result.url = server.url() + "/file";
    result.size = content_.size();
    result.sha256 = sha256_of(content_);
    result.name = "m";
    result.reference = "ref";
    return result;
  }

  std::string fetch(const FakeServer& server) { return fetch(request(server)); }
  std::string fetch(const DownloadRequest& wanted) {
    const Downloaded done = download(fake_.network(), wanted, folder_.path(), {});
    EXPECT_EQ(done.size, content_.size());
    EXPECT_EQ(done.sha256, sha256_of(content_));
    return read_file(done.path);
  }
  Error failure(const DownloadRequest& wanted) {
    try {
      (void)download(fake_.network(), wanted, folder_.path(), {});
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "it went well";
    return Error("");
  }

  std::string content_ = noise(kSize);
  TemporaryFolder folder_;
  FakeNetwork fake_;
};

TEST_F(Downloads, come_in_several_ranges) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  EXPECT_TRUE(fetch(server) == content_);
  std::size_t ranges = 0;
  for (const SeenRequest& seen : server.seen()) ranges += seen.range ? 1 : 0;
  EXPECT_EQ(ranges, server.seen().size());
  EXPECT_GE(ranges, 3U);  // the question, and two pieces
  EXPECT_TRUE(fake_.sleeps().empty());
}

TEST_F(Downloads, survive_cut_connections) {
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest& r) {
    Reply reply = ranged(r, content_);
    // In the middle of a chunk, again and again.
    if (reply.body.size() > 100'000 && ++count <= 5) reply.cut_after = 100'000;
    return reply;
  });
  EXPECT_TRUE(fetch(server) == content_);
  EXPECT_EQ(fake_.sleeps().size(), 5U);
}

TEST_F(Downloads, survive_cuts_inside_every_chunk) {
  FakeServer server([&](const SeenRequest& r) {
    Reply reply = ranged(r, content_);
    reply.cut_after = 50'000;  // less than a chunk: progress is kept within the run
    return reply;
  });
  fake_.network().connections = 1;
  EXPECT_TRUE(fetch(server) == content_);
}

TEST_F(Downloads, give_up_when_nothing_arrives_any_more) {
  std::atomic<bool> dead{false};
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest& r) {
    Reply reply = ranged(r, content_);
    if (dead) reply.cut_after = 0;
    if (++count == 2) {
      reply.cut_after = 300'000;
      dead = true;
    }
    return reply;
  });
  fake_.network().connections = 1;
  const Error error = failure(request(server));
  EXPECT_EQ(error.exit_code(), ExitCode::kFailure);
  EXPECT_NE(error.hint().find("kept"), std::string::npos);
  // Growing pauses.
  ASSERT_GE(fake_.sleeps().size(), 5U);
  EXPECT_TRUE(std::is_sorted(fake_.sleeps().begin(), fake_.sleeps().end()));
  EXPECT_LE(fake_.sleeps().back(), 30000);
  // The next attempt goes on: the first four chunks are not asked for again.
  dead = false;
  count = 100;
  const std::size_t before = server.seen().size();
  EXPECT_TRUE(fetch(server) == content_);
  const std::vector<SeenRequest> seen = server.seen();
  for (std::size_t i = before + 1; i < seen.size(); ++i) {
    ASSERT_TRUE(seen[i].range);
    EXPECT_GE(seen[i].range->first, 4U * 65536);
  }
}

TEST_F(Downloads, wait_as_long_as_the_server_says) {
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest& r) {
    if (++count == 3) {
      Reply busy;
      busy.status = 429;
      busy.headers = {"Retry-After: 17"};
      return busy;
    }
    return ranged(r, content_);
  });
  fake_.network().connections = 1;
  fake_.network().chunk_bytes = 4096;  // 16 chunks a range: many requests
  EXPECT_TRUE(fetch(server) == content_);
  EXPECT_EQ(fake_.sleeps(), std::vector<std::int64_t>{17000});
}

TEST_F(Downloads, understand_dates_and_limits_of_retry_after) {
  EXPECT_EQ(parse_retry_after("120", 0).count(), 120'000);
  EXPECT_EQ(parse_retry_after("Sun, 09 Sep 2001 01:46:50 GMT", 1'000'000'000).count(), 10'000);
  EXPECT_EQ(parse_retry_after("Sun, 09 Sep 2001 01:46:30 GMT", 1'000'000'000).count(), 0);
  EXPECT_EQ(parse_retry_after("soon", 0).count(), 0);
  EXPECT_EQ(parse_retry_after("", 0).count(), 0);
  EXPECT_EQ(parse_retry_after("99999999999999999999", 0).count(), 0);
  FakeServer server([&](const SeenRequest&) {
    Reply busy;
    busy.status = 503;
    busy.headers = {"Retry-After: 86400"};
    return busy;
  });
  (void)failure(request(server));
  EXPECT_TRUE(fake_.sleeps().empty());  // a day is too long to wait
}

TEST_F(Downloads, survive_servers_in_trouble) {
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest& r) {
    if (++count <= 3) {
      Reply trouble;
      trouble.status = count == 1 ? 500 : 503;
      return trouble;
    }
    return ranged(r, content_);
  });
  EXPECT_TRUE(fetch(server) == content_);
  EXPECT_EQ(fake_.sleeps(), (std::vector<std::int64_t>{500, 1000, 2000}));
}

TEST_F(Downloads, refuse_the_wrong_content_and_delete_it) {
  std::string wrong = content_;
  wrong[777'777] ^= 1;
  FakeServer server([&](const SeenRequest& r) { return ranged(r, wrong); });
  const Error error = failure(request(server));
  EXPECT_NE(std::string(error.what()).find("SHA-256"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(Downloads, fetch_again_what_an_earlier_run_damaged) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  const std::string key = download_key(request(server));
  PartNotes notes;
  notes.sha256 = sha256_of(content_);
  notes.size = content_.size();
  notes.chunk_bytes = 65536;
  notes.done.assign(17, false);
  notes.done[0] = notes.done[3] = true;
  write_file_atomically(folder_ / (key + ".part"), std::string(5 * 65536, 'x'));
  write_file_atomically(folder_ / (key + ".part.json"), to_text(notes));
  EXPECT_TRUE(fetch(server) == content_);
}

TEST_F(Downloads, do_not_believe_notes_about_missing_bytes) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  const std::string key = download_key(request(server));
  PartNotes notes;
  notes.sha256 = sha256_of(content_);
  notes.size = content_.size();
  notes.chunk_bytes = 65536;
  notes.done.assign(17, true);
  write_file_atomically(folder_ / (key + ".part"), content_.substr(0, 100'000));
  write_file_atomically(folder_ / (key + ".part.json"), to_text(notes));
  EXPECT_TRUE(fetch(server) == content_);
  for (const SeenRequest& seen : server.seen()) {
    if (seen.range && seen.range->second > 0) {
      EXPECT_GE(seen.range->first, 65536U);
    }
  }
  write_file_atomically(folder_ / (key + ".part.json"), std::string("malformed"));
  EXPECT_TRUE(fetch(server) == content_);
}

TEST_F(Downloads, work_without_ranges) {
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest&) {
    Reply reply;
    reply.body = content_;
    if (++count == 2) reply.cut_after = 400'000;  // the first answer is only asked about
    return reply;
  });
  EXPECT_TRUE(fetch(server) == content_);
  EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(Downloads, work_when_a_server_only_pretends_to_know_ranges) {
  FakeServer server([&](const SeenRequest& r) {
    if (r.range && r.range->second == 0) return ranged(r, content_);
    Reply reply;
    reply.body = content_;
    return reply;
  });
  EXPECT_TRUE(fetch(server) == content_);
}

TEST_F(Downloads, work_when_a_server_answers_other_ranges) {
  FakeServer server([&](const SeenRequest& r) {
    if (!r.range) return ranged(r, content_);
    SeenRequest other = r;
    if (other.range->second > 0) other.range->first = 0;
    return ranged(other, content_);
  });
  EXPECT_TRUE(fetch(server) == content_);
}

TEST_F(Downloads, work_without_a_known_size) {
  DownloadRequest wanted;
  FakeServer server([&](const SeenRequest&) {
    Reply reply;
    reply.body = content_;
    reply.tell_length = false;
    return reply;
  });
  wanted.url = server.url() + "/file";
  EXPECT_TRUE(fetch(wanted) == content_);
  wanted.sha256 = std::string(64, '0');
  (void)failure(wanted);
  EXPECT_FALSE(fs::exists(folder_ / (download_key(wanted) + ".part")));
}

TEST_F(Downloads, refuse_a_file_that_changed) {
  const std::string longer = content_ + "x";
  FakeServer server([&](const SeenRequest& r) { return ranged(r, longer); });
  EXPECT_NE(std::string(failure(request(server)).what()).find("announced"), std::string::npos);
}

TEST_F(Downloads, begin_anew_when_the_validator_changed) {
  std::string etag = "\"one\"";
  std::atomic<bool> cut{true};
  std::atomic<int> count{0};
  FakeServer server([&](const SeenRequest& r) {
    Reply reply = ranged(r, content_);
    reply.headers[1] = "ETag: " + etag;
    if (cut && ++count > 1) reply.cut_after = count == 2 ? 500'000 : 0;
    return reply;
  });
  DownloadRequest wanted;
  wanted.url = server.url() + "/file";
  fake_.network().connections = 1;
  (void)failure(wanted);
  cut = false;
  etag = "\"two\"";
  content_ = noise(kSize, 2);  // of the same size
  EXPECT_TRUE(fetch(wanted) == content_);
}

TEST_F(Downloads, carry_a_token_to_its_host_alone) {
  FakeServer other([&](const SeenRequest& r) { return ranged(r, content_); });
  FakeServer server([&](const SeenRequest&) {
    return redirect(other.url() + "/signed?key=1");  // another port: another origin
  });
  DownloadRequest wanted = request(server);
  wanted.bearer = "hf_secret";
  EXPECT_TRUE(fetch(wanted) == content_);
  ASSERT_FALSE(server.seen().empty());
  ASSERT_FALSE(other.seen().empty());
  for (const SeenRequest& seen : server.seen())
    EXPECT_EQ(seen.header("authorization"), "Bearer hf_secret");
  for (const SeenRequest& seen : other.seen()) {
    EXPECT_EQ(seen.path, "/signed?key=1");
    EXPECT_EQ(seen.header("authorization"), "");
    EXPECT_EQ(seen.header("cookie"), "");
  }
}

TEST_F(Downloads, keep_the_token_on_redirects_within_the_host) {
  FakeServer server([&](const SeenRequest& r) {
    return r.path == "/file" ? redirect("/moved/file", 307) : ranged(r, content_);
  });
  DownloadRequest wanted = request(server);
  wanted.bearer = "hf_secret";
  EXPECT_TRUE(fetch(wanted) == content_);
  for (const SeenRequest& seen : server.seen())
    EXPECT_EQ(seen.header("authorization"), "Bearer hf_secret") << seen.path;
}

TEST_F(Downloads, refuse_redirects_to_nowhere_and_in_circles) {
  FakeServer circle([&](const SeenRequest& r) { return redirect(r.path + "x"); });
  EXPECT_NE(std::string(failure(request(circle)).what()).find("redirects"), std::string::npos);
  for (const char* location :
       {"file:///etc/passwd", "http://user:pw@127.0.0.1/", "", "gopher://x"}) {
    FakeServer server([&](const SeenRequest&) { return redirect(location); });
    (void)failure(request(server));
    EXPECT_EQ(server.seen().size(), 1U) << location;
  }
}

TEST_F(Downloads, say_what_a_refusal_means) {
  int status = 401;
  FakeServer server([&](const SeenRequest&) {
    Reply reply;
    reply.status = status;
    return reply;
  });
  EXPECT_NE(failure(request(server)).hint().find("HF_TOKEN"), std::string::npos);
  status = 404;
  EXPECT_NE(std::string(failure(request(server)).what()).find("404"), std::string::npos);
  EXPECT_EQ(server.seen().size(), 2U);  // these are not tried again
}

TEST_F(Downloads, ask_for_room_first) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  fake_.set_free_space(content_.size() - 1);
  const Error error = failure(request(server));
  EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
  EXPECT_EQ(server.seen().size(), 1U);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(Downloads, stay_offline_without_a_socket) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  fake_.network().offline = "HEARTH_OFFLINE is set";
  EXPECT_NE(std::string(failure(request(server)).what()).find("HEARTH_OFFLINE"), std::string::npos);
  EXPECT_THROW((void)fetch_text(fake_.network(), server.url(), 10), Error);
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(Downloads, stop_when_cancelled_and_go_on_later) {
  std::atomic<bool> cancel{false}, armed{true};
  std::atomic<std::uint64_t> sent{0};
  FakeServer server([&](const SeenRequest& r) {
    if (sent > 500'000 && armed) cancel = true;
    Reply reply = ranged(r, content_);
    sent += reply.body.size();
    return reply;
  });
  fake_.network().cancel = &cancel;
  fake_.network().connections = 1;
  fake_.network().chunk_bytes = 16384;
  EXPECT_EQ(failure(request(server)).exit_code(), ExitCode::kInterrupted);
  cancel = armed = false;
  sent = 0;
  EXPECT_TRUE(fetch(server) == content_);
  EXPECT_LT(sent, content_.size());
}

TEST_F(Downloads, tell_their_progress) {
  FakeServer server([&](const SeenRequest& r) { return ranged(r, content_); });
  std::vector<Progress> seen;
  auto ticking = std::make_shared<std::int64_t>(0);
  fake_.network().now = [ticking] { return Milliseconds(*ticking += 50); };
  (void)download(fake_.network(), request(server), folder_.path(),
                 [&](const Progress& progress) { seen.push_back(progress); });
  ASSERT_FALSE(seen.empty());
  for (const Progress& progress : seen) {
    EXPECT_EQ(progress.total, content_.size());
    EXPECT_LE(progress.done, 17U * 65536);
  }
}

TEST(Texts, are_fetched_up_to_a_limit) {
  FakeNetwork fake;
  FakeServer server([&](const SeenRequest&) {
    Reply reply;
    reply.body = "0123456789";
    return reply;
  });
  EXPECT_EQ(fetch_text(fake.network(), server.url(), 10), "0123456789");
  EXPECT_THROW((void)fetch_text(fake.network(), server.url(), 9), Error);
}

TEST(Texts, are_asked_for_again_when_nobody_answers) {
  FakeNetwork fake;
  std::string url;
  {
    const FakeServer gone([](const SeenRequest&) { return Reply{}; });
    url = gone.url();
  }
  try {
    (void)fetch_text(fake.network(), url, 10);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("fetching from 127.0.0.1"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(fake.sleeps().size(), 2U);
}

TEST(Headers, without_end_are_refused) {
  FakeNetwork fake;
  FakeServer server([&](const SeenRequest&) {
    Reply reply;
    for (int i = 0; i < 5000; ++i) reply.headers.push_back("X-H: " + std::string(100, 'x'));
    return reply;
  });
  EXPECT_THROW((void)fetch_text(fake.network(), server.url(), 10), Error);
}

TEST(ContentRanges, are_checked) {
  const auto range = parse_content_range("bytes 5-9/100");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->begin, 5U);
  EXPECT_EQ(range->end, 10U);
  EXPECT_EQ(range->total, 100U);
  for (const char* bad :
       {"", "bytes", "bytes 9-5/100", "bytes 5-100/100", "bytes */100", "bytes 5-9/*",
        "items 5-9/100", "bytes -5-9/100", "bytes 18446744073709551615-18446744073709551616/3"}) {
    EXPECT_FALSE(parse_content_range(bad)) << bad;
  }
}

// A disk that fills up while writing: a limit on the size of files stands for it.

TEST(Child, DISABLED_fills_the_disk) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{300'000, 300'000};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string content = noise(kSize);
  for (const bool ranges : {true, false}) {
    FakeServer server([&](const SeenRequest& r) {
      Reply reply = ranged(r, content);
      if (ranges) return reply;
      reply = {};
      reply.body = content;
      reply.tell_length = false;  // nothing to reserve: the write itself fails
      return reply;
    });
    const TemporaryFolder folder;
    FakeNetwork fake;
    DownloadRequest wanted;
    wanted.url = server.url() + "/file";
    try {
      (void)download(fake.network(), wanted, folder.path(), {});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit) << error.what();
      EXPECT_NE(error.hint().find("room"), std::string::npos);
    }
  }
}

TEST(FullDisks, are_told) {
  EXPECT_EQ(
      hearth::testing::wait_for(hearth::testing::start_self("Child.DISABLED_fills_the_disk", {})),
      0);
}

}  // namespace
}  // namespace hearth::hub
