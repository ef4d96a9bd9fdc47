#include "meta/namespace.h"

#include "meta/keys.h"
#include "meta/namespace_core.h"

namespace gd2fs {

namespace {

// False: other transactions were quicker; again.
Task<Result<bool>> make_or_check_format(MetaStore& store) {
  auto tx = store.begin();
  const std::string key = format_key();
  auto value = co_await tx->get(key);
  if (tx->conflicted()) co_return false;
  if (!value) co_return fail(value.error());
  if (*value) {
    GD2FS_CO_ASSIGN(const FormatRecord record, FormatRecord::decode(key, **value));
    if (record.format > FormatRecord::kFormat) {
      co_return fail(StatusCode::unsupported, "metadata was written by a newer version");
    }
    if (record.loading) {
      co_return fail(StatusCode::invalid,
                     "a load of metadata into this store was cut off; load into an empty one");
    }
    co_return true;
  }
  tx->put(key, FormatRecord().encode(key));
  const std::string clusters = counter_key(0);
  tx->put(clusters, CounterRecord{1}.encode(clusters));
  Status committed = co_await tx->commit();
  if (tx->conflicted()) co_return false;
  if (!committed.ok()) co_return fail(committed);
  co_return true;
}

}  // namespace

Task<Result<std::unique_ptr<Namespace>>> Namespace::open(Loop& loop, MetaStore& store) {
  for (bool ready = false; !ready;) {
    GD2FS_CO_ASSIGN(ready, co_await make_or_check_format(store));
  }
  co_return std::unique_ptr<Namespace>(new Namespace(std::make_unique<NamespaceCore>(loop, store)));
}

Namespace::Namespace(std::unique_ptr<NamespaceCore> core) : core_(std::move(core)) {}

Namespace::~Namespace() = default;

}  // namespace gd2fs
