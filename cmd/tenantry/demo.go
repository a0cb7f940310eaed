package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const demoHelp = `Send an order for a subscription, the same order again, and an order that fails and is compensated. Everything runs in this process:
an in-memory Keystone, the embedded BillingStack, and SQLite in a temporary directory, which is removed at the end.

` + exitHelp

func (p *program) demo() *cobra.Command {
	c := &cobra.Command{Use: "demo", Short: "Show how subscriptions work, with all services in one process", Long: demoHelp, Args: exactly()}
	keep := c.Flags().Bool("keep", false, "keep running at the end, and print curl commands for portal, operator and admin")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.play(cmd.Context(), *keep)
	}
	return c
}

// The constant `unlucky` is the name of the customer whose subscription BillingStack refuses to change.
const unlucky = "Bob"

// The method `play` runs the demo. If keep is true, `play` waits after the demo until ctx is canceled.
func (p *program) play(ctx context.Context, keep bool) (err error) {
	pace := time.Duration(0)
	if terminal(p.out) {
		pace = 150 * time.Millisecond // slow enough to watch
	}
	s, err := newStage(ctx, pace, func(c billing.Customer) bool { return c.Name == unlucky })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	t := &story{stage: s, out: p.out, draw: p.demoDrawing}
	switch err := t.tell(ctx); {
	case err != nil:
		return err
	case !keep:
		t.line("\nThe demo ends and removes its data.\nTo keep it running, use --keep (make demo KEEP=1).")
		return nil
	}
	t.keepHelp()
	<-ctx.Done()
	t.line("Stopping.")
	return nil
}

// demoDrawing returns a function that draws a run. The function limits lines to 80 characters if the output is not a terminal.
func (p *program) demoDrawing() func(client.Run) {
	if terminal(p.out) {
		return drawing(p.out)
	}
	return (&journal{w: p.out, seen: map[string]string{}, width: 80}).draw
}

// The type `story` is one execution of the demo.
type story struct {
	*stage
	out      io.Writer
	draw     func() func(client.Run)
	operator remote
	firstRun string
}

func (t *story) line(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

func (t *story) tell(ctx context.Context) error {
	token, err := clouds.Login(ctx, t.admin())
	if err != nil {
		return err
	}
	if t.operator, err = dial(t.URL, withToken(token)); err != nil {
		return err
	}
	t.line(`Tenantry's demo: all services run in this one process.

  $API          %s, the orchestrator
  Keystone      %s, in memory
  BillingStack  %s, embedded
  $MERCHANT     %s, %s,
                which sells the plans small and large`, t.URL, t.keystoneURL, t.BillingURL, t.merchant.ID, t.merchant.Name)
	if err := t.success(ctx); err != nil {
		return err
	}
	return t.failure(ctx)
}

// The method `success` sends Ann's order, which succeeds, and then repeats the order.
func (t *story) success(ctx context.Context) error {
	call := subscription{plan: t.plans[0].ID, customer: "Ann", key: uuid.NewString()}
	user := t.keystone.AddUser(keystonetest.User{Name: "ann", Password: demoPassword})
	t.line("\n1. Ann buys the plan \"small\". The merchant's portal has Ann's unscoped token\n   and sends this order:\n\n%s\n", call.curl("  "))
	token, err := t.login(ctx, "ann")
	if err != nil {
		return err
	}
	began := time.Now()
	first, run, err := t.watched(ctx, call, token, user)
	if err != nil {
		return err
	}
	t.line("\n   %d %s after %d ms, with a scoped token for Ann in X-Subject-Token.\n   Read back from Keystone and BillingStack:\n",
		first.status, http.StatusText(first.status), time.Since(began).Milliseconds())
	t.firstRun = run.ID
	if first.status != http.StatusCreated {
		return fmt.Errorf("the API answered Ann's order with status %d: %s", first.status, first.body)
	}
	if err := t.everythingIsThere(ctx, run, user, first.header.Get("X-Subject-Token")); err != nil {
		return err
	}

	t.line("\n2. The portal has lost the answer, and sends the same order again:\n")
	again, err := t.subscribe(ctx, call, token)
	if err != nil {
		return err
	}
	t.line("   %d %s, Idempotency-Replayed: %s\n", again.status, http.StatusText(again.status), again.header.Get("Idempotency-Replayed"))
	if err := t.check(again.equal(first) && again.header.Get("Idempotency-Replayed") == "true", "the second answer equals the first, byte for byte"); err != nil {
		return err
	}
	return t.oneOfEach(ctx, run)
}

// The method `failure` sends Bob's order, which fails at the last step.
func (t *story) failure(ctx context.Context) error {
	call := subscription{plan: t.plans[1].ID, customer: unlucky, key: uuid.NewString()}
	user := t.keystone.AddUser(keystonetest.User{Name: "bob", Password: demoPassword})
	t.line("\n3. Bob buys the plan \"large\". BillingStack refuses the last step, which\n" +
		"   attaches Bob's tenant to his subscription. The run is compensated:\n")
	token, err := t.login(ctx, "bob")
	if err != nil {
		return err
	}
	got, run, err := t.watched(ctx, call, token, user)
	if err != nil {
		return err
	}
	var problem client.Problem
	if err := got.into(&problem); err != nil {
		return err
	}
	t.line("\n   %d %s: %s:\n%s\n\n   Read back from Keystone and BillingStack:\n", got.status, http.StatusText(got.status), problem.Title,
		wrap(valueOf(problem.Step)+": "+valueOf(problem.Detail), "     ", 80))
	if got.status != http.StatusConflict || run.State != client.RunStateCompensated {
		return fmt.Errorf("the API answered Bob's order with status %d: %s", got.status, got.body)
	}
	return t.nothingIsLeft(ctx, run, user)
}

// The method `watched` sends an order with the portal's API key. While the portal waits for the answer, `watched` uses the
// operator's credential to find the run, and draws the run.
func (t *story) watched(ctx context.Context, c subscription, token, user string) (got answer, run client.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		if got, err = t.subscribe(ctx, c, token); err == nil && got.header.Get("Location") == "" && got.status != http.StatusConflict {
			err = fmt.Errorf("the API answered the order with status %d: %s", got.status, got.body)
		}
		if err != nil {
			cancel() // there is no run to find
		}
		done <- err
	}()
	id, err := t.find(ctx, user)
	if err == nil {
		run, err = t.operator.follow(ctx, id, t.draw())
	}
	if called := <-done; called != nil {
		return got, run, called
	}
	return got, run, err
}

// The method `find` waits until the user has a run, and returns the run's id.
func (t *story) find(ctx context.Context, user string) (id string, err error) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		found, err := t.operator.ListRunsWithResponse(ctx, &client.ListRunsParams{User: &user})
		switch {
		case err != nil:
			return "", err
		case found.JSON200 == nil:
			return "", problemError(found.StatusCode(), found.Body)
		case len(found.JSON200.Runs) > 0:
			return found.JSON200.Runs[0].ID, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-look.C:
		}
	}
}
