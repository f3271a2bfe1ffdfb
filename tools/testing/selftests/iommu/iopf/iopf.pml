/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Promela model of the protocol between the report path, the lanes that
 * resolve groups, and whoever takes groups away from them: flush, detach of a
 * PASID, the time limit, and removal of the device. It follows
 * drivers/iommu/io-pgfault.c step by step; one atomic{} or d_step{} here is one
 * section under the device's lock there. The interrupt thread holds the
 * driver's lock while it reports, and may resolve a group itself; the drain
 * callback waits until the thread has read what the hardware had sent.
 *
 * Checked with spin by model.sh:
 *  - every accepted group is answered exactly once, by handler or withdrawer;
 *  - no response leaves after removal has returned;
 *  - no response for the PASID leaves after detach of the PASID has returned,
 *    and nobody looks for the address space of its domain;
 *  - a slot is recycled exactly once and never while somebody may touch it;
 *  - the device's book-keeping is freed once, and after its last user;
 *  - flush returns only when what the hardware had sent before is answered;
 *  - no deadlock (invalid end states), also when a handler never answers.
 *
 * GROUPS is the number of groups that the device sends. BUG=n plants a fault
 * that the checks must find:
 *  1	a handler answers a group that was withdrawn
 *  2	a withdrawer recycles a group that a handler holds
 *  3	detach does not wait for responses that are under way
 *  4	remove does not wait for responses that are under way
 *  5	flush holds the device's lock while it drains
 *  6	flush does not drain
 *  7	flush is called with the driver's lock held
 *  8	the reporting thread queues a group that was withdrawn meanwhile
 *  9	a report is taken after removal has begun
 *  10	detach leaves the handle where reports remember it
 *  11	a lane looks for the address space once it has dropped the lock
 *  12	removal takes the device out of sight before it says so to lanes
 */
#ifndef GROUPS
#define GROUPS 2
#endif
#ifndef BUG
#define BUG 0
#endif

mtype = { FREE, QUEUED, RUNNING, RESPONDING, DONE };

mtype state[GROUPS] = FREE;
bool held[GROUPS];		/* a handler has it and has not freed it */
bool core[GROUPS];		/* a withdrawer has it */
bool withdrawn[GROUPS];
bool accepted[GROUPS];
byte answers[GROUPS];
byte recycled[GROUPS];

bool published = true;		/* dev->iommu->fault_param */
bool removed;			/* param->removed */
bool remove_returned;
bool handle_set = true;		/* the IOMMU group knows the attach handle */
bool remembered = true;		/* param->handle, left by an earlier group */
bool detach_returned;		/* having seen to the groups */
bool domain_gone;
byte users = 1;			/* param->users: registration + groups */
bool param_freed;
bool reporter_done;		/* nothing will be reported any more */
bool hung[GROUPS];		/* a handler that does not answer */

bool driver_lock;		/* held by the interrupt thread */
bool device_lock;		/* only where it is held for more than a step */
byte consumed;			/* groups read by the interrupt thread */

/* Gets users of the address space, which the domain knows: under the lock. */
inline get_users()
{
	assert(removed || !domain_gone)
}

/* Sends the response to the device: the lock is not held. */
inline page_response(g)
{
	assert(!remove_returned);
	assert(!detach_returned);
	answers[g]++;
	assert(answers[g] == 1)
}

/* Under the lock. */
inline put_param()
{
	assert(users > 0);
	users--;
	if
	:: users == 0 -> assert(!param_freed); param_freed = true
	:: else
	fi
}

/* Under the lock. */
inline recycle(g)
{
	recycled[g]++;
	assert(recycled[g] == 1);
	put_param()
}

/* iopf_finish(): under the lock, after the response has left. */
inline finish(g)
{
	state[g] = DONE
}

/* Whether the caller may answer g: under the lock. */
inline claim(g)
{
	mine = !withdrawn[g];
	if
	:: mine -> state[g] = RESPONDING
	:: else
	fi
}

/* The handler lets go of g: under the lock. */
inline release(g)
{
	held[g] = false;
	if
	:: !core[g] -> recycle(g)
	:: else
	fi
}

/* The interrupt thread. A group is queued, or tried on the spot. */
proctype reporter()
{
	byte r = 0;
	bool first, mine;
	do
	:: r < GROUPS ->
		atomic { !driver_lock -> driver_lock = true };
		atomic {
			!device_lock;
			assert(removed || !param_freed);
			first = false;
			if
#if BUG == 9
			:: handle_set || remembered ->
#else
			:: !removed && (handle_set || remembered) ->
#endif
				remembered = true;
				accepted[r] = true;
				users++;
				if
				:: state[r] = QUEUED
				:: state[r] = RUNNING; held[r] = true;
				   get_users();
				   first = true; users++
				fi
			:: else
			fi
		}
		if
		:: first ->
			if
			:: d_step { claim(r) };	/* it could be had */
			   if
			   :: mine -> page_response(r); atomic { finish(r) }
			   :: else
			   fi;
			   d_step { release(r); put_param() }
			:: d_step {		/* it could not: to a lane */
				if
#if BUG != 8
				:: withdrawn[r] -> release(r)
#endif
				:: else -> state[r] = QUEUED; held[r] = false
				fi;
				put_param()
			   }
			fi
		:: else
		fi;
		atomic {
			r++;
			first = false;
			mine = false;
			consumed = r;
			driver_lock = false
		}
	:: else -> break
	od;
	reporter_done = true
}

#define NONE GROUPS
#define READY(g) (state[g % GROUPS] == QUEUED && g < GROUPS)

/* Takes a group that is queued: under the lock. */
inline take(g)
{
	if
	:: READY(0) -> g = 0
	:: !READY(0) && READY(1) -> g = 1
	:: !READY(0) && !READY(1) && READY(2) -> g = 2
	:: else -> g = NONE
	fi;
	if
	:: g != NONE ->
		state[g] = RUNNING;
		held[g] = true;
#if BUG != 11
		get_users()
#endif
	:: else
	fi
}

/*
 * One lane: takes a group, resolves it, takes the next, answers the first and
 * frees it. Whether it keeps the address space from one to the next is
 * immaterial here.
 */
proctype lane()
{
	byte l = NONE, n = NONE;
	bool mine;
end:	do
	:: atomic {
		(l != NONE || READY(0) || READY(1) || READY(2));
		if
		:: l == NONE -> take(l)
		:: else
		fi
	   };
#if BUG == 11
	   get_users();
#endif
	   /* Resolve: waits for user space until that, or a withdrawer, comes. */
	   if
	   :: hung[l] = true;
end_hung:	(withdrawn[l])
	   :: skip
	   fi;
	   hung[l] = false;
	   assert(!param_freed);
	   atomic {
		take(n);
		claim(l)
	   };
	   if
	   :: mine ->
		page_response(l);
		atomic { finish(l) }
	   :: else
	   fi;
#if BUG == 1
	   if
	   :: !mine -> answers[l]++; assert(answers[l] == 1)
	   :: else
	   fi;
#endif
	   atomic {
		release(l);
		l = n;
		n = NONE;
		mine = false
	   }
	od
}

/*
 * iopf_withdraw(): takes what matches away, answers it, group by group.
 * Which groups match is the caller's business: here, all.
 */
inline withdraw(w)
{
	w = 0;
	atomic {
		do
		:: w < GROUPS ->
			if
			:: state[w] == QUEUED || state[w] == RUNNING ->
				state[w] = RESPONDING;
				withdrawn[w] = true;
				core[w] = true;
				mine[w] = true
			:: else
			fi;
			w++
		:: else -> break
		od;
		w = 0
	};
	do
	:: w < GROUPS ->
		if
		:: mine[w] ->
			page_response(w);
			d_step {
				mine[w] = false;
				finish(w);
				core[w] = false;
#if BUG == 2
				recycle(w)
#else
				if
				:: !held[w] -> recycle(w)
				:: else
				fi
#endif
			}
		:: else
		fi;
		w++
	:: else -> break
	od
}

#define SETTLED(g) (g >= GROUPS || state[g % GROUPS] != RESPONDING)

#define ANSWERED(g) (g >= GROUPS || !found[g % GROUPS] || \
		     state[g % GROUPS] == DONE)

/* iopf_queue_flush_dev(): waits for what it found; handlers may hang. */
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
		:: snapshot < GROUPS -> snapshot++
		:: snapshot + 1 < GROUPS -> snapshot = snapshot + 2
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
			found[f] = (state[f] != FREE && state[f] != DONE);
			f++
		:: else -> break
		od;
		f = 0
	};
	/* The completion, when the last of them is answered. */
end_wait: atomic {
		(ANSWERED(0) && ANSWERED(1) && ANSWERED(2));
		/* Nothing of what was sent before the flush is left. */
		do
		:: f < snapshot ->
			assert(consumed > f);
			assert(!accepted[f] || answers[f] == 1);
			f++
		:: else -> break
		od;
		put_param()
	};
out:	skip
}

/* The time limit, any number of times is as good as twice. */
proctype timer()
{
	bool mine[GROUPS];
	byte t;
	atomic {
		if
		:: removed -> goto out
		:: else
		fi;
		users++
	};
	withdraw(t);
	atomic { put_param() };
out:	skip
}

/* Detach of the PASID. Without the device it leaves the groups to removal. */
proctype detacher()
{
	bool mine[GROUPS];
	byte d;
	handle_set = false;
	atomic {
		if
		:: !published || removed -> domain_gone = true; goto out
		:: else
		fi;
		users++
	};
#if BUG != 10
	remembered = false;
#endif
	withdraw(d);
#if BUG != 3
	(SETTLED(0) && SETTLED(1) && SETTLED(2));
#endif
	atomic { detach_returned = true; domain_gone = true; put_param() };
out:	skip
}

/* Removal of the device. */
proctype remover()
{
	bool mine[GROUPS];
	byte r;
#if BUG != 12
	atomic { removed = true };
#endif
	published = false;
#if BUG == 12
	atomic { removed = true };
#endif
	withdraw(r);
#if BUG != 4
	(SETTLED(0) && SETTLED(1) && SETTLED(2));
#endif
	remove_returned = true;
	atomic { put_param() }
}

/* At the end: all is answered; the rest waits for hung handlers only. */
proctype judge()
{
	byte j = 0;
	atomic {
		(remove_returned && reporter_done);
		do
		:: j < GROUPS ->
			assert(!accepted[j] || answers[j] == 1);
			assert(accepted[j] || answers[j] == 0);
			j++
		:: else -> break
		od
	}
}

active proctype start()
{
	atomic {
		run reporter();
		run lane();
#if GROUPS > 1
		run lane();
#endif
#ifndef NO_FLUSH
		run flusher();
#endif
#ifndef NO_TIMER
		run timer();
#endif
		run remover();
		if
		:: run detacher()
		:: skip
		fi;
		run judge()
	}
}

/* In the end the device's book-keeping is gone. */
ltl gone { <> [] (param_freed) }
