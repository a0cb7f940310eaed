package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits are the limits of an answer in JSON. The limits bound the memory that the decoded answer needs.
type Limits struct {
	Bytes int // maximum size of the whole answer, in bytes
	// Values is the maximum number of values with a depth of more than Flat. The depth of a value is the number of objects and
	// lists around it. An empty object or list is counted as if it contained one value.
	Values int
	// Flat is the depth up to which values are not counted. These values need little memory, because each of them becomes a field
	// of a Go struct.
	Flat int

	// The fields below are the limits of a list. List is the depth of the list's elements. If List is 0, these limits are not checked.
	List          int
	Elements      int // maximum number of elements
	Element       int // maximum size of an element, in bytes
	ElementValues int // maximum number of values of an element with a depth of more than Flat; 0 means no limit
}

// maxDepth is the maximum depth of a value. The answers of Keystone and BillingStack have at most eight objects and lists around a
// value.
const maxDepth = 64

// MaxHeader is the maximum size of the header of an answer, in bytes. The header of Keystone's answer to a login contains a token of
// at most 8 KiB.
const MaxHeader = 64 << 10

// LimitError reports that an answer exceeds a limit. The upstream works: it has answered, but the answer is too large.
type LimitError struct{ limit string }

func (e *LimitError) Error() string { return e.limit }

func exceeded(format string, limit int) error { return &LimitError{fmt.Sprintf(format, limit)} }

// Reader returns a reader of the answer's body. If the body exceeds a limit, the reader returns a *LimitError that names the limit.
// The reader never returns the byte that exceeds the limit. The reader does not check that the body is JSON.
func (l Limits) Reader(body io.Reader) io.Reader { return &boundedReader{Limits: l, body: body} }

type boundedReader struct {
	Limits

	body io.Reader
	err  error // the limit that was exceeded, or nil

	bytes, element   int // bytes read so far: of the whole answer, and of the current element
	depth            int
	values, elements int
	elementValues    int // of the current element
	inText, escaped  bool
}

// Read implements [io.Reader].
func (r *boundedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.body.Read(p)
	for i, c := range p[:n] {
		if r.err = r.take(c); r.err != nil {
			return i, r.err
		}
	}
	return n, err
}

// The method `take` counts one byte of the body.
func (r *boundedReader) take(c byte) error {
	r.bytes++
	r.element++
	switch {
	case r.bytes > r.Bytes:
		return exceeded("the answer is longer than %d bytes", r.Bytes)
	case r.List > 0 && r.element > r.Element:
		return exceeded("an element of the list is longer than %d bytes", r.Element)
	case r.escaped:
		r.escaped = false
		return nil
	case r.inText:
		r.inText, r.escaped = c != '"', c == '\\'
		return nil
	}
	switch c {
	case '"':
		r.inText = true
	case '{', '[':
		r.depth++
		return r.value()
	case '}', ']':
		r.depth--
	case ',':
		return r.value()
	}
	return nil
}

// The method `value` counts a value: the first value of an object or list, or the value after a comma.
func (r *boundedReader) value() error {
	if r.depth > maxDepth {
		return exceeded("the objects and lists of the answer are nested more than %d levels deep", maxDepth)
	}
	if r.List > 0 && r.depth == r.List {
		r.element, r.elementValues = 0, 0
		if r.elements++; r.elements > r.Elements {
			return exceeded("the list has more than %d elements", r.Elements)
		}
	}
	if r.depth > r.Flat {
		if r.values++; r.values > r.Values {
			return exceeded("the answer has more than %d values", r.Values)
		}
		if r.elementValues++; r.ElementValues > 0 && r.elementValues > r.ElementValues {
			return exceeded("an element of the list has more than %d values", r.ElementValues)
		}
	}
	return nil
}

// ReadList calls the function `take` for each element of a list in JSON, so that the elements need not be in memory together. The
// function `take` decodes one element. If field is empty, the list is the whole answer. Otherwise, the answer is an object, and the
// list is in the field. ReadList may return an error after `take` has decoded elements. The list is then incomplete.
func ReadList(body io.Reader, field string, take func(*json.Decoder) error) error {
	if field != "" {
		return ReadListAnd(body, field, take, nil)
	}
	d := json.NewDecoder(body)
	if err := readElements(d, take); err != nil {
		return err
	}
	return atEnd(d)
}

// ReadListAnd reads a list in a field, as [ReadList] does, and also decodes other fields of the answer. These fields may be before
// or after the list. The keys of the map `others` are the names of these fields. The value of a key is a pointer to the variable
// for the field. If the answer lacks the field, the variable does not change. The parts of the answer before and after the list may
// have at most 256 KiB each, because each part is in memory as a whole.
func ReadListAnd(body io.Reader, field string, take func(*json.Decoder) error, others map[string]any) error {
	beside := &besideReader{body: body, left: maxBeside}
	d := json.NewDecoder(beside)
	elements := func(d *json.Decoder) error {
		beside.inList = true
		err := readElements(d, take)
		beside.inList, beside.left = false, maxBeside
		return err
	}
	if err := readFields(d, field, elements, others); err != nil {
		return err
	}
	return atEnd(d)
}

const maxBeside = 256 << 10

// besideReader reads an answer with a list, and limits the number of bytes before the list and the number of bytes after the list.
type besideReader struct {
	body   io.Reader
	inList bool
	left   int
}

// Read implements [io.Reader].
func (r *besideReader) Read(p []byte) (int, error) {
	if r.inList {
		return r.body.Read(p)
	}
	if r.left == 0 {
		return 0, exceeded("the answer has more than %d bytes beside the list", maxBeside)
	}
	n, err := r.body.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

func atEnd(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("the answer continues after the list"), err)
	}
	return nil
}

func readElements(d *json.Decoder, take func(*json.Decoder) error) error {
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return errors.Join(errors.New("the answer is not a list in JSON"), err)
	}
	for d.More() {
		if err := take(d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func readFields(d *json.Decoder, field string, elements func(*json.Decoder) error, others map[string]any) error {
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return errors.Join(errors.New("the answer is not an object in JSON"), err)
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		into, isOther := others[name]
		if (name == field || isOther) && seen[name] {
			return fmt.Errorf("the answer has the field %q twice", name)
		}
		switch {
		case name == field:
			seen[name], err = true, elements(d)
		case isOther:
			seen[name], err = true, d.Decode(into)
		default:
			err = Skip(d)
		}
		if err != nil {
			return err
		}
	}
	if !seen[field] {
		return fmt.Errorf("the answer does not have the field %q", field)
	}
	_, err := d.Token()
	return err
}

// Skip reads one value, and drops it.
func Skip(d *json.Decoder) error { return d.Decode(&skipped{}) }

type skipped struct{}

// UnmarshalJSON implements [json.Unmarshaler].
func (*skipped) UnmarshalJSON([]byte) error { return nil }
