package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// LocalTransport returns a transport that passes requests to a handler of [New] in this process, without a network. The caller of these
// requests counts as an operator, and needs no credential. A user who can open the handler's database can read and change everything in it
// anyway. Actions are recorded as "local:USER", with the name of the operating-system user. The transport passes the user in a context
// value that no other code can set. Therefore, a request that arrives at a listener never counts as a local request.
func LocalTransport(h http.Handler, user string) http.RoundTripper { return localTransport{h, user} }

type localTransport struct {
	handler http.Handler
	user    string
}

// localKey is the key of the context value with the operating-system user.
type localKey struct{}

func localUser(ctx context.Context) (user string, ok bool) {
	user, ok = ctx.Value(localKey{}).(string)
	return user, ok
}

// RoundTrip implements [http.RoundTripper].
func (t localTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(context.WithValue(r.Context(), localKey{}, t.user))
	if in.Body == nil {
		in.Body = http.NoBody // handlers expect a body, because each request that a server receives has one
	}
	defer in.Body.Close()
	out := &localAnswer{header: http.Header{}}
	t.handler.ServeHTTP(out, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	out.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: http.StatusText(out.status), StatusCode: out.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.sent,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r,
	}, nil
}

// localAnswer is an http.ResponseWriter that keeps the answer.
type localAnswer struct {
	header, sent http.Header
	status       int // zero until the status is written
	body         bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *localAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *localAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write implements [http.ResponseWriter].
func (a *localAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
