package saga

import "time"

// Backlog is the work that is stored and not finished, and the replicas that share this work. Counting stops at a maximum: see
// BacklogLimits.
type Backlog struct {
	Replicas  []ReplicaLease // the newest replicas, newest first
	Runs      []RunCount     // the live runs; each of them is in one count
	Attention int            // the runs that need the attention of a person
	Due, Held FollowUpCount
}

// ReplicaLease is a replica and the end of its lease. If the lease has ended, another replica will soon delete this replica from the
// database.
type ReplicaLease struct {
	ID    string
	Until time.Time
}

// RunCount counts live runs in the same situation.
type RunCount struct {
	State  RunState
	Reason ReasonKind // why the runs wait; empty: they do not wait
	Leased bool       // a replica executes the runs
	Due    bool       // the runs wait only for a replica
	Runs   int
	Oldest time.Time // when the oldest of the runs was accepted
}

// FollowUpCount contains the number of follow-ups, and the follow-ups with the earliest DueAt.
type FollowUpCount struct {
	Count int
	First []FollowUp
}

// BacklogLimits limits the cost of reading a Backlog.
type BacklogLimits struct {
	Count    int // the maximum of each count
	FollowUp int // the maximum number of follow-ups in each FollowUpCount
	Replicas int
}
