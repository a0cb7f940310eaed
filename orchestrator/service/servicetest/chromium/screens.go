package chromium

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// screensFolder returns the folder for pictures; it is empty if no pictures are wanted.
func screensFolder() string { return os.Getenv("TENANTRY_TEST_SCREENS") }

// The type `view` is a way in which a person may see a page. Narrow pages show tables as cards.
type view struct {
	width  int64
	scheme string
	check  bool // the page is checked with axe-core
}

// Without pictures, each layout and each colour scheme is checked once, because a check takes up to a second.
var (
	checked = []view{{360, "light", true}, {1440, "dark", true}}
	shown   = []view{{360, "light", true}, {1440, "light", true}, {2560, "light", false}, {360, "dark", true}, {1440, "dark", true}, {2560, "dark", false}}
)

// Screens checks the page with axe-core: narrow and light, and then wide and dark. If the variable TENANTRY_TEST_SCREENS names a folder,
// Screens checks all four combinations, and writes a picture of each combination to the folder. It also writes pictures with a width of
// 2560 pixels.
func Screens(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder, views := screensFolder(), checked
	if folder != "" {
		views = shown
		if err := os.MkdirAll(folder, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range views {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}},
		})
		if err != nil {
			t.Fatal(err)
		}
		Do(t, ctx, chromedp.EmulateViewport(v.width, 900))
		if v.check {
			Accessible(t, ctx)
		}
		if folder == "" {
			continue
		}
		path := filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, v.width, v.scheme))
		if err := os.WriteFile(path, Read(t, ctx, chromedp.FullScreenshot(100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	Do(t, ctx, chromedp.EmulateViewport(1440, 900))
}
