// Clusters: what the operations on clusters share. Thread rule: the Namespace's loop.
#pragma once

#include <string_view>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/namespace.h"

namespace gd2fs {

// not_found if there is none of that name.
Task<Result<uint16_t>> find_cluster_id(MetaTransaction& tx, std::string_view name);
Status check_policy(const ClusterPolicy& policy);

}  // namespace gd2fs
