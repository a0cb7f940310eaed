package loginrate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestALimitIsRefilled(t *testing.T) {
	l, now := New(3), time.Unix(1e9, 0)
	for range 3 {
		if _, _, reached, _ := l.Take(now, "ada", "", "m"); reached != "" {
			t.Fatal(reached)
		}
	}
	_, left, reached, wait := l.Take(now, "ada", "", "m")
	if reached != "login-name" || wait != 20*time.Second || left != `"login-name";r=0;t=20, "login-merchant";r=87` {
		t.Errorf("reached %q, wait %v, left %s", reached, wait, left)
	}
	if _, _, reached, _ := l.Take(now.Add(20*time.Second), "ada", "", "m"); reached != "" {
		t.Errorf("after the wait, %s is reached", reached)
	}
	if _, _, reached, _ := l.Take(now, "bob", "v", "m"); reached != "" {
		t.Errorf("another name: %s is reached", reached)
	}
}

// An attempt above the merchant's limit makes no bucket for the name or the visitor. Another merchant is not affected.
func TestALimitCostsLittleMemory(t *testing.T) {
	l, now := New(1), time.Unix(1e9, 0)
	refused := 0
	for i := range 100_000 {
		if _, _, reached, _ := l.Take(now, fmt.Sprint("m name ", i), fmt.Sprint("m visitor ", i), "m"); reached == "login-merchant" {
			refused++
		}
	}
	if refused != 100_000-loginsOfMerchant || len(l.limits[0].buckets) != loginsOfMerchant || len(l.limits[1].buckets) != loginsOfMerchant {
		t.Errorf("%d refused; %d names and %d visitors have buckets", refused, len(l.limits[0].buckets), len(l.limits[1].buckets))
	}
	if _, left, reached, _ := l.Take(now, "n name", "", "n"); reached != "" || !strings.HasPrefix(left, `"login-name";r=0,`) {
		t.Errorf("another merchant: reached %q, left %s", reached, left)
	}
}

// If there are too many buckets, those that are full again are dropped.
func TestOldBucketsAreDropped(t *testing.T) {
	l, now := New(10), time.Unix(1e9, 0)
	for i := range maxBuckets {
		l.Take(now, fmt.Sprint("name ", i), "", fmt.Sprint("merchant ", i))
	}
	if _, _, reached, wait := l.Take(now, "one more", "", "merchant 0"); reached != "login-name" || wait != Window {
		t.Errorf("without memory: reached %q, wait %v", reached, wait)
	}
	if _, _, reached, _ := l.Take(now.Add(Window), "one more", "", "merchant 0"); reached != "" || len(l.limits[0].buckets) != 1 {
		t.Errorf("a minute later: reached %q, and there are %d buckets", reached, len(l.limits[0].buckets))
	}
}

// Full buckets are dropped once a minute, and a long key needs no more memory than a short one.
func TestBucketsAreDroppedEachMinute(t *testing.T) {
	l, now := New(10), time.Unix(1e9, 0)
	for i := range 100 {
		l.Take(now, strings.Repeat("x", 60_000)+fmt.Sprint(i), fmt.Sprint("visitor ", i), "")
	}
	l.Take(now.Add(2*Window), "name", "", "")
	if names, visitors := len(l.limits[0].buckets), len(l.limits[1].buckets); names != 1 || visitors != 0 {
		t.Errorf("two minutes later, %d names and %d visitors have buckets", names, visitors)
	}
}

func TestNamesThatKeystoneMayTakeForTheSameName(t *testing.T) {
	for _, name := range []string{"OLGA", "olga ", "\u00f3lga", "o\u0301lga", "\uff4flga", "olga\u00a0"} {
		if loose := LooseName(name); loose != "olga" {
			t.Errorf("%q becomes %q", name, loose)
		}
	}
	if loose := LooseName("olga2"); loose != "olga2" {
		t.Errorf("another name becomes %q", loose)
	}
}
