package resources

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Callers distinguish these errors with errors.Is. See [Proof.Err].
var (
	ErrNotEmpty  = errors.New("the project is not empty")
	ErrNotProven = errors.New("the project is not proven empty")
)

// State is the result of a proof: whether the project is empty, is not empty, or is not proven empty.
type State string

// The values of State. The zero value is not valid.
const (
	// Empty means that the Prover asked every service that is not exempt, in each of its regions. Every answer was complete, and
	// contained no resource of the project. If a cloud has only Keystone and exempt services, the State is Empty.
	Empty State = "empty"
	// NotEmpty means that at least one service has a resource of the project.
	NotEmpty State = "not-empty"
	// NotProven means that the Prover found no resource, but at least one service could have resources of the project.
	NotProven State = "not-proven"
)

// Proof contains the resources that were found in a project, and the questions without a usable answer. A Proof contains no secret.
// All texts from other services are cleaned, and cut to a maximum length.
type Proof struct {
	ProjectID string
	At        time.Time // the time at which the Prover began to ask
	// Asked lists Keystone and the services of the catalog. If no request was sent, Asked is empty.
	Asked    []ServiceAsked
	Found    []Found
	Unproven []Unproven
}

// ServiceAsked is an endpoint of the catalog. A service type has several endpoints if there are several regions or several services
// of this type.
type ServiceAsked struct {
	Type   string
	Region string // empty if the endpoint belongs to no region
	// Exempt is the reason why the Prover need not ask the service for resources. If Exempt is empty, the Prover must ask the service.
	Exempt string
}

// Found contains the project's resources of one kind in one service.
type Found struct {
	Type, Region string // of the service
	Kind         string // such as "servers"
	// Count is the number of resources. If Kind is "bytes", Count is the number of bytes. If Unproven has an entry about the same
	// service, the project can have more resources of this kind.
	Count    int64
	Examples []Example // at most 5
}

// Example is one of the resources that a Found counts.
type Example struct {
	ID   string
	Name string // may be empty
}

// Unproven is a question without a usable answer. The project can therefore have resources that Found does not contain.
type Unproven struct {
	Type, Region string // of the service
	Kind         string // the kind of resources that the question is about, such as "servers"; empty if the question is about several kinds
	// Class is Transient if the question can be repeated soon, Unavailable if the service must first be repaired, and Blocked if an
	// operator or the administrator of the cloud must decide. Class is never Permanent.
	Class  upstream.Class
	Detail string // what is wrong, such as "GET /v2.0/ports: status 403 Forbidden"
	Fix    string // the person who can fix the cause, and the action
	// Status is the HTTP status of the answer; 0 if there was no answer.
	Status     int
	RequestID  string        // the service's id of the request; may be empty
	RetryAfter time.Duration // minimum time until the next proof; 0 if the service demands no wait
}

// State returns Empty, NotEmpty or NotProven. The State of the zero Proof is NotProven.
func (p Proof) State() State {
	switch {
	case len(p.Found) > 0:
		return NotEmpty
	case len(p.Unproven) > 0 || len(p.Asked) == 0:
		return NotProven
	}
	return Empty
}

// Reasons returns one line for each kind that was found, such as `image in region "RegionOne" has images (2): "disk" (ID), "cd" (ID)`.
// Reasons also returns one line for each question without an answer. Such a line names the person who can fix the cause. The result
// is empty if the State is Empty.
func (p Proof) Reasons() []string {
	var lines []string
	for _, f := range p.Found {
		lines = append(lines, f.String())
	}
	for _, u := range p.Unproven {
		lines = append(lines, u.String())
	}
	if len(lines) == 0 && p.State() == NotProven {
		lines = append(lines, "no service was asked")
	}
	return lines
}

// Err returns nil if the State is Empty, and otherwise an [*upstream.Error]. The text of the error contains as many of the Reasons
// as fit.
//
// If the State is NotEmpty, the error wraps ErrNotEmpty and is Permanent, because a repetition cannot help: somebody must first
// delete the resources. If the State is NotProven, the error wraps ErrNotProven. The class of such an error is Blocked if one of
// the questions is Blocked. Otherwise, the class is Unavailable if one of the questions is Unavailable, and Transient if none is.
// RetryAfter is the longest RetryAfter of the questions.
func (p Proof) Err() error {
	e := &upstream.Error{Service: Service, Op: opOf(p.ProjectID), Message: summary(p.Reasons())}
	switch p.State() {
	case Empty:
		return nil
	case NotEmpty:
		e.Class, e.Err = upstream.Permanent, ErrNotEmpty
		return e
	case NotProven:
	}
	e.Class, e.Err = upstream.Blocked, ErrNotProven
	if len(p.Unproven) > 0 { // the class with the highest number decides
		e.Class = slices.MaxFunc(p.Unproven, func(a, b Unproven) int { return cmp.Compare(a.Class, b.Class) }).Class
	}
	for _, u := range p.Unproven {
		e.RetryAfter = max(e.RetryAfter, u.RetryAfter)
	}
	return e
}

// maxSummary is the maximum length of a summary, in bytes. The text of an error has at most 1 KiB (see [upstream.Clean]), and the
// rest of the text needs the other bytes.
const maxSummary = 800

// The function `summary` joins as many lines as fit, and adds the number of the omitted lines. If the first line is too long, it is
// cut.
func summary(lines []string) string {
	text := ""
	for i, line := range lines {
		more := fmt.Sprintf(". And %d more", len(lines)-i)
		switch {
		case i == 0 && len(line) > maxSummary:
			text = strings.ToValidUTF8(line[:maxSummary], "") + "…"
		case i == 0:
			text = line
		case len(text)+len(line) > maxSummary:
			return text + more
		default:
			text += ". " + line
		}
	}
	return text
}

// String returns a line such as `compute in region "R" has servers (1): "web" (ID)`.
func (f Found) String() string {
	var shown []string
	for _, e := range f.Examples {
		if e.Name == "" {
			shown = append(shown, e.ID)
			continue
		}
		shown = append(shown, fmt.Sprintf("%q (%s)", e.Name, e.ID))
	}
	line := fmt.Sprintf("%s has %s (%d)", place(f.Type, f.Region), f.Kind, f.Count)
	switch {
	case len(shown) == 0:
		return line
	case int64(len(shown)) < f.Count:
		shown = append(shown, "...")
	}
	return line + ": " + strings.Join(shown, ", ")
}

// String returns a line such as `network in region "R": ports: GET /v2.0/ports: status 403 Forbidden (req-ID); the administrator ...`.
func (u Unproven) String() string {
	line := place(u.Type, u.Region) + ": "
	if u.Kind != "" {
		line += u.Kind + ": "
	}
	line += u.Detail
	if u.RequestID != "" {
		line += " (" + u.RequestID + ")"
	}
	return line + "; " + u.Fix
}

func place(service, region string) string {
	if region == "" {
		return service
	}
	return fmt.Sprintf("%s in region %q", service, region)
}
