package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func runsTable(w io.Writer, runs []client.Run) {
	row(w, "RUN", "STATE", "ACCEPTED", "WORKFLOW", "REASON")
	for _, r := range runs {
		reason := "-"
		switch {
		case r.Reason != nil:
			reason = reasonText(*r.Reason)
		case r.Cause != nil:
			reason = failureText(*r.Cause)
		}
		row(w, r.ID, r.State, r.CreatedAt.Format(timeLayout), r.Workflow, reason)
	}
}

// runTable prints a run. The commands that it names have the given flags, such as --local.
func runTable(w io.Writer, r client.Run, flags ...string) {
	row(w, "run", r.ID)
	row(w, "workflow", r.Workflow)
	row(w, "merchant", r.MerchantID)
	row(w, "user", or(r.UserID))
	row(w, "accepted", r.CreatedAt.Format(timeLayout))
	resultTable(w, r)
	for _, other := range []struct {
		what string
		run  *string
	}{{"retry of", r.RetryOf}, {"retried by", r.RetriedBy}, {"waits for", r.WaitsFor}} {
		if other.run != nil {
			row(w, other.what, *other.run)
		}
	}
	if r.Reason != nil {
		row(w, "waits", reasonText(*r.Reason))
	}
	if r.Cause != nil {
		row(w, "failed", failureText(*r.Cause))
	}
	if r.Explanation != nil && len(r.Explanation.Next) > 0 {
		row(w, "what to do", strings.Join(append([]string{"tenantry explain", r.ID}, flags...), " "))
	}
	if step := failingStep(r); step != "" {
		row(w, "failing step", step)
	}
	if at := nextTry(r); at != nil {
		row(w, "next try", at.Format(timeLayout))
	}
	for _, left := range r.LeftBehind {
		row(w, "left behind", left.Step, or(left.Kind), or(left.ID))
	}
	row(w, "actions", r.Actions)
	row(w)
	row(w, "STEP", "STATE", "TRIES", "UNDOS", "ERROR")
	for _, s := range r.Steps {
		failure := "-"
		if s.Error != nil {
			failure = s.Error.Detail
		}
		row(w, s.Name, s.State, s.Attempts, s.Undos, failure)
	}
	if len(r.Objects) > 0 {
		objectsTable(w, r.Objects)
	}
}

// objectsTable prints the objects that a run created or adopted. The column OBJECT has values for the flag --object of `runs list`.
func objectsTable(w io.Writer, objects []client.Object) {
	row(w)
	row(w, "OBJECT", "NAME", "ORIGIN", "STEP", "REMOVED", "REQUEST")
	for _, o := range objects {
		removed := "-"
		if o.RemovedAt != nil {
			removed = o.RemovedAt.Format(timeLayout)
		}
		row(w, o.Kind+":"+o.ID, or(o.Name), o.Origin, o.Step, removed, or(o.RequestID))
	}
}

// failingStep returns the name of the step that caused a run to wait, to get stuck or to be compensated. The result is empty if there is
// no such step.
func failingStep(r client.Run) string {
	switch {
	case r.Reason != nil && valueOf(r.Reason.Step) != "":
		return *r.Reason.Step
	case r.Cause != nil && valueOf(r.Cause.Step) != "":
		return *r.Cause.Step
	}
	return ""
}

// nextTry returns the earliest time at which Tenantry tries a failed step again. If there is no such time, nextTry returns the time until
// which the run waits, or nil.
func nextTry(r client.Run) *time.Time {
	var next *time.Time
	for _, s := range r.Steps {
		if s.RetryAt != nil && (next == nil || s.RetryAt.Before(*next)) {
			next = s.RetryAt
		}
	}
	if next == nil && r.Reason != nil {
		next = r.Reason.Until
	}
	return next
}

// stateText returns the state of a run. If the run waits, the text also has the kind and the code of the reason. If the run has
// failed, the text also has the code of the failure. docs/operations.md explains the states, kinds and codes.
func stateText(r client.Run) string {
	switch {
	case r.Reason != nil:
		return fmt.Sprintf("%s (%s, %s)", r.State, r.Reason.Kind, r.Reason.Code)
	case r.Cause != nil:
		return fmt.Sprintf("%s (%s)", r.State, r.Cause.Code)
	}
	return string(r.State)
}

// resultTable prints the state of a run and the values of its result, sorted by name.
func resultTable(w io.Writer, r client.Run) {
	row(w, "state", stateText(r))
	for _, name := range slices.Sorted(maps.Keys(r.Result)) {
		label := strings.ReplaceAll(strings.TrimSuffix(name, "_id"), "_", " ")
		if name == "state" { // the run has a state, too
			label = "state afterwards"
		}
		row(w, label, valueText(r.Result[name]))
	}
}

// valueText returns a value of a result. A list or an object is shown as JSON.
func valueText(v any) any {
	switch v.(type) {
	case []any, map[string]any:
		if text, err := json.Marshal(v); err == nil {
			return string(text)
		}
	}
	return v
}

// The function `or` returns the text that p points to. If p is nil or the text is empty, the result is a dash.
func or(p *string) string {
	if p == nil || *p == "" {
		return "-"
	}
	return *p
}
