package audit

import (
	"os"
	"strings"
	"testing"
)

// TestTheDocumentNamesEachCode checks docs/operations.md, in which operators look up codes.
func TestTheDocumentNamesEachCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range Codes() {
		if !strings.Contains(string(text), "`"+string(code)+"`") {
			t.Errorf("docs/operations.md does not name the code %s", code)
		}
	}
	for _, gap := range []string{
		GapKeystoneForbidden, GapKeystoneUnavailable, GapOutOfReach, GapListCut, GapBillingUnavailable, GapMerchantUnknown,
		GapWorkflowUnknown, GapCloudUnknown, GapTooManyFindings, GapTooManyObjects, GapInProgress,
	} {
		if !strings.Contains(string(text), "`"+gap+"`") {
			t.Errorf("docs/operations.md does not name the gap %s", gap)
		}
	}
}
