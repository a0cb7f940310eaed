// Package ceilometer decodes the requests of Ceilometer's http publisher.
package ceilometer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

const (
	maxElements = 10_000 // the samples and events of a body
	maxDepth    = 64     // of nested objects and arrays in a sample; the array of a batch does not count
	maxRaw      = 4096   // in bytes
)

// The reasons that concern the rest of a body.
const (
	notJSON         = "the rest of the body is not valid JSON"
	endsEarly       = "the body ends early"
	tooManyElements = "the body has too many elements"
)

// Batch is the content of one request.
type Batch struct {
	Samples []usage.Sample // in the order of the body; a sample may occur twice
	Apart   []Apart
	Events  int // the number of events in the body; the events themselves are dropped
}

// Apart is a part of a body that cannot be used: one sample, or the rest of the body.
type Apart struct {
	// Reason says why the part cannot be used. A reason contains no values of the body, so that equal faults have equal reasons.
	Reason string
	// Raw is the JSON text of the part as it was sent, cut to 4 KiB. NUL is removed, and "?" replaces invalid UTF-8.
	Raw string
}

// Decode decodes a body of one sample or event, or of an array of samples and events. The samples get the given cloud. The caller must
// limit the size of the body.
//
// Ceilometer does not repeat a request that is refused, so Decode keeps as much of the body as possible. A sample that cannot be used is
// kept apart. If the body breaks the syntax of JSON or has more than 10,000 elements, Decode uses the elements before this place, and the
// rest of the body is one Apart. Decode returns an error only if there is no element before the first fault of syntax, or if the body is
// empty. The Batch is then empty. An error does not contain values of the body.
//
// Python writes NaN, Infinity and -Infinity, which are not JSON. Decode accepts these texts as values, but a sample needs a finite volume.
//
// Decode needs linear time. It allocates up to four times the size of the body, or up to 4 MiB if a small body has many elements.
func Decode(cloud string, body []byte) (Batch, error) {
	d := decoder{cloud: cloud, body: body}
	at, fault := d.run()
	switch {
	case fault == "":
	case d.elements == 0 && at == len(body):
		return Batch{}, errors.New("the body is empty, or ends before its first sample")
	case d.elements == 0:
		return Batch{}, fmt.Errorf("the body is not valid JSON: the fault is in the value at byte %d, or after this value", at)
	default:
		d.keepApart(fault, body[at:])
	}
	return d.batch, nil
}

type decoder struct {
	cloud    string
	body     []byte
	batch    Batch
	elements int // the number of elements that have been decoded
	parser   jsontext.Decoder
	input    bytes.Buffer // of the parser
	clean    []byte       // a copy of the current element if the element contains NaN or Infinity
	scratch  []byte       // a decoded string
}

// The function `run` decodes the elements of the body. If `run` cannot decode all elements, it returns the place where the rest of the body
// begins, and the reason.
func (d *decoder) run() (at int, fault string) {
	at = d.skipBlanks(0)
	if !d.has(at, '[') {
		length, fault := d.element(at)
		if fault != "" {
			return at, fault
		}
		return d.finish(at + length)
	}
	at = d.skipBlanks(at + 1)
	if d.has(at, ']') {
		return d.finish(at + 1)
	}
	for {
		if d.elements == maxElements {
			return at, tooManyElements
		}
		length, fault := d.element(at)
		if fault != "" {
			return at, fault
		}
		at = d.skipBlanks(at + length)
		switch {
		case d.has(at, ','):
			at = d.skipBlanks(at + 1)
		case d.has(at, ']'):
			return d.finish(at + 1)
		case at == len(d.body):
			return at, endsEarly
		default:
			return at, notJSON
		}
	}
}

// The function `finish` checks that only blanks follow the value of the body.
func (d *decoder) finish(at int) (int, string) {
	if at = d.skipBlanks(at); at < len(d.body) {
		return at, notJSON
	}
	return at, ""
}

func (d *decoder) has(at int, c byte) bool { return at < len(d.body) && d.body[at] == c }

func (d *decoder) skipBlanks(at int) int {
	for at < len(d.body) && strings.IndexByte(" \t\r\n", d.body[at]) >= 0 {
		at++
	}
	return at
}

// The function `element` decodes the element that begins at this place, and returns its length.
func (d *decoder) element(at int) (length int, fault string) {
	found := scan(d.body[at:])
	if found.open || at == len(d.body) {
		return 0, endsEarly
	}
	raw := d.body[at : at+found.length]
	if found.depth > maxDepth {
		// The parser is recursive, so it never sees this element.
		d.keepApart(fmt.Sprintf("the sample has more than %d objects and arrays inside each other", maxDepth), raw)
		d.elements++
		return found.length, ""
	}
	valid := raw
	if found.letters {
		d.clean = replaceNonFinite(append(d.clean[:0], raw...))
		valid = d.clean
	}
	m, object, err := d.members(valid)
	if err != nil {
		return 0, notJSON
	}
	d.elements++
	switch {
	case !object:
		d.keepApart("the sample is not a JSON object", raw)
	case m.isEvent():
		d.batch.Events++
	default:
		r := reader{scratch: d.scratch}
		sample := r.sample(&m)
		d.scratch = r.scratch
		if r.fault != "" {
			d.keepApart(r.fault, raw)
			break
		}
		if d.batch.Samples == nil { // the capacity assumes that all samples have the length of the first one
			d.batch.Samples = make([]usage.Sample, 0, min(maxElements, 1+len(d.body)/len(raw)))
		}
		sample.Cloud = d.cloud
		d.batch.Samples = append(d.batch.Samples, sample)
	}
	return found.length, ""
}

// The function `members` parses an element, and returns the members that Tenantry uses. The result `object` is false if the element is not
// an object. The members alias the text.
func (d *decoder) members(text []byte) (m members, object bool, err error) {
	// Metadata may contain duplicate names and invalid Unicode: Python writes both. The members of the sample are checked later.
	d.input = *bytes.NewBuffer(text)
	d.parser.Reset(&d.input, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	read := func() (jsontext.Value, error) {
		value, err := d.parser.ReadValue()
		end := int(d.parser.InputOffset())
		return text[end-len(value) : end], err // the parser's own slice is only valid until the next read
	}
	if object = d.parser.PeekKind() == jsontext.KindBeginObject; !object {
		if _, err := read(); err != nil {
			return m, false, err
		}
	} else {
		if _, err := d.parser.ReadToken(); err != nil {
			return m, false, err
		}
		for d.parser.PeekKind() != jsontext.KindEndObject {
			name, err := read()
			if err != nil {
				return m, false, err
			}
			value, err := read()
			if err != nil {
				return m, false, err
			}
			m.set(name, value)
		}
		if _, err := d.parser.ReadToken(); err != nil {
			return m, false, err
		}
	}
	if _, err := d.parser.ReadToken(); !errors.Is(err, io.EOF) {
		return m, false, errors.New("text follows the value")
	}
	return m, object, nil
}

func (d *decoder) keepApart(reason string, raw []byte) {
	d.batch.Apart = append(d.batch.Apart, Apart{Reason: reason, Raw: Excerpt(raw)})
}

// Excerpt returns at most the first 4 KiB of a text, so that the database can store it: NUL is removed, and "?" replaces invalid UTF-8.
func Excerpt(raw []byte) string {
	if len(raw) > maxRaw {
		end := maxRaw
		for end > maxRaw-utf8.UTFMax && !utf8.RuneStart(raw[end]) {
			end--
		}
		raw = raw[:end]
	}
	text := strings.ToValidUTF8(string(bytes.TrimRight(raw, " \t\r\n")), "?")
	return strings.ReplaceAll(text, "\x00", "")
}

// The result of scan.
type scanned struct {
	length  int
	depth   int  // the depth of the nested objects and arrays
	open    bool // the text ends inside the value
	letters bool // there is an N or an I outside of strings; valid JSON has none
}

// The function `scan` finds the end of the value at the beginning of a text. The function looks only at strings, brackets and commas. The
// value that it finds may therefore break the syntax of JSON. If the text begins with a valid value, `scan` finds its end.
func scan(text []byte) scanned {
	var found scanned
	level := 0
	for i := 0; i < len(text); i = next(text, i) {
		switch c := text[i]; c {
		case '{', '[':
			level++
			found.depth = max(found.depth, level)
		case '}', ']', ',':
			if level == 0 {
				found.length = i
				return found
			}
			if c == ',' {
				continue
			}
			if level--; level == 0 {
				found.length = i + 1
				return found
			}
		case 'N', 'I':
			found.letters = true
		}
	}
	found.length, found.open = len(text), level > 0
	return found
}

// The function `next` returns the place after the string that begins at this place. If no string begins here, it returns the next place.
func next(text []byte, at int) int {
	if text[at] != '"' {
		return at + 1
	}
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++ // the escaped character does not end the string
		case '"':
			return at + 1
		}
	}
	return len(text)
}

// The function `replaceNonFinite` replaces NaN, Infinity and -Infinity outside of strings with an empty array of the same length. A sample
// cannot use an array, so these values are never mistaken for a text or a number. An array is also invalid as a name and as a part of a
// number. A text such as NaN1 is therefore still invalid after the replacement. The function changes its argument.
func replaceNonFinite(text []byte) []byte {
	for i := 0; i < len(text); i = next(text, i) {
		for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
			if bytes.HasPrefix(text[i:], []byte(word)) {
				copy(text[i:], "["+strings.Repeat(" ", len(word)-2)+"]")
			}
		}
	}
	return text
}
