/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - promises that a test build can switch off (SLUICE_FAULT=name[,name…]), to see that the tests go red without them. */
#pragma once
#include <stdbool.h>

#ifdef SLUICE_FAULTS
/*
 * fault_is_on - any thread.
 *   "skip-drain", "skip-gate", "skip-park", "flip-unrecorded"
 *   "skip-delivered"    the gate does not ask for D          "skip-errant"  nor for errant transactions
 *   "resume-cut-relay"  a relay whose stream was not parked is paused and resumed, not stopped and started anew
 *   "hurry-relay"       a resumed relay is not waited for until it reads the new server's binlog
 */
bool fault_is_on(const char *name);
/*
 * fault_pause_at - SLUICE_FAULT_PAUSE=PHASE:PATH[,PHASE:PATH…]: when a switch enters this phase, and before anything of
 * it is done, make PATH.reached and stand still until PATH.go is there: whoever tests freezes or kills somebody in
 * between. The source's loop.
 */
void fault_pause_at(const char *phase);
#else
static inline bool fault_is_on(const char *name)
{
    (void)name;
    return false;
}
static inline void fault_pause_at(const char *phase)
{
    (void)phase;
}
#endif
