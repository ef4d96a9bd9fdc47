// For tests: a client that has every right to be there, and then names keys and addresses of memory
// that is not its own to show, or no longer; and all the memory that must not notice it.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include <gtest/gtest.h>

#include "fabric/conformance_pair.h"
#include "fabric/raw_rdma_end.h"

namespace gd2fs {

enum class Forgery : uint8_t {
  unknown_key,      // a key that nobody was given
  outside,          // its own key, and an address that it is not for
  of_another,       // key, address or both of another client's memory
  stale,            // of its own memory, which is not registered any more
  stale_under_way,  // ... not any more when the server's NIC comes to it
  reads_server,     // by a READ of its own, with the key by which the server's own NIC knows it
  writes_server,
};
inline constexpr size_t kForgeries = 7;
inline const char* name_of(Forgery kind) {
  static constexpr const char* kNames[kForgeries] = {
      "unknown_key",     "outside",      "of_another",   "stale",
      "stale_under_way", "reads_server", "writes_server"};
  return kNames[static_cast<size_t>(kind)];
}

class RdmaForger {
 public:
  static constexpr size_t kPartBytes = 64 * kKiB;
  static constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);

  RdmaForger(Loop& loop, Worker& worker) : end(loop, worker) {}

  // The middle third is registered by the forger's NIC.
  std::vector<std::byte> ground = std::vector<std::byte>(3 * kPartBytes, kGround);
  // Others'; who owns them registers them, and says what their keys are.
  std::vector<std::byte> victim = std::vector<std::byte>(kPartBytes, kVictim);  // a client's
  std::vector<std::byte> slab = std::vector<std::byte>(kPartBytes, kSlab);      // the server's, to
  std::vector<std::byte> page = std::vector<std::byte>(kPartBytes, kPage);      // push and pull
  RawRdmaEnd end;  // behind the memory that its NIC knows
  uint32_t victim_key = 0;
  uint32_t slab_key = 0;
  uint32_t page_key = 0;

  // After end.join(): nothing was forged yet, and its own memory is registered.
  void begin() {
    kind_.reset();
    push_.reset();
    pull_.reset();
    if (!std::exchange(registered_, true)) {
      const Status added = end.add(own());
      EXPECT_TRUE(added.ok()) << added.to_string();
    }
  }
  void strike(Forgery kind, Random& random) {
    kind_ = kind;
    const uint64_t length = 1 + random.below(kPartBytes);
    if (kind == Forgery::reads_server || kind == Forgery::writes_server) {
      const bool write = kind == Forgery::writes_server;
      std::vector<std::byte>& aim = write ? page : slab;
      return end.reach(write, own().first(length), reinterpret_cast<uintptr_t>(aim.data()),
                       write ? page_key : slab_key);
    }
    const RemoteSegment named = forge(kind, length, random);
    if (kind == Forgery::stale) deregister();
    const bool source = random.chance(1, 2);
    std::byte body[16];
    store_le(body, uint64_t{source});
    store_le(body + 8, length);
    end.ask(1, kType, source, named, body);
  }
  // A request as it should be, to show that nothing but the keys is wrong with the others.
  void ask_honestly() {
    std::byte body[16];
    store_le(body, uint64_t{0});
    store_le(body + 8, uint64_t{kPartBytes});
    end.ask(1, kType, false, end.segment(own()), body);
  }
  // The server's side of it.
  void serve(Session& session, const Message& message) {
    const uint64_t length = load_le<uint64_t>(message.body.data() + 8);
    if (load_le<uint64_t>(message.body.data()) == 0) {
      session.push(push_.emplace(message.request_id, 0, ConstBytes(slab).first(length)));
    } else {
      session.pull(pull_.emplace(message.request_id, 0, Bytes(page).first(length)));
    }
    EXPECT_TRUE(session.reply(message.type, message.request_id, {}).ok());
    if (kind_ == Forgery::stale_under_way) deregister();
  }
  // Once the server's session is closed.
  void expect_refused() const {
    EXPECT_TRUE(!push_ || (push_->finished && !push_->status.ok()));
    EXPECT_TRUE(!pull_ || (pull_->finished && !pull_->status.ok()));
  }

  const std::optional<Forgery>& struck() const { return kind_; }
  bool let_in() const { return end.replies() + end.moves() > 0; }
  // Bytes that are not as they were, of all that is here.
  size_t touched() const {
    return changed(ground, kGround) + changed(victim, kVictim) + changed(slab, kSlab) +
           changed(page, kPage);
  }
  Bytes own() { return Bytes(ground).subspan(kPartBytes, kPartBytes); }
  bool own_is_slab() { return changed(own(), kSlab) == 0; }
  void clean() { std::ranges::fill(ground, kGround); }

 private:
  static constexpr std::byte kGround{0x11};
  static constexpr std::byte kVictim{0x22};
  static constexpr std::byte kSlab{0x44};
  static constexpr std::byte kPage{0x33};

  static size_t changed(ConstBytes bytes, std::byte was) {
    const auto differs = [&](std::byte byte) { return byte != was; };
    return static_cast<size_t>(std::ranges::count_if(bytes, differs));
  }
  void deregister() {
    if (std::exchange(registered_, false)) end.remove(own());
  }
  RemoteSegment forge(Forgery kind, uint64_t length, Random& random) {
    RemoteSegment named = end.segment(own().first(length));
    const RemoteSegment true_one = named;
    const auto address = reinterpret_cast<uintptr_t>(victim.data());
    switch (kind) {
      case Forgery::unknown_key:
        while (named.key == true_one.key) named.key = static_cast<uint32_t>(random.next());
        break;
      case Forgery::outside: {
        // In front of it, behind it, or over one of its ends.
        uint64_t at = random.below(ground.size() - length + 1);
        if (at >= kPartBytes && at + length <= 2 * kPartBytes) at = kPartBytes - 1;
        named.address = reinterpret_cast<uintptr_t>(ground.data()) + at;
        break;
      }
      case Forgery::of_another: {
        const uint64_t which = random.below(3);
        if (which != 0) named.address = address;
        if (which != 1) named.key = victim_key;
        break;
      }
      default:
        break;
    }
    return named;
  }

  bool registered_ = false;
  std::optional<Forgery> kind_;
  std::optional<PushFlag> push_;
  std::optional<PullFlag> pull_;
};

}  // namespace gd2fs
