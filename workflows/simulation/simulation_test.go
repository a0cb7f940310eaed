package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	seedFlag  = flag.Int("seed", 0, "the `seed` whose history TestSeed prints, with -v")
	replays   = flag.Int("replays", 3, "`number` of times that TestASeedReplays runs each seed")
	second    = flag.Bool("identity-v2", false, "the service uses Identity v2.0")
	seedsFlag = flag.String("seeds", "", "simulate these seeds: `FROM-TO`, excluding TO")
)

// The type `lived` is the result of one simulated world.
type lived struct {
	hash, history string
	broken        []string
	record        *record // nil if not requested
}

// inBubble runs a plan on simulated time.
func inBubble(t *testing.T, p *plan, m mutations, keep bool) (l lived) {
	synctest.Test(t, func(t *testing.T) {
		w := simulate(t, p, m, keep)
		for _, b := range w.broken {
			l.broken = append(l.broken, b.String())
		}
		l.hash, l.history, l.record = w.driver.hash(), w.driver.history(), w.record
	})
	return l
}

func try(t *testing.T, seed int, second bool) *record {
	t.Helper()
	p := newPlan(uint64(seed))
	p.Second = second
	more := ""
	if second {
		more = " -identity-v2"
	}
	world := inBubble(t, p, mutations{}, false)
	if len(world.broken) > 0 {
		t.Errorf("seed %d violates\n  %s\n%s\nreplay it with\n  go test ./workflows/simulation -run '^TestSeed$' -v -seed %d%s",
			seed, strings.Join(world.broken, "\n  "), p, seed, more)
	}
	return world.record
}

func TestSeeds(t *testing.T) {
	from, to := 0, 2000
	if *seedsFlag != "" {
		if _, err := fmt.Sscanf(*seedsFlag, "%d-%d", &from, &to); err != nil {
			t.Fatalf("-seeds %s: %v", *seedsFlag, err)
		}
		if from >= to {
			t.Fatalf("-seeds %s: there are no seeds from %d to %d", *seedsFlag, from, to)
		}
	}
	const parts = 4
	var book recordBook
	if *recordFlag != "" {
		t.Cleanup(func() { book.write(t, from, to) })
	}
	for part := range parts {
		t.Run(fmt.Sprintf("%d of %d", part+1, parts), func(t *testing.T) {
			t.Parallel()
			for seed := from + part; seed < to && !t.Failed(); seed += parts {
				if r := try(t, seed, *second); r != nil {
					book.note(seed, r)
				}
			}
		})
	}
}

// TestSeedsWithIdentityV2 simulates worlds in which the service uses Identity v2.0. In the world of seed 1711, a repair is compensated
// while a write that has no undo may still take effect.
func TestSeedsWithIdentityV2(t *testing.T) {
	t.Parallel()
	try(t, 1711, true)
	for seed := range 400 {
		try(t, seed, true)
	}
}

func TestSeed(t *testing.T) {
	p := newPlan(uint64(*seedFlag))
	p.Second = *second
	world := inBubble(t, p, mutations{}, true)
	t.Logf("%s\n%s\nhash %s", p, world.history, world.hash)
	if *recordFlag != "" {
		if err := os.WriteFile(*recordFlag, []byte(world.record.text()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range world.broken {
		t.Error(b)
	}
}

func TestASeedReplays(t *testing.T) {
	// With an old version of the driver, the replays of seeds 161, 297 and 141 differed. With seed 161, a replica has two reasons to
	// look for runs. With seed 297, two steps need a login. With seed 141, two timers of a request end at the same time. With seed 23, usage is
	// posted for several subscriptions.
	seeds := []int{161, 297, 141, 23}
	for seed := range 20 { // seed 19 has repairs
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		var first, then string
		for i := range *replays {
			world := inBubble(t, newPlan(uint64(seed)), mutations{}, true)
			if i == 0 {
				first, then = world.hash, world.history
			}
			if world.hash != first {
				t.Fatalf("seed %d differs in replay %d:\n%s", seed, i+1, firstDifference(then, world.history))
			}
		}
		t.Logf("seed %d: %s", seed, first)
	}
}

func firstDifference(a, b string) string {
	remark := func(line string) bool { return !strings.Contains(line, " * ") }
	x, y := slices.DeleteFunc(strings.Split(a, "\n"), remark), slices.DeleteFunc(strings.Split(b, "\n"), remark)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return strings.Join(x[max(0, i-12):i], "\n") + "\n- " + x[i] + "\n+ " + strings.Join(y[i:i+3], "\n")
		}
	}
	return "one history is longer"
}

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // collect garbage less often, because the worlds are small
	os.Exit(m.Run())
}
