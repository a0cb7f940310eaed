package transcript

import "regexp"

// A recording uses the names of the commit at which recordings began. A commit that renames something adds the new name and the
// recorded one here, so that a renaming does not change a recording.
var (
	// renamedFields are JSON fields and query parameters.
	renamedFields = map[string]string{"action": "verb", "actions": "verbs"}
	// renamedWords are string values, or parts of them between slashes and dots, such as codes, kinds, states, steps and problem
	// types.
	renamedWords = map[string]string{
		"action":               "verb",
		"action-refused":       "verb-refused",
		"billingstack-refused": "billing-refused",
		"late-window":          "settle",
	}
	// renamedProblems are types of problems. They are parts of values, but never whole values: some kinds of events have the same
	// name.
	renamedProblems = map[string]string{"run-compensated": "subscription-failed"}
	// renamedQueries are query parameters whose name is now part of the value. The first group is the recorded name.
	renamedQueries = regexp.MustCompile(`^object=(customer|subscription|project)(?::|%3A)`)
	// movedFields are fields that a run now has inside its result. They are written beside the result, under the recorded name.
	movedFields = map[string]string{"plan_id": "plan_id"}
	// renamedHeaders are HTTP headers, in canonical form.
	renamedHeaders = map[string]string{}
	// renamedStories are test functions.
	renamedStories = map[string]string{
		"TestARecheckComesBackToWhatALiveRunMayClaim":             "TestAProbeComesBackToWhatALiveRunMayClaim",
		"TestARoleGivenLateIsTakenBackByARecheck":                 "TestARoleGivenLateIsTakenBackByAProbe",
		"TestARunWaitsForARecheckThatMayStillTakeSomethingFromIt": "TestARunWaitsForAProbeThatMayStillTakeSomethingFromIt",
		"TestActions": "TestVerbs",
		"TestWhatARunThatSucceededHasGivenIsLeftByRechecksOfOthers": "TestWhatARunThatSucceededHasGivenIsLeftByProbesOfOthers",
	}
)

// What a commit adds or changes on purpose can be listed below as well, so that it does not hide other differences.
var (
	// addedFields are JSON fields of the API.
	addedFields = []string{"at_rest"}
	// standInFields are fields of the result of a run. The stand-in for subscribe in the tests of the API used to set them in its
	// steps, which subscribe does not do. They are not written for the stand-in.
	standInFields = []string{"customer_id", "subscription_id"}
	// addedTags are prefixes of the tags that projects get.
	addedTags = []string{"tenantry-installation-"}
	// addedReads are prefixes of paths of an upstream that are read only now.
	addedReads = []string{"/v3/users/"}
)

// differing are the stories that differ on purpose from their recording at an earlier commit, with the reason. The keys are
// recorded names. They are recorded, but not compared.
var differing = map[string]string{
	"TestASuccessorOfACompensatedRunTakesItsKey": "a retry of a compensated run reads what the order names again",
	"TestEveryFaultEndsAsItShould":               "it tries every workflow, among them the stranger",
	"TestListingRuns":                            "it makes more requests: for an invalid object, and for several objects",
	"TestVersionsAndPages":                       "it makes one more request: for the page of a new problem type",
}

const (
	waits   = "a step waits while others run beside it, and which of these have begun is left to chance"
	overMap = "it ranges over a map"
	atOnce  = "many calls at once"
	kills   = "a kill leaves to chance which requests are sent"
)

// leftOut are the tests whose exchanges are not recorded, with the reason. The keys are recorded names.
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

// unordered are the tests whose order of calls is left to chance, with the reason. Their calls are written sorted, without
// repetitions.
var unordered = map[string]string{
	"TestAnswersDoNotGrowWithNonsense":      overMap,
	"TestCatalog":                           overMap,
	"TestEventsAfterASeqThatIsLarge":        overMap,
	"TestEveryFaultEndsAsItShould":          "it tries every workflow, among them the stranger",
	"TestListingRuns":                       overMap,
	"TestOneCallSubscribesAUserOnRealParts": atOnce,
	"TestTagsOfRuns":                        "two calls at once",
	"TestVersionsAndPages":                  overMap,
	"TestWhoGetsAStream":                    overMap,
}

// loose are the tests that leave more to chance: how often a request is sent, which id is first, or which of many calls creates
// the run. Their exchanges are written as a sorted set. Ids have no numbers, answers of the API lack the headers that only a
// first answer has, and requests to upstreams lack the status.
var loose = map[string]string{
	"TestAnUpstreamThatIsDownForAnHourCostsNoRunAndTheyDrainInOrder": "hundreds of runs at once",
	"TestEveryFaultEndsAsItShould":                                   "hundreds of runs at once, whose retries depend on the time",
	"TestKeysThatAreTaken":                                           overMap,
	"TestManyAtOnceWithOneKey":                                       atOnce,
	"TestPreferences":                                                overMap,
	"TestRefusedAndUnreachable":                                      overMap,
	"TestWaitingForRunsKeepsNobodyOut":                               atOnce,
}

// halted are the tests in which a step fails while others run beside it. Whether those have begun is left to chance. Role
// assignments and exchanges of tokens are therefore not written, and of steps only the names.
var halted = map[string]bool{
	"TestAFailedSubscription":                       true,
	"TestAForeignSubscriptionMakesTheCustomerStay":  true,
	"TestARefusedPatchIsCompensatedToNothing":       true,
	"TestASuccessorOfACompensatedRunTakesItsKey":    true,
	"TestAnExistingCustomerIsAdoptedAndLeftAsItWas": true,
}

// parallelSteps are prefixes of the names of steps that run beside others.
var parallelSteps = []string{"assign-customer-role", "assign-subscription-role", "scope-token"}
