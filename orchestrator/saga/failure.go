package saga

import (
	"errors"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// FixBy says who can do something about a failure.
type FixBy string

// Those who can fix something. Nobody means that it passes by itself.
const (
	FixByNobody   FixBy = "nobody"
	FixByOperator FixBy = "operator"
	FixByMerchant FixBy = "merchant"
	FixByUser     FixBy = "user"
)

// Failure is an error as it is stored and shown: no secret in it, cut and cleaned.
type Failure struct {
	Code      string    `json:"code"` // a stable word: "keystone-refused"
	Detail    string    `json:"detail"`
	FixBy     FixBy     `json:"fix_by"`
	Step      string    `json:"step,omitempty"`
	Service   string    `json:"service,omitempty"` // the upstream that said so
	Status    int       `json:"status,omitempty"`  // its HTTP status
	RequestID string    `json:"request_id,omitempty"`
	At        time.Time `json:"at"`

	Unavailable bool `json:"unavailable,omitempty"` // the upstream was out of order
	// Upstream names one whose circuit was open, so that nothing was sent: see Claim.Down.
	Upstream string `json:"upstream,omitempty"`
}

// Classification is what an error means for its run: see Workflow.Classify.
type Classification struct {
	Class      upstream.Class
	MaybeDone  bool          // the effect may have taken place, now or later
	RetryAfter time.Duration // what the upstream asked for; 0: nothing
	Failure    Failure
}

// ReasonKind says what a run waits for.
type ReasonKind string

// What a run waits for.
const (
	WaitsForRetry       ReasonKind = "retry"       // a failed attempt is repeated at Until
	WaitsForUpstream    ReasonKind = "upstream"    // an upstream is out of order; tried again at Until
	WaitsForPredecessor ReasonKind = "predecessor" // an older run about the same subject
	WaitsForLateWindow  ReasonKind = "late-window" // the undo of an unknown call is verified at Until
	WaitsForOperator    ReasonKind = "operator"    // an operator decides
)

// Reason says why a run waits or is stuck, and who can fix it.
type Reason struct {
	Kind    ReasonKind `json:"kind"`
	Failure            // of the step that it waits for, where there is one
	Until   *time.Time `json:"until,omitempty"`
}

// SkipError is returned by Do of an Optional step that has nothing to do here: the step ends skipped with this reason.
type SkipError struct{ Why string }

func (s SkipError) Error() string { return "skipped: " + s.Why }

func skipped(err error) (why string) {
	s, _ := errors.AsType[SkipError](err)
	return s.Why
}
