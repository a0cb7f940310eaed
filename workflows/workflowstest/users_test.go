package workflowstest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The function `registrationRun` returns a succeeded run that registers a user with this name.
func registrationRun(t *testing.T, id, name string) *saga.Run {
	t.Helper()
	input, err := json.Marshal(workflows.Registration{NewUser: workflows.NewUser{Name: name}, DomainID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	return &saga.Run{ID: id, Workflow: workflows.RegisterName, Input: input, State: saga.Succeeded}
}

func TestTheUsersOfRegistrationsAreChecked(t *testing.T) {
	kept := []saga.LeftBehind{{Step: "create-user"}}
	own := func(id, name, run string) keystone.User {
		return keystone.User{ID: id, Name: name, DomainID: "default", Enabled: true, RunID: run}
	}
	for what, c := range map[string]struct {
		change func(ada, eve *saga.Run, s *Seen)
		broken int
	}{
		"one user each": {func(_, _ *saga.Run, _ *Seen) {}, 0},
		"no user":       {func(_, _ *saga.Run, s *Seen) { s.Now.Users = s.Now.Users[1:] }, 1},
		"two users of a run": {func(_, _ *saga.Run, s *Seen) {
			s.Now.Users = append(s.Now.Users, own("3", "ADA", "ada"))
		}, 3}, // the name is wrong, there are two users, and their names differ only in case
		"another name":                {func(_, _ *saga.Run, s *Seen) { s.Now.Users[0].Name = "zoe" }, 1},
		"the mark of another run":     {func(_, _ *saga.Run, s *Seen) { s.Now.Users[0].RunID = "foreign" }, 1},
		"a user of a compensated run": {func(ada, _ *saga.Run, _ *Seen) { ada.State = saga.Compensated }, 1},
		"a user who was left behind":  {func(ada, _ *saga.Run, _ *Seen) { ada.State, ada.LeftBehind = saga.Compensated, kept }, 0},
		"a user who is ignored": {func(ada, _ *saga.Run, s *Seen) {
			ada.State, s.ByHand = saga.Compensated, []saga.ObjectRef{{Kind: user, ID: "1"}}
		}, 0},
		"names that differ only in case": {func(_, eve *saga.Run, s *Seen) {
			s.Now.Users[1].Name, eve.Input = "ADA", registrationRun(t, "eve", "ADA").Input
		}, 1},
		"one of these users was left behind": {func(_, eve *saga.Run, s *Seen) {
			s.Now.Users[1].Name, eve.Input = "ADA", registrationRun(t, "eve", "ADA").Input
			eve.State, eve.LeftBehind = saga.Compensated, kept
		}, 0},
		"an event about a user who was not left behind": {func(ada, _ *saga.Run, s *Seen) {
			s.Events = map[string][]saga.Event{ada.ID: {{Kind: saga.EventUserKept}}}
		}, 1},
	} {
		ada, eve := registrationRun(t, "ada", "ada"), registrationRun(t, "eve", "eve")
		s := Seen{Runs: []*saga.Run{ada, eve}, Now: Outside{Users: []keystone.User{own("1", "ada", "ada"), own("2", "eve", "eve")}}}
		c.change(ada, eve, &s)
		v, _ := newView(s)
		var broken []string
		users(v, func(_, detail string, _ ...string) { broken = append(broken, detail) })
		if len(broken) != c.broken {
			t.Errorf("%s: got %d violations, want %d: %q", what, len(broken), c.broken, broken)
		}
	}
}

// A user with the mark of an unknown run is an orphan.
func TestAUserWithoutItsRunIsAnOrphan(t *testing.T) {
	s := Seen{
		Runs: []*saga.Run{registrationRun(t, "ada", "ada")},
		Now:  Outside{Users: []keystone.User{{ID: "1", Name: "ada", RunID: "ada"}, {ID: "2", Name: "eve", RunID: "unknown"}, {ID: "3", Name: "zoe"}}},
	}
	v, _ := newView(s)
	var orphans []string
	noOrphan(v, func(_, _ string, objects ...string) { orphans = append(orphans, objects...) })
	if want := []string{"user 2", "eve"}; !slices.Equal(orphans, want) {
		t.Errorf("got %q, want %q", orphans, want)
	}
}
