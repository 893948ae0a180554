package spec

// Names of the rules that findings cite. They are stable.
const (
	RuleSyntax              = "syntax"
	RuleBadValue            = "bad-value"
	RuleNotJudged           = "not-judged"
	RuleRefused             = "refused-by-nomad"
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
	RuleKillTimeout         = "kill-timeout"
	RuleKillSignal          = "kill-signal"
	RuleShutdownDelay       = "shutdown-delay"
	RuleLeader              = "task-leader"
	RuleDisconnect          = "disconnect"
	RuleEphemeralDisk       = "ephemeral-disk"
)

// Rule is what a job spec is held to.
type Rule struct {
	Name string
	Text string // what is right, in a sentence
}

// Rules returns every rule of `job check`, in the order in which they are read
// best: those of files, of job specs alone, and of specs with their policies.
func Rules() []Rule {
	return []Rule{
		{RuleSyntax, "The file is a Nomad job in HCL."},
		{RuleBadValue, "Values have the type and form that Nomad accepts."},
		{RuleNotJudged, "What cannot be evaluated from the file alone is not judged offline; --var and --var-file give variables values."},
		{RuleRefused, "Nomad takes the values together."},

		{RuleJobType, "Only service jobs can be kept at zero and scaled."},
		{RuleUnknownGroup, "The job has the task group that is to be scaled."},
		{RuleNoPort, `The group has a port labelled "http".`},
		{RuleStaticPort, "Ports are dynamic, so that several replicas fit on one node."},
		{RuleCount, "The count is left to Pilotlight."},
		{RuleUpdateBlock, "update { max_parallel = 0 } keeps scaling free of deployments."},
		{RuleReschedule, "A failed allocation is replaced at once, without limit."},
		{RuleScalingBlock, "A scaling block does not get into Pilotlight's way, and has room for the policy's replicas."},
		{RuleDisconnect, "A replica on a lost node is replaced."},
		{RuleNoMainTask, "The group has a task that serves."},
		{RuleLeader, "Of several tasks it is clear which one serves."},
		{RuleRestartHidesFailure, "A model that cannot start is seen to fail."},
		{RuleNoCheck, "An HTTP check says where the model answers when it is ready."},
		{RuleKillSignal, "A task can catch the signal that ends it."},
		{RuleKillTimeout, "kill_timeout outlasts a drain, and the Nomad clients grant it."},
		{RuleShutdownDelay, "shutdown_delay is long enough for requests that must not be repeated, and keeps no GPU for nothing."},
		{RuleEphemeralDisk, "The ephemeral disk has room for artifacts, and is not copied about."},

		{"not-scaled", `A job with meta { pilotlight = "not-scaled" } has no policy.`},
		{"namespace", "Policy and job spec are of one namespace."},
		{"no-gpu-device", "A policy that speaks of GPUs runs a job that asks for them."},
		{"check-restart", "Nomad does not restart a model that is still loading."},
		{"migrate", "A node drain waits until a replacement has loaded."},
		{"invalid-policy", "A policy is valid."},
		{"unknown-job", "A policy names a job of the files that are checked."},
	}
}

// describe returns what a rule asks for, its name if it is not known here.
func describe(name string) string {
	for _, r := range Rules() {
		if r.Name == name {
			return r.Text
		}
	}
	return name
}
