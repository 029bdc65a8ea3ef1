# shellcheck shell=bash
# A cluster of three nodes, workers beside it and, if asked for, a node that
# dies every ten seconds. Sourced by run-go.sh and run-ruby.sh, which set: sdk
# (the row's second field), mode (calm or kills), root (the repository), work
# (an own folder for logs and data). What is started here is ended here, by
# process id.

binary=$(realpath -m "${LIMPET_BIN:-$root/bin/limpet}")
data=$work/data
started=()
storm_seconds=30

promises=(snippet soft-same-worker hard-same-worker parallel-roots-together
	child-on-parents-worker child-refused-without-strategy child-refused-not-registered
	retries-stay-on-the-worker worker-id-equal-in-all-tasks)

say() { printf '%s\n' "$*" >&2; }

# no_rows REASON: says for every promise that nothing could be observed.
no_rows() {
	local promise
	for promise in "${promises[@]}"; do
		printf 'ROW\t%s\t%s\t%s\tn/a\t%s\n' "$sdk" "$mode" "$promise" "$1"
	done
}

# node_pid N: the process of a node, if it still is what its file says.
node_pid() {
	local pid
	pid=$(cat "$data/node-$1.pid" 2>/dev/null) || return 1
	grep -q limpet "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

end_all() {
	local pid signal node
	for signal in TERM KILL; do
		for pid in "${started[@]}" $(for node in 1 2 3; do node_pid "$node"; done); do
			kill -s "$signal" "$pid" 2>/dev/null || true
		done
		for _ in $(seq 50); do
			any_alive || return 0
			sleep 0.1
		done
	done
}

any_alive() {
	local pid node
	for pid in "${started[@]}" $(for node in 1 2 3; do node_pid "$node"; done); do
		kill -0 "$pid" 2>/dev/null && return 0
	done
	return 1
}

# Thirty free ports in a row, below those that the kernel hands out.
free_base_port() {
	local base port taken
	for _ in $(seq 50); do
		base=$((20000 + 30 * (RANDOM % 400))) taken=
		for port in $(seq "$base" $((base + 29))); do
			if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
				taken=yes
				break
			fi
		done
		[ -z "$taken" ] && echo "$base" && return 0
	done
	say "no 30 free ports in a row between 20000 and 32000"
	return 1
}

# Starts three nodes, puts their environment into ours and waits for a leader.
start_cluster() {
	if [ ! -x "$binary" ]; then
		say "no $binary: build it first (make build), or name one in LIMPET_BIN"
		return 1
	fi
	base=$(free_base_port) || return 1
	rm -rf "$data"
	"$binary" dev --nodes 3 --data-dir "$data" --base-port "$base" >"$work/dev.log" 2>&1 &
	started+=("$!")
	for _ in $(seq 300); do
		if [ -e "$data/env" ]; then
			set -a
			# shellcheck source=/dev/null
			. "$data/env"
			set +a
			ask cluster status | grep -Eq '"leader": *"node-' && return 0
		fi
		sleep 0.1
	done
	say "the cluster has no leader after 30 s; the end of $work/dev.log:"
	tail -n 20 "$work/dev.log" >&2
	return 1
}

# ask COMMAND...: limpet's answer as JSON, from the first node that has one.
ask() {
	local n
	for n in 0 1 2; do
		"$binary" "$@" -o json --addr "127.0.0.1:$((base + 10 * n))" --token "$HATCHET_CLIENT_TOKEN" 2>/dev/null && return 0
	done
	return 0
}

# nodes_from N: the address list with node N first: clients stay with the first
# one that works, so that different lists put them on different nodes.
nodes_from() {
	local n list=()
	for n in 0 1 2; do
		list+=("127.0.0.1:$((base + 10 * (($1 - 1 + n) % 3)))")
	done
	(IFS=, && echo "ipv4:${list[*]}")
}

# start_workers COMMAND...: two processes at two nodes, with the worker's name
# as the last argument. The driver's place is the third node.
start_workers() {
	local n workers
	for n in 1 2; do
		HATCHET_CLIENT_HOST_PORT=$(nodes_from "$n") "$@" "$sdk-$n" >"$work/$sdk-$n.log" 2>&1 &
		started+=("$!")
	done
	HATCHET_CLIENT_HOST_PORT=$(nodes_from 3)
	for _ in $(seq 300); do
		workers=$(ask worker list)
		[[ $workers == *"\"$sdk-1\""* && $workers == *"\"$sdk-2\""* ]] && return 0
		sleep 0.1
	done
	say "the workers did not register within 30 s; the end of $work/$sdk-1.log:"
	tail -n 5 "$work/$sdk-1.log" | cut -c 1-400 >&2
	return 1
}

# Every ten seconds a node dies without a word and is started again one second
# later, three times. Runs beside the driver.
kill_nodes() {
	local node pid
	for _ in 1 2 3; do
		sleep 2
		node=$((RANDOM % 3 + 1))
		if pid=$(node_pid "$node"); then
			kill -s KILL "$pid"
			say "$(date +%T) killed node-$node"
			sleep 1
			"$binary" dev start-node "$node" --data-dir "$data" >>"$work/start-node-$node.log" 2>&1 &
		fi
		sleep 7
	done
}

# watch_nodes: starts the killing if this is the mode for it.
watch_nodes() {
	[ "$mode" = kills ] || return 0
	kill_nodes &
	started+=("$!")
}
