#include "meta/recent_clients.h"

#include <algorithm>

namespace gd2fs {

bool RecentClients::admit(const MutationTag& tag) {
  auto found = clients_.find(tag.incarnation);
  if (found == clients_.end()) {
    if (clients_.size() >= kClientsMax) {
      clients_.erase(ages_.back());
      ages_.pop_back();
    }
    ages_.push_front(tag.incarnation);
    found = clients_.emplace(tag.incarnation, Client{0, ages_.begin()}).first;
  } else {
    ages_.splice(ages_.begin(), ages_, found->second.age);
  }
  Client& client = found->second;
  client.low = std::max(client.low, tag.low);
  return tag.sequence >= client.low;
}

}  // namespace gd2fs
