package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// The type `manager` is the end of a notification socket on which systemd would listen.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-") //nolint:usetesting // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(socket.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{socket}
}

// The method `told` returns the next message, or "" if there is none within the time.
func (m manager) told(t *testing.T, within time.Duration) string {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 256)
	n, err := m.Read(buffer)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

// A service that does not answer in time is not reported as healthy. When it answers again, it is.
func TestTheWatchdogIsToldOnlyThatTheServiceIsHealthy(t *testing.T) {
	m := newManager(t)
	results := make(chan error)
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keepWatchdog(ctx, 40*time.Millisecond, func(ctx context.Context) error {
			select {
			case err := <-results:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, zerolog.New(&log))
	}()
	results <- nil
	if got := m.told(t, 10*time.Second); got != "WATCHDOG=1" {
		t.Errorf("healthy: got %q", got)
	}
	results <- errors.New("canary")
	if got := m.told(t, 200*time.Millisecond); got != "" { // in this time, the service does not answer
		t.Errorf("not healthy: got %q", got)
	}
	results <- nil
	if got := m.told(t, 10*time.Second); got != "WATCHDOG=1" {
		t.Errorf("healthy again: got %q", got)
	}
	stop()
	<-ended
	for _, want := range []string{"canary", "context deadline exceeded"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q: %s", want, log.String())
		}
	}
}
