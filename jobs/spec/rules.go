package spec

// Names of the rules that findings cite. They are stable.
const (
	RuleSyntax              = "syntax"
	RuleBadValue            = "bad-value"
	RuleNotJudged           = "not-judged"
	RuleUnknownGroup        = "unknown-group"
	RuleNoPort              = "no-port"
	RuleJobType             = "job-type"
	RuleUpdateBlock         = "update-block"
	RuleReschedule          = "reschedule"
	RuleScalingBlock        = "scaling-block"
	RuleCount               = "count"
	RuleStaticPort          = "static-port"
	RuleRestartHidesFailure = "restart-hides-failure"
	RuleNoCheck             = "no-check"
	RuleNoMainTask          = "no-main-task"
)

// descriptions of the rules, also of those that policies.Fit cites, for SARIF.
var descriptions = map[string]string{
	RuleSyntax:              "The file is a Nomad job in HCL.",
	RuleBadValue:            "Values have the type and form that Nomad accepts.",
	RuleNotJudged:           "What cannot be evaluated from the file alone is not judged offline.",
	RuleUnknownGroup:        "The job has the task group that is to be scaled.",
	RuleNoPort:              `The group has a port labelled "http".`,
	RuleJobType:             "Only service jobs can be kept at zero and scaled.",
	RuleUpdateBlock:         "update { max_parallel = 0 } keeps scaling free of deployments.",
	RuleReschedule:          "A failed allocation is replaced at once, without limit.",
	RuleScalingBlock:        "A scaling block does not get into Pilotlight's way.",
	RuleCount:               "The count is left to Pilotlight.",
	RuleStaticPort:          "Ports are dynamic, so that several replicas fit on one node.",
	RuleRestartHidesFailure: "A model that cannot start is seen to fail.",
	RuleNoCheck:             "An HTTP check says where the model answers when it is ready.",
	RuleNoMainTask:          "The group has a task that serves.",

	"job-id":        "The policy names the job of the spec.",
	"namespace":     "Policy and job spec are of one namespace.",
	"kill-timeout":  "kill_timeout outlasts a drain.",
	"no-gpu-device": "A policy that speaks of GPUs runs a job that asks for them.",
}
