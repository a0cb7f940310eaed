package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestCleanMakesTextFitToBeStored(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain text stays":                {"not found", "not found"},
		"blanks at the ends go":           {"\n a b \t", "a b"},
		"NUL is replaced":                 {"a\x00b", "a\uFFFDb"},
		"broken UTF-8 is replaced":        {"a\xffb", "a\uFFFDb"},
		"long text is cut":                {strings.Repeat("x", 5000), strings.Repeat("x", 1024)},
		"a character is not cut in half":  {strings.Repeat("x", 1023) + "é", strings.Repeat("x", 1023)},
		"a huge text is cut before its é": {strings.Repeat("é", 1<<20), strings.Repeat("é", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			got := upstream.Clean(c.in)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q is not valid UTF-8", got)
			}
		})
	}
}

func TestAnErrorHasACode(t *testing.T) {
	service := upstream.Service{ID: "it", Name: "It"}
	open := &upstream.NotSentError{Circuit: "it/there", RetryAfter: time.Second, Err: errors.New("it is down")}
	for want, e := range map[string]upstream.Error{
		"it-refused":            {Class: upstream.Permanent, Status: 400},
		"it-blocked":            {Class: upstream.Blocked},
		"it-unavailable":        {Class: upstream.Unavailable, Status: 503, MaybeDone: true},
		"it-credential-refused": {Class: upstream.Unavailable, Status: 401, OwnCredential: true},
		"it-busy":               {Class: upstream.Transient, Status: 429},
		"it-no-answer":          {Class: upstream.Transient, Err: io.EOF},
	} {
		e.Service = service
		if got := e.Code(); got != want {
			t.Errorf("got %s for %+v, want %s", got, e, want)
		}
	}
	for want, e := range map[string]upstream.Error{
		"it-no-answer":   {Class: upstream.Transient, Status: 500, MaybeDone: true},
		"it-busy":        {Class: upstream.Transient, Err: &upstream.NotSentError{Err: context.Canceled}},
		"it-unavailable": {Class: open.Class(), Err: fmt.Errorf("wrapped: %w", open)},
	} {
		e.Service = service
		if got := e.Code(); got != want {
			t.Errorf("got %s for %+v, want %s", got, e, want)
		}
	}
	if e := (&upstream.Error{Err: fmt.Errorf("wrapped: %w", open)}); e.Circuit() != "it/there" || !errors.Is(e, open) {
		t.Errorf("the circuit is %q", e.Circuit())
	}
}
