// Package billingtest has a BillingStack with the quirks of the original, and the conformance suite for every BillingStack that
// the client supports.
package billingtest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Options select the original that is imitated.
type Options struct {
	// V1 selects the Flask server of March 2013: updates are PUT and return 202, a DELETE has real error codes, and other faults are
	// JSON with the content type of HTML. Otherwise it is v2 of November 2013.
	V1 bool
	// Unrepaired keeps v2's POST of subscriptions and usage as it was released: it always fails.
	Unrepaired bool
	// Queue returns faults as they are behind a real message queue: with a prefix, and a traceback after the first line.
	Queue bool
}

// QuirkServer imitates the original server in memory, with its bugs. Paths, codes and texts were taken from runs of its code. It
// is safe for concurrent use.
type QuirkServer struct {
	opts   Options
	prefix string

	mu   sync.Mutex
	rows map[string][]row // by table, in the order of creation
}

type row map[string]any

// NewQuirkServer returns an empty server, without even currencies.
func NewQuirkServer(opts Options) *QuirkServer {
	prefix := "/v2/"
	if opts.V1 {
		prefix = "/v1/"
	}
	return &QuirkServer{opts: opts, prefix: prefix, rows: map[string][]row{}}
}

// Count returns the number of rows of a table, such as "customer" or "subscription".
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
		status = http.StatusNotFound // the router of v2 has no other answer
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

// readBody requires a Content-Length: the original does not understand chunks.
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

// fault is an exception in a handler.
type fault struct {
	text     string
	class    string // of the exception, for the prefix of the message queue
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
	_, _ = io.WriteString(w, text) //nolint:errcheck // it fails if the client has closed the connection
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errcheck // it fails if the client has closed the connection
}
