// One record of each kind with every field set, for fuzzers to begin with.
#pragma once

#include <vector>

#include "meta/keys.h"
#include "meta/meta_store.h"
#include "meta/records.h"

namespace gd2fs {

inline std::vector<KeyValue> sample_records() {
  std::vector<KeyValue> out;
  const auto add = [&out](const std::string& key, const auto& record) {
    out.push_back({key, record.encode(key)});
  };
  add(format_key(), FormatRecord{});
  add(counter_key(1), CounterRecord{.next = 77});
  add(cluster_name_key("n"), ClusterNameRecord{.cluster = 1});
  ClusterRecord cluster;
  cluster.cluster.id = 1;
  cluster.cluster.name = "n";
  cluster.cluster.token = std::string(64, 'a');
  cluster.cluster.previous_token = std::string(64, 'b');
  cluster.cluster.created_us = 5;
  add(cluster_key(1), cluster);
  DentryRecord dentry;
  dentry.type = FileType::file;
  dentry.inode = 9;
  dentry.holds = 1;
  dentry.was_type = FileType::file;
  dentry.was_inode = 8;
  add(dentry_key(1, "n"), dentry);
  InodeRecord inode;
  inode.type = FileType::file;
  inode.chunk_log2 = 22;
  inode.generation = 3;
  inode.size_bytes = 1000;
  inode.reserved_bytes = 1 << 22;
  inode.mtime_us = 5;
  inode.ctime_us = 6;
  inode.parent = 1;
  inode.name = "n";
  inode.attributes = InodeRecord::kPinned;
  add(inode_key(1), inode);
  add(usage_key(1, 1), UsageRecord{.files = 1, .directories = -2, .size_bytes = 3});
  IntentRecord intent;
  intent.intent.inode = 1;
  intent.intent.generation = 1;
  intent.intent.keep_bytes = 5;
  intent.intent.chunk_log2 = 22;
  intent.held = {{7, "n"}, {8, "m"}};
  add(intent_key(1, 1), intent);
  AnswerRecord tag;
  tag.sequence = 4;
  tag.operation = 2;
  tag.status = Status(StatusCode::exists, "it is there");
  tag.info.inode = 1;
  tag.info.type = FileType::file;
  tag.intents = {intent.intent};
  add(tag_slot_key(1, 1), tag);
  add(tag_floor_key(1), TagFloorRecord{.sequence = 3, .time_us = 9});
  return out;
}

}  // namespace gd2fs
