#include "linux/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace pinion::linux {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RunCommand, GivesOutputAndStatus) {
  const auto outcome =
      RunCommand({"sh", "-c", "cat; echo failed >&2; exit 3"}, "hello ", seconds(30));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "hello failed\n");
  EXPECT_EQ(outcome->exit_status, 3);
}

TEST(RunCommand, InputThatNobodyReadsDoesNotHang) {
  const auto outcome = RunCommand({"true"}, std::string(1 << 20, 'x'), seconds(30));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->exit_status, 0);
}

TEST(RunCommand, KillsWhatTakesTooLong) {
  const auto outcome = RunCommand({"sleep", "60"}, "", milliseconds(50));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::kTimeout);
}

TEST(Spawn, DescriptorsThatAreNotNamedAreNotInherited) {
  const UniqueFd leaked(::open("/dev/null", O_RDONLY));  // without close-on-exec
  const auto outcome = RunCommand({"sh", "-c", "ls /proc/self/fd | wc -l"}, "", seconds(30));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "4\n");  // the three standard ones and that of ls for the folder
}

TEST(Spawn, NamesTheProgramThatIsMissing) {
  const auto pid = Spawn({.arguments = {"/no/such/program"}});
  ASSERT_FALSE(pid);
  EXPECT_NE(pid.error().message.find("/no/such/program"), std::string::npos);
}

}  // namespace
}  // namespace pinion::linux
