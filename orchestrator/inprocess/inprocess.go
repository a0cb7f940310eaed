// Package inprocess passes HTTP requests to a handler in this process, without a network.
package inprocess

import (
	"bytes"
	"io"
	"net/http"
)

// Transport is an [http.RoundTripper] that passes requests to a handler. The whole answer is kept in memory until the handler returns, so the
// handler must limit its answers, and must not stream events.
type Transport struct{ Handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody // handlers expect a body, because each request that a server receives has one
	}
	defer in.Body.Close()
	out := &answer{header: http.Header{}}
	t.Handler.ServeHTTP(out, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	out.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: http.StatusText(out.status), StatusCode: out.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.sent,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r,
	}, nil
}

// The type `answer` is an http.ResponseWriter that keeps the answer.
type answer struct {
	header, sent http.Header
	status       int // zero until the status is written
	body         bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
