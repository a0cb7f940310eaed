package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawPlan draws a plan piece by piece. If a plan violates an invariant, the module `rapid` can then find the few pieces that cause
// the violation.
func drawPlan(t *rapid.T) *plan {
	between := func(t *rapid.T, from, to time.Duration, label string) time.Duration {
		return time.Duration(rapid.Int64Range(int64(from), int64(to)).Draw(t, label))
	}
	p := &plan{
		Seed: rapid.Uint64().Draw(t, "seed"), Replicas: rapid.IntRange(1, 3).Draw(t, "replicas"), TokenLife: time.Hour,
	}
	p.ClockError = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
		return between(t, -time.Hour, time.Hour, "clock error")
	}), p.Replicas, p.Replicas).Draw(t, "clocks")
	p.Orders = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) orderPlan {
		return orderPlan{
			Trial: rapid.IntRange(0, stranger).Draw(t, "trial"), At: between(t, 0, 20*time.Second, "at"), Merchant: rapid.IntRange(0, 1).Draw(t, "merchant"),
			Customer: rapid.IntRange(0, 2).Draw(t, "customer"), Twice: rapid.Bool().Draw(t, "twice"),
			Patience: between(t, time.Second, 25*time.Second, "patience"), AddUser: rapid.Bool().Draw(t, "add user"),
		}
	}), 1, 5).Draw(t, "orders")
	p.Orders = append(p.Orders, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) orderPlan {
		return orderPlan{
			Trial: rapid.SampledFrom([]int{register, visitor}).Draw(t, "trial"), Customer: rapid.IntRange(0, 2).Draw(t, "customer"),
			At: between(t, 0, 20*time.Second, "at"), Merchant: rapid.IntRange(0, 1).Draw(t, "merchant"),
			Twice: rapid.Bool().Draw(t, "twice"), Patience: between(t, time.Second, 25*time.Second, "patience"),
			SignUp: signUpPlan{
				Name:  rapid.SampledFrom([]string{"ada", "ADA", "zoë"}).Draw(t, "name"),
				Rival: rival(rapid.IntRange(0, int(otherCase)).Draw(t, "rival")), Role: rapid.Bool().Draw(t, "role"),
			},
		}
	}), 0, 3).Draw(t, "registrations")...)
	for n := range p.Orders {
		p.Orders[n].User = n
	}
	p.Mishaps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mishap {
		order := rapid.IntRange(0, len(p.Orders)-1).Draw(t, "order")
		m := mishap{
			Order: order, Step: rapid.SampledFrom(writesOf(p.Orders[order].Trial)).Draw(t, "step"),
			Nth: rapid.IntRange(0, 2).Draw(t, "nth"), Undo: rapid.Bool().Draw(t, "undo"),
			Kind: kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")), For: between(t, time.Second, 80*time.Second, "for"),
		}
		if rapid.Bool().Draw(t, "checkpoint") {
			m.Step, m.Undo = "checkpoint", false
			m.Kind = rapid.SampledFrom([]kind{
				lostRequest, lostAnswer, silentRequest, silentAnswer, lateCommit, unreachable, crashBefore, crashAfter, freeze,
			}).Draw(t, "kind of the database")
		}
		if m.Kind == lateCommit && m.Step != "checkpoint" && m.mayBeLate() && rapid.IntRange(0, 5).Draw(t, "late") == 5 {
			m.For = between(t, 2*time.Minute, 20*time.Hour, "for a recheck")
		}
		return m
	}), 0, 8).Draw(t, "mishaps")
	p.Outages = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) outage {
		from := between(t, 0, 40*time.Second, "from")
		return outage{
			target(rapid.IntRange(0, int(targets)-1).Draw(t, "of")), from, from + between(t, time.Second, 2*time.Minute, "lasts"),
		}
	}), 0, 2).Draw(t, "outages")
	p.Incidents = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) incident {
		return incident{
			At: between(t, 0, 40*time.Second, "at"), Replica: rapid.IntRange(0, p.Replicas-1).Draw(t, "replica"),
			Kind: incidentKind(rapid.IntRange(0, int(leaves)).Draw(t, "kind")), For: between(t, time.Second, 40*time.Second, "for"),
		}
	}), 0, 3).Draw(t, "incidents")
	p.Actions = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) actionPlan {
		return actionPlan{
			At: between(t, 0, 40*time.Second, "at"), Order: rapid.IntRange(0, len(p.Orders)-1).Draw(t, "order"),
			Action: rapid.IntRange(0, len(actions)-1).Draw(t, "action"), Step: rapid.IntRange(0, 9).Draw(t, "step"),
			Via: rapid.IntRange(0, p.Replicas-1).Draw(t, "via"),
		}
	}), 0, 4).Draw(t, "actions")
	for _, m := range slices.Clone(p.Mishaps) {
		if m.late() {
			p.meet(rand.New(rand.NewPCG(p.Seed, 0)), m)
		}
	}
	p.Bills = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) billPlan {
		return billPlan{
			At: between(t, 0, 40*time.Second, "bill at"), Merchant: rapid.IntRange(0, 1).Draw(t, "merchant"),
			Many: rapid.IntRange(1, 3).Draw(t, "subscriptions"), Values: rapid.SliceOfN(rapid.Int64Range(1, 500), 1, 2).Draw(t, "values"),
			Again: between(t, 0, 40*time.Second, "again"), Foreign: rapid.Bool().Draw(t, "foreign"),
		}
	}), 0, 2).Draw(t, "bills")
	if len(p.Bills) > 0 {
		p.Mishaps = append(p.Mishaps, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mishap {
			return mishap{
				Order: noOrder, Step: fmt.Sprint("post/", rapid.IntRange(1, 3).Draw(t, "step")), Nth: rapid.IntRange(0, 3).Draw(t, "nth"),
				Kind: kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")), For: between(t, time.Second, 80*time.Second, "for"),
			}
		}), 0, 4).Draw(t, "mishaps of postings")...)
	}
	return p
}

func TestDrawnPlansBreakNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := drawPlan(r)
		if broken := inBubble(t, p, mutations{}, false).broken; len(broken) > 0 {
			r.Fatalf("%s\nin %s", strings.Join(broken, "\n"), p)
		}
	})
}
