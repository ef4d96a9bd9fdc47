#include "cli/bench/folder_janitor.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/wait.h>

namespace gd2fs {
namespace {

class Janitor : public testing::Test {
 protected:
  Janitor() { make_folder(); }
  ~Janitor() override { std::filesystem::remove_all(folder); }
  void make_folder() const {
    std::filesystem::create_directories(folder + "/data");
    std::ofstream(folder + "/data/file") << "bytes";
  }
  bool is_gone() const {
    for (int i = 0; i < 200; ++i) {
      if (!std::filesystem::exists(folder)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  // How a process ends that had it watched.
  void in_a_process(const std::function<void()>& end) const {
    const pid_t child = fork();
    if (child == 0) {
      setpgid(0, 0);  // the janitor begins in it
      const auto janitor = FolderJanitor::watch(folder);
      if (janitor && std::filesystem::exists(folder)) end();
      _exit(1);
    }
    waitpid(child, nullptr, 0);
  }
  const std::string folder = testing::TempDir() + "gd2fs-janitor-" + std::to_string(getpid());
};

TEST_F(Janitor, the_folder_is_gone_when_it_is) {
  {
    const auto janitor = FolderJanitor::watch(folder);
    ASSERT_TRUE(janitor.has_value());
    EXPECT_TRUE(std::filesystem::exists(folder));
  }
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(Janitor, the_folder_goes_with_a_process_that_is_killed) {
  in_a_process([] { raise(SIGKILL); });
  EXPECT_TRUE(is_gone());
}

TEST_F(Janitor, the_folder_goes_with_a_process_whose_group_is_interrupted) {
  in_a_process([] {
    kill(0, SIGINT);
    pause();
  });
  EXPECT_TRUE(is_gone());
}

TEST_F(Janitor, what_is_moved_from_removes_nothing) {
  auto janitor = FolderJanitor::watch(folder);
  ASSERT_TRUE(janitor.has_value());
  FolderJanitor other;
  other = std::move(*janitor);
  {
    const FolderJanitor empty = std::move(*janitor);
  }
  EXPECT_TRUE(std::filesystem::exists(folder));
  other = FolderJanitor();
  EXPECT_FALSE(std::filesystem::exists(folder));
}

}  // namespace
}  // namespace gd2fs
