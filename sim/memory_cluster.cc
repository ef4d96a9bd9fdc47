#include "sim/memory_cluster.h"

namespace gd2fs {
namespace {

struct Capability {
  uint64_t inode;
  uint64_t generation;
};

}  // namespace

MemoryCluster::MemoryCluster(Place controller, Place server)
    : controller_(*this, std::move(controller)), server_(*this, std::move(server)) {
  start_controller();
  start_server();
}

void MemoryCluster::Node::listen() {
  fabric = place.make_fabric();
  ListenOptions options;
  options.incarnation = ++cluster.last_incarnation_;
  options.keys = [](PeerRole, std::string_view cluster) {
    return cluster == "c" ? std::vector<std::string>{key()} : std::vector<std::string>{};
  };
  auto listening =
      fabric->listen(place.listen, std::move(options), [this](std::unique_ptr<Session> session) {
        auto end = std::make_unique<End>(*this);
        session->set_events(end.get());
        end->session = std::move(session);
        sessions.push_back(std::move(end));
      });
  CHECK(listening.has_value());
  listener = std::move(*listening);
}

void MemoryCluster::Node::stop() {
  if (place.on_stop) place.on_stop();
  cluster.transfers_.clear();
  sessions.clear();
  listener.reset();
  fabric.reset();
}

void MemoryCluster::start_controller() {
  controller_.listen();
}
void MemoryCluster::start_server() {
  server_.listen();
  server_address_ = server_.listener->address();
}
void MemoryCluster::stop_controller() {
  controller_.stop();
}
void MemoryCluster::stop_server() {
  server_.stop();
}

MemoryCluster::File& MemoryCluster::make(const std::string& path, uint64_t size_bytes) {
  File& file = files[path];
  file = File();
  file.inode = ++last_inode_;
  file.size_bytes = file.reserved_bytes = size_bytes;
  return file;
}

void MemoryCluster::replace(const std::string& path) {
  make(path, files[path].size_bytes);
}
void MemoryCluster::raise_generation(const std::string& path) {
  ++files[path].generation;
}

void MemoryCluster::End::on_message(Session& from, const Message& message) {
  node.cluster.handle(*this, from, message);
}

void MemoryCluster::handle(End& end, Session& session, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  if (message.request_id != 0) {
    ++asked[type];
    if (interfere) {
      if (const auto answer = interfere(type)) {
        if (!answer->is(StatusCode::canceled)) {
          reply_error(session, message.request_id, *answer);
        }
        return;
      }
    }
  }
  if (&end.node == &controller_) {
    names(session, message);
  } else {
    data(end, session, message);
  }
}

flatbuffers::Offset<msg::FileInfo> MemoryCluster::info(flatbuffers::FlatBufferBuilder& builder,
                                                       const File& file) {
  const Capability capability{file.inode, file.generation};
  const auto bytes =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(&capability), sizeof capability);
  return msg::CreateFileInfo(builder, file.inode, file.generation, file.size_bytes,
                             msg::FileType::file, kChunkLog2, 0, 0, file.reserved_bytes, 1, 1,
                             bytes, 600'000, file.pinned);
}

void MemoryCluster::names(Session& session, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  flatbuffers::FlatBufferBuilder builder;
  const auto by_inode = [&](uint64_t inode, uint64_t generation) -> File* {
    for (auto& [path, file] : files) {
      if (file.inode == inode && file.generation == generation) return &file;
    }
    reply_error(session, message.request_id, Status(StatusCode::stale));
    return nullptr;
  };
  switch (type) {
    case msg::Type::cluster_map: {
      const std::vector<flatbuffers::Offset<flatbuffers::String>> addresses = {
          builder.CreateString(server_address_)};
      const std::vector<flatbuffers::Offset<msg::ServerInfo>> servers = {
          msg::CreateServerInfo(builder, 1, 1, builder.CreateVector(addresses), true)};
      const std::vector<uint32_t> members = {1};
      const std::vector<flatbuffers::Offset<msg::GroupInfo>> groups = {
          msg::CreateGroupInfo(builder, 0, 1, builder.CreateVector(members))};
      const auto group_vector = builder.CreateVector(groups);
      const auto server_vector = builder.CreateVector(servers);
      msg::ClusterMapReplyBuilder reply(builder);
      reply.add_map_version(1);
      reply.add_groups(group_vector);
      reply.add_servers(server_vector);
      return reply_body(session, type, message.request_id, finish_body(builder, reply.Finish()));
    }
    case msg::Type::lookup: {
      const auto* lookup = open_body<msg::Lookup>(message.body);
      const std::string path(text_of(lookup->path()));
      if (!files.contains(path)) {
        if (!lookup->create_if_missing()) {
          return reply_error(session, message.request_id, Status(StatusCode::not_found));
        }
        make(path, 0);
      }
      return reply_body(
          session, type, message.request_id,
          finish_body(builder, msg::CreateLookupReply(builder, info(builder, files[path]))));
    }
    case msg::Type::create: {
      const auto* create = open_body<msg::Create>(message.body);
      const std::string path(text_of(create->path()));
      if (files.contains(path)) {
        return reply_error(session, message.request_id, Status(StatusCode::exists));
      }
      File& file = make(path, create->size_bytes());
      return reply_body(session, type, message.request_id,
                        finish_body(builder, msg::CreateCreateReply(builder, info(builder, file))));
    }
    case msg::Type::unlink: {
      const auto* unlink = open_body<msg::Unlink>(message.body);
      if (files.erase(std::string(text_of(unlink->path()))) == 0) {
        return reply_error(session, message.request_id, Status(StatusCode::not_found));
      }
      return reply_body(session, type, message.request_id,
                        finish_body(builder, msg::CreateDone(builder)));
    }
    case msg::Type::setattr: {
      const auto* setattr = open_body<msg::Setattr>(message.body);
      const auto found = files.find(std::string(text_of(setattr->path())));
      if (found == files.end()) {
        return reply_error(session, message.request_id, Status(StatusCode::not_found));
      }
      found->second.pinned = setattr->pin();
      return reply_body(
          session, type, message.request_id,
          finish_body(builder, msg::CreateSetattrReply(builder, info(builder, found->second))));
    }
    case msg::Type::evict: {
      const auto* evict = open_body<msg::Evict>(message.body);
      files[std::string(text_of(evict->path()))].resident.clear();
      return reply_body(session, type, message.request_id,
                        finish_body(builder, msg::CreateDone(builder)));
    }
    case msg::Type::reserve: {
      const auto* reserve = open_body<msg::Reserve>(message.body);
      File* file = by_inode(reserve->inode(), reserve->generation());
      if (file == nullptr) return;
      if (reserve->end_bytes() > quota_bytes) {
        return reply_error(session, message.request_id,
                           Status(StatusCode::no_space, "quota", EDQUOT));
      }
      file->reserved_bytes = std::max(file->reserved_bytes, reserve->end_bytes());
      return reply_body(session, type, message.request_id,
                        finish_body(builder, msg::CreateReserveReply(builder, file->reserved_bytes,
                                                                     file->size_bytes)));
    }
    case msg::Type::set_size: {
      const auto* set_size = open_body<msg::SetSize>(message.body);
      File* file = by_inode(set_size->inode(), set_size->generation());
      if (file == nullptr) return;
      sizes_asked.push_back(set_size->end_bytes());
      file->size_bytes = std::max(file->size_bytes, set_size->end_bytes());
      return reply_body(session, type, message.request_id,
                        finish_body(builder, msg::CreateSetSizeReply(builder, file->size_bytes)));
    }
    default:
      return reply_error(session, message.request_id, Status(StatusCode::unsupported));
  }
}

MemoryCluster::File* MemoryCluster::file_of(End& end, uint32_t handle, uint64_t generation) {
  const auto bound = end.handles.find(handle);
  if (bound == end.handles.end()) return nullptr;
  for (auto& [path, file] : files) {
    if (file.inode == bound->second && file.generation == generation) return &file;
  }
  return nullptr;
}

void MemoryCluster::data(End& end, Session& session, const Message& message) {
  switch (static_cast<msg::Type>(message.type)) {
    case msg::Type::bind_handle: {
      const auto* bind = open_body<msg::BindHandle>(message.body);
      end.handles[bind->handle()] = load_le<Capability>(bytes_of(bind->capability()).data()).inode;
      return;
    }
    case msg::Type::read: {
      const auto* request = open_body<msg::Read>(message.body);
      streams.push_back(request->stream());
      if (request->follows_bytes()) follows.push_back(*request->follows_bytes());
      File* file = file_of(end, request->handle(), request->generation());
      if (file == nullptr) {
        return reply_error(session, message.request_id, Status(StatusCode::stale));
      }
      return read(session, message.request_id, *file, *request);
    }
    case msg::Type::write: {
      const auto* request = open_body<msg::Write>(message.body);
      File* file = file_of(end, request->handle(), request->generation());
      if (file == nullptr) {
        return reply_error(session, message.request_id, Status(StatusCode::stale));
      }
      return write(session, message.request_id, *file, *request);
    }
    case msg::Type::prefetch:
    case msg::Type::residency:
      return advise(end, session, message);
    case msg::Type::cancel: {
      ++asked[msg::Type::cancel];
      const auto* request = open_body<msg::Cancel>(message.body);
      return session.drop_request(request->request_id());
    }
    default:
      if (message.request_id != 0) {
        reply_body(session, static_cast<msg::Type>(message.type), message.request_id,
                   pack_body(msg::DoneT{}));
      }
  }
}

// Prefetch and Residency have the same fields.
void MemoryCluster::advise(End& end, Session& session, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  const auto* request = open_body<msg::Residency>(message.body);
  File* file = file_of(end, request->handle(), request->generation());
  if (file == nullptr) return reply_error(session, message.request_id, Status(StatusCode::stale));
  uint64_t bytes = 0;
  for (const msg::ReadPiece* piece : *request->pieces()) {
    if (type == msg::Type::prefetch) file->resident.insert(piece->chunk());
    if (file->resident.contains(piece->chunk())) bytes += piece->length_bytes();
  }
  flatbuffers::FlatBufferBuilder builder;
  reply_body(session, type, message.request_id,
             type == msg::Type::prefetch
                 ? finish_body(builder, msg::CreatePrefetchReply(builder, bytes))
                 : finish_body(builder, msg::CreateResidencyReply(builder, bytes)));
}

void MemoryCluster::Transfer::on_done(Completion& completion) {
  if (status.ok()) status = completion.status;
  if (--left == 0) then(status);
}

void MemoryCluster::read(Session& session, uint64_t id, File& file, const msg::Read& read) {
  auto transfer = std::make_unique<Transfer>();
  Transfer& moving = *transfer;
  std::vector<msg::Range> zeros;
  for (const msg::ReadPiece* piece : *read.pieces()) {
    auto& chunk = file.chunks[piece->chunk()];
    if (chunk.size() < piece->offset_bytes() + piece->length_bytes()) {
      if (chunk.empty()) {
        zeros.emplace_back(piece->window_offset(), piece->length_bytes());
        continue;
      }
      chunk.resize(piece->offset_bytes() + piece->length_bytes());
    }
    auto push = std::make_unique<Push>();
    push->request_id = id;
    push->offset = piece->window_offset();
    // The file may be replaced while the bytes are under way.
    moving.buffers.emplace_back(chunk.begin() + piece->offset_bytes(),
                                chunk.begin() + piece->offset_bytes() + piece->length_bytes());
    push->bytes = moving.buffers.back();
    push->crc = crc32c(push->bytes);
    push->done.bind<&Transfer::on_done>(&moving);
    moving.pushes.push_back(std::move(push));
  }
  const std::optional<Status> ends_with = std::exchange(end_read_with, std::nullopt);
  moving.then = [&session, id, zeros, ends_with](const Status& status) {
    if (!status.ok()) return;
    if (ends_with.has_value()) return reply_error(session, id, *ends_with);
    flatbuffers::FlatBufferBuilder builder;
    const auto ranges = builder.CreateVectorOfStructs(zeros);
    reply_body(session, msg::Type::read, id,
               finish_body(builder, msg::CreateReadReply(builder, ranges)));
  };
  moving.left = moving.pushes.size();
  transfers_.push_back(std::move(transfer));
  if (moving.left == 0) return moving.then(Status());
  for (auto& push : moving.pushes) session.push(*push);
}

void MemoryCluster::write(Session& session, uint64_t id, File& file, const msg::Write& write) {
  auto transfer = std::make_unique<Transfer>();
  Transfer& moving = *transfer;
  std::vector<msg::WritePiece> pieces;
  uint64_t total = 0;
  for (const msg::WritePiece* piece : *write.pieces()) {
    moving.buffers.emplace_back(piece->length_bytes());
    pieces.push_back(*piece);
    total += piece->length_bytes();
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    auto pull = std::make_unique<Pull>();
    pull->request_id = id;
    pull->offset = pieces[i].window_offset();
    pull->into = moving.buffers[i];
    pull->done.bind<&Transfer::on_done>(&moving);
    moving.pulls.push_back(std::move(pull));
  }
  moving.left = moving.pulls.size();
  const uint64_t inode = file.inode;
  const uint64_t incarnation = write.incarnation();
  moving.then = [this, &session, &moving, id, inode, pieces, total,
                 incarnation](const Status& status) {
    if (!status.ok()) return;
    const std::optional<size_t> cut = std::exchange(cut_write_after, std::nullopt);
    const size_t count = std::min(pieces.size(), cut.value_or(pieces.size()));
    for (auto& [path, target] : files) {
      if (target.inode != inode) continue;
      if (cut) ++target.generation;
      for (size_t i = 0; i < count; ++i) {
        if (!executed_.insert({incarnation, pieces[i].sequence()}).second) continue;
        write_tags.emplace_back(incarnation, pieces[i].sequence(), 0);
        auto& chunk = target.chunks[pieces[i].chunk()];
        const size_t end = pieces[i].offset_bytes() + pieces[i].length_bytes();
        if (chunk.size() < end) chunk.resize(end);
        std::copy(moving.buffers[i].begin(), moving.buffers[i].end(),
                  chunk.begin() + pieces[i].offset_bytes());
      }
    }
    if (count < pieces.size()) {
      const uint64_t done = (uint64_t{1} << count) - 1;
      reply_body(session, msg::Type::error, id, pack_error(Status(StatusCode::stale), {&done, 1}));
      return;
    }
    flatbuffers::FlatBufferBuilder builder;
    reply_body(session, msg::Type::write, id,
               finish_body(builder, msg::CreateWriteReply(builder, total)));
  };
  transfers_.push_back(std::move(transfer));
  for (auto& pull : moving.pulls) session.pull(*pull);
}

}  // namespace gd2fs
