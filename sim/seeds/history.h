// History: what the clients of one simulated run asked for and what they were told, in the order in
// which it happened. The checkers judge a run by its history alone. One thread.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "client/request.h"
#include "sim/sim_world.h"

namespace gd2fs::sim {

inline constexpr uint64_t kNever = UINT64_MAX;

enum class Outcome : uint8_t {
  open,     // no answer, and none will come: it may have happened, or may still happen
  ok,       // it happened between begin and end
  refused,  // it did not: the names said why not at some moment between begin and end
  failed,   // it may have happened, in part too, or may still happen
};

// One request. Its number is its place in the history plus one; the bytes of a write are
// fill_pattern(number).
struct Record {
  uint64_t number = 0;
  uint32_t client = 0;
  client::Op op = client::Op::read;
  std::string path;
  std::string other;      // rename
  uint64_t offset = 0;    // read, write
  uint64_t length = 0;    // read, write: bytes; create, truncate: the size
  uint64_t begin = 0;     // a place in the order of all beginnings and ends
  uint64_t end = kNever;  // of the answer
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  Outcome outcome = Outcome::open;
  Status status;

  // What an ok told.
  uint64_t value = 0;       // bytes moved
  client::FileFacts facts;  // read, write: inode only
  std::vector<client::DirectoryEntry> entries;
  std::vector<std::byte> bytes;  // read: the buffer, whole, whatever the outcome
  uint32_t bytes_crc = 0;        // of the buffer when the request ended

  // It has no answer, or one that leaves open what is still to come.
  bool may_go_on() const;
  uint64_t end_offset() const { return offset + length; }
  std::string to_string() const;
};

class History {
 public:
  explicit History(SimWorld& world) : world_(world) {}

  // The record stays where it is.
  Record& begin(Record asked);
  void end(Record& record, const client::Request& request, std::vector<std::byte> bytes);

  // Something that no answer tells; the first is kept.
  void found(const std::string& what) {
    if (finding_.empty()) finding_ = what;
  }
  const std::string& finding() const { return finding_; }

  const std::deque<Record>& records() const { return records_; }
  // Equal for two runs that did the same at the same times.
  uint64_t trace_hash() const { return trace_hash_; }
  // The last `count` records that `which` picks, a line each.
  template <class Which>
  std::string last(size_t count, Which which) const {
    std::vector<const Record*> picked;
    for (auto at = records_.rbegin(); at != records_.rend() && picked.size() < count; ++at) {
      if (which(*at)) picked.push_back(&*at);
    }
    std::string text;
    for (auto at = picked.rbegin(); at != picked.rend(); ++at) text += (*at)->to_string() + "\n";
    return text;
  }

 private:
  void hash(uint64_t value);
  void hash(const std::string& text);

  SimWorld& world_;
  std::deque<Record> records_;
  uint64_t order_ = 0;
  uint64_t trace_hash_ = 0;
  std::string finding_;
};

std::string_view op_name(client::Op op);

}  // namespace gd2fs::sim
