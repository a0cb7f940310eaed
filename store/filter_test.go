package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestIDsOfATimeLieBetweenItsFirstAndTheNexts(t *testing.T) {
	for range 1000 {
		id := uuid.Must(uuid.NewV7())
		sec, nsec := id.Time().UnixTime()
		at := time.Unix(sec, nsec)
		if first, next := firstID(at), firstID(at.Add(time.Millisecond)); id.String() < first || id.String() >= next {
			t.Fatalf("%s is not between %s and %s", id, first, next)
		}
	}
	for what, at := range map[string]time.Time{
		"00000000-0000-0000-0000-000000000000": {}, "ffffffff-ffff-0000-0000-000000000000": time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got := firstID(at); got != what {
			t.Errorf("first id of %v: %s, want %s", at, got, what)
		}
	}
}
