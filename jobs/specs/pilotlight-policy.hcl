# The least that Pilotlight's scaler may do in Nomad, with what each right is for.
# Where ACLs are on, it is given to the task of the scaler alone:
#
#   nomad acl policy apply -namespace default -job pilotlight -group scaler \
#     -task pilotlight pilotlight pilotlight-policy.hcl
#
# One block for each namespace that policies name. Activators and the web UI need
# nothing of Nomad.
namespace "default" {
  capabilities = [
    "list-jobs",  # which jobs there are, and their allocations: addresses of replicas
    "read-job",   # counts, evaluations and deployments: why a replica is not placed; the event stream
    "scale-job",  # change the count, with the reason; nothing else of the job
    "read-logs",  # the last words of a task that failed, for whoever waits for it
    "parse-job",  # read a job spec that was never registered
    "submit-job", # register it, once; leave these two out where job specs are registered by others
  ]
}

# Which nodes have GPUs, how many are free and how busy they are; node drains as
# they begin.
node {
  policy = "read"
}
