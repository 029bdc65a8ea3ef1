/*
 * Pins, leases, epochs and leader change, as a model for Spin. README.md beside
 * this file says what each part stands for in the code. `make model` runs it.
 *
 * One run with two task runs that are ready at the same time; two workers with one
 * slot each; each worker may have two starts of its process (incarnations). The
 * replicated state below is that after the last committed entry. Every option of
 * the one loop is one step: a command is committed, a leader decides or is
 * replaced. What may be lost is a step that is not taken, what may be late is one
 * that is taken later.
 *
 * Choices at compile time:
 *   STICKY   HARD or SOFT
 *   REPIN    on_lost of the run is repin
 *   FAULTS   how many faults and acts of an operator there are at most
 *   LAST     the last attempt number; past it a task run fails
 *   INFLIGHT how many assignments may be proposed and not committed (1 or 2)
 *   BUG_...  one rule is broken on purpose
 *   ONLY     look only at this invariant (2 to 5)
 *   WITHOUT  look at the others only
 *   GOAL     report when a state is reached that must be reachable (1 to 5)
 */

#define HARD 1
#define SOFT 2

#ifndef STICKY
#define STICKY HARD
#endif
#ifndef FAULTS
#define FAULTS 3
#endif
#ifndef LAST
#define LAST 2
#endif
#ifndef INFLIGHT
#define INFLIGHT 2
#endif

/* The status of a task run. */
#define QUEUED    0
#define ASSIGNED  1
#define RUNNING   2
#define COMPLETED 3
#define FAILED    4

/* The state of a lease. */
#define SUSPECT 0
#define LIVE    1
#define LOST    2

/* The mode of a worker. */
#define ACTIVE   0
#define PAUSED   1
#define DRAINING 2

/* Whose an entry in flight is. */
#define NOBODY  0
#define LEADER  1 /* of the leader of the current term */
#define DEPOSED 2

/* ---- The replicated state ---- */

byte status[2], attempt[2];
byte holder[2], heldEpoch[2]; /* while it is held */
bit overflow[2];              /* the patience for the pinned worker is over */

byte pin; /* the pinned worker + 1; 0 for none */

byte lease[2], epoch[2] = 1, mode[2];
bit drained[2];
byte session[2]; /* the start of the process that holds the newest stream, + 1; 0 for none yet */
bit start[2];    /* the start of the process that the worker is now */

/* ---- Assignments that were proposed and are not committed ---- */

byte pFrom[2];
bit pTask[2], pWorker[2], pMove[2];
byte pAttempt[2], pEpoch[2]; /* the fence that the decision saw */

/* ---- The world outside ---- */

/* The processes that may execute, one bit each: the present attempt of a task run,
 * and whether any may execute one that is over. A process counts from the moment that
 * a node may send it the attempt: that it is late or never begins makes no other
 * state possible. */
byte executes[2];
bit zombie[2];
#define BIT(w, i) (1 << ((w) * 2 + (i)))

byte faults = FAULTS;

/* ---- What only the judge knows ---- */

byte ran;         /* workers that the run was given to since somebody other than an assignment changed its pin */
bit lostSince[2]; /* the holder has lost its lease since the assignment */
bit pLostSince[2]; /* the same since the decision */

/* An invariant that breaks is reported by Spin as a violated assertion, with its
 * name in the text. */
bit I2, I3, I4, I5;
#if defined(ONLY)
#define CHECK(n, cond) assert(n != ONLY || cond)
#elif defined(WITHOUT)
#define CHECK(n, cond) assert(n == WITHOUT || cond)
#else
#define CHECK(n, cond) assert(cond)
#endif
#define CHECK2(cond) CHECK(2, (cond) || I2)
#define CHECK3(cond) CHECK(3, (cond) || I3)
#define CHECK4(cond) CHECK(4, (cond) || I4)
#define CHECK5(cond) CHECK(5, (cond) || I5)

#ifdef GOAL
bit overflowed, moved, fenced;
byte elections;
#define NOTE(what) what = 1
#else
#define NOTE(what) skip
#endif

/* ---- Words ---- */

#define held(t) (status[t] == ASSIGNED || status[t] == RUNNING)
#define final(t) (status[t] >= COMPLETED)
#define allFinal (final(0) && final(1))
#define holdsAt(t, w) (held(t) && holder[t] == (w))
#define holds(w) (holdsAt(0, w) || holdsAt(1, w))
#define ties(w) (STICKY == HARD && pin == (w) + 1 && !allFinal)

/* rejects of fsm/assign.go, for one slot. */
#define takes(w) (!drained[w] && !holds(w) && \
	(mode[w] == ACTIVE || (mode[w] == DRAINING && STICKY == HARD && pin == (w) + 1)))

/* A pin may be taken away only while no worker that is not lost has a task of the
 * run: loosePin of fsm/operate.go. */
#ifdef BUG_OPERATOR_TAKES_A_HELD_RUN
#define loose (1)
#else
#define loose (!(held(0) && lease[holder[0]] != LOST) && !(held(1) && lease[holder[1]] != LOST))
#endif

byte x, y, old; /* for use inside one step; 0 between steps */
bit ok;

/* ---- What follows from other things, inside a command ---- */

inline nextAttempt(t) {
	attempt[t]++;
	if :: executes[t] != 0 -> zombie[t] = 1 :: else fi;
	executes[t] = 0
}

inline letGo(t, s) {
	status[t] = s;
	holder[t] = 0;
	heldEpoch[t] = 0;
	overflow[t] = 0;
	lostSince[t] = 0
}

inline requeue(t) {
	if
	:: attempt[t] == LAST -> letGo(t, FAILED)
	:: else ->
#ifndef BUG_ATTEMPT_USED_AGAIN
		nextAttempt(t);
#endif
		letGo(t, QUEUED)
	fi
}

inline loseHeld(t, w) {
	if
	:: holdsAt(t, w) ->
		lostSince[t] = 1;
#ifndef BUG_LOSS_KEEPS_ATTEMPTS
		requeue(t)
#endif
	:: else
	fi
}

inline lose(w) {
	lease[w] = LOST;
	if :: pFrom[0] != NOBODY && pWorker[0] == (w) -> pLostSince[0] = 1 :: else fi;
	if :: pFrom[1] != NOBODY && pWorker[1] == (w) -> pLostSince[1] = 1 :: else fi;
	loseHeld(0, w);
	loseHeld(1, w);
#ifdef REPIN
	if
	:: STICKY == HARD && pin == (w) + 1 && (status[0] == QUEUED || status[1] == QUEUED) -> pin = 0; ran = 0
	:: else
	fi
#endif
}

/* departIfDone of fsm/drain.go. */
inline depart(w) {
	if
	:: mode[w] == DRAINING && !drained[w] && lease[w] != LOST && !holds(w) && !ties(w) ->
		drained[w] = 1;
		lose(w)
	:: else
	fi
}

/* Nodes send what is assigned down the worker's newest stream. */
inline send(t) {
	if
	:: status[t] == ASSIGNED && lease[holder[t]] == LIVE ->
		executes[t] = executes[t] | BIT(holder[t], session[holder[t]] - 1)
	:: else
	fi
}

/* Whether not more than one process executes the attempt. */
#define alone(t) ((executes[t] & (executes[t] - 1)) == 0)

inline inOrder(t) {
	CHECK4(!held(t) || (lease[holder[t]] != LOST && epoch[holder[t]] == heldEpoch[t]));
	CHECK4(alone(t));
	CHECK5(executes[t] == 0 || held(t) || final(t))
}

/* What is so after every commit. */
inline committed() {
	x = 0; y = 0; old = 0; ok = 0;
	send(0);
	send(1);
	inOrder(0);
	inOrder(1);
	CHECK2(STICKY != HARD || !(holds(0) && holds(1)));
	CHECK4(!(holdsAt(0, 0) && holdsAt(1, 0)) && !(holdsAt(0, 1) && holdsAt(1, 1)))
}

/* ---- Leases ---- */

#ifdef BUG_STREAM_OF_AN_OLD_START
#define mayAttach(w, i) ((i) <= start[w] && lease[w] != LIVE)
#else
#define mayAttach(w, i) ((i) == start[w] && lease[w] != LIVE)
#endif

inline attach(w, i) {
	printf("worker %d: start %d opens a stream\n", w, i);
	if
#ifndef BUG_EPOCH_STAYS
	:: lease[w] == LOST -> epoch[w]++
#endif
	:: else
	fi;
	lease[w] = LIVE;
	session[w] = (i) + 1;
	depart(w);
	committed()
}

inline detach(w) {
	printf("worker %d: its stream ends, or its node dies\n", w);
	faults--;
	lease[w] = SUSPECT;
	committed()
}

inline loseLease(w) {
	printf("worker %d: its lease is lost\n", w);
	faults--;
	lose(w);
	committed()
}

/* Another start of the process registers with the worker's identity. */
#ifdef BUG_IDENTITY_OF_A_LIVE_WORKER
#define vacant(w) (1)
#else
#define vacant(w) (lease[w] == LOST || (lease[w] == SUSPECT && session[w] == 0))
#endif

inline claim(w) {
	printf("worker %d: start 1 of its process takes the place\n", w);
	faults--;
	start[w] = 1;
	epoch[w]++;
	lease[w] = SUSPECT;
	session[w] = 0;
	if :: drained[w] -> mode[w] = ACTIVE; drained[w] = 0 :: else fi;
#ifdef BUG_IDENTITY_OF_A_LIVE_WORKER
	if :: holdsAt(0, w) -> heldEpoch[0] = epoch[w] :: else fi;
	if :: holdsAt(1, w) -> heldEpoch[1] = epoch[w] :: else fi;
#endif
	committed()
}

/* ---- The operator ---- */

inline setMode(w, m) {
	printf("worker %d: mode %d (0 active, 1 paused, 2 draining)\n", w, m);
	faults--;
	mode[w] = m;
	drained[w] = 0;
	depart(w);
	committed()
}

inline drainDeadline(w) {
	printf("worker %d: the deadline of its drain passes\n", w);
	drained[w] = 1;
	if :: lease[w] != LOST -> lose(w) :: else fi;
	committed()
}

/* to is a worker + 1, or 0 for a release. */
inline repin(to) {
	printf("operator: pin to %d (0 nobody, else a worker + 1)\n", to);
	faults--;
	old = pin - 1;
	pin = to;
	ran = 0;
	depart(old);
	committed()
}

inline rewind(t) {
	if :: held(t) || final(t) -> nextAttempt(t) :: else fi;
	letGo(t, QUEUED)
}

inline replay() {
	printf("replay\n");
	faults--;
	rewind(0);
	rewind(1);
	if
	:: pin != 0 && lease[(pin + 1) % 2] == LOST -> pin = 0; ran = 0
	:: else
	fi;
	depart(0);
	depart(1);
	committed()
}

/* ---- Deadlines ---- */

inline takeBack(t) {
	printf("task %d: attempt %d fails, times out or was not started in time\n", t, attempt[t]);
	requeue(t);
	depart(0);
	depart(1);
	committed()
}

inline scheduleTimeout(t) {
	printf("task %d: schedule timeout\n", t);
	letGo(t, FAILED);
	depart(0);
	depart(1);
	committed()
}

#define pinned ((pin + 1) % 2) /* the worker, where pin is not 0 */
#define impatient(t) (STICKY == SOFT && status[t] == QUEUED && !overflow[t] && \
	!(pin != 0 && lease[pinned] == SUSPECT && mode[pinned] == ACTIVE))

/* ---- The leader: decide, commit, change ---- */

/* What scheduler.Decide would do on the present state with task t, whose pin is at
 * p, for another worker. */
#ifdef BUG_SOFT_MOVES_WHEN_SUSPECT
#define gone(p) (lease[p] != LIVE || mode[p] == DRAINING)
#else
#define gone(p) (lease[p] == LOST || mode[p] == DRAINING)
#endif
#ifdef BUG_HARD_MOVES_WHEN_SUSPECT
#define leaves(t, p) (lease[p] != LIVE)
#else
#define leaves(t, p) (STICKY == SOFT && (gone(p) || mode[p] == PAUSED || (overflow[t] && lease[p] == LIVE)))
#endif
#define wants(t, w) (status[t] == QUEUED && lease[w] == LIVE && takes(w) && \
	(pin == 0 || pin == (w) + 1 || leaves(t, 1 - (w))))

/* On the leader's head the task run is assigned already. */
#define proposed(t) ((pFrom[0] == LEADER && pTask[0] == (t)) || (pFrom[1] == LEADER && pTask[1] == (t)))

inline decide(t, w) {
	printf("leader: proposes attempt %d of task %d for worker %d\n", attempt[t], t, w);
	if :: pFrom[0] == NOBODY -> x = 0 :: else -> x = 1 fi;
	pFrom[x] = LEADER;
	pTask[x] = t;
	pWorker[x] = w;
	pAttempt[x] = attempt[t];
	pEpoch[x] = epoch[w];
	pMove[x] = (pin != 0 && pin != (w) + 1 && gone(1 - (w)));
	x = 0;
#ifdef BUG_SENT_BEFORE_COMMIT
	executes[t] = executes[t] | BIT(w, session[w] - 1);
	inOrder(t)
#endif
}

inline forget(k) {
	if
	:: k == 0 ->
		pFrom[0] = pFrom[1]; pTask[0] = pTask[1]; pWorker[0] = pWorker[1]; pMove[0] = pMove[1];
		pAttempt[0] = pAttempt[1]; pEpoch[0] = pEpoch[1]; pLostSince[0] = pLostSince[1]
	:: else
	fi;
	pFrom[1] = NOBODY; pTask[1] = 0; pWorker[1] = 0; pMove[1] = 0;
	pAttempt[1] = 0; pEpoch[1] = 0; pLostSince[1] = 0
}

/* calm of fsm/assign.go, for the other task run. */
inline calm(t) {
	if :: STICKY == SOFT && status[1 - t] == QUEUED -> overflow[1 - t] = 0 :: else fi
}

/* pinAt of fsm/assign.go: ok becomes 0 if the pin does not allow it. */
inline pinAt(t, w, k) {
	if
	:: pin == 0 -> pin = w + 1; calm(t)
	:: pin == w + 1
	:: else ->
		old = pin - 1;
		if
#ifdef BUG_HARD_MOVES_WHEN_SUSPECT
		:: STICKY == HARD && lease[old] != LIVE -> pin = w + 1
		:: STICKY == HARD && lease[old] == LIVE -> ok = 0
#else
		:: STICKY == HARD -> ok = 0
#endif
		:: STICKY == SOFT && gone(old) ->
			CHECK3(lease[old] == LOST || mode[old] == DRAINING);
			pin = w + 1;
			NOTE(moved);
			calm(t)
		:: STICKY == SOFT && !gone(old) ->
			if
			:: pMove[k] || (mode[old] == ACTIVE && !overflow[t]) -> ok = 0
			:: else -> NOTE(overflowed)
			fi
		fi
	fi
}

#if defined(BUG_APPLIED_UNVALIDATED)
#define valid(t, w, k) (!final(t))
#else
#define valid(t, w, k) (status[t] == QUEUED && attempt[t] == pAttempt[k] && \
	lease[w] == LIVE && epoch[w] == pEpoch[k] && takes(w))
#endif

/* assign of fsm/assign.go. x is the task run, y the worker. */
inline apply(k) {
	x = pTask[k];
	y = pWorker[k];
	ok = valid(x, y, k);
#ifndef BUG_APPLIED_UNVALIDATED
	if :: ok -> pinAt(x, y, k) :: else fi;
#endif
	if
	:: ok ->
		CHECK5(pFrom[k] == LEADER);
		CHECK4(!pLostSince[k]);
		status[x] = ASSIGNED;
		holder[x] = y;
		heldEpoch[x] = epoch[y];
		overflow[x] = 0;
		lostSince[x] = 0;
		ran = ran | (1 << y);
		CHECK2(STICKY != HARD || ran != 3)
	:: else
	fi;
	forget(k)
}

inline commit(k) {
	printf("committed: attempt %d of task %d for worker %d\n", pAttempt[k], pTask[k], pWorker[k]);
	apply(k);
	committed()
}

#ifdef BUG_DEPOSED_LEADER_COMMITS
#define commits(k) (pFrom[k] != NOBODY)
#else
#define commits(k) (pFrom[k] == LEADER)
#endif

/* A new leader: the first so many entries in flight had reached it and are
 * committed before its barrier; the others never are. */
inline elect(n) {
	printf("another leader; %d entries in flight survive\n", n);
	faults--;
	if :: n > 0 -> apply(0); send(0); send(1) :: else fi;
	if :: n > 1 -> apply(0) :: else fi;
#ifdef BUG_DEPOSED_LEADER_COMMITS
	if :: pFrom[0] != NOBODY -> pFrom[0] = DEPOSED :: else fi;
	if :: pFrom[1] != NOBODY -> pFrom[1] = DEPOSED :: else fi;
#else
	forget(0);
	forget(0);
#endif
#ifdef BUG_SENT_BEFORE_COMMIT
	x = 0;
#endif
#ifdef BUG_PIN_FORGOTTEN_BY_RESTORE
	pin = 0;
#endif
#ifdef GOAL
	elections++;
#endif
	committed()
}

/* ---- What workers report ---- */

inline started(t) {
	printf("STARTED of task %d\n", t);
	status[t] = RUNNING;
	committed()
}

inline completed(t, now) {
	printf("COMPLETED of task %d by an attempt that is %d (1 current, 0 over)\n", t, now);
	CHECK4(now && !lostSince[t]);
#ifdef GOAL
	if :: zombie[t] -> fenced = 1 :: else fi;
#endif
	letGo(t, COMPLETED);
	depart(0);
	depart(1);
	committed()
}

#ifdef BUG_NO_ATTEMPT_FENCE
#define accepted(t) (held(t))
#else
#define accepted(t) (false)
#endif

/* ---- Every step there is ---- */

#define WORKER(w) \
	:: d_step { mayAttach(w, 0) -> attach(w, 0) } \
	:: d_step { mayAttach(w, 1) && start[w] == 1 -> attach(w, 1) } \
	:: d_step { faults > 0 && lease[w] == LIVE -> detach(w) } \
	:: d_step { faults > 0 && lease[w] != LOST -> loseLease(w) } \
	:: d_step { faults > 0 && start[w] == 0 && vacant(w) -> claim(w) } \
	:: d_step { faults > 0 && mode[w] != ACTIVE -> setMode(w, ACTIVE) } \
	:: d_step { faults > 0 && mode[w] != PAUSED -> setMode(w, PAUSED) } \
	:: d_step { faults > 0 && mode[w] != DRAINING -> setMode(w, DRAINING) } \
	:: d_step { mode[w] == DRAINING && !drained[w] -> drainDeadline(w) } \
	:: d_step { faults > 0 && pin != 0 && pin != (w) + 1 && !allFinal && loose && lease[w] == LIVE && mode[w] == ACTIVE -> repin((w) + 1) }

#define TASK(t) \
	:: d_step { held(t) -> takeBack(t) } \
	:: d_step { status[t] == QUEUED -> scheduleTimeout(t) } \
	:: d_step { impatient(t) -> printf("task %d: its patience is over\n", t); overflow[t] = 1 } \
	:: d_step { pFrom[INFLIGHT - 1] == NOBODY && !proposed(t) && wants(t, 0) -> decide(t, 0) } \
	:: d_step { pFrom[INFLIGHT - 1] == NOBODY && !proposed(t) && wants(t, 1) -> decide(t, 1) } \
	:: d_step { status[t] == ASSIGNED && executes[t] != 0 -> started(t) } \
	:: d_step { held(t) && executes[t] != 0 -> completed(t, 1) } \
	:: d_step { zombie[t] && accepted(t) -> completed(t, 0) }

#define CLUSTER \
	:: d_step { commits(0) -> commit(0) } \
	:: d_step { commits(1) -> commit(1) } \
	:: d_step { faults > 0 -> elect(0) } \
	:: d_step { faults > 0 && pFrom[0] == LEADER -> elect(1) } \
	:: d_step { faults > 0 && pFrom[0] == LEADER && pFrom[1] == LEADER -> elect(2) } \
	:: d_step { faults > 0 && pin != 0 && !allFinal && loose -> repin(0) } \
	:: d_step { faults > 0 && attempt[0] < LAST && attempt[1] < LAST -> replay() }

/* States that must be reachable, or the checks say little. */
#if GOAL == 1 /* a run completes */
#define reached (status[0] == COMPLETED && status[1] == COMPLETED)
#elif GOAL == 2 /* a zombie works on an attempt that is over, and the run completes without it */
#define reached (fenced && status[0] == COMPLETED && status[1] == COMPLETED)
#elif GOAL == 3 /* a SOFT pin moves */
#define reached (moved && status[0] == COMPLETED && status[1] == COMPLETED)
#elif GOAL == 4 /* a SOFT task run overflows, and the pin stays */
#define reached (overflowed && !moved && status[0] == COMPLETED && status[1] == COMPLETED)
#elif GOAL == 5 /* a run completes under the third leader, at a worker that was lost in between */
#define reached (elections == 2 && epoch[0] > 1 && ran == 1 && status[0] == COMPLETED && status[1] == COMPLETED)
#endif

active proctype world() {
	lease[0] = LIVE; session[0] = 1;
	do
	WORKER(0)
	WORKER(1)
	TASK(0)
	TASK(1)
	CLUSTER
#ifdef GOAL
	:: reached -> assert(false)
#endif
	:: allFinal -> break
	od
}
