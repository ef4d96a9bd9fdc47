#include "store/dedup.h"

#include <algorithm>

namespace gd2fs {

DedupWindow::Verdict DedupWindow::check(const MutationTag& tag, const ChunkKey& key,
                                        uint64_t* version) const {
  const auto client = clients_.find(tag.incarnation);
  if (client == clients_.end()) return Verdict::fresh;
  if (tag.sequence < client->second.low) return Verdict::stale;
  const auto entry = client->second.entries.find({tag.sequence, key});
  if (entry == client->second.entries.end()) return Verdict::fresh;
  *version = entry->second.record.version;
  return Verdict::replayed;
}

bool DedupWindow::full(uint64_t incarnation) const {
  return clients_.size() >= kClientsMax && !clients_.contains(incarnation);
}

void DedupWindow::drop_below(Client& client, std::vector<Forgotten>* forgotten) {
  while (!client.entries.empty() && client.entries.begin()->first.first < client.low) {
    const auto first = client.entries.begin();
    forgotten->push_back({.record = first->second.record, .drive = first->second.drive});
    by_version_.erase(first->second.record.version);
    client.entries.erase(first);
  }
}

void DedupWindow::load(const TagRecord& record, uint16_t drive, uint64_t now_ns) {
  Client& client = clients_[record.tag.incarnation];
  client.seen_ns = now_ns;
  const auto [entry, added] = client.entries.try_emplace(Key{record.tag.sequence, record.key},
                                                         Entry{.record = record, .drive = drive});
  if (added) by_version_[record.version] = &entry->second;
}

uint64_t DedupWindow::raise_low(uint64_t incarnation, uint64_t low, uint64_t now_ns,
                                std::vector<Forgotten>* forgotten) {
  Client& client = clients_[incarnation];
  client.seen_ns = now_ns;
  client.low = std::max(client.low, low);
  // Over the limit the oldest are given up: their retries answer stale, never run again.
  while (client.entries.size() > kEntriesPerClientMax) {
    client.low = client.entries.begin()->first.first + 1;
    drop_below(client, forgotten);
  }
  drop_below(client, forgotten);
  return client.low;
}

uint64_t DedupWindow::record(const TagRecord& record, uint16_t drive, uint64_t now_ns,
                             std::vector<Forgotten>* forgotten) {
  load(record, drive, now_ns);
  return raise_low(record.tag.incarnation, record.tag.low, now_ns, forgotten);
}

uint64_t DedupWindow::low_of(uint64_t incarnation) const {
  const auto client = clients_.find(incarnation);
  return client == clients_.end() ? 0 : client->second.low;
}

TagRecord DedupWindow::with_low(const TagRecord& record, const Client& client) {
  TagRecord answer = record;
  answer.tag.low = std::max(record.tag.low, client.low);
  return answer;
}

std::optional<TagRecord> DedupWindow::find_version(uint64_t version) const {
  const auto found = by_version_.find(version);
  if (found == by_version_.end()) return std::nullopt;
  const TagRecord& record = found->second->record;
  return with_low(record, clients_.at(record.tag.incarnation));
}

void DedupWindow::logged(uint64_t version) {
  const auto found = by_version_.find(version);
  if (found != by_version_.end()) found->second->logged = true;
}

void DedupWindow::logged_records(uint16_t drive, std::vector<TagRecord>* out) const {
  for (const auto& [incarnation, client] : clients_) {
    for (const auto& [key, entry] : client.entries) {
      if (entry.drive == drive && entry.logged) out->push_back(with_low(entry.record, client));
    }
  }
}

void DedupWindow::records(uint16_t drive, std::vector<TagRecord>* out) const {
  for (const auto& [incarnation, client] : clients_) {
    for (const auto& [key, entry] : client.entries) {
      if (entry.drive == drive) out->push_back(entry.record);
    }
  }
}

void DedupWindow::lows(std::vector<std::pair<uint64_t, uint64_t>>* out) const {
  for (const auto& [incarnation, client] : clients_) out->emplace_back(incarnation, client.low);
}

std::vector<uint64_t> DedupWindow::expire(uint64_t now_ns, std::vector<Forgotten>* forgotten) {
  std::vector<uint64_t> expired;
  if (clients_.size() <= kClientsWanted) return expired;
  for (auto at = clients_.begin(); at != clients_.end() && clients_.size() > kClientsWanted;) {
    if (now_ns - at->second.seen_ns < kIdleNs) {
      ++at;
      continue;
    }
    at->second.low = UINT64_MAX;
    drop_below(at->second, forgotten);
    expired.push_back(at->first);
    at = clients_.erase(at);
  }
  return expired;
}

}  // namespace gd2fs
