#include "cli/daemon.h"

#include <pthread.h>

#include <sys/resource.h>

#include "base/check.h"
#include "base/log.h"
#include "wire/token.h"

namespace gd2fs::cli {
namespace {

// Replaces the file only if it says something else, so that its time tells of the last change.
Status keep_private_file(const std::string& path, const std::string& token) {
  const Result<std::string> key = key_from_token(token);
  const Result<std::string> there = read_token_file(path);
  if (key && there && *there == *key) return {};
  return write_private_file(path, token + "\n");
}

// For this user's programs; a machine user without a home does without.
void keep_in_home(const std::string& name, const std::string& token) {
  const std::string directory = user_config_directory();
  if (directory.empty()) return;
  const std::string path = directory + "/" + name;
  Status status = make_private_directory(path.substr(0, path.rfind('/')));
  if (status.ok()) status = keep_private_file(path, token);
  if (!status.ok()) GD2FS_LOG_WARN("{} was not written: {}", path, status.to_string());
}

}  // namespace

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  CHECK(pthread_sigmask(SIG_BLOCK, &signals_, nullptr) == 0);
}

int StopSignals::wait() {
  int number = 0;
  while (sigwait(&signals_, &number) != 0) {
  }
  return number;
}

Result<std::string> deployment_key(const Config& config, const DataDir& data) {
  if (!config.secret_file.empty()) return read_token_file(config.secret_file);
  const std::string path = data.secret_path();
  Result<std::string> key = read_token_file(path);
  if (!key && key.error().is(StatusCode::not_found)) {
    GD2FS_TRY(write_token_file(path, generate_token()));
    key = read_token_file(path);
  }
  if (!key) return fail(key.error());
  keep_in_home("secret", token_from_key(*key));
  return key;
}

Status leave_token(const DataDir& data, const std::string& cluster, const std::string& token) {
  GD2FS_TRY(keep_private_file(data.token_path(cluster), token));
  keep_in_home("tokens/" + cluster, token);
  return {};
}

void warn_if_insecure(const Config& config) {
  if (!config.insecure) return;
  GD2FS_LOG_WARN("--insecure: everybody who reaches this port may read and write everything");
}

void raise_file_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) GD2FS_LOG_WARN("the limit of open files stays low");
}

}  // namespace gd2fs::cli
