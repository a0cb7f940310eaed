package main

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func runsTable(w io.Writer, runs []client.Run) {
	row(w, "RUN", "STATE", "ACCEPTED", "WORKFLOW", "REASON")
	for _, r := range runs {
		reason := "-"
		if r.Reason != nil {
			reason = cut(reasonText(*r.Reason), 60)
		}
		row(w, r.ID, r.State, r.CreatedAt.Format(timeLayout), r.Workflow, reason)
	}
}

func runTable(w io.Writer, r client.Run) {
	row(w, "run", r.ID)
	row(w, "workflow", r.Workflow)
	row(w, "merchant", r.MerchantID)
	row(w, "user", or(r.UserID))
	row(w, "accepted", r.CreatedAt.Format(timeLayout))
	resultTable(w, r)
	if r.Reason != nil {
		row(w, "waits", reasonText(*r.Reason))
	}
	if r.Cause != nil {
		row(w, "failed", failureText(*r.Cause))
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
			failure = cut(s.Error.Detail, 60)
		}
		row(w, s.Name, s.State, s.Attempts, s.Undos, failure)
	}
}

// resultTable prints the state of a run and the values of its result, sorted by name.
func resultTable(w io.Writer, r client.Run) {
	row(w, "state", r.State)
	for _, name := range slices.Sorted(maps.Keys(r.Result)) {
		row(w, strings.ReplaceAll(strings.TrimSuffix(name, "_id"), "_", " "), r.Result[name])
	}
}

// or returns the text that p points to. The result is a dash if there is no text.
func or(p *string) string {
	if p == nil || *p == "" {
		return "-"
	}
	return *p
}
