package main

// Help says what a trace is, what the figures mean, and how to get a trace out of
// an access log.
func (replayCommand) Help() string {
	return `What would the policy have launched, what would that have cost, how long would requests have waited? Each service of the trace runs alone under the policy, on virtual time.

A trace is a CSV file, plain or gzipped, or comes on standard input; its first line says its form, and it is sorted by its first column:
  t_ms,service,slot_ms
  1763622181500,chat,2300
  t_ms,service,input_tokens,output_tokens
  1763622181500,chat,1155,211
  minute,service,count
  29393703,chat,12

slot_ms is how long the request kept a replica's slot: the time in the replica, without any wait before it. Times in the first column are Unix time, or count from the trace's start. Of counts, each request is placed at random in its minute, and takes 4 s as a median. The form of pilotlight service trace is minute,service,count,second,slot_ms.

From an access log: with log_format '$msec $upstream_response_time' nginx writes when a request ended and what it took, in seconds:
  (echo t_ms,service,slot_ms; awk '{printf "%.0f,chat,%.0f\n", 1000*($1-$2), 1000*$2}' access.log | sort -t, -k1,1n) > trace.csv

Waits are in seconds, from a request's arrival until a replica has it, of those that were answered. COLD: of those, how many were held while no replica was ready. FLIPS: launches within 10 min of a stop. BUSY: of the slots paid for, those with a request. /OPT0: GPU-hours over those of somebody who knows the future, lets nobody wait, and whose starts all take the median, with the slots of --policy.

As json: {trace, policy, requests, services, span_s, begins (if it is known), seed, seeds, cold_start_s (the median), min, max, concurrency (replicas and slots of the policy), results: [{name, patience, headroom (of a point of the sweep), gpu_seconds, usd (null: no price is known), cold_started, delayed_over_1s, refused, timed_out, scale_actions, launches, stops, flips, added_wait_s: {mean, p50, p95, p99, max}, waited_s (all together), busy_share, to_lower_bound, to_any_wait_lower_bound}], lower_bound: {gpu_seconds (OPT0), any_wait_gpu_seconds, peak_replicas, peak_of_one_service, mean_replicas_needed}, target (with --target-p99): {p99_s, patience, headroom, gpu_seconds (null: nothing of the sweep is within it)}, assumed (of a policy that goes by what no trace has, such as a metric: what is taken for granted, in sentences)}; the first result is the policy's.

Example:
  pilotlight replay scaler/simulate/traces/azure-llm-2023-code.csv.gz --policy policies/examples/translate.hcl --baselines
  pilotlight replay trace.csv --policy chat.hcl --baselines --sweep -o html > report.html
  pilotlight replay trace.csv --policy chat.hcl --target-p99 5s --usd-per-hour 2.50
  pilotlight replay trace.csv --policy chat.hcl --compare drafts/chat.hcl`
}
