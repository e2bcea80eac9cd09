#include "measure/self_test.h"

#include <gtest/gtest.h>

#include "compute/cpu/cpu_backend.h"
#include "compute/forward/forwarding_backend.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

TEST(SelfTest, EveryKernelHereIsRight) {
  SelfTestOptions options;
  options.threads = 2;
  int told = 0;
  options.on_result = [&](const SelfTestResult&) { ++told; };
  const std::vector<SelfTestResult> results = self_test(options);
  EXPECT_EQ(results.size(), self_test_parts().size() * compute::cpu_instruction_sets().size());
  EXPECT_EQ(told, static_cast<int>(results.size()));
  for (const SelfTestResult& result : results) {
    EXPECT_TRUE(result.right()) << result.kernels << " " << result.part << ": " << result.wrong;
    EXPECT_GT(result.compared, 7) << result.part;
    // The shapes are such that allowed errors are not met by chance.
    EXPECT_LT(result.worst, 0.7) << result.kernels << " " << result.part;
  }
}

TEST(SelfTest, OtherNumbersAreRightToo) {
  SelfTestOptions options;
  options.kernels = {compute::chosen_cpu_instruction_set()};
  for (options.seed = 2; options.seed < 5; ++options.seed) {
    for (const SelfTestResult& result : self_test(options)) {
      EXPECT_TRUE(result.right()) << options.seed << " " << result.part << ": " << result.wrong;
    }
  }
}

/// Computes correctly but for one operation, after which one number is changed a little.
class Faulty : public compute::ForwardingBackend {
 public:
  Faulty(std::unique_ptr<compute::Backend> inner, compute::Operation broken, float factor)
      : ForwardingBackend(*inner), inner_(std::move(inner)), broken_(broken), factor_(factor) {}

  void matmul(const compute::Tensor& x,
              std::span<const compute::Projection> projections) noexcept override {
    inner_->matmul(x, projections);
    if (broken_ == compute::Operation::kMatmul)
      inner_->scale(first_row(projections), factor_, first_row(projections));
  }
  void attend(const compute::AttendArguments& a) noexcept override {
    inner_->attend(a);
    const compute::Tensor out = a.out.join_last();
    if (broken_ == compute::Operation::kAttend) inner_->scale(out, factor_, out);
  }

 private:
  static compute::Tensor first_row(std::span<const compute::Projection> projections) {
    return projections[0].out.rows(0, 1);
  }
  std::unique_ptr<compute::Backend> inner_;
  compute::Operation broken_;
  float factor_;
};

std::vector<std::string> wrong_parts(compute::Operation broken, float factor, std::string* words) {
  SelfTestOptions options;
  options.kernels = {"portable"};
  options.make = [&](const std::string& kernels, int) -> std::unique_ptr<compute::Backend> {
    return std::make_unique<Faulty>(
        compute::make_cpu_backend({.threads = 1, .instruction_set = kernels}), broken, factor);
  };
  std::vector<std::string> parts;
  for (const SelfTestResult& result : self_test(options)) {
    if (result.right()) continue;
    parts.push_back(result.part);
    *words = result.wrong;
  }
  return parts;
}

TEST(SelfTest, FindsWhatIsWrong) {
  std::string words;
  EXPECT_EQ(wrong_parts(compute::Operation::kMatmul, 1.2F, &words),
            std::vector<std::string>{"products"});
  EXPECT_TRUE(words.starts_with("F32, ") && words.find("is allowed") != std::string::npos) << words;
  EXPECT_EQ(wrong_parts(compute::Operation::kAttend, 1.001F, &words),
            std::vector<std::string>{"attention"});
  EXPECT_EQ(
      wrong_parts(compute::Operation::kAttend, std::numeric_limits<float>::quiet_NaN(), &words),
      std::vector<std::string>{"attention"});
  EXPECT_NE(words.find("not a number"), std::string::npos) << words;
}

TEST(SelfTest, StopsWhenAsked) {
  const std::atomic<bool> stop{true};
  SelfTestOptions options;
  options.stop = &stop;
  EXPECT_THROW((void)self_test(options), Error);
}

}  // namespace
}  // namespace hearth::measure
