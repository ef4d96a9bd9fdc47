#include "client/sizes.h"

#include <algorithm>

namespace gd2fs::client {

// The questions of one kind about one file, one after another.
class Sizes::Lane final : public Exchange {
 public:
  Lane(Sizes& owner, Key key) : sizes_(owner), key_(key) {
    type = key.kind == Kind::reserve ? msg::Type::reserve : msg::Type::set_size;
    done.bind<&Lane::on_done>(this);
  }
  ~Lane() override { end_sequence(); }

  const Key& key() const { return key_; }
  bool asking() const { return !idle(); }

  void add(Wish& wish) {
    waiting_.push_back(wish);
    if (idle() && !done.pending()) ask();
  }
  // The wish has left the lists.
  void left() {
    if (riding_.empty() && !idle()) sizes_.controller_.cancel(*this);
  }

  Result<ConstBytes> compose(Link&, flatbuffers::FlatBufferBuilder& builder) override {
    if (key_.kind == Kind::reserve) {
      return finish_body(builder, msg::CreateReserve(builder, key_.inode, generation_, end_bytes_));
    }
    if (sequence_ == 0) {
      sequence_ = sizes_.controller_.take_sequence();
      if (sequence_ == 0) return fail(Peer::no_sequence());
    }
    const msg::Tag tag(sizes_.incarnation_, sequence_, sizes_.controller_.low_sequence());
    return finish_body(builder,
                       msg::CreateSetSize(builder, key_.inode, generation_, end_bytes_, &tag));
  }

 private:
  void end_sequence() {
    if (sequence_ != 0) sizes_.controller_.end_sequence(std::exchange(sequence_, 0));
  }

  void ask() {
    generation_ = waiting_.front()->generation;
    end_bytes_ = 0;
    for (Wish* wish = waiting_.front(); wish != nullptr;) {
      Wish* next = waiting_.next(*wish);
      if (wish->generation == generation_) {
        end_bytes_ = std::max(end_bytes_, wish->end_bytes);
        riding_.push_back(*wish);
      }
      wish = next;
    }
    sizes_.controller_.start(*this);
  }

  Status read_reply(uint64_t* size_bytes, uint64_t* reserved_bytes) const {
    if (!outcome.ok()) return outcome;
    if (key_.kind == Kind::reserve) {
      const auto* answer = open_body<msg::ReserveReply>(reply);
      if (answer == nullptr) return {StatusCode::io, "the controller's answer is malformed"};
      *size_bytes = answer->size_bytes();
      *reserved_bytes = answer->reserved_bytes();
      return {};
    }
    const auto* answer = open_body<msg::SetSizeReply>(reply);
    if (answer == nullptr) return {StatusCode::io, "the controller's answer is malformed"};
    *size_bytes = answer->size_bytes();
    return {};
  }

  void on_done(Completion&) {
    end_sequence();
    uint64_t size_bytes = 0;
    uint64_t reserved_bytes = 0;
    const Status status = read_reply(&size_bytes, &reserved_bytes);
    while (Wish* wish = riding_.pop_front()) {
      // Somebody else's far end was too much; ours may not be.
      const bool again = status.is(StatusCode::no_space) && wish->end_bytes < end_bytes_;
      if (again) {
        waiting_.push_back(*wish);
        continue;
      }
      wish->outcome = status;
      wish->size_bytes = size_bytes;
      wish->reserved_bytes = reserved_bytes;
      sizes_.loop_.complete(wish->done, Status());
    }
    if (waiting_.empty()) {
      sizes_.retire(*this);
    } else {
      ask();
    }
  }

  Sizes& sizes_;
  const Key key_;
  uint64_t generation_ = 0;
  uint64_t end_bytes_ = 0;
  uint64_t sequence_ = 0;
  List<Wish> riding_;
  List<Wish> waiting_;
};

Sizes::Sizes(Loop& loop, Peer& controller, uint64_t incarnation)
    : loop_(loop), controller_(controller), incarnation_(incarnation) {}

Sizes::~Sizes() = default;

void Sizes::start(Wish& wish) {
  wish.outcome = Status();
  const Key key{wish.inode, wish.kind};
  auto& lane = lanes_[key];
  if (lane == nullptr) lane = std::make_unique<Lane>(*this, key);
  lane->add(wish);
}

void Sizes::cancel(Wish& wish) {
  if (!wish.linked()) return;
  wish.unlink();
  wish.outcome = Status(StatusCode::canceled);
  loop_.complete(wish.done, Status());
  if (const auto found = lanes_.find({wish.inode, wish.kind}); found != lanes_.end()) {
    found->second->left();
  }
}

void Sizes::retire(Lane& lane) {
  retired_.clear();  // the lane itself is in use until it returns
  auto node = lanes_.extract(lane.key());
  retired_.push_back(std::move(node.mapped()));
}

}  // namespace gd2fs::client
