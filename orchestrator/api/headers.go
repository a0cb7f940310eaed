package api

import (
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	defaultWait = 10 * time.Second
	maxWait     = 30 * time.Second
	maxKey      = 255
)

// bareKey matches a key that needs no quotes, because it contains no white space, quote, comma or semicolon.
var bareKey = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+./:<=>?@^_|~{}()\[\]-]+$`)

// keyForm is the end of a sentence that describes the form of a key. The sentence begins with the number of characters. The OpenAPI
// document contains the same words.
const keyForm = "printable ASCII characters, with or without double quotes." +
	" A key without quotes has no blank, double quote, backtick, backslash, comma or semicolon"

// headerKey is the name of the header with the idempotency key of an order.
const headerKey = "Idempotency-Key"

// idempotencyKey returns the key in the header Idempotency-Key. The key may be in double quotes, as RFC 8941 defines, or without quotes.
// The quotes are not a part of the key.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values(headerKey)
	if len(values) == 0 {
		return "", refuse(keyMissing, "the header Idempotency-Key is missing")
	}
	if len(values) > 1 {
		return "", refuse(keyInvalid, "the header Idempotency-Key was sent %d times: send it once", len(values))
	}
	key := values[0]
	ok := bareKey.MatchString(key)
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || key == "" || len(key) > maxKey {
		return "", refuse(keyInvalid, "the key must have 1 to %d %s", maxKey, keyForm)
	}
	return key, nil
}

// The function `unquote` decodes an RFC 8941 string. The string is printable ASCII in quotes. In the string, a backslash precedes
// each quote and backslash.
func unquote(quoted string) (string, bool) {
	var b strings.Builder
	rest, closed := strings.CutSuffix(quoted[1:], `"`)
	for i := 0; i < len(rest); i++ {
		switch ch := rest[i]; {
		case ch < ' ' || ch > '~' || ch == '"':
			return "", false
		case ch == '\\':
			i++
			if i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				return "", false
			}
			b.WriteByte(rest[i])
		default:
			b.WriteByte(ch)
		}
	}
	return b.String(), closed
}

// The type `preference` is the content of the Prefer header (RFC 7240).
type preference struct {
	wait    time.Duration
	applied string // the value of the header Preference-Applied
}

// readPrefer reads all Prefer headers. As RFC 7240 requires, readPrefer ignores unknown preferences. If a preference occurs twice,
// readPrefer uses the first.
func readPrefer(h http.Header) preference {
	p := preference{wait: defaultWait}
	var applied []string
	waits, async := false, false
	for part := range strings.SplitSeq(strings.Join(h.Values("Prefer"), ","), ",") {
		part, _, _ = strings.Cut(part, ";")
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "wait":
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil && !errors.Is(err, strconv.ErrRange) || waits {
				continue
			}
			// If the value is too large for ParseUint, n is the maximum, 1<<31 - 1.
			waits, p.wait = true, min(time.Duration(n)*time.Second, maxWait)
			applied = append(applied, "wait="+seconds(p.wait))
		case "respond-async":
			if async {
				continue
			}
			async = true
			applied = append(applied, "respond-async")
		}
	}
	if async && !waits {
		p.wait = 0
	}
	p.applied = strings.Join(applied, ", ")
	return p
}

// acceptsType reports whether the Accept headers contain the media type `want`. acceptsType ignores wildcards, such as */*.
func acceptsType(h http.Header, want string) bool {
	for _, line := range h.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			if !strings.Contains(strings.ToLower(part), want) { // most parts need not be parsed
				continue
			}
			if kind, parameters := mediaType(part); kind == want {
				quality, err := strconv.ParseFloat(parameters["q"], 64)
				return err != nil || quality > 0
			}
		}
	}
	return false
}

// maxMediaType is the maximum length of a media type with its parameters, in bytes.
const maxMediaType = 256

// mediaType parses a media type with its parameters. If the text is not valid, or is longer than maxMediaType, the type is empty.
func mediaType(text string) (kind string, parameters map[string]string) {
	if len(text) > maxMediaType {
		return "", nil
	}
	kind, parameters, err := mime.ParseMediaType(text)
	if err != nil {
		return "", nil
	}
	return kind, parameters
}
