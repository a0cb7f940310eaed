package ceilometer_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage/ceilometer"
)

const mebibyte = 1 << 20

// The function filled returns a text of about 1 MiB: the part is repeated between the beginning and the end. A %d in the part is a counter.
func filled(begin, part, separator, end string) string {
	var text strings.Builder
	text.WriteString(begin)
	for i := 0; text.Len() < mebibyte-len(end)-2*len(part); i++ {
		if i > 0 {
			text.WriteString(separator)
		}
		text.WriteString(strings.ReplaceAll(part, "%d", fmt.Sprint(i)))
	}
	text.WriteString(end)
	return text.String()
}

// Decode allocates a few times the size of the body, whatever the body contains, and its time is linear.
func TestCostOfHostileBodies(t *testing.T) {
	smallest := `{"name":"c","type":"gauge","volume":1,"project_id":"p","resource_id":"r","timestamp":"2026-11-25T18:00:00","id":"i"}`
	with := func(member, text string) (string, string) {
		before, after, _ := strings.Cut(sample(member, `"%s"`), `"%s"`)
		return "[" + before + text, after + "]"
	}
	metadataBegin, metadataEnd := with("resource_metadata", "")
	idBegin, idEnd := with("id", "")
	volumeBegin, volumeEnd := with("volume", "")
	for name, body := range map[string]string{
		"arrays that stay open":       strings.Repeat("[", mebibyte),
		"objects that stay open":      strings.Repeat(`{"a":`, mebibyte/5),
		"arrays in arrays":            strings.Repeat("[", mebibyte/2) + strings.Repeat("]", mebibyte/2),
		"objects in objects":          strings.Repeat(`{"a":`, mebibyte/6) + "1" + strings.Repeat("}", mebibyte/6),
		"deep metadata":               metadataBegin + strings.Repeat("[", mebibyte/2-200) + strings.Repeat("]", mebibyte/2-200) + metadataEnd,
		"metadata at the limit":       filled(metadataBegin+"[", strings.Repeat("[", 62)+strings.Repeat("]", 62), ",", "]"+metadataEnd),
		"tiny samples":                filled("[", smallest, ",", "]"),
		"tiny objects":                filled("[", "{}", ",", "]"),
		"tiny numbers":                filled("[", "0", ",", "]"),
		"tiny events":                 filled("[", `{"message_id":0,"event_type":0}`, ",", "]"),
		"a huge string":               filled(`"`, "x", "", `"`),
		"a huge string that is open":  filled(`["`, "x", "", ""),
		"a huge id":                   filled(idBegin+`"`, "x", "", `"`+idEnd),
		"a huge escaped id":           filled(idBegin+`"`, `\u0041`, "", `"`+idEnd),
		"a huge volume":               filled(volumeBegin, "9", "", volumeEnd),
		"a huge volume in quotes":     filled(volumeBegin+`"`, "9", "", `"`+volumeEnd),
		"a huge name":                 filled(`{"`, `\"`, "", `":1}`),
		"quotes and backslashes":      filled(`["`, `\\\"`, "", `"]`),
		"duplicate names":             filled(`{`, `"id":1`, ",", `}`),
		"duplicate names in metadata": filled(metadataBegin+"{", `"a":1`, ",", "}"+metadataEnd),
		"different names":             filled(`{`, `"%d":1`, ",", `}`),
		"different names in metadata": filled(metadataBegin+"{", `"%d":1`, ",", "}"+metadataEnd),
		"NaN in metadata":             filled(metadataBegin+"[", "NaN", ",", "]"+metadataEnd),
		"NaN in each sample":          filled("[", strings.Replace(smallest, "{", `{"m":NaN,`, 1), ",", "]"),
		"samples with broken UTF-8":   filled("[", "\"\xff \xff \xff \"", ",", "]"),
		"blanks":                      filled("[", " ", "", "]"),
		"broken UTF-8":                strings.Repeat("\xff", mebibyte),
		"NUL":                         "[5," + strings.Repeat("\x00", mebibyte-3),
	} {
		t.Run(name, func(t *testing.T) {
			if len(body) > mebibyte || len(body) < mebibyte-2000 {
				t.Fatalf("the body has %d bytes", len(body))
			}
			input := []byte(body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			batch, err := ceilometer.Decode("north", input)
			spent := time.Since(begin)
			runtime.ReadMemStats(&after)
			ratio := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body))
			t.Logf("%.2f times the body, %v; %d samples, %d apart, %d events, error %v",
				ratio, spent.Round(100*time.Microsecond), len(batch.Samples), len(batch.Apart), batch.Events, err)
			limit := 4.0
			if len(batch.Samples)+len(batch.Apart) < 3 {
				limit = 1.1 // one copy of the body, to replace NaN
			}
			if ratio > limit {
				t.Errorf("allocated %.2f times the size of the body, want up to %.1f", ratio, limit)
			}
			if spent > 3*time.Second { // the usual time is below 20 ms
				t.Errorf("took %v", spent)
			}
		})
	}
}

// If a small body has many elements, the Batch is larger than the body. Its size is limited because the number of elements is limited.
func TestCostOfManyTinyElements(t *testing.T) {
	for _, element := range []string{"0", "{}", `{"id":0}`} {
		input := []byte("[" + strings.Repeat(element+",", 9999) + element + "]")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		batch, err := ceilometer.Decode("north", input)
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes for a body of %d bytes", element, allocated, len(input))
		if err != nil || len(batch.Apart) != 10_000 || allocated > 4*mebibyte {
			t.Errorf("%d apart, error %v, and %d bytes allocated, want up to 4 MiB", len(batch.Apart), err, allocated)
		}
	}
}

// A typical batch has 50 samples, and each of them has 1 KiB of metadata.
func BenchmarkDecode(b *testing.B) {
	const count = 50
	var metadata strings.Builder
	for i := 0; metadata.Len() < 1000; i++ {
		fmt.Fprintf(&metadata, `"key-%d": {"name": "m1.\u00e9 small", "vcpus": %d, "active": true, "ratio": 0.25}, `, i, i)
	}
	var samples []string
	for i := range count {
		samples = append(samples, sample(
			"id", fmt.Sprintf(`"db6b49f6-0000-11f1-8000-%012d"`, i),
			"project_id", `"ee0f1c4a8b2d4f6ea1c35d7e9f0b2a4c"`,
			"resource_id", fmt.Sprintf(`"5f0c2f5e-8e0d-4c57-a8f5-%012d"`, i),
			"volume", "1234567890000",
			"timestamp", `"2026-11-25T18:00:00.123456"`,
			"resource_metadata", "{"+metadata.String()+`"load": 1.5}`))
	}
	body := []byte("[" + strings.Join(samples, ", ") + "]")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		batch, err := ceilometer.Decode("north", body)
		if err != nil || len(batch.Samples) != count {
			b.Fatalf("got %d samples, %d apart and error %v", len(batch.Samples), len(batch.Apart), err)
		}
	}
	b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
