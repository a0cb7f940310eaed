package console_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// The type `unreadPage` is a browser that begins to read a page, and then waits.
type unreadPage struct {
	header http.Header
	status int
	begun  chan<- int      // receives the length of the page
	unread <-chan struct{} // closed when the browser reads on
}

func (u *unreadPage) Header() http.Header    { return u.header }
func (u *unreadPage) WriteHeader(status int) { u.status = status }
func (u *unreadPage) Write(p []byte) (int, error) {
	u.begun <- len(p)
	<-u.unread
	return len(p), nil
}

// Pages that one person does not read have at most 48 MiB, and do not keep other people from reading theirs.
func TestUnreadPagesHaveALimit(t *testing.T) {
	const limit = 48 << 20
	w := newWorld(t)
	for range 50 {
		w.order(t, w.Merchant)
	}
	v, other := w.merchant(t, w.Merchant), w.merchant(t, w.Other)
	address, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	unread := make(chan struct{})
	var all sync.WaitGroup
	held, refusal := 0, (*unreadPage)(nil)
	for held <= limit && refusal == nil {
		r := httptest.NewRequest(http.MethodGet, "/console/runs", nil)
		r.TLS, r.RemoteAddr = &tls.ConnectionState{}, "192.0.2.1:1"
		for _, c := range v.client.Jar.Cookies(address) {
			r.AddCookie(c)
		}
		begun := make(chan int, 1)
		browser := &unreadPage{header: http.Header{}, begun: begun, unread: unread}
		all.Go(func() { w.Service.Handler.ServeHTTP(browser, r) })
		if n := <-begun; browser.status == http.StatusOK {
			held += n
		} else {
			refusal = browser
		}
	}
	switch {
	case refusal == nil:
		t.Errorf("%d MiB of pages are unread, and no page was refused", held>>20)
	case refusal.status != http.StatusTooManyRequests || refusal.header.Get("Retry-After") != "5" || held < limit/3:
		t.Errorf("after %d MiB: got %d %v, want 429", held>>20, refusal.status, refusal.header)
	}
	if p := other.get("/console/runs"); p.status != http.StatusOK {
		t.Errorf("another person: got %d", p.status)
	}
	close(unread)
	all.Wait()
	if p := v.get("/console/runs"); p.status != http.StatusOK {
		t.Errorf("after the pages were read: got %d", p.status)
	}
}
