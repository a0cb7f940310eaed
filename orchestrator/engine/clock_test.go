package engine

import (
	"testing"
	"time"
)

func TestTheDatabasesTimeIsLearntOnlyFromAQuickAnswer(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return local })
	database := local.Add(time.Hour)
	if c.set(local, local.Add(3*time.Second), database, 2*time.Second) {
		t.Error("an answer that took 3 s was taken")
	}
	if got := c.Now(); !got.Equal(local) {
		t.Errorf("the time is %v, want the local %v", got, local)
	}
	if !c.set(local, local.Add(2*time.Second), database, 2*time.Second) {
		t.Error("an answer within 2 s was not taken")
	}
	local = local.Add(time.Second)
	if got := c.Now(); !got.Equal(database) {
		t.Errorf("the time is %v, want %v, as it was half-way", got, database)
	}
}
