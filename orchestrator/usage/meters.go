package usage

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/shopspring/decimal"
)

// Meters says how the usage of meters is billed. The keys are the names of the meters. The usage of a meter that is not in the map is
// billed as the product with the name of the meter.
type Meters map[string]Meter

// Meter says how the usage of one meter is billed.
type Meter struct {
	Product string // the name of the product
	// Unit is the unit of the samples whose usage is billed. Empty: any unit, but an hour with several units is not billed.
	Unit string
	// Kind is used instead of the kind in the samples; empty: the kind in the samples is right.
	Kind Kind
	// DivideBy is the number of units of the meter in one unit of the product, such as 1000000000 bytes in a gigabyte.
	DivideBy decimal.Decimal
}

const (
	maxMetersSize = 1 << 20
	maxMeters     = 1000
	// maxProductName is the maximum length of the name of a product in BillingStack. maxMeterName is the maximum length of the name of a meter in
	// a sample.
	maxProductName = 60
	maxMeterName   = 255
	maxUnit        = 255 // also in a sample
)

// ReadMeters reads a YAML file such as
//
//	meters:
//	  - {meter: vcpus, product: vCPU hours}
//	  - {meter: network.outgoing.bytes, product: Traffic, kind: cumulative, unit: B, divide_by: 1000000000}
//
// An error names all faults of the file.
func ReadMeters(file io.Reader) (Meters, error) {
	text, err := io.ReadAll(io.LimitReader(file, maxMetersSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxMetersSize {
		return nil, errors.New("the file is larger than 1 MiB")
	}
	var content struct {
		Meters []struct {
			Meter    verbatim `yaml:"meter"`
			Product  verbatim `yaml:"product"`
			Kind     verbatim `yaml:"kind"`
			Unit     verbatim `yaml:"unit"`
			DivideBy verbatim `yaml:"divide_by"`
		} `yaml:"meters"`
	}
	if err := decodeFile(text, &content); err != nil {
		return nil, err
	}
	if len(content.Meters) > maxMeters {
		return nil, fmt.Errorf("the file has %d meters, but may have at most %d", len(content.Meters), maxMeters)
	}
	all := Meters{}
	var faults []error
	for i, entry := range content.Meters {
		meter, product, kind, divisor := string(entry.Meter), string(entry.Product), Kind(entry.Kind), string(entry.DivideBy)
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("meter %d %.60q: "+format, append([]any{i + 1, meter}, args...)...))
		}
		made := Meter{Product: product, Kind: kind, Unit: string(entry.Unit), DivideBy: decimal.NewFromInt(1)}
		if _, twice := all[meter]; twice {
			fault("the meter is in the file twice")
		}
		if meter == "" || len(meter) > maxMeterName {
			fault("`meter` must have 1 to %d bytes", maxMeterName)
		}
		if product == "" || utf8.RuneCountInString(product) > maxProductName {
			fault("`product` must have 1 to %d characters", maxProductName)
		}
		if kind != "" && !slices.Contains(kinds, kind) {
			fault("`kind` is %.60q, but must be cumulative, delta or gauge", kind)
		}
		if len(made.Unit) > maxUnit {
			fault("`unit` must have at most %d bytes", maxUnit)
		}
		if divisor != "" {
			made.DivideBy, err = decimal.NewFromString(divisor)
			if err != nil || !plain(made.DivideBy) || !made.DivideBy.IsPositive() {
				fault("`divide_by` is %.60q, but must be a number above 0 with at most 30 digits", divisor)
			}
		}
		all[meter] = made
	}
	return all, errors.Join(faults...)
}

// decodeFile decodes the only document of a YAML file. It refuses anchors, aliases and tags: with aliases, a small file could take a very long
// time to decode. It also refuses a key that is not a text, because the YAML decoder would ignore the whole mapping.
func decodeFile(text []byte, to any) error {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return withoutSource(err)
	}
	var bodies []ast.Node
	for _, document := range file.Docs {
		switch document.Body.(type) {
		case nil, *ast.DirectiveNode, *ast.CommentGroupNode:
		default:
			bodies = append(bodies, document.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil
	case 1:
	default:
		return errors.New("the file has several YAML documents, but may have only one")
	}
	var found refused
	if ast.Walk(&found, bodies[0]); found.fault != nil {
		return found.fault
	}
	if err := yaml.NodeToValue(bodies[0], to, yaml.Strict()); err != nil {
		return withoutSource(err)
	}
	return nil
}

// withoutSource returns the position and the message of an error of the YAML parser, without lines of the file.
func withoutSource(err error) error { return errors.New(yaml.FormatError(err, false, false)) }

// The type `refused` finds the first node of a YAML document that decodeFile refuses.
type refused struct{ fault error }

// Visit implements [ast.Visitor].
func (r *refused) Visit(node ast.Node) ast.Visitor {
	if r.fault != nil {
		return nil
	}
	switch n := node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fault = faultAt(n, "the file must not have anchors, aliases or tags")
	case *ast.MappingValueNode:
		if _, ok := n.Key.(*ast.StringNode); !ok {
			r.fault = faultAt(n.Key, "the key must be a text")
		}
	}
	return r
}

func faultAt(node ast.Node, text string) error {
	at := node.GetToken().Position
	return fmt.Errorf("[%d:%d] %s", at.Line, at.Column, text)
}

// The type `verbatim` is a value as it is written in the file. The YAML decoder would read 0.1234567890123456789 as the nearest floating-point
// number, and 010 as 8.
type verbatim string

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (v *verbatim) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.NullNode:
		*v = ""
	case *ast.StringNode:
		*v = verbatim(n.Value)
	case *ast.LiteralNode:
		*v = verbatim(strings.TrimSpace(n.Value.Value))
	case ast.ScalarNode:
		*v = verbatim(n.GetToken().Value)
	default:
		return faultAt(node, "the value must be a text or a number")
	}
	return nil
}

var kinds = []Kind{Cumulative, Delta, Gauge}

// The function `plain` reports whether the digits and the exponent of a number are within the limits for calculations.
func plain(d decimal.Decimal) bool {
	return d.NumDigits() <= 30 && d.Exponent() >= -30 && d.Exponent() <= 30
}

// The method `of` returns how the usage of a meter is billed.
func (m Meters) of(meter string) Meter {
	if found, ok := m[meter]; ok {
		return found
	}
	return Meter{Product: meter, DivideBy: decimal.NewFromInt(1)}
}

// Kind returns the kind with which the usage of a meter is computed. The parameter `sent` is the kind in a sample of the meter.
func (m Meters) Kind(meter string, sent Kind) Kind {
	if found := m[meter]; found.Kind != "" {
		return found.Kind
	}
	return sent
}
