#!/bin/sh
# Checks Nomad job specs together with the policies that scale them.
#
#   check.sh [JOBS [POLICIES]]     a folder, and a folder or file; by default
#                                  jobs and policies
#
# Always, offline: every policy is valid, and every job spec fits Pilotlight and
# its policy. With NOMAD_ADDR set also against that cluster, changing nothing:
# what registering would do, and whether the policy's replicas fit today.
#
#   NOMAD_ADDR, NOMAD_TOKEN, …   the cluster, as every Nomad tool reads it
#   MAX_KILL_TIMEOUT             max_kill_timeout of its clients, such as 10m
#   SARIF                        file for the findings, for code hosts to show
#   PILOTLIGHT_BIN               the binary, if it is not on the PATH
#
# Ends with 0 if there are no errors (warnings are none), 1 if there are, 2 if
# there was nothing to check.
set -eu

jobs=${1:-jobs}
policies=${2:-policies}
pilotlight=${PILOTLIGHT_BIN:-pilotlight}

set -- "$jobs"/*.nomad.hcl
if [ ! -f "$1" ]; then
  echo "check.sh: no *.nomad.hcl in $jobs" >&2
  exit 2
fi
limit=
if [ -n "${MAX_KILL_TIMEOUT:-}" ]; then
  limit="--max-kill-timeout=$MAX_KILL_TIMEOUT"
fi

# Everything is checked, whatever fails on the way; the worst status is the end.
worst=0
check() {
  status=0
  "$@" || status=$?
  if [ "$status" -gt "$worst" ]; then
    worst=$status
  fi
}

echo "== policies"
check "$pilotlight" policy validate "$policies"

echo "== job specs with their policies"
check "$pilotlight" job check --policies "$policies" ${limit:+"$limit"} "$@"
if [ -n "${SARIF:-}" ]; then
  check "$pilotlight" job check --policies "$policies" ${limit:+"$limit"} -o sarif "$@" > "$SARIF"
fi

if [ -n "${NOMAD_ADDR:-}" ]; then
  echo "== against $NOMAD_ADDR"
  check "$pilotlight" job plan --nomad "$NOMAD_ADDR" --policies "$policies" "$@"
fi
exit "$worst"
