package ceilometer_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/ceilometer"
)

// These bodies were written by Python's json.dumps, from the dictionaries that Ceilometer's http publisher sends.
const (
	batchBody = `[{"name": "cpu", "type": "cumulative", "unit": "ns", "volume": 1234567890000, "user_id": "u-1", "project_id": "p-1", ` +
		`"resource_id": "vm-0", "timestamp": "2026-11-25T18:00:00.123456", "resource_metadata": {"display_name": "w\"eb\\", ` +
		`"flavor": {"id": "1", "vcpus": 2}, "tags": ["NaN", null, true, 1.5]}, "source": "openstack", "id": "s-1", "monotonic_time": null}, ` +
		`{"name": "disk.usage", "type": "gauge", "unit": "B", "volume": 0.1, "user_id": "u-1", "project_id": "p-1", ` +
		`"resource_id": "vm-\u00e9\ud83d\ude00", "timestamp": "2026-11-25T18:00:00+00:00", "resource_metadata": [], ` +
		`"source": "openstack", "id": "s-2", "monotonic_time": null}, ` +
		`{"name": "bandwidth", "type": "delta", "unit": "ns", "volume": 1e-07, "user_id": "u-1", "project_id": "p-1", ` +
		`"resource_id": "vm-0", "timestamp": "2026-11-25 18:00:00", "resource_metadata": {"load": NaN, "a": [Infinity, -Infinity]}, ` +
		`"source": "swift", "id": "s-3", "monotonic_time": 3.25}]`
	singleBody = `{"name": "cpu", "type": "cumulative", "unit": "ns", "volume": 1234567890000, "user_id": "u-1", "project_id": "p-1", ` +
		`"resource_id": "vm-0", "timestamp": "2026-11-25T18:00:00.123456", "resource_metadata": {"display_name": "w\"eb\\", ` +
		`"flavor": {"id": "1", "vcpus": 2}, "tags": ["NaN", null, true, 1.5]}, "source": "openstack", "id": "s-1", "monotonic_time": null}`
	eventsBody = `[{"message_id": "m-1", "event_type": "compute.instance.create.end", "generated": "2026-11-25T18:00:00", ` +
		`"traits": [["project_id", 1, "p-1"], ["vcpus", 2, 4]], "raw": {}}, {"message_id": "m-2", "event_type": "image.upload", ` +
		`"generated": "2026-11-25T18:00:00", "traits": [], "raw": {"load": NaN}}]`
)

// The function sample returns the JSON text of a sample. The changes are pairs of a name and a JSON text that replaces the usual value. An
// empty text removes the member.
func sample(changes ...string) string {
	members := [][2]string{
		{"name", `"cpu"`},
		{"type", `"gauge"`},
		{"unit", `"ns"`},
		{"volume", `1`},
		{"user_id", `null`},
		{"project_id", `"p"`},
		{"resource_id", `"r"`},
		{"timestamp", `"2026-11-25T18:00:00"`},
		{"resource_metadata", `{}`},
		{"source", `"openstack"`},
		{"id", `"i"`},
		{"monotonic_time", `null`},
	}
	for i := 0; i < len(changes); i += 2 {
		at := slices.IndexFunc(members, func(m [2]string) bool { return m[0] == changes[i] })
		if at < 0 {
			panic("no member " + changes[i])
		}
		members[at][1] = changes[i+1]
	}
	var texts []string
	for _, m := range members {
		if m[1] != "" {
			texts = append(texts, fmt.Sprintf("%q: %s", m[0], m[1]))
		}
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

func decode(t testing.TB, body string) ceilometer.Batch {
	t.Helper()
	batch, err := ceilometer.Decode("north", []byte(body))
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return batch
}

// The function one decodes a body of one sample, which must be usable.
func one(t *testing.T, body string) usage.Sample {
	t.Helper()
	batch := decode(t, body)
	if len(batch.Samples) != 1 || len(batch.Apart) != 0 || batch.Events != 0 {
		t.Fatalf("got %+v, want one sample", batch)
	}
	return batch.Samples[0]
}

// The function reasons returns the reasons of a batch.
func reasons(b ceilometer.Batch) []string {
	var all []string
	for _, apart := range b.Apart {
		all = append(all, apart.Reason)
	}
	return all
}

func ids(b ceilometer.Batch) []string {
	var all []string
	for _, s := range b.Samples {
		all = append(all, s.ID)
	}
	return all
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodePublishedBodies(t *testing.T) {
	at := time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC)
	cpu := usage.Sample{
		Series: usage.Series{Cloud: "north", Source: "openstack", Project: "p-1", Resource: "vm-0", Meter: "cpu", Kind: usage.Cumulative},
		ID:     "s-1", Unit: "ns", Volume: decimal.NewFromInt(1234567890000), At: at.Add(123456 * time.Microsecond),
	}
	disk := usage.Sample{
		Series: usage.Series{Cloud: "north", Source: "openstack", Project: "p-1", Resource: "vm-é😀", Meter: "disk.usage", Kind: usage.Gauge},
		ID:     "s-2", Unit: "B", Volume: decimal.New(1, -1), At: at,
	}
	bandwidth := usage.Sample{
		Series: usage.Series{Cloud: "north", Source: "swift", Project: "p-1", Resource: "vm-0", Meter: "bandwidth", Kind: usage.Delta},
		ID:     "s-3", Unit: "ns", Volume: decimal.New(1, -7), At: at,
	}
	for name, c := range map[string]struct {
		body string
		want ceilometer.Batch
	}{
		"a batch":           {batchBody, ceilometer.Batch{Samples: []usage.Sample{cpu, disk, bandwidth}}},
		"one sample":        {singleBody, ceilometer.Batch{Samples: []usage.Sample{cpu}}},
		"a batch of one":    {"[" + singleBody + "]", ceilometer.Batch{Samples: []usage.Sample{cpu}}},
		"the same twice":    {"[" + singleBody + "," + singleBody + "]", ceilometer.Batch{Samples: []usage.Sample{cpu, cpu}}},
		"events":            {eventsBody, ceilometer.Batch{Events: 2}},
		"one event":         {`{"message_id": "m", "event_type": "e"}`, ceilometer.Batch{Events: 1}},
		"event, name twice": {`{"id": 1, "id": 2, "message_id": "m", "event_type": "e"}`, ceilometer.Batch{Events: 1}},
		"events and sample": {
			`[{"event_type":"e","message_id":"m"},` + singleBody + "]",
			ceilometer.Batch{Samples: []usage.Sample{cpu}, Events: 1},
		},
		"nothing": {"[]", ceilometer.Batch{}},
		"blanks":  {"\r\n\t [ \n" + singleBody + "\t\r\n ] \n", ceilometer.Batch{Samples: []usage.Sample{cpu}}},
		"escaped names": {
			strings.Replace(singleBody, `"resource_id"`, `"\u0072esource\u005fid"`, 1),
			ceilometer.Batch{Samples: []usage.Sample{cpu}},
		},
	} {
		t.Run(name, func(t *testing.T) { equal(t, decode(t, c.body), c.want) })
	}
}

func TestSamplesAreKeptApart(t *testing.T) {
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, c := range []struct{ name, element, reason string }{
		{"no id", sample("id", ""), "id is missing"},
		{"null id", sample("id", "null"), "id is missing"},
		{"empty id", sample("id", `""`), "id is missing"},
		{"long id", sample("id", long(256)), "id is longer than 255 characters"},
		{"huge id", sample("id", long(100_000)), "id is longer than 255 characters"},
		{"number as id", sample("id", "5"), "id is not a string"},
		{"NaN as id", sample("id", "NaN"), "id is not a string"},
		{"object as id", sample("id", `{"id": "i"}`), "id is not a string"},
		{"no project", sample("project_id", ""), "project_id is missing"},
		{"null project", sample("project_id", "null"), "project_id is missing"},
		{"long project", sample("project_id", long(65)), "project_id is longer than 64 characters"},
		{"no resource", sample("resource_id", ""), "resource_id is missing"},
		{"long resource", sample("resource_id", long(256)), "resource_id is longer than 255 characters"},
		{"number as resource", sample("resource_id", "17"), "resource_id is not a string"},
		{"no meter", sample("name", ""), "name is missing"},
		{"long meter", sample("name", long(256)), "name is longer than 255 characters"},
		{"long source", sample("source", long(256)), "source is longer than 255 characters"},
		{"long unit", sample("unit", long(256)), "unit is longer than 255 characters"},
		{"NUL", sample("id", `"a\u0000b"`), "id contains control characters"},
		{"DEL", sample("unit", `"a\u007f"`), "unit contains control characters"},
		{"C1 control", sample("source", `"a\u0085"`), "source contains control characters"},
		{"half of a pair", sample("name", `"a\ud800b"`), "name is not valid Unicode"},
		{"broken UTF-8", sample("project_id", "\"a\xffb\""), "project_id is not valid Unicode"},
		{"no type", sample("type", ""), "type is missing"},
		{"other type", sample("type", `"counter"`), "type is not cumulative, delta or gauge"},
		{"type in capitals", sample("type", `"Gauge"`), "type is not cumulative, delta or gauge"},
		{"no volume", sample("volume", ""), "volume is missing"},
		{"null volume", sample("volume", "null"), "volume is missing"},
		{"NaN", sample("volume", "NaN"), "volume is not a finite number"},
		{"Infinity", sample("volume", "Infinity"), "volume is not a finite number"},
		{"-Infinity", sample("volume", "-Infinity"), "volume is not a finite number"},
		{"true as volume", sample("volume", "true"), "volume is not a finite number"},
		{"word as volume", sample("volume", `"NaN"`), "volume is not a finite number"},
		{"plus sign", sample("volume", `"+1"`), "volume is not a finite number"},
		{"hexadecimal", sample("volume", `"0x10"`), "volume is not a finite number"},
		{"blank in volume", sample("volume", `"1 "`), "volume is not a finite number"},
		{"blank after the exponent", sample("volume", `"1e5 "`), "volume is not a finite number"},
		{"null in quotes", sample("volume", `"null"`), "volume is not a finite number"},
		{"minus alone", sample("volume", `"-"`), "volume is not a finite number"},
		{"no timestamp", sample("timestamp", ""), "timestamp is missing"},
		{"number as timestamp", sample("timestamp", "1764093600"), "timestamp is not a string"},
		{"name twice", strings.Replace(sample(), "{", `{"volume": 2, `, 1), "volume occurs twice"},
		{"name twice, null first", strings.Replace(sample(), "{", `{"project_id": null, `, 1), "project_id occurs twice"},
		{"two names twice", `{"unit": 1, "id": 1, "unit": 2, "id": 2, "volume": 3, "id": 4}`, "unit occurs twice"},
		{"event with meter", `{"message_id": "m", "event_type": "e", "name": "cpu"}`, "project_id is missing"},
		{"half an event", `{"message_id": "m"}`, "name is missing"},
		{"the other half", `{"event_type": "e"}`, "name is missing"},
		{"no members", `{}`, "name is missing"},
		{"null", `null`, "the sample is not a JSON object"},
		{"number", `-1.5e3`, "the sample is not a JSON object"},
		{"NaN as sample", `NaN`, "the sample is not a JSON object"},
		{"text", `"a, ]} \" text"`, "the sample is not a JSON object"},
		{"array", `[` + sample() + `]`, "the sample is not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := strings.ToValidUTF8(c.element[:min(len(c.element), 4096)], "?")
			want := []ceilometer.Apart{{Reason: c.reason, Raw: raw}}
			batch := decode(t, "["+sample("id", `"before"`)+", "+c.element+" , "+sample("id", `"after"`)+"]")
			equal(t, batch.Apart, want)
			equal(t, ids(batch), []string{"before", "after"})
			if !strings.HasPrefix(c.element, "[") {
				equal(t, decode(t, c.element), ceilometer.Batch{Apart: want})
			}
		})
	}
}

func TestTextsUpToTheLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		get   func(usage.Sample) string
	}{
		{"id", 255, func(s usage.Sample) string { return s.ID }},
		{"source", 255, func(s usage.Sample) string { return s.Source }},
		{"project_id", 64, func(s usage.Sample) string { return s.Project }},
		{"resource_id", 255, func(s usage.Sample) string { return s.Resource }},
		{"name", 255, func(s usage.Sample) string { return s.Meter }},
		{"unit", 255, func(s usage.Sample) string { return s.Unit }},
	} {
		for form, character := range map[string]string{"plain": "😀", "escaped": `\ud83d\ude00`} {
			t.Run(c.name+" "+form, func(t *testing.T) {
				got := one(t, sample(c.name, `"`+strings.Repeat(character, c.limit)+`"`))
				equal(t, c.get(got), strings.Repeat("😀", c.limit))
				batch := decode(t, sample(c.name, `"`+strings.Repeat(character, c.limit+1)+`"`))
				equal(t, reasons(batch), []string{fmt.Sprintf("%s is longer than %d characters", c.name, c.limit)})
			})
		}
	}
}

func TestOptionalTexts(t *testing.T) {
	for _, absent := range []string{"", "null", `""`} {
		equal(t, one(t, sample("source", absent)).Source, "openstack")
		equal(t, one(t, sample("unit", absent)).Unit, "")
	}
}

func TestVolumes(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("0", n) }
	nines := func(n int) string { return strings.Repeat("9", n) }
	digits, exponent := "volume has more than 40 significant digits", "volume has an exponent outside of -30 to 30"
	long := "volume is longer than 100 characters"
	for _, c := range []struct{ literal, want, reason string }{
		{literal: "1234567890000", want: "1234567890000"},
		{literal: "0.1", want: "0.1"},
		{literal: "1e-7", want: "0.0000001"},
		{literal: "1E+2", want: "100"},
		{literal: "-1", want: "-1"},
		{literal: "-0.0", want: "0"},
		{literal: "0e99999", want: "0"},
		{literal: "5.551115123125783e-17", want: "0.00000000000000005551115123125783"},
		{literal: "1e+22", want: "10000000000000000000000"},
		{literal: "9007199254740993", want: "9007199254740993"}, // a float would become ...992
		{literal: nines(10) + "." + nines(30), want: nines(10) + "." + nines(30)},
		{literal: nines(10) + "." + nines(31), reason: digits},
		{literal: "0." + zeros(5) + nines(40), want: "0." + zeros(5) + nines(40)},
		{literal: "0." + zeros(5) + nines(41), reason: digits},
		{literal: "1" + zeros(30), want: "1" + zeros(30)},
		{literal: "1" + zeros(31), reason: exponent},
		{literal: "9.9e30", want: "99" + zeros(29)},
		{literal: "1e31", reason: exponent},
		{literal: "1E31", reason: exponent},
		{literal: "1E-31", reason: exponent},
		{literal: "0.01e32", want: "1" + zeros(30)},
		{literal: "0.01e33", reason: exponent},
		{literal: "1e-30", want: "0." + zeros(29) + "1"},
		{literal: "9.9e-31", reason: exponent},
		{literal: "0." + zeros(29) + "1", want: "0." + zeros(29) + "1"},
		{literal: "0." + zeros(30) + "1", reason: exponent},
		{literal: "1e32767", reason: exponent},
		{literal: "1e99999999999999999999", reason: exponent},
		{literal: "1e-99999999999999999999", reason: exponent},
		{literal: "0." + nines(1) + zeros(97), want: "0.9"},
		{literal: "0." + nines(1) + zeros(98), reason: long},
		{literal: nines(100_000), reason: long},
		{literal: "1e" + zeros(100_000), reason: long},
	} {
		name := c.literal[:min(len(c.literal), 60)]
		for _, form := range []string{c.literal, `"` + c.literal + `"`} {
			t.Run(name, func(t *testing.T) {
				if c.reason != "" {
					equal(t, reasons(decode(t, sample("volume", form))), []string{c.reason})
					return
				}
				if got := one(t, sample("volume", form)).Volume; !got.Equal(decimal.RequireFromString(c.want)) {
					t.Errorf("got %s, want %s", got, c.want)
				}
			})
		}
	}
}

func TestTimestamps(t *testing.T) {
	second := time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC)
	micro := second.Add(123456 * time.Microsecond)
	for text, want := range map[string]time.Time{
		"2026-11-25T18:00:00":                           second,
		"2026-11-25 18:00:00":                           second,
		"2026-11-25T18:00:00Z":                          second,
		"2026-11-25T18:00:00+00:00":                     second,
		"2026-11-25 18:00:00+00:00":                     second,
		"2026-11-25T18:00:00.123456":                    micro,
		"2026-11-25 18:00:00.123456":                    micro,
		"2026-11-25T18:00:00.123456Z":                   micro,
		"2026-11-25T18:00:00.123456+00:00":              micro,
		"2026-11-25T18:00:00.123456789":                 micro,
		"2026-11-25T18:00:00.1234569999999":             micro,
		"2026-11-25T18:00:00.5":                         second.Add(time.Second / 2),
		"2026-11-25T20:00:00+02:00":                     second,
		"2026-11-25T12:30:00.123456-0530":               micro,
		"2026-11-25T20:00:00+02":                        second,
		"2026-11-25T23:30:15+05:30:15":                  second,
		"2026-11-26T00:30:00+06:30":                     second,
		"1970-01-01T00:00:00":                           time.Unix(0, 0).UTC(),
		"9999-12-31T23:59:59.999999":                    time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		"1969-12-31T23:59:59":                           {},
		"1970-01-01T00:00:00+01:00":                     {},
		"9999-12-31T23:59:59-01:00":                     {},
		"0001-01-01T00:00:00":                           {},
		"2026-11-25":                                    {},
		"2026-11-25T18:00":                              {},
		"2026-11-25T8:00:00.0":                          {},
		"2026-11-25t18:00:00":                           {},
		"2026-11-25_18:00:00":                           {},
		"2026-02-30T18:00:00":                           {},
		"2026-11-25T24:00:00":                           {},
		"2026-11-25T18:00:60":                           {},
		"2026-11-25T18:00:00 +00:00":                    {},
		"2026-11-25T18:00:00 UTC":                       {},
		"2026-11-25T18:00:00.":                          {},
		"20261125T180000Z":                              {},
		"1764093600":                                    {},
		"Wed, 25 Nov 2026 18:00:00 GMT":                 {},
		"2026-11-25T18:00:00" + strings.Repeat("0", 99): {},
	} {
		t.Run(text, func(t *testing.T) {
			if want.IsZero() {
				batch := decode(t, sample("timestamp", `"`+text+`"`))
				reason := "timestamp is not a time in ISO 8601 between 1970 and 9999"
				if len(text) > 64 {
					reason = "timestamp is longer than 64 characters"
				}
				equal(t, reasons(batch), []string{reason})
				return
			}
			equal(t, one(t, sample("timestamp", `"`+text+`"`)).At, want)
		})
	}
}

// The metadata is ignored, whatever it contains.
func TestMetadataLosesNothing(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, metadata := range map[string]string{
		"non-finite numbers":           `{"a": NaN, "b": [Infinity,-Infinity,NaN], "c": {"d":-Infinity}}`,
		"their names in strings":       `{"NaN": "NaN", "Infinity": ", -Infinity, ", "x": "a\"NaN\"b", "y": "\\"}`,
		"escaped quotes and NaN":       `{"a": "\"", "b": NaN, "c": "\\\"", "d": Infinity, "e": "\\\\"}`,
		"a backslash before a bracket": `{"a": "\\", "b": "]}", "c": "\\\"]}"}`,
		"brackets in strings":          `["[[[{{{", "]]]}}}", "\"]}"]`,
		"its own volume":               `{"volume": NaN, "id": "other", "message_id": "m", "event_type": "e"}`,
		"duplicate names":              `{"a": 1, "a": 2}`,
		"broken Unicode":               "{\"a\": \"\\ud800\", \"b\": \"\xff\"}",
		"NUL":                          `{"a": "\u0000"}`,
		"huge numbers":                 `[1e999999999, ` + strings.Repeat("9", 10_000) + `]`,
		"all levels":                   deep(63),
	} {
		t.Run(name, func(t *testing.T) {
			first, second := sample("id", `"1"`, "resource_metadata", metadata), sample("id", `"2"`, "volume", `3`)
			batch := decode(t, "["+first+", "+second+"]")
			equal(t, batch.Apart, nil)
			equal(t, ids(batch), []string{"1", "2"})
			one(t, first)
		})
	}
	t.Run("non-finite numbers beside their names in a text", func(t *testing.T) {
		got := one(t, sample("id", `"NaN, \" Infinity\\"`, "resource_metadata", `[NaN, Infinity]`, "resource_id", `"-Infinity"`))
		equal(t, []string{got.ID, got.Resource}, []string{`NaN, " Infinity\`, "-Infinity"})
	})
	t.Run("a level too many", func(t *testing.T) {
		element := sample("resource_metadata", deep(64))
		batch := decode(t, "["+sample("id", `"1"`)+", "+element+", "+sample("id", `"2"`)+"]")
		equal(t, batch.Apart, []ceilometer.Apart{{Reason: "the sample has more than 64 objects and arrays inside each other", Raw: element}})
		equal(t, ids(batch), []string{"1", "2"})
		equal(t, len(decode(t, "["+element+", x]").Apart), 2) // this element counts, too: the fault after it is no error
	})
}

// A fault of syntax never loses the elements before it.
func TestFaultsOfSyntax(t *testing.T) {
	const broken, early = "the rest of the body is not valid JSON", "the body ends early"
	for name, c := range map[string]struct{ rest, raw, reason string }{
		"no comma":                     {sample(), sample(), broken},
		"two commas":                   {",," + sample() + "]", "," + sample() + "]", broken},
		"comma at the end":             {",]", "]", broken},
		"comma, then the end":          {", ", "", early},
		"the end":                      {"", "", early},
		"wrong bracket":                {"}", "}", broken},
		"text after the array":         {"] x", "x", broken},
		"second array":                 {"]\n[]", "[]", broken},
		"word":                         {", nan, 5]", "nan, 5]", broken},
		"NaN with a digit":             {", NaN1]", "NaN1]", broken},
		"minus NaN":                    {", -NaN]", "-NaN]", broken},
		"NaN twice":                    {", NaN NaN]", "NaN NaN]", broken},
		"digit before Infinity":        {", 1Infinity]", "1Infinity]", broken},
		"NaN as a name":                {", {NaN: 1}, {}]", "{NaN: 1}, {}]", broken},
		"single quotes":                {", {'a': 1}]", "{'a': 1}]", broken},
		"missing value":                {`, {"a":}]`, `{"a":}]`, broken},
		"missing colon":                {`, {"a" 1}]`, `{"a" 1}]`, broken},
		"missing comma in the object":  {`, {"a":1 "b":2}]`, `{"a":1 "b":2}]`, broken},
		"wrong bracket in the object":  {`, {"a":1], {}]`, `{"a":1], {}]`, broken},
		"two values":                   {`, 1 2]`, `1 2]`, broken},
		"line break in a string":       {", \"a\nb\"]", "\"a\nb\"]", broken},
		"unknown escape":               {`, "\x"]`, `"\x"]`, broken},
		"the end in an object":         {`, {"a": [1, {"b": "c]}`, `{"a": [1, {"b": "c]}`, early},
		"the end behind a backslash":   {`, {"a": "\`, `{"a": "\`, early},
		"many brackets, then the end":  {", " + strings.Repeat("[", 5000), strings.Repeat("[", 4096), early},
		"NUL and broken UTF-8":         {",\x00a\xff\xfe\x00b]", "a?b]", broken},
		"a character across the limit": {"," + strings.Repeat("x", 4094) + "€", strings.Repeat("x", 4094), broken},
		"a character at the limit":     {"," + strings.Repeat("x", 4093) + "€y", strings.Repeat("x", 4093) + "€", broken},
		"continuation bytes":           {"," + strings.Repeat("\x80", 5000), "?", broken},
	} {
		t.Run(name, func(t *testing.T) {
			batch := decode(t, "["+sample("id", `"1"`)+", 5, "+sample("id", `"2"`)+c.rest)
			equal(t, ids(batch), []string{"1", "2"})
			equal(t, batch.Apart, []ceilometer.Apart{{Reason: "the sample is not a JSON object", Raw: "5"}, {Reason: c.reason, Raw: c.raw}})
		})
	}
	t.Run("wrong bracket after a number", func(t *testing.T) {
		batch := decode(t, "[5} ")
		equal(t, batch.Apart, []ceilometer.Apart{{Reason: "the sample is not a JSON object", Raw: "5"}, {Reason: broken, Raw: "}"}})
	})
	t.Run("text after a single sample", func(t *testing.T) {
		batch := decode(t, sample("id", `"1"`)+"\n"+sample("id", `"2"`))
		equal(t, ids(batch), []string{"1"})
		equal(t, batch.Apart, []ceilometer.Apart{{Reason: broken, Raw: sample("id", `"2"`)}})
	})
}

func TestBodiesCutAtEveryByte(t *testing.T) {
	whole := decode(t, batchBody)
	for n := range len(batchBody) {
		batch, err := ceilometer.Decode("north", []byte(batchBody[:n]))
		if err != nil {
			if !reflect.DeepEqual(batch, ceilometer.Batch{}) || n > strings.Index(batchBody, "}, {") {
				t.Fatalf("after %d bytes: %v, with %+v", n, err, batch)
			}
			continue
		}
		count := 0 // the complete samples end with these texts
		for _, last := range []string{`"s-1", "monotonic_time": null}`, `"s-2", "monotonic_time": null}`, `"monotonic_time": 3.25}`} {
			if strings.Contains(batchBody[:n], last) {
				count++
			}
		}
		equal(t, batch.Samples, whole.Samples[:count])
		equal(t, reasons(batch), []string{"the body ends early"})
	}
}

func TestBodiesWithoutAnElement(t *testing.T) {
	const empty = "the body is empty, or ends before its first sample"
	invalid := func(at int) string {
		return fmt.Sprintf("the body is not valid JSON: the fault is in the value at byte %d, or after this value", at)
	}
	for body, want := range map[string]string{
		"":                               empty,
		" \n":                            empty,
		"[":                              empty,
		"<html>secret</html>":            invalid(0),
		"name=cpu":                       invalid(0),
		"[secret]":                       invalid(1),
		"[,]":                            invalid(1),
		" [ }":                           invalid(3),
		"[] secret":                      invalid(3),
		`{"id": "secret`:                 invalid(0),
		`[{"id": "secret"`:               invalid(1),
		"]":                              invalid(0),
		"\xef\xbb\xbf[]":                 invalid(0),
		strings.Repeat("[", 1<<20):       invalid(1),
		strings.Repeat(`{"a":`, 200_000): invalid(0),
	} {
		t.Run(body[:min(len(body), 20)], func(t *testing.T) {
			batch, err := ceilometer.Decode("north", []byte(body))
			if err == nil || err.Error() != want {
				t.Errorf("got error %v, want %s", err, want)
			}
			equal(t, batch, ceilometer.Batch{})
		})
	}
}

func TestTooManyElements(t *testing.T) {
	full := "[" + strings.Repeat("{}, ", 9998) + `{"message_id": 1, "event_type": 2}, ` + sample()
	batch := decode(t, full+"]")
	equal(t, []int{len(batch.Samples), len(batch.Apart), batch.Events}, []int{1, 9998, 1})

	batch = decode(t, full+", {},"+sample()+"]")
	equal(t, []int{len(batch.Samples), len(batch.Apart), batch.Events}, []int{1, 9999, 1})
	equal(t, batch.Apart[9998], ceilometer.Apart{Reason: "the body has too many elements", Raw: "{}," + sample() + "]"})
}

func TestDecodeDoesNotChangeTheBody(t *testing.T) {
	body := []byte(batchBody)
	batch, err := ceilometer.Decode("north", body)
	if err != nil || string(body) != batchBody {
		t.Fatalf("got error %v and body %s", err, body)
	}
	clear(body) // the batch does not alias the body
	equal(t, batch, decode(t, batchBody))
}

// FuzzDecode compares Decode with encoding/json, which finds the elements of a body in another way.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		batchBody, singleBody, eventsBody, "", "[", "[]", "5", `[{}, {"a": [NaN, -Infinity]}, 7]`, `[{"a":"\"NaN\\"},{"b":NaN}]`,
		"[" + sample() + "," + sample("volume", `"1.50"`, "timestamp", `"2026-11-25 18:00:00.5+01"`) + "] x",
		"[" + sample("id", `"\ud800"`, "volume", "1e-31") + ",]", strings.Repeat("[", 70) + strings.Repeat("]", 70), "NaN",
		strings.Replace(sample(), "{", `{"id": "x", "\u0069d": "y",`, 1), "[1 2,\"\xff\x00", `[{"message_id":1,"event_type":2},"]"]`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		clean := withoutNonFinite(body)
		batch, err := ceilometer.Decode("north", body)
		if err != nil {
			if json.Valid(clean) || !reflect.DeepEqual(batch, ceilometer.Batch{}) {
				t.Errorf("got error %v with %+v", err, batch)
			}
			return
		}
		for _, s := range batch.Samples {
			checkSample(t, s)
		}
		faulty := false
		for _, apart := range batch.Apart {
			if len(apart.Raw) > 4096 || !utf8.ValidString(apart.Raw) || strings.Contains(apart.Raw, "\x00") || apart.Reason == "" {
				t.Errorf("unfit for storage: %+v", apart)
			}
			switch apart.Reason {
			case "the rest of the body is not valid JSON", "the body ends early":
				faulty = true
			case "the body has too many elements", "the sample has more than 64 objects and arrays inside each other":
				return // encoding/json has other limits
			}
		}
		if faulty == json.Valid(clean) {
			t.Errorf("fault of syntax: got %t, want %t", faulty, !faulty)
		}
		if !faulty {
			compare(t, batch, clean)
		}
	})
}

// The function compare checks that the samples of the batch are elements of the body, in the same order, and counts the elements.
func compare(t *testing.T, batch ceilometer.Batch, body []byte) {
	t.Helper()
	var elements []json.RawMessage
	if json.Unmarshal(body, &elements) != nil || elements == nil {
		elements = []json.RawMessage{body}
	}
	events, samples := 0, batch.Samples
	for _, element := range elements {
		var m map[string]json.RawMessage
		if json.Unmarshal(element, &m) != nil {
			continue
		}
		text := func(name string) (value string) {
			if json.Unmarshal(m[name], &value) != nil {
				value = string(m[name]) // a number
			}
			return value
		}
		if m["message_id"] != nil && m["event_type"] != nil && m["name"] == nil {
			events++
		} else if len(samples) > 0 {
			s := samples[0]
			got := []string{s.ID, s.Project, s.Resource, s.Meter, string(s.Kind), s.Unit}
			want := []string{text("id"), text("project_id"), text("resource_id"), text("name"), text("type"), text("unit")}
			volume, err := decimal.NewFromString(text("volume"))
			if slices.Equal(got, want) && (err != nil && s.Volume.IsZero() || volume.Equal(s.Volume)) { // err: 0e99999999
				samples = samples[1:]
			}
		}
	}
	if len(samples) > 0 {
		t.Errorf("encoding/json does not find this sample: %+v", samples[0])
	}
	got := []int{len(batch.Samples) + len(batch.Apart) + batch.Events, batch.Events}
	if want := []int{len(elements), events}; !slices.Equal(got, want) {
		t.Errorf("got %d elements and events, want %d", got, want)
	}
}

var nonFinite = regexp.MustCompile(`^(NaN|-?Infinity)`)

// The function withoutNonFinite replaces NaN, Infinity and -Infinity outside of strings with null.
func withoutNonFinite(body []byte) []byte {
	var clean []byte
	inString, escaped := false, false
	for i := 0; i < len(body); i++ {
		if word := nonFinite.Find(body[i:]); !inString && word != nil {
			clean, i = append(clean, "null"...), i+len(word)-1
			continue
		}
		c := body[i]
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		}
		clean = append(clean, c)
	}
	return clean
}

func checkSample(t *testing.T, s usage.Sample) {
	t.Helper()
	for _, text := range []struct {
		text     string
		limit    int
		required bool
	}{
		{s.ID, 255, true},
		{s.Source, 255, true},
		{s.Project, 64, true},
		{s.Resource, 255, true},
		{s.Meter, 255, true},
		{s.Unit, 255, false},
	} {
		bad := text.required && text.text == "" || utf8.RuneCountInString(text.text) > text.limit
		if bad || !utf8.ValidString(text.text) || strings.ContainsFunc(text.text, unicode.IsControl) {
			t.Errorf("unfit text %q in %+v", text.text, s)
		}
	}
	if s.Kind != usage.Cumulative && s.Kind != usage.Delta && s.Kind != usage.Gauge || s.Cloud != "north" {
		t.Errorf("unfit series: %+v", s)
	}
	if size := s.Volume.Abs(); !size.IsZero() && (size.LessThan(decimal.New(1, -30)) || !size.LessThan(decimal.New(1, 31))) {
		t.Errorf("unfit volume: %s", s.Volume)
	}
	if s.At.Location() != time.UTC || s.At.Nanosecond()%1000 != 0 || s.At.Year() < 1970 || s.At.Year() > 9999 {
		t.Errorf("unfit time: %s", s.At)
	}
}
