/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Promela model of the protocol between the report path, the lanes that
 * resolve groups, and whoever takes groups away from them: flush, detach of a
 * PASID, the time limit, and removal of the device. It follows
 * drivers/iommu/io-pgfault.c step by step; one atomic{} or d_step{} here is one
 * section under the device's lock there.
 *
 * Checked with spin -search:
 *  - every accepted group is answered exactly once, by handler or withdrawer;
 *  - no response leaves after removal has returned;
 *  - no response for the PASID leaves after detach of the PASID has returned;
 *  - a slot is recycled exactly once and never while somebody may touch it;
 *  - the device's book-keeping is freed once, and after its last user;
 *  - flush returns only when what it found is answered;
 *  - no deadlock (invalid end states), also when a handler never answers.
 *
 * GROUPS is the number of groups that the device sends. BUG=n plants one of
 * the faults that the model must find; the checker runs them all.
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

bool removed;			/* param->removed */
bool remove_returned;
bool handle_set = true;		/* the PASID's attach handle */
bool detach_returned;
byte users = 1;			/* param->users: registration + groups */
bool param_freed;
bool reporter_done;		/* nothing will be reported any more */
bool hung[GROUPS];		/* a handler that does not answer */

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

proctype reporter()
{
	byte r = 0;
	do
	:: r < GROUPS ->
		d_step {
			assert(removed || !param_freed);
			if
			:: !removed && handle_set ->
				accepted[r] = true;
				users++;
				state[r] = QUEUED
			:: else
			fi
		}
		r++
	:: else -> break
	od;
	reporter_done = true
}

/* One lane: pops a group, resolves it, answers it, frees it. */
proctype lane()
{
	byte l;
	bool mine;
end:	do
	:: atomic {
		if
		:: state[0] == QUEUED -> l = 0
		:: GROUPS > 1 && state[1 % GROUPS] == QUEUED -> l = 1 % GROUPS
		:: GROUPS > 2 && state[2 % GROUPS] == QUEUED -> l = 2 % GROUPS
		fi;
		state[l] = RUNNING;
		held[l] = true
	   };
	   /* Resolve: may take for ever when user space does not answer. */
	   if
	   :: hung[l] = true;
end_hung:	(withdrawn[l])
	   :: skip
	   fi;
	   hung[l] = false;
	   assert(!param_freed);
	   d_step {
		mine = !withdrawn[l];
		if
		:: mine -> state[l] = RESPONDING
		:: else
		fi
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
	   d_step {
		held[l] = false;
		if
		:: !core[l] -> recycle(l)
		:: else
		fi
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

/* iopf_queue_flush_dev(): waits for what it found; handlers may hang. */
proctype flusher()
{
	bool found[GROUPS];
	byte f = 0;
	atomic {
		if
		:: removed -> goto out
		:: else
		fi;
		users++;
		do
		:: f < GROUPS ->
			found[f] = (state[f] != FREE && state[f] != DONE);
			f++
		:: else -> break
		od;
		f = 0
	};
	do
	:: f < GROUPS ->
end_wait:	(!found[f] || state[f] == DONE);
		assert(!found[f] || answers[f] == 1);
		f++
	:: else -> break
	od;
	atomic { put_param() };
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

/* Detach of the PASID, then removal of the device. */
proctype remover(bool detach)
{
	bool mine[GROUPS];
	byte r;
	if
	:: detach ->
		atomic { handle_set = false };
		withdraw(r);
#if BUG != 3
		(SETTLED(0) && SETTLED(1) && SETTLED(2));
#endif
		detach_returned = true
	:: else
	fi;
	atomic { removed = true };
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
	(remove_returned && reporter_done);
	do
	:: j < GROUPS ->
		assert(!accepted[j] || answers[j] == 1);
		assert(accepted[j] || answers[j] == 0);
		j++
	:: else -> break
	od
}

active proctype start()
{
	bool d;
	if
	:: d = false
	:: d = true
	fi;
	atomic {
		run reporter();
		run lane();
#if GROUPS > 1
		run lane();
#endif
		run flusher();
		run timer();
		run remover(d);
		run judge()
	}
}

/* In the end the device's book-keeping is gone. */
ltl gone { <> [] (param_freed) }
