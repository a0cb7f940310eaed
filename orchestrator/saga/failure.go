package saga

import (
	"errors"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// FixBy names the kind of person who can fix a failure.
type FixBy string

// The values of FixBy. FixByNobody means that the failure passes by itself. FixByAdministrator means the administrator of the service in
// Failure.Service.
const (
	FixByNobody        FixBy = "nobody"
	FixByOperator      FixBy = "operator"
	FixByAdministrator FixBy = "administrator"
	FixByMerchant      FixBy = "merchant"
	FixByUser          FixBy = "user"
)

// Code is a stable word for the reason why an attempt failed, a run waits, or an action was refused. The API lists all codes: see
// the schema FailureCode in openapi.yaml.
type Code string

// Failure is an error in the form in which it is stored and shown: shortened, in valid UTF-8, and without secrets.
type Failure struct {
	Code      Code      `json:"code"` // such as "keystone-refused"
	Detail    string    `json:"detail"`
	FixBy     FixBy     `json:"fix_by"`
	Step      string    `json:"step,omitempty"`
	Service   string    `json:"service,omitempty"` // the upstream that returned the error
	Status    int       `json:"status,omitempty"`  // the HTTP status of the upstream's answer
	RequestID string    `json:"request_id,omitempty"`
	At        time.Time `json:"at"`

	Unavailable bool `json:"unavailable,omitempty"` // the upstream was down
	// AwaitsPassword means that the step needs a password that the replica does not have: see ErrNoPassword.
	AwaitsPassword bool `json:"awaits_password,omitempty"`
	// Upstream names the upstream whose open circuit prevented the request: see Claim.Down.
	Upstream string `json:"upstream,omitempty"`
}

// Classification contains the consequences of an error for the run: see Workflow.Classify.
type Classification struct {
	Class      upstream.Class
	MaybeDone  bool          // the call may have taken effect, or may still take effect
	RetryAfter time.Duration // the wait that the upstream asked for; 0: the upstream asked for no wait
	Failure    Failure
	// Log is an internal error of Tenantry. The error goes only to the log, because its text can contain the names of databases,
	// addresses and files. If Log is set, Failure has a fixed text. If Log is nil, Failure has the text of the error.
	Log error
}

// ReasonKind is the kind of event that a run waits for.
type ReasonKind string

// The values of ReasonKind.
const (
	WaitsForRetry       ReasonKind = "retry"       // a failed attempt is repeated at Until
	WaitsForUpstream    ReasonKind = "upstream"    // an upstream is down; the call is tried again at Until
	WaitsForPredecessor ReasonKind = "predecessor" // an older run with the same subject must end first
	WaitsForLateWindow  ReasonKind = "late-window" // the outcome of a call is unknown; the compensation continues at Until
	WaitsForOperator    ReasonKind = "operator"    // an operator must decide
	WaitsForPassword    ReasonKind = "password"    // the caller must repeat the request with the password
)

// Reason is the reason why a run waits or is stuck. FixBy names the person who can fix the cause.
type Reason struct {
	Kind    ReasonKind `json:"kind"`
	Failure            // the cause; Step is the step that failed, or empty
	Until   *time.Time `json:"until,omitempty"`
}

// SkipError is the error that Do of an Optional step returns if Do has nothing to do. The step is then skipped for the reason Why.
type SkipError struct{ Why string }

func (s SkipError) Error() string { return "skipped: " + s.Why }

func skipped(err error) (why string) {
	s, _ := errors.AsType[SkipError](err)
	return s.Why
}
