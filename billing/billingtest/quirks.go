// Package billingtest contains an in-memory BillingStack with the bugs of the original server. The package also contains the
// conformance suite for every BillingStack that the client supports.
package billingtest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Options select the version of the original BillingStack that a QuirkServer imitates.
type Options struct {
	// V1 selects the Flask server of March 2013. In v1, updates are PUT requests and return 202. A failed DELETE returns 404 or
	// 500. Most other failures return 500, with a JSON body and the content type text/html. If V1 is false, the QuirkServer
	// imitates v2 of November 2013.
	V1 bool
	// Unrepaired keeps a bug of the released v2: every POST of a subscription or of usage fails.
	Unrepaired bool
	// Queue formats faults as an original server with a message queue does: with a prefix before the text, and a traceback after
	// the first line.
	Queue bool
}

// QuirkServer imitates the original BillingStack server in memory, including its bugs. The paths, status codes and error texts were
// observed while the original code ran. A QuirkServer is safe for concurrent use.
type QuirkServer struct {
	opts   Options
	prefix string

	mu   sync.Mutex
	rows map[string][]row // the rows of each table, oldest first
}

type row map[string]any

// NewQuirkServer returns a server without any objects: even the list of currencies is empty.
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

// ServeHTTP answers a request as the original BillingStack does.
func (q *QuirkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, q.prefix)
	if !ok {
		q.noRoute(w, r, http.StatusNotFound)
		return
	}
	if r.Method == http.MethodGet && q.isPaymentMethods(path) {
		writeJSON(w, http.StatusOK, "application/json; charset=UTF-8", []any{}) // nothing in Tenantry makes a payment method
		return
	}
	in, ok := q.route(path, r)
	if !ok {
		q.noRoute(w, r, http.StatusNotFound)
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
		status = http.StatusNotFound // the router of v2 answers 404 instead of 405
	}
	if status >= http.StatusBadRequest {
		q.noRoute(w, r, status)
		return
	}
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, "application/json; charset=UTF-8", answer)
}

// isPaymentMethods reports whether the path leads to the payment methods of a customer.
func (q *QuirkServer) isPaymentMethods(path string) bool {
	name := "payment_methods"
	if q.opts.V1 {
		name = "payment-methods"
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return len(parts) == 5 && parts[0] == "merchants" && parts[2] == "customers" && parts[4] == name
}

// readBody decodes the JSON body and sets in.body. readBody requires a Content-Length, because the original server does not
// understand chunked requests.
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

// The type `fault` is a Python exception in a handler of the original server.
type fault struct {
	text     string
	class    string // class of the exception; the message queue puts the class before the text
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

func (q *QuirkServer) noRoute(w http.ResponseWriter, r *http.Request, status int) {
	contentType, text := "text/plain; charset=UTF-8", "404 Not Found\n\nThe resource could not be found.\n"
	if q.opts.V1 {
		contentType, text = "text/html", "<!DOCTYPE HTML><title>Not here</title><p>Not here.</p>"
	} else if r.Header.Get("Accept") == "application/json" {
		contentType, text = "application/json", `{"code": 404, "title": "Not Found", "description": null}`
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) //nolint:errcheck // writing fails if the client has closed the connection
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errcheck // writing fails if the client has closed the connection
}
