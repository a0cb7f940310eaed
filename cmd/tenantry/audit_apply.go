package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const auditApplyHelp = `Carry out the approved entries of a plan that "tenantry audit plan" has written. Each approved entry becomes a run. In the file, you
may change only the values of approve and comment. If anything else differs from the plan, the command names the lines that differ,
and sends nothing.

The server checks each entry again before it starts a run. It refuses an entry if, for example, the finding is no longer open, or a value
has changed since the plan was made. The command then waits for the runs, and prints their states. If you repeat the command, it shows
the same runs: no repair is started twice. To repair a finding whose run has failed, audit again and make a new plan.

The exit code is 0 if no repair has failed and no repair was refused. A run that is still in progress after the time of --wait does not
count as failed.

`

func (p *program) auditApply() *cobra.Command {
	c := &cobra.Command{
		Use: "apply FILE", Short: "Carry out the approved entries of a plan", Args: exactly("FILE"),
		Long: auditApplyHelp + "This command needs a server: it has no --local.\n\n" + connectHelp + exitHelp,
	}
	dryRun := c.Flags().Bool("dry-run", false, "show what each approved entry would do, and change nothing; exit with 4 if an entry would fail")
	wait := c.Flags().Duration("wait", time.Minute, "time to wait for the runs to end")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if local, err := cmd.Flags().GetBool(localFlag); err == nil && local {
			return usage("audit apply has no --local: only a server can check repairs with Keystone and BillingStack")
		}
		if *wait < 0 {
			return usage("--wait: %s is less than 0", *wait)
		}
		file, err := readPlanFile(args[0])
		if err != nil {
			return err
		}
		if len(file.approved()) == 0 {
			return usage("%s: no entry is approved: change approve to true for the repairs that you want", args[0])
		}
		s, err := p.asOperator(cmd.Context())
		if err != nil {
			return err
		}
		plan, err := s.readPlan(cmd.Context(), file.head["plan"].text)
		if err != nil {
			return err
		}
		if err := file.compare(plan); err != nil {
			return err
		}
		work := applying{remote: s, program: p, result: applied{PlanID: plan.ID, Repairs: []repaired{}}, dryRun: *dryRun}
		return work.apply(cmd.Context(), plan, file.approved(), *wait, *f)
	}
	return c
}

// applied is the result of the command.
type applied struct {
	PlanID  string     `json:"plan_id"`
	Repairs []repaired `json:"repairs"` // sorted as in the plan
}

// repaired is the result of an approved entry.
type repaired struct {
	client.RepairResult

	Code   string      `json:"code"`
	Action string      `json:"action"`
	Run    *client.Run `json:"run,omitempty"` // as last read
}

// applying is the state of one `audit apply` command.
type applying struct {
	remote
	*program
	result applied
	dryRun bool
}

// apply sends the approved entries, waits for their runs, and prints the result. If apply fails, it prints the results that it has
// so far.
func (a *applying) apply(ctx context.Context, plan client.RepairPlan, approved map[string]fileEntry, wait time.Duration, f format) error {
	show, done := statusLine(a.err)
	err := a.send(ctx, plan, approved, show)
	if err == nil && !a.dryRun {
		err = a.settle(ctx, time.Now().Add(wait), show)
	}
	done()
	sent := len(a.result.Repairs)
	if ctx.Err() != nil && !a.dryRun {
		a.say("tenantry: the runs continue without this command. Repeat the command to see the runs, and to send the entries that were not sent. No repair is started twice.")
	}
	if err != nil && (sent == 0 || ctx.Err() != nil) {
		return err
	}
	table := appliedTable
	if a.dryRun {
		table = foreseenTable
	}
	if printed := f.print(a.out, a.result, func(w io.Writer) { table(w, a.result) }); printed != nil {
		return printed
	}
	if err != nil {
		a.say("tenantry: %d of %d approved entries were sent: repeat the command when the server is available", sent, len(approved))
		return err
	}
	return a.outcome()
}

const (
	repairsPerRequest = 20
	maxBusyAnswers    = 10 // after this number of busy answers to a request, the command gives up
)

// send sends the approved entries in the sequence in which the plan lists them.
func (a *applying) send(ctx context.Context, plan client.RepairPlan, approved map[string]fileEntry, show func(func(int) string)) error {
	entries := slices.DeleteFunc(slices.Clone(plan.Entries), func(e client.RepairPlanEntry) bool { return !approved[e.FindingID].approve })
	for batch := range slices.Chunk(entries, repairsPerRequest) {
		show(func(width int) string {
			sent := len(a.result.Repairs)
			return barLine(sent, len(entries), fmt.Sprintf("%d of %d repairs sent", sent, len(entries)), width)
		})
		request := client.RepairRequest{PlanID: plan.ID, DryRun: some(a.dryRun)}
		for _, e := range batch {
			request.Entries = append(request.Entries, client.ApprovedRepair{FindingID: e.FindingID, Comment: some(approved[e.FindingID].comment)})
		}
		results, err := a.ask(ctx, request)
		if err != nil {
			return err
		}
		for i, r := range results {
			a.result.Repairs = append(a.result.Repairs, repaired{RepairResult: r, Code: batch[i].Code, Action: batch[i].Action})
		}
	}
	return nil
}

// ask sends one request, and repeats it while the server has too many requests.
func (a *applying) ask(ctx context.Context, request client.RepairRequest) ([]client.RepairResult, error) {
	for tries := 1; ; tries++ {
		answer, err := a.ApplyRepairsWithResponse(ctx, request)
		if err != nil {
			return nil, unsent(ctx, err)
		}
		if tries == maxBusyAnswers || !busy(answer.StatusCode(), answer.Body) {
			result := answer.JSON202
			if a.dryRun {
				result = answer.JSON200
			}
			return theRepairs(result, request, answer.StatusCode(), answer.Body)
		}
		if err := a.pause(ctx, answer.HTTPResponse.Header); err != nil {
			return nil, err
		}
	}
}

// theRepairs returns the results in a server's answer. The results must be in the same sequence as the entries of the request. theRepairs
// returns the same errors as theRun.
func theRepairs(answer *client.RepairAnswer, request client.RepairRequest, status int, body []byte) ([]client.RepairResult, error) {
	if answer == nil {
		return nil, problemError(status, body)
	}
	whole := answer.PlanID == request.PlanID && len(answer.Repairs) == len(request.Entries)
	for i := 0; whole && i < len(answer.Repairs); i++ {
		r := answer.Repairs[i]
		started := r.RunID != nil && uuidForm.MatchString(*r.RunID) && r.RunState != nil
		foreseen := r.DryRun != nil && r.DryRun.State != "" && r.DryRun.Steps != nil
		refused := r.Refused != nil && r.Refused.Code != ""
		whole = r.FindingID == request.Entries[i].FindingID && (refused || started && !valueOf(request.DryRun) || foreseen && valueOf(request.DryRun))
	}
	if !whole {
		return nil, formatError(status)
	}
	return answer.Repairs, nil
}

// settle waits until each run has ended or needs a person. It stops waiting at the time `until`. It stores the states of the runs
// in the result.
func (a *applying) settle(ctx context.Context, until time.Time, show func(func(int) string)) error {
	all := a.result.Repairs
	for i := range all {
		show(func(width int) string {
			return barLine(i, len(all), fmt.Sprintf("%d of %d repairs have ended", i, len(all)), width)
		})
		if all[i].RunID == nil {
			continue
		}
		run, err := a.settled(ctx, *all[i].RunID, until)
		if err != nil {
			return err
		}
		if run != nil {
			all[i].Run, all[i].RunState = run, &run.State
		}
	}
	return nil
}

// settled waits until a run has ended or needs a person, and returns the run. If the time `until` passes first, it returns the run as last
// read, or nil if the server has too many requests.
func (a *applying) settled(ctx context.Context, runID string, until time.Time) (*client.Run, error) {
	for {
		began := time.Now()
		wait := int(min(until.Sub(began), maxWatchWait*time.Second) / time.Second)
		answer, err := a.GetRunWithResponse(ctx, runID, &client.GetRunParams{Wait: some(max(wait, 0))})
		if err != nil {
			return nil, unsent(ctx, err)
		}
		over := !time.Now().Before(until)
		if !busy(answer.StatusCode(), answer.Body) {
			run, err := theRun(answer.JSON200, answer.StatusCode(), answer.Body)
			if err != nil || run.AtRest || over {
				return &run, err
			}
		} else if over {
			return nil, nil
		}
		if time.Since(began) < time.Duration(wait)*time.Second/2 || wait <= 0 { // the server has answered without waiting
			if err := a.pauseUntil(ctx, until, answer.HTTPResponse.Header); err != nil {
				return nil, err
			}
		}
	}
}

// pauseUntil pauses like the method `pause`, but ends at the time `until` at the latest.
func (a *applying) pauseUntil(ctx context.Context, until time.Time, h http.Header) error {
	bounded, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := a.pause(bounded, h)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// outcome returns an error if a repair has failed, was refused or could not be checked. It also prints how many repairs have not
// ended.
func (a *applying) outcome() error {
	var failed, unchecked, unfinished int
	for _, r := range a.result.Repairs {
		switch {
		case r.Refused != nil && passing(r.Refused.Code):
			unchecked++
		case r.Refused != nil, r.DryRun != nil && r.DryRun.State != client.DryRunStateSucceeded:
			failed++
		case r.DryRun != nil, *r.RunState == client.RunStateSucceeded:
		case *r.RunState == client.RunStateCompensated, *r.RunState == client.RunStateStuck, r.Run != nil && r.Run.AtRest:
			failed++
		default:
			unfinished++
		}
	}
	all, have := len(a.result.Repairs), "have failed, were refused or wait for an operator"
	if a.dryRun {
		have = "would fail, or are refused"
	}
	if unfinished > 0 {
		a.say("tenantry: %d of %d repairs have not ended: repeat the command to see them; no repair is started twice", unfinished, all)
	}
	if unchecked > 0 {
		a.say("tenantry: %d of %d repairs could not be checked now: repeat the command later", unchecked, all)
	}
	switch {
	case failed > 0:
		return exit(exitFailed, fmt.Errorf("%d of %d repairs %s", failed, all, have))
	case unchecked > 0:
		return exit(exitUnreachable, errors.New("an upstream or the database is not available"))
	}
	return nil
}

// passing reports whether the cause of a refusal is temporary. If it is, the entry can be sent again later.
func passing(code string) bool {
	return slices.Contains([]string{"upstream-unavailable", "outcome-unknown", "internal-error"}, code)
}

func appliedTable(w io.Writer, result applied) {
	row(w, "FINDING", "CODE", "ACTION", "RUN", "STATE", "NOTE")
	for _, r := range result.Repairs {
		state, note := "-", "-"
		switch {
		case r.Refused != nil:
			state, note = "refused ("+r.Refused.Code+")", r.Refused.Detail
		case r.Run != nil:
			state, note = stateText(*r.Run), runNote(*r.Run)
		case r.RunState != nil:
			state = string(*r.RunState)
		}
		row(w, r.FindingID, r.Code, r.Action, or(r.RunID), state, note)
	}
}

// runNote returns the reason why the run waits, the cause of its failure, the object that it has kept, or the time at which another run
// will remove the tenant.
func runNote(r client.Run) string {
	switch {
	case r.Reason != nil:
		return reasonText(*r.Reason)
	case r.Cause != nil:
		return failureText(*r.Cause)
	}
	result := r.Result
	if due, ok := result["removal_due_at"].(string); ok {
		return "the tenant is disabled, and another run removes the tenant at " + due + ": accept the finding to prevent the removal"
	}
	kept, _ := result["kept"].([]any)
	for _, one := range kept {
		object, _ := one.(map[string]any)
		return fmt.Sprintf("%v %v was kept: %v", object["kind"], object["id"], object["why"])
	}
	return "-"
}

// foreseenTable prints the steps of each repair.
func foreseenTable(w io.Writer, result applied) {
	row(w, "FINDING", "ACTION", "STEP", "WHAT", "UNDO", "NOTE")
	for _, r := range result.Repairs {
		if r.Refused != nil {
			row(w, r.FindingID, r.Action, "-", "refused ("+r.Refused.Code+")", "-", r.Refused.Detail)
			continue
		}
		for _, s := range valueOf(r.DryRun).Steps {
			row(w, r.FindingID, r.Action, s.Name, s.Outcome, s.Undo, dryNote(s))
		}
	}
}
