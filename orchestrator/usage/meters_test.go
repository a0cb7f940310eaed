package usage_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

func read(text string) (usage.Meters, error) { return usage.ReadMeters(strings.NewReader(text)) }

// The function `meter` returns a file with one meter. The fields stand after the name of the meter, such as "product: P, kind: delta".
func meter(fields string) string { return "meters:\n  - {meter: m, " + fields + "}\n" }

func describedMeters(all usage.Meters) (texts []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text := fmt.Sprintf("%s: %s|%s|%s", name, all[name].Product, all[name].Kind, all[name].DivideBy)
		if all[name].Unit != "" {
			text += " " + all[name].Unit
		}
		texts = append(texts, text)
	}
	return texts
}

func TestAFileOfMeters(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"the example of the documentation": {
			"meters:\n  - {meter: vcpus, product: vCPU hours}\n" +
				"  - {meter: network.outgoing.bytes, product: Traffic, kind: cumulative, unit: B, divide_by: 1000000000}\n",
			[]string{"network.outgoing.bytes: Traffic|cumulative|1000000000 B", "vcpus: vCPU hours||1"},
		},
		"two meters of one product": {"meters: [{meter: a, product: P}, {meter: b, product: P}]", []string{"a: P||1", "b: P||1"}},
		"a delta":                   {meter("product: P, kind: delta"), []string{"m: P|delta|1"}},
		"a gauge":                   {meter("product: P, kind: gauge"), []string{"m: P|gauge|1"}},
		"a unit":                    {meter("product: P, unit: MB"), []string{"m: P||1 MB"}},
		"an empty unit is any unit": {meter(`product: P, unit: ""`), []string{"m: P||1"}},
		"the longest unit":          {meter("product: P, unit: " + strings.Repeat("u", 255)), []string{"m: P||1 " + strings.Repeat("u", 255)}},
		"an empty kind is the kind of the sample": {meter(`product: P, kind: ""`), []string{"m: P||1"}},
		"an empty divisor is 1":                   {meter(`product: P, divide_by: ""`), []string{"m: P||1"}},
		"no value is an empty text":               {meter("product: P, kind: null, divide_by: ~"), []string{"m: P||1"}},
		"an empty file":                           {"", nil},
		"a file with a comment":                   {"# nothing yet\n", nil},
		"an empty document":                       {"---\n", nil},
		"no meters":                               {"meters:\n", nil},
		"an empty list":                           {"meters: []\n", nil},
		"a document with its marks":               {"---\nmeters: [{meter: a, product: P}]\n...\n", []string{"a: P||1"}},
		"a document with its version":             {"%YAML 1.1\n---\nmeters: [{meter: a, product: P}]\n", []string{"a: P||1"}},
		"lines that end as on Windows":            {"meters:\r\n  - meter: a\r\n    product: P\r\n", []string{"a: P||1"}},
		"a text over several lines":               {"meters:\n  - meter: a\n    product: >\n      vCPU\n      hours\n", []string{"a: vCPU hours||1"}},

		// The YAML decoder would change these values.
		"a divisor has all its digits":              {meter("product: P, divide_by: 0.1234567890123456789"), []string{"m: P||0.1234567890123456789"}},
		"a divisor of 30 digits":                    {meter("product: P, divide_by: 123456789012345678901234567.891"), []string{"m: P||123456789012345678901234567.891"}},
		"a divisor in quotes":                       {meter("product: P, divide_by: '0.1234567890123456789'"), []string{"m: P||0.1234567890123456789"}},
		"a divisor with a zero before it":           {meter("product: P, divide_by: 010"), []string{"m: P||10"}},
		"a divisor with an exponent":                {meter("product: P, divide_by: 1e9"), []string{"m: P||1000000000"}},
		"the largest exponent":                      {meter("product: P, divide_by: 1e30"), []string{"m: P||1" + strings.Repeat("0", 30)}},
		"the smallest exponent":                     {meter("product: P, divide_by: 1e-30"), []string{"m: P||0." + strings.Repeat("0", 29) + "1"}},
		"names that look like numbers stay texts":   {"meters: [{meter: 1.10, product: 007}]", []string{"1.10: 007||1"}},
		"names that look like booleans stay texts":  {"meters: [{meter: true, product: No}]", []string{"true: No||1"}},
		"the longest names, which count as letters": {fmt.Sprintf("meters: [{meter: %s, product: %s}]", strings.Repeat("m", 255), strings.Repeat("é", 60)), []string{strings.Repeat("m", 255) + ": " + strings.Repeat("é", 60) + "||1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(c.file)
			if err != nil || !slices.Equal(describedMeters(got), c.want) {
				t.Errorf("got %q, %v, want %q", describedMeters(got), err, c.want)
			}
		})
	}
}

func TestFaultsOfAFileOfMeters(t *testing.T) {
	const name, product = "meter 1 \"%s\": `meter` must have 1 to 255 bytes", "meter 1 \"%s\": `product` must have 1 to 60 characters"
	divisor := func(text string) []string {
		return []string{fmt.Sprintf("meter 1 \"m\": `divide_by` is %q, but must be a number above 0 with at most 30 digits", text)}
	}
	for what, c := range map[string]struct {
		file string
		want []string // the lines of the error
	}{
		"no name of a meter":        {"meters: [{product: P}]", []string{fmt.Sprintf(name, "")}},
		"a long name of a meter":    {fmt.Sprintf("meters: [{meter: %s, product: P}]", strings.Repeat("m", 256)), []string{fmt.Sprintf(name, strings.Repeat("m", 60))}},
		"no product":                {"meters: [{meter: m}]", []string{fmt.Sprintf(product, "m")}},
		"an empty product":          {meter(`product: ""`), []string{fmt.Sprintf(product, "m")}},
		"a long product":            {meter("product: " + strings.Repeat("é", 61)), []string{fmt.Sprintf(product, "m")}},
		"an unknown kind":           {meter("product: P, kind: counter"), []string{"meter 1 \"m\": `kind` is \"counter\", but must be cumulative, delta or gauge"}},
		"a long unit":               {meter("product: P, unit: " + strings.Repeat("u", 256)), []string{"meter 1 \"m\": `unit` must have at most 255 bytes"}},
		"a kind in capital letters": {meter("product: P, kind: Delta"), []string{"meter 1 \"m\": `kind` is \"Delta\", but must be cumulative, delta or gauge"}},
		"a meter twice": {
			"meters: [{meter: m, product: P}, {meter: n, product: P}, {meter: m, product: Q}]", []string{`meter 3 "m": the meter is in the file twice`},
		},
		"several faults of several meters": {
			"meters: [{meter: a, kind: x}, {meter: b, product: P}, {meter: b, divide_by: -1}]",
			[]string{
				"meter 1 \"a\": `product` must have 1 to 60 characters", "meter 1 \"a\": `kind` is \"x\", but must be cumulative, delta or gauge",
				`meter 3 "b": the meter is in the file twice`, "meter 3 \"b\": `product` must have 1 to 60 characters",
				"meter 3 \"b\": `divide_by` is \"-1\", but must be a number above 0 with at most 30 digits",
			},
		},
		"an entry without content": {"meters: [null]", []string{fmt.Sprintf(name, ""), fmt.Sprintf(product, "")}},
		"a name with a line break": {"meters: [{meter: \"a\\nb\"}]", []string{fmt.Sprintf(product, `a\nb`)}},

		"a divisor of zero":               {meter("product: P, divide_by: 0"), divisor("0")},
		"a negative divisor":              {meter("product: P, divide_by: -1"), divisor("-1")},
		"a divisor with an unusual minus": {meter("product: P, divide_by: \u22121"), divisor("\u22121")},
		"a divisor that is no number":     {meter("product: P, divide_by: GB"), divisor("GB")},
		"an infinite divisor":             {meter("product: P, divide_by: .inf"), divisor(".inf")},
		"a divisor that is not a number":  {meter("product: P, divide_by: .nan"), divisor(".nan")},
		"a hexadecimal divisor":           {meter("product: P, divide_by: 0x10"), divisor("0x10")},
		"a divisor with a comma":          {"meters:\n  - meter: m\n    product: P\n    divide_by: 1,5\n", divisor("1,5")},
		"a divisor with an underscore":    {meter("product: P, divide_by: 1_000"), divisor("1_000")},
		"a divisor with 31 digits":        {meter("product: P, divide_by: 1" + strings.Repeat("0", 30)), divisor("1" + strings.Repeat("0", 30))},
		"a divisor with 31 decimals":      {meter("product: P, divide_by: 1e-31"), divisor("1e-31")},
		"a divisor that is too large":     {meter("product: P, divide_by: 1e31"), divisor("1e31")},
		"a divisor with a huge exponent":  {meter("product: P, divide_by: 1e999999999"), divisor("1e999999999")},
		"a divisor with a huger exponent": {meter("product: P, divide_by: 1e99999999999"), divisor("1e99999999999")},
		"a divisor with a tiny exponent":  {meter("product: P, divide_by: 1e-999999999"), divisor("1e-999999999")},
		"a divisor with many digits":      {meter("product: P, divide_by: " + strings.Repeat("9", 100_000)), divisor(strings.Repeat("9", 60))},

		"an unknown key":                   {"metres: []", []string{`[1:1] unknown field "metres"`}},
		"an unknown key of a meter":        {meter("product: P, price: 1"), []string{`[2:28] unknown field "price"`}},
		"a key in capital letters":         {meter("Product: P"), []string{`[2:16] unknown field "Product"`}},
		"a key twice":                      {"meters: []\nmeters: []", []string{`[2:1] mapping key "meters" already defined at [1:1]`}},
		"a key of a meter twice":           {meter("product: P, product: Q"), []string{`[2:28] mapping key "product" already defined at [2:16]`}},
		"a key that is a number":           {"meters: [{meter: m, product: P}]\n5: x\n", []string{"[2:1] the key must be a text"}},
		"a key of a meter is a number":     {meter("product: P, divide_by: 1,5"), []string{"[2:41] the key must be a text"}},
		"a merged mapping":                 {"meters: [{<<: {meter: m, product: P}}]", []string{"[1:11] the key must be a text"}},
		"a list instead of a text":         {meter("product: [P]"), []string{"[2:25] the value must be a text or a number"}},
		"a mapping instead of a divisor":   {meter("product: P, divide_by: {GB: 1}"), []string{"[2:39] the value must be a text or a number"}},
		"a mapping instead of the list":    {"meters: {m: P}", []string{"[1:9] mapping was used where sequence is expected"}},
		"texts instead of entries":         {"meters: [m]", []string{"[1:10] string was used where mapping is expected"}},
		"a text instead of the file":       {"hello", []string{"[1:1] string was used where mapping is expected"}},
		"a file that is no YAML":           {"meters: [", []string{"[1:9] sequence end token ']' not found"}},
		"two documents":                    {"meters: []\n---\nmeters: [{meter: m, product: P}]\n", []string{"the file has several YAML documents, but may have only one"}},
		"a second document that is a text": {"meters: []\n---\nhello\n", []string{"the file has several YAML documents, but may have only one"}},
		"an anchor":                        {"meters: [{meter: &m a, product: P}]", []string{"[1:18] the file must not have anchors, aliases or tags"}},
		"an alias":                         {"meters: [{meter: *m, product: P}]", []string{"[1:18] the file must not have anchors, aliases or tags"}},
		"a tag":                            {"meters: !!binary aGVsbG8=", []string{"[1:9] the file must not have anchors, aliases or tags"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := read(c.file)
			if err == nil {
				t.Fatalf("no error, want %q", c.want)
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, c.want) {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func TestTheLimitsOfAFileOfMeters(t *testing.T) {
	many := func(n int) string {
		file := "meters:\n"
		for i := range n {
			file += fmt.Sprintf("  - {meter: m%d, product: P}\n", i)
		}
		return file
	}
	if got, err := read(many(1000)); len(got) != 1000 || err != nil {
		t.Errorf("1000 meters: %d, %v", len(got), err)
	}
	if _, err := read(many(1001)); err == nil || err.Error() != "the file has 1001 meters, but may have at most 1000" {
		t.Errorf("1001 meters: %v", err)
	}
	padded := func(size int) string { return "meters: []\n#" + strings.Repeat("x", size-12) }
	if _, err := read(padded(1 << 20)); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := read(padded(1<<20 + 1)); err == nil || err.Error() != "the file is larger than 1 MiB" {
		t.Errorf("more than 1 MiB: %v", err)
	}
	broken := errors.New("broken")
	if _, err := usage.ReadMeters(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// With nested aliases, a file of 1 KB describes 9^25 values.
func TestAFileOfMetersCannotTakeLong(t *testing.T) {
	nested := func(first, line string) string {
		file := "meters:\n" + first
		for c := 'b'; c <= 'z'; c++ {
			file += fmt.Sprintf(line, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
		}
		return file
	}
	for name, file := range map[string]string{
		"lists in a field":          nested("  - {meter: &a [x, x], product: P}\n", "  - {meter: &%c [%s], product: P}\n"),
		"merged mappings":           nested("  - &a {meter: m, product: P}\n", "  - &%c {<<: [%s]}\n"),
		"an alias of itself":        "meters: &a [*a]\n",
		"a large text that repeats": "meters:\n  - &a {meter: " + strings.Repeat("x", 500_000) + ", product: P}\n" + strings.Repeat("  - *a\n", 70_000),
	} {
		t.Run(name, func(t *testing.T) {
			failed := make(chan error, 1)
			go func() {
				_, err := read(file)
				failed <- err
			}()
			select {
			case err := <-failed:
				if err == nil || !strings.Contains(err.Error(), "the file must not have anchors") || len(err.Error()) > 100 {
					t.Errorf("got %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the file is not read after 20 s")
			}
		})
	}
}

// An error quotes the faulty value only, because another line of the file may be confidential.
func TestAFaultQuotesNoOtherLines(t *testing.T) {
	const before, after = "meters:\n  - {meter: hidden1, product: hidden2}\n", "  - {meter: hidden3, product: hidden4}\n"
	for name, line := range map[string]string{
		"an unknown kind":     "  - {meter: a, product: hidden5, kind: x}\n",
		"an unknown key":      "  - {meter: hidden5, key: hidden6}\n",
		"a list":              "  - {meter: hidden5, product: [hidden6]}\n",
		"a mapping":           "  - {meter: hidden5, product: {hidden6: hidden7}}\n",
		"a broken line":       "  - {meter: hidden5, product: hidden6\n",
		"an alias":            "  - {meter: hidden5, product: *hidden6}\n",
		"a tab":               "\t- {meter: hidden5}\n",
		"a key that is a tag": "  - {!!binary hidden5: hidden6}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read(before + line + after); err == nil || strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The YAML decoder panics on some texts, such as "meters: !!binary aGVsbG8=".
func TestAnyTextIsAFileOfMetersOrAFault(t *testing.T) {
	words := []string{
		"meters", "meter", "product", "kind", "divide_by", ":", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "<<", "!!binary ", "!!str ", "? ",
		"|", ">", "\"", "'", "#", "---\n", "...\n", "%", "5", "1.5", "~", "true", ".inf", "delta", "\t", "x", "\xff", "\x00",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 30).Draw(t, "words"), "")
		if rapid.Bool().Draw(t, "with a beginning") {
			text = "meters:\n  - {meter: m, product: P}\n" + text
		}
		found, err := read(text)
		for name, m := range found {
			if err == nil && (name == "" || m.Product == "" || !m.DivideBy.IsPositive()) {
				t.Fatalf("the meter %q is %+v", name, m)
			}
		}
	})
}

func TestTheKindOfAMeter(t *testing.T) {
	all := usage.Meters{"traffic": {Product: "Traffic", Kind: usage.Cumulative}, "vcpus": {Product: "vCPU hours"}}
	for meter, want := range map[string]usage.Kind{"traffic": usage.Cumulative, "vcpus": usage.Gauge, "other": usage.Gauge} {
		if got := all.Kind(meter, usage.Gauge); got != want {
			t.Errorf("the kind of %s is %s, want %s", meter, got, want)
		}
	}
	if got := usage.Meters(nil).Kind("m", usage.Delta); got != usage.Delta {
		t.Errorf("without a file, the kind is %s", got)
	}
}
