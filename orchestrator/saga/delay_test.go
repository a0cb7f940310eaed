package saga

import (
	"fmt"
	"testing"
	"time"
)

func TestDelaysGrowAreSpreadAndAreTheSameAgain(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 100 {
		key := fmt.Sprint("run ", i)
		for n, plain := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second} {
			d := Delay(key, n+1, 250*time.Millisecond, time.Second)
			if d < plain*4/5 || d > plain*6/5 {
				t.Errorf("after failure %d of %s: %v, want %v plus or minus a fifth", n+1, key, d, plain)
			}
			if again := Delay(key, n+1, 250*time.Millisecond, time.Second); again != d {
				t.Errorf("after failure %d of %s: first %v, then %v", n+1, key, d, again)
			}
			seen[d] = true
		}
	}
	if len(seen) < 200 {
		t.Errorf("only %d of 400 delays are different, want at least 200: calls that failed together are repeated together", len(seen))
	}
}
