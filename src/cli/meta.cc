// `gd2fs meta dump|load`: the controller's records as JSON lines, for backup.
#include <cstdio>

#include "cli/admin_session.h"
#include "cli/command.h"

namespace gd2fs::cli {
namespace {

constexpr uint32_t kLinesPerCall = 1000;
constexpr size_t kBatchMaxBytes = 256 * 1024;
constexpr size_t kLineMaxBytes = 1 << 20;

struct Nothing {};

Status dump(const Invocation& invocation, const Nothing&) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  msg::MetaDumpT request;
  request.limit = kLinesPerCall;
  while (true) {
    GD2FS_ASSIGN(const auto page, admin->ask<msg::MetaDumpReply>(msg::Type::meta_dump, request));
    for (const std::string& line : page.lines) {
      if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() ||
          std::fputc('\n', stdout) == EOF) {
        return Status::from_errno(errno, "standard output");
      }
    }
    if (!page.more) break;
    request.after = page.next;
  }
  if (std::fflush(stdout) != 0) return Status::from_errno(errno, "standard output");
  return {};
}

// One line without its newline; nullopt at the end.
Result<std::optional<std::string>> read_line() {
  std::string line;
  for (int c = std::getchar(); c != '\n'; c = std::getchar()) {
    if (c == EOF) {
      if (std::ferror(stdin) != 0) return fail(Status::from_errno(errno, "standard input"));
      if (line.empty()) return std::optional<std::string>();
      break;
    }
    if (line.size() >= kLineMaxBytes) return fail(StatusCode::invalid, "a line is too long");
    line += static_cast<char>(c);
  }
  return std::optional<std::string>(std::move(line));
}

Status send(AdminSession& admin, msg::MetaLoadT& batch) {
  if (batch.lines.empty()) return {};
  batch.tag = std::make_unique<msg::Tag>(admin.next_tag());
  const auto reply = admin.call(msg::Type::meta_load, pack_body(batch));
  batch.lines.clear();
  return reply ? Status() : reply.error();
}

Status load(const Invocation& invocation, const Nothing&) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  msg::MetaLoadT batch;
  size_t batch_bytes = 0;
  uint64_t lines = 0;
  while (true) {
    GD2FS_ASSIGN(std::optional<std::string> line, read_line());
    if (!line) break;
    if (line->empty()) continue;
    batch_bytes += line->size();
    batch.lines.push_back(std::move(*line));
    ++lines;
    if (batch_bytes < kBatchMaxBytes && batch.lines.size() < kLinesPerCall) continue;
    GD2FS_TRY(send(*admin, batch));
    batch_bytes = 0;
  }
  GD2FS_TRY(send(*admin, batch));
  if (!invocation.quiet)
    std::printf("loaded %llu records\n", static_cast<unsigned long long>(lines));
  return {};
}

}  // namespace

void add_meta(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("meta", "Back up and restore names, sizes and clusters");
  verb->require_subcommand(1);
  CLI::App* dump_verb = verb->add_subcommand("dump", "Write all records to standard output");
  when_named(dump_verb, chosen, std::make_shared<Nothing>(), dump);
  CLI::App* load_verb =
      verb->add_subcommand("load", "Read records from standard input into an empty deployment");
  when_named(load_verb, chosen, std::make_shared<Nothing>(), load);
}

}  // namespace gd2fs::cli
