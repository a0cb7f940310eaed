package service

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The type `watched` returns the states of clouds, or an error.
type watched struct {
	clouds []usage.CloudState
	err    error
}

func (w *watched) Clouds(context.Context, int) ([]usage.CloudState, error) { return w.clouds, w.err }

// The check fails if a cloud has an overdue hour for five minutes, and says so once in the log. An old hour that late samples have made due for a
// moment is no fault.
func TestHoursThatAreNotComputedAreShown(t *testing.T) {
	p, w := newPatient(), &watched{}
	p.own = append(p.own, (&usageCheck{watch: w, now: p.now}).check())
	begin := p.at
	received, hour := begin.Add(-time.Minute), begin.Add(10*time.Second-3*time.Hour)
	idle := usage.CloudState{Cloud: "idle"}
	good := usage.CloudState{Cloud: "default", Received: received, Oldest: hour}
	bad := usage.CloudState{Cloud: "default", Received: received, Oldest: hour.Add(-time.Second)}
	west := usage.CloudState{Cloud: "west", Oldest: hour.Add(-24 * time.Hour)}
	const reason = "cloud default: the usage of the hour 2025-12-31T21:00:09Z is not computed"
	for _, c := range []struct {
		what    string
		after   time.Duration // since the beginning
		clouds  []usage.CloudState
		err     error
		status  api.CheckStatus
		reason  string
		overdue []string // the clouds with overdue hours
		log     []string
	}{
		{"no clouds", 0, nil, nil, api.CheckOK, "", nil, []string{"info usage: ok"}},
		{"an hour ended two hours ago", 10 * time.Second, []usage.CloudState{good, idle}, nil, api.CheckOK, "", nil, nil},
		{"an overdue hour", 20 * time.Second, []usage.CloudState{bad, idle}, nil, api.CheckOK, "", []string{"default"}, nil},
		{"it was computed", 4 * time.Minute, []usage.CloudState{idle}, nil, api.CheckOK, "", nil, nil},
		{"overdue again", 6 * time.Minute, []usage.CloudState{bad, idle}, nil, api.CheckOK, "", []string{"default"}, nil},
		{"for almost five minutes", 11*time.Minute - time.Second, []usage.CloudState{bad, west}, nil, api.CheckOK, "", []string{"default", "west"}, nil},
		{"for five minutes", 11 * time.Minute, []usage.CloudState{bad, west}, nil, api.CheckDown, reason, []string{"default", "west"}, []string{"warn usage: down, " + reason}},
		{"the database is down", 12 * time.Minute, nil, errors.New("away"), api.CheckDown, reason, []string{"default", "west"}, nil},
		{"another cloud, too", 16 * time.Minute, []usage.CloudState{bad, west}, nil, api.CheckDown, reason + " (clouds with such hours: 2)", []string{"default", "west"}, nil},
		{"computed", 20 * time.Minute, []usage.CloudState{idle}, nil, api.CheckOK, "", nil, []string{"info usage: up again after 9m"}},
	} {
		p.at, w.clouds, w.err = begin.Add(c.after), c.clouds, c.err
		p.check(t.Context())
		all := p.report(t.Context())
		d := all[slices.IndexFunc(all, func(d api.Dependency) bool { return d.Name == "usage" })]
		var overdue []string
		for _, shown := range *d.Usage {
			if shown.OverdueHour != nil {
				overdue = append(overdue, shown.Cloud)
			}
		}
		log := slices.DeleteFunc(p.logged(), func(line string) bool { return !strings.Contains(line, " usage: ") })
		if d.Status != c.status || d.Reason != c.reason || d.Needed || !slices.Equal(overdue, c.overdue) || !slices.Equal(log, c.log) {
			t.Errorf("%s: got %s %q, overdue %q, log %q", c.what, d.Status, d.Reason, overdue, log)
		}
		if c.what == "overdue again" {
			want := []api.CloudUsage{{Cloud: "default", ReceivedAt: &received, OverdueHour: &bad.Oldest}, {Cloud: "idle"}}
			if !reflect.DeepEqual(*d.Usage, want) {
				t.Errorf("shown are %+v, want %+v", *d.Usage, want)
			}
		}
	}
}
