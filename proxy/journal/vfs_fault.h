/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_fault.h - a failing disk for SQLite: the n-th sync, write or truncation fails, or kills. Test builds only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"

struct text;

enum vfs_fault_op { VFS_FAULT_SYNC, VFS_FAULT_WRITE, VFS_FAULT_TRUNCATE, VFS_FAULT_OP_COUNT };
enum vfs_fault_action {
    VFS_FAULT_NONE,
    VFS_FAULT_EIO,    /* a write is done by half first: what is on the disk then is not defined, as on a real one */
    VFS_FAULT_ENOSPC, /* likewise */
    VFS_FAULT_CRASH_BEFORE, /* kill -9 of this process instead of the operation */
    VFS_FAULT_CRASH_AFTER,  /* kill -9 once it is done */
};

struct vfs_fault {
    enum vfs_fault_op op;
    uint64_t nth;    /* 1..: counted from vfs_fault_arm() */
    bool is_lasting; /* all from the n-th on, not only this one */
    enum vfs_fault_action action;
    char arm_file[256]; /* counting begins only once this file exists; "": at once */
};

/*
 * vfs_fault_install - put the shim in front of SQLite's default VFS, for all that is opened later. Can be repeated.
 * 0 or SLUICE_ERR_IO.
 */
SLUICE_MUSTCHECK int vfs_fault_install(void);
/*
 * vfs_fault_install_from_environment - the same, armed as SLUICE_FAULT_DISK says: "sync:3:eio", "write:1+:enospc" (+: and all
 * later ones), "sync:2:crash-before", "truncate:1:crash-after", each with ":/path/of/a/file" behind it where counting is to
 * begin once that file exists. Without the variable nothing is done. 0, or SLUICE_ERR_INVALID / SLUICE_ERR_IO with a text.
 */
SLUICE_MUSTCHECK int vfs_fault_install_from_environment(struct text *error);
/* vfs_fault_parse - the text of above. 0 or SLUICE_ERR_INVALID. */
SLUICE_MUSTCHECK int vfs_fault_parse(const char *spec, struct vfs_fault *out);
/* vfs_fault_arm - from now on; NULL disarms. Any thread, as all below. */
void vfs_fault_arm(const struct vfs_fault *fault);
/* vfs_fault_count - operations of this kind since the start, failed ones included. */
uint64_t vfs_fault_count(enum vfs_fault_op op);
/* vfs_fault_fired - how often the armed fault has struck. */
uint64_t vfs_fault_fired(void);
/*
 * vfs_fault_shadow - keep in |dir| what a power cut would leave: of each file only what a successful sync covered; what was
 * written before a sync that failed is lost, unless it was written again. A later process can go on with |dir|. NULL ends it.
 */
void vfs_fault_shadow(const char *dir);
/* vfs_fault_pragma - PRAGMA |name| answers |value| and does nothing, as on a storage that cannot do it. NULL ends it. */
void vfs_fault_pragma(const char *name, const char *value);
