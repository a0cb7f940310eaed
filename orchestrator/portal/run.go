package portal

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// longestWait is the maximum time, in seconds, for which a request waits for a change of a run.
const longestWait = 20

// The type `progress` is the content of the page of a run.
type progress struct {
	ID           string
	What         string // in the words of a visitor
	Subscription string // the id; empty while it is not known
	Steps        []step
	State        string // running, done, undone or stopped
	Text         string // what the state means for the user
	Seen         string // the ETag of the run
}

// The type `step` is a step of a run. State is one of stepStates.
type step struct{ Text, State string }

// Running reports whether the page should follow the run.
func (p progress) Running() bool { return p.State == "running" }

// The method `watch` shows a run of the user. The script of the page follows the run; without scripts, the browser loads the page again and again.
func (p *portal) watch(w http.ResponseWriter, r *http.Request) error {
	found, err := p.run(r, &client.GetRunParams{})
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, "run", found.What, found)
}

// The method `steps` waits until the run differs from what the page shows, and answers with the new part of the page. It reads the run before it
// waits, because the answer 304 to a wait does not say whose run it is. Besides, a request for a run that has ended must not hold a place for
// waiting.
func (p *portal) steps(w http.ResponseWriter, r *http.Request) error {
	found, err := p.run(r, &client.GetRunParams{})
	if err != nil {
		return err
	}
	if found.Running() && found.Seen == r.URL.Query().Get("seen") {
		u, _ := p.userOf(r)
		leave, ok := p.waits.take(u.ID)
		if !ok {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
			return nil
		}
		defer leave()
		found, err = p.run(r, &client.GetRunParams{Wait: new(longestWait), IfNoneMatch: &found.Seen})
	}
	if errors.Is(err, errUnchanged) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	return p.part(w, r, "run", "progress", found)
}

// maxWaits is the maximum number of pages of one user that wait at the API. The API has a limit for the merchant, which all users share.
const maxWaits = 6

// The type `waits` counts the requests that wait, by the ids of the users.
type waits struct {
	mu sync.Mutex
	of map[string]int
}

// The method `take` takes a place for a request of a user. Call `leave` when the request has ended. If the user has no place left, ok is false.
func (w *waits) take(user string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string]int{}
	}
	if w.of[user] >= maxWaits {
		return nil, false
	}
	w.of[user]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.of[user]--; w.of[user] == 0 {
			delete(w.of, user)
		}
	}, true
}

// The method `run` reads a run of the user. The error is errUnchanged if the run still has the ETag in the parameters.
func (p *portal) run(r *http.Request, params *client.GetRunParams) (*progress, error) {
	id := r.PathValue("run")
	if !isUUID(id) {
		return nil, errNotFound
	}
	found, header, err := read[client.Run](p.api.GetRun(r.Context(), id, params))
	if err != nil {
		return nil, err
	}
	u, _ := p.userOf(r)
	if value(found.UserID) != u.ID { // the API shows a portal the runs of all users of its merchant
		return nil, errNotFound
	}
	made := viewRun(&found)
	made.Seen = header.Get("ETag")
	return &made, nil
}

// What the runs of the workflows do, in the words of a visitor.
var deeds = map[string]string{
	"subscribe": "Your new subscription", "unsubscribe": "Ending your subscription", "restore": "Restoring your subscription",
	"change-plan": "Changing your plan",
}

func viewRun(found *client.Run) progress {
	made := progress{ID: found.ID, What: deeds[found.Workflow], State: "running", Text: "This takes a few seconds. You can close this page: the work goes on."}
	if made.What == "" {
		made.What = "Your order"
	}
	if id, ok := found.Result["subscription_id"].(string); ok {
		made.Subscription = id
	}
	for _, s := range found.Steps {
		skipped := s.State == client.StepStateSkipped // the step has nothing to do for this order
		never := s.State == client.StepStatePending && found.State == client.RunStateCompensated
		if !skipped && !never {
			made.add(step{stepText(s.Name), stepState(s.State)})
		}
	}
	switch {
	case found.State == client.RunStateSucceeded:
		made.State, made.Text = "done", "Everything is done."
	case found.State == client.RunStateCompensated:
		made.State, made.Text = "undone", compensated("")
		if found.Cause != nil {
			made.Text = compensated(found.Cause.Code)
		}
	case found.AtRest:
		made.State, made.Text = "stopped", "We have to look at this ourselves. You do not have to do anything. Open this page again later."
	case found.State == client.RunStateCompensating:
		made.Text = "Something did not work. All changes are being undone."
	case found.State == client.RunStateWaiting:
		made.Text = "This takes longer than usual. You can close this page: the work goes on."
	}
	return made
}

// The states of steps, sorted by the attention that they need.
var stepStates = []string{"done", "undone", "waiting", "running", "failed"}

// The method `add` adds a step. Steps with the same text are shown as one step: for example, the steps of all roles. Of the states of these
// steps, the step is shown with the one that comes last in stepStates.
func (p *progress) add(s step) {
	for i, other := range p.Steps {
		if other.Text == s.Text {
			if slices.Index(stepStates, s.State) > slices.Index(stepStates, other.State) {
				p.Steps[i] = s
			}
			return
		}
	}
	p.Steps = append(p.Steps, s)
}

func stepState(s client.StepState) string {
	switch s {
	case client.StepStatePending:
		return "waiting"
	case client.StepStateSucceeded, client.StepStateSkipped:
		return "done"
	case client.StepStateFailed, client.StepStateUndoFailed:
		return "failed"
	case client.StepStateUndone:
		return "undone"
	case client.StepStateRunning, client.StepStateUnknown, client.StepStateUndoing:
		return "running"
	}
	return "running" // a state of a later release
}

// The texts of the steps that users see most often. The part of a name after a slash is a detail, such as a role.
var stepTexts = map[string]string{ //nolint:gosec // no passwords
	"check":                      "Check the order",
	"create-customer":            "Open your customer account",
	"create-customer-tenant":     "Prepare your customer account in the cloud",
	"assign-customer-role":       "Give you access to your customer account",
	"scope-token":                "Log you in to your customer account",
	"create-subscription":        "Book the plan",
	"create-subscription-tenant": "Create your project in the cloud",
	"assign-subscription-role":   "Give you access to your project",
	"attach-tenant":              "Connect your project with your bill",
}

// stepText returns the text of a step. A step that has no text is shown by its name, so that a new workflow needs no change here.
func stepText(name string) string {
	name, _, _ = strings.Cut(name, "/")
	if text := stepTexts[name]; text != "" {
		return text
	}
	words := strings.ReplaceAll(name, "-", " ")
	if words == "" {
		return "Step"
	}
	return strings.ToUpper(words[:1]) + words[1:]
}
