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

// bareKey is what is taken without quotes: no blanks, quotes, commas or semicolons.
var bareKey = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+./:<=>?@^_|~{}()\[\]-]+$`)

// headerKey makes an order safe to repeat.
const headerKey = "Idempotency-Key"

// idempotencyKey reads the key: an RFC 8941 string, or a bare word. Both forms of one text are one key.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values(headerKey)
	if len(values) == 0 {
		return "", refuse(keyMissing, "the header is missing")
	}
	if len(values) > 1 {
		return "", refuse(keyInvalid, "the header is there %d times", len(values))
	}
	key := values[0]
	ok := bareKey.MatchString(key)
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || key == "" || len(key) > maxKey {
		return "", refuse(keyInvalid, "the key is not 1 to %d characters, quoted or bare", maxKey)
	}
	return key, nil
}

// unquote reads a string of RFC 8941: printable ASCII, in which a backslash stands before a quote or a backslash.
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

// preference is what Prefer asks for (RFC 7240).
type preference struct {
	wait    time.Duration
	applied string // for Preference-Applied
}

// readPrefer reads all lines of the header; of a preference that is there twice the first one holds, and what is not
// understood is left alone, as the RFC says.
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
			waits, p.wait = true, min(time.Duration(n)*time.Second, maxWait) // out of range, n is the most there is
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

// acceptsType tells whether the Accept lines name the media type itself; a wildcard does not.
func acceptsType(h http.Header, want string) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil || kind != want {
			continue
		}
		quality, err := strconv.ParseFloat(parameters["q"], 64)
		return err != nil || quality > 0
	}
	return false
}
