// Package transcript records the HTTP exchanges of a test in a file. The file has the calls of Tenantry's API with their answers,
// and the requests that reach the upstreams. Two versions of the code with the same behavior write equal files. A recursive diff
// of two recordings therefore shows the effects of a change on callers and upstreams.
//
// The package imports only the standard library, so that the tests of every package can use it.
package transcript

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Services whose requests are recorded.
const (
	API          = "api" // Tenantry's own
	Keystone     = "keystone"
	BillingStack = "billingstack"
)

// Story records the exchanges of one test. A nil Story records nothing and costs nothing.
type Story struct {
	unordered, loose, halted bool   // true if the test is in the list of the same name
	standIn                  bool   // see standInFields
	differs                  string // the reason, if the test is in the list differing

	mu        sync.Mutex
	began     bool
	exchanges []*exchange // in the order of arrival
}

// exchange is one request and its answer. An exchange before [Story.Begin] is not written, but helps to determine the kinds of
// ids.
type exchange struct {
	service string
	setup   bool
	method  string
	path    string
	query   url.Values
	header  http.Header
	body    []byte

	status   int // zero if there was no answer
	answered http.Header
	answer   []byte
}

// New starts the story of a test. pkg is the path of the test's package. When the test ends, the story is written to
// DIR/pkg/TEST.txt, where DIR is the value of TENANTRY_TEST_EXCHANGES. A story with an intended difference is written to
// DIR/differing/pkg/TEST.txt, with the reason in the first line. If TENANTRY_TEST_EXCHANGES is empty, New returns nil. New skips
// a test whose exchanges are not recorded. Call New before the test starts its servers, so that the file is written after they
// stop.
func New(t testing.TB, pkg string) *Story {
	dir := os.Getenv("TENANTRY_TEST_EXCHANGES")
	if dir == "" {
		return nil
	}
	t.Helper()
	name, rest, _ := strings.Cut(t.Name(), "/")
	if recorded, ok := renamedStories[name]; ok {
		name = recorded
	}
	if why, ok := leftOut[name]; ok {
		if rest == "" { // a subtest is not skipped, because other subtests may depend on it
			t.Skip("the exchanges of this test are not recorded: " + why)
		}
		return nil
	}
	s := &Story{}
	_, s.unordered = unordered[name]
	_, s.loose = loose[name]
	s.halted = halted[name]
	s.standIn = pkg == "orchestrator/api"
	if s.differs = differing[name]; s.differs != "" {
		dir = filepath.Join(dir, "differing")
	}
	path := filepath.Join(dir, filepath.FromSlash(pkg), filepath.FromSlash(strings.TrimSuffix(name+"/"+rest, "/"))+".txt")
	t.Cleanup(func() {
		if err := write(path, s.text()); err != nil {
			t.Errorf("writing the exchanges: %v", err)
		}
	})
	return s
}

// write creates the file. write returns an error if the file exists. The file exists if a test has several stories, or if the
// directory has an earlier recording.
func write(path, text string) error {
	if text == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // test output is not secret
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // test output is not secret
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Begin ends the set-up of the test. Only requests after the set-up are written.
func (s *Story) Begin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = true
}

// Handler records the requests that the handler next serves.
func (s *Story) Handler(service string, next http.Handler) http.Handler {
	if s == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		r.Body = again(body, err)
		e := s.arrived(service, r, body)
		out := &answerWriter{ResponseWriter: w}
		defer func() { s.answered(e, out.status, out.Header(), out.body.Bytes()) }()
		next.ServeHTTP(out, r)
	})
}

// Around records the requests that the transport next sends.
func (s *Story) Around(service string, next http.RoundTripper) http.RoundTripper {
	if s == nil {
		return next
	}
	return roundTripper{s, service, next}
}

// Front starts a proxy for the service at address, and returns the proxy's address. The proxy records all exchanges until the
// test ends. A nil Story starts no proxy and returns address.
func (s *Story) Front(t testing.TB, service, address string) string {
	if s == nil {
		return address
	}
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	path := at.Path
	at.Path = ""
	proxy := httptest.NewServer(s.Handler(service, &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(at) },
		Transport:     &http.Transport{DisableKeepAlives: true},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL + path
}

func (s *Story) arrived(service string, r *http.Request, body []byte) *exchange {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		query = url.Values{"malformed": {r.URL.RawQuery}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &exchange{
		service: service, setup: !s.began, method: r.Method, path: r.URL.EscapedPath(), query: query, header: r.Header.Clone(), body: body,
	}
	s.exchanges = append(s.exchanges, e)
	return e
}

func (s *Story) answered(e *exchange, status int, header http.Header, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.status, e.answered, e.answer = status, header.Clone(), slices.Clone(body)
}

type roundTripper struct {
	story   *Story
	service string
	next    http.RoundTripper
}

// RoundTrip sends the request and records the exchange.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = again(body, nil)
	}
	e := t.story.arrived(t.service, req, body)
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = again(answer, err)
	t.story.answered(e, resp.StatusCode, resp.Header, answer)
	return resp, nil
}

// again returns a new reader for a body that was already read. The reader returns the body, and then err if err is not nil.
func again(body []byte, err error) io.ReadCloser {
	if err == nil {
		return io.NopCloser(bytes.NewReader(body))
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
}

type failing struct{ err error }

// Read fails.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// answerWriter keeps a copy of the answer that it writes.
type answerWriter struct {
	http.ResponseWriter

	status int
	body   bytes.Buffer
}

// WriteHeader implements [http.ResponseWriter].
func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Flush implements [http.Flusher].
func (w *answerWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap returns the wrapped writer to an [http.ResponseController].
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
