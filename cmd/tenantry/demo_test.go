package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestDemo(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	code, out, stderr := line(t, nil, "demo")
	if code != 0 || stderr != "" {
		t.Fatalf("got %d, %s\n%s", code, stderr, out)
	}
	// The output must contain these texts in this order.
	rest := out
	for _, want := range []string{
		"all services run in this one process", "$API          http://127.0.0.1:",
		"1. Ann buys", `curl -i "$API/v1/merchants/$MERCHANT/subscriptions"`,
		"✓ create-customer  ", "✓ attach-tenant  ", "run succeeded\n",
		"201 Created after ", "✓ BillingStack has the customer Ann",
		"✓ Keystone has the tenant bs-customer-…", `✓ on this tenant Ann has exactly the roles ["member" "bs-admin"]`,
		"✓ Keystone has the tenant bs-subscription-…", `✓ on this tenant Ann has exactly the roles ["member"]`,
		"✓ the subscription's resource_id is its tenant's id", "✓ the scoped token is valid",
		"2. The portal", "Idempotency-Replayed: true", "✓ the second answer equals the first, byte for byte", "✓ there is still only one run",
		"3. Bob buys", "run compensated", "409 Conflict", "the books are closed",
		"✓ BillingStack has no customer", "✓ BillingStack has no subscription", "✓ Keystone no longer has the run's tenants", "✓ Bob has no role",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing in\n%s", want, out)
		}
		rest = after
	}
	// If the demo sees the changes of several steps at once, it prints them in the order of the steps. These two lines may therefore be printed
	// in any order.
	_, compensation, _ := strings.Cut(out, "3. Bob buys")
	for _, want := range []string{"✗ attach-tenant  ", "↶ create-customer  "} {
		if before, _, _ := strings.Cut(compensation, "run compensated"); !strings.Contains(before, want) {
			t.Errorf("%q is missing in\n%s", want, before)
		}
	}
	for l := range strings.Lines(out) {
		if utf8.RuneCountInString(l) > 81 || strings.Contains(l, "\x1b") {
			t.Errorf("a line is too long or has colours: %q", l)
		}
	}
	if secret := regexp.MustCompile(`ts_[A-Za-z0-9_-]{20}|gAAAA`).FindString(out); secret != "" {
		t.Errorf("a secret is shown: %s", secret)
	}
	gone(t, temporary, out)
}

// The function `gone` checks that the demo has removed all its files and closed all its listeners.
func gone(t *testing.T, temporary, out string) {
	t.Helper()
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("the demo has left files behind: %v, %v", files, err)
	}
	addresses := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindAllString(out, -1)
	if len(addresses) < 3 {
		t.Errorf("got the addresses %v, want at least three", addresses)
	}
	for _, address := range addresses {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s still listens", address)
		}
	}
}

func TestDemoKeepsRunning(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader, writer := io.Pipe()
	var out, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- (&program{out: writer, err: &stderr}).run(ctx, []string{"demo", "--keep"})
		_ = writer.Close()
	}()
	lines := bufio.NewScanner(io.TeeReader(reader, &out))
	var pages []string // the links, and what a browser sees there
	for lines.Scan() {
		if link := strings.TrimSpace(lines.Text()); strings.HasPrefix(link, "http://") && len(pages) < 3 {
			pages = append(pages, link)
			if len(pages) < 3 {
				continue
			}
			for i, want := range []string{"0.02 EUR", "Sign in", "Tenantry"} {
				resp, err := http.Get(pages[i])
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
					t.Errorf("%s: got %d, want 200 and %q: %s", pages[i], resp.StatusCode, want, text)
				}
			}
			http.DefaultClient.CloseIdleConnections()
			cancel()
		}
		if _, secret, found := strings.Cut(lines.Text(), "export API_SECRET="); found && !strings.HasPrefix(secret, "ts_") {
			t.Errorf("got the secret %q", secret)
		}
	}
	if got := <-code; got != 0 || len(pages) != 3 || !strings.Contains(pages[0], "/portal/") {
		t.Errorf("got %d, %s\n%s", got, &stderr, &out)
	}
	gone(t, temporary, out.String())
}
