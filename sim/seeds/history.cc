#include "sim/seeds/history.h"

#include <cerrno>

#include "base/crc32c.h"
#include "base/random.h"

namespace gd2fs::sim {
namespace {

using client::Op;

// Answers that tell what the names were.
bool tells_of_names(const Status& status) {
  switch (status.errno_value()) {
    case ENOENT:
    case EEXIST:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
      return true;
    case EINVAL:
      return status.is(StatusCode::invalid);
    default:
      return false;
  }
}

Outcome outcome_of(Op op, const Status& status) {
  if (status.ok()) return Outcome::ok;
  // A write that failed may have made the file, and have reached it in part.
  if (op == Op::write || !tells_of_names(status)) return Outcome::failed;
  return Outcome::refused;
}

std::string milliseconds(uint64_t ns) {
  const std::string us = std::to_string(ns / kUs % 1000);
  return std::to_string(ns / kMs) + "." + std::string(3 - us.size(), '0') + us;
}

}  // namespace

std::string_view op_name(Op op) {
  static constexpr std::string_view kNames[] = {"none",   "read",     "write",  "stat",
                                                "create", "unlink",   "rename", "mkdir",
                                                "rmdir",  "truncate", "fsync",  "list"};
  return kNames[static_cast<size_t>(op)];
}

std::string Record::to_string() const {
  std::string text = "#" + std::to_string(number) + " client " + std::to_string(client) + " [" +
                     std::to_string(begin) + ".." +
                     (end == kNever ? std::string("?") : std::to_string(end)) + "] " +
                     milliseconds(begin_ns) + ".." +
                     (end == kNever ? std::string("?") : milliseconds(end_ns)) +
                     " ms: " + std::string(op_name(op)) + " " + path;
  if (op == Op::rename) text += " -> " + other;
  if (op == Op::read || op == Op::write) {
    text += " [" + std::to_string(offset) + ", " + std::to_string(end_offset()) + ")";
  }
  if (op == Op::truncate || op == Op::create) text += " size " + std::to_string(length);
  text += ": ";
  if (outcome == Outcome::open) return text + "no answer";
  text += status.to_string();
  if (!status.ok()) return text;
  if (facts.inode != 0) text += ", inode " + std::to_string(facts.inode & 0xFFFFFFFFFFFF);
  if (op == Op::stat) text += ", size " + std::to_string(facts.size_bytes);
  if (op == Op::read) text += ", " + std::to_string(value) + " bytes";
  for (const auto& entry : entries) {
    text += " " + entry.name + "(" + std::to_string(entry.inode & 0xFFFFFFFFFFFF) + ", " +
            std::to_string(entry.size_bytes) + ")";
  }
  return text;
}

bool Record::may_go_on() const {
  return end == kNever || status.is(StatusCode::timed_out) || status.is(StatusCode::unavailable) ||
         status.is(StatusCode::canceled) || status.is(StatusCode::io) ||
         status.is(StatusCode::corrupt);
}

Record& History::begin(Record asked) {
  Record& record = records_.emplace_back(std::move(asked));
  record.number = records_.size();
  record.begin = ++order_;
  record.begin_ns = world_.clock().now_ns();
  hash(static_cast<uint64_t>(record.op));
  hash(record.client);
  hash(record.path);
  hash(record.other);
  hash(record.offset);
  hash(record.length);
  hash(record.begin_ns);
  return record;
}

void History::end(Record& record, const client::Request& request, std::vector<std::byte> bytes) {
  record.end = ++order_;
  record.end_ns = world_.clock().now_ns();
  record.status = request.status;
  record.outcome = outcome_of(record.op, request.status);
  record.value = request.value;
  record.facts = request.facts;
  record.entries = request.entries;
  record.bytes = std::move(bytes);
  record.bytes_crc = crc32c(record.bytes);
  hash(record.number);
  hash(record.end_ns);
  hash(record.status.to_string());
  hash(record.value);
  hash(record.facts.inode);
  hash(record.facts.size_bytes);
  for (const auto& entry : record.entries) {
    hash(entry.name);
    hash(entry.inode);
    hash(entry.size_bytes);
  }
  hash(record.bytes_crc);
}

void History::hash(uint64_t value) {
  trace_hash_ = mix64(trace_hash_ * 31 + value);
}

void History::hash(const std::string& text) {
  hash(crc32c(ConstBytes(reinterpret_cast<const std::byte*>(text.data()), text.size())));
  hash(text.size());
}

}  // namespace gd2fs::sim
