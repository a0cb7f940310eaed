package transcript

import "regexp"

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
	}
	// renamedProblems are types of problems, which are such parts but never a whole value: an event has some of their names as its kind.
	renamedProblems = map[string]string{"run-compensated": "subscription-failed"}
	// renamedQueries are query parameters whose name is now part of the value: the recorded name is the first group.
	renamedQueries = regexp.MustCompile(`^object=(customer|subscription|project)(?::|%3A)`)
	// movedFields are fields of a run, from the one inside the result of the run to the recorded one beside it.
	movedFields = map[string]string{"plan_id": "plan_id"}
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

// What a commit adds or changes on purpose can be listed here too, so that it does not hide other differences.
var (
	// addedFields are JSON fields of the API.
	addedFields = []string{"at_rest"}
	// standInFields are fields of the result of a run. The stand-in for subscribe in the tests of the API once set them in its steps, as
	// subscribe does not: there they are not written.
	standInFields = []string{"customer_id", "subscription_id"}
	// addedTags are prefixes of the tags that projects get.
	addedTags = []string{"tenantry-installation-"}
	// addedReads are prefixes of the paths of an upstream from which is read now.
	addedReads = []string{"/v3/users/"}
)

// differing are stories that differ on purpose from their recording at an earlier commit, by recorded name, and why. They are recorded,
// but not compared.
var differing = map[string]string{
	"TestASuccessorOfACompensatedRunTakesItsKey": "a retry of a compensated run reads again what the order names",
	"TestEveryFaultEndsAsItShould":               "it tries every workflow, a stranger's among them",
	"TestListingRuns":                            "it asks for more: what is no object, and for several objects",
	"TestVersionsAndPages":                       "it asks for more: the page of a new problem type",
}

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
	"TestEveryFaultEndsAsItShould":          "it tries every workflow, a stranger's among them",
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
// exchanges of tokens are not written, and of their steps the names alone.
var halted = map[string]bool{
	"TestAFailedSubscription":                       true,
	"TestAForeignSubscriptionMakesTheCustomerStay":  true,
	"TestARefusedPatchIsCompensatedToNothing":       true,
	"TestASuccessorOfACompensatedRunTakesItsKey":    true,
	"TestAnExistingCustomerIsAdoptedAndLeftAsItWas": true,
}

// parallelSteps are prefixes of the names of such steps.
var parallelSteps = []string{"assign-customer-role", "assign-subscription-role", "scope-token"}
