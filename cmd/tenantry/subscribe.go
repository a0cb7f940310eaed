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

const subscribeHelp = `Subscribe a user to a plan, as a merchant's portal does, and show the steps until the run ends or needs an operator.
The user's unscoped Keystone token comes from TENANTRY_USER_TOKEN, or is the first line of standard input.

Without --key, each call is a new order. Calls with the same --key are the same order. With --dry-run, the command only shows what
each step would do, and changes nothing.

` + connectHelp + exitHelp

func (p *program) subscribe() *cobra.Command {
	c := &cobra.Command{
		Use:   "subscribe --merchant ID --plan ID (--name NAME --currency eur --language eng | --customer ID)",
		Short: "Subscribe a user to a plan", Long: subscribeHelp, Args: exactly(),
	}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "id of the merchant in BillingStack (required)")
	plan := flags.String("plan", "", "id of the plan in BillingStack (required)")
	name := flags.String("name", "", "name of a new customer, 1 to 60 characters")
	currency := flags.String("currency", "", "currency of a new customer, such as eur (default: the merchant's)")
	language := flags.String("language", "", "language of a new customer, such as eng (default: the merchant's)")
	customer := flags.String("customer", "", "id of an existing customer")
	addUser := flags.Bool("add-user", false, "with --customer: accept a user who has no role on the customer tenant")
	paymentMethod := flags.String("payment-method", "", "id of the payment method in BillingStack")
	billingDay := flags.Int("billing-day", 0, "day of the month for billing, 1 to 31")
	key := flags.String("key", "", "idempotency key, 1 to 255 characters (default a new uuid)")
	dryRun, f := dryRunFlag(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *merchant == "" || *plan == "" || (*customer == "") == (*name == "") {
			return usage("--merchant, --plan and either --name or --customer are required")
		}
		if err := checkID("merchant", *merchant); err != nil {
			return err
		}
		body := client.SubscribeRequest{
			PlanID: *plan, CustomerID: some(*customer), AddUser: some(*addUser), PaymentMethodID: some(*paymentMethod),
			BillingDay: some(*billingDay), DryRun: some(*dryRun),
		}
		if *name != "" {
			body.Customer = &client.NewCustomer{Name: *name, Currency: some(*currency), Language: some(*language)}
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
			if !*dryRun {
				p.say("the order's idempotency key is %s", *key)
			}
		}
		answer, err := s.order(cmd.Context(), *merchant, *key, token, body)
		if err != nil {
			return err
		}
		if *dryRun {
			return p.foresee(*f, answer.StatusCode(), answer.Body)
		}
		run, err := ordered(answer)
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, run.ID, *f)
	}
	return c
}

// The method `order` sends an order. It does not wait until the order's run has ended.
func (s remote) order(ctx context.Context, merchant, key, token string, body client.SubscribeRequest) (*client.SubscribeResponse, error) {
	answer, err := s.SubscribeWithResponse(ctx, merchant, &client.SubscribeParams{
		IdempotencyKey: `"` + key + `"`, XSubjectToken: &token, Prefer: async,
	}, body)
	if err != nil {
		return nil, unsent(ctx, err)
	}
	return answer, nil
}

// The function `ordered` returns the run in the server's answer to an order.
func ordered(answer *client.SubscribeResponse) (client.Run, error) {
	if answer.JSON201 != nil {
		return theRun(answer.JSON201, answer.StatusCode(), answer.Body)
	}
	return theRun(answer.JSON202, answer.StatusCode(), answer.Body)
}

// userToken reads the user's token. The token is not an argument, because process lists and shell histories show arguments.
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
		return "", usage("the user's token is missing: set %s, or write the token to standard input", envUserToken)
	}
	return token, nil
}

// The method `watch` shows the steps of a run until the run has ended or needs an operator, and then prints the result of the run.
// If the user wants the result as JSON or YAML, `watch` writes the steps to standard error.
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
