package billing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestURLs(t *testing.T) {
	for raw, good := range map[string]bool{
		"http://h:9091/v2": true, "http://h/v1/": true, "https://h/billing/v2": true,
		"": false, "h:9091/v2": false, "http://h:9091": false, "http://h/v3": false, "ftp://h/v2": false,
		"http://u:canary@h/v2": false, "http://h/v2?x=1": false, "http://canary:x\x00@h/v2": false, "http:///v2": false,
	} {
		_, err := billing.New(billing.Config{URL: raw})
		if (err == nil) != good {
			t.Errorf("%q: got %v, want good %t", raw, err, good)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error contains the password: %v", raw, err)
		}
	}
}

func TestRequestsAsTheyAreSent(t *testing.T) {
	type sent struct{ line, contentType, body string }
	for version, update := range map[string]string{"v2": "PATCH", "v1": "PUT"} {
		t.Run(version, func(t *testing.T) {
			var got []sent
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0 {
					t.Errorf("%s: length %d of %d, %v", r.URL, r.ContentLength, len(body), err)
				}
				got = append(got, sent{r.Method + " " + r.URL.String(), r.Header.Get("Content-Type"), string(body)})
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(w, "[]")
					return
				}
				_, _ = io.WriteString(w, `{"id": "`+itemID+`", "resource_id": "r", "plan_id": "`+planID+`"}`)
			}))
			defer srv.Close()
			c := client(t, billing.Config{URL: srv.URL + "/" + version})
			subscription := billing.Subscription{ID: itemID, PlanID: planID, CustomerID: customerID, ResourceID: "pending:1"}
			_, err1 := c.EnsureSubscription(t.Context(), merchantID, subscription)
			_, err2 := c.SetResource(t.Context(), merchantID, itemID, "r")
			_, err3 := c.SubscriptionsOf(t.Context(), merchantID, customerID)
			_, err4 := c.SetPlan(t.Context(), merchantID, itemID, planID)
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			base := "/" + version + "/merchants/" + merchantID + "/subscriptions"
			want := []sent{
				{"POST " + base, "application/json", `{"id":"` + itemID + `","plan_id":"` + planID + `","customer_id":"` + customerID + `","resource_id":"pending:1"}`},
				{update + " " + base + "/" + itemID, "application/json", `{"resource_id":"r"}`},
				{"GET " + base + "?q.field=customer_id&q.op=eq&q.value=" + customerID, "", ""},
				{update + " " + base + "/" + itemID, "application/json", `{"plan_id":"` + planID + `"}`},
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("sent\n%v\nwant\n%v", got, want)
			}
		})
	}
}

func TestMessagesAreFitToBeStored(t *testing.T) {
	url, _ := script(t, answer{status: "400 Bad Request", body: "a\x00\xff" + strings.Repeat("é", 4000) + "\nsecond"})
	err := client(t, billing.Config{URL: url}).Ping(t.Context())
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || len(e.Message) > 1024 || len(e.Message) < 1020 || !utf8.ValidString(e.Message) || strings.ContainsAny(e.Message, "\x00\n") {
		t.Errorf("got %d bytes: %q", len(e.Message), e.Message)
	}
}

// TestConnections counts the concurrent requests, and the connections that the client uses.
func TestConnections(t *testing.T) {
	for name, c := range map[string]struct {
		connections int
		keepAlive   bool
	}{"one, closed each time": {1, false}, "four, kept": {4, true}} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			under, most := 0, 0
			addresses := map[string]bool{}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				under++
				most = max(most, under)
				addresses[r.RemoteAddr] = true
				mu.Unlock()
				_, _ = io.WriteString(w, "[]")
				mu.Lock()
				under--
				mu.Unlock()
			}))
			defer srv.Close()
			cl := client(t, billing.Config{URL: srv.URL + "/v2", Connections: c.connections})
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if err := cl.Ping(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if most > c.connections {
				t.Errorf("%d concurrent requests, want at most %d", most, c.connections)
			}
			if kept := len(addresses) < 40; kept != c.keepAlive {
				t.Errorf("40 requests over %d connections, want them kept: %t", len(addresses), c.keepAlive)
			}
		})
	}
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "[]")
	}))
	defer srv.Close()
	c := client(t, billing.Config{URL: srv.URL + "/v2"})
	first := make(chan error)
	go func() { first <- c.Ping(context.Background()) }()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := c.EnsureCustomer(ctx, wanted)
	outcome{class: upstream.Transient, is: context.DeadlineExceeded}.of(t, err)
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestATurnEndsWithItsAnswerAndTheTimeBeginsWithIt(t *testing.T) {
	url, _ := script(t, fault("503 Service Unavailable", "x"), answer{}, answer{status: "200 OK", body: "[]"})
	var ends []string
	c := client(t, billing.Config{
		URL: url, Timeout: 50 * time.Millisecond,
		Enter: func(context.Context) (func(int, error), error) {
			time.Sleep(60 * time.Millisecond) // longer than Timeout: the wait in Enter must not count towards Timeout
			return func(status int, err error) { ends = append(ends, fmt.Sprint(status, " ", err != nil)) }, nil
		},
	})
	for range 3 {
		_ = c.Ping(t.Context())
	}
	if want := []string{"503 false", "0 true", "200 false"}; !slices.Equal(ends, want) {
		t.Errorf("leave was called with %q, want %q", ends, want)
	}
}
