/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Promela model of the protocol between the report path, the lanes that
 * resolve groups, and whoever takes groups away from them: flush, detach of a
 * PASID, the time limit, the death of a process, reset and removal of the
 * device. It follows drivers/iommu/io-pgfault*.c; one atomic{} or d_step{} here
 * is one section under the device's lock there, and a response is sent under
 * that lock. The interrupt thread holds the driver's lock while it reports; the
 * drain callback waits until the thread has read what the hardware had sent.
 *
 * A device has groups in two address spaces: the last group is the good
 * process's, the others are the hog's. The hog's handler may wait for user space
 * until the group is withdrawn, or, with STUCK, for ever. With OWNED a group of
 * the hog may go to a provider, which answers when it likes, or never. A device
 * has LANES lanes at most in an address space (IOPF_LANES), and as many in its
 * reserve as groups that it may have outstanding. It keeps to its GRANT.
 *
 * Checked with spin by model.sh:
 *  - every group that is taken is answered once, by handler or withdrawer: the
 *    good process's always, the hog's if somebody withdraws; none that was
 *    forgotten;
 *  - no group waits while there is a lane for it;
 *  - flush, detach, reset and removal return, and a killed process's memory is
 *    given back, whatever a handler waits for;
 *  - no response leaves after removal or reset has returned, none for a PASID
 *    after its detach, and then nobody looks for its address space;
 *  - the device always finds a group and a lane in its reserve;
 *  - memory goes back exactly once, and never while somebody may touch it: the
 *    groups', the address space's lanes', the device's book-keeping;
 *  - flush returns only when what the hardware had sent before is answered.
 *
 * BUG=n plants a fault that the checks must find:
 *  1	a handler answers a group that was withdrawn
 *  2	a withdrawer recycles a group that a handler has
 *  3	a handler does not free what was withdrawn
 *  4	removal leaves alone what lanes have
 *  5	flush holds the device's lock while it drains
 *  6	flush does not drain
 *  7	flush is called with the driver's lock held
 *  8	flush withdraws nothing
 *  9	a report is taken after removal has begun
 *  10	detach leaves the handle where reports remember it
 *  11	a lane looks for the address space once it has dropped the lock
 *  12	removal takes the device out of sight before it says so to reports
 *  13	all address spaces share the lanes that one may have: the first version
 *  14	all address spaces share a workqueue that runs so many: likewise
 *  15	a lane that takes a group starts no other for what is left
 *  16	who withdraws a lane's group starts no other for what is left
 *  17	a husk is not replaced in the reserve
 *  18	the lane of a husk is not replaced in the reserve
 *  19	a lane keeps the address space of a dead process
 *  20	the lanes of an address space are freed with its domain
 *  21	a reset answers what it should forget
 *  22	a lane that ends is not given to who found none
 */
#ifndef GROUPS
#define GROUPS	2
#endif
#ifndef LANES
#define LANES	1
#endif
#ifndef GRANT
#define GRANT	GROUPS
#endif
#ifndef BUG
#define BUG	0
#endif
/* Providers that are between response and free at the same time. */
#ifdef OWNED
#define SLACK	1
#else
#define SLACK	0
#endif
#if BUG == 13
#define RESERVE	LANES
#else
#define RESERVE	GRANT
#endif

#define HOG	0
#define GOOD	1
#define MM(g)	((g) == GROUPS - 1 -> GOOD : HOG)
#define NONE	GROUPS
#define EVERY	9

mtype = { FREE, QUEUED, RUNNING, ANSWERED };

/* HANDED is QUEUED or RUNNING here; ANSWERED also means withdrawn. */
mtype state[GROUPS] = FREE;
bool held[GROUPS];		/* a handler has it and has not let go */
bool owned[GROUPS];		/* the handler is a provider */
bool withdrawn[GROUPS];
bool forgotten[GROUPS];		/* withdrawn, and not answered */
bool accepted[GROUPS];
byte answers[GROUPS];
byte recycled[GROUPS];

byte outstanding;		/* what the device waits for */
byte groups_free = GRANT + SLACK;
byte lanes_free = RESERVE;
byte lanes[2];			/* of each address space, by the device */
byte coming[2];			/* of these, queued and not begun */
bool starved[2];		/* there was no lane for the first group */
byte running[2];			/* lanes that a workqueue runs */
byte refs[2] = 1;		/* of an address space: its domain, its lanes */
bool mm_freed[2];

bool published = true;		/* dev->iommu->fault_param */
bool removed;
bool remove_returned, reset_returned, detach_returned;
bool handle_set = true;		/* the IOMMU group knows the hog's handle */
bool remembered = true;		/* the device does, from an earlier group */
bool domain_gone;		/* the hog's */
byte users = 1;			/* of the book-keeping */
bool param_freed;
bool killed;			/* the hog is dead */

bool driver_lock;		/* held by the interrupt thread */
bool device_lock;		/* only where it is held for more than a step */
byte consumed;			/* groups read by the interrupt thread */

#define READY(g, a)	(g < GROUPS && state[g % GROUPS] == QUEUED && MM(g) == a)
#define ANY_READY(a)	(READY(0, a) || READY(1, a) || READY(2, a) || \
			 READY(3, a))
/* One is left for each group that may still come. */
#define MAY_HAVE(a)	(lanes[a] < LANES && (lanes[a] == 0 || \
			 lanes_free + outstanding >= RESERVE))
#if BUG == 14
#define MAY_RUN(a)	(running[HOG] + running[GOOD] < LANES)
#else
#define MAY_RUN(a)	true
#endif

/* What follows is called under the device's lock. */

inline put_param()
{
	assert(users > 0);
	users--;
	if
	:: users == 0 -> assert(!param_freed); param_freed = true
	:: else
	fi
}

inline put_mm(a)
{
	assert(refs[a] > 0 && !mm_freed[a]);
	refs[a]--;
	if
	:: refs[a] == 0 -> mm_freed[a] = true
	:: else
	fi
}

inline respond(g)
{
	assert(!remove_returned);
	assert(!reset_returned || !forgotten[g]);
	assert(!detach_returned || MM(g) != HOG || owned[g]);
	answers[g]++;
	assert(answers[g] == 1);
	outstanding--;
	state[g] = ANSWERED
}

inline recycle(g)
{
	recycled[g]++;
	assert(recycled[g] == 1 && !held[g]);
	put_param()
}

inline send_lane(a)
{
	assert(!mm_freed[a]);
	lanes[a]++;
	coming[a]++;
	refs[a]++;
	users++
}

/* For a group that is ready: unless there is a lane that has not begun. */
inline start_lane(a)
{
	if
	:: coming[a] == 0 && MAY_HAVE(a) && lanes_free > 0 ->
		lanes_free--;
		send_lane(a)
	:: coming[a] == 0 && lanes[a] == 0 && lanes_free == 0 ->
		starved[a] = true
	:: else
	fi
}

/* A lane ends: it is for who found none, or for the reserve. */
inline end_lane(a, husk)
{
	running[a]--;
	if
	:: !husk -> lanes[a]--
	:: else
	fi;
	if
#if BUG != 22
	:: starved[HOG] -> starved[HOG] = false; send_lane(HOG)
	:: !starved[HOG] && starved[GOOD] ->
		starved[GOOD] = false; send_lane(GOOD)
#endif
	:: else ->
		/* A husk's has been replaced. */
		if
		:: !husk -> lanes_free++
		:: else
		fi
	fi;
	put_mm(a);
	put_param()
}

/* Takes the oldest group: its domain has users of the address space. */
inline take(g, a)
{
	if
	:: READY(0, a) -> g = 0
	:: !READY(0, a) && READY(1, a) -> g = 1
	:: !READY(0, a) && !READY(1, a) && READY(2, a) -> g = 2
	:: !READY(0, a) && !READY(1, a) && !READY(2, a) && READY(3, a) -> g = 3
	:: else -> g = NONE
	fi;
	if
	:: g != NONE ->
		state[g] = RUNNING;
		held[g] = true;
#if BUG != 11
		assert(removed || a != HOG || !domain_gone);
#endif
#if BUG != 15
		if
		:: ANY_READY(a) -> start_lane(a)
		:: else
		fi
#endif
	:: else
	fi
}

/* The handler frees the group: to the reserve, or for good if it is a husk. */
inline release(g)
{
	held[g] = false;
#if BUG == 3
	if
	:: !withdrawn[g] -> recycle(g)
	:: else
	fi;
#else
	recycle(g);
#endif
	if
	:: !withdrawn[g] -> groups_free++
#if BUG == 17
	:: withdrawn[g] -> groups_free++
#endif
	:: else
	fi
}

/* A group is taken away: what is queued goes to the reserve at once. */
inline withdraw_one(g, answer)
{
	withdrawn[g] = true;
	if
	:: state[g] == RUNNING && !owned[g] ->
		/* Its lane is none of the device's any more. */
		lanes[MM(g)]--;
#if BUG != 18
		lanes_free++
#endif
	:: else
	fi;
	if
	:: answer -> respond(g)
	:: else ->
		forgotten[g] = true;
		outstanding--;
		state[g] = ANSWERED
	fi;
#if BUG == 17
	groups_free = groups_free + (held[g] -> 0 : 1);
#else
	groups_free++;
#endif
	if
#if BUG == 2
	:: true -> held[g] = false; recycle(g)
#else
	:: !held[g] -> recycle(g)
	:: else
#endif
	fi
}

#if BUG == 4
#define MEANT(g, a, all)	((a == EVERY || MM(g) == a) && (all || !owned[g]) \
				 && !(all && held[g]))
#else
#define MEANT(g, a, all)	((a == EVERY || MM(g) == a) && (all || !owned[g]))
#endif
#define PENDING(g)		(state[g] == QUEUED || state[g] == RUNNING)

/* Of address space @a, or of every; @all: what providers own as well. */
inline withdraw(g, a, all, answer)
{
	g = 0;
	do
	:: g < GROUPS ->
		if
		:: PENDING(g) && MEANT(g, a, all) -> withdraw_one(g, answer)
		:: else
		fi;
		g++
	:: else -> break
	od;
	g = 0
}

/* What is left gets the lanes that have been withdrawn. */
inline start_lanes()
{
#if BUG == 16
	skip
#else
	if
	:: ANY_READY(HOG) -> start_lane(HOG)
	:: else
	fi;
	if
	:: ANY_READY(GOOD) -> start_lane(GOOD)
	:: else
	fi
#endif
}

/* A group has come: to a lane, or to a provider. */
inline accept(g)
{
	assert(groups_free > 0);
	groups_free--;
	accepted[g] = true;
	outstanding++;
	users++;
	if
	:: state[g] = QUEUED; start_lane(MM(g))
#ifdef OWNED
	:: MM(g) == HOG -> state[g] = RUNNING; held[g] = true; owned[g] = true
#endif
	fi
}

#define FINDS_HANDLE(g)	(MM(g) == GOOD || handle_set || remembered)
#if BUG == 9
#define TAKES		published
#else
#define TAKES		!removed
#endif

/* The interrupt thread. */
proctype reporter()
{
	byte r = 0;
	do
	:: r < GROUPS ->
end_grant:	atomic {
			!driver_lock && outstanding < GRANT ->
			driver_lock = true
		};
		atomic {
			!device_lock;
			assert(removed || !param_freed);
			if
			:: TAKES && FINDS_HANDLE(r) -> accept(r)
			:: else
			fi;
			r++;
			consumed = r;
			driver_lock = false
		}
	:: else -> break
	od
}

/*
 * A worker for the lanes of an address space. A lane takes a group, resolves
 * it, answers and frees it, takes the next. Its group withdrawn, it ends.
 */
proctype worker(byte a)
{
	byte l = NONE;
end:	do
	:: atomic {
		coming[a] > 0 && MAY_RUN(a) ->
		coming[a]--;
		running[a]++;
		take(l, a);
		if
		:: l == NONE -> end_lane(a, false)
		:: else
		fi
	   };
	   do
	   :: l == NONE -> break
	   :: else ->
#if BUG == 11
		assert(removed || a != HOG || !domain_gone);
#endif
		if
		:: a == HOG ->
#ifdef STUCK
end_stuck:		false
#elif BUG == 19
end_hung:		withdrawn[l]
#else
end_hung:		(withdrawn[l] || killed)
#endif
		:: true
		fi;
		atomic {
			assert(!param_freed && !mm_freed[a]);
			if
			:: !withdrawn[l] ->
				respond(l);
				release(l);
				take(l, a);
				if
				:: l == NONE -> end_lane(a, false)
				:: else
				fi
			:: else ->
#if BUG == 1
				respond(l);
#endif
				release(l);
				end_lane(a, true);
				l = NONE
			fi
		}
	   od
	od
}

#ifdef OWNED
/* User space behind a provider: it answers one group, or frees the husk. */
proctype provider()
{
	byte v = 0;
end:	do
	:: atomic { v < GROUPS && owned[v] && held[v] && !withdrawn[v] ->
		    respond(v) };
	   atomic { release(v); v++ }
	:: atomic { v < GROUPS && owned[v] && held[v] && withdrawn[v] ->
		    release(v); v++ }
	:: atomic { v < GROUPS && accepted[v] && !owned[v] -> v++ }
	:: v < GROUPS -> break		/* silent */
	:: v == GROUPS -> break
	od
}
#endif

#define WAITED_FOR(g)	(g < GROUPS && found[g % GROUPS] && \
			 PENDING(g % GROUPS))
#define ALL_ANSWERED	(!WAITED_FOR(0) && !WAITED_FOR(1) && \
			 !WAITED_FOR(2) && !WAITED_FOR(3))

/* Flush: waits for what it found, and withdraws what takes too long. */
proctype flusher()
{
	bool found[GROUPS];
	byte f = 0, snapshot;
	atomic {
		if
		:: removed -> goto out
		:: else
		fi;
		users++
	};
#if BUG == 5
	atomic { !device_lock -> device_lock = true };
#endif
#if BUG == 7
	atomic { !driver_lock -> driver_lock = true };
#endif
	/* The drain callback: so much has the hardware sent, it will be read. */
	atomic {
		snapshot = consumed;
		if
		:: snapshot < GROUPS && outstanding < GRANT -> snapshot++
		:: true
		fi
	};
#if BUG != 6
	(consumed >= snapshot);
#endif
	atomic {
		device_lock = false;
		do
		:: f < GROUPS ->
			found[f] = PENDING(f) && !owned[f];
			f++
		:: else -> break
		od;
		f = 0
	};
#if BUG != 8
	if
	:: ALL_ANSWERED
	:: atomic { withdraw(f, EVERY, false, true); start_lanes() }
	fi;
#endif
	atomic {
		ALL_ANSWERED ->
		do
		:: f < snapshot ->
			assert(consumed > f);
			assert(!accepted[f] || owned[f] || forgotten[f] ||
			       answers[f] == 1);
			f++
		:: else -> break
		od;
		put_param()
	};
out:	skip
}

/* The time limit: what has come so far, or a part of it. */
proctype timer()
{
	byte t = 0;
	atomic {
		if
		:: removed -> goto out
		:: else
		fi;
		do
		:: t < GROUPS && PENDING(t) -> withdraw_one(t, true); t++
		:: t < GROUPS -> t++
		:: t == GROUPS -> break
		od;
		start_lanes()
	};
out:	skip
}

/* Detach of the hog's PASID. Without the device, removal sees to its groups. */
proctype detacher()
{
	byte d;
	handle_set = false;
	atomic {
		if
		:: removed || !published -> skip
		:: else ->
#if BUG != 10
			remembered = false;
#endif
			withdraw(d, HOG, false, true);
			start_lanes();
			detach_returned = true
		fi;
		domain_gone = true;
		put_mm(HOG);
#if BUG == 20
		mm_freed[HOG] = true
#endif
	}
}

/* A function-level reset: nothing is answered. */
proctype resetter()
{
	byte s;
	atomic {
		if
		:: removed -> goto out
		:: else
		fi;
#if BUG == 21
		withdraw(s, EVERY, true, true);
		forgotten[0] = accepted[0];
#else
		withdraw(s, EVERY, true, false);
#endif
		reset_returned = true
	};
out:	skip
}

/* Removal of the device. */
proctype remover()
{
	byte m;
#if BUG == 12
	published = false;
#endif
	atomic { removed = true };
#if BUG != 9
	published = false;
#endif
	atomic { withdraw(m, EVERY, true, true) };
#if BUG == 9
	published = false;
#endif
	atomic { remove_returned = true; put_param() }
}

/* When nothing moves any more. */
proctype judge()
{
	byte j = 0;
	timeout;
	d_step {
		do
		:: j < GROUPS ->
			assert(accepted[j] || answers[j] == 0);
			assert(!forgotten[j] || answers[j] == 0);
			assert(!accepted[j] || forgotten[j] ||
			       answers[j] == 1 ||
			       MM(j) == HOG && !remove_returned &&
			       !detach_returned);
			/* A lane for each that waits. */
			assert(state[j] != QUEUED || !MAY_HAVE(MM(j)));
			j++
		:: else -> break
		od;
#ifndef STUCK
		/* A process that is gone is in nobody's way. */
		assert(!killed || running[HOG] == 0);
#ifndef OWNED
		assert(!remove_returned || param_freed)
#endif
#endif
	}
}

proctype killer()
{
	killed = true
}

active proctype start()
{
	byte n = 1;
	atomic {
		run reporter();
		do
		:: n < GROUPS -> run worker(HOG); n++
		:: else -> break
		od;
		run worker(GOOD);
#ifdef OWNED
		run provider();
#endif
#ifdef FLUSH
		run flusher();
#endif
#ifdef TIMER
		run timer();
#endif
#ifdef RESET
		run resetter();
#endif
#ifdef KILL
		run killer();
#endif
#ifdef DETACH
		run detacher();
#endif
#ifdef REMOVE
		run remover();
#endif
		run judge()
	}
}
