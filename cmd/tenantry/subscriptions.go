package main

import (
	"context"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) subscriptions() *cobra.Command {
	return group("subscriptions", "Show subscriptions, suspend and resume them",
		"Show the subscriptions of a merchant, suspend and resume them. A portal uses its merchant's API key; an operator may use any\nmerchant.\n\n"+
			connectHelp+exitHelp,
		p.subscriptionsList(), p.subscriptionsShow(),
		p.subscriptionsChange("suspend", "Disable the tenant of a subscription; its servers go on running", suspend),
		p.subscriptionsChange("resume", "Enable the tenant of a suspended subscription", resume))
}

// merchantFlag adds the flag --merchant, which every command needs.
func merchantFlag(c *cobra.Command) *string {
	return c.Flags().String("merchant", "", "id of the merchant in BillingStack (required)")
}

func checkMerchant(id string) error {
	if id == "" {
		return usage("--merchant is required")
	}
	return checkID("merchant", id)
}

func (p *program) subscriptionsList() *cobra.Command {
	c := &cobra.Command{
		Use: "list --merchant ID", Short: "List subscriptions, sorted by id", Args: exactly(),
		Long: "List a page of a merchant's subscriptions, sorted by id. The next page begins after --marker ID.\n\n" + connectHelp,
	}
	merchant := merchantFlag(c)
	customer := c.Flags().String("customer", "", "only subscriptions of this customer")
	limit := c.Flags().Int("limit", 50, "maximum number of subscriptions, 1 to 200")
	marker := c.Flags().String("marker", "", "id of the last subscription on the previous page")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkMerchant(*merchant); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.ListSubscriptionsWithResponse(cmd.Context(), *merchant, &client.ListSubscriptionsParams{
			Customer: some(*customer), Limit: some(*limit), Marker: some(*marker),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theSubscriptions(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return f.print(p.out, page, func(w io.Writer) { subscriptionsTable(w, page.Subscriptions) })
	}
	return c
}

func (p *program) subscriptionsShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show SUBSCRIPTION --merchant ID", Short: "Show a subscription", Args: exactly("SUBSCRIPTION"),
		Long: "Show a subscription, with its state and the run that left it so.\n\n" + connectHelp,
	}
	merchant, f := merchantFlag(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkSubscription(*merchant, args[0]); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.GetSubscriptionWithResponse(cmd.Context(), *merchant, args[0])
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		if answer.JSON200 == nil {
			return problemError(answer.StatusCode(), answer.Body)
		}
		one := []client.BilledSubscription{*answer.JSON200}
		if _, err := theSubscriptions(&client.SubscriptionList{Subscriptions: one}, answer.StatusCode(), answer.Body); err != nil {
			return err
		}
		return f.print(p.out, one[0], func(w io.Writer) { subscriptionsTable(w, one) })
	}
	return c
}

func checkSubscription(merchant, id string) error {
	if err := checkMerchant(merchant); err != nil {
		return err
	}
	return checkID("subscription", id)
}

// change asks the server to change a subscription, and returns the run without waiting for its end.
type change func(ctx context.Context, s remote, merchant, id, key, why string) (client.Run, error)

func suspend(ctx context.Context, s remote, merchant, id, key, why string) (client.Run, error) {
	answer, err := s.SuspendSubscriptionWithResponse(ctx, merchant, id, &client.SuspendSubscriptionParams{
		IdempotencyKey: `"` + key + `"`, Prefer: some("respond-async"),
	}, client.ActionRequest{Why: why})
	if err != nil {
		return client.Run{}, unsent(ctx, err)
	}
	return theRun(either(answer.JSON201, answer.JSON202), answer.StatusCode(), answer.Body)
}

func resume(ctx context.Context, s remote, merchant, id, key, why string) (client.Run, error) {
	answer, err := s.ResumeSubscriptionWithResponse(ctx, merchant, id, &client.ResumeSubscriptionParams{
		IdempotencyKey: `"` + key + `"`, Prefer: some("respond-async"),
	}, client.ActionRequest{Why: why})
	if err != nil {
		return client.Run{}, unsent(ctx, err)
	}
	return theRun(either(answer.JSON201, answer.JSON202), answer.StatusCode(), answer.Body)
}

// either returns the run of an answer: of the status 201 if there is one, else of the status 202.
func either(ended, accepted *client.Run) *client.Run {
	if ended != nil {
		return ended
	}
	return accepted
}

func (p *program) subscriptionsChange(name, short string, ask change) *cobra.Command {
	c := &cobra.Command{
		Use: name + " SUBSCRIPTION --merchant ID --why REASON", Short: short, Args: exactly("SUBSCRIPTION"),
		Long: short + ".\nThe command shows the steps until the run ends or needs an operator. The run's history records the reason.\n\n" +
			"Without --key, each call is a new request. Calls with the same --key are the same request.\n\n" + connectHelp + exitHelp,
	}
	merchant := merchantFlag(c)
	why := c.Flags().String("why", "", "the reason, which the run's history records (required)")
	key := c.Flags().String("key", "", "idempotency key, 1 to 255 characters (default a new uuid)")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkSubscription(*merchant, args[0]); err != nil {
			return err
		}
		if *why == "" {
			return usage("--why is required")
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		if *key == "" {
			*key = uuid.NewString()
			p.say("the request's idempotency key is %s", *key)
		}
		run, err := ask(cmd.Context(), s, *merchant, args[0], *key, *why)
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, run.ID, *f)
	}
	return c
}

func subscriptionsTable(w io.Writer, all []client.BilledSubscription) {
	row(w, "ID", "STATE", "CUSTOMER", "PLAN", "TENANT", "RUN")
	for _, s := range all {
		state, run := "-", "-"
		if s.State != nil {
			state = *s.State
		}
		if s.SuspendedByOperator != nil {
			state += " by an operator"
		}
		if s.RunID != nil {
			run = *s.RunID
		}
		row(w, s.ID, state, s.CustomerID, s.PlanID, s.ResourceID, run)
	}
}

// theSubscriptions returns the page of subscriptions in a server's answer, as theRun returns a run.
func theSubscriptions(page *client.SubscriptionList, status int, body []byte) (client.SubscriptionList, error) {
	if page == nil {
		return client.SubscriptionList{}, problemError(status, body)
	}
	whole := page.Subscriptions != nil
	for _, s := range page.Subscriptions {
		whole = whole && s.ID != "" && s.CustomerID != ""
	}
	if !whole {
		return client.SubscriptionList{}, formatError(status)
	}
	return *page, nil
}
