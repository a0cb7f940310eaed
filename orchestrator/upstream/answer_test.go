package upstream_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestListsOfAnswersAreReadWithinLimits(t *testing.T) {
	whole := upstream.Limits{Bytes: 60, Values: 4, Flat: 2, List: 1, Elements: 3, Element: 20}
	each := upstream.Limits{Bytes: 60, Values: 10, Flat: 2, List: 1, Elements: 9, Element: 20, ElementValues: 3}
	field := upstream.Limits{Bytes: 60, Values: 4, Flat: 3, List: 2, Elements: 3, Element: 40}
	for body, c := range map[string]struct {
		limits upstream.Limits
		field  string
		want   []string // the elements; nil: an error
		err    string
	}{
		`[]`:                                {whole, "", []string{}, ""},
		`[1,{"a":[0,0,0,0]},"\",[]{}" ]`:    {whole, "", []string{"1", `{"a":[0,0,0,0]}`, `"\",[]{}"`}, ""},
		`[{"a":"\\","b":0,"c":0}]`:          {whole, "", nil, "an element of the list is longer than 20 bytes"},
		`[1,2,3,4]`:                         {whole, "", nil, "the list has more than 3 elements"},
		`[[[0,0]],[[0,0,0]]]`:               {whole, "", nil, "the answer has more than 4 values"},
		`[[[0,0,0]],[[0],[0],[0]]]`:         {each, "", []string{"[[0,0,0]]", "[[0],[0],[0]]"}, ""},
		`[[[0]],[[0,0,0,0]]]`:               {each, "", nil, "an element of the list has more than 3 values"},
		`[[[0,0,0]],[[0,0,0]],[[0,0,0,0]]]`: {each, "", nil, "an element of the list has more than 3 values"},
		`[` + strings.Repeat(" ", 21):       {whole, "", nil, "an element of the list is longer than 20 bytes"},
		`[1] 2`:                             {whole, "", nil, "the answer continues after the list"},
		`[1`:                                {whole, "", nil, "EOF"},
		`[1}`:                               {whole, "", nil, "invalid character"},
		`{"l":[{"a":0}],"links":{"a":[1]}}`: {field, "l", []string{`{"a":0}`}, ""},
		`{"links":null,"l":[]}`:             {field, "l", []string{}, ""},
		`{"l":null}`:                        {field, "l", nil, "not a list"},
		`{"L":[]}`:                          {field, "l", nil, `does not have the field "l"`},
		`{"l":[1],"l":[2]}`:                 {field, "l", nil, `has the field "l" twice`},
		`["l",[]]`:                          {field, "l", nil, "not an object"},
		`{"l":[{"a":[1,2,3,4,5]}]}`:         {field, "l", nil, "the answer has more than 4 values"},
		`{"l":[1,2,3,4]}`:                   {field, "l", nil, "the list has more than 3 elements"},
		`{"a":[1,2],"b":[0],"l":[0,0,0,0,0,0,0,0,0,0]} `:                                                   {field, "l", nil, "the list has more than 3 elements"},
		`{"l":["` + strings.Repeat(`0`, 40) + `"]}`:                                                        {field, "l", nil, "an element of the list is longer than 40 bytes"},
		`{"a":0,"b":` + strings.Repeat(`[`, 65):                                                            {upstream.Limits{Bytes: 1000, Values: 1000}, "l", nil, "nested more than 64 levels deep"},
		strings.Repeat(" ", 19) + `[1` + strings.Repeat(" ", 18) + `,1` + strings.Repeat(" ", 18) + `,1 ]`: {whole, "", nil, "the answer is longer than 60 bytes"},
	} {
		got := []string{}
		reader := c.limits.Reader(iotest.OneByteReader(strings.NewReader(body)))
		err := upstream.ReadList(reader, c.field, func(d *json.Decoder) error {
			var one json.RawMessage
			err := d.Decode(&one)
			got = append(got, string(one))
			return err
		})
		switch {
		case c.want == nil && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v; want an error about %q", body, err, c.err)
		case c.want != nil && (err != nil || !slices.Equal(got, c.want)):
			t.Errorf("%s: got %q, %v; want %q", body, got, err, c.want)
		}
	}
}

func TestFieldsBesideAListAreRead(t *testing.T) {
	type beside struct {
		Cut  bool
		Next string
	}
	for body, c := range map[string]struct {
		want beside
		err  string
	}{
		`{"cut":true,"l":[1,2]}`:                     {beside{Cut: true}, ""},
		`{"l":[1,2],"cut":true}`:                     {beside{Cut: true}, ""},
		`{"l":[1,2],"cut":false,"next":"n","x":[3]}`: {beside{Next: "n"}, ""},
		`{"l":[1,2],"next":null,"Cut":true}`:         {beside{}, ""},
		`{"cut":true,"l":[1,2],"cut":false}`:         {beside{}, `has the field "cut" twice`},
		`{"l":[1,2],"cut":"true"}`:                   {beside{}, "cannot unmarshal string"},
		`{"cut":true}`:                               {beside{}, `does not have the field "l"`},
		`{"l":[1,2],"cut":true`:                      {beside{}, "EOF"},
	} {
		var got beside
		sum := 0
		err := upstream.ReadListAnd(strings.NewReader(body), "l", func(d *json.Decoder) error {
			var one int
			err := d.Decode(&one)
			sum += one
			return err
		}, map[string]any{"cut": &got.Cut, "next": &got.Next})
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v; want an error about %q", body, err, c.err)
		case c.err == "" && (err != nil || got != c.want || sum != 3):
			t.Errorf("%s: got %+v, sum %d, %v; want %+v, sum 3", body, got, sum, err, c.want)
		}
	}
}

func TestWhatStandsBesideAListIsLimited(t *testing.T) {
	many := func(n int, one string) string { return strings.Repeat(one+",", n) + one }
	long := many(300<<10/2, "1") // 300 KiB
	for body, want := range map[string]bool{
		`{"x":[` + long + `],"l":[1]}`:                 false,
		`{"l":[1],"x":[` + long + `]}`:                 false,
		`{"l":[1],"cut":[` + long + `]}`:               false,
		`{` + many(300<<10/8, `"x":"y"`) + `,"l":[1]}`: false,
		`{"l":[1],` + many(300<<10/8, `"x":"y"`) + `}`: false,
		`{"x":"` + strings.Repeat("x", 200<<10) + `","l":[` + long + `],` + `"x":"` + strings.Repeat("x", 200<<10) + `"}`: true,
	} {
		var cut []int
		err := upstream.ReadListAnd(strings.NewReader(body), "l", upstream.Skip, map[string]any{"cut": &cut})
		if _, tooLong := errors.AsType[*upstream.LimitError](err); tooLong == want || want && err != nil {
			t.Errorf("%.20s...%s: got %v, want an error: %t", body, body[len(body)-20:], err, !want)
		}
	}
}
