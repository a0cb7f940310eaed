package ceilometer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The limits of a sample's members. The lengths are in characters.
const (
	maxProject  = 64
	maxText     = 255 // of the id, source, resource, meter and unit
	maxTime     = 64
	maxNumber   = 100 // of a volume; a volume within the other limits can always be written with fewer characters
	maxDigits   = 40
	maxExponent = 30
)

// defaultSource is the default of Ceilometer's option sample_source: the source of a sample that has no source.
const defaultSource = "openstack"

// The type members contains the JSON values of an element. A nil value means that the member is missing.
type members struct {
	id, source, project, resource, meter, unit, kind, volume, time jsontext.Value

	messageID, eventType jsontext.Value // only an event has these members

	twice string // the name of the first member that occurs twice
}

// The function `set` sets the member with this quoted name. Other names are ignored.
func (m *members) set(quoted, value jsontext.Value) {
	const longest = len(`"resource_id"`) * len(`\u0000`)
	if len(quoted) > longest {
		return
	}
	var buffer [longest]byte
	name, err := jsontext.AppendUnquote(buffer[:0], quoted)
	if err != nil {
		return
	}
	member := m.named(string(name))
	switch {
	case member == nil:
	case *member == nil:
		*member = value
	case m.twice == "":
		m.twice = string(name)
	}
}

func (m *members) named(name string) *jsontext.Value {
	switch name {
	case "id":
		return &m.id
	case "source":
		return &m.source
	case "project_id":
		return &m.project
	case "resource_id":
		return &m.resource
	case "name":
		return &m.meter
	case "unit":
		return &m.unit
	case "type":
		return &m.kind
	case "volume":
		return &m.volume
	case "timestamp":
		return &m.time
	case "message_id":
		return &m.messageID
	case "event_type":
		return &m.eventType
	}
	return nil
}

func (m *members) isEvent() bool { return m.messageID != nil && m.eventType != nil && m.meter == nil }

// The type reader reads the members of one sample, and keeps the first fault. After a fault, it reads nothing more.
type reader struct {
	fault   string
	scratch []byte
}

// The function `sample` returns the sample without its cloud. If the sample cannot be used, r.fault is the reason.
func (r *reader) sample(m *members) usage.Sample {
	if m.twice != "" {
		r.fail("%s occurs twice", m.twice)
	}
	s := usage.Sample{
		Series: usage.Series{
			Meter:    r.required("name", m.meter, maxText),
			Source:   r.text("source", m.source, maxText),
			Project:  r.required("project_id", m.project, maxProject),
			Resource: r.required("resource_id", m.resource, maxText),
			Kind:     r.kind(m.kind),
		},
		ID:     r.required("id", m.id, maxText),
		Unit:   r.text("unit", m.unit, maxText),
		Volume: r.volume(m.volume),
		At:     r.time(m.time),
	}
	if s.Source == "" {
		s.Source = defaultSource
	}
	return s
}

func (r *reader) fail(format string, args ...any) {
	if r.fault == "" {
		r.fault = fmt.Sprintf(format, args...)
	}
}

// The function `required` returns a text that must not be empty.
func (r *reader) required(name string, v jsontext.Value, limit int) string {
	text := r.text(name, v, limit)
	if text == "" {
		r.fail("%s is missing", name)
	}
	return text
}

// The function `text` returns a text of up to limit characters. If the member is missing or null, the text is empty.
func (r *reader) text(name string, v jsontext.Value, limit int) string {
	const longestCharacter = len(`\ud83d\ude00`)
	if r.fault != "" || v == nil || v.Kind() == jsontext.KindNull {
		return ""
	}
	if v.Kind() != jsontext.KindString {
		r.fail("%s is not a string", name)
		return ""
	}
	if len(v) > limit*longestCharacter+len(`""`) { // so that a huge string is not decoded
		r.fail("%s is longer than %d characters", name, limit)
		return ""
	}
	var err error
	r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], v)
	text := string(r.scratch)
	switch {
	case err != nil:
		r.fail("%s is not valid Unicode", name)
	case utf8.RuneCountInString(text) > limit:
		r.fail("%s is longer than %d characters", name, limit)
	case strings.ContainsFunc(text, unicode.IsControl):
		r.fail("%s contains control characters", name)
	}
	return text
}

func (r *reader) kind(v jsontext.Value) usage.Kind {
	kind := usage.Kind(r.required("type", v, maxText))
	switch kind {
	case usage.Cumulative, usage.Delta, usage.Gauge:
	default:
		r.fail("type is not cumulative, delta or gauge")
	}
	return kind
}

// The function `volume` reads a number, or a string that contains a number in JSON's form. Ceilometer's dynamic pollsters pass on the
// values of other services unchanged. Some of these services write numbers as strings.
func (r *reader) volume(v jsontext.Value) decimal.Decimal {
	var literal string
	switch {
	case r.fault != "":
		return decimal.Decimal{}
	case v.Kind() == jsontext.KindNumber && len(v) > maxNumber:
		r.fail("volume is longer than %d characters", maxNumber)
	case v.Kind() == jsontext.KindNumber:
		literal = string(v)
	case v == nil, v.Kind() == jsontext.KindNull, v.Kind() == jsontext.KindString:
		literal = r.required("volume", v, maxNumber)
		if strings.TrimLeft(literal, "+-.0123456789Ee") != "" || !jsontext.Value(literal).IsValid() {
			r.fail("volume is not a finite number")
		}
	default:
		r.fail("volume is not a finite number")
	}
	if r.fault != "" {
		return decimal.Decimal{}
	}
	return r.number(literal)
}

// The function `number` returns the exact value of a JSON number. The limit applies to the exponent in scientific notation with one digit
// before the point. The limit therefore does not depend on the way in which the number is written.
func (r *reader) number(literal string) decimal.Decimal {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(literal), "e")
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return decimal.Decimal{} // zero has no exponent, even if the text has one
	}
	shift := 0
	if exponent != "" {
		n, err := strconv.ParseInt(exponent, 10, 16)
		if err != nil {
			n = maxNumber * 2 // out of range with every mantissa
		}
		shift = int(n)
	}
	scientific := len(digits) - len(fraction) - 1 + shift
	switch {
	case len(strings.TrimRight(digits, "0")) > maxDigits:
		r.fail("volume has more than %d significant digits", maxDigits)
	case scientific < -maxExponent || scientific > maxExponent:
		r.fail("volume has an exponent outside of -%d to %d", maxExponent, maxExponent)
	}
	if r.fault != "" {
		return decimal.Decimal{}
	}
	value, err := decimal.NewFromString(literal)
	if err != nil {
		r.fail("volume is not a finite number")
	}
	return value
}

// The function `time` reads a time in ISO 8601, with T or a blank between date and time. Fraction and zone may be missing. A time without
// zone is in UTC.
func (r *reader) time(v jsontext.Value) time.Time {
	text := r.required("timestamp", v, maxTime)
	if r.fault != "" {
		return time.Time{}
	}
	at, ok := parseTime(text)
	if !ok {
		r.fail("timestamp is not a time in ISO 8601 between 1970 and 9999")
	}
	return at
}

func parseTime(text string) (time.Time, bool) {
	const form = "2006-01-02T15:04:05"
	if len(text) < len(form) || text[10] != 'T' && text[10] != ' ' {
		return time.Time{}, false
	}
	if text[13] != ':' { // time.Parse also accepts an hour of one digit
		return time.Time{}, false
	}
	text = text[:10] + "T" + text[11:]
	for _, zone := range []string{"", "Z07:00", "Z0700", "Z07", "Z07:00:00"} { // time.Parse accepts a fraction after the seconds
		at, err := time.Parse(form+zone, text)
		if err != nil {
			continue
		}
		at = at.UTC().Truncate(time.Microsecond)
		return at, at.Year() >= 1970 && at.Year() <= 9999
	}
	return time.Time{}, false
}
