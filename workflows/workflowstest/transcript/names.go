package transcript

import "regexp"

// A recording uses the names that the code had at the first recorded commit. A commit that renames something adds the new name
// and the recorded name here. With this entry, the new name does not change the recording.
var (
	// renamedFields are JSON fields and query parameters.
	renamedFields = map[string]string{"action": "verb", "actions": "verbs"}
	// renamedWords are string values, and parts of string values between slashes and dots. Examples are codes, kinds, states,
	// steps and problem types.
	renamedWords = map[string]string{
		"action":               "verb",
		"action-refused":       "verb-refused",
		"billingstack-refused": "billing-refused",
		"late-window":          "settle",
	}
	// renamedProblems are problem types. A problem type is replaced only as a part of a value, because a whole value may be an
	// event kind with the same name.
	renamedProblems = map[string]string{"run-compensated": "subscription-failed"}
	// renamedQueries matches query parameters whose recorded name is now part of the value. The first group of the pattern is the
	// recorded name.
	renamedQueries = regexp.MustCompile(`^object=(customer|subscription|project)(?::|%3A)`)
	// movedFields are fields that are now inside the result of a run. A recording has these fields beside the result, under the
	// recorded names.
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

// A commit can list its intended additions and changes below. The lists hide only these additions and changes. All other
// differences stay visible.
var (
	// addedFields are JSON fields that the API did not have at the first recorded commit.
	addedFields = []string{"at_rest"}
	// standInFields are fields of a run's result. The tests of the API use a stand-in for the workflow subscribe. The steps of the
	// stand-in used to set these fields, but the steps of subscribe do not set them. A recording of the stand-in omits these
	// fields.
	standInFields = []string{"customer_id", "subscription_id"}
	// addedTags are prefixes of tags that projects did not have at the first recorded commit.
	addedTags = []string{"tenantry-installation-"}
	// addedReads are prefixes of upstream paths that Tenantry did not read at the first recorded commit.
	addedReads = []string{"/v3/users/"}
)

// differing lists the stories that differ from an earlier recording on purpose. The keys are recorded names of tests, and the
// values are the reasons. Stories in this map are recorded, but not compared.
var differing = map[string]string{
	"TestASuccessorOfACompensatedRunTakesItsKey": "a retry of a compensated run now reads the objects of the order again",
	"TestEveryFaultEndsAsItShould":               "the test runs every workflow, including the new workflow stranger",
	"TestAKeystoneThatIsOutOfOrderIsWaitedFor":   "/readyz now answers 200 while an upstream is down",
	"TestServe":                          "/readyz now shows the status of each dependency",
	"TestServeBeginsWithoutItsUpstreams": "/readyz now answers 200 while an upstream is down",
	"TestListingRuns":                    "the test now makes additional requests: for an invalid object, and for several objects",
	"TestVersionsAndPages":               "the test now makes an additional request: for the page of a new problem type",
}

const (
	waits   = "a step waits while parallel steps start in a random order"
	overMap = "the test ranges over a map, whose order is random"
	atOnce  = "the test makes many calls at once"
	kills   = "the requests shortly before and after a kill are random"
)

// leftOut lists the tests whose exchanges are not recorded. The keys are recorded names of tests, and the values are the reasons.
var leftOut = map[string]string{
	"TestAKeystoneThatIsOutOfOrderIsWaitedFor":      "the outage hits one of two steps at random",
	"TestAnUnmarkedTenantOfThatNameNeedsAnOperator": waits,
	"TestChaos":                                            "faults come at random",
	"TestKilledAtEveryInstant":                             kills,
	"TestKilledInACommitOfSQLite":                          kills,
	"TestNoSecretIsKeptOfWhatFails":                        "the number of attempts depends on the timing",
	"TestOneReplicaNeverAcceptsMoreThanTheLimit":           "the limit refuses some of many calls at random",
	"TestPausedForLongerThanItsLeaseAReplicaWritesNothing": "the requests shortly before and after a pause are random",
	"TestTheDiskOfSQLiteIsFull":                            "the requests that fail because of the full disk are random",
	"TestTheServicesOwnCredentialIsNotTheRunsFault":        waits,
	"TestThreeReplicasTwoKilledTheThirdFinishesAll":        kills,
	"TestTwoHundredFirstCallsWithOneKeyMakeOneRun":         "a proxy would slow down the many concurrent calls to a real Keystone",
}

// unordered lists the tests whose calls have a random order. The values are the reasons. The recording of an unordered test has
// sorted calls, without repetitions.
var unordered = map[string]string{
	"TestAnswersDoNotGrowWithNonsense":      overMap,
	"TestCatalog":                           overMap,
	"TestEventsAfterASeqThatIsLarge":        overMap,
	"TestEveryFaultEndsAsItShould":          "the test runs every workflow, including the new workflow stranger",
	"TestListingRuns":                       overMap,
	"TestOneCallSubscribesAUserOnRealParts": atOnce,
	"TestTagsOfRuns":                        "the test makes two calls at once",
	"TestVersionsAndPages":                  overMap,
	"TestWhoGetsAStream":                    overMap,
}

// loose lists the tests in which the number of requests, the order of ids, or the call that creates the run is random. The values
// are the reasons. The exchanges of a loose test are written as a sorted set. Ids are written without numbers, and requests to
// upstreams are written without the status. Answers of the API are written without the headers that only a first answer has.
var loose = map[string]string{
	"TestAnUpstreamThatIsDownForAnHourCostsNoRunAndTheyDrainInOrder": "the test starts hundreds of runs at once",
	"TestEveryFaultEndsAsItShould":                                   "the test starts hundreds of runs at once, and their retries depend on the timing",
	"TestKeysThatAreTaken":                                           overMap,
	"TestManyAtOnceWithOneKey":                                       atOnce,
	"TestPreferences":                                                overMap,
	"TestRefusedAndUnreachable":                                      overMap,
	"TestWaitingForRunsKeepsNobodyOut":                               atOnce,
}

// halted are the tests in which a step fails while other steps run in parallel. The parallel steps start in a random order.
// Therefore a recording of a halted test omits role assignments, exchanges of tokens, and the states of parallel steps.
var halted = map[string]bool{
	"TestAFailedSubscription":                       true,
	"TestAForeignSubscriptionMakesTheCustomerStay":  true,
	"TestARefusedPatchIsCompensatedToNothing":       true,
	"TestASuccessorOfACompensatedRunTakesItsKey":    true,
	"TestAnExistingCustomerIsAdoptedAndLeftAsItWas": true,
}

// parallelSteps are prefixes of the names of steps that run in parallel with other steps.
var parallelSteps = []string{"assign-customer-role", "assign-subscription-role", "scope-token"}
