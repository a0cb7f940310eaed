package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

// attentionTable prints the runs that need the attention of a person. For each run, attentionTable prints the cause, the person who
// can fix the cause, and the commands to type after the fix. The commands have the given flags, such as --local.
func attentionTable(w io.Writer, runs []client.Run, now time.Time, flags ...string) {
	if len(runs) == 0 {
		row(w, "no run needs attention; if orders are refused or do not end, type  curl $TENANTRY_URL/readyz")
	}
	for i, r := range runs {
		if i > 0 {
			row(w)
		}
		causes, fixBy, service := need(r)
		row(w, "run", r.ID)
		row(w, "state", r.State)
		row(w, "merchant", r.MerchantID)
		row(w, "age", age(now.Sub(r.CreatedAt)))
		for i, cause := range causes {
			row(w, []any{"cause", "and"}[min(i, 1)], cause)
		}
		row(w, "fix by", fixerText(fixBy, service))
		for i, command := range commands(r, flags) {
			row(w, []any{"then type", "or"}[min(i, 1)], command)
		}
	}
}

// The function `need` returns the causes to show for a run that needs attention, and the person who can fix the causes. Each refused undo
// is a cause. Most outages end by themselves, and the API says that nobody has to fix them. But a run that needs attention because of an
// outage has tried the same call for a long time. For such a run, `need` names the operator.
func need(r client.Run) (causes []string, fixBy client.FixBy, service *string) {
	for _, s := range refusedUndos(r) {
		if s.Error != nil {
			causes, fixBy, service = append(causes, "the undo of "+s.Name+" was refused: "+s.Error.Detail), s.Error.FixBy, s.Error.Service
		}
	}
	if len(causes) == 0 {
		var cause string
		cause, fixBy, service = whyNotMoving(r)
		causes = []string{cause}
	}
	if fixBy == client.FixByNobody {
		fixBy = client.FixByOperator
	}
	return causes, fixBy, service
}

// whyNotMoving returns the cause to show for a run that has no refused undo, the person who can fix the cause, and the service that
// returned the error.
func whyNotMoving(r client.Run) (cause string, fixBy client.FixBy, service *string) {
	switch {
	case r.Reason != nil && r.Reason.Code == "held":
		cause, fixBy = "held: "+r.Reason.Detail, r.Reason.FixBy
	case r.Reason != nil:
		cause, fixBy, service = r.Reason.Detail, r.Reason.FixBy, r.Reason.Service
		if step := valueOf(r.Reason.Step); step != "" {
			cause = step + ": " + cause
		}
	case r.Cause != nil && !triesUndoAgain(r):
		cause, fixBy, service = failureText(*r.Cause), r.Cause.FixBy, r.Cause.Service
	default: // an attempt is in flight
		cause, fixBy = "a step that failed is being tried again", client.FixByNobody
		for _, s := range r.Steps {
			if s.Error != nil && (r.Cause == nil || s.State == client.StepStateUndoing) {
				cause, fixBy, service = s.Name+": "+s.Error.Detail, s.Error.FixBy, s.Error.Service
			}
		}
	}
	return cause, fixBy, service
}

// triesUndoAgain reports whether an undo of the run has failed and is being repeated.
func triesUndoAgain(r client.Run) bool {
	return slices.ContainsFunc(r.Steps, func(s client.Step) bool { return s.State == client.StepStateUndoing && s.Error != nil })
}

func refusedUndos(r client.Run) []client.Step {
	return slices.DeleteFunc(slices.Clone(r.Steps), func(s client.Step) bool { return s.State != client.StepStateUndoFailed })
}

// The function `commands` returns the commands that continue or end a run, the best command first. Each command after the first one has a
// comment that says what the command does.
func commands(r client.Run, flags []string) []string {
	act := explain.Run{Facts: explain.Facts{Run: r.ID}, State: string(r.State), Attention: true, Actions: r.Actions}
	if r.Reason != nil {
		act.Kind, act.Reason = string(r.Reason.Kind), &explain.Fault{Code: r.Reason.Code}
	}
	if r.Cause != nil {
		act.Cause = &explain.Fault{Code: r.Cause.Code}
	}
	for _, s := range refusedUndos(r) {
		act.Skippable = append(act.Skippable, s.Name)
	}
	to := explain.ForOperator
	if len(flags) > 0 {
		to = explain.ForLocal
	}
	var all []string
	for i, step := range act.Acts(to) {
		if i == 0 {
			all = append(all, step.Command)
			continue
		}
		all = append(all, step.Command+"   # "+strings.TrimPrefix(step.Text, "Or "))
	}
	return append(all, strings.Join(append([]string{"tenantry explain", r.ID}, flags...), " ")+"   # what has happened, and how to repair the cause")
}

// The function `age` returns a duration in its two largest units, such as 3d4h.
func age(d time.Duration) string {
	d = max(0, d)
	switch days := int(d.Hours()) / 24; {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, int(d.Hours())%24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
