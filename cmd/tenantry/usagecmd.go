package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

func (p *program) usage() *cobra.Command {
	return group("usage", "Show the usage of subscriptions and its billing, and bill usage again",
		"Show the usage that Tenantry has computed from the samples of Ceilometer. A portal uses its merchant's API key; an operator may see\n"+
			"the usage of any merchant. Only an operator may have usage billed again.\n\n"+connectHelp+exitHelp,
		p.usageShow(), p.usageUnmatched(), p.usageBill())
}

func (p *program) usageShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show SUBSCRIPTION --merchant ID", Short: "Show the usage of a subscription, and the rows for BillingStack", Args: exactly("SUBSCRIPTION"),
		Long: "Show the usage of a subscription, sorted by time and meter. The usage of an hour is computed 15 minutes after the end of the hour,\n" +
			"and again when late samples arrive. The amount of a gauge is in unit-hours. The range has at most 7 days.\n\n" +
			"The column BILLED AS has the name of the product. It is empty (-) if the usage is not part of the rows. There are four reasons: the\n" +
			"product is not in the plan, \"tenantry usage unmatched\" lists the usage, the usage waits to be billed, or the usage is zero.\n\n" +
			"The second table has the rows that runs of the workflow post-usage post to BillingStack. If the usage of an hour changes, another row\n" +
			"has the difference. The column BILLINGSTACK has the state of a row:\n\n" +
			"  waiting    no run has posted the row yet\n" +
			"  posted     BillingStack has the row\n" +
			"  differing  BillingStack has other numbers under the id of the row: see the column DETAIL\n\n" + connectHelp,
	}
	merchant := merchantFlag(c)
	from := timeFlag(c, "from", "only hours that begin at this time (RFC 3339) or later; by default, a day before --to")
	to := timeFlag(c, "to", "only hours that begin before this time (RFC 3339); by default, now")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkMerchant(*merchant); err != nil {
			return err
		}
		if err := checkID("subscription", args[0]); err != nil {
			return err
		}
		q := &client.GetUsageParams{}
		var err error
		if q.From, err = from(); err != nil {
			return err
		}
		if q.To, err = to(); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		list, err := allUsage(cmd.Context(), s, *merchant, args[0], q)
		if err != nil {
			return err
		}
		return f.print(p.out, list, func(w io.Writer) {
			row(w, "FROM", "TO", "METER", "AMOUNT", "UNIT", "STATE", "PLAN", "BILLED AS")
			for _, u := range list.Usage {
				unit := u.Unit
				if u.Kind == client.Gauge {
					unit += "·h"
				}
				row(w, u.From.Format(timeLayout), u.To.Format(timeLayout), u.Meter, u.Amount, or(&unit), or(&u.State), or(&u.PlanID), or(u.BilledAs))
			}
			if len(list.Rows) > 0 {
				row(w)
				row(w, "FROM", "TO", "PRODUCT", "VALUE", "PRICE", "TOTAL", "BILLINGSTACK", "ROW", "RUN", "DETAIL")
			}
			for _, r := range list.Rows {
				row(w, r.From.Format(timeLayout), r.To.Format(timeLayout), r.Product, r.Value, or(r.Price), or(r.Total), string(r.State), r.ID, or(r.RunID), or(r.Detail))
			}
		})
	}
	return c
}

// allUsage reads all pages of a subscription's usage.
func allUsage(ctx context.Context, s remote, merchant, subscription string, q *client.GetUsageParams) (*client.UsageList, error) {
	var all *client.UsageList
	for {
		answer, err := s.GetUsageWithResponse(ctx, merchant, subscription, q)
		if err != nil {
			return nil, unsent(ctx, err)
		}
		page := answer.JSON200
		if page == nil {
			return nil, problemError(answer.StatusCode(), answer.Body)
		}
		if all == nil {
			all = page
		} else {
			all.Usage, all.Rows = append(all.Usage, page.Usage...), append(all.Rows, page.Rows...)
		}
		next, err := nextHours(page.Links)
		if err != nil || next == nil {
			return all, err
		}
		if q.From != nil && !next.From.After(*q.From) {
			return nil, errEndless
		}
		q = next
	}
}

// nextHours returns the parameters of the link to the next page, or nil if there is none.
func nextHours(links client.Links) (*client.GetUsageParams, error) {
	at := slices.IndexFunc(links, func(l client.Link) bool { return l.Rel == "next" })
	if at < 0 {
		return nil, nil //nolint:nilnil // there is no next page
	}
	link, err := url.Parse(links[at].Href)
	var from, to time.Time
	if err == nil {
		from, err = time.Parse(time.RFC3339Nano, link.Query().Get("from"))
	}
	if err == nil {
		to, err = time.Parse(time.RFC3339Nano, link.Query().Get("to"))
	}
	if err != nil {
		return nil, exit(exitUnreachable, fmt.Errorf("the server's link to the next page cannot be read: %w", err))
	}
	return &client.GetUsageParams{From: &from, To: &to}, nil
}

// reasonsHelp returns one line for each reason why usage is not billed as it should be.
func reasonsHelp() string {
	var b strings.Builder
	for _, reason := range explain.UsageReasons() {
		e, _ := explain.Usage(reason)
		fmt.Fprintf(&b, "  %-17s  %s\n", reason, e.What)
	}
	return b.String()
}

func (p *program) usageUnmatched() *cobra.Command {
	c := &cobra.Command{
		Use: "unmatched --merchant ID", Short: "List usage that is not billed as it should be", Args: exactly(),
		Long: "List the usage of the last 30 days that is not billed as it should be. There is one line for all hours with the same reason:\n\n" +
			reasonsHelp() + "\n" +
			"For no-product, product-ambiguous, other-unit and several-units, a line is about all subscriptions of the merchant, and has no amount.\n" +
			"For unpriced and differs, the column METER has the name of the product.\n\n" + connectHelp,
	}
	merchant := merchantFlag(c)
	limit := c.Flags().Int("limit", 50, "maximum number of lines, 1 to 200")
	marker := c.Flags().Int("marker", 0, "number of lines to leave out")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkMerchant(*merchant); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.ListUnmatchedUsageWithResponse(cmd.Context(), *merchant, &client.ListUnmatchedUsageParams{Limit: limit, Marker: marker})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		if answer.JSON200 == nil {
			return problemError(answer.StatusCode(), answer.Body)
		}
		return f.print(p.out, answer.JSON200, func(w io.Writer) {
			row(w, "REASON", "METER", "AMOUNT", "UNIT", "SUBSCRIPTION", "PROJECT", "CLOUD", "FIRST HOUR", "LAST HOUR")
			for _, u := range answer.JSON200.Unmatched {
				row(w, string(u.Reason), u.Meter, or(u.Amount), or(u.Unit), or(u.SubscriptionID), or(u.ProjectID), or(u.Cloud),
					u.FirstHour.Format(timeLayout), u.LastHour.Format(timeLayout))
			}
			if more(answer.JSON200.Links) {
				row(w, fmt.Sprintf("There are more lines: use --marker %d", *marker+*limit))
			}
		})
	}
	return c
}

func (p *program) usageBill() *cobra.Command {
	c := &cobra.Command{
		Use: "bill --merchant ID --from TIME --to TIME --why REASON", Short: "Bill the usage of hours again (operators only)", Args: exactly(),
		Long: "Bill the stored usage of a range of hours again. Tenantry does this two minutes after the call. Use this command after the cause of\n" +
			"unmatched usage is gone. For example, use it after the merchant has created a product, or after you have corrected the file of the\n" +
			"setting meters and restarted all replicas. Usage that could not be billed before becomes rows, and its hours disappear from the list\n" +
			"of \"tenantry usage unmatched\". To choose --from and --to, see the first and the last hour of each entry in this list.\n\n" +
			"A meter that was billed in an hour keeps its product, unit, divisor and price. With --current, the meter gets the present product,\n" +
			"unit, divisor and price. If these differ from the old ones, one row takes back the usage of the old product at the old price, and\n" +
			"another row has the usage of the new product.\n\n" +
			"You can repeat the command: if nothing has changed, no rows are written. With --subscription, the entries of \"tenantry usage unmatched\"\n" +
			"that are about several subscriptions keep their hours. The server writes the reason of --why to its log. The range has at most 31 days.\n" +
			"For many hours, the command sends several calls, and prints one line for each call.\n\n" +
			"  HOURS     the number of hours with stored usage that are billed again; an hour counts once for each project\n" +
			"  PROJECTS  the number of these projects\n\n" + connectHelp + exitHelp,
	}
	merchant := merchantFlag(c)
	subscription := c.Flags().String("subscription", "", "only the usage of this subscription")
	from := timeFlag(c, "from", "only hours that begin at this time (RFC 3339) or later (required)")
	to := timeFlag(c, "to", "only hours that begin before this time (RFC 3339) (required)")
	current := c.Flags().Bool("current", false, "bill with the present products, units, divisors and prices, also usage that was billed before")
	why := c.Flags().String("why", "", "the reason, for the log of the server (required)")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkMerchant(*merchant); err != nil {
			return err
		}
		if *subscription != "" {
			if err := checkID("subscription", *subscription); err != nil {
				return err
			}
		}
		first, err := from()
		if err != nil {
			return err
		}
		last, err := to()
		if err != nil {
			return err
		}
		if first == nil || last == nil || *why == "" {
			return usage("--from, --to and --why are required")
		}
		s, err := p.asOperator(cmd.Context())
		if err != nil {
			return err
		}
		want := client.UsageBillingRequest{
			From: first.Format(time.RFC3339Nano), To: last.Format(time.RFC3339Nano), SubscriptionID: some(*subscription), Current: some(*current), Why: *why,
		}
		calls, err := billAgain(cmd.Context(), s, *merchant, want)
		if len(calls) == 0 {
			return err
		}
		return errors.Join(f.print(p.out, calls, func(w io.Writer) {
			row(w, "FROM", "TO", "HOURS", "PROJECTS")
			for _, call := range calls {
				row(w, call.From.Format(timeLayout), call.To.Format(timeLayout), strconv.Itoa(call.Hours), strconv.Itoa(call.Projects))
			}
		}), err)
	}
	return c
}

// billAgain repeats the call until all hours are billed again. If a call fails, billAgain also returns the answers to the earlier calls.
func billAgain(ctx context.Context, s remote, merchant string, want client.UsageBillingRequest) (calls []client.UsageBilling, err error) {
	for {
		answer, err := s.BillUsageAgainWithResponse(ctx, merchant, want)
		if err != nil {
			return calls, unsent(ctx, err)
		}
		call := answer.JSON202
		if call == nil {
			return calls, problemError(answer.StatusCode(), answer.Body)
		}
		calls = append(calls, *call)
		if call.NextFrom == nil {
			return calls, nil
		}
		if !call.NextFrom.After(call.From) {
			return calls, exit(exitUnreachable, fmt.Errorf("the server asks for another call that begins at %s, but the server has billed this hour already", call.NextFrom.Format(time.RFC3339)))
		}
		want.From = call.NextFrom.Format(time.RFC3339Nano)
	}
}

// timeFlag adds a flag for a time. The returned function reads the flag. Without the flag, the time is nil.
func timeFlag(c *cobra.Command, name, help string) func() (*time.Time, error) {
	text := c.Flags().String(name, "", help)
	return func() (*time.Time, error) {
		if *text == "" {
			return nil, nil //nolint:nilnil // the flag is not given
		}
		at, err := time.Parse(time.RFC3339, *text)
		if err != nil {
			return nil, usage("--%s: %q must be a time such as 2026-01-31T12:00:00Z", name, *text)
		}
		return &at, nil
	}
}
