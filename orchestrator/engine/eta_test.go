package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func TestThePaceIsWhatEndedWhileThereWasWork(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pace
	at := func(what string, want float64) {
		t.Helper()
		if got := p.rate(now); got < want*0.9 || got > want*1.1 {
			t.Errorf("%s: %.3f runs a second, want about %.3f", what, got, want)
		}
	}
	run := func(n int, every time.Duration) {
		for range n {
			now = now.Add(every)
			p.ended(now)
		}
	}
	p.work(now, true)
	now = now.Add(time.Hour)
	if got := p.rate(now); got != 0 {
		t.Errorf("before the first run has ended: got %f, want 0", got)
	}
	p = pace{}
	p.work(now, true)
	run(20, 100*time.Millisecond)
	at("after two seconds", 10)
	run(600, 500*time.Millisecond)
	at("slower for five minutes", 2)
	p.work(now, false)
	now = now.Add(8 * time.Hour)
	at("after a quiet night", 2)
	p.work(now, true)
	run(100, 500*time.Millisecond)
	at("in the morning", 2)
	now = now.Add(5 * time.Minute)
	if got := p.rate(now); got > 0.01 {
		t.Errorf("no run has ended for five minutes, but the rate is %f runs a second", got)
	}
}

func TestARunEndsOnceThoseBeforeItHave(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := New(Options{Clock: NewClock(func() time.Time { return now })})
	if in, ok := e.EndsIn(nil); ok {
		t.Errorf("no run has ended yet, but the estimate is %s", in)
	}
	for i := range 4 {
		e.employ(&saga.Run{ID: fmt.Sprint(i)})
	}
	for range 600 {
		now = now.Add(500 * time.Millisecond)
		e.pace.ended(now)
	}
	e.waiting = 36
	for what, c := range map[string]struct {
		run  *saga.Run
		want time.Duration
	}{
		"a leased run":  {&saga.Run{Replica: "r"}, 2 * time.Second},
		"a waiting run": {&saga.Run{}, 20 * time.Second},
		"a new run":     {nil, 20 * time.Second},
	} {
		if got, ok := e.EndsIn(c.run); !ok || got < c.want*9/10 || got > c.want*11/10 {
			t.Errorf("%s ends in %s, %t; want about %s", what, got, ok, c.want)
		}
	}
}
