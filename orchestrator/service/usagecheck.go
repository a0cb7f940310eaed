package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

const (
	maxUsageClouds = 100 // the maximum number of clouds that the check `usage` shows
	// overdueAfter is a time after the end of an hour. If the usage of the hour is not computed by this time, the hour is overdue. Usually,
	// the usage is computed after 15 minutes.
	overdueAfter = 2 * time.Hour
	// overdueFor is the time for which a cloud must have overdue hours before the check fails. Late samples make an old hour due for some seconds,
	// and an hour that cannot be computed is tried again after five minutes.
	overdueFor = 5 * time.Minute
)

// The type `usageCheck` checks whether the usage of all hours is computed.
type usageCheck struct {
	watch usage.Watch
	now   func() time.Time

	mu      sync.Mutex
	clouds  []api.CloudUsage
	overdue map[string]time.Time // by cloud: the time since which each check has found an overdue hour
	failure error
}

// The method `check` returns the check for the answer of /readyz.
func (c *usageCheck) check() check {
	return check{name: "usage", ask: c.ask, detail: func(d *api.Dependency) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if shown := c.clouds; shown != nil {
			d.Usage = &shown
		}
	}}
}

// The method `ask` returns an error if a cloud has overdue hours. If the database cannot be read, `ask` returns the result of the last check,
// because the check of the database reports this fault.
func (c *usageCheck) ask(ctx context.Context) error {
	found, err := c.watch.Clouds(ctx, maxUsageClouds)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return c.failure
	}
	now, overdue, failing := c.now(), map[string]time.Time{}, 0
	c.clouds, c.failure = []api.CloudUsage{}, nil
	for _, f := range found {
		shown := api.CloudUsage{Cloud: f.Cloud}
		if !f.Received.IsZero() {
			shown.ReceivedAt = &f.Received
		}
		if !f.Oldest.IsZero() && now.Sub(f.Oldest.Add(time.Hour)) > overdueAfter {
			shown.OverdueHour = &f.Oldest
			since, known := c.overdue[f.Cloud]
			if !known {
				since = now
			}
			overdue[f.Cloud] = since
			if now.Sub(since) >= overdueFor {
				failing++
				if c.failure == nil {
					c.failure = fmt.Errorf("cloud %s: the usage of the hour %s is not computed", f.Cloud, f.Oldest.UTC().Format(time.RFC3339))
				}
			}
		}
		c.clouds = append(c.clouds, shown)
	}
	if failing > 1 {
		c.failure = fmt.Errorf("%w (clouds with such hours: %d)", c.failure, failing)
	}
	c.overdue = overdue
	return c.failure
}
