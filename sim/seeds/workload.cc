#include "sim/seeds/workload.h"

#include <algorithm>

namespace gd2fs::sim {

using client::Op;

WorkloadProfile WorkloadProfile::draw(Random& random) {
  WorkloadProfile out;
  static constexpr uint64_t kChunks[] = {64 * kKiB, 64 * kKiB, 128 * kKiB, 256 * kKiB};
  out.chunk_bytes = kChunks[random.below(std::size(kChunks))];
  out.file_max_bytes = out.chunk_bytes * random.between(1, 4);
  out.request_max_bytes = std::min(random.chance(1, 3) ? 4 * kKiB : 160 * kKiB, out.file_max_bytes);
  out.paths = random.between(1, Workload::files().size());
  out.data_percent = static_cast<uint32_t>(random.between(20, 90));
  out.directory_percent = random.chance(1, 2) ? static_cast<uint32_t>(random.between(5, 40)) : 0;
  static constexpr uint64_t kThinks[] = {100 * kUs, 2 * kMs, 20 * kMs, 200 * kMs};
  out.think_max_ns = kThinks[random.below(std::size(kThinks))];
  return out;
}

std::string WorkloadProfile::to_string() const {
  return "chunks " + std::to_string(chunk_bytes / kKiB) + " KiB, files " +
         std::to_string(file_max_bytes / kKiB) + " KiB, paths " + std::to_string(paths) +
         ", data " + std::to_string(data_percent) + "%, think " +
         std::to_string(think_max_ns / kUs) + " us";
}

const std::vector<std::string>& Workload::directories() {
  static const std::vector<std::string> kNames = {"/d", "/e", "/d/s"};
  return kNames;
}

const std::vector<std::string>& Workload::files() {
  static const std::vector<std::string> kNames = {"/a", "/d/a", "/b", "/d/b", "/e/a", "/d/s/a"};
  return kNames;
}

const std::string& Workload::file() {
  return files()[random_.below(profile_.paths)];
}

const std::string& Workload::directory() {
  return directories()[random_.below(directories().size())];
}

uint64_t Workload::boundary(uint64_t max_bytes) {
  const uint64_t at = random_.below(max_bytes / 16 + 1) * 16;
  switch (random_.below(4)) {
    case 0:  // a block's edge
      return at / (64 * kKiB) * (64 * kKiB);
    case 1:
      return at + 7 <= max_bytes ? at + 7 : at;
    default:
      return at;
  }
}

Record Workload::draw() {
  Record record;
  if (random_.below(100) < profile_.data_percent) {
    draw_data(&record);
  } else if (random_.below(100) < profile_.directory_percent) {
    draw_directory(&record);
  } else {
    draw_names(&record);
  }
  return record;
}

void Workload::draw_data(Record* record) {
  record->op = random_.chance(1, 2) ? Op::read : Op::write;
  record->path = file();
  if (record->op == Op::read && random_.chance(1, 3)) {  // all there can be
    record->length = profile_.file_max_bytes;
    return;
  }
  const uint64_t end = std::max<uint64_t>(boundary(profile_.file_max_bytes), 16);
  const uint64_t length =
      std::max<uint64_t>(boundary(std::min(end, profile_.request_max_bytes)), 16);
  record->offset = end > length ? end - length : 0;
  record->offset = record->offset / 16 * 16 + (record->offset % 16 >= 7 ? 7 : 0);
  record->length = end - record->offset;
}

void Workload::draw_names(Record* record) {
  record->path = file();
  switch (random_.below(12)) {
    case 0:
    case 1:
    case 2:
      record->op = Op::create;
      record->length = random_.chance(1, 4) ? boundary(profile_.file_max_bytes) : 0;
      return;
    case 3:
    case 4:
      record->op = Op::truncate;
      record->length = boundary(profile_.file_max_bytes);
      return;
    case 5:
    case 6:
      record->op = Op::unlink;
      return;
    case 7:
      record->op = Op::rename;
      record->other = file();
      return;
    case 8:
      record->op = Op::fsync;
      return;
    case 9:
      record->op = Op::readdir;
      record->path = random_.chance(1, 2) ? "/" : directory();
      return;
    default:
      record->op = Op::stat;
      return;
  }
}

void Workload::draw_directory(Record* record) {
  record->path = directory();
  switch (random_.below(6)) {
    case 0:
    case 1:
      record->op = Op::mkdir;
      return;
    case 2:
      record->op = Op::rmdir;
      return;
    case 3:
      record->op = Op::stat;
      return;
    case 4:
      record->op = Op::readdir;
      return;
    default:
      record->op = Op::rename;
      record->other = directory();
      return;
  }
}

uint64_t Workload::draw_think_ns() {
  return random_.below(profile_.think_max_ns + 1);
}

}  // namespace gd2fs::sim
