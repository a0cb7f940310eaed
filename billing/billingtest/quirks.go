// Package billingtest holds a BillingStack with the quirks of the original, and the conformance suite that every
// BillingStack which the client is meant for has to pass.
package billingtest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Options choose which original is imitated.
type Options struct {
	// V1 is the Flask server of March 2013: updates are PUT and answer 202, a DELETE has real error codes,
	// other faults are JSON that calls itself HTML. Otherwise it is v2 of November 2013.
	V1 bool
	// Unrepaired keeps v2's POST of subscriptions and usage as released: it never works.
	Unrepaired bool
	// Queue gives faults the form that they have behind a real message queue: a prefix, and a traceback after
	// the first line.
	Queue bool
}

// QuirkServer imitates the original server in memory: what it gets wrong, it gets wrong here. Paths, codes and
// texts follow runs of its code. It is safe for concurrent use.
type QuirkServer struct {
	opts   Options
	prefix string

	mu   sync.Mutex
	rows map[string][]row // by table, in the order of insertion
}

type row map[string]any

// NewQuirkServer starts empty: not even currencies are there.
func NewQuirkServer(opts Options) *QuirkServer {
	prefix := "/v2/"
	if opts.V1 {
		prefix = "/v1/"
	}
	return &QuirkServer{opts: opts, prefix: prefix, rows: map[string][]row{}}
}

// Count tells how many rows a table has: "customer", "subscription" and so on.
func (q *QuirkServer) Count(table string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.rows[table])
}

// ServeHTTP answers as the original does.
func (q *QuirkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, q.prefix)
	if !ok {
		q.noRoute(w, http.StatusNotFound)
		return
	}
	in, ok := q.route(path, r)
	if !ok {
		q.noRoute(w, http.StatusNotFound)
		return
	}
	for name := range r.URL.Query() {
		if !strings.HasPrefix(name, "q.") {
			q.unparsable(w, `Unknown argument: "`+name+`"`)
			return
		}
	}
	if slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method) && !q.readBody(w, r, &in) {
		return
	}
	status, answer := q.handle(in)
	if f, ok := answer.(fault); ok {
		q.refuse(w, in.method, f)
		return
	}
	if status == http.StatusMethodNotAllowed && !q.opts.V1 {
		status = http.StatusNotFound // this router knows no other answer
	}
	if status >= http.StatusBadRequest {
		q.noRoute(w, status)
		return
	}
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, "application/json; charset=UTF-8", answer)
}

// readBody wants a Content-Length: the original does not understand chunks.
func (q *QuirkServer) readBody(w http.ResponseWriter, r *http.Request, in *call) bool {
	text, err := io.ReadAll(r.Body)
	switch {
	case err != nil || len(text) == 0 || r.ContentLength < 0:
		q.unparsable(w, `Missing argument: "body"`)
		return false
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		q.unparsable(w, "Unknow mimetype: "+r.Header.Get("Content-Type"))
		return false
	}
	if err := json.Unmarshal(text, &in.body); err != nil {
		if q.opts.V1 {
			q.unparsable(w, "")
		} else {
			q.refuse(w, r.Method, fault{text: "No JSON object could be decoded"})
		}
		return false
	}
	return true
}

// fault is an exception inside a handler.
type fault struct {
	text     string
	class    string // the exception, for the message queue's prefix
	notFound bool
}

func (q *QuirkServer) refuse(w http.ResponseWriter, method string, f fault) {
	if q.opts.V1 && method == http.MethodDelete {
		if f.notFound {
			writeJSON(w, http.StatusNotFound, "application/json",
				map[string]any{"code": 404, "type": "not_found", "errors": nil, "message": f.text})
		} else {
			writeJSON(w, http.StatusInternalServerError, "application/json", map[string]any{"code": 500})
		}
		return
	}
	if q.opts.Queue && f.class != "" {
		f.text = "Remote error: " + f.class + " " + f.text + "\n[u'Traceback (most recent call last):\\n', u'  File \"amqp.py\"']"
	}
	contentType := "application/json; charset=UTF-8"
	if q.opts.V1 {
		contentType = "text/html; charset=utf-8"
	}
	writeJSON(w, http.StatusInternalServerError, contentType,
		map[string]any{"faultcode": "Server", "faultstring": f.text, "debuginfo": nil})
}

func (q *QuirkServer) unparsable(w http.ResponseWriter, text string) {
	if q.opts.V1 {
		writeJSON(w, http.StatusInternalServerError, "application/json", map[string]any{"code": 500})
		return
	}
	writeJSON(w, http.StatusBadRequest, "application/json; charset=UTF-8",
		map[string]any{"faultcode": "Client", "faultstring": text, "debuginfo": nil})
}

func (q *QuirkServer) noRoute(w http.ResponseWriter, status int) {
	contentType, text := "text/plain; charset=UTF-8", "404 Not Found\n\nThe resource could not be found.\n"
	if q.opts.V1 {
		contentType, text = "text/html", "<!DOCTYPE HTML><title>Not here</title><p>Not here.</p>"
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) //nolint:errcheck // it fails when the client has gone
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errcheck // it fails when the client has gone
}
