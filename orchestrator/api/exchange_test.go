package api_test

import (
	"bufio"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
)

// TestAnAsynchronousOrderComesToAScopedToken sends the requests that the README and the OpenAPI document show to portals.
func TestAnAsynchronousOrderComesToAScopedToken(t *testing.T) {
	w := newWorldOf(t, "")
	q := w.order("k")
	q.header.Set("Prefer", "respond-async")
	accepted := w.call(q)
	if accepted.status != http.StatusAccepted || accepted.header.Get("X-Subject-Token") != "" {
		t.Fatalf("got %d %s", accepted.status, accepted.body)
	}
	run := read[api.Run](t, w.call(request{path: accepted.header.Get("Location") + "?wait=30", portal: w.Merchant}))
	tenant := idOf(run, "customer_tenant_id")

	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	shown := regexp.MustCompile("(?s)  ```sh\n(  curl [^`]*\\$TENANT[^`]*)```").FindStringSubmatch(string(readme))
	if shown == nil {
		t.Fatal("the README does not show the request")
	}
	curl := exec.CommandContext(t.Context(), "bash", "-ec", shown[1])
	curl.Env = append(os.Environ(), "OS_AUTH_URL="+w.KeystoneURL, "TOKEN="+w.UserToken, "TENANT="+tenant)
	printed, err := curl.CombinedOutput()
	must(t, err)
	lines := textproto.NewReader(bufio.NewReader(strings.NewReader(string(printed))))
	status, err := lines.ReadLine()
	must(t, err)
	header, err := lines.ReadMIMEHeader()
	must(t, err)
	w.scoped(t, "the README's request", status, http.Header(header), tenant)

	description := w.document.operation(http.MethodPost, q.path).Description
	body := regexp.MustCompile("`({\"auth\".*?})`").FindStringSubmatch(description)
	if body == nil || !strings.Contains(description, "POST /v3/auth/tokens") {
		t.Fatalf("the document does not show the request: %s", description)
	}
	text := strings.NewReplacer("USER_TOKEN", w.UserToken, "CUSTOMER_TENANT_ID", tenant).Replace(body[1])
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.KeystoneURL+"/auth/tokens", strings.NewReader(text))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	w.scoped(t, "the document's request", resp.Status, resp.Header, tenant)
}

// The method `scoped` checks that Keystone has answered with a token of the user for the tenant.
func (w *world) scoped(t *testing.T, name, status string, header http.Header, tenant string) {
	t.Helper()
	token, err := w.Identity.ValidateToken(t.Context(), header.Get("X-Subject-Token"))
	if err != nil || token.UserID != w.User || token.ProjectID != tenant || tenant == "" {
		t.Errorf("%s: got %s and a token %+v, %v; want a token for %q", name, status, token, err, tenant)
	}
}
