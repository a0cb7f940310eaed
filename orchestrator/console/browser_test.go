package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browse starts a real Chromium without a window. It trusts the certificate of the test, and ends with the test.
func browse(t *testing.T) context.Context {
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
	ctx, timeout := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(func() {
		timeout()
		_ = chromedp.Cancel(ctx) // the browser may have ended already
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return ctx
}

// The type `seen` is what a browser has asked for, and what it complained about.
type seen struct {
	mu     sync.Mutex
	urls   []string
	faults []string
}

// The function `watchful` records the requests and the complaints of a browser.
func watchful(t *testing.T, ctx context.Context) *seen {
	t.Helper()
	s := &seen{}
	err := chromedp.Listen(ctx, func(event any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			s.urls = append(s.urls, e.Request.URL)
		case *log.EventEntryAdded:
			s.faults = append(s.faults, e.Entry.Text)
		case *runtime.EventExceptionThrown:
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

// The method `check` fails the test if a request went to another host, or if the browser has complained, for example about the
// Content-Security-Policy.
func (s *seen) check(t *testing.T, home string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.urls {
		if !strings.HasPrefix(u, home) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
			t.Errorf("a request to %s", u)
		}
	}
	if len(s.urls) == 0 {
		t.Error("no request was recorded")
	}
	for _, fault := range s.faults {
		t.Errorf("the browser complains: %s", fault)
	}
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func read[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	found, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The method `signIn` opens a page of the console as an operator who has to sign in first.
func (w *world) signIn(path string) []chromedp.Action[chromedp.Void] {
	return []chromedp.Action[chromedp.Void]{
		chromedp.Navigate(w.URL + path), chromedp.WaitVisible(`input[name=user]`), chromedp.SendKeys(`input[name=user]`, "olga"),
		chromedp.SendKeys(`input[name=password]`, "pw\r"),
	}
}

// screens takes a picture of the page at each width, light and dark, and writes it to bin/screens. It checks the page with axe-core as
// a table and as cards, light and dark.
func screens(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := filepath.Join("..", "..", "bin", "screens")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{360, 1440, 2560} {
			do(t, ctx, chromedp.EmulateViewport(width, 900))
			if width < 2560 {
				accessible(t, ctx)
			}
			path := filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
			if err := os.WriteFile(path, read(t, ctx, chromedp.FullScreenshot(100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	do(t, ctx, chromedp.EmulateViewport(1440, 900))
}
