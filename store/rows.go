package store

import (
	"encoding/json"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// runRow is a row of the table runs. The JSON tags are the names of the columns, because the PostgreSQL statements decode rows from
// JSON. If the JSON has no key for a column, the column becomes NULL.
type runRow struct {
	ID              string  `gorm:"column:id;primaryKey" json:"id"`
	Workflow        string  `gorm:"column:workflow" json:"workflow"`
	WorkflowVersion int     `gorm:"column:workflow_version" json:"workflow_version"`
	MerchantID      string  `gorm:"column:merchant_id" json:"merchant_id"`
	Cloud           string  `gorm:"column:cloud" json:"cloud"`
	Subject         string  `gorm:"column:subject" json:"subject"`
	UserID          string  `gorm:"column:user_id" json:"user_id"`
	Doubles         string  `gorm:"column:doubles" json:"doubles"`
	OnFailure       string  `gorm:"column:on_failure" json:"on_failure"`
	Input           string  `gorm:"column:input" json:"input"`
	IdempotencyKey  string  `gorm:"column:idempotency_key" json:"idempotency_key"`
	Fingerprint     string  `gorm:"column:fingerprint" json:"fingerprint"`
	RetryOf         *string `gorm:"column:retry_of" json:"retry_of,omitempty"`
	PinnedSteps     string  `gorm:"column:pinned_steps" json:"pinned_steps"`
	CreatedAt       int64   `gorm:"column:created_at;autoCreateTime:false" json:"created_at"`
	State           string  `gorm:"column:state" json:"state"`
	Reason          *string `gorm:"column:reason" json:"reason,omitempty"`
	Cause           *string `gorm:"column:cause" json:"cause,omitempty"`
	WaitsFor        *string `gorm:"column:waits_for" json:"waits_for,omitempty"`
	Hold            *string `gorm:"column:hold" json:"hold,omitempty"`
	Looked          bool    `gorm:"column:looked" json:"looked"`
	WaitsOn         *string `gorm:"column:waits_on" json:"waits_on,omitempty"` // the upstream that the run waits for
	LeftBehind      *string `gorm:"column:left_behind" json:"left_behind,omitempty"`
	UpdatedAt       int64   `gorm:"column:updated_at;autoUpdateTime:false" json:"updated_at"`
	EndedAt         *int64  `gorm:"column:ended_at" json:"ended_at,omitempty"`
	DueAt           *int64  `gorm:"column:due_at" json:"due_at,omitempty"`
	AttentionAt     *int64  `gorm:"column:attention_at" json:"attention_at,omitempty"`
	Worked          int64   `gorm:"column:worked" json:"worked"`
	BudgetFrom      int64   `gorm:"column:budget_from" json:"budget_from"`
	Rechecks        int     `gorm:"column:rechecks" json:"rechecks"`
	TakeOvers       int     `gorm:"column:take_overs" json:"take_overs"`
	HoldsSubject    bool    `gorm:"column:holds_subject" json:"holds_subject"`
	ReplicaID       *string `gorm:"column:replica_id" json:"replica_id,omitempty"`
	Epoch           int64   `gorm:"column:epoch" json:"epoch"`
	Version         int64   `gorm:"column:version" json:"version"`
	LastSeq         int64   `gorm:"column:last_seq" json:"last_seq"`
	Handed          int     `gorm:"column:handed;->" json:"-"`     // only Take changes it
	RetriedBy       *string `gorm:"column:retried_by;->" json:"-"` // id of the run that is a retry of this run, if any
	Behind          *string `gorm:"column:behind;->" json:"-"`     // id of the run that this run waits for, if any
}

// TableName returns the table's name for gorm.
func (runRow) TableName() string { return "runs" }

// stepRow is a row of the table steps, for a step that has begun or was skipped. All other steps are stored only in the column
// pinned_steps of their run. This saves one write per step.
type stepRow struct {
	RunID     string  `gorm:"column:run_id;primaryKey" json:"run_id"`
	Name      string  `gorm:"column:name;primaryKey" json:"name"`
	State     string  `gorm:"column:state" json:"state"`
	Attempts  int     `gorm:"column:attempts" json:"attempts"`
	Undos     int     `gorm:"column:undos" json:"undos"`
	Output    *string `gorm:"column:output" json:"output,omitempty"`
	Error     *string `gorm:"column:error" json:"error,omitempty"`
	StartedAt *int64  `gorm:"column:started_at" json:"started_at,omitempty"`
	EndedAt   *int64  `gorm:"column:ended_at" json:"ended_at,omitempty"`
	RetryAt   *int64  `gorm:"column:retry_at" json:"retry_at,omitempty"`
	Unknowns  int     `gorm:"column:unknowns" json:"unknowns"`
	UnknownAt *int64  `gorm:"column:unknown_at" json:"unknown_at,omitempty"`
	UndoneAt  *int64  `gorm:"column:undone_at" json:"undone_at,omitempty"`
	InFlight  *string `gorm:"column:in_flight" json:"in_flight,omitempty"`
}

// TableName returns the table's name for gorm.
func (stepRow) TableName() string { return "steps" }

type eventRow struct {
	RunID     string  `gorm:"column:run_id;primaryKey" json:"run_id"`
	Seq       int64   `gorm:"column:seq;primaryKey;autoIncrement:false" json:"seq"`
	At        int64   `gorm:"column:at" json:"at"`
	Epoch     int64   `gorm:"column:epoch" json:"epoch"`
	Kind      string  `gorm:"column:kind" json:"kind"`
	Step      string  `gorm:"column:step" json:"step"`
	Attempt   int     `gorm:"column:attempt" json:"attempt"`
	StartedAt *int64  `gorm:"column:started_at" json:"started_at,omitempty"`
	Action    string  `gorm:"column:action" json:"action"`
	Who       string  `gorm:"column:who" json:"who"`
	Why       string  `gorm:"column:why" json:"why"`
	RequestID string  `gorm:"column:request_id" json:"request_id"`
	Failure   *string `gorm:"column:failure" json:"failure,omitempty"`
}

// TableName returns the table's name for gorm.
func (eventRow) TableName() string { return "events" }

type objectRow struct {
	RunID     string `gorm:"column:run_id;primaryKey" json:"run_id"`
	Kind      string `gorm:"column:kind;primaryKey" json:"kind"`
	ID        string `gorm:"column:id;primaryKey" json:"id"`
	Step      string `gorm:"column:step" json:"step"`
	Cloud     string `gorm:"column:cloud" json:"cloud"`
	Name      string `gorm:"column:name" json:"name"`
	Origin    string `gorm:"column:origin" json:"origin"`
	RequestID string `gorm:"column:request_id" json:"request_id"`
	RemovedAt *int64 `gorm:"column:removed_at" json:"removed_at,omitempty"`
}

// TableName returns the table's name for gorm.
func (objectRow) TableName() string { return "objects" }

func rowOfRun(r *saga.Run) (runRow, error) {
	row := runRow{
		ID: r.ID, Workflow: r.Workflow, WorkflowVersion: r.WorkflowVersion, MerchantID: r.Merchant, Cloud: r.Cloud,
		Subject: r.Subject, UserID: r.User, Doubles: r.Doubles, OnFailure: string(r.OnFailure), Input: string(r.Input),
		IdempotencyKey: r.Key, Fingerprint: r.Fingerprint, RetryOf: text(r.RetryOf), CreatedAt: r.CreatedAt.UnixMicro(),
		State: string(r.State), WaitsFor: text(r.WaitsFor), UpdatedAt: r.UpdatedAt.UnixMicro(), EndedAt: micros(r.EndedAt),
		DueAt: micros(r.DueAt), AttentionAt: micros(r.AttentionAt), Worked: r.Worked.Microseconds(), BudgetFrom: r.BudgetFrom.UnixMicro(), Rechecks: r.Rechecks,
		TakeOvers: r.TakeOvers, Looked: r.Looked, HoldsSubject: r.HoldsSubject, ReplicaID: text(r.Replica), Epoch: r.Epoch,
		Version: r.Version, LastSeq: r.Seq,
	}
	if r.Reason != nil {
		row.WaitsOn = text(r.Reason.Upstream)
	}
	err := encode(&row.Reason, r.Reason, r.Reason == nil)
	if err == nil {
		err = encode(&row.Hold, r.Hold, r.Hold == nil)
	}
	if err == nil {
		err = encode(&row.Cause, r.Cause, r.Cause == nil)
	}
	if err == nil {
		err = encode(&row.LeftBehind, r.LeftBehind, len(r.LeftBehind) == 0)
	}
	return row, err
}

func (row *runRow) run() (*saga.Run, error) {
	r := &saga.Run{
		ID: row.ID, Workflow: row.Workflow, WorkflowVersion: row.WorkflowVersion, Merchant: row.MerchantID,
		Cloud: row.Cloud, Subject: row.Subject, User: row.UserID, Doubles: row.Doubles,
		OnFailure: saga.OnFailure(row.OnFailure), Input: json.RawMessage(row.Input), Key: row.IdempotencyKey,
		Fingerprint: row.Fingerprint, RetryOf: plain(row.RetryOf), CreatedAt: at(row.CreatedAt),
		State: saga.RunState(row.State), WaitsFor: plain(row.WaitsFor), UpdatedAt: at(row.UpdatedAt),
		EndedAt: maybeAt(row.EndedAt), DueAt: maybeAt(row.DueAt), AttentionAt: maybeAt(row.AttentionAt),
		Worked:     time.Duration(row.Worked) * time.Microsecond,
		BudgetFrom: at(row.BudgetFrom), Rechecks: row.Rechecks, TakeOvers: row.TakeOvers, Handed: row.Handed,
		Looked: row.Looked, HoldsSubject: row.HoldsSubject,
		RetriedBy: plain(row.RetriedBy), Replica: plain(row.ReplicaID), Epoch: row.Epoch, Version: row.Version, Seq: row.LastSeq,
	}
	err := decode(row.Reason, &r.Reason)
	if err == nil {
		r.Steps, err = pinned(row.PinnedSteps)
	}
	if err == nil {
		err = decode(row.Hold, &r.Hold)
	}
	if err == nil {
		err = decode(row.Cause, &r.Cause)
	}
	if err == nil {
		err = decode(row.LeftBehind, &r.LeftBehind)
	}
	if row.Behind != nil {
		r.WaitBehind(*row.Behind)
	}
	return r, err
}

func rowOfStep(runID string, s *saga.StepRow) (stepRow, error) {
	row := stepRow{
		RunID: runID, Name: s.Name, State: string(s.State),
		Attempts: s.Attempts, Undos: s.Undos, Output: text(string(s.Output)), StartedAt: micros(s.StartedAt),
		EndedAt: micros(s.EndedAt), RetryAt: micros(s.RetryAt), Unknowns: s.Unknowns, UnknownAt: micros(s.UnknownAt),
		UndoneAt: micros(s.UndoneAt), InFlight: text(string(s.InFlight)),
	}
	return row, encode(&row.Error, s.Error, s.Error == nil)
}

// The method `tell` sets the mutable fields of a pinned step to the values in the row.
func (row *stepRow) tell(s *saga.StepRow) error {
	s.State, s.Attempts, s.Undos, s.Unknowns = saga.StepState(row.State), row.Attempts, row.Undos, row.Unknowns
	s.StartedAt, s.EndedAt, s.RetryAt = maybeAt(row.StartedAt), maybeAt(row.EndedAt), maybeAt(row.RetryAt)
	s.UnknownAt, s.UndoneAt = maybeAt(row.UnknownAt), maybeAt(row.UndoneAt)
	s.InFlight = saga.CallKind(plain(row.InFlight))
	if row.Output != nil {
		s.Output = json.RawMessage(*row.Output)
	}
	return decode(row.Error, &s.Error)
}

func rowOfEvent(e *saga.Event) (eventRow, error) {
	row := eventRow{
		RunID: e.RunID, Seq: e.Seq, At: e.At.UnixMicro(), Epoch: e.Epoch, Kind: string(e.Kind), Step: e.Step,
		Attempt: e.Attempt, Action: e.Action, Who: e.Who, Why: e.Why, RequestID: e.RequestID,
	}
	if !e.StartedAt.IsZero() {
		row.StartedAt = micros(&e.StartedAt)
	}
	return row, encode(&row.Failure, e.Failure, e.Failure == nil)
}

func (row *eventRow) event() (saga.Event, error) {
	e := saga.Event{
		RunID: row.RunID, Seq: row.Seq, At: at(row.At), Epoch: row.Epoch, Kind: saga.EventKind(row.Kind), Step: row.Step,
		Attempt: row.Attempt, Action: row.Action, Who: row.Who, Why: row.Why, RequestID: row.RequestID,
	}
	if row.StartedAt != nil {
		e.StartedAt = at(*row.StartedAt)
	}
	return e, decode(row.Failure, &e.Failure)
}

func rowOfObject(runID string, o *saga.Object) objectRow {
	return objectRow{
		RunID: runID, Kind: o.Kind, ID: o.ID, Step: o.Step, Cloud: o.Cloud, Name: o.Name, Origin: string(o.Origin),
		RequestID: o.RequestID, RemovedAt: micros(o.RemovedAt),
	}
}

func (row *objectRow) object() saga.Object {
	return saga.Object{
		Step: row.Step, Kind: row.Kind, Cloud: row.Cloud, ID: row.ID, Name: row.Name, Origin: saga.Origin(row.Origin),
		RequestID: row.RequestID, RemovedAt: maybeAt(row.RemovedAt),
	}
}

func encode(column **string, value any, null bool) error {
	if null {
		return nil
	}
	encoded, err := json.Marshal(value)
	s := string(encoded)
	*column = &s
	return err
}

func decode(column *string, value any) error {
	if column == nil {
		return nil
	}
	return json.Unmarshal([]byte(*column), value)
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func plain(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func micros(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func at(us int64) time.Time { return time.UnixMicro(us).UTC() }

func maybeAt(us *int64) *time.Time {
	if us == nil {
		return nil
	}
	t := at(*us)
	return &t
}
