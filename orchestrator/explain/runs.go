package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// State returns the entry of a run's state, and reports whether the table has it.
func State(state string) (Entry, bool) {
	e, known := states[state]
	return e, known
}

// Reason returns the entry of the kind of reason for which a run waits, and reports whether the table has it.
func Reason(kind string) (Entry, bool) {
	e, known := reasons[kind]
	return e, known
}

// The table of the states of runs. A run that waits or compensates may also have a reason, and a run that has failed has a cause.
var states = map[string]Entry{
	"pending": {
		What: "The run is accepted. A replica starts it as soon as the replica has capacity for another run.", FixBy: by(Nobody), Do: watching,
	},
	"running": {
		What: "The run executes its steps.", FixBy: by(Nobody), Do: watching,
	},
	"waiting": {
		What: "The run waits.", FixBy: by(Nobody, Operator, Administrator, Merchant),
	},
	"compensating": {
		What: "The run has failed, and undoes its steps.", FixBy: by(Nobody, Operator), Do: watching,
	},
	"stuck": {
		What: "The run has failed, and an undo was refused permanently. The run is stuck.", FixBy: by(Operator, Administrator),
	},
	"succeeded": {
		What: "The run has succeeded. There is nothing to do.", FixBy: by(Nobody),
	},
	"compensated": {
		What: "The run has failed, and its steps are undone.", FixBy: by(Nobody, Operator, Administrator, Merchant, User),
	},
}

// The variable `watching` is the advice about a run that makes progress.
var watching = []Step{{Text: "Watch the run.", Command: "tenantry runs watch {run}", Request: "GET /v1/runs/{run}?wait=30"}}

// The table of the reasons for which a run waits. What to do about the reason `operator` depends on the code of the failure.
var reasons = map[string]Entry{
	"retry": {
		What: "An attempt failed. Tenantry repeats it at {until}.", FixBy: by(Nobody, Operator),
	},
	"upstream": {
		What:  "Tenantry cannot use {service} at present, and tries again at {until}. When {service} is back, the run continues by itself.",
		FixBy: by(Administrator, Operator),
	},
	"predecessor": {
		What: "An older run for the same customer must end first: {other}.", FixBy: by(Nobody),
		Do: []Step{{Text: "Read what the older run waits for.", Command: "tenantry explain {other}", Request: "GET /v1/runs/{other}"}},
	},
	"late-window": {
		What: "The answer to a call was lost, so the call may still take effect. At {until}, Tenantry verifies the undos, and then ends the" +
			" compensation.",
		FixBy: by(Nobody), Do: watching,
	},
	"operator": {
		What: "An operator must act.", FixBy: by(Operator, Administrator, Merchant),
	},
	"password": {
		What:  "The portal must repeat the call with the same key and the password.",
		Why:   "Tenantry never stores a password. The replica that received this password has ended, or no longer has the password.",
		FixBy: by(Merchant),
		Do: do("Let the portal repeat the call. If the visitor has left, cancel the run. If neither happens, the run is" +
			" compensated after TENANTRY_GIVE_UP_AFTER."),
	},
}

// Meaning says what a run of a workflow means for the user who signs up: while the run may still succeed, when it has failed, and when it has
// succeeded. Each text is a sentence, or empty if it is not known.
type Meaning struct{ Open, Failed, Done string }

// Fault is a failure of a run or step.
type Fault struct {
	Code, Detail, Step, Service string
	FixBy                       Fixer
}

// Run is a run to explain.
type Run struct {
	Facts

	State      string
	Kind       string  // the kind of reason for which the run waits, or empty
	Reason     *Fault  // why the run waits, or is stuck
	Cause      *Fault  // why the run has failed
	Refused    []Fault // the undos that were refused
	Again      *Fault  // the error of an attempt that is being repeated at present
	Attention  bool    // the run needs a person: it is stuck or held, or has made no progress for a while
	RetriedBy  string
	LeftBehind int
	Actions    []string // the actions that the reader may request
	Skippable  []string // steps that an operator would skip: the refused undos, or the failed optional step
	Meaning    Meaning
}

// OfRun explains a run.
func OfRun(r Run, to Reader) Explanation {
	x := Explanation{FixBy: Nobody}
	fault := r.Fault()
	if fault != nil {
		r.Step, r.Service, x.FixBy = cmp.Or(fault.Step, r.Step), cmp.Or(fault.Service, r.Service), fault.FixBy
	}
	if x.FixBy == Nobody && r.Attention && !r.ended() {
		x.FixBy = Operator
	}
	if r.RetriedBy != "" {
		r.Other, x.FixBy = r.RetriedBy, Nobody
	}
	e, reason := r.entry(fault), reasons[r.Kind]
	x.What = r.text(sentences(states[r.State].What, r.repeated(), reason.What, e.What))
	x.Why = r.text(sentences(reason.Why, e.Why)) // the errors are added below, because they are no templates
	x.Why = sentences(x.Why, r.errors(fault))
	x.Means = r.means()
	x.Next = r.next(x.FixBy, e, to)
	x.Who = x.FixBy.Who(r.Service)
	return x
}

// Fault returns the failure that the explanation is about: a refused undo, the reason of a wait, the error of the attempt that is being
// repeated, or the cause of the compensation. The result is nil if the run has no failure, or if it has succeeded.
func (r Run) Fault() *Fault {
	switch {
	case r.State == "succeeded":
		return nil
	case len(r.Refused) > 0:
		return &r.Refused[0]
	case r.Reason != nil:
		return r.Reason
	case r.Again != nil:
		return r.Again
	}
	return r.Cause
}

// The method `errors` quotes the errors of the run. It quotes the error of each refused undo, or, if there is none, the failure that
// matters most. It also quotes the cause, if the cause is another failure.
func (r Run) errors(first *Fault) string {
	var all []string
	switch {
	case len(r.Refused) > 0:
		for _, f := range r.Refused {
			all = append(all, f.excerpt())
		}
	case first != nil && !r.saidByKind():
		all = append(all, first.excerpt())
	}
	if r.Cause != nil && first != r.Cause {
		all = append(all, "Before that, the run failed. "+r.Cause.excerpt())
	}
	return sentences(all...)
}

// saidByKind reports whether the kind of the reason says the same as its code and its detail.
func (r Run) saidByKind() bool {
	return r.Kind == "predecessor" || r.Kind == "late-window" || r.Kind == "password"
}

// The method `entry` returns the entry of the failure's code. If the reason says the same as the code, the result is empty.
func (r Run) entry(fault *Fault) Entry {
	if fault == nil || r.saidByKind() {
		return Entry{}
	}
	e, known := failures[fault.Code]
	if !known {
		e.What = "This release does not know the code " + strings.NewReplacer("{", "(", "}", ")").Replace(Quote(fault.Code)) + "."
	}
	return e
}

func (r Run) repeated() string {
	if r.RetriedBy == "" {
		return ""
	}
	return "Run {other} repeats it."
}

// The method `excerpt` returns the error as a quotation. The detail of some codes is the reason that a person gave.
func (f Fault) excerpt() string {
	what := "The error: "
	switch {
	case f.Code == "held" || f.Code == "cancelled" || f.Code == "compensated-by-operator":
		what = "The reason given: "
	case f.Step != "":
		what = "The error of the step " + Line(f.Step) + ": "
	}
	if f.Detail == "" {
		return ""
	}
	return what + Quote(f.Detail) + "."
}

func (r Run) ended() bool { return r.State == "succeeded" || r.State == "compensated" }

// The method `means` says what the run means for the user.
func (r Run) means() string {
	rest := ""
	switch {
	case r.State == "succeeded":
		return r.Meaning.Done
	case r.State == "compensated" && r.LeftBehind > 0:
		rest = fmt.Sprintf("Objects that the run made are left behind: %d. The field left_behind of the run lists them.", r.LeftBehind)
	case r.State == "compensated":
		rest = "Nothing that the run made is left."
	case r.State == "stuck" || r.Kind == "operator":
		rest = "Further requests about the same customer wait for this run."
	}
	if r.Cause == nil && r.State != "stuck" {
		return sentences(r.Meaning.Open, rest)
	}
	return sentences(r.Meaning.Failed, rest)
}

// The method `next` returns the next steps.
func (r Run) next(fixBy Fixer, e Entry, to Reader) []Step {
	if r.RetriedBy != "" {
		return r.steps(to, []Step{{Text: "Read the run that repeats this run.", Command: "tenantry explain {other}", Request: "GET /v1/runs/{other}"}})
	}
	if r.ended() && fixBy == Nobody {
		return nil
	}
	if to == ForPortal {
		return r.steps(to, r.ofPortal(fixBy, e))
	}
	var all []Step
	switch {
	case r.State == "compensated" && fixBy == User: // only the user has another password or name
		return r.steps(to, append(slices.Clone(e.Do), Step{Text: "Let the portal send the request again, with a new Idempotency-Key."}))
	case len(reasons[r.Kind].Do) > 0:
		all = reasons[r.Kind].Do
	case fixBy != Nobody:
		all = e.Do
	case r.Kind == "":
		all = states[r.State].Do
	}
	if len(all) == 0 && r.Attention {
		all = []Step{{Text: "Read the history: which attempts have failed, and why?", Command: "tenantry runs events {run}"}}
	}
	return append(r.steps(to, all), r.Acts(to)...)
}

// ofPortal returns what a portal does about a run that has not succeeded. A portal can repair only what the merchant or the user can repair.
func (r Run) ofPortal(fixBy Fixer, e Entry) []Step {
	var all []Step
	mine := fixBy == Merchant || fixBy == User
	if mine {
		all = append(all, e.Do...)
	}
	switch {
	case r.Kind == "password":
		all = append(all, Step{Text: "Repeat the call with the same Idempotency-Key and the password."})
	case r.State == "compensated" && mine:
		all = append(all, Step{Text: "Then send the request again, with a new Idempotency-Key."})
	case r.State == "compensated":
		all = append(all, Step{Text: "Ask an operator to repeat the run, or send the request again later, with a new Idempotency-Key."})
	case len(reasons[r.Kind].Do) > 0:
		all = append(all, reasons[r.Kind].Do...)
	case r.Kind == "operator" || r.State == "stuck":
		all = append(all, Step{Text: "Wait until an operator has acted.", Request: watching[0].Request})
	default:
		all = append(all, Step{Text: "Wait. There is nothing to do.", Request: watching[0].Request})
	}
	if slices.Contains(r.Actions, "cancel") {
		all = append(all, Step{Text: "If the order is no longer wanted, cancel the run.", Request: "POST /v1/runs/{run}/cancel"})
	}
	return all
}

// Acts returns the commands with which an operator continues or ends a run, the best command first.
func (r Run) Acts(to Reader) []Step {
	var all []Step
	add := func(text, command string, step string) {
		f := r.Facts
		f.Step = step
		all = append(all, f.steps(to, []Step{{Text: text, Command: command}})...)
	}
	can := func(action string) bool { return slices.Contains(r.Actions, action) }
	switch {
	case can("retry") && r.State == "compensated": // with --local, this retry is refused
		to = ForOperator
		add("When the cause is repaired, repeat the order in a new run, with the same key.", "tenantry runs retry {run} --why REASON", "")
	case can("retry") && (r.Kind == "operator" || r.State == "stuck"):
		add("When the cause is repaired, let the run continue.", "tenantry runs retry {run} --why REASON", "")
	case can("retry") && r.Kind != "late-window" && r.Kind != "password":
		add("The run tries again by itself. To let it try now, type this.", "tenantry runs retry {run} --why REASON", "")
	}
	if can("skip") {
		for _, step := range r.Skippable {
			text := "Or skip this step, which is optional."
			if r.Cause != nil || r.State == "stuck" {
				text = "Or skip the undo of this step. The object of this step is then left behind."
			}
			add(text, "tenantry runs skip {run} {step} --why REASON", step)
		}
	}
	if can("compensate") && (r.Kind == "operator" || r.Kind == "password" || r.Attention) {
		text := "Or undo the run."
		if r.Reason != nil && strings.HasSuffix(r.Reason.Code, "-blocked") {
			text += " The undo of a step may be refused for the same reason."
		}
		add(text, "tenantry runs compensate {run} --why REASON", "")
	}
	return all
}
