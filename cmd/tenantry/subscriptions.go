package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) subscriptions() *cobra.Command {
	return group("subscriptions", "Show, suspend, end and restore subscriptions, and change their plans",
		"Show, suspend, end and restore the subscriptions of a merchant, and change their plans. A portal uses its merchant's API key; an\n"+
			"operator may act for any merchant.\n\n"+
			connectHelp+exitHelp,
		p.subscriptionsList(), p.subscriptionsShow(),
		p.subscriptionsChange("suspend", "Disable the tenant of a subscription; the tenant's servers go on running", suspend),
		p.subscriptionsChange("resume", "Enable the tenant of a suspended subscription", resume),
		p.subscriptionsChange("change-plan", "Change the plan of a subscription", changePlan),
		p.subscriptionsChange("unsubscribe", "End a subscription: revoke the subscriber's roles and disable the tenant", unsubscribe),
		p.subscriptionsChange("restore", "Restore an ended subscription whose tenant has not been removed", restore),
		p.subscriptionsChange("remove", "Remove the tenant of an ended subscription now (operators only)", remove),
		p.subscriptionsHold(), p.subscriptionsRelease())
}

// merchantFlag adds the flag --merchant. All commands under `tenantry subscriptions` need this flag.
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
		Long: "List a page of a merchant's subscriptions, sorted by id. For the next page, set --marker to the id of the last\n" +
			"subscription on this page.\n\n" + connectHelp,
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
		Long: "Show a subscription, its state, and the run that left the subscription in this state.\n\n" + connectHelp,
	}
	merchant, f := merchantFlag(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.showSubscription(cmd.Context(), *merchant, args[0], *f, func(s remote) (*client.BilledSubscription, int, []byte, error) {
			a, err := s.GetSubscriptionWithResponse(cmd.Context(), *merchant, args[0])
			if err != nil {
				return nil, 0, nil, err
			}
			return a.JSON200, a.StatusCode(), a.Body, nil
		})
	}
	return c
}

func checkSubscription(merchant, id string) error {
	if err := checkMerchant(merchant); err != nil {
		return err
	}
	return checkID("subscription", id)
}

// The type `change` is a function that asks the server to change a subscription. The run may not have ended when the server
// answers.
type change func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error)

// changeAsked contains the fields that all requests to change a subscription have.
type changeAsked struct {
	why    string
	dryRun *bool // nil: not a dry run
}

// The variable `async` is the header Prefer of a request whose run is watched.
var async = some("respond-async")

func suspend(*cobra.Command) change {
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.SuspendSubscriptionParams{IdempotencyKey: key, Prefer: async}
		return s.SuspendSubscription(ctx, merchant, id, &params, client.ChangeRequest{Why: asked.why, DryRun: asked.dryRun})
	}
}

func resume(*cobra.Command) change {
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.ResumeSubscriptionParams{IdempotencyKey: key, Prefer: async}
		return s.ResumeSubscription(ctx, merchant, id, &params, client.ChangeRequest{Why: asked.why, DryRun: asked.dryRun})
	}
}

func changePlan(c *cobra.Command) change {
	c.Use = "change-plan SUBSCRIPTION --merchant ID --plan ID --why REASON"
	plan := c.Flags().String("plan", "", "id of the new plan (required)")
	c.PreRunE = func(*cobra.Command, []string) error {
		if *plan == "" {
			return usage("--plan is required")
		}
		return nil
	}
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.ChangePlanParams{IdempotencyKey: key, Prefer: async}
		return s.ChangePlan(ctx, merchant, id, &params, client.ChangePlanRequest{Why: asked.why, PlanID: *plan, DryRun: asked.dryRun})
	}
}

func unsubscribe(*cobra.Command) change {
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.UnsubscribeSubscriptionParams{IdempotencyKey: key, Prefer: async}
		return s.UnsubscribeSubscription(ctx, merchant, id, &params, client.ChangeRequest{Why: asked.why, DryRun: asked.dryRun})
	}
}

func restore(c *cobra.Command) change {
	addUser := c.Flags().String("add-user", "", "id of another user of the merchant's domain, who becomes the subscriber")
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.RestoreSubscriptionParams{IdempotencyKey: key, Prefer: async}
		return s.RestoreSubscription(ctx, merchant, id, &params, client.RestoreRequest{Why: asked.why, AddUser: some(*addUser), DryRun: asked.dryRun})
	}
}

func remove(c *cobra.Command) change {
	force := c.Flags().Bool("force", false, "remove the tenant even if it is not proven to be empty; the tenant's resources are lost")
	return func(ctx context.Context, s remote, merchant, id, key string, asked changeAsked) (*http.Response, error) {
		params := client.RemoveSubscriptionParams{IdempotencyKey: key, Prefer: async}
		return s.RemoveSubscription(ctx, merchant, id, &params, client.RemoveRequest{Why: asked.why, Force: some(*force), DryRun: asked.dryRun})
	}
}

// answerTo returns the status and the body of the server's answer.
func answerTo(ctx context.Context, resp *http.Response, err error) (status int, body []byte, _ error) {
	if err != nil {
		return 0, nil, unsent(ctx, err)
	}
	body, err = io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, nil, unsent(ctx, err)
	}
	return resp.StatusCode, body, nil
}

// The function `accepted` returns the run in the server's answer to a change.
func accepted(status int, body []byte) (client.Run, error) {
	if status != http.StatusCreated && status != http.StatusAccepted {
		return client.Run{}, problemError(status, body)
	}
	var run client.Run
	if json.Unmarshal(body, &run) != nil {
		return client.Run{}, formatError(status)
	}
	return theRun(&run, status, body)
}

func (p *program) subscriptionsChange(name, short string, flags func(*cobra.Command) change) *cobra.Command {
	c := &cobra.Command{
		Use: name + " SUBSCRIPTION --merchant ID --why REASON", Short: short, Args: exactly("SUBSCRIPTION"),
		Long: short + ".\nThe command shows the steps until the run ends or needs an operator. The run's history records the reason.\n\n" +
			"Without --key, each call is a new request. Calls with the same --key are the same request. With --dry-run, the command only\n" +
			"shows what each step would do, and changes nothing.\n\n" + connectHelp + exitHelp,
	}
	merchant := merchantFlag(c)
	why := c.Flags().String("why", "", "the reason, which the run's history records (required)")
	key := c.Flags().String("key", "", "idempotency key, 1 to 255 characters (default a new uuid)")
	dryRun, f, ask := dryRunFlag(c), formatFlag(c), flags(c)
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
			if !*dryRun {
				p.say("the request's idempotency key is %s", *key)
			}
		}
		resp, err := ask(cmd.Context(), s, *merchant, args[0], `"`+*key+`"`, changeAsked{*why, some(*dryRun)})
		status, body, err := answerTo(cmd.Context(), resp, err)
		if err != nil {
			return err
		}
		if *dryRun {
			return p.foresee(*f, status, body)
		}
		run, err := accepted(status, body)
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, run.ID, *f)
	}
	return c
}

func (p *program) subscriptionsHold() *cobra.Command {
	short := "Keep the tenant of an ended subscription (operators only)"
	c := &cobra.Command{
		Use: "hold SUBSCRIPTION --merchant ID --why REASON", Short: short, Args: exactly("SUBSCRIPTION"),
		Long: short + ".\nThe tenant is not removed before the hold is lifted with \"tenantry subscriptions release\".\n\n" + connectHelp + exitHelp,
	}
	merchant := merchantFlag(c)
	why := c.Flags().String("why", "", "the reason, which \"tenantry subscriptions show\" shows (required)")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *why == "" {
			return usage("--why is required")
		}
		return p.showSubscription(cmd.Context(), *merchant, args[0], *f, func(s remote) (*client.BilledSubscription, int, []byte, error) {
			a, err := s.HoldSubscriptionWithResponse(cmd.Context(), *merchant, args[0], client.ActionRequest{Why: *why})
			if err != nil {
				return nil, 0, nil, err
			}
			return a.JSON200, a.StatusCode(), a.Body, nil
		})
	}
	return c
}

func (p *program) subscriptionsRelease() *cobra.Command {
	short := "Lift the hold on an ended subscription (operators only)"
	c := &cobra.Command{
		Use: "release SUBSCRIPTION --merchant ID", Short: short, Args: exactly("SUBSCRIPTION"),
		Long: short + ".\nIf the time for which the tenant is kept has passed, Tenantry removes the tenant now.\n\n" + connectHelp + exitHelp,
	}
	merchant, f := merchantFlag(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.showSubscription(cmd.Context(), *merchant, args[0], *f, func(s remote) (*client.BilledSubscription, int, []byte, error) {
			a, err := s.ReleaseSubscriptionWithResponse(cmd.Context(), *merchant, args[0])
			if err != nil {
				return nil, 0, nil, err
			}
			return a.JSON200, a.StatusCode(), a.Body, nil
		})
	}
	return c
}

// showSubscription makes a request whose answer is a subscription, and prints the subscription.
func (p *program) showSubscription(
	ctx context.Context, merchant, id string, f format, ask func(remote) (*client.BilledSubscription, int, []byte, error),
) error {
	if err := checkSubscription(merchant, id); err != nil {
		return err
	}
	s, err := p.asEither(ctx)
	if err != nil {
		return err
	}
	found, status, body, err := ask(s)
	if err != nil {
		return unsent(ctx, err)
	}
	if found == nil {
		return problemError(status, body)
	}
	one := []client.BilledSubscription{*found}
	if _, err := theSubscriptions(&client.SubscriptionList{Subscriptions: one}, status, body); err != nil {
		return err
	}
	return f.print(p.out, one[0], func(w io.Writer) { subscriptionsTable(w, one) })
}

func subscriptionsTable(w io.Writer, all []client.BilledSubscription) {
	row(w, "ID", "STATE", "CUSTOMER", "PLAN", "TENANT", "RUN", "NOTE")
	for _, s := range all {
		state, run := "-", "-"
		if s.State != nil {
			state = *s.State
		}
		if s.SuspendedByOperator != nil {
			state += " by an operator"
		}
		if s.EndsAt != nil {
			state += " at " + s.EndsAt.UTC().Format(time.RFC3339)
		}
		var notes []string
		if s.EndingHeld != nil {
			notes = append(notes, "held by "+s.EndingHeld.Who+": "+s.EndingHeld.Why)
		}
		if s.EndingReason != nil {
			notes = append(notes, "not removed: "+s.EndingReason.Detail)
		}
		if s.RunID != nil {
			run = *s.RunID
		}
		row(w, s.ID, state, s.CustomerID, s.PlanID, s.ResourceID, run, cmp.Or(strings.Join(notes, "; "), "-"))
	}
}

// theSubscriptions returns the page of subscriptions in a server's answer. It returns the same errors as theRun.
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
