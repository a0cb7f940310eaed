package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// dryRunFlag adds the flag --dry-run to a command that starts a run.
func dryRunFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("dry-run", false, "show what each step would do, and change nothing; exit with 4 if the run would fail")
}

// foresee prints the dry run in the server's answer. If the run would not succeed, foresee returns an error.
func (p *program) foresee(f format, status int, body []byte) error {
	if status != http.StatusOK {
		return problemError(status, body)
	}
	var d client.DryRun
	if json.Unmarshal(body, &d) != nil || d.State == "" || d.Steps == nil {
		return formatError(status)
	}
	if err := f.print(p.out, d, func(w io.Writer) { dryRunTable(w, d) }); err != nil {
		return err
	}
	switch d.State {
	case client.DryRunStateSucceeded:
		return nil
	case client.DryRunStateWaiting:
		return exit(exitFailed, errors.New("the run would wait for an operator"))
	case client.DryRunStateCompensated:
	}
	return exit(exitFailed, errors.New("the run would fail and be compensated"))
}

func dryRunTable(w io.Writer, d client.DryRun) {
	row(w, "STEP", "WHAT", "UNDO", "NOTE")
	for _, s := range d.Steps {
		row(w, s.Name, s.Outcome, s.Undo, dryNote(s))
	}
}

// dryNote returns the reason why a step would fail or be skipped. If there is no reason, dryNote returns the objects of the step.
func dryNote(s client.DryRunStep) string {
	switch {
	case s.Failure != nil:
		return s.Failure.Code + ": " + s.Failure.Detail
	case s.Why != nil:
		return *s.Why
	case s.Objects != nil:
		return objectTexts(*s.Objects)
	}
	return "-"
}

// objectTexts returns the kind of each object, followed by the name and the id of the object if they are known.
func objectTexts(objects []client.DryRunObject) (text string) {
	for i, o := range objects {
		if i > 0 {
			text += ", "
		}
		text += o.Kind
		switch {
		case o.Name != nil && o.ID != nil:
			text += " " + *o.Name + " (" + *o.ID + ")"
		case o.Name != nil:
			text += " " + *o.Name
		case o.ID != nil:
			text += " " + *o.ID
		}
	}
	return text
}
