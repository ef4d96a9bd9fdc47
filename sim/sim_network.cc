#include "sim/sim_network.h"

#include <algorithm>

#include "sim/sim_session.h"

namespace gd2fs {

struct SimNetwork::Packet {
  SimNetwork* network = nullptr;
  std::string from;
  std::string to;
  uint64_t to_life = 0;
  std::move_only_function<void()> run;
  Timer arrival;
  bool held = false;
  void on_arrival(Completion&) { network->on_packet(*this); }
};

SimNetwork::SimNetwork(SimWorld& world)
    : loop_(world.clock(), Loop::Waits::never),
      member_(world, loop_),
      random_(world.random().fork()) {
  sweeper_.fired.bind(this,
                      [](void* self, Completion&) { static_cast<SimNetwork*>(self)->sweep(); });
}

SimNetwork::~SimNetwork() {
  for (auto& link : links_) {
    for (SimSession*& end : link->ends) {
      if (end != nullptr) std::exchange(end, nullptr)->die();
    }
  }
}

void SimNetwork::Node::on_inbox(Completion&) {
  while (!inbox.empty()) {
    auto run = std::move(inbox.front());
    inbox.pop_front();
    run();
  }
}

uint64_t SimNetwork::add_node(const std::string& name, Loop& loop) {
  CHECK(!nodes_.contains(name));
  auto node = std::make_unique<Node>();
  node->name = name;
  node->loop = &loop;
  node->life = next_life_++;
  node->inbox_ready.bind<&Node::on_inbox>(node.get());
  const uint64_t life = node->life;
  nodes_.emplace(name, std::move(node));
  return life;
}

void SimNetwork::remove_node(const std::string& name, uint64_t life) {
  if (find_node(name, life) == nullptr) return;
  nodes_.erase(name);
  std::erase_if(listeners_, [&](const auto& entry) { return entry.first.starts_with(name + ":"); });
  for (size_t i = 0; i < links_.size(); ++i) {
    SimLink& link = *links_[i];
    for (int side = 0; side < 2; ++side) {
      if (link.nodes[side] != name || link.ends[side] == nullptr) continue;
      link.ends[side]->die();
      detach(link, side);
    }
  }
}

SimNetwork::Node* SimNetwork::find_node(const std::string& name, uint64_t life) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || found->second->life != life) return nullptr;
  return found->second.get();
}

bool SimNetwork::partitioned(const std::string& from, const std::string& to) const {
  return partitions_.contains({from, to});
}

uint64_t SimNetwork::draw_delay_ns() {
  uint64_t delay_ns = random_.between(faults.delay_min_ns, faults.delay_max_ns);
  if (random_.chance(faults.slow_per_million, 1'000'000)) {
    delay_ns += random_.below(faults.slow_max_ns + 1);
  }
  return delay_ns;
}

void SimNetwork::send_packet(const std::string& from, const std::string& to, uint64_t to_life,
                             std::move_only_function<void()> run) {
  auto packet = std::make_unique<Packet>();
  packet->network = this;
  packet->from = from;
  packet->to = to;
  packet->to_life = to_life;
  packet->run = std::move(run);
  packet->arrival.bind<&Packet::on_arrival>(packet.get());
  loop_.start(packet->arrival, draw_delay_ns());
  packets_.push_back(std::move(packet));
}

void SimNetwork::on_packet(Packet& packet) {
  if (partitioned(packet.from, packet.to)) {
    packet.held = true;
    return;
  }
  Node* node = find_node(packet.to, packet.to_life);
  if (node != nullptr) {
    node->inbox.push_back(std::move(packet.run));
    if (!node->inbox_ready.pending()) node->loop->complete(node->inbox_ready, Status());
  }
  std::erase_if(packets_, [&](const auto& p) { return p.get() == &packet; });
}

SimLink& SimNetwork::add_link(const std::string& side0, const std::string& side1, uint32_t lanes) {
  auto link = std::make_unique<SimLink>();
  link->network = this;
  link->nodes[0] = side0;
  link->nodes[1] = side1;
  for (int side = 0; side < 2; ++side) {
    for (uint32_t i = 0; i < lanes; ++i) {
      SimLane& lane = link->lanes[side].emplace_back();
      lane.link = link.get();
      lane.to_side = side;
      lane.head.bind<&SimLane::on_head>(&lane);
    }
  }
  links_.push_back(std::move(link));
  return *links_.back();
}

void SimLane::on_head(Completion&) {
  link->network->deliver(*this);
}

void SimNetwork::schedule(SimLane& lane) {
  if (lane.frames.empty() || lane.head.running()) return;
  loop_.start_at(lane.head, std::max(lane.frames.front().arrival_ns, loop_.now_ns()));
}

void SimNetwork::transmit(SimLink& link, int to_side, uint32_t lane_index, SimFrame frame) {
  if (link.reset) return;
  if (faults.tamper && !frame.closing) faults.tamper(frame);
  if (!frame.closing && random_.chance(faults.reset_per_million, 2'000'000)) {
    reset(link);  // the frame is lost with it
    return;
  }
  SimLane& lane = link.lanes[to_side][lane_index];
  uint64_t arrival_ns = loop_.now_ns() + draw_delay_ns();
  if (!lane.frames.empty()) arrival_ns = std::max(arrival_ns, lane.frames.back().arrival_ns);
  lane.queued_bytes += frame.body.size() + frame.payload.size();
  lane.frames.push_back({std::move(frame), arrival_ns});
  if (!lane.held) schedule(lane);
}

void SimNetwork::deliver(SimLane& lane) {
  SimLink& link = *lane.link;
  const int to = lane.to_side;
  if (partitioned(link.nodes[1 - to], link.nodes[to])) {
    lane.held = true;
    return;
  }
  SimFrame frame = std::move(lane.frames.front().frame);
  lane.frames.pop_front();
  lane.queued_bytes -= frame.body.size() + frame.payload.size();
  schedule(lane);
  ++frames_delivered_;
  const bool closing = frame.closing;
  if (link.ends[to] != nullptr) link.ends[to]->arrive(std::move(frame));
  if (closing) {
    link.ends[to] = nullptr;  // it learns it from its inbox
    loop_.start(sweeper_, 0);
  } else if (random_.chance(faults.reset_per_million, 2'000'000)) {
    reset(link);
  }
}

void SimNetwork::detach(SimLink& link, int side) {
  link.ends[side] = nullptr;
  loop_.start(sweeper_, 0);
  if (link.reset || link.ends[1 - side] == nullptr) return;
  // The end comes behind what was sent on lane 0, or, as a reset, in its place.
  if (random_.chance(1, 2)) {
    for (SimLane& lane : link.lanes[1 - side]) {
      lane.frames.clear();
      lane.queued_bytes = 0;
      loop_.cancel(lane.head);
      lane.held = false;
    }
  }
  SimFrame last;
  last.closing = true;
  transmit(link, 1 - side, 0, std::move(last));
}

void SimNetwork::reset(SimLink& link) {
  if (link.reset) return;
  for (int side = 0; side < 2; ++side) {
    for (SimLane& lane : link.lanes[side]) {
      lane.frames.clear();
      lane.queued_bytes = 0;
      loop_.cancel(lane.head);
      lane.held = false;
    }
    SimFrame last;
    last.closing = true;
    transmit(link, side, 0, std::move(last));
  }
  link.reset = true;
}

void SimNetwork::sweep() {
  std::erase_if(links_, [](const auto& link) {
    return link->ends[0] == nullptr && link->ends[1] == nullptr;
  });
}

void SimNetwork::partition(const std::string& from, const std::string& to) {
  partitions_.emplace(from, to);
}

void SimNetwork::partition_both(const std::string& a, const std::string& b) {
  partition(a, b);
  partition(b, a);
}

void SimNetwork::heal(const std::string& from, const std::string& to) {
  if (partitions_.erase({from, to}) == 0) return;
  for (auto& packet : packets_) {
    if (!packet->held || packet->from != from || packet->to != to) continue;
    packet->held = false;
    loop_.start(packet->arrival, draw_delay_ns());
  }
  for (auto& link : links_) {
    for (int side = 0; side < 2; ++side) {
      if (link->nodes[1 - side] != from || link->nodes[side] != to) continue;
      for (SimLane& lane : link->lanes[side]) {
        lane.held = false;
        schedule(lane);
      }
    }
  }
}

void SimNetwork::heal_all() {
  while (!partitions_.empty()) {
    const auto [from, to] = *partitions_.begin();
    heal(from, to);
  }
  const uint64_t latest_ns = loop_.now_ns() + faults.delay_max_ns;
  for (auto& link : links_) {
    for (auto& lanes : link->lanes) {
      for (SimLane& lane : lanes) {
        for (SimLane::Flying& flying : lane.frames) {
          flying.arrival_ns = std::min(flying.arrival_ns, latest_ns);
        }
        if (!lane.head.running()) continue;
        loop_.cancel(lane.head);
        schedule(lane);
      }
    }
  }
}

void SimNetwork::reset_sessions(const std::string& a, const std::string& b) {
  for (size_t i = 0; i < links_.size(); ++i) {
    SimLink& link = *links_[i];
    if ((link.nodes[0] == a && link.nodes[1] == b) || (link.nodes[0] == b && link.nodes[1] == a)) {
      reset(link);
    }
  }
}

void SimNetwork::reset_all_sessions() {
  for (size_t i = 0; i < links_.size(); ++i) reset(*links_[i]);
}

void SimNetwork::kill(const std::string& node) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) remove_node(node, found->second->life);
}

}  // namespace gd2fs
