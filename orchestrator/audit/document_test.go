package audit

import (
	"os"
	"strings"
	"testing"
)

// TestTheDocumentNamesEachGap checks docs/operations.md, in which operators look up gaps. Package explain has the codes of findings.
func TestTheDocumentNamesEachGap(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
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
