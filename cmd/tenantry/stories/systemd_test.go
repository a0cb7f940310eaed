package stories_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store/storetest"
)

// A process of the service tells systemd when it is ready, that it is healthy, and that it stops.
func TestSystemdIsTold(t *testing.T) {
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
	told := func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 256)
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}

	s := newSite(t, storetest.SQLite(t), memoryCloud(t, &upstream{}), &upstream{})
	r := s.serve("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=400000")
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := told(); got != want {
			t.Errorf("message %d is %q, want %q", i+1, got, want)
		}
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got := told()
	for got == "WATCHDOG=1" { // was sent before the signal arrived
		got = told()
	}
	if got != "STOPPING=1" {
		t.Errorf("after SIGTERM: got %q", got)
	}
	<-r.dead
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: %s", code, s.log.read())
	}
	if err := socket.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := socket.Read(make([]byte, 1)); err == nil {
		t.Errorf("got another message of %d bytes after STOPPING=1", n)
	}
}
