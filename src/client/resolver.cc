#include "client/resolver.h"

namespace gd2fs::client {

class Resolver::Question final : public Exchange {
 public:
  Question(Resolver& owner, std::string key, std::string path, bool write)
      : resolver(owner), key(std::move(key)), path(std::move(path)), write(write) {
    type = msg::Type::lookup;
    done.bind<&Question::on_done>(this);
  }
  ~Question() override { end_sequence(); }

  Result<ConstBytes> compose(Link&, flatbuffers::FlatBufferBuilder& builder) override {
    if (write && sequence == 0) {
      sequence = resolver.controller_.take_sequence();
      if (sequence == 0) return fail(Peer::no_sequence());
    }
    const auto name = builder.CreateString(path);
    const msg::Tag tag(resolver.incarnation_, sequence, resolver.controller_.low_sequence());
    return finish_body(builder,
                       msg::CreateLookup(builder, name, write, write, write ? &tag : nullptr));
  }
  void on_done(Completion&) { resolver.answer(*this); }
  void end_sequence() {
    if (sequence != 0) resolver.controller_.end_sequence(std::exchange(sequence, 0));
  }

  Resolver& resolver;
  const std::string key;
  const std::string path;
  const bool write;
  uint64_t number = 0;
  uint64_t sequence = 0;
  List<Wish> wishes;
};

Resolver::Resolver(Loop& loop, Peer& controller, LayoutCache& cache, uint64_t incarnation)
    : loop_(loop), controller_(controller), cache_(cache), incarnation_(incarnation) {}

Resolver::~Resolver() = default;

void Resolver::start(Wish& wish) {
  wish.layout = nullptr;
  wish.outcome = Status();
  std::string key = (wish.write ? "w" : "r") + wish.path;
  auto found = questions_.find(key);
  if (found != questions_.end()) {
    found->second->wishes.push_back(wish);
    return;
  }
  auto question = std::make_unique<Question>(*this, key, wish.path, wish.write);
  question->number = ++asked_;
  question->wishes.push_back(wish);
  Question& started = *question;
  questions_.emplace(std::move(key), std::move(question));
  controller_.start(started);
}

void Resolver::answer(Question& question) {
  question.end_sequence();
  retired_.clear();  // those of earlier answers; this one stays until the next
  auto node = questions_.extract(question.key);
  retired_.push_back(std::move(node.mapped()));

  Status outcome = question.outcome;
  LayoutRef layout;
  if (outcome.ok()) {
    const auto* reply = open_body<msg::LookupReply>(question.reply);
    Result<Layout> info =
        reply == nullptr
            ? fail(StatusCode::io, "the controller's answer is malformed")
            : layout_from(reply->info(), question.write, loop_.now_ns(), question.number);
    if (info.has_value()) {
      layout = cache_.put(question.path, std::move(*info), loop_.now_ns());
    } else {
      outcome = info.error();
    }
  } else if (outcome.is(StatusCode::not_found)) {
    cache_.forget(question.path);
  }
  List<Wish> again;
  while (Wish* wish = question.wishes.pop_front()) {
    const bool old = question.number <= wish->after;
    if (old && (wish->fresh || !outcome.ok())) {
      again.push_back(*wish);
      continue;
    }
    wish->layout = layout;
    wish->outcome = outcome;
    loop_.complete(wish->done, Status());
  }
  while (Wish* wish = again.pop_front()) start(*wish);
}

void Resolver::cancel(Wish& wish) {
  if (!wish.linked()) return;
  const auto found = questions_.find((wish.write ? "w" : "r") + wish.path);
  wish.unlink();
  wish.outcome = Status(StatusCode::canceled);
  loop_.complete(wish.done, Status());
  if (found != questions_.end() && found->second->wishes.empty()) {
    controller_.cancel(*found->second);
  }
}

}  // namespace gd2fs::client
