package transcript

// The names in a recording are those of the commit at which recordings began. A commit that renames something adds it here, from the new
// name to the recorded one, so that a renaming alone changes no recording.
var (
	// renamedFields are JSON fields and query parameters.
	renamedFields = map[string]string{"action": "verb", "actions": "verbs"}
	// renamedWords are string values, or their parts between slashes and dots, such as codes, kinds, states, steps and problem types.
	renamedWords = map[string]string{
		"action":               "verb",
		"action-refused":       "verb-refused",
		"billingstack-refused": "billing-refused",
		"late-window":          "settle",
		"run-compensated":      "subscription-failed",
	}
	// renamedHeaders are HTTP headers, in canonical form.
	renamedHeaders = map[string]string{}
	// renamedStories are functions that test.
	renamedStories = map[string]string{
		"TestARecheckComesBackToWhatALiveRunMayClaim":             "TestAProbeComesBackToWhatALiveRunMayClaim",
		"TestARoleGivenLateIsTakenBackByARecheck":                 "TestARoleGivenLateIsTakenBackByAProbe",
		"TestARunWaitsForARecheckThatMayStillTakeSomethingFromIt": "TestARunWaitsForAProbeThatMayStillTakeSomethingFromIt",
		"TestActions": "TestVerbs",
		"TestWhatARunThatSucceededHasGivenIsLeftByRechecksOfOthers": "TestWhatARunThatSucceededHasGivenIsLeftByProbesOfOthers",
	}
)

// What a commit adds on purpose can be listed here too, so that it does not hide other differences.
var (
	// addedFields are JSON fields of the API.
	addedFields = []string{"at_rest"}
	// addedTags are prefixes of the tags that projects get.
	addedTags = []string{"tenantry-installation-"}
)

const (
	waits   = "a step waits while others run beside it, and which of these have begun is left to chance"
	overMap = "it ranges over a map"
	atOnce  = "many calls at once"
	kills   = "a kill leaves to chance which requests are sent"
)

// leftOut are tests whose exchanges are not recorded, and why, by recorded name.
var leftOut = map[string]string{
	"TestAKeystoneThatIsOutOfOrderIsWaitedFor":      "which of two steps meets the outage is left to chance",
	"TestAnUnmarkedTenantOfThatNameNeedsAnOperator": waits,
	"TestChaos":                                            "faults come at random",
	"TestKilledAtEveryInstant":                             kills,
	"TestKilledInACommitOfSQLite":                          kills,
	"TestNoSecretIsKeptOfWhatFails":                        "how often a step is tried depends on the time",
	"TestOneReplicaNeverAcceptsMoreThanTheLimit":           "which of many calls are refused is left to chance",
	"TestPausedForLongerThanItsLeaseAReplicaWritesNothing": "a pause leaves to chance which requests are sent",
	"TestTheDiskOfSQLiteIsFull":                            "a full disk leaves to chance which requests are sent",
	"TestTheServicesOwnCredentialIsNotTheRunsFault":        waits,
	"TestThreeReplicasTwoKilledTheThirdFinishesAll":        kills,
	"TestTwoHundredFirstCallsWithOneKeyMakeOneRun":         "many calls at once on a real Keystone, which a proxy would slow down",
}

// unordered are tests that leave the order of their calls to chance, and why. The calls are written sorted, without repetitions.
var unordered = map[string]string{
	"TestAnswersDoNotGrowWithNonsense":      overMap,
	"TestCatalog":                           overMap,
	"TestEventsAfterASeqThatIsLarge":        overMap,
	"TestListingRuns":                       overMap,
	"TestOneCallSubscribesAUserOnRealParts": atOnce,
	"TestTagsOfRuns":                        "two calls at once",
	"TestVersionsAndPages":                  overMap,
	"TestWhoGetsAStream":                    overMap,
}

// loose are tests that leave more to chance: how often a request is sent, which id comes first, or which of many calls creates the run.
// Their exchanges are written as a sorted set: ids without numbers, answers of the API without the headers that only a first answer has, requests
// to upstreams without the status of the answer.
var loose = map[string]string{
	"TestAnUpstreamThatIsDownForAnHourCostsNoRunAndTheyDrainInOrder": "hundreds of runs at once",
	"TestEveryFaultEndsAsItShould":                                   "hundreds of runs at once, whose retries depend on the time",
	"TestKeysThatAreTaken":                                           overMap,
	"TestManyAtOnceWithOneKey":                                       atOnce,
	"TestPreferences":                                                overMap,
	"TestRefusedAndUnreachable":                                      overMap,
	"TestWaitingForRunsKeepsNobodyOut":                               atOnce,
}

// halted are tests in which a step fails while others run beside it. Whether those have begun is left to chance, so that role assignments and
// exchanges of tokens are not written.
var halted = map[string]bool{
	"TestAFailedSubscription":                       true,
	"TestAForeignSubscriptionMakesTheCustomerStay":  true,
	"TestARefusedPatchIsCompensatedToNothing":       true,
	"TestASuccessorOfACompensatedRunTakesItsKey":    true,
	"TestAnExistingCustomerIsAdoptedAndLeftAsItWas": true,
}
