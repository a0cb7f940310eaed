package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// used subscribes the user, and lets 20 hours pass in which two counters rise and are billed, and 4 hours that cannot be billed yet, because
// BillingStack is down. No product has the name of the second counter.
func (w *world) used(t *testing.T) made {
	t.Helper()
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
		ID: uuid.NewString(), Name: "<b>cpu</b>", Pricing: []any{map[string]any{"type": "fixed", "price": 0.5}},
	})
	if err == nil {
		err = w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, product.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	w.later.Store(int64(time.Until(begin)))
	s := w.subscribed(t, w.Merchant)
	m := w.Meter(t, s.tenant)
	volume := 0
	hours := func(from, to int, row string, rows int) {
		var samples []servicetest.Sample
		for h := from; h < to; h++ {
			volume += 3 + (h*h*7)%23
			at := begin.Add(time.Duration(h+1)*time.Hour - time.Second)
			samples = append(samples, servicetest.Sample{Meter: "<b>cpu</b>", Unit: "vcpu<i>", At: at, Volume: volume},
				servicetest.Sample{Meter: "memory", Unit: "vcpu<i>", At: at, Volume: 2*volume + h})
		}
		w.later.Store(int64(time.Until(begin.Add(time.Duration(to)*time.Hour + 16*time.Minute))))
		m.Post(t, samples...)
		portal, deadline := w.merchant(t, w.Merchant), time.Now().Add(time.Minute)
		for strings.Count(portal.get(s.page()).text, `<rect class="`+row+`"`) < rows {
			if time.Now().After(deadline) {
				t.Fatalf("the usage is not %s: %s", row, between(portal.get(s.page()).text, `id="h-usage"`, "</section>"))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	hours(0, 20, "posted", 19)
	w.down.Store(true)
	hours(20, 24, "waiting", 4)
	return s
}

// usageIsShown checks the picture and the table of the usage. They distinguish usage that is billed, not posted yet, and not billed.
func (w *world) usageIsShown(t *testing.T, s made) {
	t.Helper()
	portal := w.merchant(t, w.Merchant)
	day := portal.get(s.page())
	picture := between(day.text, `id="h-usage"`, "</section>")
	for text, n := range map[string]int{
		`<figure class="plot">`: 3, `<rect class="posted"`: 19, `<rect class="waiting"`: 4, `<rect class="unmatched"`: 23, `<rect class="measured"`: 23,
		`<th role="rowheader"`: 23 + 2*23, "&lt;b&gt;cpu&lt;/b&gt;": 2 + 2*23, "<b>cpu</b>": 0, "vcpu<i>": 0, "<b>no-product</b>": 1, `class="number money">price `: 1,
	} {
		if got := strings.Count(picture, text); got != n {
			t.Errorf("the picture has %q %d times, want %d", text, got, n)
		}
	}
	for span, bars := range map[string]int{"week": 2, "month": 2, "nonsense": 19} {
		p := portal.get(s.page() + "?usage=" + span)
		barsStand(t, p.text)
		if n := strings.Count(p.text, `<rect class="posted"`); p.status != http.StatusOK || n > bars || n < bars-1 {
			t.Errorf("%s: %d, and %d bars, want %d", span, p.status, n, bars)
		}
	}
	values := between(picture, "<caption>", "</table>")
	if sum := fmt.Sprint(3 + 7%23); !strings.Contains(values, `<td role="cell" class="number">`+sum+`</td>`) {
		t.Errorf("the table lacks the value %s: %s", sum, values)
	}
}

var rect = regexp.MustCompile(`<rect class="(?:posted|waiting|measured|unmatched)" x="(\d+)" y="(\d+)" width="8" height="(\d+)"/>`)

// barsStand checks that the parts of each bar stand on each other, and that the highest bar of each plot is as high as the plot.
func barsStand(t *testing.T, text string) {
	t.Helper()
	for _, figure := range strings.Split(text, `<figure class="plot">`)[1:] {
		highest, floor := 100, map[string]int{} // the upper edge of the bar at each x
		figure, _, _ = strings.Cut(figure, "</figure>")
		for _, part := range rect.FindAllStringSubmatch(figure, -1) {
			y, yFault := strconv.Atoi(part[2])
			h, hFault := strconv.Atoi(part[3])
			below, stands := floor[part[1]]
			if !stands {
				below = 100
			}
			if yFault != nil || hFault != nil || y+h != below {
				t.Errorf("%s does not stand at %d", part[0], below)
			}
			floor[part[1]], highest = y, min(highest, y)
		}
		if highest != 0 {
			t.Errorf("the highest bar ends at %d", highest)
		}
	}
}
