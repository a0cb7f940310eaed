// Package chromium lets tests use the web pages of an installation with a real Chromium.
package chromium

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	js "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Start starts a Chromium without a window. It trusts every certificate, and ends with the test.
func Start(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("run this test with `make test`, which installs chromium")
	}
	t.Log("real: chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	ctx, timeout := context.WithTimeout(ctx, maxTime())
	t.Cleanup(func() {
		timeout()
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return ctx
}

// Close closes a browser before the end of the test.
func Close(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := chromedp.Cancel(ctx); err != nil {
		t.Fatalf("closing chromium: %v", err)
	}
}

// maxTime returns the time limit of a browser. All pictures of a page take about 10 seconds on two cores.
func maxTime() time.Duration {
	if screensFolder() != "" {
		return 15 * time.Minute
	}
	return 4 * time.Minute
}

// Do carries out steps in the browser, and ends the test if one fails.
func Do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// Read returns what an action reads in the browser.
func Read[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	found, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Seen has the requests of a browser, and its complaints.
type Seen struct {
	mu     sync.Mutex
	urls   []string
	faults []string
}

// Watch records the requests and the complaints of a browser from now on.
func Watch(t *testing.T, ctx context.Context) *Seen {
	t.Helper()
	s := &Seen{}
	err := chromedp.Listen(ctx, func(event any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			s.urls = append(s.urls, e.Request.URL)
		case *log.EventEntryAdded:
			s.faults = append(s.faults, strings.TrimSpace(e.Entry.Text+" "+e.Entry.URL))
		case *js.EventExceptionThrown:
			s.faults = append(s.faults, e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Check fails the test if the browser has sent a request to another host than the host of the URL. It also fails the test if the browser
// has complained, for example about the Content-Security-Policy. Check ignores each complaint that contains one of the texts in `expected`.
// A test that causes an answer with an error status needs such a text, because browsers complain about each of these answers.
func (s *Seen) Check(t *testing.T, url string, expected ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.urls {
		if !strings.HasPrefix(u, url) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
			t.Errorf("a request to %s", u)
		}
	}
	if len(s.urls) == 0 {
		t.Error("no request was recorded")
	}
faults:
	for _, fault := range s.faults {
		for _, part := range expected {
			if strings.Contains(fault, part) {
				continue faults
			}
		}
		t.Errorf("the browser complains: %s", fault)
	}
}

// root returns the directory of the module.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
}
