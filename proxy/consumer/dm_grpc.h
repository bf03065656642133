/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dm_grpc.h - the few unary calls of pb.Master that DM's HTTP gateway does not have: their messages, by hand (dmmaster.proto), and
 * the frame around them. Bounds are checked before anything is added up.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/dm.h"
#include "core/text.h"

enum { DM_RELAY_PAUSE = 2, DM_RELAY_RESUME = 3 };     /* enum RelayOp */
enum { DM_RELAY_V2_START = 1, DM_RELAY_V2_STOP = 2 }; /* enum RelayOpV2 */

#define DM_GRPC_WORKER_RELAY     "/pb.Master/OperateWorkerRelayTask"
#define DM_GRPC_RELAY            "/pb.Master/OperateRelay"
#define DM_GRPC_START_VALIDATION "/pb.Master/StartValidation"
#define DM_GRPC_STOP_VALIDATION  "/pb.Master/StopValidation"
#define DM_GRPC_DDL_LOCKS        "/pb.Master/ShowDDLLocks"

/* Each appends one frame (0, length, message) to |out|; what memory did is in |out->status|. */
void dm_grpc_worker_relay(struct text *out, int op, const char *source);
void dm_grpc_relay(struct text *out, int op, const char *source, const char *worker); /* |worker| "": none is named */
void dm_grpc_start_validation(struct text *out, const char *source, const char *task,
                              const char *mode); /* "": its old mode */
void dm_grpc_stop_validation(struct text *out, const char *source, const char *task);
void dm_grpc_ddl_locks(struct text *out, const char *source);

/* Where result, msg and sources stand in an answer. */
enum dm_grpc_shape { DM_GRPC_RESULT_1, DM_GRPC_RESULT_2 /* OperateWorkerRelayResponse: an op comes first */ };

/*
 * dm_grpc_operated - how an order was taken. |error| of DM_TEXT_LEN + 1.
 * Returns 0, SLUICE_ERR_REFUSED (DM's words in |error|), SLUICE_ERR_PROTOCOL (no whole frame, no such message).
 */
SLUICE_MUSTCHECK int dm_grpc_operated(const uint8_t *bytes, size_t len, enum dm_grpc_shape shape, char *error);
/* dm_grpc_read_locks - into |f->locks|. Returns as dm_grpc_operated(), SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_grpc_read_locks(const uint8_t *bytes, size_t len, struct dm_facts *f, char *error);
