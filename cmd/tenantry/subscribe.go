package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const subscribeHelp = `Subscribes the user of a token to a plan, as a merchant's portal does, and shows the steps until the run rests.
The user's unscoped Keystone token is TENANTRY_USER_TOKEN, or the first line of standard input.

Without --key each call is a new order; with the same --key it is always the same one.

` + connectHelp + exitHelp

func (p *program) subscribe() *cobra.Command {
	c := &cobra.Command{
		Use:   "subscribe --merchant ID --plan ID (--name NAME --currency eur --language eng | --customer ID)",
		Short: "Subscribe a user to a plan", Long: subscribeHelp, Args: exactly(),
	}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "who sells: BillingStack's id")
	plan := flags.String("plan", "", "what is bought: BillingStack's id")
	name := flags.String("name", "", "of a new customer")
	currency := flags.String("currency", "", "of a new customer, as eur")
	language := flags.String("language", "", "of a new customer, as eng")
	customer := flags.String("customer", "", "the id of a customer who is there already")
	addUser := flags.Bool("add-user", false, "with --customer, take a user who has no role on the customer's tenant yet")
	paymentMethod := flags.String("payment-method", "", "BillingStack's id")
	billingDay := flags.Int("billing-day", 0, "1 to 31")
	key := flags.String("key", "", "the idempotency key; made up if empty")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *merchant == "" || *plan == "" || (*customer == "") == (*name == "") {
			return usage("--merchant, --plan and either --name or --customer are needed")
		}
		body := client.SubscribeRequest{
			PlanID: *plan, CustomerID: some(*customer), AddUser: some(*addUser), PaymentMethodID: some(*paymentMethod),
			BillingDay: some(*billingDay),
		}
		if *name != "" {
			body.Customer = &client.NewCustomer{Name: *name, Currency: *currency, Language: *language}
		}
		s, err := p.asPortal()
		if err != nil {
			return err
		}
		token, err := p.userToken()
		if err != nil {
			return err
		}
		if *key == "" {
			*key = uuid.NewString()
			p.say("idempotency key %s", *key)
		}
		run, err := s.order(cmd.Context(), *merchant, *key, token, body)
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, run.ID, *f)
	}
	return c
}

// order sends a subscribe call that does not wait.
func (s remote) order(ctx context.Context, merchant, key, token string, body client.SubscribeRequest) (client.Run, error) {
	answer, err := s.SubscribeWithResponse(ctx, merchant, &client.SubscribeParams{
		IdempotencyKey: `"` + key + `"`, XSubjectToken: token, Prefer: some("respond-async"),
	}, body)
	switch {
	case err != nil:
		return client.Run{}, unsent(ctx, err)
	case answer.JSON201 != nil:
		return *answer.JSON201, nil
	case answer.JSON202 != nil:
		return *answer.JSON202, nil
	}
	return client.Run{}, problemError(answer.StatusCode(), answer.Body)
}

// userToken reads the user's token where it is in no list of processes and no history of a shell.
func (p *program) userToken() (string, error) {
	token := variables(p.environ)[envUserToken]
	if token == "" {
		first, err := bufio.NewReader(io.LimitReader(p.in, http.DefaultMaxHeaderBytes)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		token = strings.TrimSpace(first)
	}
	if token == "" {
		return "", usage("the user's token is neither in %s nor on standard input", envUserToken)
	}
	return token, nil
}

// watch shows the run until it rests, and what has come of it. Where the result is for a program, the steps go to the
// standard error.
func (p *program) watch(ctx context.Context, s remote, runID string, f format) error {
	steps := p.out
	if f != asTable {
		steps = p.err
	}
	run, err := s.follow(ctx, runID, drawing(steps))
	if err != nil {
		return err
	}
	if err := f.print(p.out, run, func(w io.Writer) { resultTable(w, run) }); err != nil {
		return err
	}
	return outcome(run)
}
