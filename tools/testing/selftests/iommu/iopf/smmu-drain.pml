/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Promela model of the drain of an SMMUv3's queue of faults. It follows
 * drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iopf.c.
 *
 * A queue of two entries: records of the PASID that is being unbound, and of
 * others, who may go on for ever. What the SMMU has taken becomes visible late,
 * with CMD_SYNC at last. The interrupt thread takes a record off the queue,
 * reports it under a lock, and counts it as handled. Unbinding erases the
 * PASID's handle, stops the accesses, drains, and waits for the core; then the
 * PASID belongs to the next user.
 *
 * Positions are those of PROD, CONS and the count modulo twice the entries;
 * how the count itself wraps is arithmetic, which KUnit tests.
 *
 * Checked with spin by model.sh:
 *  - no record of the last user is reported to the next one;
 *  - the drain ends, whatever others do, once the thread gets on;
 *  - no deadlock (invalid end states).
 *
 * BUG=n plants a fault that the checks must find:
 *  1	nothing is drained
 *  2	CONS is waited for, not what has been handled
 *  3	PROD is read before CMD_SYNC has completed
 *  4	the queue must become empty (never, beside the others)
 *  5	the drain holds the lock that reporting takes
 *  6	PROD is taken for valid though the thread went round since
 */
#ifndef BUG
#define BUG 0
#endif
#define ENTRIES		2
#define WRAP		(2 * ENTRIES)

mtype = { NONE, OLD, OTHER };

mtype entry[ENTRIES] = NONE;
byte prod, cons, done;		/* positions, modulo WRAP */
bool pending_old;		/* taken by the SMMU, not visible */
bool accesses = true;		/* the CD lets them through */
bool next_user;			/* the PASID belongs to somebody else */
bool lock;			/* of reporting: streams_mutex */
bool drained;

bool counting;			/* between the reads of a snapshot */
byte progress;			/* handled since the first of them */
byte left;			/* to be handled until the target */
byte most;			/* ... until there can be nothing left */

#define USED	((prod + WRAP - cons) % WRAP)

inline put(what)
{
	entry[prod % ENTRIES] = what;
	prod = (prod + 1) % WRAP
}

/* The device faults in the PASID for a while, others as long as they like. */
active proctype smmu()
{
end:	do
	:: atomic { accesses && !pending_old && !drained -> pending_old = true }
	:: d_step { pending_old && USED < ENTRIES -> put(OLD);
		    pending_old = false }
	/* CMD_SYNC is not put off by others */
	:: d_step { (accesses || !pending_old) && USED < ENTRIES ->
		    put(OTHER) }
	od
}

active proctype thread()
{
	mtype rec;

end:	do
	:: d_step { USED > 0 -> rec = entry[cons % ENTRIES];
		    cons = (cons + 1) % WRAP }
progress_thread:
	   atomic { !lock -> lock = true }
	   assert(!(rec == OLD && next_user));
	   lock = false;
	   d_step {
		   rec = NONE;
		   done = (done + 1) % WRAP;
		   if
		   :: counting && progress < WRAP -> progress++
		   :: else -> skip
		   fi;
		   if
		   :: most > 0 -> most--
		   :: else -> skip
		   fi;
		   if
		   :: left > 0 -> left--
		   :: else -> skip
		   fi
	   }
	od
}

active proctype unbind()
{
	byte before, seen;

	accesses = false;
#if BUG == 3
	seen = prod;
#endif
	/* CMD_SYNC: what was taken is visible. */
	!pending_old;
#if BUG == 1
	goto out;
#endif
#if BUG == 2
	USED == 0;
	goto out;
#endif
#if BUG == 4
	(USED == 0 && done == cons);
	goto out;
#endif
#if BUG == 5
	atomic { !lock -> lock = true }
#endif
	most = ENTRIES + 1;
again:	if
	:: most == 0 -> goto out
	:: else -> skip
	fi;
	d_step { before = done; progress = 0; counting = true }
#if BUG != 3
	seen = prod;
#endif
	if
#if BUG != 6
	:: atomic { progress >= ENTRIES / 2 -> counting = false; goto again }
#endif
	:: d_step {
		(BUG == 6 || progress < ENTRIES / 2) ->
		left = (seen + WRAP - before) % WRAP;
		left = (left > progress -> left - progress : 0);
		counting = false
	   }
	fi;
	(left == 0 || most == 0);
#if BUG == 5
	lock = false;
#endif
out:	skip;
	d_step { drained = true; next_user = true }
}

/* Unbinding ends, though others never do. */
ltl ends { <> drained }
