package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

// maxWatchWait is the number of seconds for which one request of the method `follow` waits for a change.
const maxWatchWait = 25

// The method `follow` draws the run now and after each change, until the run has ended or needs an operator. If the server does not
// wait for a change, `follow` pauses before its next request.
func (s remote) follow(ctx context.Context, runID string, draw func(client.Run)) (client.Run, error) {
	var etag string
	wait := 0 // the server answers the first request at once
	for {
		began := time.Now()
		answer, err := s.GetRunWithResponse(ctx, runID, &client.GetRunParams{Wait: some(wait), IfNoneMatch: some(etag)})
		if err != nil {
			return client.Run{}, unsent(ctx, err)
		}
		waited := wait > 0 && time.Since(began) > maxWatchWait/2*time.Second
		switch status, tag := answer.StatusCode(), answer.HTTPResponse.Header.Get("ETag"); {
		case busy(status, answer.Body):
			wait, waited = 0, false // the next request asks for the present state
		case status == http.StatusNotModified:
			wait = maxWatchWait
		default:
			run, err := theRun(answer.JSON200, status, answer.Body)
			if err != nil {
				return client.Run{}, err
			}
			draw(run)
			if run.AtRest {
				return run, nil
			}
			waited = waited || tag != "" && tag != etag
			etag, wait = tag, maxWatchWait
		}
		if !waited {
			if err := s.pause(ctx, answer.HTTPResponse.Header); err != nil {
				return client.Run{}, err
			}
		}
	}
}

// The function `busy` reports whether the server has refused a request because too many requests are under way.
func busy(status int, body []byte) bool {
	var p client.Problem
	return status == http.StatusTooManyRequests ||
		status == http.StatusServiceUnavailable && json.Unmarshal(body, &p) == nil && p.Type == "/problems/overloaded"
}

// The method `pause` waits for the time in the header Retry-After, but at least for a second and at most for a minute.
func (s remote) pause(ctx context.Context, h http.Header) error {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31)
	if err != nil {
		seconds = 1
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.after(min(max(time.Duration(seconds)*time.Second, time.Second), time.Minute)):
		return nil
	}
}

// The function `outcome` returns nil if the run has succeeded. If the run has not succeeded, `outcome` returns an error with the
// run's cause and reason.
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
	if f.Code == "compensated-by-operator" || f.Code == "cancelled" { // the detail is the reason that somebody gave
		text = "stopped on request: " + text
	}
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
		text += " (for " + fixerText(r.FixBy, r.Service) + " to fix)"
	}
	return text
}

// fixerText names the person who can fix a failure. An administrator is the administrator of the service that returned the error.
func fixerText(fixBy client.FixBy, service *string) string {
	return explain.Fixer(fixBy).Who(valueOf(service))
}
