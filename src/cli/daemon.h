// Daemon: what `up`, `controller` and `server` share: signals, secrets, tokens, the log, metrics.
#pragma once

#include <csignal>
#include <string>

#include "cli/config.h"
#include "cli/data_dir.h"

namespace gd2fs::cli {

// SIGTERM and SIGINT, blocked in every thread that is started after this is made, and waited for by
// the one that made it.
class StopSignals {
 public:
  StopSignals();
  int wait();  // the signal's number

 private:
  sigset_t signals_;
};

// The deployment's key: from --secret-file, else DATA/secret, which is made if it is not there
// (then a copy goes to ~/.config/gd2fs/secret, for this user's `gd2fs status` and the like).
Result<std::string> deployment_key(const Config& config, const DataDir& data);
// Leaves a cluster's token at DATA/tokens/NAME and ~/.config/gd2fs/tokens/NAME.
Status leave_token(const DataDir& data, const std::string& cluster, const std::string& token);

// Says loudly what --insecure means.
void warn_if_insecure(const Config& config);
// Raises the limit of open files as far as it goes.
void raise_file_limit();

}  // namespace gd2fs::cli
