package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// maxAnswer is the maximum number of bytes of an answer's body. A full page of runs with long errors has about 4 MiB.
const maxAnswer = 16 << 20

// The type `bounded` is a transport that limits the size of the server's answers.
type bounded struct{ http.RoundTripper }

// newTransport returns a transport that limits the headers and the bodies of the server's answers.
func newTransport() http.RoundTripper {
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	transport.MaxResponseHeaderBytes = 1 << 18
	return bounded{transport}
}

// RoundTrip sends a request. If more than maxAnswer bytes of the answer's body are read, the read fails.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{answer.Body, maxAnswer}
	return answer, nil
}

type boundedBody struct {
	io.ReadCloser

	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the server's answer is longer than %d MiB: ask for less, for example with a smaller --limit", maxAnswer>>20)
	}
	return n, err
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkID returns a usage error if id is not a uuid. An id becomes a part of a request's path. A text such as ".." could turn the
// path into the path of another operation.
func checkID(what, id string) error {
	if !uuidForm.MatchString(id) {
		return usage("%q is not the id of a %s: the id must be a lower-case uuid", id, what)
	}
	return nil
}

// theRun returns the run in a server's answer. If the answer has no run, or a run without its required fields, theRun returns an
// error. For example, the JSON value null has no run.
func theRun(run *client.Run, status int, body []byte) (client.Run, error) {
	if run == nil {
		return client.Run{}, problemError(status, body)
	}
	if !isRun(run) {
		return client.Run{}, formatError(status)
	}
	return *run, nil
}

func isRun(r *client.Run) bool {
	return uuidForm.MatchString(r.ID) && r.State != "" && r.Steps != nil && !r.CreatedAt.IsZero()
}

// theRuns returns the page of runs in a server's answer. It returns the same errors as theRun.
func theRuns(page *client.RunList, status int, body []byte) (client.RunList, error) {
	if page == nil {
		return client.RunList{}, problemError(status, body)
	}
	whole := page.Runs != nil
	for i := range page.Runs {
		whole = whole && isRun(&page.Runs[i])
	}
	if !whole {
		return client.RunList{}, formatError(status)
	}
	return *page, nil
}

// theEvents returns the page of events in a server's answer. It returns the same errors as theRun.
func theEvents(page *client.EventList, status int, body []byte) (client.EventList, error) {
	if page == nil {
		return client.EventList{}, problemError(status, body)
	}
	whole := page.Events != nil
	for _, e := range page.Events {
		whole = whole && e.Seq > 0 && e.Kind != ""
	}
	if !whole {
		return client.EventList{}, formatError(status)
	}
	return *page, nil
}

// formatError returns the error for an answer that is not in Tenantry's format.
func formatError(status int) error {
	return exit(exitUnreachable, fmt.Errorf("the server's answer (status %d) is not in Tenantry's format: check %s", status, envURL))
}

// The function `lines` returns an error that is printed with one line per text.
func lines(texts ...string) error {
	var all []error
	for _, text := range texts {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}

// The function `list` returns a pointer to a slice of its arguments, or nil if there are no arguments.
func list[T any](all ...T) *[]T {
	if len(all) == 0 {
		return nil
	}
	return &all
}
