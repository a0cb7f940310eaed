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
		t.Errorf("before any has ended: %f", got)
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
		t.Errorf("nothing has ended for five minutes, and yet %f a second do", got)
	}
}

func TestARunEndsOnceThoseBeforeItHave(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := New(Options{Clock: NewClock(func() time.Time { return now })})
	if in, ok := e.EndsIn(nil); ok {
		t.Errorf("nothing was measured, and yet it ends in %s", in)
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
		"one under way":     {&saga.Run{Replica: "r"}, 2 * time.Second},
		"one that waits":    {&saga.Run{}, 20 * time.Second},
		"one that may come": {nil, 20 * time.Second},
	} {
		if got, ok := e.EndsIn(c.run); !ok || got < c.want*9/10 || got > c.want*11/10 {
			t.Errorf("%s ends in %s, %t; want about %s", what, got, ok, c.want)
		}
	}
}
