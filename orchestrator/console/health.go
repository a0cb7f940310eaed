package console

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `healthPage` is the content of the page about the health of the service.
type healthPage struct {
	client.Overview

	Now time.Time
}

// AsOf returns the time at which the page was made.
func (h healthPage) AsOf() moment { return moment{h.At, h.Now} }

// The type `check` is a check of a dependency.
type check struct {
	client.CheckResult

	Now time.Time
}

// Changed returns the time at which the status last changed.
func (k check) Changed() moment { return moment{k.Since, k.Now} }

// Checked returns the checks.
func (h healthPage) Checked() (all []check) {
	for _, k := range h.Checks {
		all = append(all, check{k, h.Now})
	}
	return all
}

// SpoolUsed returns the used share of the spool's space, in thousandths.
func (k check) SpoolUsed() int {
	if k.Spool == nil || k.Spool.MaxBytes <= 0 {
		return 0
	}
	return int(min(1000, 1000*k.Spool.Bytes/k.Spool.MaxBytes))
}

// SpoolText writes how full the spool is.
func (k check) SpoolText() string {
	text := fmt.Sprintf("%d posts, %s of %s", k.Spool.Posts, bytesText(k.Spool.Bytes), bytesText(k.Spool.MaxBytes))
	if k.Spool.Draining {
		text += ", being moved to the database"
	}
	return text
}

// bytesText writes a number of bytes with its largest unit.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}

// The type `circuit` is the circuit of an upstream.
type circuit struct {
	client.Circuit

	Now time.Time
}

// State returns the state of the circuit: "open" or "closed".
func (c circuit) State() string {
	if c.Open {
		return "open"
	}
	return "closed"
}

// Opened returns the time at which the circuit was opened.
func (c circuit) Opened() *moment { return maybe(c.Since, c.Now) }

// Trial returns the time at which the next trial is made.
func (c circuit) Trial() *moment { return maybe(c.NextTrialAt, c.Now) }

func maybe(t *time.Time, now time.Time) *moment {
	if t == nil {
		return nil
	}
	return &moment{*t, now}
}

// Breakers returns the circuits of the upstreams.
func (h healthPage) Breakers() (all []circuit) {
	for _, c := range h.Circuits {
		all = append(all, circuit{c, h.Now})
	}
	return all
}

// The type `replica` is a replica in the list.
type replica struct {
	ID    string
	Lease moment
	Own   bool // has made the page
}

// State returns "alive" if the replica may execute runs, and otherwise "lease ended".
func (r replica) State() string {
	if r.Lease.At.Before(r.Lease.Now) {
		return "lease ended"
	}
	return "alive"
}

// Members returns the replicas.
func (h healthPage) Members() (all []replica) {
	for _, r := range h.Replicas {
		all = append(all, replica{r.ID, moment{r.LeaseUntil, h.Now}, r.ID == h.ReplicaID})
	}
	return all
}

// The type `queued` is a row of the list of live runs.
type queued struct {
	client.RunCount

	Now time.Time
}

// Text returns the text of the reason for which the runs wait.
func (q queued) Text() string {
	switch {
	case q.Executing:
		return "a replica executes them"
	case q.Due:
		return "they wait for a replica"
	case q.Reason == nil:
		return "they are started soon"
	}
	if text := reasonTexts[string(*q.Reason)]; text != "" {
		return text
	}
	return "they wait: " + string(*q.Reason)
}

var reasonTexts = map[string]string{
	"retry": "they wait for their next try", "upstream": "they wait for Keystone or BillingStack", "predecessor": "they wait for an older run of the same customer",
	"late-window": "they wait until the late window is over", "operator": "they wait for an operator", "password": "they wait for the portal, which must repeat the call",
}

// Oldest returns the time at which the oldest of the runs was accepted.
func (q queued) Oldest() moment { return moment{q.OldestAt, q.Now} }

// Queue returns the numbers of live runs, by the reason for which they wait.
func (h healthPage) Queue() (all []queued) {
	for _, r := range h.LiveRuns {
		all = append(all, queued{r, h.Now})
	}
	return all
}

// Live returns the number of runs that have not ended.
func (h healthPage) Live() int { return h.those(func(client.RunCount) bool { return true }) }

// Executing returns the number of runs that replicas execute.
func (h healthPage) Executing() int {
	return h.those(func(r client.RunCount) bool { return r.Executing })
}

// WaitForReplica returns the number of runs that wait only for a replica.
func (h healthPage) WaitForReplica() int {
	return h.those(func(r client.RunCount) bool { return r.Due })
}

func (h healthPage) those(count func(client.RunCount) bool) (n int) {
	for _, r := range h.LiveRuns {
		if count(r) {
			n += r.Runs
		}
	}
	return n
}

// The type `followUp` is a run that is started later.
type followUp struct {
	client.FollowUp

	Now time.Time
}

// When returns the time at which the follow-up is due.
func (f followUp) When() moment { return moment{f.DueAt, f.Now} }

// Due returns the first of the follow-ups that are due.
func (h healthPage) Due() []followUp { return h.followUps(h.DueFollowUps) }

// Held returns the first of the follow-ups that are held.
func (h healthPage) Held() []followUp { return h.followUps(h.HeldFollowUps) }

func (h healthPage) followUps(some client.FollowUpCount) (all []followUp) {
	for _, f := range some.First {
		all = append(all, followUp{f, h.Now})
	}
	return all
}

// maxCounted is the number at which the API stops counting.
const maxCounted = 10_000

// The function `counted` writes a number of the overview.
func counted(n int) string {
	if n >= maxCounted {
		return fmt.Sprintf("%d or more", maxCounted)
	}
	return fmt.Sprint(n)
}

func (c *console) healthPage(e echo.Context) (page healthPage, err error) {
	api, err := c.asPerson(e)
	if err != nil {
		return page, err
	}
	answer, err := api.GetOverviewWithResponse(e.Request().Context())
	if err != nil {
		return page, err
	}
	overview, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return page, err
	}
	return healthPage{*overview, c.Now()}, nil
}

func (c *console) health(e echo.Context) error {
	page, err := c.healthPage(e)
	if err != nil {
		return err
	}
	return c.show(e, http.StatusOK, "health", "Health", page)
}

// healthNow answers with the part of the page that changes. The page asks for it every ten seconds.
func (c *console) healthNow(e echo.Context) error {
	page, err := c.healthPage(e)
	if err != nil {
		return err
	}
	var part bytes.Buffer
	if err := c.pages.templates["health"].ExecuteTemplate(&part, "now", page); err != nil {
		return fmt.Errorf("making the part of the page health: %w", err)
	}
	return e.HTMLBlob(http.StatusOK, part.Bytes())
}
