package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const explainHelp = `Explain a run, a finding or a subscription: what has happened, why, what it means for the user, who can fix it, and what to type
next. ID is the id of the run, the finding or the subscription. In the commands that are printed, replace the words in capitals.

For a portal, the explanation shows API requests in place of commands. A portal cannot read findings.

`

// The type `explained` is the explanation of an object. Run and Findings are set for a subscription.
type explained struct {
	Kind        string                    `json:"kind"` // run, finding or subscription
	ID          string                    `json:"id"`
	State       string                    `json:"state,omitempty"`
	Explanation client.Explanation        `json:"explanation"`
	Run         *client.ExplainedRun      `json:"run,omitempty"`
	Findings    []client.ExplainedFinding `json:"findings,omitempty"`
}

func (p *program) explain() *cobra.Command {
	c := &cobra.Command{
		Use: "explain ID", Short: "Explain a run, a finding or a subscription, and what to do", Args: exactly("ID"),
		Long: explainHelp + connectHelp + localHelp + exitHelp,
	}
	f := formatFlag(c)
	addLocalFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !findingForm.MatchString(args[0]) {
			return usage("%q is not the id of a run, a finding or a subscription", args[0])
		}
		s, err := p.connect(cmd, p.asEither)
		if err != nil {
			return err
		}
		defer s.close()
		found, err := s.explain(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return f.print(p.out, found, func(w io.Writer) { explainedTable(w, found) })
	}
	return c
}

// The method `explain` looks for a run, a finding and a subscription with this id, in this sequence.
func (s remote) explain(ctx context.Context, id string) (explained, error) {
	for _, look := range []func(context.Context, string) (explained, bool, error){s.explainRun, s.explainFinding, s.explainSubscription} {
		if found, is, err := look(ctx, id); is || err != nil {
			return found, err
		}
	}
	return explained{}, exit(exitRefused, fmt.Errorf("there is no run, finding or subscription with the id %s", id))
}

func (s remote) explainRun(ctx context.Context, id string) (explained, bool, error) {
	if !uuidForm.MatchString(id) {
		return explained{}, false, nil
	}
	answer, err := s.GetRunWithResponse(ctx, id, &client.GetRunParams{})
	if err != nil {
		return explained{}, false, unsent(ctx, err)
	}
	if answer.StatusCode() == http.StatusNotFound {
		return explained{}, false, nil
	}
	run, err := theRun(answer.JSON200, answer.StatusCode(), answer.Body)
	if err == nil && run.Explanation == nil {
		err = formatError(answer.StatusCode())
	}
	if err != nil {
		return explained{}, false, err
	}
	return explained{Kind: "run", ID: run.ID, State: stateText(run), Explanation: *run.Explanation}, true, nil
}

// explainFinding finds nothing if the caller may not read findings.
func (s remote) explainFinding(ctx context.Context, id string) (explained, bool, error) {
	answer, err := s.GetFindingWithResponse(ctx, id)
	if err != nil {
		return explained{}, false, unsent(ctx, err)
	}
	found := answer.JSON200
	switch {
	case answer.StatusCode() == http.StatusNotFound || answer.StatusCode() == http.StatusForbidden:
		return explained{}, false, nil
	case found == nil:
		return explained{}, false, problemError(answer.StatusCode(), answer.Body)
	case !isFinding(found) || found.Explanation == nil:
		return explained{}, false, formatError(answer.StatusCode())
	}
	state := fmt.Sprintf("%s (%s, %s)", found.Status, found.Code, found.Severity)
	return explained{Kind: "finding", ID: found.ID, State: state, Explanation: *found.Explanation}, true, nil
}

// explainSubscription looks for a run about the subscription, because the run names the merchant.
func (s remote) explainSubscription(ctx context.Context, id string) (explained, bool, error) {
	if !uuidForm.MatchString(id) {
		return explained{}, false, nil
	}
	listed, err := s.ListRunsWithResponse(ctx, &client.ListRunsParams{Object: list("subscription:" + id), Limit: some(1)})
	if err != nil {
		return explained{}, false, unsent(ctx, err)
	}
	page, err := theRuns(listed.JSON200, listed.StatusCode(), listed.Body)
	if err != nil || len(page.Runs) == 0 {
		return explained{}, false, err
	}
	if err := checkID("merchant", page.Runs[0].MerchantID); err != nil {
		return explained{}, false, formatError(listed.StatusCode())
	}
	answer, err := s.ExplainSubscriptionWithResponse(ctx, page.Runs[0].MerchantID, id)
	if err != nil {
		return explained{}, false, unsent(ctx, err)
	}
	found := answer.JSON200
	if found == nil {
		return explained{}, false, problemError(answer.StatusCode(), answer.Body)
	}
	if found.SubscriptionID != id || found.Run.ID == "" {
		return explained{}, false, formatError(answer.StatusCode())
	}
	return explained{
		Kind: "subscription", ID: id, State: valueOf(found.State), Explanation: found.Explanation, Run: &found.Run, Findings: found.Findings,
	}, true, nil
}

func explainedTable(w io.Writer, x explained) {
	row(w, x.Kind, x.ID)
	if x.State != "" {
		row(w, "state", x.State)
	}
	explanationTable(w, x.Explanation)
	if x.Run != nil {
		row(w)
		row(w, "newest run", x.Run.ID)
		row(w, "state", fmt.Sprintf("%s (workflow %s)", x.Run.State, x.Run.Workflow))
		explanationTable(w, x.Run.Explanation)
	}
	for _, f := range x.Findings {
		row(w)
		row(w, "finding", f.ID)
		row(w, "state", fmt.Sprintf("open (%s, %s)", f.Code, f.Severity))
		explanationTable(w, f.Explanation)
	}
}

// explanationTable prints an explanation. Sentences are wrapped, and commands are not, so that they can be copied.
func explanationTable(w io.Writer, x client.Explanation) {
	paragraph(w, "what", x.What)
	paragraph(w, "why", valueOf(x.Why))
	paragraph(w, "means", x.Means)
	paragraph(w, "who", x.Who)
	for i, step := range x.Next {
		paragraph(w, []string{"next", ""}[min(i, 1)], fmt.Sprintf("%d. %s", i+1, step.Text))
		for _, what := range []*string{step.Command, step.Request} {
			if what != nil {
				row(w, "", "   "+*what)
			}
		}
	}
}

// maxLine is the number of characters after which a paragraph continues on the next line.
const maxLine = 110

// The function `paragraph` prints a label and a text. The label is on the first line only.
func paragraph(w io.Writer, label, text string) {
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > maxLine {
			row(w, label, line)
			label, line = "", word
			continue
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		row(w, label, line)
	}
}
