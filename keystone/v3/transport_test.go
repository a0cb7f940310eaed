package v3_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// silentCloser starts a server that closes the connection after each answer. Like uwsgi's http-socket, the server does not announce the
// close with the header "Connection: close". The client notices the close only at its next request.
func silentCloser(t *testing.T, handler http.Handler) (host string) {
	t.Helper()
	return listener(t, func(c *net.TCPConn) {
		defer c.Close()
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		resp := serve(handler, req.WithContext(t.Context()))
		defer resp.Body.Close()
		content, _ := io.ReadAll(resp.Body)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d X\r\n", resp.StatusCode)
		_ = resp.Header.Write(c)
		_, _ = fmt.Fprintf(c, "Content-Length: %d\r\n\r\n%s", len(content), content)
	})
}

func TestConnectionsThatCloseWithoutAWordLoseNoCall(t *testing.T) {
	h := newHouse(t)
	h.config.URL = "http://" + silentCloser(t, h.Keystone)
	cloud, err := v3.New(h.config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		n := tenant(fmt.Sprint(i))
		p, made, err := cloud.EnsureProject(t.Context(), n)
		if err != nil || !made {
			t.Fatalf("made %t, %v", made, err)
		}
		if _, err := cloud.FindProject(t.Context(), "default", n.Name); err != nil {
			t.Fatal(err)
		}
		if err := only(cloud.RemoveProject(t.Context(), p, n.RunTag)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyWhatIsLateIsCalledLate(t *testing.T) {
	silent := listener(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	for what, c := range map[string]struct {
		host    string
		timeout time.Duration
		late    bool
	}{
		"no answer":          {silent, 100 * time.Millisecond, true},
		"connection refused": {"127.0.0.1:1", 0, false},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, func(cfg *conn.Config) {
				cfg.URL, cfg.Timeout = "http://"+c.host, c.timeout
			})
			err := h.cloud.Ping(t.Context())
			if err == nil || strings.Contains(err.Error(), "no answer within") != c.late {
				t.Errorf("got %v, want a time-out: %t", err, c.late)
			}
		})
	}
}

func TestReadsReuseAConnectionAndWritesDoNot(t *testing.T) {
	var opened atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		},
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	client := http.Client{Transport: conn.NewTransport(nil)}
	t.Cleanup(client.CloseIdleConnections)
	send := func(method string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String(), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	for range 10 {
		send("GET")
	}
	if opened.Load() != 1 {
		t.Errorf("ten reads opened %d connections, want 1", opened.Load())
	}
	for range 10 {
		send("POST")
	}
	if opened.Load() != 11 {
		t.Errorf("got %d connections after ten more writes, want 11", opened.Load())
	}
}
