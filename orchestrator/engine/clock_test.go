package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestTheDatabasesTimeIsLearntOnlyFromAQuickAnswer(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return local })
	database := local.Add(time.Hour)
	if c.set(local, local.Add(3*time.Second), database, 2*time.Second) {
		t.Error("an answer that took 3 s was used")
	}
	if got := c.Now(); !got.Equal(local) {
		t.Errorf("the time is %v, want the local %v", got, local)
	}
	if !c.set(local, local.Add(2*time.Second), database, 2*time.Second) {
		t.Error("an answer that took 2 s was not used")
	}
	local = local.Add(time.Second)
	if got := c.Now(); !got.Equal(database) {
		t.Errorf("the time is %v, want %v: the time of the database in the middle of the query", got, database)
	}
}

func TestASlowAnswerDoesNotMakeTheTimeLessExact(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return local })
	offset := time.Hour
	read := func(sent, took time.Duration) {
		before := local
		local = local.Add(took)
		if !c.set(before, local, before.Add(sent+offset), 2*time.Second) {
			t.Fatal("the answer was not used")
		}
	}
	off := func() time.Duration { return c.Now().Sub(local) }
	read(0, 0)
	read(0, 2*time.Second) // the database answered at once, but the answer took long to arrive
	read(2*time.Second, 2*time.Second)
	if got := off(); got != offset {
		t.Errorf("after slow answers the time is %v off, want %v", got, offset)
	}
	offset += 5 * time.Second // the database's clock was set forward
	read(time.Second, 2*time.Second)
	if got := off(); got != offset {
		t.Errorf("after the database's clock was set the time is %v off, want %v", got, offset)
	}
	offset -= 10 * time.Second
	read(0, 0)
	if got := off(); got != offset {
		t.Errorf("after the database's clock was set back the time is %v off, want %v", got, offset)
	}
}

func TestReadingTheDatabasesTime(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	database, took, failed := local.Add(time.Hour), time.Duration(0), error(nil)
	c := NewClock(func() time.Time { return local })
	read := func() error {
		return c.Read(t.Context(), func(context.Context) (time.Time, error) {
			local = local.Add(took)
			return database, failed
		})
	}
	if failed = errors.New("down"); !errors.Is(read(), failed) {
		t.Error("the error of the database is lost")
	}
	failed, took = nil, maxReading+time.Second
	if read() == nil {
		t.Error("a slow answer was used")
	}
	if took = 0; read() != nil || !c.Now().Equal(database) {
		t.Errorf("the time is %v, want %v", c.Now(), database)
	}
}
