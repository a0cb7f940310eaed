package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// follow draws the run now and after each change, until the run has ended or needs an operator.
func (s remote) follow(ctx context.Context, runID string, draw func(client.Run)) (client.Run, error) {
	var known client.GetRunParams // Wait is not set: the server answers the first request at once
	for {
		answer, err := s.GetRunWithResponse(ctx, runID, &known)
		if err != nil {
			return client.Run{}, unsent(ctx, err)
		}
		if answer.StatusCode() == http.StatusNotModified {
			continue
		}
		run, err := theRun(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return client.Run{}, err
		}
		draw(run)
		if run.AtRest {
			return run, nil
		}
		known = client.GetRunParams{Wait: some(25), IfNoneMatch: some(answer.HTTPResponse.Header.Get("ETag"))}
	}
}

// outcome returns nil if the run has succeeded. If the run has not succeeded, outcome returns an error with the run's cause and
// reason.
func outcome(r client.Run) error {
	if r.State == client.RunStateSucceeded {
		return nil
	}
	text := fmt.Sprintf("run %s is %s", r.ID, r.State)
	if r.Cause != nil {
		text += ": " + failureText(*r.Cause)
	}
	if r.Reason != nil {
		text += "; it waits: " + reasonText(*r.Reason)
	}
	return exit(exitFailed, errors.New(text))
}

func failureText(f client.Failure) string {
	text := f.Detail
	if f.Step != nil {
		text = *f.Step + ": " + text
	}
	return text
}

func reasonText(r client.Reason) string {
	if r.Code == "held" { // the detail is the reason that the operator gave
		return "held until an operator decides: " + r.Detail
	}
	text := r.Detail
	if r.FixBy != client.FixByNobody {
		text += " (for the " + string(r.FixBy) + " to fix)"
	}
	return text
}
