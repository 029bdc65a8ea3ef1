#!/usr/bin/env bash
# The published SDKs against real clusters of three node processes on loopback:
# the example programs, then storms. Usage: scripts/sdk-test.sh [PART ...], where a
# part is a word of a step's name, such as typescript or leader-kill.
#
# Needs Go, Node 20, npm and Python 3.11 with venv (Debian: nodejs npm python3-venv).
# LIMPET_BIN names a binary to test instead of building one. Counts go to
# .cache/sdk-counts as "passed failed skipped"; logs to .cache/sdk.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
cache=$PWD/.cache
logs=$cache/sdk
binary=${LIMPET_BIN:-$PWD/bin/limpet}
python=$cache/venv/bin/python
storm_ts=$PWD/tests/sdk/typescript
storm_py=$PWD/tests/sdk/python
example_ts=$PWD/examples/typescript
example_py=$PWD/examples/python

storms_ts=(calm burst leader-kill follower-kill restart-all)
storms_py=(calm leader-kill follower-kill)
quiet=(children hard-timeout) # these mostly wait, so they run side by side
step_seconds=150

parts=("$@")
passed=0 failed=0 skipped=0
table=()
started=()   # process ids of what runs beside us
launched=()  # "pid name" of tests that are not recorded yet
data=        # data folder of the example cluster
example_addr=

say() { printf '%s\n' "$*"; }

wanted() {
	local part
	[ "${#parts[@]}" -eq 0 ] && return 0
	for part in "${parts[@]}"; do
		[[ $1 == *"$part"* ]] && return 0
	done
	return 1
}

# Ends what this script started, by process id: first politely, then surely.
end_all() {
	local pid signal
	for signal in TERM KILL; do
		for pid in "${started[@]}" $(node_pids); do
			kill -s "$signal" "$pid" 2>/dev/null || true
		done
		for _ in $(seq 50); do
			any_alive || break 2
			sleep 0.1
		done
	done
	started=()
	data=
}

any_alive() {
	local pid
	for pid in "${started[@]}" $(node_pids); do
		kill -0 "$pid" 2>/dev/null && return 0
	done
	return 1
}

# The example cluster's nodes, as far as they still are what the files say.
node_pids() {
	local file pid
	[ -n "$data" ] || return 0
	for file in "$data"/node-*.pid; do
		pid=$(cat "$file" 2>/dev/null) || continue
		grep -q limpet "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
	done
	return 0
}

trap end_all EXIT
trap 'exit 130' INT TERM HUP

# record NAME STATUS LOG: counts a test and shows its verdict, and what was broken.
record() {
	local line
	line=$(grep -E '^(kept  |BROKEN|SPREAD) ' "$3" | tail -n 1 | cut -c 1-250 || true)
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		table+=("pass  $1  $line")
		say "--- $1: pass"
	else
		failed=$((failed + 1))
		table+=("FAIL  $1  ${line:-status $2}")
		say "--- $1: FAIL (status $2, log $3)"
	fi
	if [ -n "$line" ]; then
		grep -E '^(kept  |BROKEN|SPREAD|        )' "$3" | cut -c 1-1200
	else
		tail -n 12 "$3" | cut -c 1-300
	fi
}

# launch NAME COMMAND...: starts a test with its output in a log.
launch() {
	local name=$1
	wanted "$name" || return 0
	timeout -k 10 "$step_seconds" "${@:2}" >"$logs/${name//\//-}.log" 2>&1 &
	started+=("$!")
	launched+=("$! $name")
}

# collect: waits for the launched tests and records them.
collect() {
	local pid name status
	for name in "${launched[@]}"; do
		pid=${name%% *} name=${name#* } status=0
		wait "$pid" || status=$?
		record "$name" "$status" "$logs/${name//\//-}.log"
	done
	launched=()
}

step() {
	launch "$@"
	collect
}

# fresh STAMP FILE...: whether the files are as they were when the stamp was made.
fresh() {
	[ -e "$1" ] && [ "$(cat "${@:2}" | sha256sum)" = "$(cat "$1")" ]
}

set_up_node() {
	local dir=$1 stamp=$1/node_modules/.limpet-stamp
	fresh "$stamp" "$dir/package.json" "$dir/package-lock.json" && return 0
	say "npm ci in ${dir#"$PWD"/}"
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	cat "$dir/package.json" "$dir/package-lock.json" | sha256sum >"$stamp"
}

set_up_python() {
	local stamp=$cache/venv/.limpet-stamp
	fresh "$stamp" "$storm_py/requirements.txt" "$example_py/requirements.txt" && return 0
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
	fi
	say "python environment in .cache/venv"
	rm -rf "$cache/venv"
	python3 -m venv "$cache/venv"
	"$python" -m pip install -q --disable-pip-version-check -r "$storm_py/requirements.txt" -r "$example_py/requirements.txt"
	cat "$storm_py/requirements.txt" "$example_py/requirements.txt" | sha256sum >"$stamp"
}

# Starts the cluster for the examples and puts its environment into ours.
start_example_cluster() {
	local base
	data=$logs/examples/data
	rm -rf "$logs/examples"
	mkdir -p "$logs/examples"
	base=$(free_base_port)
	example_addr=127.0.0.1:$base
	"$binary" dev --nodes 3 --data-dir "$data" --base-port "$base" >"$logs/examples/dev.log" 2>&1 &
	started+=("$!")
	for _ in $(seq 300); do
		if [ -e "$data/env" ]; then
			set -a
			# shellcheck source=/dev/null
			. "$data/env"
			set +a
			"$binary" cluster status -o json --addr "$example_addr" --token "$HATCHET_CLIENT_TOKEN" 2>/dev/null |
				grep -Eq '"leader": *"node-' && return 0
		fi
		sleep 0.1
	done
	say "the example cluster has no leader after 30 s:"
	tail -n 20 "$logs/examples/dev.log"
	return 1
}

# Thirty free ports in a row, below those that the kernel hands out.
free_base_port() {
	python3 - <<-'PY'
		import random, socket
		while True:
		    base = 20_000 + 30 * random.randrange(400)
		    try:
		        for port in range(base, base + 30):
		            with socket.socket() as probe:
		                probe.bind(("127.0.0.1", port))
		    except OSError:
		        continue
		    print(base)
		    break
	PY
}

# Two workers of an example, then its runner, which fails if a run was spread.
# These run in a shell of their own, under the step's time limit.
example() {
	local name=$1 work=$2 run=$3
	shift 3
	"$@" "$work" "$name-1" & one=$!
	"$@" "$work" "$name-2" & two=$!
	trap 'kill "$one" "$two" 2>/dev/null; wait' EXIT
	for _ in $(seq 200); do
		workers=$("$binary" worker list -o json --addr "$example_addr" --token "$HATCHET_CLIENT_TOKEN")
		[[ $workers == *"\"$name-1\""* && $workers == *"\"$name-2\""* ]] && break
		sleep 0.1
	done
	"$@" "$run"
}

run_examples() {
	wanted examples/typescript || wanted examples/python || return 0
	if ! start_example_cluster; then
		failed=$((failed + 1))
		table+=("FAIL  examples  no cluster")
		end_all
		return 0
	fi
	export -f example
	export binary python example_addr
	cd "$example_ts"
	step examples/typescript bash -c 'example "$@"' example typescript src/worker.ts src/run.ts node --import tsx
	cd "$example_py"
	step examples/python bash -c 'example "$@"' example python worker.py run.py "$python"
	end_all
}

set_up() {
	local pids=() pid failed=0
	mkdir -p "$logs"
	if [ -z "${LIMPET_BIN:-}" ]; then
		say "building bin/limpet"
		CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/limpet ./cmd/limpet & pids+=("$!")
	fi
	go build -o "$cache/liveness-harness" ./tests/liveness & pids+=("$!")
	(set_up_node "$example_ts" && set_up_node "$storm_ts") & pids+=("$!")
	set_up_python & pids+=("$!")
	started+=("${pids[@]}")
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	return "$failed"
}

storm_typescript() {
	cd "$storm_ts"
	"$1" "typescript/$2" node --import tsx src/main.ts "$2" --binary "$binary" --dir "$logs/typescript"
}

storm_python() {
	cd "$storm_py"
	"$1" "python/$2" "$python" storm.py "$2" --binary "$binary" --dir "$logs/python"
}

# liveness SCENARIO TIMES: workers and nodes killed, restarted and drained; make
# liveness does more of it, and judges the times too.
liveness() {
	step "liveness/$1" "$cache/liveness-harness" --bin "$binary" --dir "$logs/liveness" --only "$1" --times "$2" --workers 50 --no-aims
}

main() {
	local mode
	rm -f "$cache/sdk-counts"
	set_up || { say "the set-up failed"; exit 1; }

	launch check/examples npm --prefix "$example_ts" run --silent check
	launch check/typescript npm --prefix "$storm_ts" run --silent check
	launch check/python "$python" "$storm_py/test_check.py"
	collect
	run_examples
	for mode in "${storms_ts[@]}"; do storm_typescript step "$mode"; done
	for mode in "${quiet[@]}"; do storm_typescript launch "$mode"; done
	collect
	for mode in "${storms_py[@]}"; do storm_python step "$mode"; done
	for mode in "${quiet[@]}"; do storm_python launch "$mode"; done
	collect
	cd "$root"
	for mode in kill identity rolling mixed; do liveness "$mode" 2; done
	for mode in worker-and-leader elections outage; do liveness "$mode" 1; done

	say
	printf '%s\n' "${table[@]}"
	say "SDK suites: $passed passed, $failed failed, $skipped skipped"
	echo "$passed $failed $skipped" >"$cache/sdk-counts"
	[ "$failed" -eq 0 ]
}

main
